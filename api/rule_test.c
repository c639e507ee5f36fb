/* rule_test.c - POST /alert-rules/test: a draft rule over stored readings, judged by what judges live ones (actors/replay.h).
 *
 *   front --REG_RULE_TEST--> registry: is it a rule, and what would it be?
 *   for each machine of the rule that has one of its metrics:
 *     front --QUERY, raw, a page of each metric--> query    as often as there are pages
 *     judge what is whole, in order of time; the machine's object becomes text
 *
 *   metric a   ....................|  cut here
 *   metric b   .....................................|  cut here
 *                                  ^ up to here every metric is whole; the next page begins here
 *
 * The text goes out as the client takes it, so memory is a page and a buffer however long the history is.  Pages are judged,
 * and machines without such metrics are passed, in slices, one a loop turn.  After BUDGET_NS what is there is the answer, and
 * says that it is not complete.
 */
#include "actors/kinds.h"
#include "actors/replay.h"
#include "api/front.h"
#include "api/results.h"
#include "api/registry.h"
#include "proto/err.h"
#include "proto/instant.h"

#include <stdlib.h>

enum {
    PAGE_POINTS = 8192, /* of all metrics */
    SLICE_NS = 100000,
    SLICE_LOOK = 64, /* readings between two looks at the clock */
    MACHINES_A_SLICE = 256,
    WINDOW = 65536,
    FLUSH_AT = 16384,
};
#define BUDGET_NS (UINT64_C(20) * 1000000000)
#define DAY_US    (INT64_C(86400) * 1000000)
#define NO_TIME   INT64_MIN

/* What has come of a metric. */
typedef struct track {
    rule_sample *at; /* in rule_test.points */
    uint32_t     count, judged;
    int64_t      next_us; /* where the next page begins; NO_TIME: there is none */
} track;

struct rule_test {
    call      *c;
    rule_test *next; /* in front.tests */
    bool       queued, begun;
    bool       complete; /* nothing was left out for want of time */
    bool       back;     /* the page under way is what was before the range */
    bool       judging;  /* the page has come, and is judged up to: */
    int64_t    whole_us;
    uint32_t   no;       /* the machine; 0: there are no more */
    uint32_t   page;     /* points of a metric */
    uint32_t   track_no; /* whose points come */
    int64_t    start_us, end_us;
    int64_t    from_us; /* of the page */
    json_out   text;
    replay     replay;
    track      tracks[RULE_CONDITIONS_MAX];
    rule_sample points[PAGE_POINTS];
    uint64_t   machines, readings, fired, flaps; /* of all machines */
    int64_t    fired_us;
};

static void go_on(call *c);
static void judge_on(call *c, rule_test *t);

/* ---- life ---- */
static void
unqueue(rule_test *t)
{
    rule_test **at = &t->c->f->tests;

    while (t->queued && *at != t)
        at = &(*at)->next;
    if (t->queued)
        *at = t->next;
    t->queued = false;
}

static void
drop(void *kept)
{
    rule_test *t = kept;

    unqueue(t);
    json_out_free(&t->text);
    free(t);
}

static void
queue(rule_test *t)
{
    rule_test **at = &t->c->f->tests;

    while (*at != NULL)
        at = &(*at)->next;
    t->next = NULL;
    t->queued = true;
    *at = t;
}

bool
rule_test_turn(front *f)
{
    rule_test *t = f->tests;

    if (t == NULL)
        return false;
    unqueue(t);
    if (t->judging)
        judge_on(t->c, t);
    else
        go_on(t->c);
    return f->tests != NULL;
}

static void
fail(call *c, rule_test *t, int rc)
{
    if (t->begun)
        call_stream_abort(c);
    else if (rc == E_LIMIT)
        call_fail(c, 400, "The test needs more memory or time than one query may take; ask for less.");
    else
        call_unavailable(c, KIND_QUERY, rc);
}

/* ---- the answer ---- */
static double
seconds(int64_t us)
{
    return (double)us / 1e6;
}

static void
open_text(rule_test *t)
{
    json_open(&t->text, '{');
    json_name_time(&t->text, "start", t->start_us);
    json_name_time(&t->text, "end", t->end_us);
    json_name(&t->text, VIEW_LIT("machines"));
    json_open(&t->text, '[');
}

static void
write_alert(json_out *j, const replay_alert *a, int64_t end_us)
{
    json_open(j, '{');
    json_name_time(j, "opened_at", a->opened_us);
    json_name_time(j, "resolved_at", a->resolved_us);
    json_name_number(j, "seconds", seconds((a->resolved_us == NO_TIME ? end_us : a->resolved_us) - a->opened_us));
    json_name_number(j, "metric_value", a->value);
    json_name_number(j, "peak_value", a->peak);
    json_close(j, '}');
}

static void
write_machine(rule_test *t, const board *b, const board_machine *m, int64_t until_us)
{
    const replay *r = &t->replay;
    json_out     *j = &t->text;

    json_open(j, '{');
    json_name_uuid(j, "machine_id", &m->id);
    json_name_string(j, "machine_name", board_string(b, BOARD_MACHINES, 0, m->name));
    json_name_int(j, "reading_count", (int64_t)r->readings);
    json_name_int(j, "fired_count", (int64_t)r->fired);
    json_name_number(j, "fired_seconds", seconds(r->fired_us));
    json_name_int(j, "flaps", (int64_t)r->flaps);
    json_name_time(j, "judged_until", until_us);
    json_name(j, VIEW_LIT("alerts"));
    json_open(j, '[');
    for (uint32_t i = 0; i < r->kept; i++)
        write_alert(j, &r->alerts[i], until_us);
    json_close(j, ']');
    json_name_bool(j, "truncated", r->fired > r->kept);
    json_close(j, '}');
}

static void
finish(call *c, rule_test *t)
{
    json_out *j = &t->text;

    json_close(j, ']');
    json_name_int(j, "machine_count", (int64_t)t->machines);
    json_name_int(j, "reading_count", (int64_t)t->readings);
    json_name_int(j, "fired_count", (int64_t)t->fired);
    json_name_number(j, "fired_seconds", seconds(t->fired_us));
    json_name_int(j, "flaps", (int64_t)t->flaps);
    json_name_bool(j, "complete", t->complete);
    json_close(j, '}');
    if (j->failed) {
        fail(c, t, E_NOMEM);
    } else if (!t->begun) {
        call_send_text(c, 200, "application/json", view_of(j->at, j->len));
    } else {
        (void)call_stream(c, view_of(j->at, j->len));
        call_stream_end(c);
    }
}

/* True: the client keeps up.  Else go_on() is called when it has. */
static bool
flush(call *c, rule_test *t)
{
    json_out *j = &t->text;
    bool      comma = j->comma, ready;

    if (j->failed || j->len < FLUSH_AT)
        return true;
    if (!t->begun)
        call_stream_begin(c, 200, "application/json");
    t->begun = true;
    ready = call_stream(c, view_of(j->at, j->len));
    json_reset(j);
    j->comma = comma;
    if (!ready)
        call_stream_drained(c, go_on);
    return ready;
}

/* ---- judging ---- */
static void
machine_done(call *c, rule_test *t, int64_t until_us)
{
    const board  *b = c->f->board;
    replay       *r = &t->replay;
    board_machine m;

    replay_end(r, until_us);
    if ((r->readings > 0 || r->expected) && table_read(board_table(b, BOARD_MACHINES, 0), t->no, &m)) {
        write_machine(t, b, &m, until_us);
        t->machines++;
        t->readings += r->readings;
        t->fired += r->fired;
        t->flaps += r->flaps;
        t->fired_us += r->fired_us;
    }
    t->no = r->rule.machine != 0 ? 0 : fleet_next(c->f->fleet, t->no);
    t->from_us = NO_TIME;
}

static track *
earliest(rule_test *t, int64_t before_us)
{
    track *first = NULL;

    for (uint32_t i = 0; i < t->replay.metric_count; i++) {
        track *k = &t->tracks[i];

        if (k->judged < k->count && k->at[k->judged].time_us < before_us &&
            (first == NULL || k->at[k->judged].time_us < first->at[first->judged].time_us))
            first = k;
    }
    return first;
}

/* What every metric has come up to: the next page begins there; INT64_MAX: there is none. */
static int64_t
whole_until(const rule_test *t)
{
    int64_t whole_us = INT64_MAX;

    for (uint32_t i = 0; i < t->replay.metric_count; i++)
        if (t->tracks[i].next_us != NO_TIME && t->tracks[i].next_us < whole_us)
            whole_us = t->tracks[i].next_us;
    return whole_us;
}

/* False: there is more of the page. */
static bool
judge_slice(rule_test *t)
{
    uint64_t until_ns = front_now_ns() + SLICE_NS;
    track   *k;

    for (uint32_t n = 1; (k = earliest(t, t->whole_us)) != NULL; n++) {
        const rule_sample *s = &k->at[k->judged++];

        replay_reading(&t->replay, (uint32_t)(k - t->tracks), s->time_us, s->value);
        if (n % SLICE_LOOK == 0 && front_now_ns() >= until_ns)
            return false;
    }
    return true;
}

static bool
is_late(const call *c)
{
    return front_now_ns() - c->began_ns > BUDGET_NS;
}

/* ---- pages ---- */
static void ask_page(call *c, rule_test *t);

static void
judge_on(call *c, rule_test *t)
{
    t->judging = !judge_slice(t);
    if (t->judging) {
        queue(t);
        return;
    }
    if (t->whole_us == INT64_MAX) {
        machine_done(c, t, t->end_us);
    } else if (is_late(c)) {
        machine_done(c, t, t->whole_us);
        t->complete = false;
        t->no = 0;
    } else {
        t->from_us = t->whole_us;
        ask_page(c, t);
        return;
    }
    if (flush(c, t))
        go_on(c);
}

static void
page_done(call *c, rule_test *t)
{
    if (t->back) {
        t->back = false;
        if (t->tracks[0].count > 0)
            replay_expect(&t->replay, t->start_us);
        t->from_us = t->start_us;
        ask_page(c, t);
        return;
    }
    t->whole_us = whole_until(t);
    t->judging = true;
    queue(t); /* this turn has taken the page in */
}

static bool
on_series(rule_test *t, view rest)
{
    result_series s;
    view          metric;

    if (rest.len < sizeof s)
        return false;
    memcpy(&s, rest.at, sizeof s);
    if (rest.len - sizeof s < s.metric_len)
        return false;
    metric = view_of(rest.at + sizeof s, s.metric_len);
    for (t->track_no = 0; t->track_no < t->replay.metric_count; t->track_no++)
        if (view_eq(t->replay.metrics[t->track_no], metric))
            return true;
    return false;
}

static bool
on_points(rule_test *t, uint32_t count, view rest)
{
    track *k = &t->tracks[t->track_no];

    if (t->track_no >= t->replay.metric_count || count > rest.len / sizeof(result_point) || count > t->page - k->count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        result_point p;

        memcpy(&p, rest.at + i * sizeof p, sizeof p);
        k->at[k->count++] = (rule_sample){ p.time_us, p.value };
    }
    return true;
}

static bool
on_record(void *ctx, const result_head *head, view rest)
{
    rule_test *t = ctx;

    switch (head->kind) {
    case RESULT_SERIES:
        return on_series(t, rest);
    case RESULT_POINTS:
        return on_points(t, head->count, rest);
    case RESULT_CLOSE:
        if (t->track_no < t->replay.metric_count)
            t->tracks[t->track_no].next_us = head->next_us;
        return t->track_no < t->replay.metric_count;
    default:
        return head->kind == RESULT_END;
    }
}

static void
on_result(call *c, const ak_msg *m)
{
    rule_test  *t = call_kept(c);
    result_head head = { .rc = E_LATE };
    bool        more = (m->flags & ENV_MORE) != 0;

    if (m->type == MSG_FAIL && m->len >= sizeof head.rc)
        memcpy(&head.rc, m->body, sizeof head.rc);
    if (m->type != MSG_RESULT || m->len < sizeof head) {
        fail(c, t, head.rc);
        return;
    }
    memcpy(&head, m->body, sizeof head);
    if (!more && head.kind == RESULT_END && head.rc != E_OK) { /* one that failed ends with nothing before it */
        fail(c, t, head.rc);
    } else if (!results_each(view_of(m->body, m->len), more, on_record, t)) {
        if (more)
            call_cancel(c, m->corr);
        fail(c, t, E_BAD);
    } else if (more) {
        ak_credit(c->f->k, m->corr, m->len);
    } else {
        page_done(c, t);
    }
}

static void
ask_page(call *c, rule_test *t)
{
    const replay *r = &t->replay;
    query_head    head = { .tenant = c->who.tenant, .limit = t->back ? 1 : t->page, .flags = t->back ? QUERY_DESC : 0,
                           .machines = 1, .metrics = r->metric_count, .cursor_us = NO_TIME,
                           .start_us = t->back ? 0 : t->from_us, .end_us = t->back ? t->start_us : t->end_us };
    uint8_t       body[sizeof head + sizeof t->no + sizeof r->text + RULE_CONDITIONS_MAX * sizeof(uint16_t)];
    size_t        len = sizeof head + sizeof t->no;

    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, &t->no, sizeof t->no);
    for (uint32_t i = 0; i < r->metric_count; i++) {
        uint16_t n = (uint16_t)r->metrics[i].len;

        memcpy(body + len, &n, sizeof n);
        memcpy(body + len + sizeof n, r->metrics[i].at, n);
        len += sizeof n + n;
        t->tracks[i] = (track){ .at = t->points + i * t->page, .next_us = NO_TIME };
    }
    t->track_no = UINT32_MAX;
    call_ask_stream(c, addr_of(KIND_QUERY, (uint16_t)(ak_random(c->f->k) % ak_parts(c->f->k, KIND_QUERY))), MSG_QUERY, body,
                    (uint32_t)len, WINDOW, on_result);
}

/* ---- machines ---- */
/* Is the rule for it, and has it one of the metrics? */
static bool
is_meant(const call *c, const rule_test *t)
{
    const board  *b = c->f->board;
    const replay *r = &t->replay;
    board_machine m;
    board_series  s;

    if (!table_read(board_table(b, BOARD_MACHINES, 0), t->no, &m) || !(m.flags & BOARD_LIVE) || m.tenant != c->who.tenant ||
        m.part >= board_parts(b) || (r->rule.group != 0 && m.group != r->rule.group))
        return false;
    for (uint32_t i = 0; i < r->metric_count; i++)
        if (board_find_series(b, m.part, t->no, r->metrics[i], &s) != 0)
            return true;
    return false;
}

/* The next machine: asked for, or left for another turn of the loop. */
static void
go_on(call *c)
{
    rule_test *t = call_kept(c);

    if (t->no != 0 && is_late(c)) {
        t->complete = false;
        t->no = 0;
    }
    for (uint32_t i = 0; t->no != 0 && !is_meant(c, t); i++) {
        t->no = t->replay.rule.machine != 0 ? 0 : fleet_next(c->f->fleet, t->no);
        if (i == MACHINES_A_SLICE) {
            queue(t);
            return;
        }
    }
    if (t->no == 0) {
        finish(c, t);
        return;
    }
    replay_begin(&t->replay);
    t->back = t->replay.rule.type == RULE_NO_DATA && t->start_us > 0;
    t->from_us = t->start_us;
    ask_page(c, t);
}

/* ---- what is asked ---- */
/* False: that is no rule. */
static bool
take_rule(rule_test *t, view value)
{
    board_rule rule;
    view       bytes, metric, conditions;
    pack_doc   d;
    bool       good;

    if (pack_open(&d, value) < 0) {
        err_clear();
        return false;
    }
    good = pack_get_bin(pack_root(&d), "rule", &bytes) && bytes.len == sizeof rule &&
           pack_get_str(pack_root(&d), "metric", &metric) && pack_get_bin(pack_root(&d), "conditions", &conditions);
    if (good) {
        memcpy(&rule, bytes.at, sizeof rule);
        good = replay_rule(&t->replay, &rule, metric, conditions);
    }
    pack_doc_close(&d);
    return good;
}

static void
have_rule(call *c, const ak_msg *reply)
{
    rule_test *t = call_kept(c);
    reg_done   head;
    view       value;

    if (!call_reg_reply(c, reply, &head, &value))
        return;
    if (head.status != 200) {
        registry_answer(c, reply);
        return;
    }
    if (!take_rule(t, value)) {
        call_unavailable(c, KIND_REGISTRY, E_BAD);
        return;
    }
    if (!readings_within_cap(c))
        return;
    t->page = PAGE_POINTS / t->replay.metric_count;
    t->no = t->replay.rule.machine != 0 ? t->replay.rule.machine : fleet_first(c->f->fleet, c->f->board, c->who.tenant);
    open_text(t);
    go_on(c);
}

static bool
take_time(call *c, const char *name, int64_t *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(call_body(c), name);

    if (!cJSON_IsString(item) || instant_parse(view_str(item->valuestring), out))
        return true;
    call_fail_field(c, "body", name, "Time is not RFC 3339.", "value_error");
    return false;
}

/* False: answered.  What has not come yet is not known to be missing: the range ends now. */
static bool
take_range(call *c, rule_test *t)
{
    int64_t now_us = front_wall_us();

    t->end_us = now_us;
    if (!take_time(c, "end", &t->end_us))
        return false;
    t->start_us = t->end_us - DAY_US;
    if (!take_time(c, "start", &t->start_us))
        return false;
    if (t->start_us >= t->end_us || t->start_us >= now_us) {
        call_fail_field(c, "body", "start", t->start_us >= t->end_us ? "Start must be before end." : "Start must be in the past.",
                        "value_error");
        return false;
    }
    t->end_us = t->end_us < now_us ? t->end_us : now_us;
    return true;
}

void
rule_test_start(call *c)
{
    rule_test *t = calloc(1, sizeof *t);
    pack       p;

    ASSERT(t != NULL);
    t->c = c;
    t->complete = true;
    call_keep(c, t, drop);
    if (!take_range(c, t))
        return;
    pack_init(&p);
    registry_params(c, &p, 0);
    call_registry(c, REG_RULE_TEST, pack_view(&p), have_rule);
    pack_fini(&p);
}
