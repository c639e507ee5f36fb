/* symbols.h - the names of this program's functions, static ones too, from its own file: for a crash report.
 *
 * symbols_open() maps the file while all is well; what comes after calls nothing and allocates nothing, so a signal
 * handler may use it.  A program without a symbol table (stripped) has no names.
 */
#ifndef HALTLESS_ACTORS_SYMBOLS_H
#define HALTLESS_ACTORS_SYMBOLS_H

#include "proto/base.h"

/* Once a process.  bias: what the loader added to the file's addresses. */
void symbols_open(uint64_t bias);
/* The function that `at` lies in and how far behind its beginning; NULL: not one of this program's. */
const char *symbols_name(const void *at, uint64_t *offset);

#endif
