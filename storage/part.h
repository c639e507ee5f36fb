/* part.h - one partition of readings: journal, heads, chunks and series over a RocksDB of its own.
 *
 *   DIR/part.N/FORMAT      lowest reader and writer version
 *   DIR/part.N/journal/    storage/journal.h
 *   DIR/part.N/db/         RocksDB: chunks, series, latest, meta column families
 *
 * The writer (one actor) stages rows, commits a block, and then shows them:
 *
 *   part_stage()   copies a READINGS body into the journal block, resolves new series
 *   part_seal_block() + part_write()     one synced write; may run in a helper thread
 *   part_show()    after durability: rows into the heads (and tells the caller each row)
 *   part_tend()    a bounded amount of sealing, trimming, merging
 *
 * Readers use part_reader: shared handle in the writer's process, RocksDB secondary elsewhere.
 */
#ifndef HALTLESS_STORAGE_PART_H
#define HALTLESS_STORAGE_PART_H

#include "proto/base.h"
#include "proto/rows.h"
#include "storage/journal.h"

typedef struct part part;

typedef struct part_config {
    const char *dir; /* data directory */
    uint16_t    number;
    uint64_t    journal_bytes; /* budgets of this partition */
    uint64_t    heads_bytes;
    uint64_t    cache_bytes;
    uint64_t    series_per_tenant; /* rows of series beyond it are dropped and counted; 0: no bound */
    enum journal_durability durability;
    crumb      *crumb; /* see journal_config */
    bool        sync_apart; /* the owner calls part_begin_sync and so on; else part_tend does it all */
    bool        replay_apart; /* the owner calls part_replay; else part_open does it all */
} part_config;

enum { MACHINE_NAME_MAX = 256 };

/* What the owner wants to hear of, at open (rebuild the board) and later. */
typedef struct part_events {
    void *ctx;
    /* A series exists (at open: each; later: a new one, or its unit changed).  The answer is not looked at. */
    int (*series)(void *ctx, uint32_t series, uint32_t machine, uint32_t tenant, view metric, view unit);
    /* The newest reading of a series: at open, after a replay that went on apart, and when it was erased; lsn 0: it has
     * none. */
    void (*latest)(void *ctx, uint32_t series, int64_t time_us, double value, uint64_t lsn);
    /* What people call a machine, for a report of damage; leaves out as it is where that is not known. */
    void (*machine)(void *ctx, uint32_t machine, char out[MACHINE_NAME_MAX]);
    /* A replayed row is older than one of its series before it.  NULL: nobody wants to know. */
    void (*late)(void *ctx, uint64_t lsn);
} part_events;

/* Opens or makes it and replays the journal.  E_LOCKED, E_NEWER, E_PERM, E_NOSPACE; damaged data never fails. */
NODISCARD int part_open(part **p, const part_config *config, const part_events *events, journal_report *report);
/* Apart: readings are taken from the open on; they are durable, and shown when the replay is through.  Until then nothing
 * is sealed or trimmed, and heads, erasures and the newest readings are not all there.  part_replay: up to `bytes` more of
 * the journal.  After it: part_show_kept() until it is false; a block each. */
NODISCARD int part_replay(part *p, uint64_t bytes, bool *more);
bool     part_is_replaying(const part *p);
uint64_t part_kept_bytes(const part *p); /* of blocks that wait to be shown */
const journal_report *part_reported(const part *p);
/* Clean stop: syncs what is sealed; the rest is in the journal. */
void part_close(part **p);
/* As a crash would leave it: nothing is written, memory is given back.  For tests. */
void part_abandon(part **p);

/* A lane's position that is already applied, for this generation (0 when none). */
uint64_t part_applied(const part *p, const uuid *generation, addr from);

/* Stages one READINGS body (rows.h) that was validated by part_check(): copies rows into the block, giving new
 * series their numbers (rows in the block carry numbers only).  E_FULL: the block is full, or of another generation:
 * commit first (nothing of this body was staged; with nothing staged at all, the block in flight has to end first).
 * E_NOSPACE, E_IO: nothing can be sealed and the heads are at twice their budget.
 * *first_lsn: of its first row.  *rejected: rows dropped because of the series budget. */
typedef struct part_source {
    uuid     generation; /* of the lane files */
    addr     from;
    uint64_t pos_end; /* the lane's position behind this message */
} part_source;
NODISCARD int part_check(view body); /* E_BAD: counts do not fit, an index or number out of range */
NODISCARD int part_stage(part *p, view body, const part_source *source, uint64_t *first_lsn, uint32_t *rejected);
/* No readings are taken from now on (E_NOSPACE), deletes are: the disk's last space is for what makes more. */
void part_refuse(part *p, bool refuse);

/* Stages a delete: readings of these series with from <= time < to that were accepted before it are gone when its block
 * is shown; those accepted later are not.  E_FULL as above; E_LIMIT: too many that are not carried through yet. */
typedef struct part_erased {
    const uint32_t *series;
    uint32_t        count;
    int64_t         from_us, to_us;
} part_erased;
NODISCARD int part_stage_erase(part *p, const part_erased *e, const part_source *source, uint64_t *first_lsn);

bool part_has_staged(const part *p);
/* Closes the block that is being built; then part_write() (any one thread) makes it durable. */
void part_end_block(part *p, int64_t wall_us);
/* A number that goes with the blocks ended from now on; one that is less than an earlier block's, over restarts too, does
 * not count. */
void part_stamp(part *p, uint64_t stamp);
NODISCARD int part_write(part *p); /* 0, E_IO, E_NOSPACE; may be called again after a failure (another segment) */
/* Blocks go one after the other: show or forget this one before the next is ended.
 * After success: every row of the written block goes into its head, in order; row() sees each. */
typedef void part_row_fn(void *ctx, uint32_t series, const head_row *row, uint64_t lsn);
void part_show(part *p, part_row_fn *row, void *ctx);
bool part_show_kept(part *p, part_row_fn *row, void *ctx); /* see part_replay() */
/* After a failure that is given up: forgets the block; the series that it made stay known. */
void part_forget(part *p);

/* A bounded piece of background work: seal heads over their threshold or the budgets, trim the journal, merge small
 * chunks.  True: there is more.  rc < 0 in *rc: storage trouble (kept and retried; after a failed write RocksDB is closed
 * and opened anew, under its readers, as soon as there is space).  E_GONE: only a fresh part_open() gets it right. */
bool part_tend(part *p, int *rc);

/* A bounded piece of merging: chunks of a day that overlap or are small become few, what was erased leaves them.
 * True: there is more. */
bool part_merge(part *p, int *rc);
bool part_merge_waits(const part *p); /* there is something to merge */
/* The owner has been idle: small chunks that would have waited for more of their kind are merged; true: there are such. */
bool part_merge_rest(part *p);
/* Memory goes into table files. */
void part_settle(part *p);
/* Then files in which much was merged away are compacted, by any one thread while the owner goes on.  Begin: false when
 * there is nothing to do. */
bool part_begin_compact(part *p);
void part_compact(part *p);
void part_end_compact(part *p);

/* How long readings of a tenant are kept (retain.h has the bytes).  Set: durable.  A piece of what is over goes; true:
 * there is more of this round.  E_BAD: no rules; E_AGAIN: not now. */
typedef struct retain_preview {
    uint64_t readings, rollup_readings; /* that would go, that would lose their hours */
    bool     complete;
} retain_preview;
NODISCARD int part_retain_set(part *p, uint32_t tenant, view rules);
view          part_retain_rules(const part *p, uint32_t tenant);
NODISCARD int part_retain_preview(part *p, uint32_t tenant, view rules, int64_t horizon_us, retain_preview *out);
bool          part_retain(part *p, int64_t horizon_us, int *rc);
int64_t       part_newest_us(const part *p); /* time of the newest reading; INT64_MIN: none */

/* Trimming needs RocksDB's log synced, which takes as long as a disk takes: begin, then part_sync() from any one
 * thread while the owner goes on, then end.  Begin: false when there is nothing to trim. */
bool part_begin_sync(part *p);
void part_sync(part *p);
NODISCARD int part_end_sync(part *p);

/* Unsealed rows of a series with start <= time < end, in order of acceptance.  Borrowed until the next part_show/tend. */
typedef struct head_view {
    const head_row *rows;
    uint32_t        count;
    uint32_t        changes; /* as long as it is the same, and first_lsn, rows have only been added at the end */
    uint64_t        first_lsn;
} head_view;
head_view part_head(const part *p, uint32_t series);
/* The same by time, of equal times the last; put in that order where they are not. */
head_view part_head_by_time(part *p, uint32_t series);
/* Of who goes through many series: the head of one that comes soon is asked for ahead, in two steps, some series apart. */
void      part_head_soon(const part *p, uint32_t series);
void      part_head_next(const part *p, uint32_t series);
uint64_t  part_sealed_seq(const part *p); /* RocksDB sequence at which every sealed row is readable */
uint64_t  part_next_lsn(const part *p);
/* Stays the same as long as no chunk of the series comes, goes or is merged; never one of another opening.  0: nothing of
 * its chunks may be kept. */
uint64_t  part_version(part *p, uint32_t series);
/* What was erased of a series and is not carried through, oldest first: up to room of them; how many there are. */
uint32_t  part_erasures(const part *p, uint32_t series, erased_row *out, uint32_t room);

/* Bytes written to the disk over all lives of the partition, and the readings that they were written for. */
typedef struct part_written {
    uint64_t readings, journal, log, flushed, merged; /* log, flushed, merged: RocksDB's */
} part_written;
void part_note_written(part *p); /* looks, and puts it into DIR/written */

typedef struct part_stats {
    uint64_t series, head_rows, head_bytes, chunks, chunk_bytes, journal_bytes, journal_syncs, journal_used;
    uint64_t replayed_rows;
    uint64_t merged_chunks, erasures, merges_waiting, retained_readings;
} part_stats;
void part_stat(const part *p, part_stats *out);

/* ---- what was shown, once more and in its order, from the journal (part_again.c) ---- */

/* Rows > lsn stay in the journal, unless its budget says otherwise: then the oldest segment goes, counted and logged. */
void     part_hold(part *p, uint64_t lsn);
bool     part_is_held(part *p); /* half of the journal's budget is used, and the hold is in the way of trimming */
uint64_t part_forced_trims(const part *p); /* so often since it was opened */
uint64_t part_trimmed(const part *p); /* rows up to it are in the journal no longer */
uint64_t part_shown(const part *p);   /* the lsn that was shown last */
uint64_t part_stamped(const part *p); /* of the block that is being shown */
void     part_skip_to(part *p, uint64_t lsn); /* lsns of rows staged in later blocks are greater */

typedef struct part_again part_again;
typedef struct part_again_row {
    uint32_t series;
    head_row row;
    uint64_t lsn, stamp; /* of its block */
} part_again_row;
part_again *part_again_new(part *p);
void         part_again_free(part_again **r);
/* Begin, then part_again_read() from any one thread while the owner goes on, then what was read of the rows > after. */
void         part_again_begin(part_again *r, uint64_t after);
void         part_again_read(part_again *r);
NODISCARD int part_again_end(part_again *r);
const part_again_row *part_again_peek(part_again *r); /* the next one; NULL: all that was read has been seen */
void                 part_again_skip(part_again *r);
uint64_t             part_again_upto(const part_again *r); /* every row up to it was seen, or is lost */

/* ---- readers ---- */
typedef struct part_reader part_reader;

/* same_process: shares the writer's handle; else a RocksDB secondary with its own scratch directory.
 * E_AGAIN while the writer has not opened it yet. */
NODISCARD int part_reader_open(part_reader **r, const char *dir, uint16_t number, bool same_process,
                               const char *scratch, uint64_t cache_bytes);
void part_reader_close(part_reader **r);
/* Sees everything sealed up to seq (catches up when behind); cursors opened after it do.  E_AGAIN: not there yet. */
NODISCARD int part_reader_reach(part_reader *r, uint64_t seq);
uint64_t part_reader_damaged(const part_reader *r); /* chunks skipped */
/* From here on, what its cursors read under a version is kept, up to so many bytes (days.h). */
void     part_reader_keep(part_reader *r, uint64_t bytes);

/* What is known of a run of rows without looking at them. */
typedef struct chunk_summary {
    uint64_t lsn;       /* of the row accepted last: greater = accepted later, and what was erased before is gone */
    uint32_t count;
    uint32_t gen;       /* how often it was merged */
    int64_t  first_us, last_us;
    double   first, last;
    double   min, max, sum, m2; /* m2: sum of squared differences from the mean */
} chunk_summary;

/* Walks the chunks of a series that hold times in [start, end) between their first and last, in key order (day, first
 * time, lsn).  A cursor sees what was sealed when it was first moved, also after a seek; asked for series in the order of
 * their numbers it steps rather than seeks. */
typedef struct chunk_cursor chunk_cursor;
struct rollup;
struct columns;
NODISCARD int  chunk_cursor_open(chunk_cursor **c, part_reader *r, uint32_t series, int64_t start_us, int64_t end_us);
/* 1: *s is the next chunk; 0: no more; negative: storage trouble. A damaged chunk is skipped and counted. */
NODISCARD int  chunk_cursor_next(chunk_cursor *c, chunk_summary *s);
/* All that is known of it without its rows (rollup.h); borrowed until the next call. */
const struct rollup *chunk_cursor_rollup(const chunk_cursor *c);
/* Decodes a chunk that the cursor has given: s->count rows into times[] and values[] (CHUNK_ROWS_MAX room).
 * E_NOTFOUND: it has no rows any longer (retention). */
enum { CHUNK_ROWS_MAX = 4096 };
NODISCARD int  chunk_cursor_rows_of(chunk_cursor *c, const chunk_summary *s, int64_t *times, double *values);
/* The same to pick rows from, until the next call; NULL: nothing is kept of it, take rows_of. */
NODISCARD int  chunk_cursor_columns(chunk_cursor *c, const chunk_summary *s, const struct columns **columns);
/* Of the current chunk. */
NODISCARD int  chunk_cursor_rows(chunk_cursor *c, int64_t *times, double *values);
void           chunk_cursor_seek(chunk_cursor *c, uint32_t series, int64_t start_us, int64_t end_us); /* reuse */
/* After an opening or a seek: the series had that version (part_version(); 0: it is not known), and everything sealed up
 * to seq has to be seen.  What was kept under the version is taken without a look at the database. */
void           chunk_cursor_version(chunk_cursor *c, uint64_t version, uint64_t seq);
void           chunk_cursor_close(chunk_cursor **c);

#endif
