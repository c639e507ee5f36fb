/* road.c - the sending end of the `zmq` carrier; the protocol is drawn in road.h.
 *
 * The rule of ZMQ_FD (wire.c): every call on the socket sets `dirty`; draining until EAGAIN clears
 * it.
 */
#include "transport/road.h"
#include "transport/frame.h"

#include "proto/err.h"
#include "proto/world.h"

#include <stdlib.h>

enum { DRAIN_ROUNDS_MAX = 64 };

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
    return (frame){ .magic = FRAME_MAGIC,
                    .version = FRAME_VERSION,
                    .kind = (uint16_t)kind,
                    .from = lane_from(r->lane),
                    .to = lane_to(r->lane),
                    .now_ns = the_world->now_ns(),
                    .generation = *lane_generation(r->lane) };
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
    r->dealer = frame_socket(zmq_ctx, ZMQ_DEALER);
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

/* How much of [sent, tail) goes into the next frame: whole records, at least one.  0: the lane is
 * damaged. */
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

/* The consumer goes on at `expected`: agree with it, or go back to it when what lies behind got
 * lost. */
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
        if (got && frame_read(&m, &f) && on_answer(r, &f))
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
        events = frame_events(r->dealer);
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
