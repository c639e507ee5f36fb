/* ingest_heads.c - unsealed rows for queries: gathered at once, streamed as the asker grants.
 *
 * Gathering at once makes the answer one moment's truth: a head that is sealed while its rows are
 * on their way is not missed.  What all answers hold together is bounded.
 */
#include "actors/ingest_internal.h"

#include "proto/err.h"
#include "storage/rollup.h"

#include <stdlib.h>

enum { PART_ROWS_MAX = (32768 - sizeof(head_rows)) / sizeof(head_row) };
#define ONE_MAX ((size_t)64 << 20)  /* bytes of one answer */
#define ALL_MAX ((size_t)256 << 20) /* of all */

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

/* Bytes that the rows of these series take at most, and what was erased of them. */
static size_t
gather_len(const ingest *in, const uint32_t *series, uint32_t count)
{
    size_t len = 0;

    for (uint32_t i = 0; i < count; i++) {
        size_t rows = part_head(in->part, series[i]).count;
        size_t erased = part_erasures(in->part, series[i], NULL, 0);

        len += rows * sizeof(head_row) + (rows / PART_ROWS_MAX + 1) * sizeof(head_rows);
        len += erased * sizeof(erased_row) + (erased / PART_ROWS_MAX + 1) * sizeof(head_rows);
    }
    return len;
}

static head_rows *
new_piece(heads_stream *s, uint32_t series, uint32_t kind, uint64_t lsn)
{
    head_rows *piece = (head_rows *)(void *)(s->parts + s->len);

    *piece = (head_rows){ .series = series, .kind = kind, .lsn = lsn };
    s->len += sizeof *piece;
    return piece;
}

static void
put_record(heads_stream *s, head_rows *piece, const void *record, size_t len)
{
    memcpy(s->parts + s->len, record, len);
    s->len += len;
    piece->rows++;
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

/* Where the piece that rows[from] begins has ended. */
static uint32_t
piece_end(const head_view *v, uint32_t from, int64_t sum_us)
{
    int64_t end = v->rows[from].time_us / sum_us * sum_us + sum_us;

    return from + 1 + first_at(v->rows + from + 1, v->count - from - 1, end);
}

/* Summing up pays when it is shorter; a piece of rows holds at most PART_ROWS_MAX. */
static bool
sums_pay(const head_view *v, int64_t sum_us)
{
    uint32_t most = (v->count < PART_ROWS_MAX ? v->count : PART_ROWS_MAX) * (uint32_t)sizeof(head_row);
    uint32_t n = 0;

    for (uint32_t from = 0; from < v->count; from = piece_end(v, from, sum_us))
        if (++n * sizeof(chunk_summary) > most)
            return false;
    return n > 0;
}

static void
gather_sums(heads_stream *s, uint32_t series, const head_view *v, const heads_ask *a)
{
    head_rows *piece = new_piece(s, series, HEAD_SUMS, 0);

    for (uint32_t from = 0, to; from < v->count; from = to) {
        chunk_summary sum;

        to = piece_end(v, from, a->sum_us);
        sum = rollup_sum(v->rows + from, to - from, a->with_spread);
        sum.lsn = UINT64_MAX; /* newer than all that was erased */
        put_record(s, piece, &sum, sizeof sum);
    }
}

static void
gather_rows(heads_stream *s, uint32_t series, const head_view *v)
{
    head_rows *piece = NULL;

    for (uint32_t i = 0; i < v->count; i++) {
        if (i % PART_ROWS_MAX == 0)
            piece = new_piece(s, series, HEAD_ROWS, v->first_lsn);
        put_record(s, piece, &v->rows[i], sizeof v->rows[i]);
    }
}

static void
gather_erased(ingest *in, heads_stream *s, uint32_t series)
{
    uint32_t    n = part_erasures(in->part, series, NULL, 0);
    erased_row *rows;
    head_rows  *piece = NULL;

    if (n == 0)
        return;
    rows = malloc(n * sizeof *rows);
    ASSERT(rows != NULL);
    (void)part_erasures(in->part, series, rows, n);
    for (uint32_t i = 0; i < n; i++) {
        if (i % (PART_ROWS_MAX / 2) == 0) /* they are longer than rows */
            piece = new_piece(s, series, HEAD_ERASED, 0);
        put_record(s, piece, &rows[i], sizeof rows[i]);
    }
    free(rows);
}

static void
gather_series(ingest *in, heads_stream *s, uint32_t series, const heads_ask *a)
{
    head_view v = part_head_by_time(in->part, series);
    uint32_t  from = first_at(v.rows, v.count, a->start_us);

    v.count = first_at(v.rows, v.count, a->end_us);
    v.count -= from < v.count ? from : v.count;
    v.rows += from;
    gather_erased(in, s, series);
    if (a->sum_us > 0 && sums_pay(&v, a->sum_us))
        gather_sums(s, series, &v, a);
    else
        gather_rows(s, series, &v);
}

static size_t
record_len(uint32_t kind)
{
    return kind == HEAD_SUMS ? sizeof(chunk_summary) : kind == HEAD_ERASED ? sizeof(erased_row) : sizeof(head_row);
}

static void
stream(ingest *in, heads_stream *s)
{
    while (s->at < s->len) {
        const head_rows *piece = (const head_rows *)(const void *)(s->parts + s->at);
        uint32_t         len = (uint32_t)(sizeof *piece + piece->rows * record_len(piece->kind));
        int              rc = ak_reply_part(in->k, &s->m, MSG_HEAD_ROWS, piece, len);

        if (rc == E_AGAIN)
            return;
        if (rc < 0) {
            drop(in, s);
            return;
        }
        s->at += len;
    }
    ak_reply(in->k, &s->m, MSG_HEAD_ROWS, &s->end, sizeof s->end);
    drop(in, s);
}

ak_verdict
ingest__on_heads(ak *k, void *self, const ak_msg *m)
{
    ingest       *in = self;
    heads_stream *s = free_stream(in);
    heads_ask     a;
    uint32_t     *series;
    size_t        room;

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
    room = gather_len(in, series, a.series_count);
    if (room > ONE_MAX || in->streams_len + room > ALL_MAX) {
        free(series);
        ak_fail(k, m, room > ONE_MAX ? E_LIMIT : E_AGAIN);
        return AK_DONE;
    }
    s->parts = malloc(room + 1);
    ASSERT(s->parts != NULL);
    s->used = true;
    s->m = *m;
    for (uint32_t i = 0; i < a.series_count; i++)
        gather_series(in, s, series[i], &a);
    free(series);
    in->streams_len += s->len;
    s->end = (head_rows){ .sealed_seq = part_sealed_seq(in->part) };
    stream(in, s);
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
    for (uint32_t i = 0; i < STREAMS_MAX; i++)
        if (in->streams[i].used)
            drop(in, &in->streams[i]);
}
