/* gate.c - the receiving end of the `zmq` carrier: one ROUTER for all of an actor's inbound edges;
 * the protocol is drawn in road.h.
 *
 * The rule of ZMQ_FD (wire.c): every call on the socket sets `dirty`; draining until EAGAIN clears
 * it.
 */
#include "transport/gate.h"
#include "transport/frame.h"

#include "proto/err.h"
#include "proto/world.h"

#include <stdlib.h>

enum { IDENTITY_MAX = 64 };

typedef struct gate_edge {
    lane    *lane;
    uint64_t told; /* acknowledged, as the producer knows */
    uint8_t  identity[IDENTITY_MAX];
    size_t   identity_len; /* of the connection that said HELLO last; 0: none did */
    bool     gap_told;
    bool     far;
} gate_edge;

struct gate {
    void        *router;
    wire_counts *counts;
    gate_edge   *edges;
    uint32_t     edge_count;
    bool         dirty;
};

int
gate_open(gate **out, void *zmq_ctx, wire_counts *counts)
{
    gate *g = calloc(1, sizeof *g);

    *out = NULL;
    if (g == NULL)
        return err(E_NOMEM, "gate");
    g->counts = counts;
    g->router = frame_socket(zmq_ctx, ZMQ_ROUTER);
    if (g->router == NULL) {
        free(g);
        return err_errno(zmq_errno(), "socket");
    }
    frame_set(g->router, ZMQ_ROUTER_MANDATORY, 1);
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

void
gate_far(gate *g, uint32_t number)
{
    ASSERT(number < g->edge_count);
    g->edges[number].far = true;
}

/* False: not now; a later HELLO is answered. */
static bool
answer(gate *g, gate_edge *e, enum frame_kind kind, uint64_t no)
{
    frame f = { .magic = FRAME_MAGIC,
                .version = FRAME_VERSION,
                .kind = (uint16_t)kind,
                .from = lane_from(e->lane),
                .to = lane_to(e->lane),
                .generation = *lane_generation(e->lane),
                .position = lane_tail(e->lane),
                .acked = lane_head(e->lane),
                .no = no };

    if (e->identity_len == 0)
        return false;
    g->dirty = true;
    if (zmq_send(g->router, e->identity, e->identity_len, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 &&
        (zmq_errno() != EAGAIN || frame_events(g->router) < 0 ||
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

/* A producer came, or asks.  A lane with nothing in it goes where the producer is: what lies
 * between was acknowledged by our predecessor.  One with something in it waits until that is done
 * with. */
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

/* Time left stays time left: each host's clock begins where it likes. */
static void
shift_times(uint8_t *at, size_t len, uint64_t their_now_ns)
{
    uint64_t shift = the_world->now_ns() - their_now_ns;
    envelope e;

    while (len >= sizeof e) {
        memcpy(&e, at, sizeof e);
        if (envelope_record_len(e.len) > len)
            return; /* lane_receive() refuses it */
        e.sent_ns += shift;
        e.deadline_ns = e.deadline_ns == 0 ? 0 : max_u64(e.deadline_ns + shift, 1);
        memcpy(at, &e, sizeof e);
        at += envelope_record_len(e.len);
        len -= envelope_record_len(e.len);
    }
}

static bool
on_data(gate *g, gate_edge *e, const frame *f, uint8_t *at)
{
    uint64_t expected = lane_tail(e->lane);
    uint64_t known;
    view     records;
    int      rc;

    if (!uuid_eq(&f->generation, lane_generation(e->lane)))
        return false;
    if (f->position > expected) {
        if (!e->gap_told)
            e->gap_told = answer(g, e, FRAME_STATE, 0);
        return false;
    }
    known = expected - f->position;
    if (known >= f->len)
        return false; /* has it all */
    records = view_of(at + known, f->len - known);
    if (e->far)
        shift_times(at + known, records.len, f->now_ns);
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

    if (id_len > IDENTITY_MAX || !frame_read(m, &f) || (e = edge_of(g, f.from)) == NULL)
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
    return on_data(g, e, &f, (uint8_t *)zmq_msg_data(m) + sizeof f);
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
