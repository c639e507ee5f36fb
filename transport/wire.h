/* wire.h - one actor's doorbell and, for edges of the `zmq` carrier, its road.
 *
 * The only owner of ZeroMQ sockets on data paths, and of the rules of ZMQ_FD (edge-triggered: drained
 * after every call on its socket).  One wire an actor, used by that actor's thread alone.
 *
 * Carrier `ring`: the body is in the lane; when the peer says it is asleep, a PUSH -> PULL note (inproc://
 * between threads, ipc:// between processes) hands it over.  A note carries nothing that matters.
 *
 * Carrier `zmq`: whole records travel as frames over DEALER -> ROUTER (inproc, ipc), behind a head that
 * says {from, generation, position}; the far side answers "acknowledged up to P", which moves `head` of
 * the producer's lane, its retransmission buffer.  After a (re)connect the consumer states P (or "I have
 * nothing") and the producer goes on from there; a consumer drops what it has already, asks again on a gap.
 *
 * "Asleep": every actor has a slot file with a word `parked`, even = awake, odd = asleep, one writer.
 * Store of tail, then load of parked; store of parked, then load of every tail: all sequentially
 * consistent, each weaker pair loses a wake-up (tests/model/park).  A producer rings once for each value
 * of parked.  Endpoints' names end in the epoch of their owner's life, which is in its slot file too.
 */
#ifndef HALTLESS_TRANSPORT_WIRE_H
#define HALTLESS_TRANSPORT_WIRE_H

#include "transport/lane.h"

typedef enum carrier { CARRIER_RING, CARRIER_ZMQ } carrier;

typedef struct wire wire;

typedef struct wire_counts { /* single writer: the owner's thread */
    uint64_t bells_rung;
    uint64_t bells_heard;
    uint64_t bells_missed; /* the safety look found something nobody had rung for: must stay 0 */
    uint64_t zmq_bytes_out;
    uint64_t zmq_bytes_in;
    uint64_t zmq_resent;
} wire_counts;

/* run_dir: the node's 0700 directory (slot files, ipc endpoints; its path short enough for a socket).
 * zmq_ctx: the process's one context, made by wire_context(). */
void *wire_context(void);
void  wire_context_close(void *zmq_ctx);
void  wire_context_warm(void *zmq_ctx); /* starts its threads, which the first socket would */
NODISCARD int wire_slot_create(const char *run_dir, addr who); /* supervisor: the slot file */
NODISCARD int wire_open(wire **w, void *zmq_ctx, const char *run_dir, addr self);
void wire_close(wire **w);

/* Edges.  The lane stays the caller's.  same_process decides inproc or ipc.  Returns an edge number >= 0.
 * wire_add_in for CARRIER_ZMQ makes the private lane itself and hands it out; the caller closes it, after
 * wire_close.  An out lane of a zmq edge is opened as LANE_PRODUCER too; the wire moves its head. */
NODISCARD int wire_add_out(wire *w, lane *l, carrier c, bool same_process);
NODISCARD int wire_add_in(wire *w, lane **l, addr from, carrier c, bool same_process, uint64_t capacity);

/* The same between hosts: frames go by way of `via`, the link actor of this node (transport/trunk.h). */
NODISCARD int wire_add_out_far(wire *w, lane *l, addr via, bool same_process);
NODISCARD int wire_add_in_far(wire *w, lane **l, addr from, addr via, bool same_process,
                              uint64_t capacity);

/* Where `of` in its life `epoch` is reached: "bell" or "road".  E_RANGE: too long for a socket. */
enum { WIRE_ENDPOINT_MAX = 256 };
NODISCARD int wire_endpoint(char out[WIRE_ENDPOINT_MAX], const char *run_dir, const char *what, addr of,
                            uint64_t epoch, bool same_process);
uint64_t wire_epoch(const wire *w);

/* After lane_publish() on an out edge: rings or sends. */
void wire_kick(wire *w, int out_edge);
/* After lane_ack() on an in edge: `woken` as lane_ack answered; zmq: tells the far side. */
void wire_acked(wire *w, int in_edge, bool producer_starved);
/* Drains every socket: notes, frames, acknowledgements.  True when something may have changed. */
bool wire_pump(wire *w);

/* Park protocol: wire_sleep says "asleep", then the caller looks at every tail again; if there is
 * something, wire_awake at once.  wire_wait does not wake: call wire_awake, then wire_pump. */
void wire_sleep(wire *w);
void wire_awake(wire *w);
/* Sleeps until a note, a frame, one of `fds` readable, wire_poke() or the time is over.  ready[i]: fds[i]. */
void wire_wait(wire *w, uint64_t ns, const int *fds, bool *ready, uint32_t fd_count);
/* From another thread of this process (helpers): wakes wire_wait; also readable in wire_fds. */
void wire_poke(wire *w);
/* For a foreign loop: descriptors whose readability means "call wire_pump". */
uint32_t wire_fds(const wire *w, int *fds, uint32_t room);
const wire_counts *wire_count(const wire *w);

#endif
