/* journal_file.h - what journal.c (writing) and journal_scan.c (reading back) share.  Nobody else includes it. */
#ifndef HALTLESS_STORAGE_JOURNAL_FILE_H
#define HALTLESS_STORAGE_JOURNAL_FILE_H

#include "proto/hash.h"
#include "storage/fs.h"
#include "storage/journal.h"

enum {
    JOURNAL_MAGIC = 0x4a4c5448, /* "HTLJ" */
    JOURNAL_VERSION = 1,
    JOURNAL_PAGE = 4096,
};
#define JOURNAL_SEGMENT_BYTES ((uint64_t)16 << 20)
/* More of a file is not looked at: no segment of ours is longer. */
#define JOURNAL_SEGMENT_BYTES_MAX ((uint64_t)64 << 20)

typedef struct block_head {
    uint32_t magic;
    uint16_t version;
    uint16_t flags;
    uint32_t length; /* head, payload and marks */
    uint32_t crc;    /* of `length` bytes with crc = 0 */
    uint64_t first_lsn;
    uint32_t rows;
    uint32_t marks;
    uuid     generation;
    uuid     journal;
    int64_t  wall_us;
    uint64_t segment;
    uint64_t sequence;
    uint64_t stamp;
    uint64_t spare[4];
} block_head;
_Static_assert(sizeof(block_head) == 128, "layout");

/* A block without rows takes one lsn too, so that it has a place in the order of trimming. */
static inline uint64_t
block_last_lsn(uint64_t first_lsn, uint32_t rows)
{
    return first_lsn + (rows > 0 ? rows - 1 : 0);
}

/* Is it whole?  at: its bytes with the head that h is a copy of; `room` of them. */
static inline bool
block_is_sound(const block_head *h, const uint8_t *at, uint64_t room)
{
    block_head judged = *h;
    uint32_t   crc;

    if (h->length < sizeof *h || h->length > room || h->length % 8 != 0)
        return false;
    if (h->marks > JOURNAL_MARKS_MAX || sizeof *h + h->marks * sizeof(journal_mark) > h->length)
        return false;
    if (h->first_lsn == 0 || h->segment == 0 || h->sequence == 0)
        return false;
    judged.crc = 0;
    crc = crc32c(0, &judged, sizeof judged);
    return crc32c(crc, at + sizeof *h, h->length - sizeof *h) == h->crc;
}

/* The same block as replay sees it. */
static inline journal_block
block_seen(const block_head *h, const uint8_t *at)
{
    uint64_t marks_len = h->marks * sizeof(journal_mark);

    return (journal_block){ .first_lsn = h->first_lsn,
                            .rows = h->rows,
                            .wall_us = h->wall_us,
                            .stamp = h->stamp,
                            .generation = h->generation,
                            .marks = (const journal_mark *)(const void *)(at + h->length - marks_len),
                            .mark_count = h->marks,
                            .payload = view_of(at + sizeof *h, h->length - sizeof *h - marks_len) };
}

enum segment_state { SEGMENT_PREPARING, SEGMENT_FREE, SEGMENT_CURRENT, SEGMENT_FULL };

typedef struct segment {
    enum segment_state state;
    bool     bad;    /* a write to it failed: not to be used again */
    int      fd;     /* -1 while nobody writes to it */
    uint64_t file;   /* its name */
    uint64_t number; /* its place in the order; 0: none yet */
    uint64_t written; /* pre-written bytes */
    uint64_t limit;   /* blocks go no further */
    uint64_t used;
    uint64_t first_lsn, last_lsn; /* 0, 0: no block in it */
} segment;

/* What journal_scan finds in one directory. */
typedef struct journal_found {
    segment **segments; /* by number; those without a needed block are SEGMENT_FREE */
    uint32_t  segment_count;
    uint64_t  file_max, segment_max, sequence_max;
    uint64_t  newest_segment; /* that of the newest block; 0: none */
    uint64_t  newest_at;      /* the newest block in its file */
    uint32_t  newest_len;
} journal_found;

typedef struct journal_scan_order {
    const char        *dir; /* DIR: the segments lie in DIR/journal */
    uint64_t           after_lsn;
    journal_replay_fn *replay;
    void              *ctx;
    crumb             *crumb; /* or NULL */
    bool (*peek)(void *ctx, const journal_block *b); /* or NULL */
    journal_replay_fn *early; /* or NULL */
    void (*gap)(void *ctx, const journal_gap *g); /* or NULL */
} journal_scan_order;

/* Blocks that killed their replay, by sequence: how many. */
enum { SKIPPED_MAX = 64 };
uint32_t journal_load_skipped(const char *dir, uint64_t skipped[SKIPPED_MAX]);

/* All files are read once: what is there, what comes early.  *id: all zero: taken from the first sound block (stays zero
 * when there is none).  order->dir and *report live until the end. */
typedef struct journal_scan journal_scan;
NODISCARD int journal_scan_begin(journal_scan **s, const journal_scan_order *order, uuid *id, journal_found *found,
                                 journal_report *report);
/* Replays up to `bytes`; *more: there is something left. */
NODISCARD int journal_scan_step(journal_scan *s, uint64_t bytes, bool *more);
void          journal_scan_end(journal_scan **s);

#endif
