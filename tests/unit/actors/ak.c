/* The kernel's promises to an actor, each on both carriers: a toy asker stepped by hand against a toy
 * server stepped by hand, so that every test decides who runs when. */
#include "tests/unit/actors/rig.h"
#include "tests/unit/check.h"

#include "actors/ak_internal.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 4096, LANE = 16384 };
static const uint64_t MS = 1000000;
static const uint64_t LONG_NS = 60000000000ull;

static const addr asker0 = (uint64_t)KIND_FRONT << 32;
static const addr server0 = (uint64_t)KIND_INGEST << 32;

/* ---- the asker: writes down what it hears ---- */

typedef struct event {
    uint16_t type;
    uint16_t flags;
    uint32_t len;
    uint64_t corr;
    void    *ctx;
    int32_t  word; /* first four bytes of the body */
} event;

typedef struct asker {
    uint32_t events;
    event    event[EVENTS_MAX];
    bool     refuse; /* answers AK_WAIT to everything */
} asker;

static ak_verdict
hear(ak *k, void *self, const ak_msg *m)
{
    asker *a = self;
    event *e = &a->event[a->events];

    (void)k;
    if (a->refuse)
        return AK_WAIT;
    CHECK(a->events < EVENTS_MAX);
    *e = (event){ .type = m->type, .flags = m->flags, .len = m->len, .corr = m->corr, .ctx = m->ctx };
    if (m->len >= sizeof e->word)
        memcpy(&e->word, m->body, sizeof e->word);
    a->events++;
    return AK_DONE;
}

static const ak_on asker_on[] = {
    { MSG_FAIL, 0, hear },   { MSG_LATE, 0, hear },   { MSG_TIMER, 0, hear }, { MSG_STORED, 0, hear },
    { MSG_PROBED, 0, hear }, { MSG_RESULT, 0, hear }, { MSG_FEED, 0, hear },  { 0, 0, NULL },
};
static const ak_kind asker_kind = { .name = "front",
                                    .number = KIND_FRONT,
                                    .self_size = sizeof(asker),
                                    .on = asker_on };

/* ---- the server: how it behaves is a word the test sets ---- */

typedef struct server {
    ak_verdict verdict;
    bool       reply_at_once;
    int        flush_answer;
    int        flushes;
    uint32_t   handled;
    uint32_t   again;
    uint32_t   reads;
    uint32_t   credits;
    uint32_t   cancels;
    uint32_t   done_jobs;
    uint32_t   fd_calls;
    uint32_t   asks;
    uint64_t   last_credit;
    ak_msg     ask[EVENTS_MAX]; /* kept, unanswered */
    int32_t    seen[EVENTS_MAX];
} server;

static ak_verdict
serve(ak *k, void *self, const ak_msg *m)
{
    server *s = self;

    if (s->verdict == AK_WAIT || s->verdict == AK_BAD)
        return s->verdict;
    s->again += (m->flags & AK_AGAIN) != 0;
    memcpy(&s->seen[s->handled % EVENTS_MAX], m->body, sizeof(int32_t));
    s->handled++;
    if ((m->flags & ENV_ASK) == 0)
        return s->verdict;
    if (s->reply_at_once) {
        ak_reply(k, m, MSG_STORED, (const uint8_t[16]){ 1 }, 16);
        return s->verdict;
    }
    s->ask[s->asks] = *m;
    s->ask[s->asks++].body = NULL;
    return s->verdict;
}

static ak_verdict
look(ak *k, void *self, const ak_msg *m)
{
    server *s = self;

    s->reads++;
    ak_reply(k, m, MSG_PROBED, (const int32_t[1]){ 7 }, 4);
    return AK_DONE;
}

static ak_verdict
credit(ak *k, void *self, const ak_msg *m)
{
    server *s = self;

    (void)k;
    s->credits++;
    s->last_credit = load_u64(m->body);
    return AK_DONE;
}

static ak_verdict
cancel(ak *k, void *self, const ak_msg *m)
{
    (void)k;
    (void)m;
    ((server *)self)->cancels++;
    return AK_DONE;
}

static int
flush(ak *k, void *self)
{
    server *s = self;

    (void)k;
    s->flushes++;
    return s->flush_answer;
}

static ak_verdict
tick(ak *k, void *self, const ak_msg *m)
{
    (void)k;
    (void)self;
    (void)m;
    return AK_DONE;
}

static const ak_on server_on[] = {
    { MSG_TIMER, 0, tick },
    { MSG_READINGS, 0, serve },       { MSG_QUERY, 0, serve },    { MSG_PROBE, AK_READ, look },
    { MSG_CREDIT, AK_READ, credit },  { MSG_CANCEL, AK_READ, cancel }, { 0, 0, NULL },
};
static const ak_kind server_kind = { .name = "ingest",
                                     .number = KIND_INGEST,
                                     .helpers = 1,
                                     .holds = true,
                                     .self_size = sizeof(server),
                                     .on = server_on,
                                     .flush = flush };

/* ---- the scene ---- */

typedef struct scene {
    carrier carrier;
    rig    *r;
    ak     *a;
    ak     *s;
    asker  *asker;
    server *server;
} scene;

static void
scene_open(scene *c, enum edge_policy back, uint64_t back_bytes)
{
    const edge_plan edges[] = {
        { asker0, server0, c->carrier, EDGE_WAIT, LANE },
        { server0, asker0, c->carrier, back, back_bytes },
        { 0 },
    };

    c->r = rig_new(edges, NULL);
    c->a = rig_hand(c->r, &asker_kind, 0);
    c->s = rig_hand(c->r, &server_kind, 0);
    c->asker = rig_self(c->a);
    c->server = rig_self(c->s);
}

static uint64_t
clock_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void
step_both(scene *c)
{
    uint32_t did = 0;

    if (c->a != NULL)
        did += ak_step(c->a, 256);
    if (c->s != NULL)
        did += ak_step(c->s, 256);
    if (did == 0)
        (void)usleep(100);
}

/* Steps both until `what` holds; a test that waits for what never comes fails. */
#define UNTIL(c, what)                                                                             \
    do {                                                                                           \
        uint64_t until_end_ = clock_ns() + 5000 * MS;                                              \
        while (!(what)) {                                                                          \
            if (clock_ns() > until_end_)                                                           \
                fail_msg("never: %s", #what);                                                      \
            step_both(c);                                                                          \
        }                                                                                          \
    } while (0)

/* Long enough that whatever is on its way has come. */
static void
settle(scene *c)
{
    for (uint64_t end = clock_ns() + 30 * MS; clock_ns() < end;)
        step_both(c);
}

static uint64_t
ask_number(scene *c, int32_t number, uint64_t within_ns, void *ctx)
{
    uint8_t body[32] = { 0 };

    memcpy(body, &number, sizeof number);
    return ak_ask(c->a, server0, MSG_READINGS, body, sizeof body, within_ns, ctx);
}

static int
send_number(scene *c, int32_t number)
{
    uint8_t body[32] = { 0 };

    memcpy(body, &number, sizeof number);
    return ak_send(c->a, server0, MSG_READINGS, body, sizeof body);
}

static void
respawn_server(scene *c)
{
    rig_kill(c->r, c->s);
    c->s = rig_hand(c->r, &server_kind, 0);
    c->server = rig_self(c->s);
}

static uint64_t
count_of(ak *k, enum counter which)
{
    return count_get(ak_counters(k), which);
}

#define CASE(name) static void name(void **state)
#define OPEN(c, back, bytes)                                                                       \
    scene *c = *state;                                                                             \
    scene_open(c, back, bytes)

static int
close_scene(void **state)
{
    scene *c = *state;

    if (c->r != NULL)
        rig_free(&c->r);
    c->a = c->s = NULL;
    return 0;
}

/* ---- asks ---- */

CASE(an_ask_is_answered_with_its_ctx)
{
    OPEN(c, EDGE_REPLY, LANE);
    int      mine;
    uint64_t corr = ask_number(c, 5, LONG_NS, &mine);

    CHECK(corr != 0);
    c->server->reply_at_once = true;
    UNTIL(c, c->asker->events == 1);
    CHECK_EQ(c->asker->event[0].type, MSG_STORED);
    CHECK(c->asker->event[0].ctx == &mine && c->asker->event[0].corr == corr);
    CHECK_EQ(c->server->seen[0], 5);
    CHECK_EQ(c->a->asks, 0);
    CHECK_EQ(c->a->in[0].owed, 0);
}

CASE(an_ask_ends_once_late_or_answered)
{
    OPEN(c, EDGE_REPLY, LANE);
    int mine;

    CHECK(ask_number(c, 1, 20 * MS, &mine) != 0);
    UNTIL(c, c->server->asks == 1);
    UNTIL(c, c->asker->events == 1);
    CHECK_EQ(c->asker->event[0].type, MSG_LATE);
    CHECK(c->asker->event[0].ctx == &mine);
    CHECK(c->a->in[0].owed > 0); /* the ghost's room */
    ak_reply(c->s, &c->server->ask[0], MSG_STORED, (const uint8_t[16]){ 0 }, 16);
    UNTIL(c, c->a->asks == 0);
    CHECK_EQ(c->asker->events, 1);
    CHECK_EQ(c->a->in[0].owed, 0);
}

CASE(an_ask_past_its_deadline_is_not_handled)
{
    OPEN(c, EDGE_REPLY, LANE);
    CHECK(ask_number(c, 1, 5 * MS, NULL) != 0);
    (void)ak_step(c->a, 1);
    (void)usleep(10000);
    UNTIL(c, c->a->asks == 0);
    CHECK_EQ(c->server->handled, 0);
    CHECK_EQ(c->asker->events, 1);
    CHECK_EQ(c->asker->event[0].type, MSG_LATE);
}

CASE(no_more_is_asked_than_answers_fit)
{
    OPEN(c, EDGE_REPLY, 4096);
    uint32_t asked = 0;

    while (asked < EVENTS_MAX && ask_number(c, (int32_t)asked, LONG_NS, NULL) != 0)
        asked++;
    CHECK_EQ(asked, 4096 / 128);
    c->asker->refuse = true; /* not one answer is taken: all of them lie in the lane */
    UNTIL(c, c->server->asks == asked);
    for (uint32_t i = 0; i < asked; i++)
        ak_reply(c->s, &c->server->ask[i], MSG_STORED, (const uint8_t[64]){ 0 }, 64);
    CHECK(c->s->out[0].late == NULL);
    c->asker->refuse = false;
    UNTIL(c, c->asker->events == asked);
    CHECK(ask_number(c, 0, LONG_NS, NULL) != 0);
}

CASE(answers_beyond_the_lane_wait_in_the_backlog)
{
    OPEN(c, EDGE_REPLY, 4096);
    /* A restarted asker forgot what it had asked: both incarnations' answers meet in one lane. */
    uint32_t asked = 0;

    while (ask_number(c, (int32_t)asked, LONG_NS, NULL) != 0)
        asked++;
    UNTIL(c, c->server->asks == asked);
    for (uint32_t i = 0; i < asked; i++)
        ak_reply(c->s, &c->server->ask[i], MSG_STORED, (const uint8_t[64]){ 0 }, 64);
    ak_reply(c->s, &c->server->ask[0], MSG_STORED, (const uint8_t[64]){ 0 }, 64);
    CHECK(c->s->out[0].late != NULL);
    UNTIL(c, c->asker->events == asked && c->s->out[0].late == NULL);
    settle(c);
    CHECK_EQ(c->asker->events, asked); /* the second answer to the same ask is dropped */
}

CASE(answers_to_a_dead_asker_are_dropped)
{
    OPEN(c, EDGE_REPLY, LANE);
    CHECK(ask_number(c, 1, LONG_NS, NULL) != 0);
    UNTIL(c, c->server->asks == 1);
    rig_kill(c->r, c->a);
    c->a = rig_hand(c->r, &asker_kind, 0);
    c->asker = rig_self(c->a);
    ak_reply(c->s, &c->server->ask[0], MSG_STORED, (const uint8_t[16]){ 0 }, 16);
    settle(c);
    CHECK_EQ(c->asker->events, 0);
    CHECK_EQ(lane_tail(c->s->out[0].lane), 0);
}

CASE(a_ghost_gives_its_room_back_when_the_replier_died)
{
    OPEN(c, EDGE_REPLY, LANE);
    CHECK(ask_number(c, 1, 10 * MS, NULL) != 0);
    UNTIL(c, c->server->asks == 1);
    UNTIL(c, c->asker->events == 1);
    CHECK_EQ(c->a->ghosts, 1);
    respawn_server(c);
    UNTIL(c, c->a->ghosts == 0);
    CHECK_EQ(c->a->in[0].owed, 0);
}

CASE(what_nobody_handles_is_refused)
{
    OPEN(c, EDGE_REPLY, LANE);
    CHECK(ak_ask(c->a, server0, MSG_WORK, "abcd", 4, LONG_NS, NULL) != 0);
    UNTIL(c, c->asker->events == 1);
    CHECK_EQ(c->asker->event[0].type, MSG_FAIL);
    CHECK_EQ(c->asker->event[0].word, E_BAD);
    CHECK_EQ(count_of(c->s, COUNT_BAD), 1);
}

CASE(a_bad_verdict_answers_the_asker)
{
    OPEN(c, EDGE_REPLY, LANE);
    c->server->verdict = AK_BAD;
    CHECK(ask_number(c, 1, LONG_NS, NULL) != 0);
    UNTIL(c, c->asker->events == 1);
    CHECK_EQ(c->asker->event[0].type, MSG_FAIL);
    CHECK_EQ(count_of(c->s, COUNT_BAD), 1);
}

CASE(a_body_of_impossible_length_reaches_no_handler)
{
    OPEN(c, EDGE_REPLY, LANE);
    envelope e = { .type = MSG_READINGS, .len = 8 }; /* at least 32 */

    CHECK_OK(lane_put(c->a->out[0].lane, &e, "12345678"));
    c->a->out[0].staged = true;
    UNTIL(c, count_of(c->s, COUNT_BAD) == 1);
    CHECK_EQ(c->server->handled, 0);
    CHECK_OK(send_number(c, 3));
    UNTIL(c, c->server->handled == 1);
}

CASE(an_edge_that_is_not_in_the_topology_is_gone)
{
    OPEN(c, EDGE_REPLY, LANE);
    CHECK_EQ(ak_send(c->a, addr_of(KIND_QUERY, 0), MSG_PROBE, NULL, 0), E_GONE);
    CHECK_EQ(ak_send(c->s, asker0, MSG_PROBE, NULL, 0), E_GONE); /* answers only */
    CHECK(ak_ask(c->s, asker0, MSG_PROBE, NULL, 0, MS, NULL) == 0);
}

/* ---- in place ---- */

CASE(a_body_built_in_place_arrives_and_a_discarded_one_does_not)
{
    OPEN(c, EDGE_REPLY, LANE);
    uint64_t corr;
    int32_t *body = ak_ask_reserve(c->a, server0, MSG_READINGS, 4096, LONG_NS, NULL, &corr);

    CHECK(body != NULL && corr != 0 && (uintptr_t)body % 64 == 0);
    body[0] = 41;
    ak_discard(c->a, body);
    CHECK_EQ(c->a->asks, 0);
    body = ak_ask_reserve(c->a, server0, MSG_READINGS, 4096, LONG_NS, NULL, &corr);
    CHECK(body != NULL);
    body[0] = 42;
    ak_commit(c->a, body, 64);
    body = ak_reserve(c->a, server0, MSG_READINGS, 64);
    CHECK(body != NULL);
    body[0] = 43;
    ak_commit(c->a, body, 32);
    UNTIL(c, c->server->handled == 2);
    CHECK_EQ(c->server->seen[0], 42);
    CHECK_EQ(c->server->seen[1], 43);
}

/* ---- back-pressure ---- */

CASE(a_full_lane_refuses_and_loses_nothing)
{
    OPEN(c, EDGE_REPLY, LANE);
    int32_t next = 0;

    c->server->verdict = AK_WAIT;
    while (send_number(c, next) == E_OK)
        next++;
    CHECK_EQ(next, LANE / 128);
    (void)ak_step(c->a, 1);
    settle(c);
    CHECK_EQ(c->server->handled, 0);
    CHECK(send_number(c, next) == E_FULL);
    c->server->verdict = AK_DONE;
    UNTIL(c, c->server->handled == (uint32_t)next);
    for (int32_t i = 0; i < next; i++)
        CHECK_EQ(c->server->seen[i], i);
    UNTIL(c, send_number(c, next) == E_OK);
    UNTIL(c, c->server->handled == (uint32_t)next + 1);
}

CASE(a_waiting_lane_lets_others_pass_and_does_not_spin)
{
    OPEN(c, EDGE_REPLY, LANE);
    uint64_t ns;

    c->server->verdict = AK_WAIT;
    CHECK_OK(send_number(c, 1));
    UNTIL(c, c->s->waiting == 1);
    settle(c);
    CHECK_EQ(ak_step(c->s, 256), 0);
    ns = ak_park(c->s); /* sleeps, but not long */
    CHECK(ns > 0 && ns <= 10 * MS);
    ak_unpark(c->s);
}

CASE(a_shedding_edge_drops_notes_but_never_answers)
{
    OPEN(c, EDGE_SHED, 4096);
    uint8_t  feed[64] = { 0 };
    uint64_t shed;

    CHECK(ask_number(c, 1, LONG_NS, NULL) != 0);
    UNTIL(c, c->server->asks == 1);
    c->asker->refuse = true;
    for (int i = 0; i < 100; i++)
        CHECK_EQ(ak_send(c->s, asker0, MSG_FEED, feed, sizeof feed), E_OK);
    shed = count_of(c->s, COUNT_SHED);
    CHECK_EQ(shed, 100 - 2048 / 128); /* half of the lane is the answers' */
    ak_reply(c->s, &c->server->ask[0], MSG_STORED, feed, 16);
    CHECK(c->s->out[0].late == NULL);
    c->asker->refuse = false;
    UNTIL(c, c->asker->events == 100 - shed + 1);
}

/* ---- the batch ---- */

CASE(one_flush_commits_what_came_in_one_step)
{
    OPEN(c, EDGE_REPLY, LANE);
    for (int32_t i = 0; i < 10; i++)
        CHECK_OK(send_number(c, i));
    UNTIL(c, c->server->handled == 10);
    CHECK(c->carrier == CARRIER_ZMQ || c->server->flushes == 1);
    CHECK_EQ(lane_head(c->s->in[0].lane), 10 * 128);
}

CASE(unacknowledged_messages_come_again_after_a_crash)
{
    OPEN(c, EDGE_REPLY, LANE);
    c->server->flush_answer = AK_PENDING;
    for (int32_t i = 0; i < 5; i++)
        CHECK_OK(send_number(c, i));
    UNTIL(c, c->server->handled == 5);
    CHECK_EQ(lane_head(c->s->in[0].lane), 0);
    respawn_server(c);
    CHECK_OK(send_number(c, 5));
    UNTIL(c, c->server->handled == 6);
    CHECK_EQ(c->server->again, 5);
    for (int32_t i = 0; i < 6; i++)
        CHECK_EQ(c->server->seen[i], i);
    CHECK_EQ(count_of(c->s, COUNT_REDELIVERED), 5);
    CHECK_EQ(lane_head(c->s->in[0].lane), 6 * 128);
}

CASE(a_batch_gathers_while_another_flushes)
{
    OPEN(c, EDGE_REPLY, LANE);
    lane *in = c->s->in[0].lane;

    c->server->flush_answer = AK_PENDING;
    CHECK_OK(send_number(c, 0));
    UNTIL(c, c->server->handled == 1);
    CHECK_EQ(c->server->flushes, 1);
    CHECK_OK(send_number(c, 1));
    UNTIL(c, c->server->handled == 2);
    CHECK_EQ(c->server->flushes, 1);
    CHECK_EQ(lane_head(in), 0);
    ak_flushed(c->s, E_OK);
    settle(c);
    CHECK_EQ(lane_head(in), 128); /* the first batch; the second is being committed */
    CHECK_EQ(c->server->flushes, 2);
    ak_flushed(c->s, E_OK);
    settle(c);
    CHECK_EQ(lane_head(in), 256);
    CHECK_EQ(c->server->flushes, 2);
}

CASE(a_message_that_gathers_is_not_acknowledged_with_another_batch)
{
    OPEN(c, EDGE_REPLY, LANE);
    lane *in = c->s->in[0].lane;

    c->server->flush_answer = AK_PENDING;
    (void)ak_timer(c->s, 0, NULL); /* a batch without any message of the lane */
    UNTIL(c, c->server->flushes == 1);
    CHECK_OK(send_number(c, 0));
    UNTIL(c, c->server->handled == 1);
    settle(c);
    CHECK_EQ(lane_head(in), 0);
    ak_flushed(c->s, E_OK);
    settle(c);
    CHECK_EQ(c->server->flushes, 2);
    CHECK_EQ(lane_head(in), 0);
    ak_flushed(c->s, E_OK);
    settle(c);
    CHECK_EQ(lane_head(in), 128);
}

CASE(a_sender_that_was_refused_sleeps_until_there_is_room)
{
    OPEN(c, EDGE_REPLY, LANE);
    int32_t  next = 0;
    uint64_t ns;

    c->server->verdict = AK_WAIT;
    while (send_number(c, next) == E_OK)
        next++;
    settle(c);
    ns = ak_park(c->a);
    CHECK(ns > 0);
    ak_unpark(c->a);
    c->server->verdict = AK_DONE;
    if (c->carrier == CARRIER_ZMQ)
        return; /* there the acknowledgement comes with the pump */
    (void)ak_step(c->s, 256);
    CHECK_EQ(ak_park(c->a), 0);
    CHECK_OK(send_number(c, next));
}

CASE(reads_are_answered_while_a_flush_is_under_way)
{
    OPEN(c, EDGE_REPLY, LANE);
    c->server->flush_answer = AK_PENDING;
    CHECK(ak_ask(c->a, server0, MSG_PROBE, NULL, 0, LONG_NS, NULL) != 0);
    CHECK_OK(send_number(c, 0));
    UNTIL(c, c->server->handled == 1);
    CHECK(ak_ask(c->a, server0, MSG_PROBE, NULL, 0, LONG_NS, NULL) != 0);
    UNTIL(c, c->asker->events == 2);
    CHECK_EQ(c->server->flushes, 1);
    CHECK_EQ(lane_head(c->s->in[0].lane), 64); /* the read before it, not the one behind it */
}

CASE(reads_alone_need_no_flush)
{
    OPEN(c, EDGE_REPLY, LANE);
    CHECK(ak_ask(c->a, server0, MSG_PROBE, NULL, 0, LONG_NS, NULL) != 0);
    UNTIL(c, c->asker->events == 1);
    CHECK_EQ(c->server->flushes, 0);
    CHECK_EQ(lane_head(c->s->in[0].lane), 64);
}

CASE(a_failed_flush_kills_the_actor_and_acknowledges_nothing)
{
    OPEN(c, EDGE_REPLY, LANE);
    c->server->flush_answer = E_IO;
    c->server->reply_at_once = true;
    CHECK(ask_number(c, 1, LONG_NS, NULL) != 0);
    UNTIL(c, c->server->flushes == 1);
    CHECK_EQ(c->s->dead, E_IO);
    CHECK(ak_stopping(c->s));
    CHECK_EQ(lane_head(c->s->in[0].lane), 0);
    settle(c);
    CHECK_EQ(c->asker->events, 0); /* the answer it staged was never published */
    respawn_server(c);
    c->server->reply_at_once = true;
    UNTIL(c, c->asker->events == 1);
    CHECK_EQ(c->server->again, 1);
}

CASE(a_held_message_pins_its_lane)
{
    OPEN(c, EDGE_REPLY, LANE);
    lane *in = c->s->in[0].lane;

    c->server->verdict = AK_HOLD;
    CHECK(ask_number(c, 0, LONG_NS, NULL) != 0);
    CHECK(ask_number(c, 1, LONG_NS, NULL) != 0);
    UNTIL(c, c->server->asks == 2);
    c->server->verdict = AK_DONE;
    CHECK_OK(send_number(c, 2));
    UNTIL(c, c->server->handled == 3);
    CHECK_EQ(lane_head(in), 0);
    ak_release(c->s, c->server->ask[1].lane, c->server->ask[1].pos);
    (void)ak_step(c->s, 1);
    CHECK_EQ(lane_head(in), 0);
    ak_release(c->s, c->server->ask[0].lane, c->server->ask[0].pos);
    (void)ak_step(c->s, 1);
    CHECK_EQ(lane_head(in), 3 * 128);
}

CASE(a_held_message_past_its_deadline_pins_its_lane_no_longer)
{
    OPEN(c, EDGE_REPLY, LANE);
    lane *in = c->s->in[0].lane;

    c->server->verdict = AK_HOLD;
    CHECK(ask_number(c, 0, 20 * MS, NULL) != 0);
    UNTIL(c, c->server->asks == 1);
    (void)usleep(25000);
    c->s->sweep_at_ns = 0; /* its second is over */
    (void)ak_step(c->s, 1);
    CHECK_EQ(lane_head(in), 128);
    ak_release(c->s, c->server->ask[0].lane, c->server->ask[0].pos); /* comes all the same */
    (void)ak_step(c->s, 1);
    CHECK_EQ(lane_head(in), 128);
}

/* ---- streams ---- */

static void
open_stream(scene *c, uint32_t window, uint64_t *corr)
{
    uint8_t body[56] = { 0 };

    *corr = ak_ask_stream(c->a, server0, MSG_QUERY, body, sizeof body, LONG_NS, c, window);
    CHECK(*corr != 0);
    UNTIL(c, c->server->asks == 1);
}

static int
send_part(scene *c, int32_t number)
{
    uint8_t body[960] = { 0 };

    memcpy(body, &number, sizeof number);
    return ak_reply_part(c->s, &c->server->ask[0], MSG_RESULT, body, sizeof body);
}

CASE(a_stream_obeys_its_window_and_ends_with_a_reply)
{
    OPEN(c, EDGE_REPLY, 131072);
    uint64_t corr;
    int32_t  sent = 0;
    uint32_t credited = 0;

    open_stream(c, 4096, &corr); /* raised to the longest answer: 32 832 */
    while (send_part(c, sent) == E_OK)
        sent++;
    CHECK_EQ(sent, 32832 / 1024);
    UNTIL(c, c->asker->events == (uint32_t)sent);
    CHECK((c->asker->event[0].flags & ENV_MORE) != 0 && c->asker->event[0].ctx == c);
    while (sent < 200) {
        for (; credited < c->asker->events; credited++)
            ak_credit(c->a, corr, 960);
        step_both(c);
        while (sent < 200 && send_part(c, sent) == E_OK)
            sent++;
    }
    CHECK(c->server->credits > 0);
    ak_reply(c->s, &c->server->ask[0], MSG_RESULT, (const uint8_t[24]){ 0 }, 24);
    UNTIL(c, c->asker->events == 201);
    for (int32_t i = 0; i < 200; i++)
        CHECK_EQ(c->asker->event[i].word, i);
    CHECK_EQ(c->asker->event[200].flags & ENV_MORE, 0);
    CHECK_EQ(c->a->asks, 0);
    CHECK_EQ(c->s->streams, 0);
}

CASE(a_cancelled_stream_stops_and_its_room_comes_back)
{
    OPEN(c, EDGE_REPLY, 131072);
    uint64_t corr;

    open_stream(c, 4096, &corr);
    CHECK_EQ(send_part(c, 0), E_OK);
    UNTIL(c, c->asker->events == 1);
    ak_cancel(c->a, corr);
    UNTIL(c, c->server->cancels == 1);
    CHECK_EQ(send_part(c, 1), E_GONE);
    UNTIL(c, c->a->asks == 0);
    CHECK_EQ(c->asker->events, 1);
    CHECK_EQ(c->a->in[0].owed, 0);
}

CASE(a_stream_whose_asker_died_is_told)
{
    OPEN(c, EDGE_REPLY, 131072);
    uint64_t corr;

    open_stream(c, 4096, &corr);
    CHECK_EQ(send_part(c, 0), E_OK);
    rig_kill(c->r, c->a);
    c->a = NULL;
    c->a = rig_hand(c->r, &asker_kind, 0);
    c->asker = rig_self(c->a);
    CHECK_EQ(send_part(c, 1), E_GONE);
    UNTIL(c, c->server->cancels == 1);
    CHECK_EQ(c->asker->events, 0);
}

/* ---- time, descriptors, helpers ---- */

CASE(timers_fire_in_order_and_cancelled_ones_do_not)
{
    OPEN(c, EDGE_REPLY, LANE);
    int      mark[3];
    uint64_t id = ak_timer(c->a, 2 * MS, &mark[1]);

    (void)ak_timer(c->a, 6 * MS, &mark[2]);
    (void)ak_timer(c->a, 1 * MS, &mark[0]);
    ak_timer_cancel(c->a, id);
    ak_timer_cancel(c->a, id);
    CHECK_EQ(ak_step(c->a, 1), 0);
    UNTIL(c, c->asker->events == 2);
    CHECK(c->asker->event[0].ctx == &mark[0]);
    CHECK(c->asker->event[1].ctx == &mark[2]);
}

static void
nap(void *job)
{
    (void)usleep(2000);
    *(int *)job = 1;
}

static void
napped(ak *k, void *self, void *job)
{
    (void)k;
    CHECK_EQ(*(int *)job, 1);
    ((server *)self)->done_jobs++;
}

CASE(slow_work_ends_in_a_step_of_the_actor)
{
    OPEN(c, EDGE_REPLY, LANE);
    int job[3] = { 0 };

    for (int i = 0; i < 3; i++)
        CHECK_OK(ak_help(c->s, nap, napped, &job[i]));
    UNTIL(c, c->server->done_jobs == 3);
    CHECK_EQ(c->server->flushes, 0);
}

static void
on_fd(ak *k, void *self, int fd)
{
    uint64_t n;

    (void)k;
    CHECK_EQ(read(fd, &n, sizeof n), sizeof n);
    ((server *)self)->fd_calls++;
}

CASE(a_watched_descriptor_is_served_until_it_is_forgotten)
{
    OPEN(c, EDGE_REPLY, LANE);
    int      fd = eventfd(0, EFD_NONBLOCK);
    uint64_t one = 1;

    CHECK_OK(ak_watch_fd(c->s, fd, on_fd));
    settle(c);
    CHECK_EQ(c->server->fd_calls, 0);
    CHECK_EQ(write(fd, &one, sizeof one), sizeof one);
    UNTIL(c, c->server->fd_calls == 1);
    CHECK_OK(ak_watch_fd(c->s, fd, NULL));
    CHECK_EQ(write(fd, &one, sizeof one), sizeof one);
    settle(c);
    CHECK_EQ(c->server->fd_calls, 1);
    (void)close(fd);
}

/* ---- threads ---- */

CASE(sleeping_actors_wake_for_each_message)
{
    OPEN(c, EDGE_REPLY, LANE);
    uint64_t worst = 0;

    rig_kill(c->r, c->s);
    c->s = NULL;
    rig_thread(c->r, &server_kind, 0);
    for (uint32_t i = 0; i < 50; i++) {
        uint64_t from = clock_ns();

        CHECK(ak_ask(c->a, server0, MSG_PROBE, NULL, 0, LONG_NS, NULL) != 0);
        UNTIL(c, c->asker->events == i + 1);
        worst = max_u64(worst, clock_ns() - from);
    }
    CHECK(worst < 1000 * MS); /* the safety look would take two seconds */
    rig_stop(c->r, &server_kind, 0);
}

static ak_verdict
count_up(ak *k, void *self, const ak_msg *m)
{
    int32_t *next = self;
    int32_t  number;

    (void)k;
    memcpy(&number, m->body, sizeof number);
    CHECK_EQ(number, *next);
    (*next)++;
    return AK_DONE;
}

static const ak_on counter_on[] = { { MSG_READINGS, 0, count_up }, { 0, 0, NULL } };
static const ak_kind counter_kind = { .name = "ingest",
                                      .number = KIND_INGEST,
                                      .self_size = sizeof(int32_t),
                                      .on = counter_on };

CASE(an_actor_that_spins_is_not_rung_for)
{
    OPEN(c, EDGE_REPLY, LANE);
    options spinning = { .kernel_spin_us = 1000000 };
    ak     *s;

    rig_kill(c->r, c->s);
    c->s = NULL;
    rig_options(c->r, &spinning);
    s = rig_thread_ak(c->r, &server_kind, 0);
    c->server = rig_self(s);
    for (int32_t i = 0; i < 20; i++) {
        UNTIL(c, send_number(c, i) == E_OK);
        UNTIL(c, atomic_load(&c->a->out[0].peer->at_pos) >= (uint64_t)i * 128 &&
                     lane_room(c->a->out[0].lane) == LANE);
    }
    CHECK_EQ(count_of(s, COUNT_PARKS), 0);
    CHECK(count_of(s, COUNT_SPINS_PAID) > 0);
}

CASE(an_actor_whose_spins_are_in_vain_leaves_off)
{
    OPEN(c, EDGE_REPLY, LANE);
    options spinning = { .kernel_spin_us = 1 };
    int     parks;

    settle(c);
    rig_options(c->r, &spinning);
    for (parks = 0; parks < 400; parks++) {
        CHECK(ak_park(c->s) > 0);
        ak_unpark(c->s);
    }
    CHECK(count_of(c->s, COUNT_SPINS) >= 8);
    CHECK(count_of(c->s, COUNT_SPINS) < 8 + 400 / 16);
    CHECK_EQ(count_of(c->s, COUNT_SPINS_PAID), 0);
    CHECK_EQ(send_number(c, 1), E_OK); /* it still hears */
    UNTIL(c, c->server->handled == 1);
}

CASE(a_tiny_lane_between_two_threads_loses_nothing)
{
    OPEN(c, EDGE_REPLY, LANE);
    int32_t  next = 0;
    uint64_t end = clock_ns() + 20000 * MS;

    rig_kill(c->r, c->s);
    c->s = NULL;
    rig_thread(c->r, &counter_kind, 0);
    while (next < 20000 && clock_ns() < end) {
        if (send_number(c, next) == E_OK)
            next++;
        else
            step_both(c);
    }
    CHECK_EQ(next, 20000);
    (void)ak_step(c->a, 1);
    UNTIL(c, lane_room(c->a->out[0].lane) == LANE);
    rig_stop(c->r, &counter_kind, 0); /* fails the test when an order was broken */
}

#define ON(carrier, fn) cmocka_unit_test_prestate_setup_teardown(fn, NULL, close_scene, &(carrier))

static scene on_ring = { .carrier = CARRIER_RING };
static scene on_zmq = { .carrier = CARRIER_ZMQ };

#define ALL(c)                                                                                     \
    ON(c, an_ask_is_answered_with_its_ctx), ON(c, an_ask_ends_once_late_or_answered),              \
        ON(c, an_ask_past_its_deadline_is_not_handled), ON(c, no_more_is_asked_than_answers_fit),  \
        ON(c, answers_beyond_the_lane_wait_in_the_backlog),                                        \
        ON(c, answers_to_a_dead_asker_are_dropped),                                                \
        ON(c, a_ghost_gives_its_room_back_when_the_replier_died),                                  \
        ON(c, what_nobody_handles_is_refused), ON(c, a_bad_verdict_answers_the_asker),             \
        ON(c, a_body_of_impossible_length_reaches_no_handler),                                     \
        ON(c, an_edge_that_is_not_in_the_topology_is_gone),                                        \
        ON(c, a_body_built_in_place_arrives_and_a_discarded_one_does_not),                         \
        ON(c, a_full_lane_refuses_and_loses_nothing),                                              \
        ON(c, a_waiting_lane_lets_others_pass_and_does_not_spin),                                  \
        ON(c, a_shedding_edge_drops_notes_but_never_answers),                                      \
        ON(c, one_flush_commits_what_came_in_one_step),                                            \
        ON(c, unacknowledged_messages_come_again_after_a_crash),                                   \
        ON(c, a_batch_gathers_while_another_flushes),                                              \
        ON(c, a_message_that_gathers_is_not_acknowledged_with_another_batch),                      \
        ON(c, a_sender_that_was_refused_sleeps_until_there_is_room),                                              \
        ON(c, reads_are_answered_while_a_flush_is_under_way), ON(c, reads_alone_need_no_flush),    \
        ON(c, a_failed_flush_kills_the_actor_and_acknowledges_nothing),                            \
        ON(c, a_held_message_past_its_deadline_pins_its_lane_no_longer),                          \
        ON(c, a_held_message_pins_its_lane),                                                      \
        ON(c, a_stream_obeys_its_window_and_ends_with_a_reply),                                    \
        ON(c, a_cancelled_stream_stops_and_its_room_comes_back),                                   \
        ON(c, a_stream_whose_asker_died_is_told),                                                  \
        ON(c, timers_fire_in_order_and_cancelled_ones_do_not),                                     \
        ON(c, slow_work_ends_in_a_step_of_the_actor),                                              \
        ON(c, a_watched_descriptor_is_served_until_it_is_forgotten),                               \
        ON(c, sleeping_actors_wake_for_each_message),                                              \
        ON(c, an_actor_that_spins_is_not_rung_for),                                                \
        ON(c, an_actor_whose_spins_are_in_vain_leaves_off),                                        \
        ON(c, a_tiny_lane_between_two_threads_loses_nothing)

int
main(void)
{
    const struct CMUnitTest tests[] = { ALL(on_ring), ALL(on_zmq) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
