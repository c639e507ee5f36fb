/* ws.c - /api/v1/ws/dashboard: what happens, pushed.
 *
 *   upgrade -> waiting for a token (10 s)
 *           -> live: heartbeat, sensor_update, alert, machine_status
 *           -> closing
 *
 * A frame is built once for a tenant and appended to the buffer of each of its clients; a client's
 * buffer is written once a turn.  H2O's and wslay's part is reading, pings and the closing
 * handshake: their output goes through the same buffer.
 *
 *   filling  | frame frame frame |    <- appended here
 *   way out  | .... being written|    one write at a time
 *
 * Over CONFLATE, a sensor_update only marks its series: the newest value is sent when there is
 * room.  Over CLOSE, an alert that has no room closes the connection with 1013.
 *
 * So a slow client costs a bounded amount of memory, and nobody waits for it.
 */
#include "api/auth.h"
#include "proto/log.h"

#include <errno.h>
#include <h2o.h>
#include <h2o/websocket.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CONFLATE = 256 << 10,
    CLOSE = 1 << 20,
    MARKS_MAX = 8192, /* series of one client that wait to be sent anew */
    TOKEN_S = 10,
    HEARTBEAT_S = 15,
    PING_S = 30,
    SILENT_S = 90,
    FAREWELL_S = 2,
    STRANGERS_MAX = 20, /* unauthenticated connections of one address */
    MESSAGE_MAX = 65536,
    FILTER_MAX = 1000,
    REPLAY = 64, /* events of a tenant that can be replayed */
    TENANTS_KEPT = 256,
    PART_BIT = 32,
};
enum {
    CLOSE_TOKEN = 4001,
    CLOSE_LATE = 4002,
    CLOSE_CROWD = 4003,
    CLOSE_SLOW = 1013,
    CLOSE_BYE = 1001
};
enum { TYPE_SENSOR = 1, TYPE_ALERT = 2, TYPE_STATUS = 4, TYPE_HEARTBEAT = 8, TYPES_ALL = 15 };

static const char *const type_words[] = { "sensor_update", "alert", "machine_status", "heartbeat",
                                          NULL };

typedef struct bytes {
    uint8_t *at;
    size_t   len;
    size_t   room;
} bytes;

typedef struct filter {
    uint32_t *machines; /* sorted numbers; NULL: all */
    uint32_t  machine_count;
    cJSON    *metrics; /* array of strings; NULL: all */
    uint32_t  types;
    uint32_t  min_interval_ms;
} filter;

typedef struct event { /* kept for who comes back */
    uint64_t seq;
    uint32_t type;
    uint32_t machine;
    bytes    frame;
} event;

typedef struct client client;

typedef struct audience { /* the live clients of a tenant */
    struct audience *next;
    client          *first;
    uint32_t         tenant;
    uint32_t         count;
    uint64_t         last_seq;
    uint32_t         event_at;
    event            events[REPLAY];
} audience;

enum state { STRANGER, LIVE, CLOSING };

struct client {
    ws                   *w;
    h2o_websocket_conn_t *conn;
    client               *next; /* all */
    client               *prev;
    client               *next_live; /* of its tenant */
    client               *prev_live;
    client               *next_due; /* has something to write */
    audience             *audience;
    caller                who;
    enum state            state;
    bool                  due;
    bool                  writing;
    uint64_t              since_ns; /* of the state */
    uint64_t              heard_ns;
    uint64_t              pinged_ns;
    uint64_t              wrote_ns; /* when the write under way began */
    uint64_t              swept_ns; /* when marks were sent last */
    bytes                 filling;
    bytes                 way_out;
    uint64_t             *marks; /* set of part << 32 | series, open addressing */
    uint32_t              mark_count;
    filter                filter;
    uint8_t               address_len;
    char                  address[64];
};

struct ws {
    front    *f;
    client   *first;
    client   *due;
    audience *audiences;
    uint32_t  audience_count;
    uint32_t  count;
    uint32_t  marked; /* clients with marks */
    uint64_t  heartbeat_ns;
    uint64_t  registry_seq;
    bool      sweeping;
    json_out  json;
};

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* ---- buffers ---- */

static void
bytes_add(bytes *b, const void *at, size_t len)
{
    if (len == 0)
        return;
    if (b->len + len > b->room) {
        b->room = (size_t)max_u64(b->room * 2, round_up(b->len + len, 1024));
        b->at = h2o_mem_realloc(b->at, b->room);
    }
    memcpy(b->at + b->len, at, len);
    b->len += len;
}

static void
mark_due(client *c)
{
    if (c->due)
        return;
    c->due = true;
    c->next_due = c->w->due;
    c->w->due = c;
    http_touch(c->w->f->http);
}

/* A whole text frame: FIN and text, length, payload; a server's are not masked. */
static void
frame_add(bytes *b, view text)
{
    uint8_t head[10] = { 0x81 };
    size_t  n = 2;

    if (text.len < 126) {
        head[1] = (uint8_t)text.len;
    } else if (text.len <= UINT16_MAX) {
        head[1] = 126;
        head[2] = (uint8_t)(text.len >> 8);
        head[3] = (uint8_t)text.len;
        n = 4;
    } else {
        head[1] = 127;
        store_be64(head + 2, text.len);
        n = 10;
    }
    bytes_add(b, head, n);
    bytes_add(b, text.at, text.len);
}

/* ---- audiences ---- */

static audience *
audience_find(const ws *w, uint32_t tenant)
{
    audience *a = w->audiences;

    while (a != NULL && a->tenant != tenant)
        a = a->next;
    return a;
}

static void
audience_free(ws *w, audience *a)
{
    audience **at = &w->audiences;

    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    w->audience_count--;
    for (int i = 0; i < REPLAY; i++)
        free(a->events[i].frame.at);
    free(a);
}

/* An audience without clients is kept for its events, unless there are too many. */
static audience *
audience_get(ws *w, uint32_t tenant)
{
    audience *a = audience_find(w, tenant);

    if (a != NULL)
        return a;
    if (w->audience_count >= TENANTS_KEPT) {
        audience *idle = w->audiences;

        while (idle != NULL && idle->count > 0)
            idle = idle->next;
        if (idle != NULL)
            audience_free(w, idle);
    }
    a = calloc(1, sizeof *a);
    ASSERT(a != NULL);
    a->tenant = tenant;
    a->next = w->audiences;
    w->audiences = a;
    w->audience_count++;
    return a;
}

static void
join(client *c)
{
    audience *a = audience_get(c->w, c->who.tenant);

    c->audience = a;
    c->prev_live = NULL;
    c->next_live = a->first;
    if (a->first != NULL)
        a->first->prev_live = c;
    a->first = c;
    if (a->count++ == 0)
        board_watch_tenant(c->w->f->board, c->w->f->number, a->tenant, true);
}

static void
leave(client *c)
{
    audience *a = c->audience;

    if (a == NULL)
        return;
    if (c->prev_live != NULL)
        c->prev_live->next_live = c->next_live;
    else
        a->first = c->next_live;
    if (c->next_live != NULL)
        c->next_live->prev_live = c->prev_live;
    c->audience = NULL;
    if (--a->count == 0)
        board_watch_tenant(c->w->f->board, c->w->f->number, a->tenant, false);
}

/* ---- filters ---- */

static void
filter_free(filter *f)
{
    free(f->machines);
    cJSON_Delete(f->metrics);
    *f = (filter){ .types = TYPES_ALL };
}

static int
compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static bool
wants(const client *c, uint32_t type, uint32_t machine, view metric)
{
    const filter *f = &c->filter;
    const cJSON  *item;

    if (!(f->types & type))
        return false;
    if (f->machines != NULL && machine != 0 &&
        bsearch(&machine, f->machines, f->machine_count, sizeof machine, compare_numbers) == NULL)
        return false;
    if (f->metrics == NULL || metric.at == NULL)
        return true;
    cJSON_ArrayForEach(item,
                       f->metrics) if (view_eq(view_str(item->valuestring), metric)) return true;
    return false;
}

/* ---- closing ---- */

static void
close_with(client *c, uint16_t code, const char *why)
{
    if (c->state == CLOSING)
        return;
    leave(c);
    c->state = CLOSING;
    c->since_ns = front_now_ns();
    wslay_event_queue_close(c->conn->ws_ctx, code, (const uint8_t *)why, strlen(why));
    mark_due(c);
}

static void
unlink_due(client *c)
{
    client **at = &c->w->due;

    if (!c->due)
        return;
    while (*at != c)
        at = &(*at)->next_due;
    *at = c->next_due;
    c->due = false;
}

/* The connection is over: its last bytes (a closing frame) go out if the kernel takes them now. */
static void
client_free(client *c)
{
    ws *w = c->w;

    leave(c);
    unlink_due(c);
    if (c->conn->sock != NULL && !c->writing && c->filling.len > 0 &&
        write(h2o_socket_get_fd(c->conn->sock), c->filling.at, c->filling.len) < 0)
        errno = 0;
    h2o_websocket_close(c->conn);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        w->first = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    w->count--;
    w->marked -= c->mark_count > 0;
    count_set(w->f->counters, COUNT_SOCKETS, w->count);
    filter_free(&c->filter);
    free(c->marks);
    free(c->filling.at);
    free(c->way_out.at);
    free(c);
}

/* ---- marks: series whose newest value a slow client is still owed ---- */

static void
mark_series(client *c, uint64_t key)
{
    uint64_t at = key * UINT64_C(0x9E3779B97F4A7C15) >> 32;

    if (c->marks == NULL) {
        c->marks = calloc(MARKS_MAX * 2, sizeof *c->marks);
        ASSERT(c->marks != NULL);
    }
    for (at %= MARKS_MAX * 2; c->marks[at] != 0; at = (at + 1) % (MARKS_MAX * 2))
        if (c->marks[at] == key)
            return;
    if (c->mark_count == MARKS_MAX)
        return; /* the next reading of that series comes with its own value */
    c->marks[at] = key;
    if (c->mark_count++ == 0)
        c->w->marked++;
}

static void
write_update(json_out *j, const uuid *machine, view metric, view unit, const reading_row *r)
{
    json_reset(j);
    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("sensor_update"));
    json_name_uuid(j, "machine_id", machine);
    json_name_string(j, "metric_name", metric);
    json_name_number(j, "value", r->value);
    json_name_string(j, "unit", unit);
    json_name_time(j, "timestamp", r->time_us);
    json_close(j, '}');
}

/* False: that series, or its machine, is not known. */
static bool
build_update(ws *w, uint16_t part, const reading_row *r, board_series *s, view *metric)
{
    board        *b = w->f->board;
    board_machine m;

    if (!table_read(board_table(b, BOARD_SERIES, part), r->series, s) ||
        !table_read(board_table(b, BOARD_MACHINES, 0), s->machine, &m))
        return false;
    *metric = board_string(b, BOARD_SERIES, part, s->metric);
    write_update(&w->json, &m.id, *metric, board_string(b, BOARD_SERIES, part, s->unit), r);
    return !w->json.failed;
}

/* Sends the newest values of marked series while there is room. */
static void
send_marked(client *c, uint64_t now)
{
    board *b = c->w->f->board;

    if (c->mark_count == 0 || c->state != LIVE || c->filling.len >= CONFLATE / 2 ||
        now - c->swept_ns < c->filter.min_interval_ms * NS_PER_MS)
        return;
    for (uint32_t i = 0; i < MARKS_MAX * 2; i++) {
        uint64_t     key = c->marks[i];
        uint16_t     part = (uint16_t)(key >> PART_BIT);
        reading_row  r = { .series = (uint32_t)key };
        board_latest latest;
        board_series s;
        view         metric;

        if (key == 0)
            continue;
        if (board_latest_of(b, part, r.series, &latest)) {
            r.time_us = latest.time_us;
            r.value = latest.value;
            if (build_update(c->w, part, &r, &s, &metric))
                frame_add(&c->filling, view_of(c->w->json.at, c->w->json.len));
        }
    }
    memset(c->marks, 0, MARKS_MAX * 2 * sizeof *c->marks);
    c->mark_count = 0;
    c->w->marked--;
    c->swept_ns = now;
    mark_due(c);
}

static void
on_sweep(front *f)
{
    static front_timer sweep = { on_sweep };
    ws                *w = f->ws;
    uint64_t           now = front_now_ns();

    w->sweeping = false;
    for (client *c = w->first; c != NULL && w->marked > 0; c = c->next)
        send_marked(c, now);
    if (w->marked > 0) {
        w->sweeping = true;
        (void)ak_timer(f->k, 100 * NS_PER_MS, &sweep);
    }
}

/* ---- pushing ---- */

static void
push_update(client *c, uint64_t key, view frame)
{
    if (c->filling.len > CONFLATE || c->filter.min_interval_ms > 0) {
        mark_series(c, key);
        if (!c->w->sweeping)
            on_sweep(c->w->f);
        return;
    }
    bytes_add(&c->filling, frame.at, frame.len);
    count_add(c->w->f->counters, COUNT_FRAMES, 1);
    mark_due(c);
}

static void
push_event(client *c, view frame)
{
    if (c->filling.len + frame.len > CLOSE) {
        close_with(c, CLOSE_SLOW, "Too slow");
        return;
    }
    bytes_add(&c->filling, frame.at, frame.len);
    count_add(c->w->f->counters, COUNT_FRAMES, 1);
    mark_due(c);
}

void
ws_on_feed(ws *w, const ak_msg *m)
{
    const uint8_t *at = m->body;
    feed_head      head;
    bytes          frame = { 0 };
    uint16_t       parts = board_parts(w->f->board);

    if (m->len < sizeof head)
        return;
    memcpy(&head, at, sizeof head);
    if (head.part >= parts || head.rows > (m->len - sizeof head) / sizeof(reading_row))
        return;
    at += sizeof head;
    for (uint32_t i = 0; i < head.rows; i++, at += sizeof(reading_row)) {
        reading_row  r;
        board_series s;
        view         metric;
        audience    *a;
        uint64_t     key;

        memcpy(&r, at, sizeof r);
        key = (uint64_t)head.part << PART_BIT | r.series;
        if (!table_read(board_table(w->f->board, BOARD_SERIES, head.part), r.series, &s))
            continue;
        a = audience_find(w, s.tenant);
        if (a == NULL || a->count == 0 || !build_update(w, head.part, &r, &s, &metric))
            continue;
        frame.len = 0;
        frame_add(&frame, view_of(w->json.at, w->json.len));
        for (client *c = a->first; c != NULL; c = c->next_live)
            if (wants(c, TYPE_SENSOR, s.machine, metric))
                push_update(c, key, view_of(frame.at, frame.len));
    }
    free(frame.at);
}

static void
remember(audience *a, const event_head *head, uint32_t type, view frame)
{
    event *e = &a->events[a->event_at++ % REPLAY];

    e->seq = head->seq;
    e->type = type;
    e->machine = head->machine;
    e->frame.len = 0;
    bytes_add(&e->frame, frame.at, frame.len);
    if (head->seq > a->last_seq)
        a->last_seq = head->seq;
}

void
ws_on_event(ws *w, const ak_msg *m)
{
    event_head head;
    audience  *a;
    bytes      frame = { 0 };
    uint32_t   type;

    if (m->len <= sizeof head)
        return;
    memcpy(&head, m->body, sizeof head);
    a = audience_find(w, head.tenant);
    if (a == NULL)
        return;
    type = head.kind == EVENT_ALERT ? TYPE_ALERT : TYPE_STATUS;
    frame_add(&frame, view_of((const uint8_t *)m->body + sizeof head, m->len - sizeof head));
    remember(a, &head, type, view_of(frame.at, frame.len));
    for (client *c = a->first, *next; c != NULL; c = next) {
        next = c->next_live;
        if (wants(c, type, head.machine, (view){ 0 }))
            push_event(c, view_of(frame.at, frame.len));
    }
    free(frame.at);
}

/* ---- what clients say ---- */

static void
authenticate(client *c, view token)
{
    front       *f = c->w->f;
    caller       who;
    auth_verdict v;

    if (token.len > 3 && memcmp(token.at, "hk_", 3) == 0) {
        v = auth_key(f, token, &who);
        if (v.status == 0)
            v = auth_allows(WHO_NOBODY | WHO_SCOPE(SCOPE_STREAM), &who);
    } else {
        v = auth_token(f, token, &who);
    }
    if (v.status == 0 && c->state == LIVE && who.tenant != c->who.tenant)
        v.status = 403; /* a renewal does not change sides */
    if (v.status != 0) {
        close_with(c, CLOSE_TOKEN, v.status == 403 ? "Forbidden" : "Invalid or expired token");
        return;
    }
    c->who = who;
    if (c->state == LIVE)
        return;
    c->state = LIVE;
    c->since_ns = front_now_ns();
    join(c);
}

static void
filter_machines(client *c, filter *f, const cJSON *ids)
{
    const cJSON *item;

    if (!cJSON_IsArray(ids))
        return;
    f->machines = calloc(FILTER_MAX, sizeof *f->machines);
    ASSERT(f->machines != NULL);
    cJSON_ArrayForEach(item, ids)
    {
        board_machine m;
        uuid          id;

        if (f->machine_count == FILTER_MAX)
            break;
        if (cJSON_IsString(item) && uuid_parse(view_str(item->valuestring), &id) &&
            board_find_machine_id(c->w->f->board, &id, &m) != 0 && m.tenant == c->who.tenant)
            f->machines[f->machine_count++] = m.no;
    }
    qsort(f->machines, f->machine_count, sizeof *f->machines, compare_numbers);
}

static void
filter_types(filter *f, const cJSON *types)
{
    const cJSON *item;

    if (!cJSON_IsArray(types))
        return;
    f->types = TYPE_HEARTBEAT;
    cJSON_ArrayForEach(item, types)
    {
        int i = cJSON_IsString(item) ? word_index(type_words, view_str(item->valuestring)) : -1;

        if (i >= 0)
            f->types |= 1u << i;
    }
}

static void
filter_metrics(filter *f, cJSON *subscribe)
{
    cJSON *metrics = cJSON_DetachItemFromObjectCaseSensitive(subscribe, "metrics");
    cJSON *item;

    if (!cJSON_IsArray(metrics) || cJSON_GetArraySize(metrics) > FILTER_MAX) {
        cJSON_Delete(metrics);
        return;
    }
    for (item = metrics->child; item != NULL;) {
        cJSON *next = item->next;

        if (!cJSON_IsString(item))
            cJSON_Delete(cJSON_DetachItemViaPointer(metrics, item));
        item = next;
    }
    f->metrics = metrics;
}

static void
subscribe(client *c, cJSON *what)
{
    const cJSON *interval = cJSON_GetObjectItemCaseSensitive(what, "min_interval_ms");

    filter_free(&c->filter);
    filter_machines(c, &c->filter, cJSON_GetObjectItemCaseSensitive(what, "machine_ids"));
    filter_types(&c->filter, cJSON_GetObjectItemCaseSensitive(what, "types"));
    filter_metrics(&c->filter, what);
    if (cJSON_IsNumber(interval) && interval->valuedouble > 0)
        c->filter.min_interval_ms =
            interval->valuedouble > 3600000 ? 3600000 : (uint32_t)interval->valuedouble;
}

static void
send_gap(client *c, uint64_t from, uint64_t to)
{
    json_out *j = &c->w->json;

    json_reset(j);
    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("gap"));
    json_name_int(j, "from", (int64_t)from);
    json_name_int(j, "to", (int64_t)to);
    json_close(j, '}');
    frame_add(&c->filling, view_of(j->at, j->len));
    mark_due(c);
}

/* Events behind `seq`, from the oldest that is kept; what is not kept is named as a gap. */
static void
resume(client *c, uint64_t seq)
{
    const audience *a = c->audience;
    uint32_t        kept = a->event_at < REPLAY ? a->event_at : REPLAY;
    uint32_t        from = a->event_at - kept;
    uint64_t        expected = seq + 1;

    for (uint32_t i = from; i < a->event_at && c->state == LIVE; i++) {
        const event *e = &a->events[i % REPLAY];

        if (e->seq <= seq)
            continue;
        if (e->seq > expected)
            send_gap(c, expected, e->seq - 1);
        expected = e->seq + 1;
        if (wants(c, e->type, e->machine, (view){ 0 }))
            push_event(c, view_of(e->frame.at, e->frame.len));
    }
}

static void
on_text(client *c, view text)
{
    cJSON *message, *item;

    if (c->state == STRANGER) {
        authenticate(c, text);
        return;
    }
    message = json_parse(text);
    item = cJSON_GetObjectItemCaseSensitive(message, "token");
    if (cJSON_IsString(item))
        authenticate(c, view_str(item->valuestring));
    item = cJSON_GetObjectItemCaseSensitive(message, "subscribe");
    if (cJSON_IsObject(item) && c->state == LIVE)
        subscribe(c, item);
    item = cJSON_GetObjectItemCaseSensitive(message, "resume");
    if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 9e15 &&
        c->state == LIVE)
        resume(c, (uint64_t)item->valuedouble);
    cJSON_Delete(message);
}

/* H2O's callback: a message, or the end. */
static void
on_message(h2o_websocket_conn_t *conn, const struct wslay_event_on_msg_recv_arg *arg)
{
    client *c = conn->data;

    if (arg == NULL) {
        client_free(c);
        return;
    }
    c->heard_ns = front_now_ns();
    if (c->state != CLOSING && arg->opcode == WSLAY_TEXT_FRAME)
        on_text(c, view_of(arg->msg, arg->msg_length));
    else if (c->state == STRANGER && arg->opcode == WSLAY_BINARY_FRAME)
        close_with(c, CLOSE_TOKEN, "Invalid or expired token");
    mark_due(c); /* wslay may have something to say */
}

/* ---- writing ---- */

/* wslay's output (pongs, closing frames): always whole frames, so they can stand between ours. */
static ssize_t
on_wslay_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *conn)
{
    client *c = ((h2o_websocket_conn_t *)conn)->data;

    (void)ctx;
    (void)flags;
    bytes_add(&c->filling, data, len);
    mark_due(c);
    return (ssize_t)len;
}

static void on_written(h2o_socket_t *sock, const char *error);

static void
client_write(client *c)
{
    bytes       swap = c->way_out;
    h2o_iovec_t out;

    if (c->writing || c->filling.len == 0)
        return;
    c->way_out = c->filling;
    c->filling = swap;
    c->filling.len = 0;
    c->writing = true;
    c->wrote_ns = front_now_ns();
    out = h2o_iovec_init(c->way_out.at, c->way_out.len);
    h2o_socket_write(c->conn->sock, &out, 1, on_written);
}

static void
on_written(h2o_socket_t *sock, const char *error)
{
    h2o_websocket_conn_t *conn = sock->data;
    client               *c = conn->data;

    c->writing = false;
    if (error != NULL) {
        client_free(c);
        return;
    }
    c->way_out.len = 0;
    send_marked(c, front_now_ns());
    client_write(c);
    h2o_websocket_proceed(conn); /* may end it */
}

/* Writes what was gathered in this turn, a client once. */
void
ws_turn(ws *w)
{
    client *list = w->due;

    w->due = NULL;
    while (list != NULL) {
        client *c = list;

        list = c->next_due;
        c->due = false;
        if (c->conn->sock == NULL) { /* the 101 is still on its way */
            c->due = true;
            c->next_due = w->due;
            w->due = c;
            continue;
        }
        if (wslay_event_want_write(c->conn->ws_ctx) && wslay_event_send(c->conn->ws_ctx) != 0) {
            client_free(c);
            continue;
        }
        if (c->due) { /* wslay put itself on the new list: taken off again */
            unlink_due(c);
        }
        client_write(c);
        http_touch(w->f->http);
    }
}

/* ---- time ---- */

static void
heartbeat(ws *w)
{
    json_out *j = &w->json;
    bytes     frame = { 0 };

    json_reset(j);
    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("heartbeat"));
    json_name_time(j, "server_time", front_wall_us());
    json_close(j, '}');
    frame_add(&frame, view_of(j->at, j->len));
    for (client *c = w->first, *next; c != NULL; c = next) {
        next = c->next;
        if (c->state == LIVE)
            push_event(c, view_of(frame.at, frame.len));
    }
    free(frame.at);
}

/* Has the registry changed what this caller rests on? */
static bool
still_welcome(const ws *w, const client *c)
{
    const board *b = w->f->board;
    board_user   user;
    board_key    key;
    board_tenant tenant;

    if (!table_read(board_table(b, BOARD_TENANTS, 0), c->who.tenant, &tenant) ||
        !(tenant.flags & BOARD_LIVE) || tenant.subscription != 0)
        return false;
    if (c->who.key != 0)
        return table_read(board_table(b, BOARD_KEYS, 0), c->who.key, &key) &&
               (key.flags & BOARD_LIVE);
    return table_read(board_table(b, BOARD_USERS, 0), c->who.user, &user) &&
           (user.flags & BOARD_LIVE) && !board_is_blocked(b, &c->who.jti);
}

/* False: it was let go. */
static bool
look_after(ws *w, client *c, uint64_t now, bool changed)
{
    uint64_t age = now - c->since_ns;
    bool     stuck = c->writing && now - c->wrote_ns > SILENT_S * NS_PER_S;

    if ((c->state == CLOSING && age > FAREWELL_S * NS_PER_S) || stuck ||
        (c->state == LIVE && now - c->heard_ns > SILENT_S * NS_PER_S)) {
        if (c->conn->sock == NULL)
            return true; /* the upgrade's own end will come */
        client_free(c);
        return false;
    }
    if (c->state == STRANGER && age > TOKEN_S * NS_PER_S)
        close_with(c, CLOSE_LATE, "No token");
    if (c->state == LIVE && c->who.expires_us != 0 && front_wall_us() >= c->who.expires_us)
        close_with(c, CLOSE_TOKEN, "Token has expired");
    if (c->state == LIVE && changed && !still_welcome(w, c))
        close_with(c, CLOSE_TOKEN, "Token is not valid any longer");
    if (c->state == LIVE && now - c->pinged_ns > PING_S * NS_PER_S) {
        struct wslay_event_msg ping = { .opcode = WSLAY_PING };

        c->pinged_ns = now;
        wslay_event_queue_msg(c->conn->ws_ctx, &ping);
        mark_due(c);
    }
    return true;
}

void
ws_tick(ws *w)
{
    uint64_t now = front_now_ns();
    uint64_t seq = board_registry_seq(w->f->board);
    bool     changed = seq != w->registry_seq;

    w->registry_seq = seq;
    for (client *c = w->first, *next; c != NULL; c = next) {
        next = c->next;
        look_after(w, c, now, changed);
    }
    if (now - w->heartbeat_ns >= HEARTBEAT_S * NS_PER_S) {
        w->heartbeat_ns = now;
        heartbeat(w);
    }
}

/* ---- the upgrade ---- */

static bool
same_origin(const h2o_req_t *req, view origin)
{
    const uint8_t *slashes = memmem(origin.at, origin.len, "://", 3);
    view           host;

    if (slashes == NULL)
        return false;
    host = view_of(slashes + 3, origin.len - (size_t)(slashes + 3 - origin.at));
    return view_eq(host, view_of(req->authority.base, req->authority.len));
}

static uint32_t
strangers_from(const ws *w, view address)
{
    uint32_t n = 0;

    for (const client *c = w->first; c != NULL; c = c->next)
        n += c->state == STRANGER && view_eq(view_of(c->address, c->address_len), address);
    return n;
}

static client *
client_new(ws *w, call *call_)
{
    client *c = calloc(1, sizeof *c);
    view    address = call_address(call_);

    ASSERT(c != NULL);
    c->w = w;
    c->since_ns = c->heard_ns = c->pinged_ns = front_now_ns();
    c->filter.types = TYPES_ALL;
    memcpy(c->address, address.at, address.len);
    c->address_len = (uint8_t)address.len;
    c->next = w->first;
    if (w->first != NULL)
        w->first->prev = c;
    w->first = c;
    w->count++;
    count_set(w->f->counters, COUNT_SOCKETS, w->count);
    return c;
}

/* H2O's callbacks, but for the sending. */
static void
take_over_sending(client *c)
{
    struct wslay_event_callbacks callbacks = c->conn->ws_callbacks;

    callbacks.send_callback = on_wslay_send;
    wslay_event_config_set_callbacks(c->conn->ws_ctx, &callbacks);
    wslay_event_config_set_max_recv_msg_length(c->conn->ws_ctx, MESSAGE_MAX);
}

static void
get_dashboard(call *call_)
{
    ws         *w = call_->f->ws;
    view        origin = call_header(call_, "origin");
    const char *key = http_upgrade_key(call_->x);
    client     *c;
    bool        crowd;

    if (!http_wants_upgrade(call_->x) ||
        !view_eq(call_header(call_, "sec-websocket-version"), VIEW_LIT("13"))) {
        call_add_header(call_, "Upgrade", VIEW_LIT("websocket"));
        call_add_header(call_, "Sec-WebSocket-Version", VIEW_LIT("13"));
        call_fail(call_, 426, "A WebSocket upgrade is required.");
        return;
    }
    if (key == NULL) {
        call_fail(call_, 400, "Sec-WebSocket-Key is not valid.");
        return;
    }
    if (origin.len > 0 && !same_origin(call_->x->raw, origin) &&
        !call_origin_allowed(call_, origin)) {
        call_fail(call_, 403, "Origin is not allowed.");
        return;
    }
    crowd = strangers_from(w, call_address(call_)) >= STRANGERS_MAX;
    c = client_new(w, call_);
    call_->answered = call_->x->answered = true;
    c->conn = h2o_upgrade_to_websocket(call_->x->raw, key, c, on_message);
    take_over_sending(c);
    http_touch(w->f->http);
    if (crowd)
        close_with(c, CLOSE_CROWD, "Too many unauthenticated connections");
}

/* ---- life ---- */

ws *
ws_new(front *f)
{
    ws *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->f = f;
    w->heartbeat_ns = front_now_ns();
    return w;
}

/* Everybody is told that the server goes away. */
void
ws_close_all(ws *w)
{
    for (client *c = w->first, *next; c != NULL; c = next) {
        next = c->next;
        close_with(c, CLOSE_BYE, "The server is going away");
    }
    ws_turn(w);
}

void
ws_free(ws *w)
{
    if (w == NULL)
        return;
    for (client *c = w->first, *next; c != NULL; c = next) {
        next = c->next;
        client_free(c);
    }
    while (w->audiences != NULL)
        audience_free(w, w->audiences);
    json_out_free(&w->json);
    free(w);
}

extern const route ws_routes[];

const route ws_routes[] = {
    { GET, 101, WHO_OPEN, 0, 0, "/ws/dashboard", NULL, NULL, get_dashboard, 0,
      "WebSocket: the first text message is the access token" },
    { 0 },
};
