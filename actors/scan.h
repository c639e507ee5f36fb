/* scan.h - one series out of its chunks and its head into a fold, a bounded piece at a time.
 *
 *   rollups of a day ──▶ segments in time order ──▶ alone, and within one bucket: their figures ──────▶ fold
 *                               └── else: rows of the chunk ──▶ merge with the head's ──▶ rows ──▶
 *
 * A segment is a whole chunk, or an hour of it where its rollup has hours.  It counts by its figures alone when nothing
 * else of the series has a reading between its first and its last, and nothing of it was erased.
 *
 * Of a chunk whose columns are kept, a segment that only buckets, the range or rows of the head cut counts by figures as
 * well, each of a run of rows that nothing cuts.
 */
#ifndef HALTLESS_ACTORS_SCAN_H
#define HALTLESS_ACTORS_SCAN_H

#include "actors/aggregate.h"
#include "actors/merge.h"
#include "storage/part.h"

typedef struct scan scan;

NODISCARD int scan_new(scan **s);
void scan_free(scan **s);
/* Closes the cursor, which goes on seeing the chunks that were there when it was opened: before heads are
 * asked for anew, and before the reader is closed. */
void scan_forget_reader(scan *s);

/* What is not sealed, and what was erased, at one moment; stays with the caller until the scan is over. */
typedef struct scan_head {
    const int64_t *times; /* rows, sorted */
    const double  *values;
    uint32_t       count;
    const chunk_summary *sums; /* what is said of others, in time order */
    uint32_t             sum_count;
    const erased_row    *erased;
    uint32_t             erased_count;
    uint64_t             version; /* of its chunks then, and what of them has to be seen: chunk_cursor_version() */
    uint64_t             sealed_seq;
} scan_head;
/* Starts a member of f (fold_member).  Negative: storage trouble. */
NODISCARD int scan_start(scan *s, part_reader *r, uint32_t series, fold *f, scan_head head);

/* Goes on until *budget (about: rows) is used up.  1: there is more; 0: the member is in (fold_member_end);
 * E_MORE: the head's figures do not do, start it again with its rows; E_AGAIN: start it again; other negative
 * codes: storage trouble, E_LIMIT. */
NODISCARD int scan_step(scan *s, int64_t *budget);

#endif
