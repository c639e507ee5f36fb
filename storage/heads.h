/* heads.h - the unsealed rows of each series, in order of acceptance, or by time where somebody had to look.
 *
 * A head is one growing array of rows and two places in line: by age (its first lsn) among all heads, and among
 * the ripe ones once it has 384 + hash % 256 rows (spread, so that series of one rhythm do not all seal at once).
 * Arrays come in a few sizes from slabs, so that a million heads cost no malloc each.
 */
#ifndef HALTLESS_STORAGE_HEADS_H
#define HALTLESS_STORAGE_HEADS_H

#include "proto/base.h"
#include "proto/rows.h"

enum { HEAD_RIPE_MIN = 384, HEAD_RIPE_SPREAD = 256 };

typedef struct heads heads;

typedef struct head {
    uint32_t  series; /* 0: not in use */
    uint32_t  count;
    uint32_t  room;
    uint32_t  ripe_at;
    uint64_t  first_lsn, last_lsn;
    uint32_t  older, younger;          /* by first_lsn */
    uint32_t  ripe_before, ripe_after; /* while ripe */
    head_row *rows;
    uint32_t  ordered; /* so many rows from the first have increasing times */
    uint32_t  changes; /* how often rows went, or came into another order */
} head;
_Static_assert(sizeof(head) == 64, "one cache line");

heads *heads_new(void);
void   heads_free(heads **h);

/* Appends to head number `at`, or to a new one (at == 0); the number of it. */
uint32_t heads_append(heads *h, uint32_t at, uint32_t series, const head_row *row, uint64_t lsn);
const head *heads_at(const heads *h, uint32_t at); /* at > 0 and in use */
void     heads_drop(heads *h, uint32_t at);
/* Takes the rows with from <= time < to out; how many stay (the caller drops a head without rows). */
uint32_t heads_erase(heads *h, uint32_t at, int64_t from_us, int64_t to_us);
/* Three misses a row, each asked for ahead: its series (series.h), its head, the place in the head's rows. */
void     heads_prefetch(const heads *h, uint32_t at);
void     heads_prefetch_row(const heads *h, uint32_t at);

/* It counts as ripe from now on, whatever its rows. */
void     heads_ripen(heads *h, uint32_t at);
/* Other rows in place of the head's, as many or fewer: the same by time, of equal times the last. */
void     heads_replace(heads *h, uint32_t at, const head_row *rows, uint32_t count);
/* All its times increase. */
bool     heads_is_ordered(heads *h, uint32_t at);

uint32_t heads_oldest(const heads *h);                /* 0: there is none */
uint32_t heads_younger(const heads *h, uint32_t at);  /* next by age */
uint32_t heads_ripest(const heads *h);
uint32_t heads_riper(const heads *h, uint32_t at);    /* next of the ripe ones */
uint64_t heads_bytes(const heads *h); /* arrays in use, and the heads themselves */
uint64_t heads_rows(const heads *h);
uint32_t heads_count(const heads *h);

#endif
