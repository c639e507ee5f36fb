/* part_merge.c - chunks become fewer: a bounded piece a call.
 *
 *   a day of a series, its chunks by time
 *     overlapping ones        -> one set, rewritten without overlap         (late data, repeated data)
 *     small neighbours        -> one chunk of up to CHUNK_ROWS_MAX rows     (a head or two an hour)
 *     touched by a delete     -> rewritten without those rows
 *   one write batch: the new chunks, and the old ones deleted
 *
 * Rows are taken together in the order of the chunks' lsn, of equal times the last one stays: as queries do it.  The new
 * chunk has the greatest lsn of the old ones, so it may only be made when no chunk that is left out lies between them in
 * that order and over them in time.  What was erased between two of them is taken out of the older.
 *
 * Cursors that are open see the old chunks until they are closed: RocksDB keeps them for their snapshot.
 */
#include <stdlib.h>

#include "proto/err.h"
#include "proto/log.h"
#include "storage/part_inner.h"

enum {
    SET_MAX = 64,           /* chunks of a set */
    SET_ROWS_MAX = 16384,   /* about half a millisecond */
    FULL = CHUNK_ROWS_MAX * 3 / 4,
    SMALLS = 4,             /* chunks after which a day is looked at */
    DAY_CHUNKS_MAX = 65536, /* of one series: more are left as they are */
    SQUEEZED = 1024,        /* rows from which a chunk has a distribution worth a table of its own */
    TRIES_MAX = 1024,       /* sets of one day at a time */
    ERASE_LOOKS = 256,      /* chunks that are looked at in a call, and rewritten */
    ERASE_CHUNKS = 4,
    DEAD_ROWS = 1 << 20,    /* merged away, before files are compacted for it */
};
#define COMPACT_BYTES_MAX ((uint64_t)512 << 20)

/* ---- what is in line ---- */

void
part_merge_day(part *p, uint32_t number, int32_t day)
{
    if (p->merges == NULL) {
        p->merges = malloc(MERGES_MAX * sizeof *p->merges);
        ASSERT(p->merges != NULL);
    }
    if (p->merge_end - p->merge_first == MERGES_MAX)
        return; /* it stays in pieces until more of its kind come */
    if (p->merge_end > p->merge_first) {
        const merge_task *last = &p->merges[(p->merge_end - 1) % MERGES_MAX];

        if (last->series == number && last->day == day)
            return;
    }
    p->merges[p->merge_end++ % MERGES_MAX] = (merge_task){ number, day };
}

/* A chunk of an earlier day is late, or the last of its day. */
void
part_merge_note(part *p, uint32_t number, const chunk_summary *sealed)
{
    series *s = series_at(p->map, number);
    int32_t day = key_day(sealed->first_us);
    bool    is_newest = s->latest_lsn == 0 || day >= key_day(s->latest_us);

    if (!is_newest) {
        part_merge_day(p, number, day);
        return;
    }
    if (s->smalls > 0 && s->small_day != (uint16_t)day) {
        part_merge_day(p, number, day - (int32_t)(uint16_t)((uint16_t)day - s->small_day));
        s->smalls = 0;
    }
    s->small_day = (uint16_t)day;
    if (sealed->count >= FULL || ++s->smalls < SMALLS)
        return;
    s->smalls = 0;
    part_merge_day(p, number, day);
}

bool
part_merge_waits(const part *p)
{
    return p->merge_end > p->merge_first || p->erasure_count > 0;
}

/* ---- a day's chunks ---- */

typedef struct day_chunks {
    part          *p;
    part_reader   *reader;
    chunk_cursor  *cursor;
    uint32_t       series;
    chunk_summary *at;
    uint32_t       count, room;
} day_chunks;

/* The set that is rewritten, as indices. */
typedef struct chunk_set {
    uint32_t at[SET_MAX];
    uint32_t count;
    uint32_t rows;
} chunk_set;

static void
close_day(day_chunks *d)
{
    if (d->cursor != NULL)
        chunk_cursor_close(&d->cursor);
    part_reader_close(&d->reader);
    free(d->at);
}

static int
add(day_chunks *d, const chunk_summary *s)
{
    if (d->count == d->room) {
        d->room = d->room == 0 ? 64 : 2 * d->room;
        if (d->room > DAY_CHUNKS_MAX)
            return err(E_LIMIT, "more than %d chunks of series %u in one day", DAY_CHUNKS_MAX, d->series);
        d->at = realloc(d->at, d->room * sizeof *d->at);
        ASSERT(d->at != NULL);
    }
    d->at[d->count++] = *s;
    return E_OK;
}

/* Those that have rows and hold times in [start, end); limit: no more than that. */
static int
open_day(day_chunks *d, part *p, uint32_t number, int64_t start_us, int64_t end_us)
{
    chunk_summary s;
    int           rc;

    *d = (day_chunks){ .p = p, .reader = part_reader_inside(p), .series = number };
    rc = chunk_cursor_open(&d->cursor, d->reader, number, start_us, end_us);
    while (rc >= 0 && (rc = chunk_cursor_next(d->cursor, &s)) == 1)
        if (!chunk_cursor_rollup(d->cursor)->bare && s.gen < KEY_GEN_MAX)
            rc = add(d, &s);
    return rc;
}

static bool
overlap(const chunk_summary *a, const chunk_summary *b)
{
    return a->first_us <= b->last_us && b->first_us <= a->last_us;
}

/* No chunk that is left out lies between those of the set in order and over them in time. */
static bool
is_closed(const day_chunks *d, const chunk_set *set)
{
    chunk_summary hull = d->at[set->at[0]];
    uint64_t      least = hull.lsn;

    for (uint32_t i = 1; i < set->count; i++) {
        const chunk_summary *c = &d->at[set->at[i]];

        hull.first_us = c->first_us < hull.first_us ? c->first_us : hull.first_us;
        hull.last_us = c->last_us > hull.last_us ? c->last_us : hull.last_us;
        hull.lsn = max_u64(hull.lsn, c->lsn);
        least = min_u64(least, c->lsn);
    }
    for (uint32_t i = 0, j = 0; i < d->count; i++) {
        if (j < set->count && set->at[j] == i) { /* in order of i */
            j++;
            continue;
        }
        if (d->at[i].lsn >= least && d->at[i].lsn <= hull.lsn && overlap(&d->at[i], &hull))
            return false;
    }
    return true;
}

/* ---- which set ---- */

static void
take(const day_chunks *d, chunk_set *set, uint32_t i)
{
    set->at[set->count++] = i;
    set->rows += d->at[i].count;
}

static _Thread_local const chunk_summary *sorted; /* qsort has no context */

static int
by_lsn(const void *a, const void *b)
{
    const chunk_summary *x = &sorted[*(const uint32_t *)a], *y = &sorted[*(const uint32_t *)b];

    return (x->lsn > y->lsn) - (x->lsn < y->lsn);
}

static int
by_index(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static bool
has_overlap(const day_chunks *d, const chunk_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        for (uint32_t j = i + 1; j < set->count; j++)
            if (overlap(&d->at[set->at[i]], &d->at[set->at[j]]))
                return true;
    return false;
}

/* Of a great heap neighbours in order, as many as a set may have, that overlap each other somewhere. */
static bool
choose_neighbours(const day_chunks *d, uint32_t from, uint32_t to, chunk_set *set)
{
    uint32_t *order = malloc((to - from) * sizeof *order);
    bool      found = false;

    ASSERT(order != NULL);
    for (uint32_t i = from; i < to; i++)
        order[i - from] = i;
    sorted = d->at;
    qsort(order, to - from, sizeof *order, by_lsn);
    for (uint32_t k = 0; k + 1 < to - from && !found; k++) {
        *set = (chunk_set){ 0 };
        for (uint32_t i = k; i < to - from && set->count < SET_MAX; i++) {
            if (set->rows + d->at[order[i]].count > SET_ROWS_MAX)
                break;
            take(d, set, order[i]);
        }
        qsort(set->at, set->count, sizeof *set->at, by_index);
        found = set->count >= 2 && has_overlap(d, set) && is_closed(d, set);
    }
    free(order);
    return found;
}

/* [from, to) hang together, each overlapping one before it. */
static bool
choose_overlapping(const day_chunks *d, uint32_t from, uint32_t to, chunk_set *set)
{
    *set = (chunk_set){ 0 };
    for (uint32_t i = from; i < to && set->count < SET_MAX; i++)
        take(d, set, i);
    return (set->count == to - from && set->rows <= SET_ROWS_MAX) || choose_neighbours(d, from, to, set);
}

/* Small neighbours that overlap nothing, from `from` on: as many as fit one chunk. */
static bool
choose_smalls(const day_chunks *d, uint32_t from, uint32_t to, bool is_over, chunk_set *set)
{
    uint32_t greatest = 0;

    *set = (chunk_set){ 0 };
    for (uint32_t i = from; i < to && set->count < SET_MAX; i++) {
        if (d->at[i].count >= FULL || set->rows + d->at[i].count > CHUNK_ROWS_MAX)
            break;
        greatest = (uint32_t)max_u64(greatest, d->at[i].count);
        take(d, set, i);
    }
    /* Each row is rewritten a few times at most: what there is grows by half. */
    return set->count >= 2 && (is_over || set->rows * 2 >= greatest * 3) && is_closed(d, set);
}

static bool
choose(const day_chunks *d, bool is_over, chunk_set *set)
{
    for (uint32_t from = 0, to; from < d->count; from = to) {
        int64_t until = d->at[from].last_us;

        for (to = from + 1; to < d->count && d->at[to].first_us <= until; to++)
            until = d->at[to].last_us > until ? d->at[to].last_us : until;
        if (to - from > 1 && choose_overlapping(d, from, to, set))
            return true;
    }
    for (uint32_t from = 0; from < d->count; from += set->count > 0 ? set->count : 1)
        if (choose_smalls(d, from, d->count, is_over, set))
            return true;
    return false;
}

/* ---- rewriting ---- */

typedef struct rewriting {
    part                 *p;
    rocksdb_writebatch_t *batch;
    erased_row           *erased; /* of the series */
    uint32_t              erased_count;
    int64_t              *times;
    double               *values;
    uint32_t              rows, lost; /* gathered; left out, because erased */
    uint64_t              lsn;
    uint32_t              gen;
    uint32_t              series;
} rewriting;

static void
begin(rewriting *w, part *p, uint32_t number)
{
    *w = (rewriting){ .p = p, .batch = rocksdb_writebatch_create(), .series = number };
    w->erased_count = part_erasures(p, number, NULL, 0);
    w->erased = malloc((w->erased_count + 1) * sizeof *w->erased);
    w->times = malloc(CHUNK_ROWS_MAX * sizeof *w->times);
    w->values = malloc(CHUNK_ROWS_MAX * sizeof *w->values);
    if (p->gathered == NULL)
        p->gathered = malloc(SET_ROWS_MAX * sizeof *p->gathered);
    ASSERT(w->erased != NULL && w->times != NULL && w->values != NULL && p->gathered != NULL);
    (void)part_erasures(p, number, w->erased, w->erased_count);
}

static void
end(rewriting *w)
{
    rocksdb_writebatch_destroy(w->batch);
    free(w->erased);
    free(w->times);
    free(w->values);
}

static bool
is_erased(const rewriting *w, uint64_t lsn, int64_t time_us)
{
    for (uint32_t i = 0; i < w->erased_count; i++)
        if (w->erased[i].lsn > lsn && w->erased[i].from_us <= time_us && time_us < w->erased[i].to_us)
            return true;
    return false;
}

static int
gather(rewriting *w, day_chunks *d, const chunk_summary *c)
{
    int rc = chunk_cursor_rows_of(d->cursor, c, w->times, w->values);

    if (rc < 0)
        return rc;
    ASSERT(w->rows + c->count <= SET_ROWS_MAX);
    for (uint32_t i = 0; i < c->count; i++) {
        if (w->erased_count > 0 && is_erased(w, c->lsn, w->times[i])) {
            w->lost++;
            continue;
        }
        w->p->gathered[w->rows++] = (head_row){ w->times[i], w->values[i] };
    }
    w->lsn = max_u64(w->lsn, c->lsn);
    w->gen = (uint32_t)max_u64(w->gen, c->gen + 1);
    return E_OK;
}

static void
delete_chunk(rewriting *w, uint32_t number, const chunk_summary *c)
{
    uint8_t key[KEY_CHUNK_LEN];

    key_put_chunk(key, (chunk_key){ key_day(c->first_us), number, c->first_us, (uint16_t)c->gen, c->lsn });
    rocksdb_writebatch_delete_cf(w->batch, w->p->rocks->cf[PART_CHUNKS], (const char *)key, sizeof key);
    rocksdb_writebatch_delete_cf(w->batch, w->p->rocks->cf[PART_ROLLUPS], (const char *)key, sizeof key);
    w->p->dead_rows += c->count;
}

/* Equal parts, so that none is small. */
static void
put_gathered(rewriting *w, uint32_t number)
{
    uint32_t        count = w->rows;
    const head_row *rows = part_ordered(w->p, w->p->gathered, &count);
    uint32_t        parts = (count + CHUNK_ROWS_MAX - 1) / CHUNK_ROWS_MAX;

    for (uint32_t i = 0; i < parts; i++) {
        uint32_t  from = (uint32_t)((uint64_t)count * i / parts);
        uint32_t  to = (uint32_t)((uint64_t)count * (i + 1) / parts);
        chunk_key k = { key_day(rows[from].time_us), number, rows[from].time_us, (uint16_t)w->gen, w->lsn };

        (void)part_put_chunk(w->p, w->batch, &k, rows + from, to - from, to - from >= SQUEEZED);
    }
}

static int
commit(rewriting *w)
{
    part *p = w->p;
    char *text = NULL;
    int   rc;

    if (rocksdb_writebatch_count(w->batch) == 0)
        return E_OK;
    rocksdb_write(p->rocks->db, p->rocks->write, w->batch, &text);
    rc = rocks_result(text, "merge");
    if (rc < 0) {
        part_break(p, rc);
        return err(rc, "merge");
    }
    p->sealed_seq = rocksdb_get_latest_sequence_number(p->rocks->db);
    part_changed(p, w->series);
    return E_OK;
}

/* Rows in the order of acceptance; then the last of equal times stays. */
static int
rewrite(day_chunks *d, chunk_set *set)
{
    rewriting w;
    int       rc = E_OK;

    begin(&w, d->p, d->series);
    sorted = d->at;
    qsort(set->at, set->count, sizeof *set->at, by_lsn);
    for (uint32_t i = 0; i < set->count && rc == E_OK; i++)
        rc = gather(&w, d, &d->at[set->at[i]]);
    if (rc == E_OK) {
        for (uint32_t i = 0; i < set->count; i++)
            delete_chunk(&w, d->series, &d->at[set->at[i]]);
        if (w.rows > 0)
            put_gathered(&w, d->series);
        rc = commit(&w);
    }
    if (rc == E_OK) {
        d->p->merged_chunks += set->count;
        d->p->merged_rows += w.rows;
        d->p->erased_rows += w.lost;
    }
    end(&w);
    return rc;
}

/* ---- a piece of it ---- */

static bool
is_trouble(int rc)
{
    return rc < 0 && rc != E_BAD && rc != E_NOTFOUND && rc != E_LIMIT;
}

/* 1: the day may have more; 0: it is done, or what there is of it cannot be read. */
static int
merge_one(part *p, const merge_task *t)
{
    const series *s = series_at(p->map, t->series);
    bool          is_over = s->latest_lsn != 0 && key_day(s->latest_us) > t->day;
    int64_t       start = (int64_t)t->day * KEY_DAY_US;
    day_chunks    d;
    chunk_set     set;
    int           rc = open_day(&d, p, t->series, start, start + KEY_DAY_US);

    if (rc == E_OK && choose(&d, is_over, &set))
        rc = (rc = rewrite(&d, &set)) < 0 ? rc : 1;
    close_day(&d);
    if (!is_trouble(rc) && rc < 0) {
        log_error("part.merge", "dir=%s series=%u day=%d error=%s", p->dir, t->series, t->day,
                  log_quote(view_str(err_text())));
        err_clear();
        rc = 0;
    }
    return rc;
}

/* The next chunk that a delete reaches into loses those rows, keeping its place in the order. */
static int
erase_from(part *p, erasure *e, const chunk_summary *c, day_chunks *d)
{
    rewriting w;
    int       rc;

    begin(&w, p, e->series);
    rc = gather(&w, d, c);
    if (rc == E_OK && w.lost > 0) {
        delete_chunk(&w, e->series, c);
        if (w.rows > 0)
            put_gathered(&w, e->series);
        rc = commit(&w);
        p->erased_rows += w.lost;
    }
    end(&w);
    if (is_trouble(rc))
        return rc;
    err_clear(); /* a damaged one has nothing that a query would show */
    return E_OK;
}

/* Of readings whose rows are gone an hour goes when any of it is deleted. */
static int
erase_hours(part *p, const erasure *e, const chunk_summary *c, const day_chunks *d)
{
    rollup    left = *chunk_cursor_rollup(d->cursor);
    bool      any = rollup_leave_out(&left, e->from_us, e->to_us);
    rewriting w;
    int       rc = E_OK;

    if (any && left.whole.count == c->count)
        return E_OK; /* none of its hours */
    begin(&w, p, e->series);
    delete_chunk(&w, e->series, c);
    if (any)
        part_put_rollup(p, w.batch,
                        &(chunk_key){ key_day(left.whole.first_us), e->series, left.whole.first_us,
                                      (uint16_t)(c->gen + 1), c->lsn },
                        &left);
    rc = commit(&w);
    end(&w);
    return rc;
}

static int
forget(part *p, uint32_t at)
{
    uint8_t key[KEY_ERASED_LEN];
    char   *text = NULL;
    int     rc;

    /* Never without the chunks that were rewritten for it, also after a power cut. */
    rocksdb_flush_wal(p->rocks->db, 1, &text);
    rc = rocks_result(text, "sync RocksDB's log");
    if (rc < 0) {
        part_break(p, rc);
        return err(rc, "forget a delete");
    }
    key_put_erased(key, p->erasures[at].lsn, p->erasures[at].series);
    rocksdb_delete_cf(p->rocks->db, p->rocks->write, p->rocks->cf[PART_ERASED], (const char *)key, sizeof key, &text);
    rc = rocks_result(text, "forget a delete");
    if (rc < 0) {
        part_break(p, rc);
        return err(rc, "forget a delete");
    }
    p->sealed_seq = rocksdb_get_latest_sequence_number(p->rocks->db);
    part_erase_forget(p, at);
    return E_OK;
}

/* The oldest delete, a few chunks of it. */
static int
erase_some(part *p, uint32_t at)
{
    erasure      *e = &p->erasures[at];
    day_chunks    d = { .p = p, .reader = part_reader_inside(p), .series = e->series };
    chunk_summary s;
    uint32_t      looked_at = 0, rewritten = 0;
    int           rc = chunk_cursor_open(&d.cursor, d.reader, e->series, e->done_us, e->to_us);
    int           more = 1;

    while (rc >= 0 && looked_at++ < ERASE_LOOKS && rewritten < ERASE_CHUNKS &&
           (rc = more = chunk_cursor_next(d.cursor, &s)) == 1) {
        if (s.first_us > e->done_us)
            e->done_us = s.first_us; /* those that begin there are looked at again, should this end here */
        if (s.lsn > e->lsn || s.last_us < e->from_us || s.gen >= KEY_GEN_MAX)
            continue;
        rc = chunk_cursor_rollup(d.cursor)->bare ? erase_hours(p, e, &s, &d) : erase_from(p, e, &s, &d);
        rewritten++;
    }
    close_day(&d);
    return rc < 0 ? rc : more == 0 ? forget(p, at) : E_OK;
}

static uint32_t
first_stored(const part *p)
{
    uint32_t i = 0;

    while (i < p->erasure_count && !p->erasures[i].stored)
        i++;
    return i;
}

static int
merge_some(part *p)
{
    uint32_t at = first_stored(p);
    int      rc;

    if (at < p->erasure_count)
        return erase_some(p, at);
    if (p->merge_end == p->merge_first)
        return E_OK;
    rc = merge_one(p, &p->merges[p->merge_first % MERGES_MAX]);
    if (rc == 1 && ++p->merge_tries < TRIES_MAX)
        return E_OK;
    if (rc < 0)
        return rc;
    p->merge_first++;
    p->merge_tries = 0;
    return E_OK;
}

bool
part_merge(part *p, int *rc)
{
    *rc = E_OK;
    if (p->broken < 0 || p->syncing || !part_merge_waits(p))
        return false;
    *rc = part_db_space(p->dir);
    if (*rc == E_OK)
        *rc = merge_some(p);
    return *rc == E_OK && part_merge_waits(p);
}

/* ---- settling ---- */

bool
part_merge_rest(part *p)
{
    for (uint32_t number = 1; number <= series_count(p->map); number++) {
        series *s = series_at(p->map, number);
        int32_t newest = s->latest_lsn != 0 ? key_day(s->latest_us) : 0;

        if (s->smalls < 2 || p->merge_end - p->merge_first == MERGES_MAX)
            continue;
        part_merge_day(p, number, newest - (int32_t)(uint16_t)((uint16_t)newest - s->small_day));
        s->smalls = 0;
    }
    return part_merge_waits(p);
}

static void
flush(part *p, rocksdb_flushoptions_t *o, enum part_family family)
{
    char *text = NULL;

    rocksdb_flush_cf(p->rocks->db, o, p->rocks->cf[family], &text);
    rocksdb_free(text); /* a seal that fails as well says so */
}

void
part_settle(part *p)
{
    /* All of them: a log file stays as long as one family has something of it in memory alone. */
    static const enum part_family families[] = { PART_CHUNKS, PART_ROLLUPS, PART_LATEST,
                                                 PART_SERIES, PART_META,    PART_ERASED };
    rocksdb_flushoptions_t *o;
    uint64_t                seq;

    if (p->broken < 0 || p->syncing || part_db_space(p->dir) < 0) {
        err_clear();
        return;
    }
    seq = rocksdb_get_latest_sequence_number(p->rocks->db);
    if (seq == p->settled_seq)
        return;
    p->settled_seq = seq;
    o = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(o, 0);
    for (uint32_t i = 0; i < COUNT_OF(families); i++)
        flush(p, o, families[i]);
    rocksdb_flushoptions_destroy(o);
}

/* ---- compaction ---- */

/* Files that lie in one level are never compacted by themselves for what was merged away in them.  A database that has
 * grown beyond that has levels, and RocksDB at it all the time. */
bool
part_begin_compact(part *p)
{
    part_stats s;

    if (p->compacting || p->broken < 0 || p->dead_rows < DEAD_ROWS)
        return false;
    part_stat(p, &s);
    if (s.chunk_bytes > COMPACT_BYTES_MAX || part_db_space(p->dir) < 0) {
        err_clear();
        return false;
    }
    p->dead_rows = 0;
    p->compacting = true;
    return true;
}

void
part_compact(part *p)
{
    part_db_enter(p->db); /* who has to exchange the handle waits for it */
    if (p->rocks->db != NULL) {
        rocksdb_compact_range_cf(p->rocks->db, p->rocks->cf[PART_CHUNKS], NULL, 0, NULL, 0);
        rocksdb_compact_range_cf(p->rocks->db, p->rocks->cf[PART_ROLLUPS], NULL, 0, NULL, 0);
    }
    part_db_leave(p->db);
}

void
part_end_compact(part *p)
{
    ASSERT(p->compacting);
    p->compacting = false;
}
