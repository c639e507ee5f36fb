/* scan.h - one series out of its chunks and its head into a fold, a bounded piece at a time.
 *
 *   chunk cursor ──▶ pending chunk ──decode──▶ merge ──rows──▶ fold
 *                          └── alone in its bucket: its summary ──▶
 */
#ifndef HALTLESS_ACTORS_SCAN_H
#define HALTLESS_ACTORS_SCAN_H

#include "actors/aggregate.h"
#include "actors/merge.h"
#include "storage/part.h"

typedef struct scan scan;

NODISCARD int scan_new(scan **s);
void scan_free(scan **s);
/* Closes the cursors, which go on seeing the chunks that were there when they were opened: before heads are
 * asked for anew, and before the reader is closed. */
void scan_forget_reader(scan *s);

/* The head's rows, sorted, stay with the caller until the scan is over. */
typedef struct scan_head {
    const int64_t *times;
    const double  *values;
    uint32_t       count;
} scan_head;
/* Starts a member of f (fold_member).  Negative: storage trouble. */
NODISCARD int scan_start(scan *s, part_reader *r, uint32_t series, fold *f, scan_head head);

/* Goes on until *budget (about: rows) is used up.  1: there is more; 0: the member is in (fold_member_end);
 * E_AGAIN: chunks were merged under the scan: start it again; other negative codes: storage trouble,
 * E_LIMIT. */
NODISCARD int scan_step(scan *s, int64_t *budget);

#endif
