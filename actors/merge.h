/* merge.h - the rows of one series out of overlapping runs, by time, the last accepted wins.
 *
 *     run (chunk)  lsn 7    1 2 3 4 5 6
 *     run (chunk)  lsn 9          4 5       8 9
 *     run (head)   newest           5 6         10
 *     taken                 1 2 3 4'5"6"    8 9 10
 *
 * No I/O.  Runs join when the caller has come to their first time; a run that is used up gives its
 * buffers back.  What overlaps nowhere is handed out in place, without a copy.
 */
#ifndef HALTLESS_ACTORS_MERGE_H
#define HALTLESS_ACTORS_MERGE_H

#include "proto/base.h"
#include "proto/rows.h"

#define MERGE_NEWEST UINT64_MAX /* the lsn of head rows: newer than every chunk */

typedef struct merge merge;

/* run_rows: the longest run of merge_room(); runs_max: how many may overlap at one time. */
NODISCARD int merge_new(merge **m, uint32_t run_rows, uint32_t runs_max);
void merge_free(merge **m);
void merge_reset(merge *m); /* forgets all runs */

/* Buffers to decode the next run into; merge_add() then joins its rows [from, count), in time order,
 * each time once.  E_LIMIT: too many runs overlap. */
NODISCARD int merge_room(merge *m, int64_t **times, double **values);
void merge_add(merge *m, uint32_t from, uint32_t count, uint64_t lsn);
/* A run that stays with the caller until merge_reset. */
NODISCARD int merge_add_borrowed(merge *m, const int64_t *times, const double *values, uint32_t count,
                                 uint64_t lsn);

/* The earliest time that is left; INT64_MAX when nothing is. */
int64_t merge_first(const merge *m);

/* Some of the next rows with time < until_us, at least one if there is one; valid until the next call. */
uint32_t merge_take(merge *m, int64_t until_us, const int64_t **times, const double **values);

/* Head rows in order of acceptance become a run: sorted by time, of equal times the last one.
 * times, values: room for n.  Returns how many are left. */
uint32_t merge_sort_heads(head_row *rows, uint32_t n, int64_t *times, double *values);

#endif
