/* query_far.c - see query_far.h. */
#include "actors/query_far.h"

#include "actors/ak_node.h"
#include "proto/err.h"

#include <stdlib.h>

enum { ROWS_AT_ONCE = 256 };

struct far_part {
    far_part           *next;
    uint32_t            len;
    _Alignas(8) uint8_t body[];
};

/* ---- asking ---- */

static int
ask(far_ask *f, ak *k, view question, uint64_t within_ns, void *ctx)
{
    addr     reader = addr_of(KIND_READER, f->part);
    ak_about about;

    f->k = k;
    f->ended = false;
    f->rc = E_OK;
    f->first = NULL;
    f->last = &f->first;
    f->corr = ak_ask_stream(k, reader, MSG_QUERY, question.at, (uint32_t)question.len, within_ns,
                            ctx, FAR_WINDOW);
    if (f->corr != 0)
        return E_OK;
    return ak_look(k, reader, &about) && about.ready ? E_AGAIN : E_GONE;
}

int
far_ask_whole(far_ask *f, ak *k, const targets *t, view question, uint32_t from, uint64_t within_ns,
              void *ctx)
{
    f->part = t->at[from].part;
    f->expected = from;
    f->skips = false;
    for (f->end = from; f->end < t->count && t->at[f->end].part == f->part; f->end++)
        ;
    return ask(f, k, question, within_ns, ctx);
}

int
far_ask_rows(far_ask *f, ak *k, const targets *t, const target *one, int64_t from_us,
             int64_t end_us, uint64_t within_ns, void *ctx)
{
    query_head h = { .tenant = t->head.tenant,
                     .every = EVERY_RAW,
                     .every_n = 1,
                     .limit = FAR_PAGE,
                     .machines = 1,
                     .metrics = 1,
                     .start_us = from_us,
                     .end_us = end_us,
                     .cursor_us = INT64_MIN };
    uint16_t   len = (uint16_t)one->metric.len;
    uint8_t   *q = malloc(sizeof h + sizeof one->machine + sizeof len + len);
    int        rc;

    if (q == NULL)
        return err(E_NOMEM, "question");
    memcpy(q, &h, sizeof h);
    memcpy(q + sizeof h, &one->machine, sizeof one->machine);
    memcpy(q + sizeof h + sizeof one->machine, &len, sizeof len);
    memcpy(q + sizeof h + sizeof one->machine + sizeof len, one->metric.at, len);
    f->part = one->part;
    f->from_us = INT64_MIN;
    rc = ask(f, k, view_of(q, sizeof h + sizeof one->machine + sizeof len + len), within_ns, ctx);
    free(q);
    return rc;
}

/* ---- what comes ---- */

static void
add_part(far_ask *f, view record)
{
    far_part *p = malloc(sizeof *p + record.len);

    ASSERT(p != NULL);
    p->next = NULL;
    p->len = (uint32_t)record.len;
    memcpy(p->body, record.at, record.len);
    *f->last = p;
    f->last = &p->next;
}

/* Its records become parts, because some may be left out.  False: it is none of an answer. */
static bool
take_records(far_ask *f, view body, bool more)
{
    result_head h = { .kind = RESULT_CLOSE };

    while (body.len > 0) {
        size_t len = result_record_len(body);

        if (len == 0 || h.kind == RESULT_END)
            return false;
        memcpy(&h, body.at, sizeof h);
        if (h.kind != RESULT_END)
            add_part(f, view_of(body.at, len));
        body = view_of(body.at + len, body.len - len);
    }
    f->rc = h.kind == RESULT_END ? h.rc : f->rc;
    return more == (h.kind != RESULT_END);
}

void
far_take(far_ask *f, const ak_msg *m)
{
    bool more = m->type == MSG_RESULT && (m->flags & ENV_MORE) != 0;

    if (m->corr != f->corr || f->ended)
        return;
    f->ended = !more;
    f->corr = more ? f->corr : 0;
    if (m->type == MSG_RESULT && take_records(f, view_of(m->body, m->len), more))
        return;
    if (m->type == MSG_RESULT) {
        far_drop(f);
        f->rc = E_BAD;
        return;
    }
    f->rc = E_LATE;
    if (m->type == MSG_FAIL && m->len >= sizeof f->rc)
        memcpy(&f->rc, m->body, sizeof f->rc);
}

/* It is dealt with: as much may come in its place. */
static void
pop(far_ask *f)
{
    far_part *p = f->first;

    f->first = p->next;
    if (f->first == NULL)
        f->last = &f->first;
    if (f->corr != 0)
        ak_credit(f->k, f->corr, p->len);
    free(p);
}

void
far_drop(far_ask *f)
{
    if (f->corr != 0)
        ak_cancel(f->k, f->corr);
    f->corr = 0;
    while (f->first != NULL)
        pop(f);
    f->ended = true;
}

/* ---- whole ---- */

static bool
is_expected(const far_ask *f, const targets *t, const far_part *p)
{
    const target *one = &t->at[f->expected];
    result_series s;
    view          metric;

    if (f->expected == f->end || p->len < sizeof(result_head) + sizeof s)
        return false;
    memcpy(&s, p->body + sizeof(result_head), sizeof s);
    if (p->len < sizeof(result_head) + sizeof s + s.metric_len)
        return false;
    metric = view_of(p->body + sizeof(result_head) + sizeof s, s.metric_len);
    switch (t->head.group_by) {
    case GROUP_MACHINE:
        return s.machine == one->machine;
    case GROUP_METRIC:
        return view_eq(metric, one->metric);
    case GROUP_ALL:
        return true;
    default:
        return s.machine == one->machine && view_eq(metric, one->metric);
    }
}

static void
expect_next(far_ask *f, const targets *t)
{
    uint32_t at = f->expected;

    while (f->expected < f->end && (f->expected == at || targets_fold(t, &t->at[at], &t->at[f->expected])))
        f->expected++;
}

/* A series that came to be since the answer was announced is left out of it. */
static int
pass_one(far_ask *f, const targets *t, const ak_msg *to, uint32_t groups)
{
    far_part   *p = f->first;
    result_head h;
    int         rc = E_OK;

    memcpy(&h, p->body, sizeof h);
    if (h.kind == RESULT_SERIES) {
        f->skips = !is_expected(f, t, p);
        h.series = groups;
        memcpy(p->body, &h, sizeof h);
    }
    if (!f->skips)
        rc = ak_reply_part(f->k, to, MSG_RESULT, p->body, p->len);
    if (rc < 0)
        return rc;
    if (h.kind == RESULT_CLOSE && !f->skips)
        expect_next(f, t);
    pop(f);
    return E_OK;
}

int
far_pass(far_ask *f, const targets *t, const ak_msg *to, uint32_t groups)
{
    while (f->first != NULL) {
        int rc = pass_one(f, t, to, groups);

        if (rc < 0)
            return rc;
    }
    if (!f->ended)
        return 1;
    if (f->rc == E_OK && f->expected != f->end)
        return err(E_AGAIN, "the series of a partition changed meanwhile");
    return f->rc;
}

/* ---- rows ---- */

static void
fold_points(const far_part *p, fold *to, uint32_t count)
{
    const uint8_t *at = p->body + sizeof(result_head);
    int64_t        times[ROWS_AT_ONCE];
    double         values[ROWS_AT_ONCE];

    count = (uint32_t)min_u64(count, (p->len - sizeof(result_head)) / sizeof(result_point));
    while (count > 0) {
        uint32_t n = count < ROWS_AT_ONCE ? count : ROWS_AT_ONCE;

        for (uint32_t i = 0; i < n; i++, at += sizeof(result_point)) {
            result_point one;

            memcpy(&one, at, sizeof one);
            times[i] = one.time_us;
            values[i] = one.value;
        }
        fold_rows(to, times, values, n);
        count -= n;
    }
}

int
far_fold(far_ask *f, fold *to)
{
    while (f->first != NULL) {
        result_head h;

        memcpy(&h, f->first->body, sizeof h);
        if (h.kind == RESULT_POINTS)
            fold_points(f->first, to, h.count);
        if (h.kind == RESULT_CLOSE)
            f->from_us = h.next_us;
        pop(f);
    }
    return f->ended ? f->rc : 1;
}
