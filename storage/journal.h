/* journal.h - the write-ahead log of one partition: own segments, pre-written, recycled, one synced write a block.
 *
 * DIR/journal/NNNNNNNN.seg, 16 MiB each, written in 4 KiB-aligned blocks:
 *
 *   0        4         6       8        12       16              24      28      32
 *   +--------+---------+-------+--------+--------+---------------+-------+-------+
 *   | magic  | version | flags | length | crc32c | first_lsn     | rows  | marks |
 *   +--------+---------+-------+--------+--------+---------------+-------+-------+
 *   | generation (16)                   | journal id (16)                        |
 *   64               72                80                88                     128
 *   +----------------+------------------+-----------------+----------------------+
 *   | wall_us        | segment          | sequence        | stamp, zeros         |
 *   +----------------+------------------+-----------------+----------------------+
 *   | payload: what storage/part_item.h draws, 8-aligned                         |
 *   | journal_mark[marks]: applied up to pos of that lane of this generation     |
 *   +-- length ends here; zeros to 4 KiB ----------------------------------------+
 *
 * journal_* build a block in one of two aligned buffers; journal_write() makes it durable and may run in a
 * helper thread while the actor fills the other.  A recycled segment's old blocks are told from new ones by
 * journal id, segment number and sequence.  After a failed write the segment is abandoned, never retried:
 * the next write opens another one and rewrites what was unacknowledged, under the same sequence: of two blocks of
 * one sequence the one in the later segment counts.
 */
#ifndef HALTLESS_STORAGE_JOURNAL_H
#define HALTLESS_STORAGE_JOURNAL_H

#include "proto/base.h"
#include "proto/crumb.h"
#include "proto/envelope.h"

typedef struct journal journal;

typedef struct journal_mark {
    addr     from;
    uint64_t pos;
} journal_mark;

enum journal_durability { JOURNAL_FSYNC, JOURNAL_OS, JOURNAL_MEMORY };

struct journal_block;
struct journal_gap;
typedef struct journal_config {
    uint64_t budget_bytes; /* all segments of this partition */
    enum journal_durability durability;
    bool     buffered; /* fdatasync instead of O_DIRECT|O_DSYNC; chosen by itself where direct is refused */
    crumb   *crumb; /* borrowed for the opening: which block is replayed now; NULL: nobody wants to know */
    uint64_t segment_bytes; /* 0: 16 MiB, or a quarter of the budget but not below 1 MiB */
    /* Some blocks are wanted early, before anything is replayed and before the journal takes its first block: those of
     * which peek says so (it sees each sound block that may count, in no order), and the newest one, in order. */
    bool (*peek)(void *ctx, const struct journal_block *b);
    int  (*early)(void *ctx, const struct journal_block *b);
    void (*gap)(void *ctx, const struct journal_gap *g); /* what was set aside, each time; or NULL */
    bool replay_apart; /* journal_open() replays nothing: journal_replay() does, while blocks are written already */
} journal_config;

/* One block as replay sees it; borrowed for the call. */
typedef struct journal_block {
    uint64_t first_lsn;
    uint32_t rows;
    int64_t  wall_us;
    uint64_t stamp; /* journal_stamp() */
    uuid     generation;
    const journal_mark *marks;
    uint32_t mark_count;
    view     payload;
} journal_block;
/* A place without sound blocks, and what those on its sides say of it. */
typedef struct journal_gap {
    uint64_t    first_lsn, last_lsn; /* rows that no block has, at most; last_lsn 0: how far is not known */
    int64_t     after_us, before_us; /* when the blocks on both sides were written; 0: there is none */
    view        bytes;               /* what stands there; blocks may begin at any page of it */
    const char *file;                /* where it was put, without its ".bin" */
} journal_gap;
typedef int journal_replay_fn(void *ctx, const journal_block *b);

/* Opens or makes DIR/journal, replays every sound block with a row > after_lsn in order; a torn tail is cut, a
 * damaged block in the middle set aside (DIR/damaged/) and counted.  A negative answer of replay ends the opening.
 * A block in whose replay two lives died of a fault (config->crumb) is set aside likewise, and left out for good:
 * DIR/skipped names it. */
typedef struct journal_report {
    uint64_t blocks;
    uint64_t bytes;
    uint64_t torn_bytes;
    uint32_t damaged;
} journal_report;
/* Up to `bytes` of what is to be replayed; *more: there is something left.  Not before all is replayed may the caller
 * trim. */
NODISCARD int journal_replay(journal *j, uint64_t bytes, bool *more);
const journal_report *journal_reported(const journal *j); /* so far */
NODISCARD int journal_open(journal **j, const char *dir, const journal_config *config, uint64_t after_lsn,
                           journal_replay_fn *replay, void *ctx, journal_report *report);
void journal_close(journal **j);

/* Building: begin, append any number of pieces, end.  Two buffers of JOURNAL_BLOCK_MAX: at most one block is being
 * built while one is being written. */
enum { JOURNAL_BLOCK_MAX = 4 << 20, JOURNAL_MARKS_MAX = 1024 };
void  journal_begin(journal *j);
/* Room for `len` bytes of payload, 8-aligned, or NULL: block full, write it first. */
void *journal_append(journal *j, uint32_t len);
/* Takes back the last `len` bytes (a multiple of 8) of what was appended last. */
void  journal_give_back(journal *j, uint32_t len);
void  journal_mark_applied(journal *j, addr from, uint64_t pos); /* the highest pos of a lane counts */
void  journal_stamp(journal *j, uint64_t stamp); /* a number that the block carries for its writer */
bool  journal_is_empty(const journal *j);
uint64_t journal_building_len(const journal *j);
/* Closes the block: {first_lsn, rows}.  Then journal_write(), from any one thread, makes it durable: 0, E_IO, E_NOSPACE. */
void  journal_end(journal *j, uint64_t first_lsn, uint32_t rows, const uuid *generation, int64_t wall_us);
NODISCARD int journal_write(journal *j);
/* The block that was ended last, written or not, until it is dropped; NULL: none. */
const journal_block *journal_ended(journal *j);
/* Gives its buffer back: when it is written and seen to, or after a failed write (which may also be tried again as
 * often as one likes, each time on a fresh segment). */
void  journal_drop(journal *j);

/* Two steps, so that the caller can note the number where the next journal_open() finds it as after_lsn:
 * the last lsn that goes when all rows <= lsn may go (0: nothing would); then the recycling itself.
 * The newest block always stays: it carries the marks. */
uint64_t journal_trimmable(journal *j, uint64_t lsn);
void     journal_trim(journal *j, uint64_t lsn);
uint64_t journal_oldest_end(journal *j); /* last lsn of the oldest segment that could be trimmed; 0: none */
uint64_t journal_used_bytes(journal *j); /* by blocks that are still needed */
uint64_t journal_oldest_lsn(journal *j); /* 0: there is none */
uint64_t journal_written_bytes(const journal *j); /* counters */
uint64_t journal_syncs(const journal *j);

/* Reading again what is written (journal_read.c), from any one thread, beside the writing and the trimming. */
typedef struct journal_run {
    uint8_t *bytes; /* blocks, one after the other; owned */
    uint64_t room, len, at;
    uint64_t segment, offset; /* where the next one lies */
    uint64_t last; /* lsn read so far */
    bool     more; /* there were more blocks than fitted */
} journal_run;
/* Blocks with a row > after, none with a row > upto, in order: a megabyte of them, or one.  None: there are none.  What
 * is trimmed meanwhile, or damaged, is left out. */
NODISCARD int journal_read(journal *j, journal_run *run, uint64_t after, uint64_t upto);
/* The next one, borrowed until the next journal_read(); false: no more. */
bool journal_run_next(journal_run *run, journal_block *out);
void journal_run_fini(journal_run *run);

#endif
