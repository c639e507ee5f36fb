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
#include "actors/query_internal.h"

#include "actors/kinds.h"
#include "actors/options.h"
#include "proto/err.h"
#include "proto/log.h"
#include "transport/count.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    FIND_A_TURN = 2000,  /* machines */
    ROWS_A_TURN = 60000, /* about a millisecond */
    ROWS_A_JOB = 15000,  /* of them, before another one's turn */
    PIECE_COST = 100,    /* of anything that is no row */
    RETRY_NS = 5 * 1000000,
    AGAIN_MAX = 40,
    KEPT_POINTS = 2048, /* a job's memory for so many stays when it ends */
};
#define WITHIN_NS (30ull * 1000000000) /* when the asker gave no deadline */

static void pump_soon(query *q);
static void pump(query *q);

/* ---- a job's end ---- */

void
query__cancel_asks(query *q, job *j)
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

/* Its buffers stay for the next one. */
static void
drop(query *q, job *j)
{
    job kept = { .scan = j->scan, .times = j->times, .values = j->values, .times_room = j->times_room, .out = j->out };

    query__cancel_asks(q, j);
    query__drop_heads(q, j);
    scan_forget_reader(j->scan);
    targets_close(&j->targets);
    if (!fold_is_small(&j->fold, KEPT_POINTS))
        fold_close(&j->fold);
    kept.fold = j->fold;
    free(j->question);
    *j = kept;
    q->busy--;
}

void
query__finish(query *q, job *j, int rc)
{
    if (rc == E_LIMIT || rc == E_LATE)
        count_add(ak_counters(q->k), rc == E_LIMIT ? COUNT_QUERIES_REFUSED : COUNT_QUERIES_LATE, 1);
    if (rc == E_IO || rc == E_NOMEM || rc == E_BAD)
        log_error("query.failed", "rc=%d text=%s", rc, log_quote(view_str(err_text())));
    err_clear();
    query__send_end(q, j, rc);
    drop(q, j);
}

uint64_t
query__time_left(const query *q, const job *j)
{
    uint64_t now = ak_now_ns(q->k);

    if (j->m.deadline_ns == 0)
        return WITHIN_NS;
    return j->m.deadline_ns > now ? j->m.deadline_ns - now : 1;
}

/* ---- what partitions say ---- */

static ak_verdict
on_head_rows(ak *k, void *self, const ak_msg *m)
{
    heads_wait *w = m->ctx;

    (void)k;
    if (w == NULL || w->job == NULL || w->corr != m->corr)
        return AK_DONE;
    query__take_heads(self, w, m);
    pump(self);
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
                                       query__time_left(q, j), &j->far_wait));
    if (j->far.from_us != INT64_MIN && j->reading)
        from = j->far.from_us;
    else
        fold_member(&j->fold);
    j->reading = true;
    return asked_far(j, FAR_ROWS,
                     far_ask_rows(&j->far, q->k, t, one, from, j->fold.spec.end_us, query__time_left(q, j),
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
    query__no_heads(q, w, rc < 0 ? rc : E_GONE);
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
        part_reader_keep(q->readers[no], (o->storage_query_mb << 20) / max_u64(board_parts(ak_board(q->k)), 1));
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

static void
room_for_head(job *j, uint32_t rows)
{
    if (rows <= j->times_room)
        return;
    free(j->times);
    free(j->values);
    j->times_room = rows + rows / 2;
    j->times = malloc(j->times_room * sizeof *j->times);
    j->values = malloc(j->times_room * sizeof *j->values);
    ASSERT(j->times != NULL && j->values != NULL); /* within HEADS_ROWS_MAX */
}

static int
start_member(query *q, job *j)
{
    const target         *t = &j->targets.at[j->member];
    const member_rows    *m = &j->heads[j->member - j->batch_from];
    const member_records *rows = &m->of[HEAD_ROWS], *sums = &m->of[HEAD_SUMS], *erased = &m->of[HEAD_ERASED];
    part_reader          *r;
    uint32_t              n = 0;
    int                   rc;

    if ((rc = reader_of(q, t->part, &r)) < 0)
        return rc;
    if (rows->count > 0) {
        room_for_head(j, rows->count);
        n = merge_sort_heads(rows->at, rows->count, j->times, j->values);
    }
    rc = scan_start(j->scan, r, t->series, &j->fold,
                    (scan_head){ .times = j->times, .values = j->values, .count = n,
                                 .sums = sums->at, .sum_count = sums->count,
                                 .erased = erased->at, .erased_count = erased->count,
                                 .version = m->version, .sealed_seq = j->sealed[t->part] });
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
    j->member++;
    if (j->member < t->count && targets_fold(t, &t->at[j->group_from], &t->at[j->member])) {
        if (j->member == j->batch_end)
            query__begin_batch(q, j);
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
        query__want_rows(j);
        return;
    }
    if (rc == E_AGAIN && j->again++ < AGAIN_MAX) {
        scan_forget_reader(j->scan);
        j->reading = false;
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
            j->state = JOB_LATER;
            j->then = JOB_READ;
            return;
        }
    }
    query__finish(q, j, rc);
}

static void
read_on(query *q, job *j)
{
    int64_t before = q->budget;
    int     rc = E_OK;

    if (targets_is_far(&j->targets, j->targets.at[j->member].part)) {
        rc = start_far(q, j);
        if (rc < 0)
            query__finish(q, j, rc);
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

static void
no_room(query *q, job *j, int rc)
{
    j->after_credit = j->state;
    if (rc == E_AGAIN)
        j->state = JOB_CREDIT;
    else if (rc == E_GONE)
        drop(q, j);
    else
        query__finish(q, j, rc);
}

static void
sent_all(query *q, job *j)
{
    if (j->member == j->targets.count) {
        query__finish(q, j, E_OK);
        return;
    }
    begin_group(j);
    j->state = JOB_READ;
    if (j->member == j->batch_end)
        query__begin_batch(q, j);
}

static void
send_on(query *q, job *j)
{
    int rc = query__send(q, j);

    if (rc == E_OK)
        sent_all(q, j);
    else
        no_room(q, j, rc);
}

/* Something of the far answer came: pass it on, or fold it; then the member behind it. */
static void
far_on(query *q, job *j)
{
    bool whole = j->far_what == FAR_WHOLE;
    int  rc = whole ? query__send_now(q, j) : E_OK; /* what comes before it */

    if (rc < 0) {
        no_room(q, j, rc);
        return;
    }
    rc = whole ? far_pass(&j->far, &j->targets, &j->m, j->groups) : far_fold(&j->far, &j->fold);

    if (rc == 1) {
        j->state = JOB_HEADS;
    } else if (rc < 0 && j->far.first != NULL) { /* a part that is here could not be passed on, whether or not more come */
        no_room(q, j, rc);
    } else if (rc < 0) {
        query__finish(q, j, rc);
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
            query__finish(q, j, rc);
    }
}

/* ---- turns ---- */

static void
find_on(query *q, job *j)
{
    int rc = targets_find(&j->targets, ak_board(q->k), FIND_A_TURN);

    if (rc < 0 || (rc == 0 && j->targets.count == 0)) {
        query__finish(q, j, rc);
    } else if (rc == 0) {
        j->groups = targets_groups(&j->targets);
        begin_group(j);
        query__begin_batch(q, j);
    }
}

static void
turn_of(query *q, job *j)
{
    if (j->m.deadline_ns != 0 && ak_now_ns(q->k) > j->m.deadline_ns) {
        query__finish(q, j, E_LATE);
        return;
    }
    switch (j->state) {
    case JOB_FIND:
        find_on(q, j);
        break;
    case JOB_ASK:
        query__ask_heads(q, j);
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

    for (int64_t left = ROWS_A_TURN; left > 0 && (j = next_runnable(q)) != NULL;) {
        int64_t piece = left < ROWS_A_JOB ? left : ROWS_A_JOB;

        q->turn = (uint32_t)(j - q->jobs) + 1;
        for (q->budget = piece; q->budget > 0 && is_runnable(j); q->budget -= PIECE_COST)
            turn_of(q, j);
        left -= piece - q->budget;
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
    if (end.rc == E_OK && j->scan == NULL)
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
free_job(query *q, job *j)
{
    if (j->state != JOB_FREE)
        drop(q, j);
    scan_free(&j->scan);
    fold_close(&j->fold);
    free(j->times);
    free(j->values);
    free(j->out);
}

static void
stop(ak *k, void *self)
{
    query *q = self;

    (void)k;
    for (uint32_t i = 0; i < JOBS_MAX; i++)
        free_job(q, &q->jobs[i]);
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
