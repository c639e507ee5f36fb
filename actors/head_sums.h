/* head_sums.h - what is said of unsealed rows, kept from question to question.
 *
 * The rows of a head in time order, cut at the multiples of a width and at gaps: a summary each.  A head that has only grown has the
 * new ones summed up; one that was put in order or lost rows is summed up anew.
 */
#ifndef HALTLESS_ACTORS_HEAD_SUMS_H
#define HALTLESS_ACTORS_HEAD_SUMS_H

#include "proto/base.h"
#include "storage/part.h"

typedef struct head_sums head_sums;

head_sums *head_sums_new(size_t bytes_max);
void       head_sums_free(head_sums **h);

/* What is kept of a series is asked for ahead. */
void head_sums_prefetch(const head_sums *h, uint32_t series);
/* Of v, which has rows and is in order: *count summaries, each of the rows behind the one before's.  m2 only with_spread.
 * Borrowed until the next call. */
const chunk_summary *head_sums_of(head_sums *h, uint32_t series, const head_view *v, int64_t width_us, bool with_spread,
                                  uint32_t *count);

#endif
