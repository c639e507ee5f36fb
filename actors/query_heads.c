/* query_heads.c - what is not sealed of a batch of series, asked of the partitions that have them.
 *
 * Bodies are kept as they came; what is said of a series lies in one, and is put together only where it came in several.
 */
#include "actors/query_internal.h"

#include "actors/kinds.h"
#include "proto/err.h"
#include "transport/count.h"

#include <stdlib.h>

enum {
    HEADS_ROWS_MAX = 4 << 20,  /* of one batch: 64 MiB */
    ALL_ROWS_MAX = 16 << 20,   /* of all jobs: 256 MiB; whoever would go over it asks again later */
    WINDOW = 65536,
};

struct heads_body {
    heads_body         *next;
    _Alignas(8) uint8_t at[];
};

void
query__drop_heads(query *q, job *j)
{
    q->held_rows -= j->head_rows;
    for (uint32_t i = 0; i < j->heads_count; i++)
        for (uint32_t kind = 0; kind < HEAD_KINDS; kind++)
            if (j->heads[i].of[kind].owned)
                free(j->heads[i].of[kind].at);
    for (heads_body *b = j->bodies, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    free(j->heads);
    j->bodies = NULL;
    j->heads = NULL;
    j->heads_count = 0;
    j->head_rows = 0;
}

/* ---- asking ---- */

/* At most batch_max series; a folded series of the answer may go over several batches. */
void
query__begin_batch(query *q, job *j)
{
    query__drop_heads(q, j);
    scan_forget_reader(j->scan); /* its cursors see the chunks of an earlier moment */
    j->batch_from = j->member;
    j->batch_end = j->targets.count - j->member;
    j->batch_end = j->member + (uint32_t)min_u64(j->batch_end, j->batch_max);
    j->with_rows = false;
    memset(j->sealed, 0, sizeof j->sealed);
    j->state = JOB_ASK;
}

/* Figures of heads are cut where buckets may begin; 0: rows are needed. */
static int64_t
sum_us(const job *j)
{
    static const int64_t s = 1000000;
    const fold_spec     *f = &j->fold.spec;

    if (j->with_rows || !agg_takes_summary(f->how))
        return 0;
    switch (f->every.unit) {
    case EVERY_RAW:
        return 0;
    case EVERY_SECOND:
        return f->every.n * s;
    case EVERY_MINUTE:
        return f->every.n * 60 * s;
    case EVERY_HOUR:
        return f->every.n * 3600 * s;
    default:
        return f->every.zone == NULL ? 3600 * s : 900 * s; /* offsets of zones are mostly quarters of an hour */
    }
}

/* Figures of the member that is being read did not do.  Behind series whose rows were needed the next ones' are likely to
 * be, too: then more of them come with rows at a time. */
void
query__want_rows(job *j)
{
    bool again = j->member == j->rows_until && j->member > j->batch_from;

    j->rows_max = again ? (uint32_t)min_u64(2u * j->rows_max, ROWS_BATCH_MAX) : 1;
    j->rows_until = (uint32_t)min_u64(j->member + j->rows_max, j->batch_end);
    for (uint32_t i = j->member; i < j->rows_until; i++) {
        member_rows *m = &j->heads[i - j->batch_from];

        for (uint32_t kind = 0; kind < HEAD_KINDS; kind++)
            if (m->of[kind].owned)
                free(m->of[kind].at);
        memset(m, 0, sizeof *m);
    }
    scan_forget_reader(j->scan); /* what is sealed meanwhile has to be seen with them */
    j->with_rows = true;
    j->state = JOB_ASK;
}

static bool
ask_part(query *q, job *j, uint16_t no)
{
    uint32_t from = j->with_rows ? j->member : j->batch_from, until = j->with_rows ? j->rows_until : j->batch_end;
    struct {
        heads_ask ask;
        uint32_t  series[BATCH_MAX];
    } body;

    body.ask = (heads_ask){ .start_us = fold_from(&j->fold), .end_us = j->fold.spec.end_us, .sum_us = sum_us(j),
                            .with_spread = j->fold.spec.how == AGG_STDDEV };
    for (uint32_t i = from; i < until; i++)
        if (j->targets.at[i].part == no)
            body.series[body.ask.series_count++] = j->targets.at[i].series;
    if (body.ask.series_count == 0 || targets_is_far(&j->targets, no))
        return true; /* who reads it there asks for its heads */
    j->wait[no] = (heads_wait){ .job = j, .at = from, .version_at = from };
    j->wait[no].corr = ak_ask_stream(q->k, addr_of(KIND_INGEST, no), MSG_HEADS, &body,
                                       (uint32_t)(sizeof body.ask + body.ask.series_count * 4),
                                       query__time_left(q, j), &j->wait[no], WINDOW);
    if (j->wait[no].corr == 0)
        return false;
    j->waits++;
    return true;
}

/* All parts are asked, or none: an answer of an earlier moment would do, but is simpler not to have. */
void
query__ask_heads(query *q, job *j)
{
    uint16_t parts = board_parts(ak_board(q->k));

    if (!j->with_rows) {
        query__drop_heads(q, j);
        j->heads_count = j->batch_end - j->batch_from;
        j->heads = calloc(j->heads_count + 1, sizeof *j->heads);
        ASSERT(j->heads != NULL);
    }
    for (uint16_t p = 0; p < parts && p < BOARD_PARTS_MAX; p++)
        if (!ask_part(q, j, p)) {
            query__cancel_asks(q, j);
            query__begin_batch(q, j);
            j->state = JOB_LATER;
            j->then = JOB_ASK;
            return;
        }
    j->state = j->waits > 0 ? JOB_HEADS : JOB_READ;
    j->with_rows = j->with_rows && j->waits > 0;
}

/* Too many rows at once, or the partition has no room now: less, later, or not at all. */
static void
heads_failed(query *q, job *j, int rc)
{
    query__cancel_asks(q, j);
    if (rc == E_LIMIT && j->batch_end - j->batch_from > 1) {
        j->batch_max = j->batch_max / 4 > 0 ? j->batch_max / 4 : 1;
        query__begin_batch(q, j);
    } else if (rc == E_AGAIN) {
        query__begin_batch(q, j);
        j->state = JOB_LATER;
        j->then = JOB_ASK;
    } else {
        query__finish(q, j, rc);
    }
}

/* ---- what comes ---- */

static member_rows *
member_of(job *j, heads_wait *w, uint32_t no, uint32_t series)
{
    for (; w->at < j->batch_end; w->at++)
        if (j->targets.at[w->at].part == no && j->targets.at[w->at].series == series)
            return &j->heads[w->at - j->batch_from];
    return NULL;
}

/* The rest of records that began in an earlier piece. */
static int
put_together(member_records *to, const uint8_t *more, uint32_t count, size_t len)
{
    uint8_t *grown = realloc(to->owned ? to->at : NULL, (to->count + count) * len);

    if (grown == NULL)
        return err(E_NOMEM, "head rows");
    if (!to->owned)
        memcpy(grown, to->at, to->count * len);
    memcpy(grown + to->count * len, more, count * len);
    to->at = grown;
    to->owned = true;
    to->count += count;
    return E_OK;
}

static int
take_records(query *q, job *j, heads_wait *w, uint16_t no, const head_rows *h, uint8_t *at, size_t len)
{
    uint32_t        units = (uint32_t)(h->rows * (len / sizeof(head_row)));
    member_rows    *member = member_of(j, w, no, h->series);
    member_records *to;

    if (member == NULL)
        return err(E_BAD, "head rows of a series that was not asked for");
    if (j->head_rows + units > HEADS_ROWS_MAX)
        return err(E_LIMIT, "unsealed rows of a query");
    if (q->held_rows + units > ALL_ROWS_MAX)
        return err(E_AGAIN, "unsealed rows of all queries");
    j->head_rows += units;
    q->held_rows += units;
    count_add(ak_counters(q->k), COUNT_QUERY_HEADS, h->rows);
    to = &member->of[h->kind];
    if (to->count > 0)
        return put_together(to, at, h->rows, len);
    *to = (member_records){ .at = at, .count = h->rows };
    return E_OK;
}

static int
take_versions(job *j, heads_wait *w, uint16_t no, const uint8_t *at, uint32_t count)
{
    for (uint32_t i = 0; i < count; w->version_at++) {
        if (w->version_at == j->batch_end)
            return err(E_BAD, "more versions than series");
        if (j->targets.at[w->version_at].part != no)
            continue;
        memcpy(&j->heads[w->version_at - j->batch_from].version, at + i * sizeof(uint64_t), sizeof(uint64_t));
        i++;
    }
    return E_OK;
}

/* One piece; *used: its bytes.  1: it was the end. */
static int
take_piece(query *q, heads_wait *w, uint16_t no, uint8_t *at, size_t len, size_t *used)
{
    static const size_t lens[] = { sizeof(head_row), sizeof(chunk_summary), sizeof(erased_row), sizeof(uint64_t), 1 };
    job                *j = w->job;
    head_rows           h;

    if (len < sizeof h)
        return err(E_BAD, "head rows");
    memcpy(&h, at, sizeof h);
    if (h.kind > HEAD_END || h.rows > (len - sizeof h) / lens[h.kind])
        return err(E_BAD, "head rows");
    *used = sizeof h + h.rows * lens[h.kind];
    if (h.kind == HEAD_END) {
        j->sealed[no] = h.sealed_seq;
        return h.rows == 0 ? 1 : err(E_BAD, "head rows");
    }
    if (h.kind == HEAD_VERSIONS)
        return take_versions(j, w, no, at + sizeof h, h.rows);
    return h.rows == 0 ? E_OK : take_records(q, j, w, no, &h, at + sizeof h, lens[h.kind]);
}

static int
take_body(query *q, heads_wait *w, const ak_msg *m)
{
    heads_body *b = malloc(sizeof *b + m->len);
    bool        more = (m->flags & ENV_MORE) != 0;
    int         rc = E_OK;

    if (b == NULL)
        return err(E_NOMEM, "head rows");
    memcpy(b->at, m->body, m->len);
    b->next = w->job->bodies;
    w->job->bodies = b;
    for (size_t at = 0, used = 0; at < m->len && rc == E_OK; at += used)
        rc = take_piece(q, w, addr_part(m->from), b->at + at, m->len - at, &used);
    if (rc >= 0 && more == (rc == 1))
        return err(E_BAD, "head rows without an end");
    return rc < 0 ? rc : E_OK;
}

void
query__take_heads(query *q, heads_wait *w, const ak_msg *m)
{
    job *j = w->job;
    int  rc = take_body(q, w, m);

    if (m->flags & ENV_MORE) {
        ak_credit(q->k, m->corr, m->len);
    } else {
        w->corr = 0;
        if (--j->waits == 0 && rc == E_OK) {
            j->state = JOB_READ;
            j->with_rows = false;
        }
    }
    if (rc < 0)
        heads_failed(q, j, rc);
}

void
query__no_heads(query *q, heads_wait *w, int rc)
{
    w->corr = 0;
    w->job->waits--;
    heads_failed(q, w->job, rc);
}
