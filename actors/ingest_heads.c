/* ingest_heads.c - unsealed rows for queries: gathered at once, streamed as the asker grants.
 *
 * Gathering at once makes the answer one moment's truth: a head that is sealed while its rows are
 * on their way is not missed.  What all answers hold together is bounded.
 */
#include "actors/ingest_internal.h"

#include "proto/err.h"
#include "storage/rollup.h"

#include <stdlib.h>

enum {
    PART_MAX = 32768, /* bytes of one message */
    FEW = 5,          /* rows that are no longer than their figures */
};
#define ONE_MAX ((size_t)64 << 20)  /* bytes of one answer */
#define ALL_MAX ((size_t)256 << 20) /* of all */
#define SUMS_MAX ((size_t)32 << 20) /* that are kept for the next question */
_Static_assert(FEW * sizeof(head_row) <= sizeof(chunk_summary), "fewer rows are shorter");

static const size_t record_lens[HEAD_END + 1] = {
    [HEAD_ROWS] = sizeof(head_row),
    [HEAD_SUMS] = sizeof(chunk_summary),
    [HEAD_ERASED] = sizeof(erased_row),
    [HEAD_VERSIONS] = sizeof(uint64_t),
};

static heads_stream *
free_stream(ingest *in)
{
    for (uint32_t i = 0; i < STREAMS_MAX; i++)
        if (!in->streams[i].used)
            return &in->streams[i];
    return NULL;
}

static void
drop(ingest *in, heads_stream *s)
{
    in->streams_len -= s->len;
    free(s->parts);
    memset(s, 0, sizeof *s);
}

/* A piece that is being written: at an offset, because what it lies in grows. */
typedef struct piece {
    heads_stream *s;
    uint32_t      series, kind;
    uint64_t      lsn;
    size_t        at; /* of its head */
    uint32_t      rows, rows_max; /* rows_max 0: it has not begun */
} piece;

static void *
room_for(heads_stream *s, size_t len)
{
    size_t   want = s->room == 0 ? 4096 : s->room;
    uint8_t *grown;

    while (want < s->len + len)
        want *= 2;
    if (want > s->room) {
        grown = realloc(s->parts, want);
        ASSERT(grown != NULL); /* ONE_MAX and what one series has at most */
        s->parts = grown;
        s->room = want;
    }
    s->len += len;
    return s->parts + (s->len - len);
}

static void
put_record(piece *p, const void *record)
{
    size_t     len = record_lens[p->kind];
    head_rows *h;

    if (p->rows == p->rows_max) {
        p->rows = 0;
        p->rows_max = (uint32_t)((PART_MAX - sizeof *h) / len);
        h = room_for(p->s, sizeof *h);
        p->at = (size_t)((uint8_t *)h - p->s->parts);
        *h = (head_rows){ .series = p->series, .kind = p->kind, .lsn = p->lsn };
    }
    memcpy(room_for(p->s, len), record, len);
    h = (head_rows *)(void *)(p->s->parts + p->at);
    h->rows = ++p->rows;
}

/* The first of rows, by time, that is not before until_us. */
static uint32_t
first_at(const head_row *rows, uint32_t count, int64_t until_us)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (rows[mid].time_us < until_us)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* What of a run of rows lies in the range that was asked for. */
static head_view
within(const head_view *v, uint32_t from, uint32_t count, const heads_ask *a)
{
    const head_row *rows = v->rows + from;
    uint32_t        skip = first_at(rows, count, a->start_us), until = first_at(rows, count, a->end_us);

    return (head_view){ .rows = rows + skip, .count = until > skip ? until - skip : 0 };
}

static head_view
run_of(const head_view *v, uint32_t from, const chunk_summary *sum, const heads_ask *a)
{
    if (sum->last_us < a->start_us || sum->first_us >= a->end_us)
        return (head_view){ 0 };
    if (sum->first_us >= a->start_us && sum->last_us < a->end_us)
        return (head_view){ .rows = v->rows + from, .count = sum->count };
    return within(v, from, sum->count, a);
}

/* Of each run of rows within a multiple of sum_us its figures, or the rows where they are few. */
static void
gather_runs(ingest *in, heads_stream *s, uint32_t series, const head_view *v, const heads_ask *a)
{
    piece                sums = { .s = s, .series = series, .kind = HEAD_SUMS };
    piece                rows = { .s = s, .series = series, .kind = HEAD_ROWS, .lsn = v->first_lsn };
    uint32_t             count, few = 0;
    const chunk_summary *of = head_sums_of(in->head_sums, series, v, a->sum_us, a->with_spread, &count);

    for (uint32_t i = 0, at = 0; i < count; at += of[i++].count) {
        head_view     run = run_of(v, at, &of[i], a);
        chunk_summary sum = of[i];

        few += run.count <= FEW;
        if (run.count <= FEW)
            continue;
        if (run.count < sum.count)
            sum = rollup_sum(run.rows, run.count, a->with_spread);
        sum.lsn = UINT64_MAX; /* newer than all that was erased */
        put_record(&sums, &sum);
    }
    for (uint32_t i = 0, at = 0; i < count && few > 0; at += of[i++].count) {
        head_view run = run_of(v, at, &of[i], a);

        for (uint32_t n = 0; n < run.count && run.count <= FEW; n++)
            put_record(&rows, &run.rows[n]);
    }
}

static void
gather_rows(heads_stream *s, uint32_t series, const head_view *v, const heads_ask *a)
{
    piece     p = { .s = s, .series = series, .kind = HEAD_ROWS, .lsn = v->first_lsn };
    head_view run = within(v, 0, v->count, a);

    for (uint32_t i = 0; i < run.count; i++)
        put_record(&p, &run.rows[i]);
}

static void
gather_erased(ingest *in, heads_stream *s, uint32_t series)
{
    uint32_t    n = part_erasures(in->part, series, NULL, 0);
    piece       p = { .s = s, .series = series, .kind = HEAD_ERASED };
    erased_row *rows;

    if (n == 0)
        return;
    rows = malloc(n * sizeof *rows);
    ASSERT(rows != NULL);
    (void)part_erasures(in->part, series, rows, n);
    for (uint32_t i = 0; i < n; i++)
        put_record(&p, &rows[i]);
    free(rows);
}

static void
gather_series(ingest *in, heads_stream *s, uint32_t series, const heads_ask *a)
{
    head_view v = part_head(in->part, series);

    gather_erased(in, s, series);
    if (v.count == 0)
        return;
    v = part_head_by_time(in->part, series);
    if (a->sum_us > 0)
        gather_runs(in, s, series, &v, a);
    else
        gather_rows(s, series, &v, a);
}

/* Of thousands of series nearly all lie outside the caches: each of them is three misses, one behind the other. */
static void
ask_ahead(ingest *in, const uint32_t *series, uint32_t count)
{
    enum { NEXT = 4, SOON = 8 };

    if (count > SOON)
        part_head_soon(in->part, series[SOON]);
    if (count > NEXT) {
        part_head_next(in->part, series[NEXT]);
        head_sums_prefetch(in->head_sums, series[NEXT]);
    }
}

/* E_LIMIT, E_AGAIN: more than one answer, or all of them, may hold. */
static int
gather(ingest *in, heads_stream *s, const uint32_t *series, const heads_ask *a)
{
    piece versions = { .s = s, .kind = HEAD_VERSIONS };

    for (uint32_t i = 0; i < a->series_count; i++) {
        uint64_t version = part_version(in->part, series[i]);

        if (versions.rows == versions.rows_max)
            versions.series = i;
        put_record(&versions, &version);
    }
    for (uint32_t i = 0; i < a->series_count; i++) {
        ask_ahead(in, series + i, a->series_count - i);
        gather_series(in, s, series[i], a);
        if (s->len > ONE_MAX)
            return E_LIMIT;
        if (in->streams_len + s->len > ALL_MAX)
            return E_AGAIN;
    }
    *(head_rows *)room_for(s, sizeof(head_rows)) =
        (head_rows){ .kind = HEAD_END, .sealed_seq = part_sealed_seq(in->part) };
    return E_OK;
}

/* As many whole pieces as one message holds; *last: it is all that is left. */
static uint32_t
next_part(const heads_stream *s, bool *last)
{
    size_t at = s->at;

    while (at < s->len) {
        const head_rows *h = (const head_rows *)(const void *)(s->parts + at);
        size_t           len = sizeof *h + h->rows * record_lens[h->kind];

        if (at + len - s->at > PART_MAX)
            break;
        at += len;
    }
    *last = at == s->len;
    return (uint32_t)(at - s->at);
}

static void
stream(ingest *in, heads_stream *s)
{
    bool last;

    for (;;) {
        uint32_t len = next_part(s, &last);
        int      rc = E_OK;

        if (!last)
            rc = ak_reply_part(in->k, &s->m, MSG_HEAD_ROWS, s->parts + s->at, len);
        else
            ak_reply(in->k, &s->m, MSG_HEAD_ROWS, s->parts + s->at, len);
        if (rc == E_AGAIN)
            return;
        if (rc < 0 || last) {
            drop(in, s);
            return;
        }
        s->at += len;
    }
}

ak_verdict
ingest__on_heads(ak *k, void *self, const ak_msg *m)
{
    ingest       *in = self;
    heads_stream *s = free_stream(in);
    heads_ask     a;
    uint32_t     *series;
    int           rc;

    if (in->head_sums == NULL)
        in->head_sums = head_sums_new(SUMS_MAX);
    memcpy(&a, m->body, sizeof a);
    if (a.series_count > (m->len - sizeof a) / sizeof *series || a.sum_us < 0)
        return AK_BAD;
    series = malloc((a.series_count + 1) * sizeof *series);
    if (series == NULL || s == NULL || in->replaying) {
        free(series);
        ak_fail(k, m, E_AGAIN);
        return AK_DONE;
    }
    /* A copy: the asker's memory may change between the two walks. */
    memcpy(series, (const uint8_t *)m->body + sizeof a, a.series_count * sizeof *series);
    s->used = true;
    s->m = *m;
    rc = gather(in, s, series, &a);
    free(series);
    in->streams_len += s->len;
    if (rc == E_OK) {
        stream(in, s);
    } else {
        ak_fail(k, m, rc);
        drop(in, s);
    }
    return AK_DONE;
}

static heads_stream *
stream_of(ingest *in, const ak_msg *m)
{
    for (uint32_t i = 0; i < STREAMS_MAX; i++)
        if (in->streams[i].used && in->streams[i].m.corr == m->corr && in->streams[i].m.from == m->from)
            return &in->streams[i];
    return NULL;
}

ak_verdict
ingest__on_credit(ak *k, void *self, const ak_msg *m)
{
    heads_stream *s = stream_of(self, m);

    (void)k;
    if (s != NULL)
        stream(self, s);
    return AK_DONE;
}

ak_verdict
ingest__on_cancel(ak *k, void *self, const ak_msg *m)
{
    heads_stream *s = stream_of(self, m);

    (void)k;
    if (s != NULL)
        drop(self, s);
    return AK_DONE;
}

void
ingest__close_heads(ingest *in)
{
    head_sums_free(&in->head_sums);
    for (uint32_t i = 0; i < STREAMS_MAX; i++)
        if (in->streams[i].used)
            drop(in, &in->streams[i]);
}
