/* readings.c - reading back: latest values from the board, time series from the query actor.
 *
 *   query parameters or body --> MSG_QUERY --> parts of MSG_RESULT --> text (points.h) --> client
 *
 * A part becomes text at once and its credit is given back when the client has taken it: an answer
 * of any length holds a window of parts and one buffer.  An answer that ends before the buffer is
 * full goes out whole.
 */
#include "api/front.h"
#include "api/points.h"
#include "api/results.h"
#include "proto/err.h"
#include "proto/instant.h"
#include "proto/num.h"
#include "proto/zone.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LIMIT_DEFAULT = 1000,
    LIMIT_MAX = 10000,
    METRICS_MAX = 100,
    MACHINES_MAX = 1000,
    QUERY_MS = 30000,
    WINDOW = 65536,
    FLUSH_AT = 16384,
    CURSOR_LEN = 9,         /* version, time */
    CURSOR_ANCHOR_LEN = 17, /* version, time, anchor */
    CURSOR_V1 = 1,
    CURSOR_ANCHOR = 2,
    LATEST_AT_ONCE = 200, /* series of a machine whose newest values are said without help */
    LATEST_TEXT = 256 << 20,
};
#define DAY_US    (INT64_C(86400) * 1000000)
#define NO_CURSOR INT64_MIN
#define INTERVAL_S_MAX (UINT64_C(36600) * 86400)
#define MAX_GAP_S_MAX  (UINT64_C(366) * 86400)

/* ---- GET /machines/{id}/readings/latest ---- */

typedef struct latest_row {
    view         metric;
    view         unit;
    board_latest last;
} latest_row;

static int
compare_latest(const void *va, const void *vb)
{
    const latest_row *a = va, *b = vb;
    size_t            n = (size_t)min_u64(a->metric.len, b->metric.len);
    int               order = n == 0 ? 0 : memcmp(a->metric.at, b->metric.at, n);

    return order != 0 ? order : a->metric.len < b->metric.len ? -1 : a->metric.len > b->metric.len;
}

/* False: answered with 404. */
static bool
find_machine(call *c, board_machine *m)
{
    uuid id;

    if (call_param_uuid(c, "id", &id) && board_find_machine_id(c->f->board, &id, m) != 0 &&
        m->tenant == c->who.tenant && (m->flags & BOARD_LIVE) && m->part < board_parts(c->f->board))
        return true;
    call_fail(c, 404, "Machine not found.");
    return false;
}

/* Those of a machine; NULL: there are more than `most`. */
static latest_row *
collect_latest(const board *b, const board_machine *m, size_t most, size_t *count)
{
    latest_row *rows = malloc(64 * sizeof *rows);
    size_t      room = 64;
    uint32_t    all = table_count(board_table(b, BOARD_SERIES, m->part));
    uint32_t    s = board_machine_first_series(b, m->part, m->no);

    *count = 0;
    for (uint32_t i = 0; s != 0 && i < all; i++, s = board_next_series(b, m->part, s)) {
        board_series series;
        latest_row   row;

        if (i == most) {
            free(rows);
            return NULL;
        }
        if (!board_latest_of(b, m->part, s, &row.last) ||
            !table_read(board_table(b, BOARD_SERIES, m->part), s, &series))
            continue;
        row.metric = board_string(b, BOARD_SERIES, m->part, series.metric);
        row.unit = board_string(b, BOARD_SERIES, m->part, series.unit);
        if (*count == room) {
            room *= 2;
            rows = realloc(rows, room * sizeof *rows);
        }
        ASSERT(rows != NULL);
        rows[(*count)++] = row;
    }
    return rows;
}

static void
write_latest(json_out *j, const board_machine *m, latest_row *rows, size_t count)
{
    if (count > 1)
        qsort(rows, count, sizeof *rows, compare_latest);
    json_open(j, '{');
    json_name_uuid(j, "machine_id", &m->id);
    json_name(j, VIEW_LIT("readings"));
    json_open(j, '[');
    for (size_t i = 0; i < count; i++) {
        json_open(j, '{');
        json_name_string(j, "metric_name", rows[i].metric);
        json_name_number(j, "value", rows[i].last.value);
        json_name_string(j, "unit", rows[i].unit);
        json_name_time(j, "timestamp", rows[i].last.time_us);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
    free(rows);
}

/* A machine of thousands of series: a helper thread reads the board as well as the loop does. */
typedef struct latest_job {
    help          h;
    const board  *b;
    board_machine m;
    json_out      text;
} latest_job;

static void
write_many_latest(help *h)
{
    latest_job *job = (latest_job *)(void *)h;
    size_t      count;
    latest_row *rows = collect_latest(job->b, &job->m, SIZE_MAX, &count);

    write_latest(&job->text, &job->m, rows, count);
}

static void
have_many_latest(help *h, bool wanted)
{
    latest_job *job = (latest_job *)(void *)h;

    if (wanted)
        call_send_taken(h->c, 200, &job->text, 0);
    json_out_free(&job->text);
    free(job);
}

static void
get_many_latest(call *c, const board_machine *m)
{
    latest_job *job = malloc(sizeof *job);

    ASSERT(job != NULL);
    *job = (latest_job){ .h = { c, write_many_latest, have_many_latest }, .b = c->f->board, .m = *m, .text = { .max = LATEST_TEXT } };
    if (!call_help(&job->h))
        free(job);
}

static void
get_latest(call *c)
{
    board_machine m;
    latest_row   *rows;
    size_t        count;

    if (!find_machine(c, &m))
        return;
    if (board_is_filling(c->f->board, m.part)) {
        call_unavailable(c, KIND_INGEST, E_AGAIN);
        return;
    }
    rows = collect_latest(c->f->board, &m, LATEST_AT_ONCE, &count);
    if (rows == NULL) {
        get_many_latest(c, &m);
        return;
    }
    write_latest(call_json(c), &m, rows, count);
    call_send_json(c, 200);
}

/* ---- what is asked ---- */

typedef struct series_query {
    query_head head;
    view       zone; /* name; empty: UTC */
    view       metrics[METRICS_MAX];
    bool       seen[METRICS_MAX];
    uint32_t   machines[MACHINES_MAX];
    points_out out; /* the answer so far */
    uint64_t   corr;
    uint32_t   credit_due;
    bool       begun; /* the stream; false: all is still in out.text */
    bool       nobody; /* an empty list of machines: it is none, not all of them */
} series_query;

typedef struct source { /* of parameters: a query string or a body, both objects */
    const char  *where;
    const cJSON *from;
} source;

static view
string_member(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(item) ? view_str(item->valuestring) : (view){ 0 };
}

static bool
bad(call *c, source s, const char *name, const char *why)
{
    call_fail_field(c, s.where, name, why, "value_error");
    return false;
}

typedef struct span {
    uint8_t  every; /* enum interval_unit */
    uint32_t n;
    uint64_t seconds; /* a month counts as 31 days */
} span;

/* "5m".  False: none, or longer than most_s. */
static bool
parse_span(view text, uint64_t most_s, span *out)
{
    static const struct {
        const char *word;
        uint8_t     every;
        uint64_t    seconds;
    } units[] = {
        { "s", EVERY_SECOND, 1 },  { "m", EVERY_MINUTE, 60 },   { "h", EVERY_HOUR, 3600 },
        { "d", EVERY_DAY, 86400 }, { "w", EVERY_WEEK, 604800 }, { "mo", EVERY_MONTH, 2678400 },
    };
    uint64_t n = 0;
    size_t   at = 0;

    while (at < text.len && at < 9 && text.at[at] >= '0' && text.at[at] <= '9')
        n = n * 10 + (uint64_t)(text.at[at++] - '0');
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (!view_eq(view_of(text.at + at, text.len - at), view_str(units[i].word)))
            continue;
        *out = (span){ units[i].every, (uint32_t)n, n * units[i].seconds };
        return n > 0 && out->seconds <= most_s;
    }
    return false;
}

static bool
take_interval(call *c, source s, series_query *q)
{
    span given;

    q->out.interval = string_member(s.from, "interval");
    q->head.every = EVERY_RAW;
    if (q->out.interval.at == NULL)
        return true;
    if (!parse_span(q->out.interval, INTERVAL_S_MAX, &given) || (given.every == EVERY_MONTH && given.n != 1))
        return bad(c, s, "interval", "Interval must be <n>s, m, h, d, w or 1mo.");
    q->head.every = given.every;
    q->head.every_n = given.n;
    return true;
}

static bool
take_max_gap(call *c, source s, series_query *q)
{
    view text = string_member(s.from, "max_gap");
    span given;

    if (text.at == NULL)
        return true;
    if (!parse_span(text, MAX_GAP_S_MAX, &given) || given.every == EVERY_MONTH)
        return bad(c, s, "max_gap", "Longest gap must be <n>s, m, h, d or w, at most 366 days.");
    q->head.max_gap_s = (uint32_t)given.seconds;
    return true;
}

static void
take_aggregation(source s, series_query *q)
{
    static const char *const words[] = {
#define X(AGG, number, name) name,
        AGGREGATIONS(X)
#undef X
            NULL,
    };
    view given = string_member(s.from, "aggregation");
    int  i = given.at == NULL ? AGG_AVG : word_index(words, given);

    ASSERT(i >= 0); /* the schema has looked */
    q->head.aggregation = (uint16_t)i;
    q->out.aggregation = view_str(words[i]);
}

static bool
take_range(call *c, source s, series_query *q)
{
    view start = string_member(s.from, "start"), end = string_member(s.from, "end");

    q->head.end_us = front_wall_us();
    if (end.at != NULL && !instant_parse(end, &q->head.end_us))
        return bad(c, s, "end", "Time is not RFC 3339.");
    q->head.start_us = q->head.end_us - DAY_US;
    if (start.at != NULL && !instant_parse(start, &q->head.start_us))
        return bad(c, s, "start", "Time is not RFC 3339.");
    if (q->head.start_us >= q->head.end_us)
        return bad(c, s, start.at != NULL ? "start" : "end", "Start must be before end.");
    return true;
}

/* A cursor inside a gap that is filled carries the point that the gap began with. */
static bool
take_cursor(call *c, source s, series_query *q)
{
    view    text = string_member(s.from, "cursor");
    uint8_t raw[CURSOR_ANCHOR_LEN] = { 0 };
    ssize_t len;

    q->head.cursor_us = NO_CURSOR;
    if (text.at == NULL)
        return true;
    len = base64url_decode(text, raw, sizeof raw);
    q->head.cursor_us = (int64_t)load_be64(raw + 1);
    if (len == CURSOR_ANCHOR_LEN && raw[0] == CURSOR_ANCHOR) {
        q->head.flags |= QUERY_ANCHOR;
        q->head.anchor_us = (int64_t)load_be64(raw + CURSOR_LEN);
    } else if (len != CURSOR_LEN || raw[0] != CURSOR_V1) {
        return bad(c, s, "cursor", "Cursor is not one of ours.");
    }
    if (q->head.cursor_us == NO_CURSOR)
        return bad(c, s, "cursor", "Cursor is not one of ours.");
    return true;
}

static bool
take_metrics(call *c, source s, const char *name, series_query *q)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(s.from, name);
    const cJSON *item;

    if (!cJSON_IsArray(list))
        return true;
    cJSON_ArrayForEach(item, list)
    {
        view v = view_str(item->valuestring);
        bool again = false;

        for (uint32_t i = 0; i < q->head.metrics; i++)
            again |= view_eq(q->metrics[i], v);
        if (again)
            continue;
        if (q->head.metrics == METRICS_MAX)
            return bad(c, s, name, "At most 100 metrics.");
        q->metrics[q->head.metrics++] = v;
    }
    return true;
}

static bool
take_zone(call *c, source s, series_query *q)
{
    view  name = string_member(s.from, "timezone");
    zone *z;

    q->out.zone = VIEW_LIT("UTC");
    if (name.at == NULL || view_eq(name, q->out.zone))
        return true;
    if (zone_open(name, &z) < 0) {
        err_clear();
        return bad(c, s, "timezone", "Timezone is not the IANA name of a zone that is known here.");
    }
    zone_close(&z); /* the query actor opens it for itself */
    q->head.zone_len = (uint8_t)name.len;
    q->out.zone = q->zone = name;
    return true;
}

static void
take_fill(source s, series_query *q)
{
    static const char *const words[] = { "none", "null", "previous", "linear", NULL };
    view                     given = string_member(s.from, "fill");

    q->head.fill = given.at == NULL ? FILL_NONE : (uint8_t)word_index(words, given);
    ASSERT(q->head.fill < FILL_NUMBERS); /* the schema has looked */
}

/* What GET and POST have in common. */
static bool
take_common(call *c, source s, series_query *q)
{
    const cJSON *limit = cJSON_GetObjectItemCaseSensitive(s.from, "limit");

    q->head.tenant = c->who.tenant;
    q->head.limit = cJSON_IsNumber(limit) ? (uint32_t)limit->valuedouble : LIMIT_DEFAULT;
    if (view_eq(string_member(s.from, "order"), VIEW_LIT("desc")))
        q->head.flags |= QUERY_DESC;
    take_fill(s, q);
    take_aggregation(s, q);
    if (!take_interval(c, s, q) || !take_max_gap(c, s, q) || !take_range(c, s, q) || !take_cursor(c, s, q) ||
        !take_zone(c, s, q))
        return false;
    q->out.start_us = q->head.start_us;
    q->out.end_us = q->head.end_us;
    return true;
}

/* ---- the answer ---- */

static void
query_drop(void *kept)
{
    series_query *q = kept;

    points_free(&q->out);
}

/* Names that were asked for and have no readings are series too. */
static uint32_t
series_total(const series_query *q, uint32_t found)
{
    return q->out.of_machine && q->head.metrics > 0 ? q->head.metrics : found;
}

static bool
on_series(call *c, series_query *q, const result_head *head, view rest)
{
    result_series s;
    board_machine m;
    const uuid   *id = NULL;
    view          metric;

    if (rest.len < sizeof s)
        return false;
    memcpy(&s, rest.at, sizeof s);
    if (rest.len - sizeof s < (size_t)s.metric_len + s.unit_len)
        return false;
    metric = view_of(rest.at + sizeof s, s.metric_len);
    for (uint32_t i = 0; i < q->head.metrics; i++)
        q->seen[i] |= view_eq(q->metrics[i], metric);
    if (s.machine != 0 && table_read(board_table(c->f->board, BOARD_MACHINES, 0), s.machine, &m)) {
        if (m.tenant != c->who.tenant)
            return false;
        id = &m.id;
    }
    return points_series(&q->out, series_total(q, head->series), id, metric,
                         view_of(rest.at + sizeof s + s.metric_len, s.unit_len), head->count);
}

static bool
on_points(series_query *q, const result_head *head, view rest)
{
    if (head->count > rest.len / sizeof(result_point))
        return false;
    for (uint32_t i = 0; i < head->count; i++) {
        result_point p;

        memcpy(&p, rest.at + i * sizeof p, sizeof p);
        if (!points_add(&q->out, &p))
            return false;
    }
    return true;
}

static bool
on_close(series_query *q, const result_head *head)
{
    uint8_t raw[CURSOR_ANCHOR_LEN] = { CURSOR_V1 };
    size_t  len = CURSOR_LEN;
    char    text[32];

    if (head->next_us == NO_CURSOR)
        return points_close(&q->out, (view){ 0 });
    store_be64(raw + 1, (uint64_t)head->next_us);
    if (head->anchor_us != NO_CURSOR) {
        raw[0] = CURSOR_ANCHOR;
        store_be64(raw + CURSOR_LEN, (uint64_t)head->anchor_us);
        len = CURSOR_ANCHOR_LEN;
    }
    return points_close(
        &q->out, view_of(text, base64url_encode(view_of(raw, len), text, sizeof text)));
}

static bool
end_points(series_query *q)
{
    points_out *p = &q->out;

    for (uint32_t i = 0; p->of_machine && i < q->head.metrics; i++)
        if (!q->seen[i] &&
            (!points_series(p, q->head.metrics, &p->machine_id, q->metrics[i], (view){ 0 }, 0) ||
             !points_close(p, (view){ 0 })))
            return false;
    return points_end(p);
}

static void
on_drained(call *c)
{
    series_query *q = call_kept(c);

    ak_credit(c->f->k, q->corr, q->credit_due);
    q->credit_due = 0;
}

/* Text goes to the client; credit for what became text goes back when the client keeps up. */
static void
flush_text(call *c, series_query *q)
{
    bool ready = true;

    if (q->out.text.len >= FLUSH_AT) {
        if (!q->begun)
            call_stream_begin(c, 200, points_media_type(&q->out));
        q->begun = true;
        ready = call_stream(c, view_of(q->out.text.at, q->out.text.len));
        points_taken(&q->out);
    }
    if (ready)
        on_drained(c);
    else
        call_stream_drained(c, on_drained);
}

static void
fail(call *c, series_query *q, int rc)
{
    if (q->begun)
        call_stream_abort(c);
    else if (rc == E_LIMIT)
        call_fail(c, 400,
                  "The query needs more memory or time than one query may take; ask for less.");
    else
        call_unavailable(c, KIND_QUERY, rc);
}

static void
finish(call *c, series_query *q)
{
    if (!end_points(q)) {
        fail(c, q, E_BAD);
        return;
    }
    if (!q->begun) {
        call_send_text(c, 200, points_media_type(&q->out),
                       view_of(q->out.text.at, q->out.text.len));
        return;
    }
    (void)call_stream(c, view_of(q->out.text.at, q->out.text.len));
    call_stream_end(c);
}

static bool
on_record(void *ctx, const result_head *head, view rest)
{
    call         *c = ctx;
    series_query *q = call_kept(c);

    switch (head->kind) {
    case RESULT_SERIES:
        return on_series(c, q, head, rest);
    case RESULT_POINTS:
        return on_points(q, head, rest);
    case RESULT_CLOSE:
        return on_close(q, head);
    default:
        return head->kind == RESULT_END;
    }
}

static void
on_result(call *c, const ak_msg *m)
{
    series_query *q = call_kept(c);
    result_head   head = { .rc = E_LATE };
    bool          more = (m->flags & ENV_MORE) != 0;

    if (m->type == MSG_FAIL && m->len >= sizeof head.rc)
        memcpy(&head.rc, m->body, sizeof head.rc);
    if (m->type != MSG_RESULT || m->len < sizeof head) {
        fail(c, q, head.rc);
        return;
    }
    memcpy(&head, m->body, sizeof head);
    q->corr = m->corr;
    if (!more && head.kind == RESULT_END && head.rc != E_OK) { /* one that failed ends with nothing before it */
        fail(c, q, head.rc);
        return;
    }
    if (!results_each(view_of(m->body, m->len), more, on_record, c) || q->out.text.failed) {
        if (more)
            call_cancel(c, m->corr);
        fail(c, q, E_BAD);
        return;
    }
    q->credit_due += m->len;
    if (more)
        flush_text(c, q);
    else
        finish(c, q);
}

/* False: answered with 429.  Each query holds a window and a buffer here, and a place in the query actor. */
bool
readings_within_cap(call *c)
{
    uint64_t cap = c->f->options->limits_queries_per_tenant;
    uint64_t under_way = 0;
    char     detail[96];

    for (const call *other = c->f->calls; cap != 0 && other != NULL; other = other->next)
        under_way += other->querying && other->x != NULL && other->who.tenant == c->who.tenant;
    c->querying = true;
    if (cap == 0 || under_way < cap)
        return true;
    c->querying = false;
    snprintf(detail, sizeof detail, "Rate limit exceeded: %llu queries at once.", (unsigned long long)cap);
    call_add_header(c, "Retry-After", VIEW_LIT("1"));
    call_fail(c, 429, detail);
    return false;
}

static void
send_query(call *c, series_query *q)
{
    size_t   len = sizeof q->head + q->head.machines * sizeof(uint32_t) + q->zone.len;
    uint8_t *body, *at;

    for (uint32_t i = 0; i < q->head.metrics; i++)
        len += sizeof(uint16_t) + q->metrics[i].len;
    if (len > msg_row_of(MSG_QUERY)->body_max) {
        call_fail(c, 413, "Request body is too large.");
        return;
    }
    if (!readings_within_cap(c))
        return;
    body = at = call_alloc(c, len);
    memcpy(at, &q->head, sizeof q->head);
    at += sizeof q->head;
    memcpy(at, q->machines, q->head.machines * sizeof(uint32_t));
    at += q->head.machines * sizeof(uint32_t);
    for (uint32_t i = 0; i < q->head.metrics; i++) {
        uint16_t n = (uint16_t)q->metrics[i].len;

        memcpy(at, &n, sizeof n);
        memcpy(at + sizeof n, q->metrics[i].at, n); /* never empty */
        at += sizeof n + n;
    }
    if (q->zone.len > 0)
        memcpy(at, q->zone.at, q->zone.len);
    call_ask_stream(
        c, addr_of(KIND_QUERY, (uint16_t)(ak_random(c->f->k) % ak_parts(c->f->k, KIND_QUERY))),
        MSG_QUERY, body, (uint32_t)len, WINDOW, on_result);
}

static series_query *
query_new(call *c)
{
    series_query *q = call_alloc(c, sizeof *q);

    points_init(&q->out, call_header(c, "accept"));
    call_keep(c, q, query_drop);
    return q;
}

static void
get_readings(call *c)
{
    source        s = { "query", call_query(c) };
    board_machine m;
    series_query *q;

    if (!find_machine(c, &m))
        return;
    q = query_new(c);
    q->out.of_machine = true;
    q->out.machine_id = m.id;
    q->machines[q->head.machines++] = m.no;
    if (!take_common(c, s, q) || !take_metrics(c, s, "metric", q))
        return;
    q->out.single = q->head.metrics == 1;
    send_query(c, q);
}

/* False: answered. */
static bool
take_machines(call *c, source s, series_query *q)
{
    const cJSON *ids = cJSON_GetObjectItemCaseSensitive(s.from, "machine_ids");
    const cJSON *item;

    if (!cJSON_IsArray(ids))
        return true;
    cJSON_ArrayForEach(item, ids)
    {
        board_machine m;
        uuid          id;

        if (q->head.machines == MACHINES_MAX)
            return bad(c, s, "machine_ids", "At most 1000 machines.");
        if (!uuid_parse(view_str(item->valuestring), &id) ||
            board_find_machine_id(c->f->board, &id, &m) == 0 || m.tenant != c->who.tenant ||
            !(m.flags & BOARD_LIVE)) {
            call_fail(c, 404, "Machine not found.");
            return false;
        }
        q->machines[q->head.machines++] = m.no;
    }
    return true;
}

static void
take_group(source s, series_query *q)
{
    static const char *const words[] = { "", "machine", "metric", "all", NULL };
    int                      i = word_index(words, string_member(s.from, "group_by"));

    q->head.group_by = i < 0 ? GROUP_SERIES : (uint8_t)i;
}

/* The number of a machine group is known; the machines on the board say theirs. */
static void
have_group_no(call *c, const ak_msg *reply)
{
    series_query *q = call_kept(c);
    reg_done      head;
    view          value;
    pack_doc      d;
    int64_t       no = 0;

    if (!call_reg_reply(c, reply, &head, &value))
        return;
    if (head.status != 200) {
        route_registry_answer(c, reply);
        return;
    }
    if (pack_open(&d, value) == E_OK) {
        (void)pack_get_int(pack_root(&d), "no", &no);
        pack_doc_close(&d);
    }
    if (no <= 0 || no > UINT32_MAX) {
        err_clear();
        call_unavailable(c, KIND_REGISTRY, E_BAD);
        return;
    }
    q->head.group = (uint32_t)no;
    if (q->nobody)
        finish(c, q);
    else
        send_query(c, q);
}

static void
ask_group_no(call *c, view id)
{
    pack p;

    pack_init(&p);
    pack_map(&p, 1);
    pack_name_str(&p, "id", id);
    call_registry(c, REG_GROUP_NO, pack_view(&p), have_group_no);
    pack_fini(&p);
}

static void
post_query(call *c)
{
    source        s = { "body", call_body(c) };
    series_query *q = query_new(c);
    view          group = string_member(s.from, "group_id");

    take_group(s, q);
    if (!take_common(c, s, q) || !take_metrics(c, s, "metrics", q) || !take_machines(c, s, q))
        return;
    q->nobody = cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(s.from, "machine_ids")) && q->head.machines == 0;
    if (group.at != NULL)
        ask_group_no(c, group);
    else if (q->nobody)
        finish(c, q);
    else
        send_query(c, q);
}

/* ---- rows ---- */

#define AGGREGATION_WORDS                                                                          \
    "avg|min|max|sum|count|first|last|stddev|p50|p90|p95|p99|rate|delta|time_weighted_avg"

static const field metric_item[] = {
    { "metric", FIELD_STRING, 0, 1, 255, NULL, NULL, "name of a metric" },
    { 0 },
};
static const field machine_item[] = {
    { "machine_id", FIELD_UUID, 0, 0, 0, NULL, NULL, "id of a machine" },
    { 0 },
};

/* clang-format off */
#define RANGE_FIELDS                                                                            \
    { "start", FIELD_TIME, 0, 0, 0, NULL, NULL, "first instant; default: end - 24 h" },         \
    { "end", FIELD_TIME, 0, 0, 0, NULL, NULL, "first instant behind; default: now" },           \
    { "interval", FIELD_STRING, 0, 1, 16, NULL, NULL, "<n>s, m, h, d, w or 1mo; none: raw" },   \
    { "aggregation", FIELD_ENUM, 0, 0, 0, AGGREGATION_WORDS, NULL, "what a bucket's value is" }, \
    { "limit", FIELD_INTEGER, 0, 1, LIMIT_MAX, NULL, NULL, "points a series; filled ones apart" }, \
    { "cursor", FIELD_STRING, 0, 1, 64, NULL, NULL, "next_cursor of the page before" },         \
    { "order", FIELD_ENUM, 0, 0, 0, "asc|desc", NULL, "oldest or newest first" },               \
    { "fill", FIELD_ENUM, 0, 0, 0, "none|null|previous|linear", NULL, "for empty buckets" },    \
    { "timezone", FIELD_STRING, 0, 1, 64, NULL, NULL, "IANA name; days and longer follow it" }, \
    { "max_gap", FIELD_STRING, 0, 1, 16, NULL, NULL, "time_weighted_avg: a value holds so long at most; default 1h" }
/* clang-format on */

static const field range_fields[] = {
    { "metric", FIELD_ARRAY, 0, 1, METRICS_MAX, NULL, metric_item, "names; none: all" },
    RANGE_FIELDS,
    { 0 },
};
static const schema range_schema = { "ReadingsRange", range_fields };

static const field query_fields[] = {
    { "machine_ids", FIELD_ARRAY, FIELD_NULL, 0, MACHINES_MAX, NULL, machine_item,
      "machines; none: all" },
    { "group_id", FIELD_UUID, FIELD_NULL, 0, 0, NULL, NULL, "machines of this group, not of those below it" },
    { "metrics", FIELD_ARRAY, FIELD_NULL, 0, METRICS_MAX, NULL, metric_item, "names; none: all" },
    { "group_by", FIELD_ENUM, FIELD_NULL, 0, 0, "machine|metric|all", NULL,
      "fold series together" },
    RANGE_FIELDS,
    { 0 },
};
static const schema query_schema = { "ReadingsQuery", query_fields };

extern const route readings_routes[];

const route readings_routes[] = {
    { GET, 200, WHO_VIEWER | WHO_SCOPE(SCOPE_READ_SENSORS), 0, 0, "/machines/{id}/readings/latest",
      NULL, NULL, get_latest, 0, "Latest value of each metric" },
    { GET, 200, WHO_VIEWER | WHO_SCOPE(SCOPE_READ_SENSORS), 0, QUERY_MS, "/machines/{id}/readings",
      &range_schema, NULL, get_readings, 0, "Readings or aggregates of a time range" },
    { POST, 200, WHO_VIEWER | WHO_SCOPE(SCOPE_READ_SENSORS), 256 << 10, QUERY_MS, "/readings/query",
      NULL, &query_schema, post_query, 0, "Readings or aggregates of many machines" },
    { 0 },
};
