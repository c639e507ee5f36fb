/* frame.h - what travels on a road: one message a frame, a head of 80 bytes, then whole records.
 *
 * Private to road.c and gate.c.  Nothing of a frame is believed before it is checked: who, which
 * generation, which connection, lengths; lane_receive() checks the records.
 */
#ifndef HALTLESS_TRANSPORT_FRAME_H
#define HALTLESS_TRANSPORT_FRAME_H

#include "proto/envelope.h"

#include <errno.h>
#include <zmq.h>

enum { FRAME_VERSION = 2, FRAME_BYTES_MAX = 256 * 1024, FRAMES_HWM = 1000, DRAIN_MAX = 4096 };
enum { RECONNECT_MS = 10, RECONNECT_MAX_MS = 200 };
#define FRAME_MAGIC UINT32_C(0x6461726c) /* "lrad" */

enum frame_kind { FRAME_HELLO = 1, FRAME_DATA, FRAME_STATE, FRAME_ACK };

typedef struct frame {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    addr     from; /* of the lane, in both directions */
    addr     to;   /* likewise; who carries a frame between hosts goes by it */
    uuid     generation;
    uint64_t position; /* HELLO: head.  DATA: of the first record.  STATE: expected. */
    uint64_t acked; /* STATE, ACK: done with up to.  HELLO: sent up to, perhaps to a predecessor. */
    uint64_t no;    /* HELLO, and the STATE that answers it; 0: unasked */
    uint64_t len;   /* DATA: bytes behind this head */
    uint64_t now_ns; /* the sender's clock, which the times in records are of */
} frame;
_Static_assert(sizeof(frame) == 80, "layout");

static inline void
frame_set(void *socket, int option, int value)
{
    ASSERT(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

static inline void *
frame_socket(void *zmq_ctx, int type)
{
    void *s = zmq_socket(zmq_ctx, type);

    if (s == NULL)
        return NULL;
    frame_set(s, ZMQ_LINGER, 0);
    frame_set(s, ZMQ_SNDHWM, FRAMES_HWM);
    frame_set(s, ZMQ_RCVHWM, FRAMES_HWM);
    frame_set(s, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    frame_set(s, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    return s;
}

/* Takes what came to the socket.  A send that is refused may have been so only because libzmq looks
 * for its peer's progress once a millisecond; after this it is really full. */
static inline int
frame_events(void *socket)
{
    int    events = 0;
    size_t len = sizeof events;

    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &len) == 0 ? events : 0;
}

/* The head of a message, checked; false: not one of ours. */
static inline bool
frame_read(zmq_msg_t *m, frame *f)
{
    size_t len = zmq_msg_size(m);

    if (len < sizeof *f)
        return false;
    memcpy(f, zmq_msg_data(m), sizeof *f);
    return f->magic == FRAME_MAGIC && f->version == FRAME_VERSION && f->len == len - sizeof *f;
}

#endif
