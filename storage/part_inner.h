/* part_inner.h - what the files of a partition (part*.c) share: its struct, and what one of them does for the others.
 * Nobody else includes it. */
#ifndef HALTLESS_STORAGE_PART_INNER_H
#define HALTLESS_STORAGE_PART_INNER_H

#include "storage/chunk.h"
#include "storage/fs.h"
#include "storage/heads.h"
#include "storage/keys.h"
#include "storage/part.h"
#include "storage/part_item.h"
#include "storage/retain.h"
#include "storage/rocks.h"
#include "storage/rollup.h"
#include "storage/series.h"

/* ---- part_db.c: one handle a partition and process, owned by one part, borrowed by readers ---- */
typedef struct part_db part_db;

NODISCARD int part_db_own(part_db **db, const char *dir, uint64_t cache_bytes); /* E_LOCKED: has an owner */
NODISCARD int part_db_borrow(part_db **db, const char *dir);                    /* E_AGAIN: has none yet */
NODISCARD int part_db_follow(part_db **db, const char *dir, const char *scratch, uint64_t cache_bytes);
NODISCARD int part_db_space(const char *dir); /* E_NOSPACE: too little, leave RocksDB alone */
bool          part_db_is_read_only(const part_db *db); /* the disk is full: part_db_reopen() later */
void          part_db_disown(part_db **db);  /* the owner's end of it */
void          part_db_release(part_db **db); /* a reader's; the last of all closes */
void          part_db_unfollow(part_db **db);
void          part_db_lose(const char *dir); /* for the simulator: the process that had it open was killed */
rocks        *part_db_rocks(part_db *db);

/* What a reader sees of one moment: a snapshot and iterators.  Between enter and leave it stays; outside it may go: then
 * it is `gone` for good.  A follower has no snapshots: its moment ends when it catches up, and what was not opened before
 * is E_AGAIN. */
enum { DB_VIEW_ITERS = 16 };
typedef struct db_view {
    part_db                   *of;
    struct db_view            *next;
    rocksdb_readoptions_t     *read;
    const rocksdb_snapshot_t  *snapshot;
    rocksdb_iterator_t        *it[DB_VIEW_ITERS];
    uint64_t                   epoch;
    bool                       gone;
} db_view;
NODISCARD int part_db_view_open(part_db *db, db_view *v); /* E_AGAIN: not now */
void          part_db_view_close(db_view *v);
/* Entered: */
NODISCARD int part_db_view_iter(db_view *v, uint32_t slot, enum part_family family);
NODISCARD int part_db_view_get(db_view *v, enum part_family family, view key, rocksdb_pinnableslice_t **out);
void          part_db_caught_up(part_db *db);
void          part_db_enter(part_db *db);
void          part_db_leave(part_db *db);
/* The owner's: every view ends, the handle is closed and opened anew, as rocks_reopen(). */
NODISCARD int part_db_reopen(part_db *db, const char *dir, uint64_t cache_bytes, bool to_write);

/* ---- part.c ---- */

/* Definitions that are in the journal but not in the database, oldest first. */
typedef struct unstored {
    uint32_t *series;
    uint32_t  first, end, room; /* a queue in an array */
} unstored;

/* A delete that is not carried through in all chunks yet. */
typedef struct erasure {
    uint32_t series;
    bool     stored;  /* in the database */
    int64_t  from_us, to_us;
    uint64_t lsn;
    int64_t  done_us; /* chunks that begin before are carried through */
} erasure;

enum { ERASURES_MAX = 1 << 16, MERGES_MAX = 1 << 16 };

typedef struct tenant_rules {
    uint32_t    tenant;
    uint32_t    count;
    uint8_t    *bytes; /* owned; the rules point into it */
    size_t      len;
    retain_rule rules[RETAIN_RULES_MAX];
} tenant_rules;

/* A day of a series whose chunks may be merged. */
typedef struct merge_task {
    uint32_t series;
    int32_t  day;
} merge_task;

typedef struct part_block {
    bool     open;
    uint64_t first_lsn;
    uint32_t rows;
    uint32_t definitions; /* bytes of them, each at its longest */
    uuid     generation;
} part_block;

/* A block that is durable, and not shown before the replay is through. */
typedef struct kept_block {
    struct kept_block *next;
    uint64_t           first_lsn;
    uint64_t           stamp;
    uint32_t           rows;
    uint32_t           len;
    _Alignas(8) uint8_t payload[];
} kept_block;

struct part {
    part_config  config;
    part_events  events;
    char         dir[FS_PATH_MAX]; /* DIR/part.N */
    part_db     *db;
    rocks       *rocks;
    journal     *journal;
    series_map  *map;
    heads       *heads;
    uint64_t     next_lsn;
    uint64_t     shown_lsn; /* everything up to it is in heads or chunks */
    uint64_t     trimmed_lsn; /* the journal holds what comes behind it */
    uint64_t     hold_lsn;    /* and it is to hold what comes behind this */
    uint64_t     stamp;       /* of the newest block; part_stamp() */
    bool         replaying; /* it is not: part_replay() is not through */
    uint64_t     early_lsn, replayed_lsn; /* of the blocks that came last */
    uint64_t     opened_lsn; /* what there is to replay ends here */
    kept_block  *kept, **kept_end; /* written meanwhile, oldest first */
    uint64_t     kept_bytes;
    bool         refusing; /* part_refuse() */
    uint64_t     sealed_seq;
    uint64_t     version_base; /* part_version.c */
    uint32_t    *stamps, stamp_room, last_stamp, all_stamp;
    part_block   building;
    uuid         generation; /* of `applied` */
    journal_mark applied[JOURNAL_MARKS_MAX];
    uint32_t     applied_count;
    unstored     unstored;
    uint32_t    *named; /* series by name index, of the body being staged */
    uint32_t     named_room;
    uint32_t     flying_definitions; /* of the block that is ended and not shown yet */
    uint32_t    *carry; /* series defined in a forgotten block, for the next one */
    uint32_t     carried, carry_room;
    head_row    *sorted, *spare_rows; /* scratch of sealing */
    uint32_t     sorted_room;
    uint8_t     *chunk;
    chunk_scratch *scratch;
    uint64_t     replayed_rows, lost_rows;
    bool         in_doubt; /* what is said to be sealed may not be (part_log.h) */
    int          broken; /* the code of the write that failed: RocksDB takes no more until it is opened anew */
    uint64_t     mend_at_ns, mend_wait_ns;
    bool         syncing; /* between part_begin_sync and part_end_sync */
    uint64_t     sync_lsn;
    int          sync_rc;
    char         sync_text[256];
    uint64_t     forced_trims; /* segments that went although they were held */
    uint64_t     sealed_chunks, sealed_bytes, sealed_rows;
    erasure     *erasures; /* by lsn */
    uint32_t     erasure_count, erasure_room;
    uint32_t     staged_erasures; /* in blocks that are not shown yet */
    merge_task  *merges; /* a ring of MERGES_MAX; made at first use */
    uint64_t     merge_first, merge_end;
    head_row    *gathered; /* scratch of merging */
    uint64_t     merged_rows, merged_chunks, erased_rows;
    uint32_t     merge_tries;  /* sets of the day in front that were rewritten */
    uint64_t     dead_rows;    /* of chunks that were merged away since the last compaction that was asked for */
    uint64_t     settled_seq;
    bool         compacting; /* between part_begin_compact and part_end_compact */
    tenant_rules **tenants; /* rules of retention */
    uint32_t     tenant_count;
    uint32_t     retain_head; /* series whose heads were looked at, 0 at the begin of a round */
    int32_t      retain_day; /* where a round of retention goes on */
    uint32_t     retain_series;
    bool         retain_entered, retain_raw, retain_did; /* of that day */
    uint64_t     retained_readings;
    uint64_t     shown_rows;
    part_written written, written_last; /* all of it; as it was looked at last */
    uint64_t     written_saved;
    int64_t      newest_us;
};

/* ---- part_load.c ---- */
NODISCARD int part_load(part *p, journal_report *report);

/* ---- part_written.c ---- */
void part_written_load(part *p);

/* ---- part_damage.c ---- */
void part_damage_gap(void *p, const journal_gap *g);

/* ---- part_replay.c ---- */
bool          part_replay_peek(void *p, const journal_block *b);
NODISCARD int part_replay_early(void *p, const journal_block *b);
void          part_tell_latest(part *p);
NODISCARD int part_replay_block(void *p, const journal_block *b);

/* ---- part_show.c ---- */
enum { PREFETCH = 12 }; /* rows between two steps of asking ahead */
static inline void
part_show_row(part *p, uint32_t number, series *s, const head_row *row, uint64_t lsn)
{
    s->head = heads_append(p->heads, s->head, number, row, lsn);
    p->newest_us = row->time_us > p->newest_us ? row->time_us : p->newest_us;
    if (row->time_us >= s->latest_us || s->latest_lsn == 0) {
        s->latest_us = row->time_us;
        s->latest = row->value;
        s->latest_lsn = lsn;
    }
}

void part_show_erase(part *p, const item *it, uint64_t lsn);
void part_kept_free(part *p);
void part_apply_marks(part *p, const journal_block *b);
void part_note_unstored(part *p, uint32_t number); /* its definition is in the journal, not yet in the database */
void part_tell_series(part *p, uint32_t number);

/* ---- part_seal.c ---- */

/* 1..CHUNK_ROWS_MAX rows of one day, times increasing, as a chunk and its rollup; the bytes of both. */
size_t part_put_chunk(part *p, rocksdb_writebatch_t *batch, const chunk_key *k, const head_row *rows, uint32_t count,
                      bool squeeze);
void   part_put_rollup(part *p, rocksdb_writebatch_t *batch, const chunk_key *k, const rollup *r);
/* Rows in order of acceptance become rows by time, of equal times the last: they, or a buffer of p's. */
const head_row *part_ordered(part *p, const head_row *rows, uint32_t *count);

/* ---- part_erase.c ---- */
void part_erase_loaded(part *p, const erasure *e);                   /* from the database, at open */
void part_erase_show(part *p, const erasure *e);                     /* durable; heads and latest follow */
bool part_erase_covers(const part *p, uint32_t series, int64_t time_us, uint64_t lsn);
/* Those not in the database yet go into the batch, STORE_ERASURES at most; how many. */
uint32_t part_erase_store(part *p, rocksdb_writebatch_t *batch);
void     part_erase_stored(part *p, uint32_t count);
uint64_t part_erase_unstored(const part *p); /* the oldest lsn; 0: none */
void     part_erase_forget(part *p, uint32_t at);

/* ---- part_merge.c ---- */
void part_merge_day(part *p, uint32_t series, int32_t day); /* puts it in line */
void part_merge_note(part *p, uint32_t series, const chunk_summary *sealed);

/* ---- part_retain.c ---- */
NODISCARD int part_retain_loaded(part *p, uint32_t tenant, view bytes);
void          part_retain_free(part *p);

/* ---- part_read.c ---- */
part_reader *part_reader_inside(part *p); /* of the owner itself; free it by part_reader_close */
/* The last day, at most *day, that has chunks of the series; false: none. */
bool chunk_cursor_day_before(chunk_cursor *c, uint32_t series, int64_t *day);

/* ---- part_seal.c ---- */
void part_put_latest(part *p, rocksdb_writebatch_t *batch, uint32_t series, uint64_t sealed_lsn);

/* ---- part_version.c: behind the write ---- */
void part_changed(part *p, uint32_t series); /* its chunks */
void part_changed_all(part *p);

/* ---- part_log.c ---- */
NODISCARD int part_log_look(part *p); /* before RocksDB opens its log, and makes a whole one of it: p->in_doubt */
/* Each series counts as sealed up to what is sure, in memory and in the database. */
NODISCARD int part_log_doubt(part *p, uint64_t sure_lsn);

/* ---- part_mend.c ---- */
void          part_break(part *p, int rc); /* sealing or syncing failed */
NODISCARD int part_mend(part *p);          /* 0: it takes writes again */
void          part_touch_log(part *p); /* syncs the log once, so that an error in it is no assert later */

/* The oldest lsn that the journal must keep for definitions and deletes; 0: none. */
uint64_t part_oldest_unstored(const part *p);

#endif
