/* ak_ask.c - asks that are outstanding, seen from the asker.
 *
 *   corr    incarnation:16  sequence:32  index:16      index of ask[]; never 0, never used twice
 *
 *            ak_ask ──▶ living ──answer──▶ free
 *                         │ deadline, ak_cancel
 *                         ▼
 *                       ghost ──answer, or the replier was started anew──▶ free
 *
 * A ghost's ctx is forgotten; only its room in the return lane is still taken, because the answer may
 * come.  Credit and cancel notes are owed, not sent, so that they cannot fail: they leave when there is
 * room.
 */
#include "actors/ak_internal.h"

#include "proto/err.h"

#include <stdlib.h>

enum { ASKS_FIRST = 64 };

static ak_ask_entry *
ask_of(ak *k, uint64_t corr)
{
    uint32_t index = (uint32_t)(corr & UINT16_MAX);

    if (corr == 0 || index >= k->ask_room || k->ask[index].corr != corr)
        return NULL;
    return &k->ask[index];
}

static bool
asks_grow(ak *k)
{
    uint32_t      room = k->ask_room == 0 ? ASKS_FIRST : k->ask_room * 2;
    ak_ask_entry *more;

    if (k->ask_room >= AK_ASKS_MAX)
        return false;
    room = (uint32_t)min_u64(room, AK_ASKS_MAX);
    more = realloc(k->ask, room * sizeof *more);
    if (more == NULL)
        return false;
    for (uint32_t i = room; i-- > k->ask_room;) {
        more[i].corr = 0;
        more[i].next_free = k->ask_free;
        k->ask_free = i + 1;
    }
    k->ask = more;
    k->ask_room = room;
    return true;
}

static void
ask_free(ak *k, ak_ask_entry *a)
{
    ASSERT(a->corr != 0 && a->out->back->owed >= a->reserved);
    ak__due_cancel(k, a->timer);
    a->out->back->owed -= a->reserved;
    k->ghosts -= a->ghost;
    k->notes_due -= a->credit_due > 0 || a->cancel_due;
    k->asks--;
    a->corr = 0;
    a->next_free = k->ask_free;
    k->ask_free = (uint32_t)(a - k->ask) + 1;
}

/* What answers on that lane may take besides: at least one ask always goes, or nothing ever would. */
static bool
room_for_answer(const ak_in *back, uint64_t need)
{
    uint64_t unacked = lane_read_pos(back->lane) - lane_head(back->lane);

    return back->owed == 0 || back->owed + unacked + need <= back->owed_limit;
}

static uint64_t
answer_room(uint16_t type, uint32_t *window)
{
    const msg_row *row = msg_row_of(type);
    uint64_t       last = envelope_record_len((uint32_t)max_u64(row->reply_max, sizeof(int32_t)));

    if (*window == 0)
        return last;
    *window = (uint32_t)max_u64(*window, last);
    return *window + last;
}

/* Of an actor on another node, as far as the link knows: who is away is not asked at all, rather than each
 * ask run into its deadline. */
static bool
is_there(const ak_out *o)
{
    uint32_t epoch = atomic_load_explicit(&o->peer->epoch, memory_order_acquire);

    return epoch != 0 && atomic_load(&o->peer->ready) == epoch &&
           atomic_load(&o->peer->state) != SEAT_DOWN;
}

uint64_t
ak__ask_new(ak *k, ak_out *o, uint16_t type, uint64_t within_ns, uint32_t window)
{
    uint64_t      need = answer_room(type, &window);
    uint64_t      at_ns = ak__now(k) + within_ns;
    uint32_t      index;
    ak_ask_entry *a;

    ASSERT(o->back != NULL && within_ns > 0);
    if (o->far && !is_there(o)) {
        ak__count_full(k, o);
        return 0;
    }
    if (!room_for_answer(o->back, need))
        ak__asks_sweep(k);
    if (!room_for_answer(o->back, need) || (k->ask_free == 0 && !asks_grow(k))) {
        ak__count_full(k, o);
        return 0;
    }
    index = k->ask_free - 1;
    a = &k->ask[index];
    k->ask_free = a->next_free;
    *a = (ak_ask_entry){ .out = o,
                          .reserved = need,
                          .deadline_ns = at_ns,
                          .window = window,
                          .type = type };
    a->corr = (uint64_t)k->epoch << 48 | (uint64_t)++k->ask_seq << 16 | index;
    a->peer_epoch = atomic_load_explicit(&o->peer->epoch, memory_order_acquire);
    a->timer = ak__due_add(k, at_ns, a->corr, NULL);
    o->back->owed += need;
    k->asks++;
    return a->corr;
}

void
ak__ask_undo(ak *k, uint64_t corr)
{
    ak_ask_entry *a = ask_of(k, corr);

    ASSERT(a != NULL);
    ask_free(k, a);
}

void
ak__ask_ctx(ak *k, uint64_t corr, void *ctx)
{
    ak_ask_entry *a = ask_of(k, corr);

    ASSERT(a != NULL);
    a->ctx = ctx;
}

uint64_t
ak__ask_deadline(ak *k, uint64_t corr)
{
    const ak_ask_entry *a = ask_of(k, corr);

    ASSERT(a != NULL);
    return a->deadline_ns;
}

typedef struct ask_spec {
    uint64_t within_ns;
    void    *ctx;
    uint32_t window;
    uint32_t len;
} ask_spec;

static uint64_t
ask(ak *k, addr to, uint16_t type, const void *body, ask_spec s)
{
    ak_out        *o = ak__out(k, to);
    const msg_row *row = msg_row_of(type);
    envelope       e;
    uint64_t       corr;

    ASSERT(row != NULL && s.len >= row->body_min && s.len <= row->body_max);
    if (o == NULL || o->policy != EDGE_WAIT || ak__is_down(o) ||
        (corr = ak__ask_new(k, o, type, s.within_ns, s.window)) == 0)
        return 0;
    ak__ask_ctx(k, corr, s.ctx);
    e = ak__envelope(k, o, type, ENV_ASK);
    e.len = s.len;
    e.corr = corr;
    e.deadline_ns = ak__ask_deadline(k, corr);
    e.spare = ask_of(k, corr)->window;
    if (ak__stage(k, o, &e, body))
        return corr;
    ak__ask_undo(k, corr);
    return 0;
}

uint64_t
ak_ask(ak *k, addr to, uint16_t type, const void *body, uint32_t len, uint64_t within_ns, void *ctx)
{
    return ask(k, to, type, body, (ask_spec){ .within_ns = within_ns, .ctx = ctx, .len = len });
}

uint64_t
ak_ask_stream(ak *k, addr to, uint16_t type, const void *body, uint32_t len, uint64_t within_ns,
              void *ctx, uint32_t window)
{
    ASSERT(window > 0);
    return ask(k, to, type, body,
               (ask_spec){ .within_ns = within_ns, .ctx = ctx, .len = len, .window = window });
}

/* ---- ends ---- */

static void
owe_cancel(ak *k, ak_ask_entry *a)
{
    k->notes_due += a->credit_due == 0 && !a->cancel_due;
    a->credit_due = 0;
    a->cancel_due = true;
}

static void
make_ghost(ak *k, ak_ask_entry *a)
{
    ak__due_cancel(k, a->timer);
    a->timer = 0;
    a->ctx = NULL;
    a->ghost = true;
    k->ghosts++;
}

/* A streamed answer is told to stop; a single one is let come. */
void
ak__ask_late(ak *k, uint64_t corr)
{
    ak_ask_entry *a = ask_of(k, corr);
    void         *ctx;
    addr          from;

    if (a == NULL || a->ghost)
        return;
    ctx = a->ctx;
    from = a->out->to;
    count_add(k->counters, COUNT_LATE, 1);
    make_ghost(k, a);
    if (a->window != 0)
        owe_cancel(k, a);
    ak__call_local(k, MSG_LATE, from, corr, ctx);
}

void
ak_cancel(ak *k, uint64_t corr)
{
    ak_ask_entry *a = ask_of(k, corr);

    if (a == NULL || a->ghost || a->ending)
        return;
    make_ghost(k, a);
    owe_cancel(k, a);
}

/* What the actor counts are bytes of bodies; the window counts records.  Credit for all bodies that came
 * gives back exactly the records they took. */
void
ak_credit(ak *k, uint64_t corr, uint32_t bytes)
{
    ak_ask_entry *a = ask_of(k, corr);
    uint64_t      records;

    if (a == NULL || a->ghost || a->ending || a->part_record == 0)
        return;
    if (bytes >= a->part_body)
        records = a->part_record;
    else
        records = a->part_record * bytes / a->part_body;
    if (records == 0)
        return;
    a->part_body -= min_u64(bytes, a->part_body);
    a->part_record -= records;
    k->notes_due += a->credit_due == 0 && !a->cancel_due;
    a->credit_due += records;
}

static bool
send_due(ak *k, ak_ask_entry *a)
{
    envelope e = ak__envelope(k, a->out, a->cancel_due ? MSG_CANCEL : MSG_CREDIT,
                              a->cancel_due ? ENV_CANCEL : ENV_CREDIT);

    e.corr = a->corr;
    e.deadline_ns = ak__now(k);
    e.len = a->cancel_due ? 0 : sizeof a->credit_due;
    if (!ak__stage(k, a->out, &e, &a->credit_due))
        return false;
    a->credit_due = 0;
    a->cancel_due = false;
    k->notes_due--;
    return true;
}

void
ak__asks_send_due(ak *k)
{
    for (uint32_t i = 0; i < k->ask_room && k->notes_due > 0; i++) {
        ak_ask_entry *a = &k->ask[i];

        if (a->corr != 0 && (a->cancel_due || a->credit_due > 0))
            (void)send_due(k, a);
    }
}

/* Once a second, and when room is short: ghosts whose replier was started anew, streams whose asker was. */
void
ak__asks_sweep(ak *k)
{
    for (uint32_t i = 0; i < k->ask_room && k->ghosts > 0; i++) {
        ak_ask_entry *a = &k->ask[i];

        if (a->corr != 0 && a->ghost &&
            atomic_load_explicit(&a->out->peer->epoch, memory_order_acquire) != a->peer_epoch)
            ask_free(k, a);
    }
}

/* Once a second: what was asked of a node that is away at two looks is late now, not when its time is over.  Should
 * the answer come after all, it is a ghost's. */
void
ak__asks_give_up(ak *k)
{
    for (uint32_t i = 0; i < k->ask_room; i++) {
        ak_ask_entry *a = &k->ask[i];
        bool          missed = a->corr != 0 && !a->ghost && a->out->far && !is_there(a->out);

        if (missed && a->missed)
            ak__ask_late(k, a->corr); /* its handler may ask, and the table move */
        else if (a->corr != 0)
            a->missed = missed;
    }
}

bool
ak__is_down(const ak_out *o)
{
    return atomic_load_explicit(&o->peer->down, memory_order_relaxed) != 0;
}

/* Whoever waits for a part that stays down hears so within a second; the room stays taken until its next life. */
void
ak__asks_of_the_down_fail(ak *k)
{
    bool any = false;

    for (uint32_t i = 0; i < k->outs; i++)
        any = any || ak__is_down(&k->out[i]);
    for (uint32_t i = 0; any && i < k->ask_room; i++) {
        ak_ask_entry *a = &k->ask[i];
        uint64_t      corr = a->corr;
        void         *ctx = a->ctx;

        if (corr == 0 || a->ghost || a->ending || !ak__is_down(a->out))
            continue;
        make_ghost(k, a);
        ak__call_local(k, MSG_FAIL, a->out->to, corr, ctx);
    }
}

/* ---- answers ---- */

static ak_verdict
hand_over(ak *k, ak_ask_entry *a, ak_msg *m)
{
    uint64_t   corr = a->corr;
    bool       last = (m->flags & ENV_MORE) == 0;
    uint64_t   record = envelope_record_len(m->len);
    ak_verdict v;

    m->ctx = a->ctx;
    a->ending = last;
    if (!last) {
        a->part_body += m->len;
        a->part_record += record;
    }
    v = ak__call(k, m);
    a = ask_of(k, corr); /* the table may have moved; a part's handler may have cancelled */
    if (a == NULL)
        return v;
    a->ending = false;
    if (v == AK_WAIT && !last && !a->ghost) {
        a->part_body -= min_u64(m->len, a->part_body);
        a->part_record -= min_u64(record, a->part_record);
    }
    if (last && v != AK_WAIT)
        ask_free(k, a);
    return v;
}

ak_verdict
ak__ask_answer(ak *k, ak_in *in, ak_msg *m)
{
    ak_ask_entry *a = ask_of(k, m->corr);

    if (a == NULL || a->out->back != in)
        return AK_DONE; /* late, cancelled, or asked by a predecessor */
    if (!a->ghost)
        return hand_over(k, a, m);
    if ((m->flags & ENV_MORE) == 0)
        ask_free(k, a);
    return AK_DONE;
}
