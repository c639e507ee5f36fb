#include "storage/part_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/log.h"
#include "storage/chunk.h"
#include "storage/part_inner.h"
#include "storage/rollup.h"

enum { FAULTS_LOGGED = 20, PROGRESS_EVERY = 2048 };

typedef struct check {
    part             *p;
    part_checked     *out;
    bool              rows;
    part_progress_fn *progress;
    void             *ctx;
    uint64_t          estimate;
    uint32_t         *metric_of; /* by the text number of a metric: its index + 1 */
    uint32_t          metric_room, metrics_room;
    bool              erased; /* something was: latest values may be older than rows that are on their way out */
    chunk_scratch    *scratch;
    int64_t           times[CHUNK_ROWS_MAX];
    double            values[CHUNK_ROWS_MAX];
    head_row          run[CHUNK_ROWS_MAX];
    rollup            made, kept;
} check;

static void
fault(check *c, uint64_t *count, uint32_t number, const char *what)
{
    (*count)++;
    bool known = number > 0 && number <= series_count(c->p->map) && series_at(c->p->map, number)->machine != 0;

    if (c->out->fault_count++ < FAULTS_LOGGED)
        log_error("part.check", "dir=%s series=%u machine=%u metric=%s fault=\"%s\"", c->p->dir, number,
                  known ? series_at(c->p->map, number)->machine : 0,
                  log_quote(known ? series_metric(c->p->map, number) : view_str("")), what);
}

/* ---- what bytes go to ---- */

static metric_use *
use_of(check *c, uint32_t number, const series *s)
{
    part_checked *o = c->out;
    view          name;

    if (s->metric >= c->metric_room) {
        uint32_t room = s->metric * 2 + 64;

        c->metric_of = realloc(c->metric_of, room * sizeof *c->metric_of);
        ASSERT(c->metric_of != NULL);
        memset(c->metric_of + c->metric_room, 0, (room - c->metric_room) * sizeof *c->metric_of);
        c->metric_room = room;
    }
    if (c->metric_of[s->metric] != 0)
        return &o->metrics[c->metric_of[s->metric] - 1];
    if (o->metric_count == c->metrics_room) {
        c->metrics_room = c->metrics_room == 0 ? 64 : 2 * c->metrics_room;
        o->metrics = realloc(o->metrics, c->metrics_room * sizeof *o->metrics);
        ASSERT(o->metrics != NULL);
    }
    c->metric_of[s->metric] = ++o->metric_count;
    o->metrics[o->metric_count - 1] = (metric_use){ 0 };
    name = series_metric(c->p->map, number);
    memcpy(o->metrics[o->metric_count - 1].name, name.at, min_u64(name.len, sizeof o->metrics->name - 1));
    return &o->metrics[o->metric_count - 1];
}

/* NULL: no series has that number. */
static series *
series_or_null(check *c, uint32_t number)
{
    series *s = number > 0 && number <= series_count(c->p->map) ? series_at(c->p->map, number) : NULL;

    return s != NULL && s->machine != 0 ? s : NULL;
}

/* ---- chunks and their summaries ---- */

static bool
same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static bool
says_the_same(const chunk_summary *a, const chunk_summary *b)
{
    return a->count == b->count && a->first_us == b->first_us && a->last_us == b->last_us &&
           same_bits(a->first, b->first) && same_bits(a->last, b->last) && a->min == b->min && a->max == b->max;
}

static void
check_rows(check *c, const chunk_key *k, const chunk_info *info, view chunk, view summary)
{
    part_fault_counts *f = &c->out->faults;
    series            *s = series_or_null(c, k->series);

    if (chunk_decode(chunk, c->scratch, c->times, c->values) < 0) {
        fault(c, &f->chunks, k->series, "a chunk cannot be decoded");
        return;
    }
    for (uint32_t i = 0; i < info->count; i++) {
        if (key_day(c->times[i]) != k->day || (i > 0 && c->times[i] <= c->times[i - 1])) {
            fault(c, &f->chunks, k->series, "times of a chunk are out of their day or order");
            return;
        }
        c->run[i] = (head_row){ c->times[i], c->values[i] };
    }
    if (s != NULL && !c->erased && (s->latest_lsn == 0 || c->times[info->count - 1] > s->latest_us))
        fault(c, &f->latest, k->series, "the latest reading is older than a sealed one");
    if (summary.at == NULL)
        return;
    rollup_make(&c->made, c->run, info->count, false, NULL);
    if (!says_the_same(&c->made.whole, &c->kept.whole))
        fault(c, &f->rollups, k->series, "a rollup does not say what its rows do");
}

/* One key's chunk (NULL: none) and summary (NULL: none). */
static void
check_pair(check *c, view key, view chunk, view summary)
{
    part_fault_counts *f = &c->out->faults;
    chunk_info         info = { 0 };
    chunk_key          k;
    series            *s;

    if (key.len != KEY_CHUNK_LEN) {
        fault(c, &f->chunks, 0, "a key of another length");
        return;
    }
    k = key_get_chunk(key.at);
    s = series_or_null(c, k.series);
    if (s == NULL)
        fault(c, &f->series, k.series, "a chunk of a series that is none");
    if (k.lsn >= c->p->next_lsn)
        fault(c, &f->chunks, k.series, "a chunk from the future");
    if (summary.at != NULL && rollup_read(&c->kept, &k, summary) < 0) {
        fault(c, &f->rollups, k.series, "a rollup is unsound");
        summary = view_of(NULL, 0);
    } else if (summary.at == NULL) {
        fault(c, &f->summaries, k.series, "a chunk without its rollup");
    }
    if (chunk.at == NULL && summary.at != NULL && !c->kept.bare)
        fault(c, &f->rollups, k.series, "a rollup without its chunk");
    if (chunk.at != NULL && (chunk_read(chunk, &info) < 0 || info.first_us != k.first_us))
        fault(c, &f->chunks, k.series, "a chunk is unsound");
    else if (chunk.at != NULL && c->rows)
        check_rows(c, &k, &info, chunk, summary);
    err_clear();
    c->out->chunks += chunk.at != NULL;
    c->out->readings += info.count;
    c->out->chunk_bytes += chunk.len;
    c->out->rollup_bytes += summary.len;
    if (s != NULL) {
        metric_use *u = use_of(c, k.series, s);

        u->chunks += chunk.at != NULL;
        u->readings += info.count;
        u->chunk_bytes += chunk.len + (chunk.at != NULL ? key.len : 0);
        u->rollup_bytes += summary.len + (summary.at != NULL ? key.len : 0);
    }
}

typedef struct walk {
    rocksdb_iterator_t *it;
    view                key, value; /* NULL: at the end */
} walk;

static void
walk_look(walk *w)
{
    size_t len;

    w->key = w->value = view_of(NULL, 0);
    if (!rocksdb_iter_valid(w->it))
        return;
    w->key.at = (const uint8_t *)rocksdb_iter_key(w->it, &len);
    w->key.len = len;
    w->value.at = (const uint8_t *)rocksdb_iter_value(w->it, &len);
    w->value.len = len;
}

static void
walk_open(walk *w, check *c, const rocksdb_readoptions_t *read, enum part_family family)
{
    w->it = rocksdb_create_iterator_cf(c->p->rocks->db, read, c->p->rocks->cf[family]);
    rocksdb_iter_seek_to_first(w->it);
    walk_look(w);
}

static void
walk_next(walk *w)
{
    rocksdb_iter_next(w->it);
    walk_look(w);
}

/* A block that RocksDB itself finds damaged ends a walk. */
static int
walk_close(walk *w, check *c, const char *what)
{
    char *text = NULL;

    rocksdb_iter_get_error(w->it, &text);
    rocksdb_iter_destroy(w->it);
    if (text != NULL)
        fault(c, &c->out->faults.chunks, 0, text);
    return rocks_result(text, what);
}

static int
order(view a, view b)
{
    if (a.at == NULL || b.at == NULL)
        return (a.at == NULL) - (b.at == NULL); /* what ended comes last */
    int n = memcmp(a.at, b.at, min_u64(a.len, b.len));
    return n != 0 ? n : (a.len > b.len) - (a.len < b.len);
}

/* Chunks and rollups lie under the same keys: side by side. */
static void
check_chunks(check *c)
{
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    walk                   chunks, rollups;
    uint64_t               done = 0;

    rocksdb_readoptions_set_verify_checksums(read, 1);
    rocksdb_readoptions_set_fill_cache(read, 0);
    rocksdb_readoptions_set_readahead_size(read, 2 << 20);
    walk_open(&chunks, c, read, PART_CHUNKS);
    walk_open(&rollups, c, read, PART_ROLLUPS);
    while (chunks.key.at != NULL || rollups.key.at != NULL) {
        int n = order(chunks.key, rollups.key);

        check_pair(c, n <= 0 ? chunks.key : rollups.key, n <= 0 ? chunks.value : view_of(NULL, 0),
                   n >= 0 ? rollups.value : view_of(NULL, 0));
        if (n <= 0)
            walk_next(&chunks);
        if (n >= 0)
            walk_next(&rollups);
        if (++done % PROGRESS_EVERY == 0 && c->progress != NULL)
            c->progress(c->ctx, done, max_u64(done, c->estimate));
    }
    int chunks_rc = walk_close(&chunks, c, "chunks"); /* each, whatever the other one met: RocksDB insists */
    int rollups_rc = walk_close(&rollups, c, "rollups");
    if (chunks_rc < 0 || rollups_rc < 0)
        err_clear();
    rocksdb_readoptions_destroy(read);
    if (c->progress != NULL)
        c->progress(c->ctx, done, done);
}

/* ---- series, their heads, their latest readings ---- */

static void
check_series(check *c)
{
    part *p = c->p;

    for (uint32_t i = 1; i <= series_count(p->map); i++) {
        series   *s = series_or_null(c, i);
        head_view h = part_head(p, i);
        int64_t   newest = INT64_MIN;

        if (s == NULL) {
            if (h.count > 0)
                fault(c, &c->out->faults.series, i, "unsealed readings of a series that is none");
            continue;
        }
        c->out->series++;
        if (series_find(p->map, s->machine, series_metric(p->map, i)) != i)
            fault(c, &c->out->faults.series, i, "two series of one name");
        for (uint32_t r = 0; r < h.count; r++)
            newest = h.rows[r].time_us > newest ? h.rows[r].time_us : newest;
        if (h.count > 0 && !c->erased && (s->latest_lsn == 0 || newest > s->latest_us))
            fault(c, &c->out->faults.latest, i, "the latest reading is older than an unsealed one");
        c->out->head_readings += h.count;
        metric_use *u = use_of(c, i, s);
        u->series++;
        u->head_readings += h.count;
    }
}

/* A place in a short list that is kept in order, the greatest first; NULL: it is too small for it. */
static grower *
place_for(grower *list, uint32_t *count, uint64_t figure)
{
    uint32_t at = *count;

    while (at > 0 && list[at - 1].series < figure)
        at--;
    if (at == GROWERS_MAX)
        return NULL;
    *count += *count < GROWERS_MAX;
    memmove(list + at + 1, list + at, (*count - at - 1) * sizeof *list);
    list[at] = (grower){ .series = figure };
    return &list[at];
}

/* Series in the order of the blocks that made them, and machines by how many they have. */
static void
find_growers(check *c)
{
    part_checked *o = c->out;
    part         *p = c->p;
    uint32_t      machines = 0;
    uint64_t     *count;
    uint32_t     *tenant;

    for (uint32_t i = 1; i <= series_count(p->map); i++)
        machines = series_at(p->map, i)->machine > machines ? series_at(p->map, i)->machine : machines;
    count = calloc(machines + 1u, sizeof *count);
    tenant = calloc(machines + 1u, sizeof *tenant);
    ASSERT(count != NULL && tenant != NULL);
    for (uint32_t i = series_count(p->map); i > 0; i--) { /* numbers are given in order */
        const series *s = series_at(p->map, i);

        if (s->machine == 0)
            continue;
        count[s->machine]++;
        tenant[s->machine] = s->tenant;
        if (o->newest_count < GROWERS_MAX) {
            grower *g = &o->newest[o->newest_count++];
            view    name = series_metric(p->map, i);

            *g = (grower){ .machine = s->machine, .tenant = s->tenant };
            memcpy(g->metric, name.at, min_u64(name.len, sizeof g->metric - 1));
        }
    }
    for (uint32_t m = 1; m <= machines; m++) {
        grower *g = count[m] == 0 ? NULL : place_for(o->most, &o->most_count, count[m]);

        if (g != NULL) {
            g->machine = m;
            g->tenant = tenant[m];
        }
    }
    free(count);
    free(tenant);
}

static int
most_readings_first(const void *a, const void *b)
{
    const metric_use *x = a, *y = b;
    uint64_t          nx = x->readings + x->head_readings, ny = y->readings + y->head_readings;

    return nx != ny ? (nx < ny ? 1 : -1) : strcmp(x->name, y->name);
}

static void
note_sizes(check *c)
{
    for (int f = 0; f < PART_FAMILY_COUNT; f++) {
        uint64_t n = 0;

        (void)rocksdb_property_int_cf(c->p->rocks->db, c->p->rocks->cf[f], "rocksdb.live-sst-files-size", &n);
        c->out->table_bytes += n;
    }
    (void)rocksdb_property_int_cf(c->p->rocks->db, c->p->rocks->cf[PART_CHUNKS], "rocksdb.estimate-num-keys",
                                  &c->estimate);
}

static bool
any_key(check *c, enum part_family family)
{
    walk w;
    bool any;

    walk_open(&w, c, c->p->rocks->read, family);
    any = w.key.at != NULL;
    rocksdb_iter_destroy(w.it);
    return any;
}

int
part_check_image(const char *dir, uint16_t number, bool rows, part_checked *out, part_progress_fn *progress, void *ctx)
{
    part_config    config = { .dir = dir, .number = number, .journal_bytes = 256 << 20, .heads_bytes = 1 << 30,
                              .cache_bytes = 32 << 20, .durability = JOURNAL_OS };
    journal_report report;
    check         *c = calloc(1, sizeof *c);
    int            rc;

    ASSERT(c != NULL);
    *out = (part_checked){ 0 };
    *c = (check){ .out = out, .rows = rows, .progress = progress, .ctx = ctx, .scratch = chunk_scratch_new() };
    rc = part_open(&c->p, &config, NULL, &report);
    if (rc == E_OK) {
        out->journal_blocks = report.blocks;
        out->torn_bytes = report.torn_bytes;
        out->written = c->p->written;
        for (uint32_t i = 0; i < report.damaged; i++)
            fault(c, &out->faults.blocks, 0, "a damaged block of the journal");
        if (c->p->lost_rows > 0)
            fault(c, &out->faults.blocks, 0, "rows in the journal whose series nobody knows");
        c->erased = any_key(c, PART_ERASED);
        note_sizes(c);
        check_chunks(c);
        check_series(c);
        find_growers(c);
        if (out->metric_count > 1)
            qsort(out->metrics, out->metric_count, sizeof *out->metrics, most_readings_first);
        part_abandon(&c->p);
    }
    chunk_scratch_free(&c->scratch);
    free(c->metric_of);
    free(c);
    return rc;
}

void
part_checked_free(part_checked *c)
{
    free(c->metrics);
    *c = (part_checked){ 0 };
}
