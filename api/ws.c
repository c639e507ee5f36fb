/* ws.c - /api/v1/ws/dashboard: what happens, pushed.
 *
 *   upgrade -> waiting for a token (10 s)
 *           -> live: heartbeat, sensor_update, alert, machine_status
 *           -> closing
 *
 * The upgrade, what clients say, and time; ws_inner.h says where the rest is.
 */
#include "api/auth.h"
#include "api/ws_inner.h"
#include "proto/log.h"

#include <stdlib.h>

enum {
    TOKEN_S = 10,
    HEARTBEAT_S = 15,
    PING_S = 30,
    SILENT_S = 90,
    FAREWELL_S = 2,
    FAREWELL_SLOW_S = 15, /* it may begin to read again, and is told then */
    STRANGERS_MAX = 20,   /* unauthenticated connections of one address */
};
#define SLICE_NS NS_PER_MS /* of a turn */

/* ---- what clients say ---- */

static void
say_error(ws_client *c, const char *detail)
{
    json_out *j = &c->w->json;

    json_reset(j);
    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("error"));
    json_name_string(j, "detail", view_str(detail));
    json_close(j, '}');
    ws_client_say(c, view_of(j->at, j->len));
}

static void
authenticate(ws_client *c, view token)
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
    if (v.status == 0 && c->state == WS_LIVE && who.tenant != c->who.tenant)
        v.status = 403; /* a renewal does not change sides */
    if (v.status != 0) {
        ws_client_close(c, WS_CLOSE_TOKEN, v.status == 403 ? "Forbidden" : "Invalid or expired token");
        return;
    }
    c->who = who;
    if (c->state == WS_LIVE)
        return;
    if (!ws_audience_join(c)) {
        ws_client_close(c, WS_CLOSE_FULL, "Too many connections of this tenant");
        return;
    }
    ws_client_live(c);
}

/* The members of one message, in this order. */
static void
hear_token(ws_client *c, const cJSON *token)
{
    if (cJSON_IsString(token))
        authenticate(c, view_str(token->valuestring));
    else
        say_error(c, "token must be a string");
}

static void
hear_subscribe(ws_client *c, const cJSON *subscribe)
{
    const char *wrong = ws_filter_read(&c->filter, c->w->f->board, c->who.tenant, subscribe);

    if (wrong != NULL)
        say_error(c, wrong);
}

static void
hear_resume(ws_client *c, const cJSON *seq)
{
    if (cJSON_IsNumber(seq) && seq->valuedouble >= 0 && seq->valuedouble < 9e15)
        ws_resume(c, (uint64_t)seq->valuedouble);
    else
        say_error(c, "resume must be a number from 0");
}

static void
hear(ws_client *c, view text)
{
    static const struct {
        const char *name;
        void (*fn)(ws_client *c, const cJSON *value);
    } members[] = { { "token", hear_token }, { "subscribe", hear_subscribe }, { "resume", hear_resume } };
    cJSON *message = json_parse(text);
    bool   known = false;

    for (size_t i = 0; i < COUNT_OF(members) && c->state == WS_LIVE; i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(message, members[i].name);

        if (value == NULL)
            continue;
        known = true;
        members[i].fn(c, value);
    }
    if (!known)
        say_error(c, "Expected an object with token, subscribe or resume");
    cJSON_Delete(message);
}

/* H2O's callback: a message, or the end. */
static void
on_message(h2o_websocket_conn_t *conn, const struct wslay_event_on_msg_recv_arg *arg)
{
    ws_client *c = conn->data;

    if (arg == NULL) {
        if (!ws_client_fail(c))
            ws_client_free(c);
        return;
    }
    c->heard_ns = front_now_ns();
    if (c->state == WS_STRANGER && arg->opcode == WSLAY_TEXT_FRAME)
        authenticate(c, view_of(arg->msg, arg->msg_length));
    else if (c->state == WS_STRANGER && arg->opcode == WSLAY_BINARY_FRAME)
        ws_client_close(c, WS_CLOSE_TOKEN, "Invalid or expired token");
    else if (c->state == WS_LIVE && arg->opcode == WSLAY_TEXT_FRAME)
        hear(c, view_of(arg->msg, arg->msg_length));
    else if (c->state == WS_LIVE && arg->opcode == WSLAY_BINARY_FRAME)
        say_error(c, "Expected a text message");
    ws_client_due(c); /* wslay may have something to say */
}

/* ---- turns and time ---- */

/* Writes what was gathered, for a slice of the turn; what is left goes on in the next one. */
void
ws_turn(ws *w)
{
    uint64_t until = front_now_ns() + SLICE_NS;

    if (w->due != NULL)
        ws_clients_due(w, until);
    if (w->audiences != NULL)
        ws_audience_turns(w, until);
}

/* In the events' log, so it goes out with the passes. */
static void
heartbeat(ws *w)
{
    json_out *j = &w->json;

    json_reset(j);
    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("heartbeat"));
    json_name_time(j, "server_time", front_wall_us());
    json_close(j, '}');
    for (ws_audience *a = w->audiences; a != NULL; a = a->next)
        ws_audience_event(a, &(ws_frame){ .type = WS_HEARTBEAT }, view_of(j->at, j->len));
}

/* Has the registry changed what this caller rests on? */
static bool
still_welcome(const ws *w, const ws_client *c)
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

static bool
is_over(const ws_client *c, uint64_t now)
{
    if (c->state == WS_CLOSING)
        return now - c->since_ns > (c->writing ? FAREWELL_SLOW_S : FAREWELL_S) * NS_PER_S;
    return now - c->heard_ns > SILENT_S * NS_PER_S;
}

static bool
is_behind(const ws *w, const ws_client *c, uint64_t now)
{
    return c->next_event < c->audience->events.first ||
           (c->writing && now - c->wrote_ns > w->f->options->limits_behind_s * NS_PER_S);
}

/* At that moment, not at the next tick. */
static void
mind_expiry(ws *w, ws_client *c, uint64_t now)
{
    int64_t left_us = c->who.expires_us == 0 ? INT64_MAX : c->who.expires_us - front_wall_us();

    if (left_us <= 0) {
        ws_client_close(c, WS_CLOSE_TOKEN, "Token has expired");
    } else if (left_us < 2000000) {
        w->expiring = true;
        ws_alarm(w, now + (uint64_t)left_us * 1000);
    }
}

static void
look_after(ws *w, ws_client *c, uint64_t now, bool changed)
{
    if (is_over(c, now)) {
        if (c->conn->sock != NULL) /* else the upgrade's own end will come */
            ws_client_free(c);
        return;
    }
    if (c->state != WS_LIVE)
        return;
    if (changed && !still_welcome(w, c))
        ws_client_close(c, WS_CLOSE_TOKEN, "Token is not valid any longer");
    else if (is_behind(w, c, now))
        ws_client_close(c, WS_CLOSE_SLOW, "Too slow");
    else
        mind_expiry(w, c, now);
    if (c->state == WS_LIVE && c->resuming && c->own.len == 0)
        ws_resume_more(c); /* an ask that failed */
    if (c->state == WS_LIVE && now - c->pinged_ns > PING_S * NS_PER_S) {
        struct wslay_event_msg ping = { .opcode = WSLAY_PING };

        c->pinged_ns = now;
        wslay_event_queue_msg(c->conn->ws_ctx, &ping);
        ws_client_due(c);
    }
}

void
ws_tick(ws *w)
{
    uint64_t now = front_now_ns();
    uint64_t seq = board_registry_seq(w->f->board);
    bool     changed = seq != w->registry_seq;

    w->registry_seq = seq;
    for (ws_client *c = w->strangers, *next; c != NULL; c = next) {
        next = c->next;
        if (now - c->since_ns > TOKEN_S * NS_PER_S)
            ws_client_close(c, WS_CLOSE_LATE, "No token");
    }
    now = front_now_ns(); /* behind what the strangers were given */
    for (ws_client *c = w->first, *next; c != NULL; c = next) {
        next = c->next;
        look_after(w, c, now, changed);
    }
    for (ws_audience *a = w->audiences; a != NULL; a = a->next)
        ws_audience_tick(a);
    if (now - w->heartbeat_ns >= HEARTBEAT_S * NS_PER_S) {
        w->heartbeat_ns = now;
        heartbeat(w);
    }
}

/* The alarm was for a pass, which the turn looks at, or for a token. */
static void
on_alarm(front *f)
{
    ws      *w = f->ws;
    uint64_t now = front_now_ns();

    w->alarm_ns = 0;
    if (!w->expiring)
        return;
    w->expiring = false;
    for (ws_client *c = w->first; c != NULL; c = c->next)
        if (c->state == WS_LIVE)
            mind_expiry(w, c, now);
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

    for (const ws_client *c = w->strangers; c != NULL; c = c->next)
        n += view_eq(view_of(c->address, c->address_len), address);
    return n;
}

static void
get_dashboard(call *call_)
{
    ws         *w = call_->f->ws;
    view        origin = call_header(call_, "origin");
    const char *key = http_upgrade_key(call_->x);
    ws_client  *c;
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
    c = ws_client_new(w, call_address(call_));
    call_->answered = call_->x->answered = true;
    ws_client_upgrade(c, call_->x->raw, key, on_message);
    http_touch(w->f->http);
    if (crowd)
        ws_client_close(c, WS_CLOSE_STRANGERS, "Too many unauthenticated connections");
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
    w->alarm.fn = on_alarm;
    w->tenants = table_capacity(board_table(f->board, BOARD_TENANTS, 0)) + 1;
    w->by_tenant = calloc(w->tenants, sizeof(ws_audience *));
    if (w->by_tenant == NULL) {
        free(w);
        return NULL;
    }
    return w;
}

/* Everybody is told that the server goes away. */
void
ws_close_all(ws *w)
{
    while (w->strangers != NULL)
        ws_client_close(w->strangers, WS_CLOSE_BYE, "The server is going away");
    for (ws_client *c = w->first; c != NULL; c = c->next)
        ws_client_close(c, WS_CLOSE_BYE, "The server is going away");
    ws_clients_due(w, UINT64_MAX);
}

void
ws_free(ws *w)
{
    if (w == NULL)
        return;
    while (w->strangers != NULL)
        ws_client_free(w->strangers);
    while (w->first != NULL)
        ws_client_free(w->first);
    json_out_free(&w->json);
    free(w->by_tenant);
    free(w);
}

extern const route ws_routes[];

const route ws_routes[] = {
    { GET, 101, WHO_OPEN, 0, 0, "/ws/dashboard", NULL, NULL, get_dashboard, 0,
      "WebSocket: the first text message is the access token" },
    { 0 },
};
