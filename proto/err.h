/* err.h - error codes, and the per-thread chain of what was being done.
 *
 * A function that can fail returns 0 or a negative code.  Each layer adds its
 * context once: `return err(rc, "open %s", path)`.  The top logs the chain once
 * (err_text) and clears it.  Bad input never goes through here: it is a verdict
 * or a 4xx.
 */
#ifndef HALTLESS_PROTO_ERR_H
#define HALTLESS_PROTO_ERR_H

#include "proto/base.h"

enum {
    E_OK = 0,
#define X(name, number, text) name = number,
#include "proto/err.def"
#undef X
};

#define ERR_TEXT_MAX 1024 /* bytes of the chain, older context is cut */

/* Puts context in front of this thread's chain and returns rc, so that it reads as one line. */
int err(int rc, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* As err(), with the text of errno_value, mapped to the nearest code (ENOSPC -> E_NOSPACE, ...). */
int err_errno(int errno_value, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The chain, outermost first ("open data: lock: locked by another process").  Valid until the next err(). */
const char *err_text(void);
void        err_clear(void);

/* The fixed text of a code. */
const char *err_name(int rc);

#endif
