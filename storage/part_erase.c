/* part_erase.c - deletes of readings: facts with an order, like readings.
 *
 *   journal block --shown--> heads lose the rows at once; `latest` is found anew
 *                       +--> an erasure in memory, which every query is told of
 *                              |  with the next seal: in `erased`, so that the journal may go
 *                              v
 *                            merging takes the rows out of the chunks, day by day (part_merge.c)
 *                              v
 *                            forgotten: there is nothing left that it covers
 *
 * An erasure covers what was accepted before it.  Of a chunk the lsn of its last row tells: a greater one than the
 * erasure's has it behind it, because the head was cleaned when the erasure was shown.
 */
#include <stdlib.h>

#include "proto/err.h"
#include "storage/part_inner.h"

enum { STORE_ERASURES = 256 };

void
part_erase_loaded(part *p, const erasure *e)
{
    uint32_t at = p->erasure_count;

    if (p->erasure_count == p->erasure_room) {
        p->erasure_room = p->erasure_room == 0 ? 64 : 2 * p->erasure_room;
        p->erasures = realloc(p->erasures, p->erasure_room * sizeof *p->erasures);
        ASSERT(p->erasures != NULL);
    }
    while (at > 0 && p->erasures[at - 1].lsn > e->lsn) {
        p->erasures[at] = p->erasures[at - 1];
        at--;
    }
    p->erasures[at] = *e;
    p->erasures[at].done_us = e->from_us;
    p->erasure_count++;
}

static bool
is_known(const part *p, const erasure *e)
{
    for (uint32_t i = p->erasure_count; i-- > 0 && p->erasures[i].lsn >= e->lsn;)
        if (p->erasures[i].lsn == e->lsn && p->erasures[i].series == e->series)
            return true;
    return false;
}

bool
part_erase_covers(const part *p, uint32_t number, int64_t time_us, uint64_t lsn)
{
    for (uint32_t i = 0; i < p->erasure_count; i++) {
        const erasure *e = &p->erasures[i];

        if (e->series == number && e->lsn > lsn && e->from_us <= time_us && time_us < e->to_us)
            return true;
    }
    return false;
}

uint32_t
part_erasures(const part *p, uint32_t number, erased_row *out, uint32_t room)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < p->erasure_count; i++) {
        const erasure *e = &p->erasures[i];

        if (e->series != number)
            continue;
        if (n < room)
            out[n] = (erased_row){ e->from_us, e->to_us, e->lsn };
        n++;
    }
    return n;
}

/* ---- latest ---- */

typedef struct newest {
    bool     found;
    int64_t  time_us;
    double   value;
    uint64_t lsn;
} newest;

static void
consider(newest *n, int64_t time_us, double value, uint64_t lsn)
{
    if (n->found && (time_us < n->time_us || (time_us == n->time_us && lsn < n->lsn)))
        return;
    *n = (newest){ true, time_us, value, lsn };
}

/* The last row of a chunk that is not erased. */
static int
look_into_chunk(part *p, chunk_cursor *c, uint32_t number, const chunk_summary *s, newest *n)
{
    int64_t *times = malloc(CHUNK_ROWS_MAX * sizeof *times);
    double  *values = malloc(CHUNK_ROWS_MAX * sizeof *values);
    int      rc = E_NOMEM;

    if (times != NULL && values != NULL)
        rc = chunk_cursor_rows(c, times, values);
    for (uint32_t i = rc < 0 ? 0 : s->count; i-- > 0;) {
        if (part_erase_covers(p, number, times[i], s->lsn))
            continue;
        consider(n, times[i], values[i], s->lsn);
        break;
    }
    free(times);
    free(values);
    return rc == E_BAD || rc == E_NOTFOUND ? E_OK : rc; /* damaged: passed over, as by queries */
}

static int
look_at_day(part *p, chunk_cursor *c, uint32_t number, int64_t day, newest *n)
{
    chunk_summary s;
    int           rc;

    chunk_cursor_seek(c, number, day * KEY_DAY_US, (day + 1) * KEY_DAY_US);
    while ((rc = chunk_cursor_next(c, &s)) == 1) {
        if (n->found && s.last_us < n->time_us)
            continue;
        rc = look_into_chunk(p, c, number, &s, n);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* Backwards, from the day of the one that was the newest to the day of one that is known. */
static int
find_newest(part *p, uint32_t number, int64_t before_us, newest *n)
{
    part_reader  *r = part_reader_inside(p);
    chunk_cursor *c;
    int64_t       day = key_day(before_us);
    int           rc = chunk_cursor_open(&c, r, number, 0, 0);

    if (rc == E_OK) {
        while (rc == E_OK && (!n->found || day >= key_day(n->time_us)) && chunk_cursor_day_before(c, number, &day))
            rc = look_at_day(p, c, number, day--, n);
        chunk_cursor_close(&c);
    }
    part_reader_close(&r);
    return rc;
}

static void
renew_latest(part *p, uint32_t number)
{
    series   *s = series_at(p->map, number);
    head_view h = part_head(p, number);
    newest    n = { 0 };

    for (uint32_t i = 0; i < h.count; i++)
        consider(&n, h.rows[i].time_us, h.rows[i].value, s->sealed_lsn + 1 + i);
    if ((!n.found || n.time_us < s->latest_us) && find_newest(p, number, s->latest_us, &n) < 0)
        err_clear(); /* the database cannot be read now: what is known stays */
    s->latest_us = n.found ? n.time_us : INT64_MIN;
    s->latest = n.found ? n.value : 0;
    s->latest_lsn = n.found ? n.lsn : 0;
    if (p->events.latest != NULL)
        p->events.latest(p->events.ctx, number, s->latest_us, s->latest, s->latest_lsn);
}

/* ---- shown ---- */

void
part_erase_show(part *p, const erasure *e)
{
    series *s;

    if (e->series == 0 || e->series > series_count(p->map))
        return;
    s = series_at(p->map, e->series);
    if (!is_known(p, e)) /* else it is replayed, and was stored */
        part_erase_loaded(p, e);
    if (s->head != 0 && heads_erase(p->heads, s->head, e->from_us, e->to_us) == 0) {
        heads_drop(p->heads, s->head);
        s->head = 0;
    }
    if (s->latest_lsn != 0 && s->latest_us >= e->from_us && s->latest_us < e->to_us)
        renew_latest(p, e->series);
}

/* ---- stored ---- */

static void
put_erased(part *p, rocksdb_writebatch_t *batch, const erasure *e)
{
    erased_value v = { .version = KEY_VALUE_VERSION, .from_us = e->from_us, .to_us = e->to_us };
    uint8_t      key[KEY_ERASED_LEN];

    key_put_erased(key, e->lsn, e->series);
    rocksdb_writebatch_put_cf(batch, p->rocks->cf[PART_ERASED], (const char *)key, sizeof key, (const char *)&v,
                              sizeof v);
    part_put_latest(p, batch, e->series, series_at(p->map, e->series)->sealed_lsn);
}

uint32_t
part_erase_store(part *p, rocksdb_writebatch_t *batch)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < p->erasure_count && n < STORE_ERASURES; i++) {
        if (p->erasures[i].stored)
            continue;
        put_erased(p, batch, &p->erasures[i]);
        n++;
    }
    return n;
}

void
part_erase_stored(part *p, uint32_t count)
{
    for (uint32_t i = 0; i < p->erasure_count && count > 0; i++) {
        count -= !p->erasures[i].stored;
        p->erasures[i].stored = true;
    }
}

uint64_t
part_erase_unstored(const part *p)
{
    for (uint32_t i = 0; i < p->erasure_count; i++)
        if (!p->erasures[i].stored)
            return p->erasures[i].lsn;
    return 0;
}

void
part_erase_forget(part *p, uint32_t at)
{
    ASSERT(at < p->erasure_count);
    p->erasure_count--;
    memmove(p->erasures + at, p->erasures + at + 1, (p->erasure_count - at) * sizeof *p->erasures);
}
