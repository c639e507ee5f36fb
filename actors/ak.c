/* ak.c - one step of an actor: what came in, the handlers, the commit, what goes out, the
 * acknowledgement.
 *
 *   ak_step:  pump ─ helpers' ends ─ descriptors ─ timers ─ room ─ drain ─ flush() ─ publish ─ acknowledge
 *
 * A batch gathers while another flushes.  A lane is acknowledged up to the first message that is part of
 * either, or is held:
 *
 *        head        flush_from      gather_from      read
 *   ......|............|###############|:::::::::::::::|......
 *         acknowledged  being committed gathers for the next flush()
 *
 * When ak_flushed() comes, its batch is published and acknowledged at once, before the next handlers run.
 */
#include "actors/ak_internal.h"

#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    QUANTUM = 32 * 1024, /* bytes that a lane's turn may cost */
    MESSAGE_COST = 512,  /* of a message, besides its own */
    HELD_MAX = 65536,        /* of one lane */
    TIMED_EVERY = 256,       /* messages that come in a flood */
};
static const uint64_t SECOND_NS = 1000000000;
static const uint64_t HELD_MAX_NS = 60000000000ull; /* a note, which has no deadline */
static const uint64_t TIMED_APART_NS = 10000;

uint64_t
ak__clock_ns(void)
{
    return the_world->now_ns();
}

void
ak__die(ak *k, int rc)
{
    ASSERT(rc < 0);
    if (k->dead == 0)
        k->dead = rc;
}

/* ---- handlers ---- */

/* Places are given for ever, so each type asks once a life. */
static inline uint32_t
place_of(ak *k, uint16_t type)
{
    if (k->place[type] == 0)
        k->place[type] = (uint8_t)(count_type_place(k->counters, type) + 1);
    return k->place[type] - 1u;
}

static uint64_t
trail_begin(ak *k, const ak_msg *m, uint64_t at_ns)
{
    return trail_add(k->trail, &(trail_step){ .trace = m->trace,
                                              .from = m->from,
                                              .sent_ns = m->sent_ns,
                                              .at_ns = at_ns,
                                              .len = m->len,
                                              .type = m->type,
                                              .flags = (m->flags & AK_AGAIN) != 0 ? TRAIL_AGAIN : 0 });
}

static uint16_t
trail_flags_of(const ak *k, const ak_on *on, ak_verdict v)
{
    if (v == AK_WAIT)
        return TRAIL_WAIT;
    return (on->flags & AK_READ) == 0 && v != AK_BAD && k->kind->flush != NULL ? TRAIL_COMMITS : 0;
}

/* Two looks at the clock cost more than an empty message does.  Timed are: what belongs to a request (it is
 * also written into the trail), the first handler of a step that comes 10 us or more after the last one
 * that was timed, and in a flood every 256th: together less than a hundredth of the time. */
static ak_verdict
call_timed(ak *k, const ak_on *on, const ak_msg *m)
{
    uint64_t   from;
    uint64_t   until;
    uint64_t   number = 0;
    ak_verdict v;

    if ((m->trace == 0 && --k->untimed > 0) || UNLIKELY(k->uncounted))
        return on->fn(k, k->self, m);
    from = ak__clock_ns();
    if (m->trace != 0)
        number = trail_begin(k, m, from);
    v = on->fn(k, k->self, m);
    until = ak__clock_ns();
    if (m->trace != 0)
        trail_done(k->trail, number, until, trail_flags_of(k, on, v));
    hist_add_type(k->counters, HIST_HANDLING, place_of(k, m->type), until - from, 1);
    k->untimed = TIMED_EVERY;
    k->timed_at_ns = k->now_ns;
    return v;
}

void
ak_mark(ak *k, uint64_t trace, uint64_t began_ns)
{
    (void)trail_add(k->trail, &(trail_step){ .trace = trace,
                                             .from = k->me,
                                             .sent_ns = began_ns,
                                             .at_ns = began_ns,
                                             .done_ns = ak__clock_ns() });
}

ak_verdict
ak__call(ak *k, const ak_msg *m)
{
    const ak_on *on = &k->on[m->type];
    uint64_t     trace = k->trace;
    ak_verdict   v;

    if (on->fn == NULL)
        return AK_DONE;
    k->trace = m->trace;
    world_pause();
    v = call_timed(k, on, m);
    k->trace = trace;
    if ((on->flags & AK_READ) == 0 && (v == AK_DONE || v == AK_HOLD)) {
        k->touched = true;
        k->gathers = k->kind->flush != NULL;
    }
    return v;
}

void
ak__call_local(ak *k, uint16_t type, addr from, uint64_t corr, void *ctx)
{
    ak_msg m = { .type = type, .from = from, .corr = corr, .ctx = ctx, .lane = AK_NO_LANE };

    (void)ak__call(k, &m);
}

/* ---- verdicts ---- */

static ak_verdict
refuse(ak *k, const ak_msg *m, const char *why)
{
    count_add(k->counters, COUNT_BAD, 1);
    if (k->now_ns - k->bad_logged_ns > SECOND_NS) {
        k->bad_logged_ns = k->now_ns;
        log_warn("message.refused", "from=%s.%u type=%u len=%u pos=%" PRIu64,
                 kind_name(addr_kind(m->from)), addr_part(m->from), m->type, m->len, m->pos);
    }
    ak__bury_refused(k, m, why);
    ak_fail(k, m, E_BAD);
    return AK_BAD;
}

static void
hold(ak *k, ak_in *in, const ak_msg *m)
{
    ASSERT(k->kind->holds && in->held_count < HELD_MAX);
    if (in->held_first + in->held_count == in->held_room) {
        if (in->held_first > in->held_room / 2) {
            memmove(in->held, in->held + in->held_first, in->held_count * sizeof *in->held);
            in->held_first = 0;
        } else {
            in->held_room = in->held_room == 0 ? 64 : 2 * in->held_room;
            in->held = realloc(in->held, in->held_room * sizeof *in->held);
            ASSERT(in->held != NULL);
        }
    }
    in->held[in->held_first + in->held_count++] =
        (ak_hold){ .pos = m->pos,
                   .corr = m->corr,
                   .deadline_ns = m->deadline_ns != 0 ? m->deadline_ns : k->now_ns + HELD_MAX_NS,
                   .type = m->type,
                   .flags = m->flags };
}

static void
unpin(ak_in *in)
{
    for (; in->held_count > 0 && in->held[in->held_first].released; in->held_count--)
        in->held_first++;
}

/* Nobody waits for it any longer: it does not pin its lane either.  Once a second. */
static void
holds_expire(ak *k, ak_in *in)
{
    for (uint32_t i = 0; i < in->held_count; i++) {
        ak_hold *h = &in->held[in->held_first + i];
        ak_msg   m = { .from = in->from, .corr = h->corr, .type = h->type, .flags = h->flags };

        if (h->released || h->deadline_ns > k->now_ns)
            continue;
        h->released = h->expired = true;
        k->expired++;
        count_add(k->counters, COUNT_LATE, 1);
        ak_fail(k, &m, E_LATE);
    }
    unpin(in);
}

void
ak_release(ak *k, uint32_t lane_no, uint64_t pos)
{
    ak_in   *in;
    uint32_t low = 0;
    uint32_t high;

    ASSERT(lane_no < k->ins);
    in = &k->in[lane_no];
    for (high = in->held_count; low < high;) {
        uint32_t at = (low + high) / 2;

        if (in->held[in->held_first + at].pos < pos)
            low = at + 1;
        else
            high = at;
    }
    if (low == in->held_count || in->held[in->held_first + low].pos != pos) {
        ASSERT(k->expired > 0);
        k->expired--;
        return;
    }
    if (in->held[in->held_first + low].expired)
        k->expired--;
    in->held[in->held_first + low].expired = false;
    in->held[in->held_first + low].released = true;
    unpin(in);
}

/* ---- one message ---- */

static bool
is_sound(const ak_msg *m)
{
    const msg_row *row = msg_row_of(m->type);

    if (row == NULL || m->len < row->body_min || m->len > row->body_max)
        return false;
    return (m->flags & (ENV_ASK | ENV_REPLY)) == 0 || m->corr != 0;
}

static ak_verdict
answer(ak *k, ak_in *in, ak_msg *m, bool sound)
{
    int32_t bad = E_BAD;

    if (!sound) { /* it ends the ask all the same */
        count_add(k->counters, COUNT_BAD, 1);
        m->type = MSG_FAIL;
        m->flags &= (uint16_t)~ENV_MORE;
        m->body = &bad;
        m->len = sizeof bad;
    }
    return ak__ask_answer(k, in, m);
}

static ak_verdict
judge(ak *k, ak_in *in, ak_msg *m)
{
    bool       sound = is_sound(m);
    ak_verdict v;

    if ((m->flags & ENV_REPLY) != 0)
        return answer(k, in, m, sound);
    if (!sound)
        return refuse(k, m, "not a message of that type");
    switch (m->type) {
    case MSG_CREDIT:
        return ak__stream_credit(k, m);
    case MSG_CANCEL:
        return ak__stream_cancel(k, m);
    case MSG_FAIL:
    case MSG_LATE:
    case MSG_TIMER:
    case MSG_DOWN:
        return refuse(k, m, "only the kernel says that");
    default:
        break;
    }
    if ((m->flags & ENV_ASK) != 0 && in->far && ak__asker_is_gone(k, m)) /* a replay has no lane, and asks nothing */
        return AK_DONE; /* with its node, perhaps: what that had under way was promised to nobody */
    if ((m->flags & ENV_ASK) != 0 && m->deadline_ns != 0 && m->deadline_ns < k->now_ns) {
        ak_fail(k, m, E_LATE); /* nobody waits for it */
        return AK_DONE;
    }
    if (k->on[m->type].fn == NULL)
        return refuse(k, m, "nothing that this actor takes");
    v = ak__call(k, m);
    return v == AK_BAD ? refuse(k, m, "refused by its handler") : v;
}

ak_verdict
ak__judge_local(ak *k, ak_msg *m)
{
    k->touched = false;
    return judge(k, NULL, m);
}

/* Field by field into its place: lane__write says why. */
static inline void
message_of(const ak *k, const ak_in *in, const envelope *e, uint64_t pos, ak_msg *m)
{
    m->from = in->from;
    m->corr = e->corr;
    m->deadline_ns = e->deadline_ns;
    m->sent_ns = e->sent_ns;
    m->trace = e->trace;
    m->pos = pos;
    m->ctx = NULL;
    m->lane = (uint32_t)(in - k->in);
    m->len = e->len;
    m->type = e->type;
    m->flags = e->flags & (uint16_t)~AK_AGAIN;
    m->window = e->spare;
}

/* Before the handler: what a crash inside it leaves for the successor. */
static void
note_reading(ak *k, const ak_in *in, const ak_msg *m)
{
    seat *s = k->seat;

    if (m->pos_end > atomic_load_explicit(&s->read[in->cursor], memory_order_relaxed))
        atomic_store_explicit(&s->read[in->cursor], m->pos_end, memory_order_relaxed);
    if (k->out_in != NULL && (k->out_in != in || k->out_pos != m->pos))
        return; /* an answer to the message that is out: a crash is still that one's */
    atomic_store_explicit(&s->at_lane, m->lane, memory_order_relaxed);
    atomic_store_explicit(&s->at_from, m->from, memory_order_relaxed);
    atomic_store_explicit(&s->at_type, m->type, memory_order_relaxed);
    atomic_store_explicit(&s->at_pos, m->pos, memory_order_relaxed);
    atomic_store_explicit(&s->at_exact, 1, memory_order_relaxed);
}

/* Messages of one batch were sent at the same nanosecond: they are counted together. */
static void
queueing_end(ak *k)
{
    uint64_t waited = k->now_ns > k->same_sent_ns ? k->now_ns - k->same_sent_ns : 0;

    if (k->same_sent > 0 && k->same_type < MSG_MAX)
        hist_add_type(k->counters, HIST_QUEUEING, place_of(k, k->same_type), waited, k->same_sent);
    k->same_sent = 0;
}

static inline void
count_taken(ak *k, const ak_msg *m)
{
    if (UNLIKELY((m->flags & AK_AGAIN) != 0))
        count_add(k->counters, COUNT_REDELIVERED, 1);
    if (m->sent_ns != k->same_sent_ns || m->type != k->same_type) {
        queueing_end(k);
        k->same_sent_ns = m->sent_ns;
        k->same_type = m->type;
    }
    k->same_sent += !k->uncounted;
}

static void
count_visit(ak *k, const ak_in *in, uint32_t messages, uint64_t bytes)
{
    if (messages == 0 || k->uncounted)
        return;
    count_add(k->counters, COUNT_MESSAGES, messages);
    count_add(k->counters, in->carrier == CARRIER_ZMQ ? COUNT_ZMQ_BYTES : COUNT_RING_BYTES, bytes);
    queueing_end(k);
}

static void
quarantine(ak *k, ak_in *in)
{
    in->bad = true;
    count_add(k->counters, COUNT_BAD, 1);
    log_error("lane.quarantined", "from=%s.%u pos=%" PRIu64, kind_name(addr_kind(in->from)),
              addr_part(in->from), lane_read_pos(in->lane));
}

/* Bytes of the record taken; 0: nothing there, or nothing it can take now. */
static uint64_t
take_one(ak *k, ak_in *in)
{
    envelope    e;
    uint64_t    pos = 0;
    uint64_t    pos_end = 0;
    int         rc = E_OK;
    const void *body = lane_peek(in->lane, &e, &pos, &pos_end, &rc);
    ak_msg      m;
    ak_verdict  v;

    if (body == NULL) {
        if (rc < 0)
            quarantine(k, in);
        return 0;
    }
    if (UNLIKELY(k->wary) && !ak__careful_takes(k, &e)) {
        in->paused = true;
        k->waiting++;
        return 0;
    }
    message_of(k, in, &e, pos, &m);
    m.pos_end = pos_end;
    m.body = body;
    if (pos < in->again_until)
        m.flags |= (uint16_t)AK_AGAIN;
    if (UNLIKELY(k->wary))
        ak__careful_took(k, in, &m);
    note_reading(k, in, &m);
    lane_advance(in->lane, pos_end);
    k->touched = false;
    if (LIKELY(!k->wary) || !ak__careful_buries(k, &m, &v))
        v = judge(k, in, &m);
    if (v == AK_WAIT) {
        ak__careful_put_back(k, in, pos);
        lane_rewind(in->lane, pos);
        in->paused = true;
        k->waiting++;
        return 0;
    }
    if (v == AK_HOLD)
        hold(k, in, &m);
    if (k->touched && k->gathers && !in->gathers) {
        in->gathers = true;
        in->gather_from = pos;
    }
    count_taken(k, &m);
    return pos_end - pos;
}

/* Deficit round robin: each turn gives a lane QUANTUM, each message costs its bytes and something of its own.  What a
 * great message took too much its lane is short of in its next turns, as long as others have something too. */
static uint32_t
visit(ak *k, ak_in *in, uint32_t budget)
{
    uint32_t n = 0;
    uint64_t bytes = 0;
    uint64_t took = 0;

    if (!in->cut)
        in->credit = in->credit < 0 ? in->credit + QUANTUM : QUANTUM;
    while (n < budget && in->credit > 0 && k->dead == 0 && (took = take_one(k, in)) > 0) {
        in->credit -= (int64_t)took + MESSAGE_COST;
        bytes += took;
        n++;
    }
    in->cut = n == budget && in->credit > 0;
    count_visit(k, in, n, bytes);
    return n;
}

/* A turn for each of a range of lanes, beginning where the budget of the last step ended, be it within a turn. */
static uint32_t
sweep(ak *k, uint32_t lo, uint32_t hi, uint32_t budget, uint32_t *turn)
{
    uint32_t n = 0;
    uint32_t at = lo + *turn;
    uint32_t left;

    for (left = hi - lo; left > 0 && n < budget && k->dead == 0; left--) {
        ak_in *in = &k->in[at];

        if (!in->paused && lane_has_more(in->lane)) /* not of a bad one */
            n += visit(k, in, budget - n);
        else
            in->cut = false;
        if (in->cut)
            break;
        at = at + 1 == hi ? lo : at + 1;
    }
    if (left > 0)
        *turn = at - lo;
    return n;
}

/* A lane whose debt kept it from its turn has something. */
static bool
somebody_owes(const ak *k)
{
    for (uint32_t i = 0; i < k->ins; i++)
        if (k->in[i].credit < 0 && ak__in_waits(&k->in[i]))
            return true;
    return false;
}

/* Lanes of control first, with half of the messages of a step at most. */
static uint32_t
drain(ak *k, uint32_t budget)
{
    uint32_t n = 0;
    uint32_t took;

    k->waiting = 0;
    for (uint32_t i = 0; i < k->ins; i++)
        k->in[i].paused = false;
    do {
        took = sweep(k, 0, k->controls, (uint32_t)min_u64(budget - n, budget / 2 + 1), &k->turn[0]);
        took += sweep(k, k->controls, k->ins, budget - n - took, &k->turn[1]);
        n += took;
    } while ((took > 0 || somebody_owes(k)) && n < budget && k->dead == 0);
    return n;
}

bool
ak__in_waits(const ak_in *in)
{
    return !in->paused && !in->bad && lane_has_more(in->lane);
}

/* ---- batch ---- */

static void
batch_end(ak *k)
{
    uint64_t now = ak__clock_ns();

    ASSERT(k->pending);
    k->pending = false;
    for (uint32_t i = 0; i < k->ins; i++)
        k->in[i].flushes = false;
    count_add(k->counters, COUNT_FLUSHES, 1);
    hist_add(k->counters, HIST_FLUSH, now - k->flush_at_ns);
    trail_flushed(k->trail, k->commit_done, k->commit_until, now);
    k->commit_done = k->commit_until;
}

void
ak_flushed(ak *k, int rc)
{
    ASSERT(k->pending);
    if (rc < 0) {
        ak__die(k, rc);
        return;
    }
    batch_end(k);
    k->ended = true;
}

static void
commit(ak *k)
{
    int rc;

    for (uint32_t i = 0; i < k->ins; i++) {
        ak_in *in = &k->in[i];

        if (!in->gathers)
            continue;
        in->gathers = false;
        in->flushes = true;
        in->flush_from = in->gather_from;
    }
    k->gathers = false;
    k->pending = true;
    if (!k->careful) /* of a whole batch */
        atomic_store_explicit(&k->seat->at_exact, 0, memory_order_relaxed);
    k->flush_at_ns = ak__clock_ns();
    k->commit_until = trail_next(k->trail);
    rc = k->kind->flush(k, k->self);
    if (rc < 0)
        ak__die(k, rc);
    else if (rc != AK_PENDING && k->pending)
        batch_end(k);
}

static void
acknowledge(ak *k)
{
    for (uint32_t i = 0; i < k->ins; i++) {
        ak_in   *in = &k->in[i];
        uint64_t pos = lane_read_pos(in->lane);

        if (in->gathers)
            pos = min_u64(pos, in->gather_from);
        if (in->flushes)
            pos = min_u64(pos, in->flush_from);
        if (in->held_count > 0)
            pos = min_u64(pos, in->held[in->held_first].pos);
        if (pos <= in->acked)
            continue;
        in->acked = pos;
        world_pause();
        wire_acked(k->wire, in->edge, lane_ack(in->lane, pos));
    }
}

static void
publish_and_acknowledge(ak *k)
{
    ak__asks_send_due(k);
    ak__publish(k);
    acknowledge(k);
    if (UNLIKELY(k->wary))
        ak__careful_look(k);
}

/* The node of a producer was started anew: its positions begin where they like, after all of the old ones
 * were acknowledged (gate.c). */
static void
meet_successors(ak *k)
{
    for (uint32_t i = 0; i < k->ins; i++) {
        ak_in *in = &k->in[i];

        if (!in->far || uuid_eq(&in->generation, lane_generation(in->lane)))
            continue;
        ASSERT(in->held_count == 0 && !in->gathers && !in->flushes);
        in->generation = *lane_generation(in->lane);
        in->acked = lane_head(in->lane);
        in->again_until = lane_seen_before(in->lane);
        atomic_store_explicit(&k->seat->read[in->cursor], in->acked, memory_order_relaxed);
    }
}

static void
begin_step(ak *k)
{
    ASSERT(!k->in_step && !k->parked);
    k->in_step = true;
    k->ended = false;
    k->wall_us = 0;
    k->now_ns = ak__clock_ns();
    if (k->now_ns - k->timed_at_ns >= TIMED_APART_NS)
        k->untimed = 1;
    atomic_store_explicit(&k->seat->state, SEAT_RUN, memory_order_relaxed);
    atomic_store_explicit(&k->seat->now_ns, k->now_ns, memory_order_relaxed);
    atomic_store_explicit(&k->seat->tick, k->seat->tick + 1, memory_order_relaxed);
    (void)wire_pump(k->wire);
    meet_successors(k);
    if (k->now_ns < k->sweep_at_ns)
        return;
    k->sweep_at_ns = k->now_ns + SECOND_NS;
    ak__asks_sweep(k);
    ak__asks_of_the_down_fail(k);
    ak__streams_sweep(k);
    if (k->host->run->plan.peers > 0)
        ak__asks_give_up(k);
    if (k->monitors > 0)
        atomic_store_explicit(&k->deaths_due, true, memory_order_relaxed);
    for (uint32_t i = 0; i < k->ins; i++)
        holds_expire(k, &k->in[i]);
}

static void
end_step(ak *k, uint32_t did)
{
    if (k->gathers && !k->pending && k->dead == 0)
        commit(k);
    if (k->dead == 0)
        publish_and_acknowledge(k);
    if (UNLIKELY(atomic_load_explicit(&k->replay, memory_order_relaxed) != NULL))
        ak__replay_look(k);
    k->in_step = false;
    if (k->out_in == NULL)
        atomic_store_explicit(&k->seat->at_type, 0, memory_order_relaxed);
    if (did > 0)
        count_add(k->counters, COUNT_STEPS, 1);
}

uint32_t
ak_step(ak *k, uint32_t budget)
{
    uint32_t did;

    if (k->dead != 0)
        return 0;
    begin_step(k);
    did = ak__crew_reap(k);
    did += ak__watches_run(k);
    if (k->ended && k->dead == 0)
        publish_and_acknowledge(k);
    if (UNLIKELY(atomic_load_explicit(&k->deaths_due, memory_order_relaxed)) &&
        atomic_exchange(&k->deaths_due, false))
        ak__deaths_run(k);
    did += ak__dues_run(k);
    did += ak__rooms(k);
    if (UNLIKELY(atomic_load_explicit(&k->replay, memory_order_relaxed) != NULL))
        ak__replay_run(k);
    did += drain(k, budget);
    end_step(k, did);
    return did;
}

/* ---- self ---- */

uint64_t
ak_now_ns(const ak *k)
{
    return k->in_step ? k->now_ns : ak__clock_ns();
}

int64_t
ak_wall_us(const ak *k)
{
    ak *mine = (ak *)(uintptr_t)k;

    if (!k->in_step)
        return the_world->wall_us();
    if (k->wall_us == 0)
        mine->wall_us = the_world->wall_us();
    return k->wall_us;
}

/* splitmix64 */
uint64_t
ak_random(ak *k)
{
    uint64_t z = k->random += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

addr
ak_self(const ak *k)
{
    return k->me;
}

uint16_t
ak_parts(const ak *k, uint16_t kind)
{
    return kind < KIND_MAX ? k->host->run->plan.parts[kind] : 0;
}

uint16_t
ak_parts_here(const ak *k, uint16_t kind)
{
    const plan *p = &k->host->run->plan;
    uint16_t    n = 0;

    for (uint32_t i = 0; i < p->slots; i++)
        n = (uint16_t)(n + (addr_kind(p->slot[i].who) == kind));
    return n;
}

bool
ak_is_far(const ak *k, addr who)
{
    return plan_place(&k->host->run->plan, who) >= 0;
}

const uuid *
ak_generation_of(const ak *k, const ak_msg *m)
{
    if (m->lane == AK_NO_LANE) /* a replay: its positions are of this generation */
        return ak_generation(k);
    ASSERT(m->lane < k->ins);
    return lane_generation(k->in[m->lane].lane);
}

const uuid *
ak_generation(const ak *k)
{
    return &k->host->run->generation;
}

uint16_t
ak_epoch(const ak *k)
{
    return k->epoch;
}

const struct options *
ak_options(const ak *k)
{
    return atomic_load(&k->host->options);
}

struct board *
ak_board(const ak *k)
{
    return k->board;
}

struct counters *
ak_counters(const ak *k)
{
    return k->counters;
}

const char *
ak_data_dir(const ak *k)
{
    return k->host->run->data_dir;
}

const char *
ak_run_dir(const ak *k)
{
    return k->host->run->path;
}

int
ak_listen_fd(const ak *k)
{
    return k->host->run->listen_fd;
}

bool
ak_is_loopback(const ak *k)
{
    return k->host->run->loopback != 0;
}
