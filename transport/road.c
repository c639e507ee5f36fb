/* road.c - both ends of the `zmq` carrier; the protocol is drawn in road.h.
 *
 * One message a frame: a head of 64 bytes, then whole records.  Nothing of a frame is believed before it is
 * checked: who, which generation, which connection, lengths; lane_receive() checks the records.
 *
 * The rule of ZMQ_FD (wire.c): every call on a socket sets `dirty`; draining until EAGAIN clears it.
 */
#include "transport/road.h"

#include "proto/err.h"

#include <errno.h>
#include <stdlib.h>
#include <zmq.h>

enum { FRAME_VERSION = 1, FRAME_BYTES_MAX = 256 * 1024, FRAMES_HWM = 1000, DRAIN_MAX = 4096, IDENTITY_MAX = 64 };
enum { DRAIN_ROUNDS_MAX = 64 };
enum { RECONNECT_MS = 10, RECONNECT_MAX_MS = 200 };
#define FRAME_MAGIC UINT32_C(0x6461726c) /* "lrad" */

enum frame_kind { FRAME_HELLO = 1, FRAME_DATA, FRAME_STATE, FRAME_ACK };

typedef struct frame {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    addr     from; /* of the lane, in both directions */
    uuid     generation;
    uint64_t position; /* HELLO: head.  DATA: of the first record.  STATE: expected. */
    uint64_t acked;    /* STATE, ACK: done with up to.  HELLO: sent up to, perhaps to a predecessor. */
    uint64_t no;       /* HELLO, and the STATE that answers it; 0: unasked */
    uint64_t len;      /* DATA: bytes behind this head */
} frame;
_Static_assert(sizeof(frame) == 64, "layout");

struct road {
    lane        *lane;
    wire_counts *counts;
    void        *dealer;
    uint64_t     epoch;
    uint64_t     sent;
    uint64_t     hello_no;
    uint64_t     hello_sent; /* `sent` when HELLO was said last */
    uint64_t     head_at_tick;
    bool         agreed; /* positions, on this connection */
    bool         dirty;
};

typedef struct gate_edge {
    lane    *lane;
    uint64_t told; /* acknowledged, as the producer knows */
    uint8_t  identity[IDENTITY_MAX];
    size_t   identity_len; /* of the connection that said HELLO last; 0: none did */
    bool     gap_told;
} gate_edge;

struct gate {
    void        *router;
    wire_counts *counts;
    gate_edge   *edges;
    uint32_t     edge_count;
    bool         dirty;
};

static void
set_int(void *socket, int option, int value)
{
    ASSERT(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

static void *
socket_of(void *zmq_ctx, int type)
{
    void *s = zmq_socket(zmq_ctx, type);

    if (s == NULL)
        return NULL;
    set_int(s, ZMQ_LINGER, 0);
    set_int(s, ZMQ_SNDHWM, FRAMES_HWM);
    set_int(s, ZMQ_RCVHWM, FRAMES_HWM);
    set_int(s, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_int(s, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    return s;
}

/* Takes what came to the socket.  A send that is refused may have been so only because libzmq looks for its
 * peer's progress once a millisecond; after this it is really full. */
static int
events_of(void *socket)
{
    int    events = 0;
    size_t len = sizeof events;

    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &len) == 0 ? events : 0;
}

/* The head of a message, checked; false: not one of ours. */
static bool
read_frame(zmq_msg_t *m, frame *f)
{
    size_t len = zmq_msg_size(m);

    if (len < sizeof *f)
        return false;
    memcpy(f, zmq_msg_data(m), sizeof *f);
    return f->magic == FRAME_MAGIC && f->version == FRAME_VERSION && f->len == len - sizeof *f;
}

/* ---- producer ---- */

int
road_open(road **out, lane *l, wire_counts *counts)
{
    road *r = calloc(1, sizeof *r);
    int   rc;

    *out = NULL;
    if (r == NULL)
        return err(E_NOMEM, "road");
    rc = lane_take_consumer(l);
    if (rc < 0) {
        free(r);
        return rc;
    }
    r->lane = l;
    r->counts = counts;
    r->sent = lane_head(l);
    *out = r;
    return E_OK;
}

void
road_close(road **rp)
{
    road *r = *rp;

    if (r == NULL)
        return;
    *rp = NULL;
    if (r->dealer != NULL)
        (void)zmq_close(r->dealer);
    free(r);
}

uint64_t
road_epoch(const road *r)
{
    return r->epoch;
}

void *
road_socket(const road *r)
{
    return r->dealer;
}

bool
road_is_busy(const road *r)
{
    return lane_tail(r->lane) != lane_head(r->lane);
}

static frame
frame_of(const road *r, enum frame_kind kind)
{
    return (frame){ .magic = FRAME_MAGIC, .version = FRAME_VERSION, .kind = (uint16_t)kind,
                    .from = lane_from(r->lane), .generation = *lane_generation(r->lane) };
}

static void
say_hello(road *r)
{
    frame f = frame_of(r, FRAME_HELLO);

    f.position = lane_head(r->lane);
    f.acked = r->sent;
    f.no = r->hello_no + 1;
    r->dirty = true;
    if (zmq_send(r->dealer, &f, sizeof f, ZMQ_DONTWAIT) < 0)
        return; /* the next tick says it */
    r->hello_no++;
    r->hello_sent = r->sent;
}

int
road_connect(road *r, void *zmq_ctx, const char *endpoint, uint64_t epoch)
{
    if (r->dealer != NULL)
        (void)zmq_close(r->dealer);
    r->agreed = false;
    r->epoch = 0;
    r->dealer = socket_of(zmq_ctx, ZMQ_DEALER);
    if (r->dealer == NULL)
        return err_errno(zmq_errno(), "socket");
    if (zmq_connect(r->dealer, endpoint) < 0) {
        int rc = err_errno(zmq_errno(), "connect %s", endpoint);

        (void)zmq_close(r->dealer);
        r->dealer = NULL;
        return rc;
    }
    r->epoch = epoch;
    say_hello(r);
    return E_OK;
}

/* How much of [sent, tail) goes into the next frame: whole records, at least one.  0: the lane is damaged. */
static uint64_t
frame_len(const road *r, uint64_t tail)
{
    uint64_t len = 0;

    if (tail - r->sent <= FRAME_BYTES_MAX)
        return tail - r->sent;
    while (r->sent + len < tail) {
        uint64_t need = envelope_record_len(load_u32(lane_bytes(r->lane, r->sent + len, tail).at));

        if (need > tail - r->sent - len)
            return 0;
        if (len > 0 && len + need > FRAME_BYTES_MAX)
            break;
        len += need;
    }
    return len;
}

static bool
send_records(road *r, uint64_t len)
{
    frame     f = frame_of(r, FRAME_DATA);
    zmq_msg_t m;
    uint8_t  *at;

    f.position = r->sent;
    f.len = len;
    ASSERT(zmq_msg_init_size(&m, sizeof f + len) == 0);
    at = zmq_msg_data(&m);
    memcpy(at, &f, sizeof f);
    memcpy(at + sizeof f, lane_bytes(r->lane, r->sent, r->sent + len).at, len);
    r->dirty = true;
    if (zmq_msg_send(&m, r->dealer, ZMQ_DONTWAIT) < 0) {
        (void)zmq_msg_close(&m);
        return false;
    }
    r->sent += len;
    r->counts->zmq_bytes_out += len;
    return true;
}

void
road_send(road *r)
{
    uint64_t tail = lane_tail(r->lane);

    while (r->agreed && r->sent < tail) {
        uint64_t len = frame_len(r, tail);

        if (len == 0 || !send_records(r, len))
            break;
    }
}

/* The consumer goes on at `expected`: agree with it, or go back to it when what lies behind got lost. */
static void
on_state(road *r, const frame *f)
{
    uint64_t head = lane_head(r->lane);
    uint64_t known = f->no == 0 ? r->sent : r->hello_sent;

    if (f->no != 0 && f->no != r->hello_no)
        return;
    if (f->position < head || f->position > lane_tail(r->lane) || (f->position & 63) != 0)
        return; /* a consumer of an older head hears the next HELLO */
    if (!r->agreed && f->no != 0) {
        r->agreed = true;
        r->counts->zmq_resent += r->sent > f->position ? r->sent - f->position : 0;
        r->sent = f->position;
    } else if (r->agreed && f->position < known && f->position < r->sent) {
        r->counts->zmq_resent += r->sent - f->position;
        r->sent = f->position;
    }
}

static bool
on_answer(road *r, const frame *f)
{
    uint64_t head = lane_head(r->lane);

    if (f->from != lane_from(r->lane) || !uuid_eq(&f->generation, lane_generation(r->lane)))
        return false;
    if (f->kind != FRAME_STATE && f->kind != FRAME_ACK)
        return false;
    (void)lane_confirm(r->lane, f->acked);
    if (r->sent < lane_head(r->lane))
        r->sent = lane_head(r->lane);
    if (f->kind == FRAME_STATE)
        on_state(r, f);
    return lane_head(r->lane) != head;
}

/* Takes answers until there are none: only that clears `dirty`. */
static bool
take_answers(road *r)
{
    bool news = false;

    r->dirty = true;
    for (int i = 0; i < DRAIN_MAX; i++) {
        zmq_msg_t m;
        frame     f;
        bool      got;

        (void)zmq_msg_init(&m);
        got = zmq_msg_recv(&m, r->dealer, ZMQ_DONTWAIT) >= 0;
        if (got && read_frame(&m, &f) && on_answer(r, &f))
            news = true;
        if (!got)
            r->dirty = zmq_errno() != EAGAIN;
        (void)zmq_msg_close(&m);
        if (!got)
            break;
    }
    return news;
}

bool
road_drain(road *r, bool ready)
{
    bool news = false;

    if (r->dealer == NULL || !(ready || r->dirty))
        return false;
    for (int round = 0; round < DRAIN_ROUNDS_MAX; round++) {
        bool waits;
        int  events;

        news |= take_answers(r);
        road_send(r); /* what an answer allowed */
        if (!r->dirty)
            break;
        events = events_of(r->dealer);
        waits = r->agreed && r->sent < lane_tail(r->lane);
        r->dirty = (events & ZMQ_POLLIN) != 0 || ((events & ZMQ_POLLOUT) != 0 && waits);
        if (!r->dirty)
            break;
    }
    return news;
}

void
road_tick(road *r)
{
    uint64_t head = lane_head(r->lane);

    if (r->dealer != NULL && road_is_busy(r) && (head == r->head_at_tick || !r->agreed))
        say_hello(r);
    r->head_at_tick = head;
}

/* ---- consumer ---- */

int
gate_open(gate **out, void *zmq_ctx, wire_counts *counts)
{
    gate *g = calloc(1, sizeof *g);

    *out = NULL;
    if (g == NULL)
        return err(E_NOMEM, "gate");
    g->counts = counts;
    g->router = socket_of(zmq_ctx, ZMQ_ROUTER);
    if (g->router == NULL) {
        free(g);
        return err_errno(zmq_errno(), "socket");
    }
    set_int(g->router, ZMQ_ROUTER_MANDATORY, 1);
    g->dirty = true;
    *out = g;
    return E_OK;
}

void
gate_close(gate **gp)
{
    gate *g = *gp;

    if (g == NULL)
        return;
    *gp = NULL;
    (void)zmq_close(g->router);
    free(g->edges);
    free(g);
}

void *
gate_socket(const gate *g)
{
    return g->router;
}

void
gate_touched(gate *g)
{
    g->dirty = true;
}

int
gate_add(gate *g, lane *l)
{
    gate_edge *grown = realloc(g->edges, (g->edge_count + 1) * sizeof *grown);

    if (grown == NULL)
        return err(E_NOMEM, "gate");
    g->edges = grown;
    grown[g->edge_count] = (gate_edge){ .lane = l };
    return (int)g->edge_count++;
}

/* False: not now; a later HELLO is answered. */
static bool
answer(gate *g, gate_edge *e, enum frame_kind kind, uint64_t no)
{
    frame f = { .magic = FRAME_MAGIC, .version = FRAME_VERSION, .kind = (uint16_t)kind, .from = lane_from(e->lane),
                .generation = *lane_generation(e->lane), .position = lane_tail(e->lane),
                .acked = lane_head(e->lane), .no = no };

    if (e->identity_len == 0)
        return false;
    g->dirty = true;
    if (zmq_send(g->router, e->identity, e->identity_len, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 &&
        (zmq_errno() != EAGAIN || events_of(g->router) < 0 ||
         zmq_send(g->router, e->identity, e->identity_len, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0))
        return false;
    if (zmq_send(g->router, &f, sizeof f, ZMQ_DONTWAIT) < 0)
        return false;
    e->told = f.acked;
    return true;
}

void
gate_acked(gate *g, uint32_t number)
{
    ASSERT(number < g->edge_count);
    if (lane_head(g->edges[number].lane) != g->edges[number].told)
        (void)answer(g, &g->edges[number], FRAME_ACK, 0);
}

/* A producer came, or asks.  A lane with nothing in it goes where the producer is: what lies between was
 * acknowledged by our predecessor.  One with something in it waits until that is done with. */
static void
on_hello(gate *g, gate_edge *e, const frame *f)
{
    bool same = uuid_eq(&f->generation, lane_generation(e->lane));

    if ((f->position & 63) != 0)
        return;
    if (!same || f->position > lane_tail(e->lane)) {
        if (lane_head(e->lane) != lane_tail(e->lane))
            return;
        lane_restart(e->lane, f->position, f->acked, &f->generation);
    }
    e->gap_told = false;
    (void)answer(g, e, FRAME_STATE, f->no);
}

static bool
on_data(gate *g, gate_edge *e, const frame *f, view records)
{
    uint64_t expected = lane_tail(e->lane);
    int      rc;

    if (!uuid_eq(&f->generation, lane_generation(e->lane)))
        return false;
    if (f->position > expected) {
        if (!e->gap_told)
            e->gap_told = answer(g, e, FRAME_STATE, 0);
        return false;
    }
    if (expected - f->position >= records.len)
        return false; /* has it all */
    records = view_of(records.at + (expected - f->position), records.len - (expected - f->position));
    rc = lane_receive(e->lane, expected, records);
    if (rc < 0) {
        err_clear();
        return false;
    }
    e->gap_told = false;
    g->counts->zmq_bytes_in += records.len;
    return true;
}

static gate_edge *
edge_of(gate *g, addr from)
{
    for (uint32_t i = 0; i < g->edge_count; i++)
        if (lane_from(g->edges[i].lane) == from)
            return &g->edges[i];
    return NULL;
}

static bool
on_frame(gate *g, zmq_msg_t *identity, zmq_msg_t *m)
{
    size_t     id_len = zmq_msg_size(identity);
    gate_edge *e;
    frame      f;

    if (id_len > IDENTITY_MAX || !read_frame(m, &f) || (e = edge_of(g, f.from)) == NULL)
        return false;
    if (f.kind == FRAME_HELLO) {
        memcpy(e->identity, zmq_msg_data(identity), id_len);
        e->identity_len = id_len;
        on_hello(g, e, &f);
        return false;
    }
    if (f.kind != FRAME_DATA || id_len != e->identity_len ||
        memcmp(e->identity, zmq_msg_data(identity), id_len) != 0)
        return false; /* of a producer that has a successor */
    return on_data(g, e, &f, view_of((const uint8_t *)zmq_msg_data(m) + sizeof f, f.len));
}

bool
gate_drain(gate *g, bool ready)
{
    bool news = false;

    if (!ready && !g->dirty)
        return false;
    g->dirty = true;
    for (int i = 0; i < DRAIN_MAX && g->dirty; i++) {
        zmq_msg_t part[2];

        (void)zmq_msg_init(&part[0]);
        (void)zmq_msg_init(&part[1]);
        if (zmq_msg_recv(&part[0], g->router, ZMQ_DONTWAIT) < 0) {
            g->dirty = zmq_errno() != EAGAIN;
        } else if (zmq_msg_more(&part[0]) && zmq_msg_recv(&part[1], g->router, ZMQ_DONTWAIT) >= 0) {
            bool more = zmq_msg_more(&part[1]);

            if (!more && on_frame(g, &part[0], &part[1]))
                news = true;
            while (more && zmq_msg_recv(&part[1], g->router, ZMQ_DONTWAIT) >= 0)
                more = zmq_msg_more(&part[1]);
        }
        (void)zmq_msg_close(&part[0]);
        (void)zmq_msg_close(&part[1]);
    }
    return news;
}
