/* part_read.c - reading sealed chunks, in the writer's process or beside it.
 *
 * Keys sort by (day, series, first time), so one day of one series is one run, and a range of days is a run a day:
 *
 *   seek (day, series) lands on ...            and so the next place to look is
 *     the series, on this or a later day         here
 *     (later day, smaller series)                (that day, series)
 *     (same or later day, greater series)        (that day + 1, series)
 *
 * which makes as many seeks as days that have data of anything, however long the range.  What is walked are rollups; a
 * chunk itself is got by its key when its rows are wanted.
 *
 * Who asks for many series asks in the order of their numbers, and over a few days: an iterator a day stays where it is
 * for the next series, which is a step away.
 *
 * A query actor keeps what it has read of short ranges (days.h): as long as ingest says that the chunks of a series have
 * not changed, neither keys nor bytes are looked at again.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/instant.h"
#include "proto/log.h"
#include "proto/world.h"
#include "storage/days.h"
#include "storage/part_inner.h"

enum {
    BAD_BLOCKS_MAX = 100, /* a cursor: then the trouble is told instead of stepped over */
    STEPS_MAX = 6,        /* keys that are stepped over before a seek is cheaper */
    KEPT_DAYS_MAX = 8,    /* of a range; longer ones are walked as they lie, which passes over days without data */
};

struct part_reader {
    part_db *db;
    rocks   *rocks;
    bool     follows;
    bool     inside; /* the database is the owner's, which outlives it */
    uint64_t damaged;
    chunk_scratch *scratch; /* of all its cursors: one thread reads */
    days          *days;    /* what is kept; NULL: nothing */
    int64_t       *times;   /* scratch of columns */
    double        *values;
    char     dir[FS_PATH_MAX];
};

struct chunk_cursor {
    part_reader   *reader;
    db_view        db;
    bool           open;    /* the view is */
    uint64_t       version; /* of the series; 0: nothing is kept */
    uint64_t       seq;     /* that the view has to have */
    uint32_t       kept_at; /* chunk of c->day that is next, where days are kept */
    uint32_t       series;
    int64_t        start_us, end_us;
    int64_t        day, last_day; /* 64 bits: a step behind the last possible day */
    uint32_t       slot;          /* the iterator in use: of c->day, where the range is short */
    int64_t        slot_day[DB_VIEW_ITERS]; /* where each was sent last */
    uint32_t       slot_series[DB_VIEW_ITERS];
    bool           placed;        /* it stands on the key to look at, or on the chunk that was given last */
    bool           given;
    uint32_t       bad_blocks;
    rollup         at; /* that chunk's */
};

int
part_reader_open(part_reader **out, const char *dir, uint16_t number, bool same_process,
                 const char *scratch, uint64_t cache_bytes)
{
    char         current[FS_PATH_MAX];
    world_file   at;
    part_reader *r = calloc(1, sizeof *r);
    int          rc;

    *out = NULL;
    ASSERT(r != NULL);
    r->follows = !same_process;
    rc = fs_path(r->dir, "%s/part.%u", dir, number);
    if (rc == E_OK)
        rc = fs_path(current, "%s/db/CURRENT", r->dir);
    if (rc == E_OK && same_process)
        rc = part_db_borrow(&r->db, r->dir);
    else if (rc == E_OK && the_world->look(current, &at) < 0)
        rc = E_AGAIN;
    else if (rc == E_OK)
        rc = part_db_follow(&r->db, r->dir, scratch, cache_bytes);
    if (rc < 0) {
        free(r);
        return rc == E_AGAIN ? rc : err(rc, "read partition %u", number);
    }
    r->rocks = part_db_rocks(r->db);
    *out = r;
    return E_OK;
}

part_reader *
part_reader_inside(part *p)
{
    part_reader *r = calloc(1, sizeof *r);

    ASSERT(r != NULL);
    r->db = p->db;
    r->rocks = p->rocks;
    r->inside = true;
    memcpy(r->dir, p->dir, sizeof r->dir);
    return r;
}

void
part_reader_close(part_reader **rp)
{
    part_reader *r = *rp;

    if (r == NULL)
        return;
    if (!r->inside && r->follows)
        part_db_unfollow(&r->db);
    else if (!r->inside)
        part_db_release(&r->db);
    chunk_scratch_free(&r->scratch);
    days_free(&r->days);
    free(r->times);
    free(r->values);
    free(r);
    *rp = NULL;
}

int
part_reader_reach(part_reader *r, uint64_t seq)
{
    rocksdb_t *db;
    char      *text = NULL;

    if (!r->follows) /* the writer's own handle, which it may exchange at any time, has seen it */
        return E_OK;
    db = r->rocks->db;
    if (rocksdb_get_latest_sequence_number(db) >= seq)
        return E_OK;
    part_db_caught_up(r->db);
    rocksdb_try_catch_up_with_primary(db, &text);
    if (text != NULL)
        return rocks_result(text, "catch up with the partition's writer");
    return rocksdb_get_latest_sequence_number(db) >= seq ? E_OK : E_AGAIN;
}

void
part_reader_keep(part_reader *r, uint64_t bytes)
{
    ASSERT(r->days == NULL);
    r->days = days_new(bytes);
    r->times = malloc(CHUNK_ROWS_MAX * sizeof *r->times);
    r->values = malloc(CHUNK_ROWS_MAX * sizeof *r->values);
    ASSERT(r->times != NULL && r->values != NULL);
}

uint64_t
part_reader_damaged(const part_reader *r)
{
    return r->damaged;
}

/* ---- cursors ---- */

void
chunk_cursor_seek(chunk_cursor *c, uint32_t number, int64_t start_us, int64_t end_us)
{
    c->series = number;
    c->start_us = start_us;
    c->end_us = end_us;
    c->day = key_day(start_us);
    c->last_day = start_us < end_us ? key_day(end_us - 1) : c->day - 1;
    c->placed = false;
    c->given = false;
    c->bad_blocks = 0;
    c->version = 0;
    c->kept_at = 0;
}

void
chunk_cursor_version(chunk_cursor *c, uint64_t version, uint64_t seq)
{
    bool few_days = c->last_day - c->day < KEPT_DAYS_MAX;

    c->version = c->reader->days != NULL && few_days ? version : 0;
    c->seq = seq;
}

int
chunk_cursor_open(chunk_cursor **out, part_reader *r, uint32_t number, int64_t start_us,
                  int64_t end_us)
{
    chunk_cursor *c = calloc(1, sizeof *c);

    ASSERT(c != NULL);
    c->reader = r;
    chunk_cursor_seek(c, number, start_us, end_us);
    *out = c;
    return E_OK;
}

void
chunk_cursor_close(chunk_cursor **cp)
{
    chunk_cursor *c = *cp;

    if (c == NULL)
        return;
    if (c->open)
        part_db_view_close(&c->db);
    free(c);
    *cp = NULL;
}

static void
count_damage(chunk_cursor *c, const char *what)
{
    part_reader *r = c->reader;
    char         day[INSTANT_TEXT_MAX + 1];

    if (r->damaged++ > 0) /* once: a scan of a damaged range would fill the log; `haltless verify` names all */
        return;
    day[instant_format(c->day * KEY_DAY_US, day)] = '\0';
    log_error("part.damaged_chunk", "dir=%s series=%u day=%s error=%s", r->dir, c->series, day, log_quote(view_str(what)));
}

static bool
key_under(const chunk_cursor *c, chunk_key *k)
{
    rocksdb_iterator_t *it = c->db.it[c->slot];
    size_t              len;
    const char         *key;

    if (!rocksdb_iter_valid(it))
        return false;
    key = rocksdb_iter_key(it, &len);
    if (len != KEY_CHUNK_LEN)
        return false;
    *k = key_get_chunk((const uint8_t *)key);
    return true;
}

/* From a smaller series of the same day it is a few steps at most: those behind it were never looked at. */
static bool
step_to_series(chunk_cursor *c)
{
    chunk_key k;

    if (c->db.it[c->slot] == NULL || c->slot_day[c->slot] != c->day || c->slot_series[c->slot] >= c->series)
        return false;
    for (uint32_t i = 0; i < STEPS_MAX && key_under(c, &k); i++) {
        if (k.day != c->day || k.series >= c->series)
            return true;
        rocksdb_iter_next(c->db.it[c->slot]);
    }
    return false;
}

/* Puts the day's iterator on the first key of c->day and the series, or behind. */
static int
go_to_day(chunk_cursor *c)
{
    bool    few_days = c->last_day - key_day(c->start_us) < DB_VIEW_ITERS;
    uint8_t key[KEY_CHUNK_LEN];
    bool    there;
    int     rc;

    c->slot = few_days ? (uint32_t)((uint64_t)c->day % DB_VIEW_ITERS) : 0;
    c->placed = true;
    there = step_to_series(c);
    c->slot_day[c->slot] = c->day;
    c->slot_series[c->slot] = c->series;
    if (there)
        return E_OK;
    rc = part_db_view_iter(&c->db, c->slot, PART_ROLLUPS);
    if (rc < 0)
        return rc;
    key_put_chunk(key, (chunk_key){ .day = (int32_t)c->day, .series = c->series, .first_us = INT64_MIN });
    rocksdb_iter_seek(c->db.it[c->slot], (const char *)key, sizeof key);
    return E_OK;
}

/* The moment that it sees begins here. */
static int
open_view(chunk_cursor *c)
{
    int rc = part_reader_reach(c->reader, c->seq);

    if (rc == E_OK)
        rc = part_db_view_open(c->reader->db, &c->db);
    c->open = rc == E_OK;
    return rc;
}

bool
chunk_cursor_day_before(chunk_cursor *c, uint32_t number, int64_t *day)
{
    bool there = false;

    if (!c->open && open_view(c) < 0) {
        err_clear();
        return false;
    }
    part_db_enter(c->reader->db);
    c->slot = 0;
    if (!c->db.gone && part_db_view_iter(&c->db, 0, PART_ROLLUPS) == E_OK) {
        chunk_key k = { .day = INT32_MAX };

        for (; !there && k.day >= INT32_MIN / 2; *day = there ? k.day : k.day - (k.series <= number)) {
            uint8_t key[KEY_CHUNK_LEN];

            key_put_chunk(key, (chunk_key){ (int32_t)*day, number, INT64_MAX, KEY_GEN_MAX, KEY_LSN_MAX });
            rocksdb_iter_seek_for_prev(c->db.it[0], (const char *)key, sizeof key);
            if (!key_under(c, &k))
                break;
            there = k.series == number;
        }
    }
    c->slot_day[0] = INT64_MIN;
    part_db_leave(c->reader->db);
    return there;
}

/* A block of the file that cannot be read hides the rest of this day. */
static int
judge_end(chunk_cursor *c)
{
    char *text = NULL;

    rocksdb_iter_get_error(c->db.it[c->slot], &text);
    if (text == NULL)
        return 0;
    if (++c->bad_blocks > BAD_BLOCKS_MAX)
        return rocks_result(text, "read chunks");
    count_damage(c, text);
    rocksdb_free(text);
    c->day++;
    c->placed = false;
    return 1;
}

/* Looks at the key under the iterator: true when it is of our series; else the next day to look at is set. */
static bool
is_ours(chunk_cursor *c, chunk_key *k)
{
    if (!key_under(c, k)) { /* not one of ours: step over it */
        rocksdb_iter_next(c->db.it[c->slot]);
        return false;
    }
    if (k->day == c->day && k->series == c->series)
        return true;
    c->day = k->day + (k->series > c->series);
    c->placed = false;
    return false;
}

static bool
read_rollup(chunk_cursor *c, const chunk_key *k)
{
    size_t      len;
    const char *value = rocksdb_iter_value(c->db.it[c->slot], &len);

    if (rollup_read(&c->at, k, view_of(value, len)) == E_OK)
        return true;
    count_damage(c, err_text());
    err_clear();
    return false;
}

static int
next_chunk(chunk_cursor *c)
{
    if (c->given)
        rocksdb_iter_next(c->db.it[c->slot]);
    c->given = false;
    while (c->day <= c->last_day) {
        chunk_key k;
        int       rc = c->placed ? E_OK : go_to_day(c);

        if (rc < 0)
            return rc;
        if (!rocksdb_iter_valid(c->db.it[c->slot])) {
            rc = judge_end(c);
            if (rc <= 0) {
                c->last_day = c->day - 1;
                return rc;
            }
            continue;
        }
        if (!is_ours(c, &k))
            continue;
        if (k.first_us >= c->end_us)
            break;
        if (read_rollup(c, &k) && c->at.whole.last_us >= c->start_us) {
            c->given = true;
            return 1;
        }
        rocksdb_iter_next(c->db.it[c->slot]);
    }
    c->last_day = c->day - 1; /* the end stays the end */
    return 0;
}

/* The database was opened anew by its owner: what the cursor saw is gone. */
static int
enter(chunk_cursor *c)
{
    int rc = c->open ? E_OK : open_view(c);

    if (rc < 0)
        return rc;
    part_db_enter(c->reader->db);
    if (!c->db.gone)
        return E_OK;
    part_db_leave(c->reader->db);
    return err(E_AGAIN, "the partition was opened anew");
}

/* ---- what is kept ---- */

/* All of c->day as it lies.  1: it is not to be kept, something of it could not be read. */
static int
read_day(chunk_cursor *c, kept_day *to)
{
    int64_t  start_us = c->start_us, end_us = c->end_us, number = c->day, last_day = c->last_day;
    uint64_t damaged = c->reader->damaged;
    int      rc;

    c->start_us = c->day * KEY_DAY_US;
    c->end_us = (c->day + 1) * KEY_DAY_US;
    c->last_day = c->day;
    c->placed = c->given = false;
    while ((rc = next_chunk(c)) == 1)
        day_add(to, &c->at);
    c->start_us = start_us;
    c->end_us = end_us;
    c->day = number;
    c->last_day = last_day;
    c->placed = c->given = false;
    return rc < 0 ? rc : c->reader->damaged != damaged;
}

static int
keep_day(chunk_cursor *c, kept_day **out)
{
    days *d = c->reader->days;
    kept_day  *of = days_find(d, c->series, (int32_t)c->day, c->version);
    kept_day  *made;
    int   rc = E_OK;

    if (of == NULL) {
        if ((rc = enter(c)) < 0)
            return rc;
        made = day_new(c->series, (int32_t)c->day, c->version);
        rc = read_day(c, made);
        part_db_leave(c->reader->db);
        if (rc == E_OK)
            of = days_add(d, &made);
        else
            day_free(&made);
    }
    *out = of;
    return rc;
}

static void
give_kept(chunk_cursor *c, const day_chunk *k)
{
    c->at.whole = k->whole;
    c->at.bare = k->bare;
    c->at.hours = k->hours;
    if (k->hours > 0)
        memcpy(c->at.hour, k->hour, k->hours * sizeof *k->hour);
    c->given = true;
}

/* As next_chunk(); 2: from here on as it lies. */
static int
next_kept(chunk_cursor *c)
{
    for (; c->day <= c->last_day; c->day++, c->kept_at = 0) {
        kept_day *of;
        int  rc = keep_day(c, &of);

        if (rc != E_OK)
            return rc < 0 ? rc : 2;
        while (c->kept_at < of->count && of->chunk[c->kept_at].whole.first_us < c->end_us) {
            const day_chunk *k = &of->chunk[c->kept_at++];

            if (k->whole.last_us < c->start_us)
                continue;
            give_kept(c, k);
            return 1;
        }
    }
    return 0;
}

int
chunk_cursor_next(chunk_cursor *c, chunk_summary *s)
{
    int rc = c->version != 0 ? next_kept(c) : 2;

    if (rc == 1)
        *s = c->at.whole;
    if (rc != 2)
        return rc;
    if (c->version != 0) {
        c->version = 0;
        c->placed = c->given = false;
    }
    rc = enter(c);

    if (rc < 0)
        return rc;
    rc = next_chunk(c);
    if (rc == 1)
        *s = c->at.whole;
    part_db_leave(c->reader->db);
    return rc;
}

const rollup *
chunk_cursor_rollup(const chunk_cursor *c)
{
    ASSERT(c->given);
    return &c->at;
}

/* Fits the chunk what its rollup says? */
static int
decode(chunk_cursor *c, view chunk, const chunk_summary *s, int64_t *times, double *values, int32_t *decimals)
{
    chunk_info i;
    int        rc = chunk_read(chunk, &i);

    *decimals = rc == E_OK ? i.decimals : -1;
    if (rc == E_OK && (i.count != s->count || i.first_us != s->first_us))
        rc = err(E_BAD, "a chunk under another's key");
    if (c->reader->scratch == NULL)
        c->reader->scratch = chunk_scratch_new();
    if (rc == E_OK)
        rc = chunk_decode(chunk, c->reader->scratch, times, values);
    if (rc == E_OK && times[s->count - 1] != s->last_us)
        rc = err(E_BAD, "a chunk of another span than its rollup's");
    return rc;
}

static int
read_rows(chunk_cursor *c, const chunk_summary *s, int64_t *times, double *values, int32_t *decimals)
{
    rocksdb_pinnableslice_t *found = NULL;
    uint8_t                  key[KEY_CHUNK_LEN];
    int                      rc = enter(c);

    if (rc < 0)
        return rc;
    key_put_chunk(key, (chunk_key){ .day = key_day(s->first_us), .series = c->series, .first_us = s->first_us,
                                    .gen = (uint16_t)s->gen, .lsn = s->lsn });
    rc = part_db_view_get(&c->db, PART_CHUNKS, view_of(key, sizeof key), &found);
    if (rc == E_OK) {
        size_t      len;
        const char *value = rocksdb_pinnableslice_value(found, &len);

        rc = decode(c, view_of(value, len), s, times, values, decimals);
        rocksdb_pinnableslice_destroy(found);
    }
    if (rc == E_BAD) {
        count_damage(c, err_text());
    }
    part_db_leave(c->reader->db);
    return rc;
}

int
chunk_cursor_rows_of(chunk_cursor *c, const chunk_summary *s, int64_t *times, double *values)
{
    int32_t decimals;
    int     rc = read_rows(c, s, times, values, &decimals);

    /* Of a day that was kept for a while it may have been merged since. */
    return rc == E_NOTFOUND && c->version != 0 ? err(E_AGAIN, "a chunk was merged meanwhile") : rc;
}

/* A chunk that is gone was merged since its day was read: the day is read again, by whoever starts again. */
static int
gone(chunk_cursor *c, kept_day *of)
{
    err_clear();
    days_forget(c->reader->days, of);
    return err(E_AGAIN, "a chunk was merged meanwhile");
}

int
chunk_cursor_columns(chunk_cursor *c, const chunk_summary *s, const columns **out)
{
    part_reader *r = c->reader;
    kept_day         *of = c->version == 0 ? NULL : days_find(r->days, c->series, (int32_t)key_day(s->first_us), c->version);
    day_chunk   *k = of == NULL ? NULL : day_chunk_of(of, s);
    columns     *made;
    int32_t      decimals = -1;
    int          rc = E_OK;

    *out = NULL;
    if (k == NULL || k->bare)
        return E_OK;
    if (k->columns == NULL) {
        rc = read_rows(c, s, r->times, r->values, &decimals);
        if (rc == E_NOTFOUND)
            return gone(c, of);
        if (rc < 0)
            return rc;
        made = columns_new(r->times, r->values, s->count, decimals);
        days_set_columns(r->days, of, k, &made);
    }
    *out = k->columns;
    return E_OK;
}

int
chunk_cursor_rows(chunk_cursor *c, int64_t *times, double *values)
{
    ASSERT(c->given);
    return chunk_cursor_rows_of(c, &c->at.whole, times, values);
}
