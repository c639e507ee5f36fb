/* query.c - reads partitions, aggregates, streams the answer.
 *
 *   front --QUERY--> find series --HEADS--> ingest.p of each      a job goes round this for every
 *                       ^                      |                  BATCH_MAX series
 *                       |                   head rows, sealed-up-to
 *                       |                      v
 *   front <--RESULT-- send <-- fold <-- scan chunks (reader reaches that sequence first)
 *
 * Up to JOBS_MAX queries are under way, a bounded piece of each in turn; more wait in the lane of
 * their front.  Heads before chunks: what is sealed in between is seen twice, never missed.
 */
#include "actors/ak_node.h"
#include "actors/fill.h"
#include "actors/kinds.h"
#include "actors/options.h"
#include "actors/query_far.h"
#include "actors/query_targets.h"
#include "actors/scan.h"
#include "proto/err.h"
#include "proto/log.h"
#include "transport/count.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    JOBS_MAX = 64,
    BATCH_MAX = 1024,          /* series whose heads are asked for at once, as figures */
    ROWS_BATCH_MAX = 64,       /* ... as rows */
    FIND_A_TURN = 2000,        /* machines */
    ROWS_A_TURN = 60000,       /* about a millisecond */
    PIECE_COST = 4000,         /* of anything that is no row: what is ready goes out before long */
    HEADS_ROWS_MAX = 4 << 20,  /* of one batch: 64 MiB */
    ALL_ROWS_MAX = 16 << 20,   /* of all jobs: 256 MiB; whoever would go over it asks again later */
    WINDOW = 65536,
    POINTS_MAX = (32768 - sizeof(result_head)) / sizeof(result_point),
    RETRY_NS = 5 * 1000000,
    AGAIN_MAX = 40,
};
#define WITHIN_NS (30ull * 1000000000) /* when the asker gave no deadline */

enum job_state { JOB_FREE, JOB_FIND, JOB_ASK, JOB_HEADS, JOB_READ, JOB_SEND, JOB_CREDIT, JOB_LATER,
                 JOB_FAR };
enum send_step { SEND_SERIES, SEND_POINTS, SEND_CLOSE };

typedef struct job job;
enum far_what { FAR_NOTHING, FAR_WHOLE, FAR_ROWS };

/* One HEADS ask of a batch. */
typedef struct heads_wait {
    job     *job;
    uint64_t corr; /* 0: none under way */
    uint32_t at;   /* index in the batch of the series that came last */
} heads_wait;

/* What the partition said of a series, by kind. */
typedef struct member_rows {
    void    *at[HEAD_KINDS];
    uint32_t count[HEAD_KINDS];
} member_rows;

struct job {
    enum job_state state;
    enum job_state then; /* after JOB_LATER */
    ak_msg         m;
    targets        targets;
    fold           fold;
    scan          *scan;
    uint32_t       batch_from, batch_end, batch_max; /* of targets */
    uint32_t       member; /* the target that is being read */
    bool           reading; /* scan_start was called for it */
    bool           with_rows; /* figures of heads did not do: this batch has their rows */
    uint32_t       rows_max;  /* series of such a batch: doubled while the next one needs rows too */
    uint32_t       rows_end;  /* where the last such batch ended */
    uint32_t       again;
    bool           reopened; /* a reader that could not go on was let go once */
    uint32_t       head_rows; /* of the batch */
    member_rows   *heads; /* a batch of them, owned */
    uint32_t       heads_count;
    heads_wait     wait[BOARD_PARTS_MAX];
    uint32_t       waits;
    uint8_t       *question; /* as it came; where partitions are on other nodes */
    uint32_t       question_len;
    enum far_what  far_what;
    far_ask        far;
    heads_wait     far_wait;
    enum job_state after_credit;
    uint64_t       sealed[BOARD_PARTS_MAX];
    bool           reached[BOARD_PARTS_MAX];
    int64_t       *times; /* the head of the member, sorted */
    double        *values;
    enum send_step  step;
    fill           points; /* what has not been sent */
    uint32_t       point_count, sent;
    int64_t        next_us, anchor_us;
    uint32_t       group_from; /* first target of the answer's series */
    uint32_t       groups;     /* series of the answer */
};

typedef struct query {
    ak          *k;
    part_reader *readers[BOARD_PARTS_MAX];
    job          jobs[JOBS_MAX];
    uint32_t     busy;
    uint32_t     turn;
    bool         pumping; /* a timer is set that goes on at once */
    bool         resting; /* ... that goes on in a while */
    uint64_t     far;     /* partitions that are on other nodes, each with a reader */
    uint64_t     held_rows; /* head_rows of all jobs */
    int64_t      budget; /* of this turn: about rows */
} query;

/* ---- a job's end ---- */

static void
drop_heads(query *q, job *j)
{
    q->held_rows -= j->head_rows;
    for (uint32_t i = 0; i < j->heads_count; i++)
        for (uint32_t kind = 0; kind < HEAD_KINDS; kind++)
            free(j->heads[i].at[kind]);
    free(j->heads);
    j->heads = NULL;
    j->heads_count = 0;
    free(j->times);
    free(j->values);
    j->times = NULL;
    j->values = NULL;
    j->head_rows = 0;
}

static void
cancel_asks(query *q, job *j)
{
    for (uint32_t p = 0; p < BOARD_PARTS_MAX; p++) {
        if (j->wait[p].corr != 0)
            ak_cancel(q->k, j->wait[p].corr);
        j->wait[p].corr = 0;
    }
    j->waits = 0;
    if (j->far_what != FAR_NOTHING)
        far_drop(&j->far);
    j->far_what = FAR_NOTHING;
}

static void
drop(query *q, job *j)
{
    cancel_asks(q, j);
    drop_heads(q, j);
    targets_close(&j->targets);
    fold_close(&j->fold);
    scan_free(&j->scan);
    free(j->question);
    memset(j, 0, sizeof *j);
    q->busy--;
}

static void
finish(query *q, job *j, int rc)
{
    result_head h = { .kind = RESULT_END, .rc = rc };

    if (rc == E_LIMIT || rc == E_LATE)
        count_add(ak_counters(q->k), rc == E_LIMIT ? COUNT_QUERIES_REFUSED : COUNT_QUERIES_LATE, 1);
    if (rc == E_IO || rc == E_NOMEM || rc == E_BAD)
        log_error("query.failed", "rc=%d text=%s", rc, log_quote(view_str(err_text())));
    err_clear();
    ak_reply(q->k, &j->m, MSG_RESULT, &h, sizeof h);
    drop(q, j);
}

/* ---- heads ---- */

/* Behind series whose rows were needed the next ones' are likely to be, too: then more of them come with rows at a time,
 * and fewer with figures that would not do. */
static uint32_t
batch_size(const job *j)
{
    if (j->with_rows)
        return j->rows_max;
    if (j->rows_end == j->member && j->member > 0)
        return (uint32_t)min_u64(j->batch_max, 2u * j->rows_max);
    return j->batch_max;
}

/* The next batch: at most batch_size() series; a folded series of the answer may go over several batches. */
static void
begin_batch(query *q, job *j)
{
    drop_heads(q, j);
    scan_forget_reader(j->scan); /* its cursors see the chunks of an earlier moment */
    j->batch_from = j->member;
    j->batch_end = j->targets.count - j->member;
    j->batch_end = j->member + (uint32_t)min_u64(j->batch_end, batch_size(j));
    memset(j->reached, 0, sizeof j->reached);
    memset(j->sealed, 0, sizeof j->sealed);
    j->state = JOB_ASK;
}

static uint64_t
time_left(const query *q, const job *j)
{
    uint64_t now = ak_now_ns(q->k);

    if (j->m.deadline_ns == 0)
        return WITHIN_NS;
    return j->m.deadline_ns > now ? j->m.deadline_ns - now : 1;
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

static bool
ask_part(query *q, job *j, uint16_t no)
{
    struct {
        heads_ask ask;
        uint32_t  series[BATCH_MAX];
    } body = { .ask = { .start_us = fold_from(&j->fold), .end_us = j->fold.spec.end_us, .sum_us = sum_us(j),
                          .with_spread = j->fold.spec.how == AGG_STDDEV } };

    for (uint32_t i = j->batch_from; i < j->batch_end; i++)
        if (j->targets.at[i].part == no)
            body.series[body.ask.series_count++] = j->targets.at[i].series;
    if (body.ask.series_count == 0 || targets_is_far(&j->targets, no))
        return true; /* who reads it there asks for its heads */
    j->wait[no] = (heads_wait){ .job = j, .at = j->batch_from };
    j->wait[no].corr = ak_ask_stream(q->k, addr_of(KIND_INGEST, no), MSG_HEADS, &body,
                                       (uint32_t)(sizeof body.ask + body.ask.series_count * 4),
                                       time_left(q, j), &j->wait[no], WINDOW);
    if (j->wait[no].corr == 0)
        return false;
    j->waits++;
    return true;
}

/* All parts are asked, or none: an answer of an earlier moment would do, but is simpler not to have. */
static void
ask_heads(query *q, job *j)
{
    uint16_t parts = board_parts(ak_board(q->k));

    drop_heads(q, j);
    j->heads_count = j->batch_end - j->batch_from;
    j->heads = calloc(j->heads_count + 1, sizeof *j->heads);
    ASSERT(j->heads != NULL);
    for (uint16_t p = 0; p < parts && p < BOARD_PARTS_MAX; p++)
        if (!ask_part(q, j, p)) {
            cancel_asks(q, j);
            drop_heads(q, j);
            j->state = JOB_LATER;
            j->then = JOB_ASK;
            return;
        }
    j->state = j->waits > 0 ? JOB_HEADS : JOB_READ;
}

/* Too many rows at once, or the partition has no room now: less, later, or not at all. */
static void
heads_failed(query *q, job *j, int rc)
{
    cancel_asks(q, j);
    drop_heads(q, j);
    if (rc == E_LIMIT && j->with_rows && j->rows_max > 1) {
        j->rows_max = j->rows_max / 4 > 0 ? j->rows_max / 4 : 1;
        begin_batch(q, j);
    } else if (rc == E_LIMIT && j->batch_max > 1) {
        j->batch_max = j->batch_max / 4 > 0 ? j->batch_max / 4 : 1;
        begin_batch(q, j);
    } else if (rc == E_AGAIN) {
        j->state = JOB_LATER;
        j->then = JOB_ASK;
    } else {
        finish(q, j, rc);
    }
}

static member_rows *
member_of(job *j, heads_wait *w, uint32_t no, uint32_t series)
{
    for (; w->at < j->batch_end; w->at++)
        if (j->targets.at[w->at].part == no && j->targets.at[w->at].series == series)
            return &j->heads[w->at - j->batch_from];
    return NULL;
}

static int
take_rows(query *q, job *j, heads_wait *w, const ak_msg *m)
{
    static const size_t lens[HEAD_KINDS] = { sizeof(head_row), sizeof(chunk_summary), sizeof(erased_row) };
    member_rows        *to;
    uint8_t            *rows;
    head_rows           h;
    size_t              len;

    memcpy(&h, m->body, sizeof h);
    if (h.kind >= HEAD_KINDS || h.rows > (m->len - sizeof h) / lens[h.kind])
        return err(E_BAD, "head rows");
    len = lens[h.kind];
    if (h.rows == 0)
        return E_OK;
    if (j->head_rows + h.rows > HEADS_ROWS_MAX)
        return err(E_LIMIT, "unsealed rows of a query");
    if (q->held_rows + h.rows > ALL_ROWS_MAX)
        return err(E_AGAIN, "unsealed rows of all queries");
    to = member_of(j, w, addr_part(m->from), h.series);
    if (to == NULL)
        return err(E_BAD, "head rows of a series that was not asked for");
    rows = realloc(to->at[h.kind], (to->count[h.kind] + h.rows) * len);
    if (rows == NULL)
        return err(E_NOMEM, "head rows");
    memcpy(rows + to->count[h.kind] * len, (const uint8_t *)m->body + sizeof h, h.rows * len);
    to->at[h.kind] = rows;
    to->count[h.kind] += h.rows;
    j->head_rows += h.rows * (uint32_t)(len / sizeof(head_row));
    q->held_rows += h.rows * (uint32_t)(len / sizeof(head_row));
    count_add(ak_counters(q->k), COUNT_QUERY_HEADS, h.rows);
    return E_OK;
}

static void pump_soon(query *q);
static void take_far(query *q, job *j, const ak_msg *m);
static int  end_member(query *q, job *j);
static void no_room(query *q, job *j, int rc);
static void pump(query *q);

static ak_verdict
on_head_rows(ak *k, void *self, const ak_msg *m)
{
    query      *q = self;
    heads_wait *w = m->ctx;
    job        *j;
    head_rows   h;
    int         rc;

    if (w == NULL || w->job == NULL || w->corr != m->corr)
        return AK_DONE;
    j = w->job;
    rc = take_rows(q, j, w, m);
    if (m->flags & ENV_MORE) {
        ak_credit(k, m->corr, m->len);
    } else {
        memcpy(&h, m->body, sizeof h);
        w->corr = 0;
        j->sealed[addr_part(m->from)] = h.sealed_seq;
        if (--j->waits == 0 && rc == E_OK)
            j->state = JOB_READ;
    }
    if (rc < 0)
        heads_failed(q, j, rc);
    pump(q);
    return AK_DONE;
}

/* ---- of other nodes ---- */

static void
take_far(query *q, job *j, const ak_msg *m)
{
    far_take(&j->far, m);
    if (j->state == JOB_HEADS)
        j->state = JOB_FAR;
    pump_soon(q);
}

static ak_verdict
on_result(ak *k, void *self, const ak_msg *m)
{
    heads_wait *w = m->ctx;

    (void)k;
    if (w != NULL && w->job != NULL && w->corr == m->corr)
        take_far(self, w->job, m);
    return AK_DONE;
}

/* The ask is out, or will be tried again, or that node is away. */
static int
asked_far(job *j, enum far_what what, int rc)
{
    if (rc == E_AGAIN) {
        j->state = JOB_LATER;
        j->then = JOB_READ;
        return E_OK;
    }
    if (rc < 0)
        return rc;
    j->far_what = what;
    j->far_wait = (heads_wait){ .job = j, .corr = j->far.corr };
    j->state = JOB_HEADS; /* until something comes */
    return E_OK;
}

/* Its series of the answer are all in one partition: let it be answered there. */
static bool
is_whole(const targets *t, uint32_t member)
{
    uint8_t how = t->head.group_by;

    if (how == GROUP_SERIES || how == GROUP_MACHINE)
        return true;
    for (uint32_t i = 0; i < t->count; i++)
        if (t->at[i].part != t->at[member].part)
            return false;
    return true;
}

static int
start_far(query *q, job *j)
{
    const targets *t = &j->targets;
    const target  *one = &t->at[j->member];
    int64_t        from = fold_from(&j->fold);

    if (is_whole(t, j->member))
        return asked_far(j, FAR_WHOLE,
                         far_ask_whole(&j->far, q->k, t, view_of(j->question, j->question_len), j->member,
                                       time_left(q, j), &j->far_wait));
    if (j->far.from_us != INT64_MIN && j->reading)
        from = j->far.from_us;
    else
        fold_member(&j->fold);
    j->reading = true;
    return asked_far(j, FAR_ROWS,
                     far_ask_rows(&j->far, q->k, t, one, from, j->fold.spec.end_us, time_left(q, j),
                                  &j->far_wait));
}

/* MSG_FAIL, MSG_LATE: a partition did not answer. */
static ak_verdict
on_no_heads(ak *k, void *self, const ak_msg *m)
{
    query      *q = self;
    heads_wait *w = m->ctx;
    int32_t     rc = E_LATE;

    (void)k;
    if (w == NULL || w->job == NULL || w->corr != m->corr)
        return AK_DONE;
    if (w == &w->job->far_wait) {
        take_far(q, w->job, m);
        return AK_DONE;
    }
    if (m->type == MSG_FAIL && m->len >= sizeof rc)
        memcpy(&rc, m->body, sizeof rc);
    w->corr = 0;
    w->job->waits--;
    heads_failed(q, w->job, rc < 0 ? rc : E_GONE);
    pump_soon(q);
    return AK_DONE;
}

/* ---- reading ---- */

static int
reader_of(query *q, uint16_t no, part_reader **out)
{
    const options *o = ak_options(q->k);
    char           scratch[4200];
    int            rc;

    if (q->readers[no] == NULL) {
        snprintf(scratch, sizeof scratch, "%s/reader.%u.%u.%u", ak_run_dir(q->k), addr_kind(ak_self(q->k)),
                 addr_part(ak_self(q->k)), no);
        rc = part_reader_open(&q->readers[no], ak_data_dir(q->k), no,
                              ak_same_process(q->k, addr_of(KIND_INGEST, no)), scratch,
                              (o->storage_cache_mb << 20) / max_u64(board_parts(ak_board(q->k)), 1));
        if (rc < 0)
            return err(rc, "read partition %u", no);
    }
    *out = q->readers[no];
    return E_OK;
}

/* After trouble the reader is opened anew by whoever comes next. */
static void
forget_reader(query *q, uint16_t no)
{
    for (uint32_t i = 0; i < JOBS_MAX; i++) {
        job *j = &q->jobs[i];

        if (j->scan == NULL)
            continue;
        scan_forget_reader(j->scan);
        j->reading = false; /* its member is read again from the start */
    }
    part_reader_close(&q->readers[no]);
}

static int
start_member(query *q, job *j)
{
    const target *t = &j->targets.at[j->member];
    member_rows  *rows = &j->heads[j->member - j->batch_from];
    part_reader  *r;
    uint32_t      n;
    int           rc;

    if ((rc = reader_of(q, t->part, &r)) < 0)
        return rc;
    if (!j->reached[t->part] && (rc = part_reader_reach(r, j->sealed[t->part])) < 0)
        return err(rc, "partition %u", t->part);
    j->reached[t->part] = true;
    free(j->times);
    free(j->values);
    j->times = malloc((rows->count[HEAD_ROWS] + 1u) * sizeof *j->times);
    j->values = malloc((rows->count[HEAD_ROWS] + 1u) * sizeof *j->values);
    if (j->times == NULL || j->values == NULL)
        return err(E_NOMEM, "head rows");
    n = merge_sort_heads(rows->at[HEAD_ROWS], rows->count[HEAD_ROWS], j->times, j->values);
    rc = scan_start(j->scan, r, t->series, &j->fold,
                    (scan_head){ .times = j->times, .values = j->values, .count = n,
                                 .sums = rows->at[HEAD_SUMS], .sum_count = rows->count[HEAD_SUMS],
                                 .erased = rows->at[HEAD_ERASED], .erased_count = rows->count[HEAD_ERASED] });
    j->reading = rc == E_OK;
    return rc;
}

static void
begin_group(job *j)
{
    const targets *t = &j->targets;
    bool           many = j->member + 1 < t->count && targets_fold(t, &t->at[j->member], &t->at[j->member + 1]);

    j->group_from = j->member;
    fold_open(&j->fold, &(fold_spec){ .how = t->head.aggregation, .every = targets_every(t),
                                      .start_us = t->head.start_us, .end_us = t->head.end_us,
                                      .max_gap_us = (int64_t)t->head.max_gap_s * 1000000,
                                      .limit = t->head.limit + (t->resume_us != INT64_MIN),
                                      .newest_first = t->head.flags & QUERY_DESC,
                                      .many = many });
}

/* Points are made as they are sent; how many, and where the next page goes on, is found out first. */
static int
finish_group(job *j)
{
    const targets      *t = &j->targets;
    const result_point *points;
    result_point        p;
    uint32_t            count;
    int64_t             next_us;
    int                 rc = fold_finish(&j->fold, &points, &count, &next_us);

    if (rc < 0)
        return rc;
    fill_open(&j->points,
              &(fill_spec){ .every = targets_every(t), .how = t->head.fill,
                            .newest_first = t->head.flags & QUERY_DESC, .resume_us = t->resume_us },
              points, count, next_us != INT64_MIN);
    fill all = j->points;
    while (fill_next(&all, &p)) {
    }
    fill_cursor(&all, &j->next_us, &j->anchor_us);
    j->point_count = all.out;
    j->sent = 0;
    j->state = JOB_SEND;
    j->step = SEND_SERIES;
    return E_OK;
}

/* A member is in: the group goes on, or its points leave. */
static int
end_member(query *q, job *j)
{
    const targets *t = &j->targets;

    j->reading = false;
    j->again = 0;
    if (++j->member == j->batch_end && j->with_rows) {
        j->with_rows = false;
        j->rows_end = j->member;
    }
    if (j->member < t->count && targets_fold(t, &t->at[j->group_from], &t->at[j->member])) {
        if (j->member == j->batch_end)
            begin_batch(q, j);
        return E_OK;
    }
    return finish_group(j);
}

static void
trouble(query *q, job *j, int rc)
{
    uint16_t no = j->targets.at[j->member].part;

    if (rc == E_MORE) {
        j->reading = false;
        j->rows_max = j->rows_end == j->member && j->member > 0 ? (uint32_t)min_u64(2u * j->rows_max, ROWS_BATCH_MAX) : 1;
        j->with_rows = true;
        begin_batch(q, j);
        return;
    }
    if (rc == E_AGAIN && j->again++ < AGAIN_MAX) {
        scan_forget_reader(j->scan);
        j->reading = false;
        j->reached[no] = false;
        j->state = JOB_LATER;
        j->then = JOB_READ;
        return;
    }
    if (rc == E_AGAIN || rc == E_IO || rc == E_GONE) {
        forget_reader(q, no);
        if (!j->reopened) { /* the writer was started anew under it: one that is opened now sees everything */
            j->reopened = true;
            j->again = 0;
            j->reading = false;
            j->reached[no] = false;
            j->state = JOB_LATER;
            j->then = JOB_READ;
            return;
        }
    }
    finish(q, j, rc);
}

static void
read_on(query *q, job *j)
{
    int64_t before = q->budget;
    int     rc = E_OK;

    if (targets_is_far(&j->targets, j->targets.at[j->member].part)) {
        rc = start_far(q, j);
        if (rc < 0)
            finish(q, j, rc);
        return;
    }

    while (q->budget > 0 && j->state == JOB_READ && rc == E_OK) {
        ak_io_begin(q->k); /* chunks come from the disk */
        if (!j->reading)
            rc = start_member(q, j);
        if (rc == E_OK)
            rc = scan_step(j->scan, &q->budget);
        ak_io_end(q->k);
        if (rc == 0)
            rc = end_member(q, j);
    }
    count_add(ak_counters(q->k), COUNT_QUERY_ROWS, (uint64_t)(before - q->budget));
    if (rc < 0)
        trouble(q, j, rc);
}

/* ---- sending ---- */

static int
send_series(query *q, job *j)
{
    const target *t = &j->targets.at[j->group_from];
    uint8_t       group = j->targets.head.group_by;
    view          metric = group == GROUP_MACHINE || group == GROUP_ALL ? (view){ 0 } : t->metric;
    view          unit = { 0 };
    board_series  s;
    struct {
        result_head   h;
        result_series s;
        uint8_t       text[2048];
    } body = { .h = { .kind = RESULT_SERIES, .count = j->point_count, .series = j->groups } };

    if (metric.len > 0 && table_read(board_table(ak_board(q->k), BOARD_SERIES, t->part), t->series, &s))
        unit = board_string(ak_board(q->k), BOARD_SERIES, t->part, s.unit);
    if (metric.len + unit.len > sizeof body.text)
        return err(E_BAD, "names of series %u", t->series);
    body.s = (result_series){ .machine = group == GROUP_METRIC || group == GROUP_ALL ? 0 : t->machine,
                              .metric_len = (uint16_t)metric.len, .unit_len = (uint16_t)unit.len };
    if (metric.len > 0)
        memcpy(body.text, metric.at, metric.len);
    if (unit.len > 0)
        memcpy(body.text + metric.len, unit.at, unit.len);
    return ak_reply_part(q->k, &j->m, MSG_RESULT, &body,
                         (uint32_t)(sizeof body.h + sizeof body.s + metric.len + unit.len));
}

static int
send_points(query *q, job *j)
{
    struct {
        result_head  h;
        result_point p[POINTS_MAX];
    } body;
    uint32_t n = j->point_count - j->sent < POINTS_MAX ? j->point_count - j->sent : POINTS_MAX;
    fill     rest = j->points;
    int      rc;

    /* A small window must let at least some through. */
    if (j->m.window > 0 && j->m.window < sizeof body + ENVELOPE_LEN && n > 64)
        n = 64;
    body.h = (result_head){ .kind = RESULT_POINTS, .count = n };
    for (uint32_t i = 0; i < n; i++)
        ASSERT(fill_next(&rest, &body.p[i]));
    rc = ak_reply_part(q->k, &j->m, MSG_RESULT, &body, (uint32_t)(sizeof body.h + n * sizeof *body.p));
    if (rc == E_OK) {
        count_add(ak_counters(q->k), COUNT_QUERY_POINTS, n);
        j->sent += n;
        j->points = rest;
    }
    return rc;
}

static int
send_step(query *q, job *j)
{
    result_head close = { .kind = RESULT_CLOSE, .next_us = j->next_us, .anchor_us = j->anchor_us };

    switch (j->step) {
    case SEND_SERIES:
        return send_series(q, j);
    case SEND_POINTS:
        return j->sent < j->point_count ? send_points(q, j) : E_OK;
    case SEND_CLOSE:
        break;
    }
    return ak_reply_part(q->k, &j->m, MSG_RESULT, &close, sizeof close);
}

static void
no_room(query *q, job *j, int rc)
{
    j->after_credit = j->state;
    if (rc == E_AGAIN)
        j->state = JOB_CREDIT;
    else if (rc == E_GONE)
        drop(q, j);
    else
        finish(q, j, rc);
}

static void
sent_all(query *q, job *j)
{
    if (j->member == j->targets.count) {
        finish(q, j, E_OK);
        return;
    }
    begin_group(j);
    j->state = JOB_READ;
    if (j->member == j->batch_end)
        begin_batch(q, j);
}

static void
send_on(query *q, job *j)
{
    int rc;

    while ((rc = send_step(q, j)) == E_OK) {
        if (j->step == SEND_POINTS && j->sent < j->point_count)
            continue;
        if (j->step == SEND_CLOSE) {
            sent_all(q, j);
            return;
        }
        j->step++;
    }
    no_room(q, j, rc);
}

/* Something of the far answer came: pass it on, or fold it; then the member behind it. */
static void
far_on(query *q, job *j)
{
    bool whole = j->far_what == FAR_WHOLE;
    int  rc = whole ? far_pass(&j->far, &j->targets, &j->m, j->groups) : far_fold(&j->far, &j->fold);

    if (rc == 1) {
        j->state = JOB_HEADS;
    } else if (rc < 0 && j->far.first != NULL) { /* a part that is here could not be passed on, whether or not more come */
        no_room(q, j, rc);
    } else if (rc < 0) {
        finish(q, j, rc);
    } else if (whole) {
        j->far_what = FAR_NOTHING;
        j->member = j->far.end;
        sent_all(q, j);
    } else {
        j->far_what = FAR_NOTHING;
        j->state = JOB_READ;
        if (j->far.from_us != INT64_MIN && !fold_is_full(&j->fold))
            return; /* the next page */
        fold_member_end(&j->fold);
        if ((rc = end_member(q, j)) < 0)
            finish(q, j, rc);
    }
}

/* ---- turns ---- */

static void
find_on(query *q, job *j)
{
    int rc = targets_find(&j->targets, ak_board(q->k), FIND_A_TURN);

    if (rc < 0 || (rc == 0 && j->targets.count == 0)) {
        finish(q, j, rc);
    } else if (rc == 0) {
        j->groups = targets_groups(&j->targets);
        begin_group(j);
        begin_batch(q, j);
    }
}

static void
turn_of(query *q, job *j)
{
    if (j->m.deadline_ns != 0 && ak_now_ns(q->k) > j->m.deadline_ns) {
        finish(q, j, E_LATE);
        return;
    }
    switch (j->state) {
    case JOB_FIND:
        find_on(q, j);
        break;
    case JOB_ASK:
        ask_heads(q, j);
        break;
    case JOB_READ:
        read_on(q, j);
        break;
    case JOB_SEND:
        send_on(q, j);
        break;
    case JOB_FAR:
        far_on(q, j);
        break;
    default:
        break;
    }
}

static bool
is_runnable(const job *j)
{
    return j->state == JOB_FIND || j->state == JOB_ASK || j->state == JOB_READ || j->state == JOB_SEND ||
           j->state == JOB_FAR;
}

static void
pump_soon(query *q)
{
    if (q->pumping)
        return;
    q->pumping = true;
    ak_timer(q->k, 0, &q->pumping);
}

static job *
next_runnable(query *q)
{
    for (uint32_t i = 0, seen = 0; i < JOBS_MAX && seen < q->busy; i++) {
        job *j = &q->jobs[(q->turn + i) % JOBS_MAX];

        if (is_runnable(j))
            return j;
        seen += j->state != JOB_FREE;
    }
    return NULL;
}

static bool
any_waits_for_room(const query *q)
{
    for (uint32_t i = 0, seen = 0; i < JOBS_MAX && seen < q->busy; i++) {
        if (q->jobs[i].state == JOB_LATER)
            return true;
        seen += q->jobs[i].state != JOB_FREE;
    }
    return false;
}

/* A piece of each job in turn, until a millisecond's worth is done: a small query goes from its question to its partitions
 * in one step of the kernel, and from their answers to its own in another.  Jobs that wait for room look again in a
 * while. */
static void
pump(query *q)
{
    job *j;
    bool later;

    for (q->budget = ROWS_A_TURN; q->budget > 0 && (j = next_runnable(q)) != NULL; q->budget -= PIECE_COST) {
        q->turn = (uint32_t)(j - q->jobs) + 1;
        turn_of(q, j);
    }
    later = any_waits_for_room(q);
    if (next_runnable(q) != NULL)
        pump_soon(q);
    if (later && !q->resting) {
        q->resting = true;
        ak_timer(q->k, RETRY_NS, &q->resting);
    }
}

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    query *q = self;

    (void)k;
    if (m->ctx == &q->resting) {
        q->resting = false;
        for (uint32_t i = 0; i < JOBS_MAX; i++)
            if (q->jobs[i].state == JOB_LATER)
                q->jobs[i].state = q->jobs[i].then;
    } else {
        q->pumping = false;
    }
    pump(q);
    return AK_DONE;
}

/* ---- asks ---- */

static void
keep_question(query *q, job *j, const ak_msg *m)
{
    j->targets.far = q->far;
    j->question = malloc(m->len);
    ASSERT(j->question != NULL);
    memcpy(j->question, m->body, m->len);
    j->question_len = m->len;
}

static ak_verdict
on_query(ak *k, void *self, const ak_msg *m)
{
    query      *q = self;
    job        *j = q->jobs;
    result_head end = { .kind = RESULT_END };

    if (q->busy == JOBS_MAX)
        return AK_WAIT; /* the lane is the queue; its asks have deadlines */
    while (j->state != JOB_FREE)
        j++;
    end.rc = targets_open(&j->targets, view_of(m->body, m->len));
    if (addr_kind(ak_self(k)) == KIND_READER)
        j->targets.only = addr_part(ak_self(k)) + 1u;
    if (end.rc == E_OK)
        end.rc = scan_new(&j->scan);
    if (end.rc < 0) {
        err_clear();
        targets_close(&j->targets);
        if (end.rc == E_BAD)
            return AK_BAD;
        ak_reply(k, m, MSG_RESULT, &end, sizeof end);
        return AK_DONE;
    }
    if (q->far != 0)
        keep_question(q, j, m);
    j->m = *m;
    j->m.body = NULL;
    j->batch_max = BATCH_MAX;
    j->rows_max = 1;
    j->state = JOB_FIND;
    q->busy++;
    count_add(ak_counters(k), COUNT_QUERIES, 1);
    pump(q);
    return AK_DONE;
}

static job *
job_of(query *q, const ak_msg *m)
{
    for (uint32_t i = 0; i < JOBS_MAX; i++)
        if (q->jobs[i].state != JOB_FREE && q->jobs[i].m.corr == m->corr && q->jobs[i].m.from == m->from)
            return &q->jobs[i];
    return NULL;
}

static ak_verdict
on_credit(ak *k, void *self, const ak_msg *m)
{
    job *j = job_of(self, m);

    (void)k;
    if (j != NULL && j->state == JOB_CREDIT) {
        j->state = j->after_credit;
        pump_soon(self);
    }
    return AK_DONE;
}

static ak_verdict
on_cancel(ak *k, void *self, const ak_msg *m)
{
    job *j = job_of(self, m);

    if (j != NULL) {
        count_add(ak_counters(k), COUNT_QUERIES_CANCELLED, 1);
        drop(self, j);
    }
    return AK_DONE;
}

/* ---- life ---- */

static int
init(ak *k, void *self)
{
    query   *q = self;
    uint16_t parts = addr_kind(ak_self(k)) == KIND_QUERY ? ak_parts(k, KIND_READER) : 0;

    q->k = k;
    for (uint16_t p = 0; p < parts && p < BOARD_PARTS_MAX; p++)
        if (ak_is_far(k, addr_of(KIND_READER, p)))
            q->far |= UINT64_C(1) << p;
    return E_OK;
}

static void
stop(ak *k, void *self)
{
    query *q = self;

    (void)k;
    for (uint32_t i = 0; i < JOBS_MAX; i++)
        if (q->jobs[i].state != JOB_FREE)
            drop(q, &q->jobs[i]);
    for (uint32_t p = 0; p < BOARD_PARTS_MAX; p++)
        if (q->readers[p] != NULL)
            part_reader_close(&q->readers[p]);
}

static const ak_on on[] = {
    { MSG_QUERY, 0, on_query },
    { MSG_HEAD_ROWS, 0, on_head_rows },
    { MSG_RESULT, 0, on_result },
    { MSG_FAIL, 0, on_no_heads },
    { MSG_LATE, 0, on_no_heads },
    { MSG_CREDIT, 0, on_credit },
    { MSG_CANCEL, 0, on_cancel },
    { MSG_TIMER, 0, on_timer },
    { 0 },
};

const ak_kind query_kind = {
    .name = "query",
    .self_size = sizeof(query),
    .number = KIND_QUERY,
    .on = on,
    .init = init,
    .stop = stop,
};

/* The same beside a partition, for that partition alone: what a query actor on another node asks. */
const ak_kind reader_kind = {
    .name = "reader",
    .self_size = sizeof(query),
    .number = KIND_READER,
    .on = on,
    .init = init,
    .stop = stop,
};
