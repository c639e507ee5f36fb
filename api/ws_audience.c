/* ws_audience.c - the live clients of a tenant, and what is told them.
 *
 *   feed ─▶ pending rows ─(a pass begins)─▶ updates ─┐
 *   event ─────────────────────────────▶ events  ────┴─(a pass: client after client)─▶ sockets
 *
 * A frame is built once, however many are there.  A pass takes slices of the front's turns, and the next one begins only
 * when a multiple of its cost is over (and what it sent fits limits.live_mb_s): so an audience has a share of the front,
 * readings that come meanwhile go together in one write, and what is more than that is conflated, first here (rows that
 * wait), then in the log.  Events do not wait for updates: a pass before their time tells of events alone.
 */
#include "api/ws_inner.h"
#include "proto/hash.h"

#include <stdlib.h>

enum {
    SHARE = 8,        /* passes with updates take at most one in so many of the front's time, */
    SHARE_URGENT = 4, /* those for events */
    CLOCK_EVERY = 8,  /* clients */
    ROWS_A_PASS = 2048,
};

uint64_t
ws_board_seq(const ws *w, uint32_t tenant)
{
    board_tenant t;

    return table_read(board_table(w->f->board, BOARD_TENANTS, 0), tenant, &t) ? t.event_seq : 0;
}

ws_audience *
ws_audience_of(const ws *w, uint32_t tenant)
{
    return tenant < w->tenants ? w->by_tenant[tenant] : NULL;
}

/* ---- who is there ---- */

static ws_audience *
audience_new(ws *w, uint32_t tenant)
{
    ws_audience *a = calloc(1, sizeof *a);

    ASSERT(a != NULL);
    a->w = w;
    a->tenant = tenant;
    a->last_seq = a->seen_seq = ws_board_seq(w, tenant);
    ws_log_init(&a->updates, WS_UPDATE_BLOCKS);
    ws_log_init(&a->events, WS_EVENT_BLOCKS);
    a->next = w->audiences;
    w->audiences = a;
    w->by_tenant[tenant] = a;
    board_watch_tenant(w->f->board, w->f->number, tenant, true);
    return a;
}

static void
audience_free(ws_audience *a)
{
    ws           *w = a->w;
    ws_audience **at = &w->audiences;

    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    w->by_tenant[a->tenant] = NULL;
    board_watch_tenant(w->f->board, w->f->number, a->tenant, false);
    ws_log_fini(&a->updates);
    ws_log_fini(&a->events);
    free(a->pending);
    free(a->series);
    free(a->slots);
    free(a);
}

bool
ws_audience_join(ws_client *c)
{
    ws          *w = c->w;
    uint64_t     most = w->f->options->limits_sockets_per_tenant;
    ws_audience *a = ws_audience_of(w, c->who.tenant);

    if (c->who.tenant >= w->tenants || (a != NULL && most != 0 && a->count >= most))
        return false;
    if (a == NULL)
        a = audience_new(w, c->who.tenant);
    c->audience = a;
    c->next_update = a->updates.end;
    c->next_event = a->events.end;
    c->joined_seq = a->last_seq;
    c->prev_live = NULL;
    c->next_live = a->first;
    if (a->first != NULL)
        a->first->prev_live = c;
    a->first = c;
    a->count++;
    return true;
}

void
ws_audience_leave(ws_client *c)
{
    ws_audience *a = c->audience;

    if (a == NULL)
        return;
    if (a->turn == c)
        a->turn = c->next_live;
    if (c->prev_live != NULL)
        c->prev_live->next_live = c->next_live;
    else
        a->first = c->next_live;
    if (c->next_live != NULL)
        c->next_live->prev_live = c->prev_live;
    c->audience = NULL;
    if (--a->count == 0)
        audience_free(a);
}

/* ---- what is told: events ---- */

void
ws_audience_event(ws_audience *a, const ws_frame *f, view text)
{
    ws_log_add(&a->events, f, text);
    a->urgent = true;
}

void
ws_on_event(ws *w, const ak_msg *m)
{
    event_head   head;
    ws_audience *a;

    if (m->len <= sizeof head)
        return;
    memcpy(&head, m->body, sizeof head);
    a = ws_audience_of(w, head.tenant);
    if (a == NULL || a->repairing || head.seq <= a->last_seq)
        return;
    if (head.seq != a->last_seq + 1) { /* some were shed on their way: this one comes again with them */
        ws_repair(a);
        return;
    }
    a->last_seq = head.seq;
    ws_audience_event(a,
                      &(ws_frame){ .type = head.kind == EVENT_ALERT ? WS_ALERT : WS_STATUS, .machine = head.machine,
                                   .seq = head.seq },
                      view_of((const uint8_t *)m->body + sizeof head, m->len - sizeof head));
}

/* ---- what is told: readings ---- */

static void
grow_slots(ws_audience *a)
{
    a->slots_room = a->slots_room == 0 ? 256 : a->slots_room * 2;
    free(a->slots);
    a->slots = calloc(a->slots_room, sizeof *a->slots);
    ASSERT(a->slots != NULL);
    for (uint32_t i = 0; i < a->series_count; i++) {
        uint64_t at = hash64(0, &a->series[i].key, sizeof a->series[i].key);

        while (a->slots[at & (a->slots_room - 1)] != 0)
            at++;
        a->slots[at & (a->slots_room - 1)] = i + 1;
    }
}

static uint32_t
series_of(ws_audience *a, uint64_t key)
{
    uint64_t at;

    if (a->series_count * 2 >= a->slots_room)
        grow_slots(a);
    for (at = hash64(0, &key, sizeof key); a->slots[at & (a->slots_room - 1)] != 0; at++) {
        uint32_t i = a->slots[at & (a->slots_room - 1)] - 1;

        if (a->series[i].key == key)
            return i;
    }
    if (a->series_count == a->series_room) {
        a->series_room = a->series_room == 0 ? 64 : a->series_room * 2;
        a->series = realloc(a->series, a->series_room * sizeof *a->series);
        ASSERT(a->series != NULL);
    }
    a->series[a->series_count] = (ws_series){ .key = key, .last_us = INT64_MIN };
    a->slots[at & (a->slots_room - 1)] = ++a->series_count;
    return a->series_count - 1;
}

static void
grow_pending(ws_audience *a)
{
    uint64_t room = a->pending_room == 0 ? 64 : a->pending_room * 2;
    ws_row  *fresh = malloc(room * sizeof *fresh);

    ASSERT(fresh != NULL);
    for (uint64_t i = a->pending_first; i < a->pending_end; i++)
        fresh[i & (room - 1)] = a->pending[i & (a->pending_room - 1)];
    free(a->pending);
    a->pending = fresh;
    a->pending_room = room;
}

static void
add_row(ws_audience *a, uint64_t key, const reading_row *r)
{
    uint32_t   i = series_of(a, key);
    ws_series *s = &a->series[i];

    if (a->pending_end - a->pending_first >= WS_PENDING && s->pending > a->pending_first) {
        ws_row *row = &a->pending[(s->pending - 1) & (a->pending_room - 1)];

        if (r->time_us >= row->time_us)
            *row = (ws_row){ i, r->time_us, r->value };
        return;
    }
    if (a->pending_end - a->pending_first == a->pending_room)
        grow_pending(a);
    a->pending[a->pending_end++ & (a->pending_room - 1)] = (ws_row){ i, r->time_us, r->value };
    s->pending = a->pending_end;
}

void
ws_on_feed(ws *w, const ak_msg *m)
{
    const uint8_t *at = m->body;
    feed_head      head;

    if (m->len < sizeof head)
        return;
    memcpy(&head, at, sizeof head);
    if (head.part >= board_parts(w->f->board) || head.rows > (m->len - sizeof head) / sizeof(reading_row))
        return;
    at += sizeof head;
    for (uint32_t i = 0; i < head.rows; i++, at += sizeof(reading_row)) {
        reading_row  r;
        board_series s;
        ws_audience *a;

        memcpy(&r, at, sizeof r);
        if (!table_read(board_table(w->f->board, BOARD_SERIES, head.part), r.series, &s))
            continue;
        a = ws_audience_of(w, s.tenant);
        if (a != NULL)
            add_row(a, (uint64_t)head.part << WS_PART_BIT | r.series, &r);
    }
}

bool
ws_update_build(ws *w, uint64_t key, const ws_row *r, ws_frame *f)
{
    board        *b = w->f->board;
    json_out     *j = &w->json;
    uint16_t      part = (uint16_t)(key >> WS_PART_BIT);
    board_series  s;
    board_machine m;
    view          metric;

    if (!table_read(board_table(b, BOARD_SERIES, part), (uint32_t)key, &s) ||
        !table_read(board_table(b, BOARD_MACHINES, 0), s.machine, &m))
        return false;
    metric = board_string(b, BOARD_SERIES, part, s.metric);
    json_reset(j);
    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("sensor_update"));
    json_name_uuid(j, "machine_id", &m.id);
    json_name_string(j, "metric_name", metric);
    json_name_number(j, "value", r->value);
    json_name_string(j, "unit", board_string(b, BOARD_SERIES, part, s.unit));
    json_name_time(j, "timestamp", r->time_us);
    json_close(j, '}');
    *f = (ws_frame){ .type = WS_SENSOR, .machine = s.machine, .metric = ws_metric_hash(metric) };
    return !j->failed;
}

/* A late reading is told to those who keep up alone: it never stands for its series. */
static void
tell_row(ws_audience *a, const ws_row *r)
{
    ws_series *s = &a->series[r->series];
    bool       is_newest = r->time_us >= s->last_us;
    ws_frame   f;
    ws_block  *b;

    if (!ws_update_build(a->w, s->key, r, &f))
        return;
    f.stale = !is_newest;
    if (is_newest) {
        b = s->last_frame == 0 ? NULL : ws_log_block(&a->updates, s->last_frame - 1);
        if (b != NULL)
            b->frames[s->last_frame - 1 - b->first].stale = true;
        s->last_frame = a->updates.end + 1;
        s->last_us = r->time_us;
    }
    ws_log_add(&a->updates, &f, view_of(a->w->json.at, a->w->json.len));
}

static void
tell_pending(ws_audience *a)
{
    for (uint32_t i = 0; i < ROWS_A_PASS && a->pending_first < a->pending_end; i++)
        tell_row(a, &a->pending[a->pending_first++ & (a->pending_room - 1)]);
}

/* ---- passes ---- */

void
ws_alarm(ws *w, uint64_t at_ns)
{
    uint64_t now = front_now_ns();

    if (w->alarm_ns != 0 && w->alarm_ns <= at_ns)
        return;
    w->alarm_ns = at_ns;
    (void)ak_timer(w->f->k, at_ns > now ? at_ns - now : 0, &w->alarm);
}

/* When it may tell of updates; UINT64_MAX: there are none. */
static uint64_t
next_updates(const ws_audience *a)
{
    if (a->pending_first < a->pending_end)
        return a->updates_ns;
    return a->held_ns != 0 ? max_u64(a->updates_ns, a->held_ns) : UINT64_MAX;
}

/* When its next pass may begin; UINT64_MAX: nothing is to be told. */
static uint64_t
next_pass(const ws_audience *a)
{
    uint64_t events = a->urgent ? a->began_ns + a->cost_ns * SHARE_URGENT : UINT64_MAX;

    return min_u64(events, next_updates(a));
}

static void
begin_pass(ws_audience *a, uint64_t now)
{
    a->updating = next_updates(a) <= now;
    a->began_ns = now;
    a->spent_ns = a->sent = 0;
    a->urgent = false;
    if (a->updating) {
        a->held_ns = 0;
        tell_pending(a);
    }
    a->turn = a->first;
}

/* How long that many bytes are to take. */
static uint64_t
wire_ns(const ws_audience *a, uint64_t bytes)
{
    uint64_t mb_s = a->w->f->options->limits_live_mb_s;

    return mb_s == 0 ? 0 : bytes * 1000 / mb_s;
}

static void
end_pass(ws_audience *a)
{
    a->cost_ns = a->spent_ns;
    if (a->updating)
        a->updates_ns = a->began_ns + max_u64(a->cost_ns * SHARE, wire_ns(a, a->sent));
}

/* What a pass cut short goes out behind it, and is counted all the same. */
void
ws_audience_sent(ws_audience *a, uint64_t bytes)
{
    if (a->turn != NULL || a->updates_ns == 0)
        a->sent += bytes;
    else
        a->updates_ns += wire_ns(a, bytes);
}

/* False: the slice is over before the pass is. */
static bool
run_pass(ws_audience *a, uint64_t until_ns)
{
    uint64_t from = front_now_ns(), now = from;

    for (uint32_t n = 1; a->turn != NULL; n++) {
        ws_client *c = a->turn;

        a->turn = c->next_live;
        ws_client_serve(c, now, a->updating);
        if (n % CLOCK_EVERY == 0 && (now = front_now_ns()) >= until_ns)
            break;
    }
    a->spent_ns += front_now_ns() - from;
    if (a->turn != NULL)
        return false;
    end_pass(a);
    return true;
}

void
ws_audience_turns(ws *w, uint64_t until_ns)
{
    for (ws_audience *a = w->audiences; a != NULL; a = a->next) {
        uint64_t at, now;

        if (a->turn == NULL) {
            if ((at = next_pass(a)) == UINT64_MAX)
                continue;
            if (at > (now = front_now_ns())) {
                ws_alarm(w, at);
                continue;
            }
            begin_pass(a, now);
        }
        if (!run_pass(a, until_ns) || next_pass(a) <= front_now_ns())
            http_touch(w->f->http);
        else if ((at = next_pass(a)) != UINT64_MAX)
            ws_alarm(w, at);
    }
}

/* ---- time ---- */

/* An event that the board has known of for a tick, and that has not come, was shed. */
void
ws_audience_tick(ws_audience *a)
{
    uint64_t update = UINT64_MAX, event = UINT64_MAX;

    if (!a->repairing && a->seen_seq > a->last_seq)
        ws_repair(a);
    a->seen_seq = ws_board_seq(a->w, a->tenant);
    for (const ws_client *c = a->first; c != NULL; c = c->next_live) {
        update = min_u64(update, c->next_update);
        event = min_u64(event, c->next_event);
    }
    ws_log_trim(&a->updates, update, 0);
    ws_log_trim(&a->events, event, WS_EVENT_BLOCKS_KEPT);
}
