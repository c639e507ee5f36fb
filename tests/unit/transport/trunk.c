#include "transport/trunk.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "transport/trunk_frame.h"
#include "transport/trust.h"
#include "transport/wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <zmq.h>

enum { CAP = 65536, PATIENCE_MS = 30000, RECORD = 128 };

static const addr  a = (addr)KIND_FRONT << 32;
static const addr  b = (addr)KIND_INGEST << 32;
static const addr  links = (addr)KIND_WORKER << 32; /* any address: the links' own */
static const uuid  generation = { { 3, 1, 4 } };

static unsigned    keys_made;

/* A node: its own context, run directory and key; one actor with one lane each way. */
typedef struct host {
    void        *ctx;
    char         dir[128];
    trust_pair   key;
    trunk_peer   peer;
    char         listen[64];
    addr         me, other;
    wire        *link_wire; /* the link actor's: its slot and epoch */
    trunk       *t;
    wire        *w;
    lane        *out, *in;
    int          out_edge, in_edge;
    uint32_t     begun, heard, last;
    bool         refuse;
    uint32_t     to_say;
} host;

static uint64_t
now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int
free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          len = sizeof at;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    (void)close(fd);
    return ntohs(at.sin_port);
}

/* ---- the calls of a trunk ---- */

static int
whose(void *ctx, addr who, bool *same_process)
{
    const host *h = ctx;

    *same_process = true;
    return who == h->me ? TRUNK_HERE : who == h->other ? 0 : TRUNK_NOBODY;
}

static bool
meet(void *ctx, uint32_t peer, view card)
{
    (void)peer;
    return !((host *)ctx)->refuse && view_eq(card, VIEW_LIT("card"));
}

static void
heard(void *ctx, uint32_t peer, view word)
{
    host *h = ctx;

    (void)peer;
    CHECK_EQ(word.len, 4);
    h->last = load_u32(word.at);
    h->heard++;
}

static void
begin(void *ctx, uint32_t peer)
{
    (void)peer;
    ((host *)ctx)->begun++;
}

static bool
say(void *ctx, uint32_t peer)
{
    host *h = ctx;

    while (h->to_say > 0) {
        if (!trunk_say(h->t, peer, view_of((const uint8_t *)&h->to_say, 4)))
            return false;
        h->to_say--;
    }
    return true;
}

/* ---- hosts ---- */

static void
open_trunk(host *h)
{
    trunk_spec s = { .zmq_ctx = h->ctx, .run_dir = h->dir, .self = links, .listen = h->listen,
                     .own = &h->key, .peers = &h->peer, .peer_count = 1, .card = VIEW_LIT("card"),
                     .calls = { h, whose, meet, heard, begin, say } };

    CHECK_OK(wire_open(&h->link_wire, h->ctx, h->dir, links));
    s.epoch = wire_epoch(h->link_wire);
    for (int i = 0; trunk_open(&h->t, &s) < 0; i++) { /* libzmq closes a predecessor's listener when it likes */
        CHECK(i < 2000);
        err_clear();
        (void)poll(NULL, 0, 1);
    }
}

static void
close_trunk(host *h)
{
    trunk_close(&h->t);
    wire_close(&h->link_wire);
}

static void
open_actor(host *h)
{
    char path[160];

    (void)snprintf(path, sizeof path, "%s/out", h->dir);
    CHECK_OK(wire_open(&h->w, h->ctx, h->dir, h->me));
    CHECK_OK(lane_open(&h->out, path, LANE_PRODUCER));
    CHECK_OK(h->out_edge = wire_add_out_far(h->w, h->out, links, true));
    CHECK_OK(h->in_edge = wire_add_in_far(h->w, &h->in, h->other, links, true, CAP));
}

static void
close_actor(host *h)
{
    wire_close(&h->w);
    lane_close(&h->out);
    lane_close(&h->in);
}

static void
new_lane(host *h)
{
    char path[160];

    (void)snprintf(path, sizeof path, "%s/out", h->dir);
    CHECK_OK(lane_create(path, CAP, h->me, h->other, &generation));
}

static void
make_host(host *h, const char *name, addr me, addr other)
{
    char path[160];

    *h = (host){ .me = me, .other = other, .ctx = wire_context() };
    (void)snprintf(h->dir, sizeof h->dir, "%s/%s", scratch_dir(), name);
    (void)mkdir(h->dir, 0700);
    (void)snprintf(h->listen, sizeof h->listen, "tcp://127.0.0.1:%d", free_port());
    (void)snprintf(path, sizeof path, "%s/key.%u", h->dir, keys_made++);
    CHECK_OK(trust_make(path, &h->key));
    CHECK_OK(wire_slot_create(h->dir, links));
    CHECK_OK(wire_slot_create(h->dir, me));
    new_lane(h);
}

static void
introduce(host *h, const host *to)
{
    (void)snprintf(h->peer.name, sizeof h->peer.name, "other");
    (void)snprintf(h->peer.endpoint, sizeof h->peer.endpoint, "%s", to->listen);
    memcpy(h->peer.key, to->key.public, TRUST_KEY_LEN);
}

static void
end_host(host *h)
{
    if (h->w != NULL)
        close_actor(h);
    if (h->t != NULL)
        close_trunk(h);
    wire_context_close(h->ctx);
}

static void
turn(host *h)
{
    if (h->t != NULL) {
        (void)trunk_pump(h->t);
        (void)trunk_tick(h->t);
    }
    if (h->w != NULL)
        (void)wire_pump(h->w);
}

#define UNTIL(x, y, cond)                                                                          \
    do {                                                                                           \
        uint64_t until_ = now_ms() + PATIENCE_MS;                                                  \
                                                                                                   \
        while (!(cond)) {                                                                          \
            turn(x);                                                                               \
            turn(y);                                                                               \
            (void)poll(NULL, 0, 1);                                                                \
            if (now_ms() > until_)                                                                 \
                fail_msg("never: %s", #cond);                                                      \
        }                                                                                          \
    } while (0)

static void
both_up(host *x, host *y)
{
    make_host(x, "x", a, b);
    make_host(y, "y", b, a);
    introduce(x, y);
    introduce(y, x);
    open_trunk(x);
    open_trunk(y);
    UNTIL(x, y, trunk_is_up(x->t, 0) && trunk_is_up(y->t, 0));
}

static void
put(host *h, uint64_t no)
{
    envelope e = { .len = 8, .corr = no, .type = 1 };

    CHECK_OK(lane_put(h->out, &e, &no));
    (void)lane_publish(h->out);
    wire_kick(h->w, h->out_edge);
}

/* The next message; done with. */
static bool
take(host *h, uint64_t *no)
{
    uint64_t    pos, end;
    envelope    e;
    int         rc;
    const void *body = lane_peek(h->in, &e, &pos, &end, &rc);

    if (body == NULL)
        return false;
    memcpy(no, body, sizeof *no);
    CHECK_EQ(e.corr, *no);
    lane_advance(h->in, end);
    wire_acked(h->w, h->in_edge, lane_ack(h->in, end));
    return true;
}

static bool
took_all(host *h, uint64_t *next, uint64_t all)
{
    uint64_t no;

    while (take(h, &no))
        CHECK_EQ(no, (*next)++);
    return *next == all;
}

/* ---- tests ---- */

static void
words_arrive_in_order_and_a_session_is_begun_once(void **state)
{
    host x, y;

    (void)state;
    both_up(&x, &y);
    x.to_say = 1000;
    UNTIL(&x, &y, y.heard == 1000);
    CHECK_EQ(y.last, 1);
    CHECK_EQ(x.begun, 1);
    CHECK_EQ(trunk_count(y.t)->bad, 0);
    end_host(&x);
    end_host(&y);
}

static void
messages_reach_an_actor_of_the_other_host_and_are_acknowledged(void **state)
{
    host     x, y;
    uint64_t no, next = 0;

    (void)state;
    both_up(&x, &y);
    open_actor(&x);
    open_actor(&y);
    for (uint64_t i = 0; i < 300; i++)
        put(&x, i);
    UNTIL(&x, &y, took_all(&y, &next, 300));
    UNTIL(&x, &y, lane_head(x.out) == lane_tail(x.out));
    CHECK(!take(&y, &no));
    end_host(&x);
    end_host(&y);
}

static void
what_is_to_be_known_before_a_frame_is_said_before_it(void **state)
{
    host     x, y;
    uint64_t no;

    (void)state;
    both_up(&x, &y);
    open_actor(&x);
    open_actor(&y);
    put(&x, 0);
    UNTIL(&x, &y, take(&y, &no));
    x.to_say = 500;
    put(&x, 1);
    UNTIL(&x, &y, take(&y, &no));
    CHECK_EQ(y.heard, 500);
    end_host(&x);
    end_host(&y);
}

/* A link that is killed while messages are under way: the lanes hold them. */
static void
a_killed_link_loses_nothing_and_repeats_nothing(void **state)
{
    host     x, y;
    uint64_t no, next = 0, sent = 0;

    (void)state;
    both_up(&x, &y);
    open_actor(&x);
    open_actor(&y);
    for (int life = 0; life < 60; life++) {
        host *victim = life % 2 == 0 ? &x : &y;

        while (sent < 50u * (uint64_t)(life + 1)) {
            put(&x, sent++);
            if (sent % 7 == 0) {
                turn(&x);
                turn(&y);
            }
            if (take(&y, &no))
                CHECK_EQ(no, next++);
        }
        close_trunk(victim);
        open_trunk(victim);
        UNTIL(&x, &y, took_all(&y, &next, sent));
    }
    CHECK_EQ(next, sent);
    UNTIL(&x, &y, lane_head(x.out) == lane_tail(x.out));
    CHECK(!take(&y, &no));
    end_host(&x);
    end_host(&y);
}

/* The producer's host begins anew: other lanes, other generation, positions from zero. */
static void
a_producer_of_a_new_generation_is_heard_once_the_old_one_is_done_with(void **state)
{
    host     x, y;
    uint64_t no = 0;
    char     path[160];

    (void)state;
    both_up(&x, &y);
    open_actor(&x);
    open_actor(&y);
    for (uint64_t i = 0; i < 10; i++)
        put(&x, i);
    UNTIL(&x, &y, take(&y, &no) && no == 9);
    close_actor(&x);
    (void)snprintf(path, sizeof path, "%s/out", x.dir);
    CHECK_OK(lane_create(path, CAP, a, b, &(uuid){ { 9, 9 } }));
    open_actor(&x);
    put(&x, 77);
    UNTIL(&x, &y, take(&y, &no));
    CHECK_EQ(no, 77);
    CHECK(uuid_eq(lane_generation(y.in), &(uuid){ { 9, 9 } }));
    end_host(&x);
    end_host(&y);
}

static void
a_key_that_is_not_on_the_list_is_refused(void **state)
{
    host x, y, stranger;

    (void)state;
    both_up(&x, &y);
    make_host(&stranger, "z", a, b);
    introduce(&stranger, &y); /* it knows y's key and address; y does not know its key */
    open_trunk(&stranger);
    UNTIL(&stranger, &y, trunk_count(y.t)->refused > 0);
    CHECK(!trunk_is_up(stranger.t, 0));
    CHECK_EQ(stranger.begun, 0);
    CHECK_EQ(trunk_count(y.t)->bad, 0); /* nothing of it was even read */
    end_host(&stranger);
    end_host(&x);
    end_host(&y);
}

/* y's key is another than x was told: somebody else sits at y's address. */
static void
a_server_with_another_key_is_not_spoken_to(void **state)
{
    host x, y;

    (void)state;
    make_host(&x, "x", a, b);
    make_host(&y, "y", b, a);
    introduce(&x, &y);
    introduce(&y, &x);
    x.peer.key[5] ^= 1;
    open_trunk(&x);
    open_trunk(&y);
    for (int i = 0; i < 300; i++) {
        turn(&x);
        turn(&y);
        (void)poll(NULL, 0, 1);
    }
    CHECK_EQ(x.begun, 0);
    CHECK(!trunk_is_up(x.t, 0) && !trunk_is_up(y.t, 0));
    end_host(&x);
    end_host(&y);
}

static void
a_peer_whose_card_is_refused_is_not_heard(void **state)
{
    host x, y;

    (void)state;
    make_host(&x, "x", a, b);
    make_host(&y, "y", b, a);
    introduce(&x, &y);
    introduce(&y, &x);
    y.refuse = true;
    x.to_say = 10;
    open_trunk(&x);
    open_trunk(&y);
    UNTIL(&x, &y, trunk_count(y.t)->bad > 0);
    CHECK_EQ(y.heard, 0);
    CHECK(!trunk_is_up(y.t, 0));
    end_host(&x);
    end_host(&y);
}

static int
visit(const host *h)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    at.sin_port = htons((uint16_t)atoi(strrchr(h->listen, ':') + 1));
    CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void
garbage_of_a_stranger_disturbs_nobody(void **state)
{
    static const uint8_t greeting[] = { 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'C', 'U', 'R', 'V', 'E' };
    host                 x, y;
    uint64_t             no, next = 0;
    uint8_t              noise[4096];

    (void)state;
    both_up(&x, &y);
    open_actor(&x);
    open_actor(&y);
    for (int i = 0; i < 40; i++) {
        int fd = visit(&y);

        for (size_t j = 0; j < sizeof noise; j++)
            noise[j] = (uint8_t)((j * 2654435761u + (size_t)i * 40503u) >> 7);
        if (i % 2 == 0)
            (void)!write(fd, greeting, sizeof greeting); /* the noise comes in the middle of a handshake */
        (void)!send(fd, noise, sizeof noise, MSG_NOSIGNAL);
        put(&x, (uint64_t)i);
        UNTIL(&x, &y, take(&y, &no));
        CHECK_EQ(no, next++);
        (void)close(fd);
    }
    CHECK(trunk_is_up(x.t, 0) && trunk_is_up(y.t, 0));
    CHECK_EQ(x.begun, 1);
    end_host(&x);
    end_host(&y);
}

/* With a key that is on the list: a peer gone mad.  It harms its own session at most. */
static void
garbage_of_a_peer_is_counted_and_survived(void **state)
{
    host     x, y;
    void    *mad;
    uint8_t  noise[600];
    uint64_t no = 0;

    (void)state;
    both_up(&x, &y);
    open_actor(&x);
    open_actor(&y);
    mad = zmq_socket(x.ctx, ZMQ_PUSH);
    trust_visit(mad, &x.key, y.key.public);
    CHECK_EQ(zmq_connect(mad, y.listen), 0);
    for (size_t i = 0; i < 200; i++) {
        trunk_head h = { .magic = TRUNK_MAGIC, .version = TRUNK_VERSION, .kind = (uint16_t)(i % 9), .session = i, .no = i };

        for (size_t j = 0; j < sizeof noise; j++)
            noise[j] = (uint8_t)((j * 2654435761u + i * 40503u) >> 9);
        if (i % 3 == 0)
            CHECK(zmq_send(mad, noise, i * 3, ZMQ_SNDMORE) >= 0);
        CHECK(zmq_send(mad, &h, i % 2 == 0 ? sizeof h : i % sizeof h, i % 5 == 0 ? 0 : ZMQ_SNDMORE) >= 0);
        if (i % 5 != 0)
            CHECK(zmq_send(mad, noise, (i * 7) % sizeof noise, 0) >= 0);
        turn(&x);
        turn(&y);
    }
    UNTIL(&x, &y, trunk_count(y.t)->bad > 50);
    {
        int none = 0;

        CHECK_EQ(zmq_setsockopt(mad, ZMQ_LINGER, &none, sizeof none), 0);
        (void)zmq_close(mad);
    }
    put(&x, 5);
    UNTIL(&x, &y, take(&y, &no));
    CHECK_EQ(no, 5);
    end_host(&x);
    end_host(&y);
}

/* ---- key files ---- */

static void
a_key_file_is_private_and_never_overwritten(void **state)
{
    char        path[160], beside[168], text[TRUST_TEXT_LEN + 1];
    trust_pair  made, read;
    struct stat st;
    FILE       *f;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/node.key", scratch_dir());
    (void)snprintf(beside, sizeof beside, "%s.pub", path);
    CHECK_OK(trust_make(path, &made));
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
    CHECK_OK(trust_load(path, &read));
    CHECK_EQ(memcmp(&made, &read, sizeof made), 0);
    CHECK_EQ(trust_make(path, &read), E_EXISTS);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(trust_make(path, &read), E_EXISTS); /* its public half is there; nothing half is left */
    CHECK_EQ(stat(path, &st), -1);
    f = fopen(beside, "r");
    CHECK(f != NULL && fgets(text, sizeof text, f) != NULL);
    (void)fclose(f);
    CHECK(trust_parse(view_str(text), read.public));
    CHECK_EQ(memcmp(read.public, made.public, TRUST_KEY_LEN), 0);
}

static void
what_is_no_key_file_is_refused(void **state)
{
    char       path[160];
    trust_pair p;
    FILE      *f;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/k", scratch_dir());
    CHECK_OK(trust_make(path, &p));
    CHECK_EQ(chmod(path, 0640), 0);
    CHECK_EQ(trust_load(path, &p), E_PERM);
    CHECK_EQ(chmod(path, 0600), 0);
    f = fopen(path, "r+");
    CHECK(f != NULL);
    (void)fputs("public 00", f); /* the halves do not belong together any more */
    (void)fclose(f);
    CHECK_EQ(trust_load(path, &p), E_CONFIG);
    f = fopen(path, "w");
    (void)fputs("public ", f);
    (void)fclose(f);
    CHECK_EQ(trust_load(path, &p), E_CONFIG);
    CHECK(trust_load("/nonexistent/key", &p) < 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_arrive_in_order_and_a_session_is_begun_once),
        TEST(messages_reach_an_actor_of_the_other_host_and_are_acknowledged),
        TEST(what_is_to_be_known_before_a_frame_is_said_before_it),
        TEST(a_killed_link_loses_nothing_and_repeats_nothing),
        TEST(a_producer_of_a_new_generation_is_heard_once_the_old_one_is_done_with),
        TEST(a_key_that_is_not_on_the_list_is_refused),
        TEST(a_server_with_another_key_is_not_spoken_to),
        TEST(a_peer_whose_card_is_refused_is_not_heard),
        TEST(garbage_of_a_stranger_disturbs_nobody),
        TEST(garbage_of_a_peer_is_counted_and_survived),
        TEST(a_key_file_is_private_and_never_overwritten),
        TEST(what_is_no_key_file_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
