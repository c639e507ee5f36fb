/* ak_send.c - what an actor stages: notes, bodies built in place, replies and their backlog.
 *
 * Nothing here is seen by a peer before ak__publish().  Order on an edge is the order of the calls: as
 * long as replies wait in an edge's backlog, parts and later replies queue behind them.
 */
#include "actors/ak_internal.h"

#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"

#include <stdlib.h>

static const uint64_t STREAM_GRACE_NS = 60000000000ull; /* a cancelled stream's actor is told E_GONE so long */

void
ak__count_full(ak *k, const ak_out *o)
{
    count_add(k->counters, COUNT_FULL, 1);
    count_edge_full(k->counters, (uint32_t)(o - k->out));
}

void
ak__count_shed(ak *k, const ak_out *o)
{
    count_add(k->counters, COUNT_SHED, 1);
    count_edge_shed(k->counters, (uint32_t)(o - k->out));
}

/* Room for a record of that many bytes?  If not, the lane's consumer is asked to say when. */
bool
ak__fits(ak *k, ak_out *o, uint64_t record)
{
    if (o->open == NULL && lane_fits(o->lane, record))
        return true;
    o->want = max_u64(o->want, min_u64(record, o->capacity));
    ak__count_full(k, o);
    return false;
}

static bool
body_is_allowed(uint16_t type, uint32_t len)
{
    const msg_row *row = msg_row_of(type);

    return row != NULL && len >= row->body_min && len <= row->body_max;
}

int
ak_send(ak *k, addr to, uint16_t type, const void *body, uint32_t len)
{
    ak_out  *o = ak__out(k, to);
    envelope e;

    ASSERT(body_is_allowed(type, len));
    if (o == NULL || o->policy == EDGE_REPLY)
        return E_GONE;
    if (o->policy == EDGE_LATEST && (ak__latest_waits(o) || !ak__sheds_not(o, len)))
        return E_FULL;
    if (o->policy == EDGE_SHED && !ak__sheds_not(o, len)) {
        ak__count_shed(k, o);
        return E_OK;
    }
    e = ak__envelope(k, o, type, 0);
    e.len = len;
    return ak__stage(k, o, &e, body) ? E_OK : E_FULL;
}

/* ---- built in place ---- */

static void *
reserve(ak *k, ak_out *o, const envelope *e, uint32_t room)
{
    ASSERT(o->open == NULL);
    if (!ak__fits(k, o, envelope_record_len(room)))
        return NULL;
    o->open = lane_reserve(o->lane, room);
    o->open_env = *e;
    o->open_room = room;
    return o->open;
}

void *
ak_reserve(ak *k, addr to, uint16_t type, uint32_t room)
{
    ak_out  *o = ak__out(k, to);
    envelope e;

    ASSERT(msg_row_of(type) != NULL);
    if (o == NULL || o->policy == EDGE_REPLY)
        return NULL;
    if (ak__latest_waits(o) || !lane_fits(o->lane, envelope_record_len(room) + o->shed_below)) {
        if (o->policy == EDGE_WAIT)
            ak__count_full(k, o);
        else
            ak__count_shed(k, o);
        return NULL;
    }
    e = ak__envelope(k, o, type, 0);
    return reserve(k, o, &e, room);
}

void *
ak_ask_reserve(ak *k, addr to, uint16_t type, uint32_t room, uint64_t within_ns, void *ctx,
               uint64_t *corr)
{
    ak_out  *o = ak__out(k, to);
    envelope e;
    void    *body;

    *corr = 0;
    if (o == NULL || o->policy != EDGE_WAIT || ak__is_down(o) ||
        (*corr = ak__ask_new(k, o, type, within_ns, 0)) == 0)
        return NULL;
    e = ak__envelope(k, o, type, ENV_ASK);
    e.corr = *corr;
    e.deadline_ns = ak__ask_deadline(k, *corr);
    body = reserve(k, o, &e, room);
    if (body == NULL) {
        ak__ask_undo(k, *corr);
        *corr = 0;
        return NULL;
    }
    ak__ask_ctx(k, *corr, ctx);
    return body;
}

static ak_out *
out_of_open(ak *k, const void *body)
{
    for (uint32_t i = 0; i < k->outs; i++)
        if (k->out[i].open == body)
            return &k->out[i];
    return NULL;
}

void
ak_commit(ak *k, void *body, uint32_t len)
{
    ak_out *o = out_of_open(k, body);

    ASSERT(body != NULL && o != NULL && len <= o->open_room);
    ASSERT(body_is_allowed(o->open_env.type, len));
    o->open_env.len = len;
    lane_stage(o->lane, &o->open_env);
    o->staged = true;
    o->open = NULL;
}

void
ak_discard(ak *k, void *body)
{
    ak_out *o = out_of_open(k, body);

    ASSERT(body != NULL && o != NULL);
    if (o->open_env.corr != 0)
        ak__ask_undo(k, o->open_env.corr);
    o->open = NULL;
}

void
ak_trace(ak *k, uint64_t trace)
{
    k->trace = trace;
}

uint32_t
ak_body_max(const ak *k, addr to)
{
    const ak_out *o = ak__out(k, to);

    return o == NULL ? 0 : (uint32_t)min_u64(o->capacity - ENVELOPE_LEN, UINT32_MAX);
}

/* ---- replies ---- */

static void
backlog_add(ak *k, ak_out *o, const envelope *e, const void *body)
{
    ak_late_reply *r;

    if (o->late_bytes + envelope_record_len(e->len) > o->capacity ||
        (r = malloc(sizeof *r + e->len)) == NULL) {
        ak__count_full(k, o);
        log_debug("reply.dropped", "to=%s.%u", kind_name(addr_kind(o->to)), addr_part(o->to));
        return;
    }
    r->next = NULL;
    r->e = *e;
    if (e->len > 0)
        memcpy(r->body, body, e->len);
    *o->late_end = r;
    o->late_end = &r->next;
    o->late_bytes += envelope_record_len(e->len);
}

static uint32_t
backlog_send(ak *k, ak_out *o)
{
    ak_late_reply *r;
    uint32_t       n = 0;

    while ((r = o->late) != NULL && ak__stage(k, o, &r->e, r->body)) {
        o->late = r->next;
        if (o->late == NULL)
            o->late_end = &o->late;
        o->late_bytes -= envelope_record_len(r->e.len);
        free(r);
        n++;
    }
    return n;
}

/* Started anew since it asked: nobody waits for this answer. */
static bool
asker_is_gone(const ak_out *o, uint64_t corr)
{
    return (uint16_t)atomic_load_explicit(&o->peer->epoch, memory_order_acquire) != corr >> 48;
}

bool
ak__asker_is_gone(const ak *k, const ak_msg *m)
{
    const ak_out *o = ak__out(k, m->from);

    return o != NULL && asker_is_gone(o, m->corr);
}

static envelope
reply_envelope(ak *k, const ak_out *o, const ak_msg *m, uint16_t type, uint32_t len)
{
    envelope e = ak__envelope(k, o, type, ENV_REPLY);

    e.len = len;
    e.corr = m->corr;
    e.trace = m->trace;
    return e;
}

void
ak_reply(ak *k, const ak_msg *m, uint16_t type, const void *body, uint32_t len)
{
    const msg_row *row = msg_row_of(m->type);
    ak_out        *o = ak__out(k, m->from);
    envelope       e;

    ASSERT(body_is_allowed(type, len));
    if ((m->flags & ENV_ASK) == 0 || m->corr == 0 || o == NULL)
        return;
    ASSERT(row != NULL && len <= max_u64(row->reply_max, sizeof(int32_t)));
    ak__stream_end(k, m);
    if (asker_is_gone(o, m->corr))
        return;
    e = reply_envelope(k, o, m, type, len);
    if (o->late != NULL || !ak__stage(k, o, &e, body))
        backlog_add(k, o, &e, body);
}

void
ak_fail(ak *k, const ak_msg *m, int rc)
{
    int32_t body = rc;

    ak_reply(k, m, MSG_FAIL, &body, sizeof body);
}

static ak_stream *
stream_of(ak *k, const ak_msg *m, bool make)
{
    uint32_t i;

    for (i = 0; i < k->streams; i++)
        if (k->stream[i].corr == m->corr && k->stream[i].from == m->from)
            return &k->stream[i];
    if (!make)
        return NULL;
    if (k->streams == k->stream_room) {
        k->stream_room = k->stream_room == 0 ? 16 : 2 * k->stream_room;
        k->stream = realloc(k->stream, k->stream_room * sizeof *k->stream);
        ASSERT(k->stream != NULL);
    }
    k->stream[i] = (ak_stream){ .from = m->from,
                                .corr = m->corr,
                                .credit = m->window,
                                .deadline_ns = m->deadline_ns };
    k->streams++;
    return &k->stream[i];
}

void
ak__stream_end(ak *k, const ak_msg *m)
{
    ak_stream *s = stream_of(k, m, false);

    if (s != NULL)
        *s = k->stream[--k->streams];
}

int
ak_reply_part(ak *k, const ak_msg *m, uint16_t type, const void *body, uint32_t len)
{
    uint64_t   record = envelope_record_len(len);
    ak_out    *o = ak__out(k, m->from);
    ak_stream *s;
    envelope   e;

    ASSERT(body_is_allowed(type, len));
    if ((m->flags & ENV_ASK) == 0 || o == NULL || asker_is_gone(o, m->corr))
        return E_GONE;
    if (record > m->window)
        return E_BAD; /* it can never go */
    s = stream_of(k, m, true);
    if (s->cancelled)
        return E_GONE;
    if (s->credit < record)
        return E_AGAIN;
    e = reply_envelope(k, o, m, type, len);
    e.flags |= ENV_MORE;
    if (o->late != NULL || !ak__stage(k, o, &e, body)) {
        s->blocked = true;
        return E_AGAIN;
    }
    s->credit -= record;
    return E_OK;
}

ak_verdict
ak__stream_credit(ak *k, const ak_msg *m)
{
    ak_stream *s = stream_of(k, m, false);

    if (s == NULL)
        return AK_DONE; /* it has ended meanwhile */
    s->credit = min_u64(s->credit + load_u64(m->body), UINT32_MAX);
    (void)ak__call(k, m);
    return AK_DONE;
}

/* The asker keeps the room of a cancelled ask until an answer comes: this is it.  What the actor
 * replies after that finds no ask. */
ak_verdict
ak__stream_cancel(ak *k, const ak_msg *m)
{
    ak_out    *o = ak__out(k, m->from);
    ak_msg     ask = *m;
    ak_stream *s;
    int32_t    rc = E_CANCEL;
    envelope   e;

    ask.window = 0;
    s = stream_of(k, &ask, true);
    s->cancelled = true;
    s->deadline_ns = m->deadline_ns;
    (void)ak__call(k, m);
    if (o == NULL || asker_is_gone(o, m->corr))
        return AK_DONE;
    e = reply_envelope(k, o, m, MSG_FAIL, sizeof rc);
    if (o->late != NULL || !ak__stage(k, o, &e, &rc))
        backlog_add(k, o, &e, &rc);
    return AK_DONE;
}

static bool
stream_is_over(ak *k, ak_stream *s)
{
    const ak_out *o = ak__out(k, s->from);

    if (s->cancelled)
        return s->deadline_ns + STREAM_GRACE_NS < k->now_ns;
    if (o == NULL || asker_is_gone(o, s->corr)) {
        s->cancelled = true;
        ak__call_local(k, MSG_CANCEL, s->from, s->corr, NULL);
    }
    return false;
}

/* Once a second: streams whose asker was started anew are cancelled; cancelled ones whose actor never
 * came back are forgotten. */
void
ak__streams_sweep(ak *k)
{
    for (uint32_t i = 0; i < k->streams;) {
        ak_stream s = k->stream[i];

        if (stream_is_over(k, &k->stream[i]) && k->stream[i].corr == s.corr)
            k->stream[i] = k->stream[--k->streams];
        else
            i++;
    }
}

/* ---- room ---- */

/* Streams that were refused for want of lane room hear that it is back. */
uint32_t
ak__streams_wake(ak *k, const ak_out *o)
{
    uint32_t woken = 0;
    uint64_t none = 0;

    for (uint32_t i = 0; i < k->streams; i++) {
        ak_stream *s = &k->stream[i];
        ak_msg     m = { .type = MSG_CREDIT,
                         .from = s->from,
                         .corr = s->corr,
                         .lane = AK_NO_LANE,
                         .len = sizeof none,
                         .body = &none };

        if (!s->blocked || s->from != o->to)
            continue;
        s->blocked = false;
        woken++;
        (void)ak__call(k, &m);
        if (i < k->streams && k->stream[i].corr != m.corr)
            i--; /* it ended, and the last one was put in its place */
    }
    return woken;
}

static bool
room_is_back(const ak_out *o)
{
    return o->want != 0 && o->open == NULL && lane_room(o->lane) >= o->want;
}

uint32_t
ak__rooms(ak *k)
{
    uint32_t did = 0;

    for (uint32_t i = 0; i < k->outs; i++) {
        ak_out *o = &k->out[i];

        if (!room_is_back(o))
            continue;
        o->want = 0;
        if (o->starving)
            lane_starve(o->lane, false);
        o->starving = false;
        did += backlog_send(k, o);
        if (o->late == NULL)
            did += ak__streams_wake(k, o) + ak__latest_send(k, o);
    }
    ak__asks_send_due(k);
    return did;
}

/* Before sleeping: says which lanes it waits for, then looks once more (the consumer looks at that word
 * after it moved head). */
bool
ak__room_now(ak *k)
{
    bool now = false;

    for (uint32_t i = 0; i < k->outs; i++) {
        ak_out *o = &k->out[i];

        if (o->want == 0)
            continue;
        if (!o->starving)
            lane_starve(o->lane, true);
        o->starving = true;
        now = now || room_is_back(o);
    }
    return now;
}

bool
ak__room_seen(const ak *k)
{
    for (uint32_t i = 0; i < k->outs; i++)
        if (room_is_back(&k->out[i]))
            return true;
    return false;
}

void
ak__publish(ak *k)
{
    for (uint32_t i = 0; i < k->outs; i++) {
        ak_out *o = &k->out[i];

        if (!o->staged)
            continue;
        o->staged = false;
        world_pause();
        if (lane_publish(o->lane)) {
            world_pause();
            wire_kick(k->wire, o->edge);
        }
    }
}

void
ak_publish(ak *k)
{
    ak__publish(k);
}

void
ak__outs_free(ak *k)
{
    for (uint32_t i = 0; i < k->outs; i++) {
        ak_out *o = &k->out[i];

        while (o->late != NULL) {
            ak_late_reply *r = o->late;

            o->late = r->next;
            free(r);
        }
        ak__latest_free(o);
        lane_close(&o->lane);
        seat_close(&o->peer);
    }
    free(k->out);
    for (uint32_t i = 0; i < KIND_MAX; i++)
        free(k->out_of[i]);
}
