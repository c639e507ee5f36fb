/* results.h - the records of a MSG_RESULT (rows.h), one after the other. */
#ifndef HALTLESS_API_RESULTS_H
#define HALTLESS_API_RESULTS_H

#include "proto/rows.h"

/* rest: what follows the head.  False: this is none of an answer. */
typedef bool result_fn(void *ctx, const result_head *head, view rest);

/* All of a part's, in order (more: it is not the last part); RESULT_END as well, which has to be the last one of the last
 * part.  False: it is malformed, or fn said so. */
bool results_each(view body, bool more, result_fn *fn, void *ctx);

#endif
