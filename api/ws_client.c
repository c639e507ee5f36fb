/* ws_client.c - one client: what it is sent, in one write at a time, and how it is closed.
 *
 *   a write   [ its own | events from its cursor on | updates from its cursor on ]
 *
 * Who wants everything is sent the log's own bytes; who filters, or is behind, a copy of the frames it is to have.  Behind
 * more than WS_CONFLATE it gets of each series the newest only; behind the log's beginning, that is read anew from the
 * board.  Events are never left out: who is behind their log, or takes nothing for limits.behind_s, is closed.
 *
 * So a slow client costs a write, the blocks of it, and nobody waits for it.
 */
#include "api/ws_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { SEND_BUFFER = 64 << 10, KEEP_ROOM = 4096 };

/* ---- lists ---- */

static void
enlist(ws_client *c, ws_client **list)
{
    c->prev = NULL;
    c->next = *list;
    if (*list != NULL)
        (*list)->prev = c;
    *list = c;
}

static void
unlist(ws_client *c, ws_client **list)
{
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        *list = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
}

static void
change_state(ws_client *c, enum ws_state state)
{
    if (c->state == WS_STRANGER) {
        unlist(c, &c->w->strangers);
        enlist(c, &c->w->first);
    }
    c->state = state;
    c->since_ns = front_now_ns();
}

void
ws_client_due(ws_client *c)
{
    if (!c->due) {
        c->due = true;
        c->next_due = c->w->due;
        c->w->due = c;
    }
    http_touch(c->w->f->http);
}

static void
unlink_due(ws_client *c)
{
    ws_client **at = &c->w->due;

    if (!c->due)
        return;
    while (*at != c)
        at = &(*at)->next_due;
    *at = c->next_due;
    c->due = false;
}

/* ---- life ---- */

ws_client *
ws_client_new(ws *w, view address)
{
    ws_client *c = calloc(1, sizeof *c);

    ASSERT(c != NULL);
    c->w = w;
    c->since_ns = c->heard_ns = c->pinged_ns = front_now_ns();
    ws_filter_init(&c->filter);
    memcpy(c->address, address.at, address.len);
    c->address_len = (uint8_t)address.len;
    enlist(c, &w->strangers);
    w->count++;
    count_set(w->f->counters, COUNT_SOCKETS, w->count);
    return c;
}

void
ws_client_live(ws_client *c)
{
    change_state(c, WS_LIVE);
}

static void
leave(ws_client *c)
{
    ws_audience_leave(c);
    ws_missed_forget(c);
    change_state(c, WS_CLOSING);
}

void
ws_client_close(ws_client *c, enum ws_close code, const char *why)
{
    if (c->state == WS_CLOSING)
        return;
    leave(c);
    wslay_event_queue_close(c->conn->ws_ctx, (uint16_t)code, (const uint8_t *)why, strlen(why));
    ws_client_due(c);
}

static void
let_go_of_blocks(ws_client *c)
{
    while (c->held_count > 0)
        ws_block_release(c->held[--c->held_count]);
}

void
ws_client_free(ws_client *c)
{
    ws *w = c->w;

    ws_audience_leave(c);
    ws_missed_forget(c);
    unlink_due(c);
    h2o_websocket_close(c->conn);
    unlist(c, c->state == WS_STRANGER ? &w->strangers : &w->first);
    w->count--;
    count_set(w->f->counters, COUNT_SOCKETS, w->count);
    let_go_of_blocks(c);
    ws_filter_fini(&c->filter);
    ws_bytes_fini(&c->own);
    ws_bytes_fini(&c->way_out);
    free(c);
}

void
ws_client_say(ws_client *c, view text)
{
    ws_frame_add(&c->own, text);
    count_add(c->w->f->counters, COUNT_FRAMES, 1);
    ws_client_due(c);
}

/* ---- a write ---- */

typedef struct gathering {
    h2o_iovec_t piece[WS_PIECES];
    size_t      len;
    bool        copies;
    bool        full;
} gathering;

/* False: there is no room for it in this write. */
static bool
put(ws_client *c, gathering *g, ws_block *b, const ws_frame *f)
{
    uint8_t     *at = b->bytes + f->at;
    h2o_iovec_t *last = c->held_count == 0 ? NULL : &g->piece[c->held_count - 1];

    g->full = g->len + f->len > WS_WRITE_MAX;
    if (g->full)
        return false;
    if (g->copies) {
        ws_bytes_add(&c->way_out, at, f->len);
    } else if (last != NULL && (uint8_t *)last->base + last->len == at) {
        last->len += f->len;
    } else if (c->held_count < WS_PIECES) {
        b->refs++;
        c->held[c->held_count] = b;
        g->piece[c->held_count++] = h2o_iovec_init(at, f->len);
    } else {
        g->full = true;
        return false;
    }
    g->len += f->len;
    count_add(c->w->f->counters, COUNT_FRAMES, 1);
    return true;
}

/* Frames from *cursor on; false: the write is full. */
static bool
put_from(ws_client *c, gathering *g, const ws_log *l, uint64_t *cursor, bool newest)
{
    while (*cursor < l->end) {
        ws_block *b = ws_log_block(l, *cursor);

        for (; *cursor < b->first + b->count; (*cursor)++) {
            const ws_frame *f = &b->frames[*cursor - b->first];

            if ((newest && f->stale) || !ws_filter_wants(&c->filter, f->type, f->machine, f->metric))
                continue;
            if (!put(c, g, b, f))
                return false;
            c->told = c->told || f->seq != 0;
        }
    }
    return true;
}

/* The newest of one series, as the board has it. */
static void
put_latest(ws_client *c, gathering *g, const ws_series *s)
{
    ws          *w = c->w;
    board_latest latest;
    ws_frame     f;
    size_t       before = c->way_out.len;

    if (!board_latest_of(w->f->board, (uint16_t)(s->key >> WS_PART_BIT), (uint32_t)s->key, &latest) ||
        !ws_update_build(w, s->key, &(ws_row){ .time_us = latest.time_us, .value = latest.value }, &f) ||
        !ws_filter_wants(&c->filter, f.type, f.machine, f.metric))
        return;
    ws_frame_add(&c->way_out, view_of(w->json.at, w->json.len));
    g->len += c->way_out.len - before;
    count_add(w->f->counters, COUNT_FRAMES, 1);
}

/* Series whose newest frame is in the part of the log that it missed.  False: the write is full. */
static bool
sweep(ws_client *c, gathering *g, const ws_audience *a)
{
    if (c->sweep_until == 0) {
        c->sweep_until = a->updates.first;
        c->sweep_at = 0;
    }
    for (; c->sweep_at < a->series_count; c->sweep_at++) {
        const ws_series *s = &a->series[c->sweep_at];

        if (s->last_frame <= c->next_update || s->last_frame > c->sweep_until)
            continue;
        if (g->len >= WS_WRITE_MAX) {
            g->full = true;
            return false;
        }
        put_latest(c, g, s);
    }
    c->next_update = c->sweep_until;
    c->sweep_until = 0;
    return true;
}

static void
put_updates(ws_client *c, gathering *g, ws_audience *a, uint64_t now)
{
    uint64_t interval = c->filter.min_interval_ms * NS_PER_MS;
    uint64_t behind = ws_log_behind(&a->updates, c->next_update);

    if (behind == 0)
        return;
    if (interval > 0 && now - c->swept_ns < interval) {
        uint64_t at = c->swept_ns + interval;

        a->held_ns = a->held_ns == 0 ? at : min_u64(a->held_ns, at);
        return;
    }
    g->copies = g->copies || behind > WS_CONFLATE;
    while (c->next_update < a->updates.first || c->sweep_until != 0)
        if (!sweep(c, g, a))
            return;
    if (put_from(c, g, &a->updates, &c->next_update, behind > WS_CONFLATE || interval > 0))
        c->swept_ns = now;
}

static void on_written(h2o_socket_t *sock, const char *error);

static void
start_write(ws_client *c, const gathering *g, uint64_t now)
{
    h2o_iovec_t all[WS_PIECES + 1];
    size_t      n = 0;

    if (c->way_out.len > 0)
        all[n++] = h2o_iovec_init(c->way_out.at, c->way_out.len);
    for (uint32_t i = 0; i < c->held_count; i++)
        all[n++] = g->piece[i];
    if (n == 0)
        return;
    c->writing = true;
    c->wrote_ns = now;
    h2o_socket_write(c->conn->sock, all, n, on_written);
    http_touch(c->w->f->http);
}

void
ws_client_serve(ws_client *c, uint64_t now, bool updates)
{
    ws_audience *a = c->audience;
    ws_bytes     swap = c->way_out;
    gathering    g = { .copies = !c->filter.plain };

    if (c->writing || c->conn->sock == NULL) {
        c->more = true;
        c->more_updates = c->more_updates || updates;
        return;
    }
    c->way_out = c->own;
    c->own = swap;
    c->own.len = 0;
    if (c->state == WS_LIVE && c->next_event >= a->events.first) {
        if ((c->resuming || put_from(c, &g, &a->events, &c->next_event, false)) && updates)
            put_updates(c, &g, a, now);
        ws_audience_sent(a, g.len);
    }
    c->more = g.full;
    c->more_updates = updates;
    start_write(c, &g, now);
}

/* ---- the end of a connection that broke the protocol: told so, and what it says meanwhile is dropped, because to close
 * with input unread would take back the closing frame ---- */

static void
on_dregs(h2o_socket_t *sock, const char *error)
{
    h2o_websocket_conn_t *conn = sock->data;
    ws_client            *c = conn->data;

    h2o_buffer_consume(&sock->input, sock->input->size);
    c->dregs += sock->bytes_read;
    if (error != NULL || c->dregs > WS_OWN_MAX)
        ws_client_free(c);
}

bool
ws_client_fail(ws_client *c)
{
    static const uint8_t closing[] = { 0x88, 2, WS_CLOSE_PROTOCOL >> 8, WS_CLOSE_PROTOCOL & 0xff };

    if (c->state == WS_CLOSING || c->conn->sock == NULL || wslay_event_get_close_sent(c->conn->ws_ctx) ||
        wslay_event_get_read_enabled(c->conn->ws_ctx))
        return false;
    leave(c);
    c->failed = true;
    h2o_buffer_consume(&c->conn->sock->input, c->conn->sock->input->size);
    h2o_socket_read_start(c->conn->sock, on_dregs);
    ws_bytes_add(&c->own, closing, sizeof closing);
    if (!c->writing)
        ws_client_serve(c, front_now_ns(), false);
    return true;
}

static void
on_written(h2o_socket_t *sock, const char *error)
{
    h2o_websocket_conn_t *conn = sock->data;
    ws_client            *c = conn->data;

    c->writing = false;
    let_go_of_blocks(c);
    if (error != NULL) {
        ws_client_free(c);
        return;
    }
    c->way_out.len = 0;
    if (c->way_out.room > KEEP_ROOM)
        ws_bytes_fini(&c->way_out);
    if (c->resuming && c->own.len == 0)
        ws_resume_more(c);
    if (c->own.len > 0)
        ws_client_serve(c, front_now_ns(), c->more && c->more_updates); /* at once: H2O closes who has nothing to write and is closing */
    else if (c->failed)
        shutdown(h2o_socket_get_fd(sock), SHUT_WR);
    else if (c->more)
        ws_client_due(c);
    if (!c->failed)
        h2o_websocket_proceed(conn); /* may end it */
}

/* ---- wslay's output: pongs and closing frames, always whole, so they can stand between ours ---- */

static ssize_t
on_wslay_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *conn)
{
    ws_client *c = ((h2o_websocket_conn_t *)conn)->data;

    (void)ctx;
    (void)flags;
    if (c->own.len + len > WS_OWN_MAX) {
        c->doomed = true; /* it says what is to be answered, and reads no answer */
        ws_client_due(c);
        return (ssize_t)len;
    }
    ws_bytes_add(&c->own, data, len);
    if (c->conn->sock != NULL && !c->writing)
        ws_client_serve(c, front_now_ns(), c->more && c->more_updates);
    return (ssize_t)len;
}

void
ws_client_upgrade(ws_client *c, h2o_req_t *req, const char *key, h2o_websocket_msg_callback heard)
{
    int room = SEND_BUFFER;

    /* What is in the kernel cannot be conflated any more, and thousands of clients have their share of it. */
    if (setsockopt(h2o_socket_get_fd(req->conn->callbacks->get_socket(req->conn)), SOL_SOCKET, SO_SNDBUF, &room,
                   sizeof room) < 0)
        errno = 0;
    c->conn = h2o_upgrade_to_websocket(req, key, c, heard);
    ws_frame_setup(c->conn->ws_ctx, c->conn->ws_callbacks, on_wslay_send);
}

/* ---- turns ---- */

static void
look_at(ws_client *c, uint64_t now)
{
    if (c->doomed ||
        (!c->failed && wslay_event_want_write(c->conn->ws_ctx) && wslay_event_send(c->conn->ws_ctx) != 0)) {
        ws_client_free(c);
        return;
    }
    ws_client_serve(c, now, c->more && c->more_updates);
}

/* Those that have something of their own, or more than one write. */
void
ws_clients_due(ws *w, uint64_t until_ns)
{
    ws_client *list = w->due;
    uint64_t   now = front_now_ns();

    w->due = NULL;
    while (list != NULL) {
        ws_client *c = list;

        list = c->next_due;
        c->next_due = NULL;
        c->due = false;
        if (c->conn->sock == NULL || now >= until_ns) /* the 101 is still on its way; or the slice is over */
            ws_client_due(c);
        else
            look_at(c, now);
        now = front_now_ns();
    }
}
