#include "transport/road.h"
#include "tests/unit/check.h"
#include "transport/frame.h"
#include "transport/gate.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { CAP = 65536, CELL = 128 }; /* a record: envelope and 8 bytes of body */

static const uuid  generation = { { 4, 5, 6 } };
static const addr  from = (addr)KIND_FRONT << 32;
static const addr  to = (addr)KIND_INGEST << 32;
static wire_counts counts;
static uint8_t     records[64 * CELL];

/* A gate with one edge, and a producer that we play by hand. */
typedef struct scene {
    void *ctx;
    gate *g;
    lane *in;
    void *dealer;
} scene;

static scene
set_scene(void)
{
    scene s = { .ctx = zmq_ctx_new() };
    int   none = 0;

    CHECK_OK(gate_open(&s.g, s.ctx, &counts));
    CHECK_OK(lane_make_private(&s.in, CAP, from, to, 0));
    CHECK_OK(gate_add(s.g, s.in));
    CHECK_EQ(zmq_bind(gate_socket(s.g), "inproc://gate"), 0);
    gate_touched(s.g);
    s.dealer = zmq_socket(s.ctx, ZMQ_DEALER);
    CHECK_EQ(zmq_setsockopt(s.dealer, ZMQ_LINGER, &none, sizeof none), 0);
    CHECK_EQ(zmq_connect(s.dealer, "inproc://gate"), 0);
    for (uint64_t i = 0; i < 64; i++) {
        envelope e = { .len = 8, .corr = i };

        memcpy(records + i * CELL, &e, sizeof e);
        memcpy(records + i * CELL + 64, &i, sizeof i);
    }
    return s;
}

static void
end_scene(scene *s)
{
    (void)zmq_close(s->dealer);
    gate_close(&s->g);
    lane_close(&s->in);
    CHECK_EQ(zmq_ctx_term(s->ctx), 0);
}

static void
tell_len(scene *s, frame f, const void *bytes, uint64_t len)
{
    uint8_t message[sizeof f + sizeof records];

    f.magic = FRAME_MAGIC;
    f.version = FRAME_VERSION;
    f.from = from;
    f.generation = generation;
    f.len = len;
    memcpy(message, &f, sizeof f);
    if (len > 0)
        memcpy(message + sizeof f, bytes, len);
    CHECK(zmq_send(s->dealer, message, sizeof f + len, 0) >= 0);
    (void)gate_drain(s->g, true);
}

static void
hello(scene *s, uint64_t head, uint64_t no)
{
    tell_len(s, (frame){ .kind = FRAME_HELLO, .position = head, .no = no }, NULL, 0);
}

/* Records first..last-1 at their positions. */
static void
data(scene *s, uint64_t first, uint64_t last)
{
    tell_len(s, (frame){ .kind = FRAME_DATA, .position = first * CELL }, records + first * CELL,
             (last - first) * CELL);
}

static bool
answered(scene *s, frame *f)
{
    return zmq_recv(s->dealer, f, sizeof *f, ZMQ_DONTWAIT) == (int)sizeof *f;
}

static void
records_before_a_hello_are_not_taken(void **state)
{
    scene s = set_scene();
    frame f;

    (void)state;
    data(&s, 0, 3);
    CHECK_EQ(lane_tail(s.in), 0);
    CHECK(!answered(&s, &f));
    end_scene(&s);
}

static void
a_new_consumer_starts_at_the_producers_head(void **state)
{
    scene s = set_scene();
    frame f;

    (void)state;
    hello(&s, 10 * CELL, 1);
    CHECK(answered(&s, &f));
    CHECK_EQ(f.kind, FRAME_STATE);
    CHECK_EQ(f.position, 10 * CELL);
    CHECK_EQ(f.no, 1);
    data(&s, 10, 12);
    CHECK_EQ(lane_tail(s.in), 12 * CELL);
    hello(&s, 20 * CELL, 2); /* has unread records: those first */
    CHECK(answered(&s, &f) == false);
    CHECK_EQ(lane_tail(s.in), 12 * CELL);
    end_scene(&s);
}

static void
a_gap_is_asked_for_once_and_what_is_there_is_dropped(void **state)
{
    scene s = set_scene();
    frame f;

    (void)state;
    hello(&s, 0, 1);
    CHECK(answered(&s, &f));
    data(&s, 0, 2);
    data(&s, 4, 6); /* 2 and 3 got lost */
    data(&s, 6, 8);
    CHECK(answered(&s, &f));
    CHECK_EQ(f.kind, FRAME_STATE);
    CHECK_EQ(f.position, 2 * CELL);
    CHECK_EQ(f.no, 0);
    CHECK(!answered(&s, &f));
    data(&s, 1, 5); /* overlaps */
    data(&s, 0, 5); /* nothing new */
    data(&s, 5, 8);
    CHECK_EQ(lane_tail(s.in), 8 * CELL);
    for (uint64_t i = 0; i < 8; i++) {
        envelope    e;
        uint64_t    pos;
        uint64_t    end;
        int         rc;
        const void *body = lane_peek(s.in, &e, &pos, &end, &rc);

        CHECK(body != NULL && load_u64(body) == i && pos == i * CELL);
        lane_advance(s.in, end);
    }
    (void)lane_ack(s.in, 8 * CELL);
    gate_acked(s.g, 0);
    CHECK(answered(&s, &f));
    CHECK_EQ(f.kind, FRAME_ACK);
    CHECK_EQ(f.acked, 8 * CELL);
    end_scene(&s);
}

static void
a_successor_of_the_producer_is_listened_to_alone(void **state)
{
    scene s = set_scene();
    void *old = s.dealer;
    int   none = 0;
    frame f;

    (void)state;
    hello(&s, 0, 1);
    s.dealer = zmq_socket(s.ctx, ZMQ_DEALER);
    CHECK_EQ(zmq_setsockopt(s.dealer, ZMQ_LINGER, &none, sizeof none), 0);
    CHECK_EQ(zmq_connect(s.dealer, "inproc://gate"), 0);
    hello(&s, 0, 1);
    CHECK(answered(&s, &f));
    data(&s, 0, 1);
    {
        scene dead = s;

        dead.dealer = old;
        data(&dead, 1, 3);
    }
    CHECK_EQ(lane_tail(s.in), CELL);
    (void)zmq_close(old);
    end_scene(&s);
}

/* Half-right frames: every field at random, now and then right. */
static void
no_frame_does_harm(void **state)
{
    scene    s = set_scene();
    frame    f;
    unsigned seed = 7;

    (void)state;
    hello(&s, 0, 1);
    for (int i = 0; i < 20000; i++) {
        uint8_t  message[sizeof f + sizeof records];
        uint64_t len = (uint64_t)rand_r(&seed) % (sizeof message + 1);

        memcpy(message + sizeof f, records, sizeof records);
        f = (frame){
            .magic = FRAME_MAGIC, .version = FRAME_VERSION, .from = from, .len = len - sizeof f
        };
        f.kind = (uint16_t)(rand_r(&seed) % 6);
        f.generation = rand_r(&seed) % 8 == 0 ? (uuid){ { 1 } } : generation;
        f.position =
            (uint64_t)rand_r(&seed) % 9 == 0 ? lane_tail(s.in) : (uint64_t)rand_r(&seed) << 33;
        f.no = (uint64_t)rand_r(&seed);
        memcpy(message, &f, sizeof f);
        for (int n = rand_r(&seed) % 4; n > 0; n--)
            message[(unsigned)rand_r(&seed) % sizeof message] = (uint8_t)rand_r(&seed);
        CHECK(zmq_send(s.dealer, message, len, 0) >= 0);
        (void)gate_drain(s.g, true);
        while (zmq_recv(s.dealer, message, sizeof message, ZMQ_DONTWAIT) >= 0)
            ;
        CHECK(lane_tail(s.in) - lane_head(s.in) <= CAP);
    }
    end_scene(&s);
}

static void *
gate_for_road(void *ctx)
{
    void *router = zmq_socket(ctx, ZMQ_ROUTER);
    int   none = 0;

    CHECK_EQ(zmq_setsockopt(router, ZMQ_LINGER, &none, sizeof none), 0);
    CHECK_EQ(zmq_bind(router, "inproc://far"), 0);
    return router;
}

/* The other way round: a road, and answers that we make up. */
static void
no_answer_moves_head_past_what_was_published(void **state)
{
    void    *ctx = zmq_ctx_new();
    void    *router = gate_for_road(ctx);
    lane    *out;
    road    *r;
    envelope e = { .len = 8 };
    uint8_t  id[64];
    frame    f;
    int      id_len;
    unsigned seed = 3;

    (void)state;
    CHECK_OK(lane_make_private(&out, CAP, from, to, 0));
    lane_restart(out, 0, 0, &generation);
    CHECK_OK(road_open(&r, out, &counts));
    CHECK_OK(road_connect(r, ctx, "inproc://far", 1));
    for (uint64_t i = 0; i < 8; i++)
        CHECK_OK(lane_put(out, &e, &i));
    CHECK(lane_publish(out));
    road_send(r);
    id_len = zmq_recv(router, id, sizeof id, 0);
    CHECK(id_len > 0 && zmq_recv(router, &f, sizeof f, 0) == (int)sizeof f);
    CHECK_EQ(f.kind, FRAME_HELLO);
    for (int i = 0; i < 20000; i++) {
        uint64_t tail = lane_tail(out);

        f.kind = rand_r(&seed) % 2 == 0 ? FRAME_STATE : FRAME_ACK;
        f.acked = (uint64_t)rand_r(&seed) * 64;
        f.position = rand_r(&seed) % 3 == 0 ? lane_tail(out) : (uint64_t)rand_r(&seed);
        f.no = (uint64_t)rand_r(&seed) % 3;
        CHECK(zmq_send(router, id, (size_t)id_len, ZMQ_SNDMORE) >= 0);
        CHECK(zmq_send(router, &f, sizeof f, 0) >= 0);
        (void)road_drain(r, true);
        CHECK(lane_head(out) <= tail && lane_tail(out) == tail);
        while (zmq_recv(router, id + 32, 32, ZMQ_DONTWAIT) >= 0)
            ;
    }
    road_close(&r);
    lane_close(&out);
    (void)zmq_close(router);
    CHECK_EQ(zmq_ctx_term(ctx), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_before_a_hello_are_not_taken),
        TEST(a_new_consumer_starts_at_the_producers_head),
        TEST(a_gap_is_asked_for_once_and_what_is_there_is_dropped),
        TEST(a_successor_of_the_producer_is_listened_to_alone),
        TEST(no_frame_does_harm),
        TEST(no_answer_moves_head_past_what_was_published),
    };

    return cmocka_run_group_tests_name("transport/road", tests, NULL, NULL);
}
