/* part_retain.c - what is older than its tenant's rules say goes: a bounded piece a call, day by day, the oldest first.
 *
 *   a day all of whose series have lost their raw readings     -> files and a range of keys, at once
 *   a series whose raw readings are over, its rollups not yet  -> its chunks of the day become one rollup without rows
 *   a series whose rollups are over too                        -> its keys of the day
 *
 * Chunks that overlap are merged before they are reduced to their hours, so that nothing counts twice.  What comes late
 * for a day that is reduced stays until the next round, and goes without a trace.
 *
 * `horizon` is the owner's: never the wall clock alone (actors/ingest.c).
 */
#include <stdlib.h>

#include "proto/err.h"
#include "proto/log.h"
#include "storage/part_inner.h"
#include "storage/retain.h"

enum {
    LOOK_AT_KEYS = 200000, /* of a day, to see whether all of it goes; more: key by key */
    GROUP_MAX = 65536,     /* chunks of a series and day; more are left as they are */
    PREVIEW_KEYS = 50000,
    LOOK_AT_HEADS = 4096,  /* series in a call */
};

/* ---- rules ---- */

static void
rules_key(uint8_t out[14], uint32_t tenant)
{
    memcpy(out, "retention/", 10);
    store_be32(out + 10, tenant);
}

static tenant_rules *
rules_of(const part *p, uint32_t tenant)
{
    for (uint32_t i = 0; i < p->tenant_count; i++)
        if (p->tenants[i]->tenant == tenant)
            return p->tenants[i];
    return NULL;
}

int
part_retain_loaded(part *p, uint32_t tenant, view bytes)
{
    tenant_rules *t = rules_of(p, tenant);
    retain_rule   checked[RETAIN_RULES_MAX];
    uint32_t      count;

    if (retain_read(bytes, checked, &count) < 0)
        return E_BAD;
    if (t == NULL) {
        p->tenants = realloc(p->tenants, (p->tenant_count + 1) * sizeof *p->tenants);
        ASSERT(p->tenants != NULL);
        t = p->tenants[p->tenant_count++] = calloc(1, sizeof *t);
        ASSERT(t != NULL);
        t->tenant = tenant;
    }
    free(t->bytes);
    t->bytes = malloc(bytes.len + 1);
    ASSERT(t->bytes != NULL);
    if (bytes.len > 0)
        memcpy(t->bytes, bytes.at, bytes.len);
    t->len = bytes.len;
    (void)!retain_read(view_of(t->bytes, t->len), t->rules, &t->count); /* now pointing into our copy */
    return E_OK;
}

int
part_retain_set(part *p, uint32_t tenant, view bytes)
{
    retain_rule checked[RETAIN_RULES_MAX];
    uint32_t    count;
    uint8_t     key[14];
    char       *text = NULL;
    int         rc = retain_read(bytes, checked, &count);

    if (rc < 0)
        return err(rc, "rules of retention");
    if (p->broken < 0 || p->syncing)
        return err(E_AGAIN, "partition %u takes no rules now", p->config.number);
    rules_key(key, tenant);
    rocksdb_put_cf(p->rocks->db, p->rocks->write_synced, p->rocks->cf[PART_META], (const char *)key, sizeof key,
                   (const char *)bytes.at, bytes.len, &text);
    rc = rocks_result(text, "store rules of retention");
    if (rc < 0) {
        part_break(p, rc);
        return err(rc, "rules of retention");
    }
    p->retain_day = INT32_MIN; /* from the oldest day again */
    p->retain_series = p->retain_head = 0;
    p->retain_entered = false;
    return part_retain_loaded(p, tenant, bytes);
}

void
part_retain_free(part *p)
{
    for (uint32_t i = 0; i < p->tenant_count; i++) {
        free(p->tenants[i]->bytes);
        free(p->tenants[i]);
    }
    free(p->tenants);
}

view
part_retain_rules(const part *p, uint32_t tenant)
{
    const tenant_rules *t = rules_of(p, tenant);

    return t != NULL ? view_of(t->bytes, t->len) : (view){ 0 };
}

/* Days before these are over; INT32_MIN: none. */
typedef struct limits {
    int32_t raw, rollups;
} limits;

static limits
limits_by(const retain_rule *rules, uint32_t count, view metric, int32_t today)
{
    const retain_rule *r = retain_rule_of(rules, count, metric);
    limits             l = { INT32_MIN, INT32_MIN };

    if (r != NULL && r->raw_days > 0)
        l.raw = today - (int32_t)r->raw_days;
    if (r != NULL && r->rollup_days > 0)
        l.rollups = today - (int32_t)r->rollup_days;
    return l;
}

static limits
limits_of(const part *p, uint32_t number, int32_t today)
{
    const series       *s = number > 0 && number <= series_count(p->map) ? series_at(p->map, number) : NULL;
    const tenant_rules *t = s != NULL && s->machine != 0 ? rules_of(p, s->tenant) : NULL;

    if (t == NULL)
        return (limits){ INT32_MIN, INT32_MIN };
    return limits_by(t->rules, t->count, series_metric(p->map, number), today);
}

/* No day from this one on has anything over. */
static int32_t
nothing_from(const part *p, int32_t today)
{
    int32_t least = INT32_MIN;

    for (uint32_t i = 0; i < p->tenant_count; i++)
        for (uint32_t k = 0; k < p->tenants[i]->count; k++) {
            const retain_rule *r = &p->tenants[i]->rules[k];

            if (r->raw_days > 0 && today - (int32_t)r->raw_days > least)
                least = today - (int32_t)r->raw_days;
        }
    return least;
}

/* ---- a walk over keys ---- */

static bool
key_at(rocksdb_iterator_t *it, chunk_key *k)
{
    size_t      len;
    const char *key;

    while (rocksdb_iter_valid(it)) {
        key = rocksdb_iter_key(it, &len);
        if (len == KEY_CHUNK_LEN) {
            *k = key_get_chunk((const uint8_t *)key);
            return true;
        }
        rocksdb_iter_next(it);
    }
    return false;
}

static rocksdb_iterator_t *
walk_from(const part *p, int32_t day, uint32_t number)
{
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(p->rocks->db, p->rocks->read, p->rocks->cf[PART_ROLLUPS]);
    uint8_t             key[KEY_CHUNK_LEN];

    key_put_chunk(key, (chunk_key){ .day = day, .series = number, .first_us = INT64_MIN });
    rocksdb_iter_seek(it, (const char *)key, sizeof key);
    return it;
}

static int
end_walk(rocksdb_iterator_t *it)
{
    char *text = NULL;

    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    return rocks_result(text, "walk over rollups");
}

/* ---- a whole day ---- */

typedef struct verdict {
    bool raw;  /* the raw readings of every series are over */
    bool all;  /* and so are the rollups */
    bool work; /* there is something that is over */
} verdict;

static int
judge_day(part *p, int32_t day, int32_t today, verdict *v)
{
    rocksdb_iterator_t *it = walk_from(p, day, 0);
    chunk_key           k;
    uint32_t            n = 0;

    *v = (verdict){ .raw = true, .all = true };
    for (; key_at(it, &k) && k.day == day && n < LOOK_AT_KEYS; rocksdb_iter_next(it), n++) {
        limits      l = limits_of(p, k.series, today);
        size_t      len;
        const char *value = rocksdb_iter_value(it, &len);

        v->raw = v->raw && day < l.raw;
        v->all = v->all && day < l.rollups;
        v->work = v->work || day < l.rollups || (day < l.raw && !rollup_is_bare(view_of(value, len)));
    }
    if (n == LOOK_AT_KEYS)
        *v = (verdict){ .work = true };
    return end_walk(it);
}

static int
drop_day(part *p, enum part_family family, int32_t day)
{
    uint8_t from[KEY_CHUNK_LEN], to[KEY_CHUNK_LEN];
    char   *text = NULL;
    int     rc;

    key_put_chunk(from, (chunk_key){ .day = day, .first_us = INT64_MIN });
    key_put_chunk(to, (chunk_key){ .day = day + 1, .first_us = INT64_MIN });
    rocksdb_delete_file_in_range_cf(p->rocks->db, p->rocks->cf[family], (const char *)from, sizeof from,
                                    (const char *)to, sizeof to, &text);
    rc = rocks_result(text, "drop files");
    if (rc < 0)
        return rc;
    text = NULL;
    rocksdb_delete_range_cf(p->rocks->db, p->rocks->write, p->rocks->cf[family], (const char *)from, sizeof from,
                            (const char *)to, sizeof to, &text);
    rc = rocks_result(text, "drop a day");
    if (rc < 0)
        part_break(p, rc);
    return rc;
}

/* ---- a series of a day ---- */

typedef struct group {
    part                 *p;
    uint32_t              number; /* of the series */
    rocksdb_writebatch_t *batch;
    chunk_cursor         *cursor;
    int64_t              *times;
    double               *values;
    head_row             *rows;
    rollup                sum; /* what the chunks with rows come to */
    bool                  has_sum, has_bare, overlaps;
    int64_t               until_us;
    uint32_t              gen;
    uint64_t              lsn, readings;
    uint32_t              chunks;
} group;

/* The hours of a chunk that kept none. */
static int
count_hours(group *g, rollup *r)
{
    chunk_summary s = r->whole;
    int           rc = chunk_cursor_rows_of(g->cursor, &s, g->times, g->values);

    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < s.count; i++)
        g->rows[i] = (head_row){ g->times[i], g->values[i] };
    rollup_make(r, g->rows, s.count, true, NULL);
    return E_OK;
}

/* A damaged chunk has nothing to add. */
static int
add_chunk(group *g)
{
    rollup r = *chunk_cursor_rollup(g->cursor);
    int    rc = E_OK;

    g->overlaps |= g->has_sum && r.whole.first_us <= g->until_us;
    g->until_us = g->has_sum && g->until_us > r.whole.last_us ? g->until_us : r.whole.last_us;
    g->gen = (uint32_t)max_u64(g->gen, r.whole.gen + 1);
    g->lsn = max_u64(g->lsn, r.whole.lsn);
    if (r.hours == 0)
        rc = count_hours(g, &r);
    if (rc == E_BAD || rc == E_NOTFOUND) {
        err_clear();
        return E_OK;
    }
    if (rc < 0)
        return rc;
    if (g->has_sum)
        rollup_join(&g->sum, &r);
    else
        g->sum = r;
    g->has_sum = true;
    return E_OK;
}

static void
delete_chunk(group *g, uint32_t number, const chunk_summary *s)
{
    uint8_t key[KEY_CHUNK_LEN];

    key_put_chunk(key, (chunk_key){ key_day(s->first_us), number, s->first_us, (uint16_t)s->gen, s->lsn });
    rocksdb_writebatch_delete_cf(g->batch, g->p->rocks->cf[PART_ROLLUPS], (const char *)key, sizeof key);
    rocksdb_writebatch_delete_cf(g->batch, g->p->rocks->cf[PART_CHUNKS], (const char *)key, sizeof key);
}

static void
put_sum(group *g, uint32_t number)
{
    chunk_key k = { .series = number, .first_us = g->sum.whole.first_us, .gen = (uint16_t)g->gen, .lsn = g->lsn };

    k.day = key_day(k.first_us);
    g->sum.bare = true;
    part_put_rollup(g->p, g->batch, &k, &g->sum);
}

/* What there is of the series and day, whose raw readings are over; reduce: their hours stay. */
static int
take_group(group *g, uint32_t number, int32_t day, bool reduce)
{
    int64_t       start = (int64_t)day * KEY_DAY_US;
    chunk_summary s;
    int           rc = E_OK;

    chunk_cursor_seek(g->cursor, number, start, start + KEY_DAY_US);
    while (rc >= 0 && (rc = chunk_cursor_next(g->cursor, &s)) == 1) {
        bool bare = chunk_cursor_rollup(g->cursor)->bare;

        if (++g->chunks > GROUP_MAX)
            return err(E_LIMIT, "more than %d chunks of series %u in one day", GROUP_MAX, number);
        g->has_bare |= bare;
        if (bare && reduce)
            continue;
        g->readings += bare ? 0 : s.count;
        delete_chunk(g, number, &s);
        if (reduce)
            rc = add_chunk(g);
    }
    return rc < 0 ? rc : E_OK;
}

static int
write_group(group *g)
{
    part *p = g->p;
    char *text = NULL;
    int   rc;

    rocksdb_write(p->rocks->db, p->rocks->write, g->batch, &text);
    rc = rocks_result(text, "retention");
    if (rc < 0) {
        part_break(p, rc);
        return err(rc, "retention");
    }
    p->sealed_seq = rocksdb_get_latest_sequence_number(p->rocks->db);
    part_changed(p, g->number);
    p->retained_readings += g->readings;
    p->retain_did = true;
    return E_OK;
}

/* Chunks that overlap are merged first; the next round finds them apart.  Where the hours are there already, what came
 * late goes. */
static int
settle_group(group *g, uint32_t number, int32_t day, bool reduce)
{
    if (g->gen > KEY_GEN_MAX || rocksdb_writebatch_count(g->batch) == 0)
        return E_OK;
    if (reduce && g->overlaps && !g->has_bare) {
        part_merge_day(g->p, number, day);
        return E_OK;
    }
    if (reduce && g->has_sum && !g->has_bare)
        put_sum(g, number);
    return write_group(g);
}

static int
retain_group(part *p, uint32_t number, int32_t day, const limits *l)
{
    part_reader *r = part_reader_inside(p);
    bool         reduce = day >= l->rollups;
    group        g = { .p = p, .number = number, .batch = rocksdb_writebatch_create() };
    int          rc = chunk_cursor_open(&g.cursor, r, number, 0, 0);

    g.times = malloc(CHUNK_ROWS_MAX * sizeof *g.times);
    g.values = malloc(CHUNK_ROWS_MAX * sizeof *g.values);
    g.rows = malloc(CHUNK_ROWS_MAX * sizeof *g.rows);
    ASSERT(g.times != NULL && g.values != NULL && g.rows != NULL);
    if (rc == E_OK)
        rc = take_group(&g, number, day, reduce);
    if (rc == E_OK)
        rc = settle_group(&g, number, day, reduce);
    if (g.cursor != NULL)
        chunk_cursor_close(&g.cursor);
    part_reader_close(&r);
    rocksdb_writebatch_destroy(g.batch);
    free(g.times);
    free(g.values);
    free(g.rows);
    return rc;
}

/* ---- a piece of it ---- */

/* The next series with something of the day or a later one; 0: there is none before `until`. */
static int
next_group(part *p, int32_t until, chunk_key *k)
{
    rocksdb_iterator_t *it = walk_from(p, p->retain_day, p->retain_series);
    bool                found = key_at(it, k) && k->day < until;
    int                 rc = end_walk(it);

    return rc < 0 ? rc : found;
}

static int
drop_all(part *p, int32_t day)
{
    int rc = drop_day(p, PART_CHUNKS, day);

    part_changed_all(p);
    if (rc == E_OK)
        rc = drop_day(p, PART_ROLLUPS, day);
    part_changed_all(p);
    if (rc < 0)
        return rc;
    p->sealed_seq = rocksdb_get_latest_sequence_number(p->rocks->db);
    log_info("part.retention", "dir=%s day=%d", p->dir, day);
    return E_OK;
}

static int
enter_day(part *p, int32_t day, int32_t today)
{
    verdict v;
    int     rc = judge_day(p, day, today, &v);

    if (rc == E_OK && v.all)
        rc = drop_all(p, day);
    if (rc < 0)
        return rc;
    p->retain_entered = v.work && !v.all;
    p->retain_day = p->retain_entered ? day : day + 1;
    p->retain_series = 0;
    p->retain_raw = v.raw;
    p->retain_did = false;
    return E_OK;
}

/* Behind the last series of a day that has lost all its rows: their files, too. */
static int
leave_day(part *p)
{
    bool drop = p->retain_entered && p->retain_raw && p->retain_did;

    p->retain_entered = false;
    return drop ? drop_day(p, PART_CHUNKS, p->retain_day) : E_OK;
}

static bool
has_row_before(const head_view *h, int64_t time_us)
{
    for (uint32_t i = 0; i < h->count; i++)
        if (h->rows[i].time_us < time_us)
            return true;
    return false;
}

/* Heads with rows that are over are sealed first: what is not in a chunk cannot go.  True: there is more. */
static bool
ripen_heads(part *p, int32_t today)
{
    uint32_t until = (uint32_t)min_u64((uint64_t)p->retain_head + LOOK_AT_HEADS, series_count(p->map));

    while (p->retain_head < until) {
        uint32_t  number = ++p->retain_head;
        head_view h = part_head(p, number);
        limits    l = h.count > 0 ? limits_of(p, number, today) : (limits){ INT32_MIN, INT32_MIN };

        if (l.raw != INT32_MIN && has_row_before(&h, l.raw * KEY_DAY_US))
            heads_ripen(p->heads, series_at(p->map, number)->head);
    }
    return p->retain_head < series_count(p->map) || heads_ripest(p->heads) != 0;
}

static int
retain_some(part *p, int32_t today)
{
    chunk_key k;
    limits    l;
    int       rc, left;

    if (p->retain_day == INT32_MIN && ripen_heads(p, today))
        return 1;
    rc = next_group(p, nothing_from(p, today), &k);
    if (rc < 0)
        return rc;
    if (rc == 1 && p->retain_entered && k.day == p->retain_day) {
        l = limits_of(p, k.series, today);
        p->retain_series = k.series + 1;
        rc = k.day < l.raw ? retain_group(p, k.series, k.day, &l) : E_OK;
        return rc < 0 ? rc : 1;
    }
    if ((left = leave_day(p)) < 0)
        return left;
    if (rc == 1)
        return (rc = enter_day(p, k.day, today)) < 0 ? rc : 1;
    p->retain_day = INT32_MIN;
    p->retain_series = 0;
    p->retain_head = 0;
    return 0;
}

bool
part_retain(part *p, int64_t horizon_us, int *rc)
{
    int more;

    *rc = E_OK;
    if (p->tenant_count == 0 || p->broken < 0 || p->syncing)
        return false;
    *rc = part_db_space(p->dir);
    if (*rc < 0)
        return false;
    more = retain_some(p, key_day(horizon_us));
    *rc = more < 0 ? more : E_OK;
    return more > 0;
}

/* ---- what would go ---- */

int
part_retain_preview(part *p, uint32_t tenant, view bytes, int64_t horizon_us, retain_preview *out)
{
    retain_rule         rules[RETAIN_RULES_MAX];
    uint32_t            count, n = 0;
    int32_t             today = key_day(horizon_us);
    rocksdb_iterator_t *it;
    chunk_key           k;
    int                 rc = retain_read(bytes, rules, &count);

    *out = (retain_preview){ .complete = true };
    if (rc < 0 || p->rocks->db == NULL)
        return rc < 0 ? err(rc, "rules of retention") : err(E_AGAIN, "the partition is being opened anew");
    it = walk_from(p, INT32_MIN, 0);
    for (; key_at(it, &k) && k.day < today && n < PREVIEW_KEYS; rocksdb_iter_next(it), n++) {
        const series *s = k.series > 0 && k.series <= series_count(p->map) ? series_at(p->map, k.series) : NULL;
        limits        l;
        rollup        r;
        size_t        len;
        const char   *value = rocksdb_iter_value(it, &len);

        if (s == NULL || s->machine == 0 || s->tenant != tenant)
            continue;
        l = limits_by(rules, count, series_metric(p->map, k.series), today);
        if (k.day >= l.raw || rollup_read(&r, &k, view_of(value, len)) < 0)
            continue;
        out->readings += r.bare ? 0 : r.whole.count;
        out->rollup_readings += k.day < l.rollups ? r.whole.count : 0;
    }
    err_clear();
    out->complete = n < PREVIEW_KEYS;
    return end_walk(it);
}
