/* part_read.c - reading sealed chunks, in the writer's process or beside it.
 *
 * Keys sort by (day, series, first time), so one day of one series is one run, and a range of days is a run a day:
 *
 *   seek (day, series) lands on ...            and so the next place to look is
 *     the series, on this or a later day         here
 *     (later day, smaller series)                (that day, series)
 *     (same or later day, greater series)        (that day + 1, series)
 *
 * which makes as many seeks as days that have data of anything, however long the range.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"
#include "storage/chunk.h"
#include "storage/part_inner.h"

enum { BAD_BLOCKS_MAX = 100 }; /* a cursor: then the trouble is told instead of stepped over */

struct part_reader {
    part_db *db;
    rocks   *rocks;
    bool     follows;
    uint64_t damaged;
    char     dir[FS_PATH_MAX];
};

struct chunk_cursor {
    part_reader        *reader;
    db_iter             iter;
    uint32_t            series;
    int64_t             start_us, end_us;
    int64_t             day, last_day; /* 64 bits: a step behind the last possible day */
    bool                placed;        /* the iterator stands on the chunk that was given last */
    uint32_t            bad_blocks;
    view                chunk; /* that chunk; empty: none */
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

void
part_reader_close(part_reader **rp)
{
    part_reader *r = *rp;

    if (r == NULL)
        return;
    if (r->follows)
        part_db_unfollow(&r->db);
    else
        part_db_release(&r->db);
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
    rocksdb_try_catch_up_with_primary(db, &text);
    if (text != NULL)
        return rocks_result(text, "catch up with the partition's writer");
    return rocksdb_get_latest_sequence_number(db) >= seq ? E_OK : E_AGAIN;
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
    c->bad_blocks = 0;
    c->chunk = (view){ 0 };
}

int
chunk_cursor_open(chunk_cursor **out, part_reader *r, uint32_t number, int64_t start_us,
                  int64_t end_us)
{
    chunk_cursor *c = calloc(1, sizeof *c);
    int           rc;

    ASSERT(c != NULL);
    *out = NULL;
    c->reader = r;
    rc = part_db_iter_open(r->db, &c->iter, PART_CHUNKS);
    if (rc < 0) {
        free(c);
        return rc;
    }
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
    part_db_iter_close(&c->iter);
    free(c);
    *cp = NULL;
}

static void
count_damage(chunk_cursor *c, const char *what)
{
    part_reader *r = c->reader;

    if (r->damaged++ == 0) /* once: a scan of a damaged range would fill the log */
        log_error("part.damaged_chunk", "dir=%s series=%u day=%" PRId64 " error=%s", r->dir,
                  c->series, c->day, log_quote(view_str(what)));
}

/* Puts the iterator on the first key of c->day and the series, or behind. */
static void
go_to_day(chunk_cursor *c)
{
    uint8_t key[KEY_CHUNK_LEN];

    key_put_chunk(key, (chunk_key){ (int32_t)c->day, c->series, INT64_MIN, 0 });
    rocksdb_iter_seek(c->iter.it, (const char *)key, sizeof key);
    c->placed = true;
}

/* A block of the file that cannot be read hides the rest of this day. */
static int
judge_end(chunk_cursor *c)
{
    char *text = NULL;

    rocksdb_iter_get_error(c->iter.it, &text);
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

/* Fits the chunk its key? */
static bool
judge_chunk(chunk_cursor *c, const chunk_key *k, chunk_summary *s)
{
    int rc = chunk_read(c->chunk, s);

    if (rc == E_OK &&
        (s->lsn != k->lsn || s->first_us != k->first_us || key_day(s->first_us) != k->day))
        rc = err(E_BAD, "a chunk under another's key");
    if (rc == E_OK)
        return true;
    count_damage(c, err_text());
    err_clear();
    return false;
}

/* Looks at the key under the iterator: true when it is of our series; else the next day to look at is set. */
static bool
is_ours(chunk_cursor *c, chunk_key *k)
{
    size_t      len;
    const char *key = rocksdb_iter_key(c->iter.it, &len);

    if (len != KEY_CHUNK_LEN) { /* not one of ours: step over it */
        rocksdb_iter_next(c->iter.it);
        return false;
    }
    *k = key_get_chunk((const uint8_t *)key);
    c->day = k->day;
    if (k->series == c->series)
        return true;
    c->day += k->series > c->series;
    c->placed = false;
    return false;
}

static int
next_chunk(chunk_cursor *c, chunk_summary *s)
{
    if (c->chunk.at != NULL)
        rocksdb_iter_next(c->iter.it);
    c->chunk = (view){ 0 };
    while (c->day <= c->last_day) {
        chunk_key k;
        size_t    len;

        if (!c->placed)
            go_to_day(c);
        if (!rocksdb_iter_valid(c->iter.it)) {
            int rc = judge_end(c);
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
        const char *value = rocksdb_iter_value(c->iter.it, &len);
        c->chunk = view_of(value, len);
        if (judge_chunk(c, &k, s) && s->last_us >= c->start_us)
            return 1;
        c->chunk = (view){ 0 };
        rocksdb_iter_next(c->iter.it);
    }
    c->last_day = c->day - 1; /* the end stays the end */
    return 0;
}

/* The database was opened anew by its owner: what the cursor saw is gone. */
static int
enter(chunk_cursor *c)
{
    part_db_enter(c->reader->db);
    if (c->iter.it != NULL)
        return E_OK;
    part_db_leave(c->reader->db);
    return err(E_AGAIN, "the partition was opened anew");
}

int
chunk_cursor_next(chunk_cursor *c, chunk_summary *s)
{
    int rc = enter(c);

    if (rc < 0)
        return rc;
    rc = next_chunk(c, s);
    part_db_leave(c->reader->db);
    return rc;
}

int
chunk_cursor_rows(chunk_cursor *c, int64_t *times, double *values)
{
    int rc = enter(c);

    if (rc < 0)
        return rc;
    ASSERT(c->chunk.at != NULL);
    rc = chunk_decode(c->chunk, times, values);
    part_db_leave(c->reader->db);
    return rc;
}
