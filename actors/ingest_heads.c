/* ingest_heads.c - unsealed rows for queries: gathered at once, streamed as the asker grants.
 *
 * Gathering at once makes the answer one moment's truth: a head that is sealed while its rows are
 * on their way is not missed.  What all answers hold together is bounded.
 */
#include "actors/ingest_internal.h"

#include "proto/err.h"

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

/* Bytes that the rows of these series take at most. */
static size_t
gather_len(const ingest *in, const uint32_t *series, uint32_t count)
{
    size_t len = 0;

    for (uint32_t i = 0; i < count; i++) {
        size_t rows = part_head(in->part, series[i]).count;

        len += rows * sizeof(head_row) + (rows / PART_ROWS_MAX + 1) * sizeof(head_rows);
    }
    return len;
}

/* Rows of one series in [start, end), as parts. */
static void
gather_series(heads_stream *s, const ingest *in, uint32_t series, const heads_ask *a)
{
    head_view  v = part_head(in->part, series);
    head_rows *piece = NULL;

    for (uint32_t i = 0; i < v.count; i++) {
        const head_row *r = &v.rows[i];

        if (r->time_us < a->start_us || r->time_us >= a->end_us)
            continue;
        if (piece == NULL || piece->rows == PART_ROWS_MAX) {
            piece = (head_rows *)(void *)(s->parts + s->len);
            *piece = (head_rows){ .series = series, .lsn = v.first_lsn };
            s->len += sizeof *piece;
        }
        memcpy(s->parts + s->len, r, sizeof *r);
        s->len += sizeof *r;
        piece->rows++;
    }
}

static void
stream(ingest *in, heads_stream *s)
{
    while (s->at < s->len) {
        const head_rows *piece = (const head_rows *)(const void *)(s->parts + s->at);
        uint32_t         len = (uint32_t)(sizeof *piece + piece->rows * sizeof(head_row));
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
    if (a.series_count > (m->len - sizeof a) / sizeof *series)
        return AK_BAD;
    series = malloc((a.series_count + 1) * sizeof *series);
    if (series == NULL || s == NULL) {
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
        gather_series(s, in, series[i], &a);
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
