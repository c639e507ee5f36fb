/* road.h - the `zmq` carrier: a lane's published records, over DEALER -> ROUTER, to a private lane.
 *
 *   producer                                              consumer
 *   lane: head ....... sent ....... tail                  private lane: the same positions
 *     ── HELLO {generation, head, no} ──────────────────▶  a new lane starts at head
 *     ◀────────── STATE {expected, acknowledged, no} ────  what it has, what it is done with
 *     ── DATA {generation, position, len} records ──────▶  == expected: appended;  <: dropped;  >:
 * a gap ◀────────────────── STATE {expected, ..., 0} ──────  once a gap: go on from there
 *     ◀────────────────────── ACK {acknowledged} ────────  moves head of the producer's lane
 *
 * Delivery: nothing is sent before a STATE answered the HELLO of this connection, so the positions
 * of both sides agree first.  A lost frame shows as a gap, or as 100 ms without an acknowledgement,
 * upon which HELLO is said again: a STATE that expects less than had been sent when it was asked
 * sends `sent` back. What is under way never exceeds the capacity of the producer's lane, which the
 * private lane has too.
 */
#ifndef HALTLESS_TRANSPORT_ROAD_H
#define HALTLESS_TRANSPORT_ROAD_H

#include "transport/lane.h"
#include "transport/wire.h"

enum { ROAD_TICK_MS = 100 };

typedef struct road road;

NODISCARD int road_open(road **r, lane *l, wire_counts *counts);
void          road_close(road **r);
/* A new connection (after closing the last one) to the consumer's life `epoch`; says HELLO. */
NODISCARD int road_connect(road *r, void *zmq_ctx, const char *endpoint, uint64_t epoch);
uint64_t      road_epoch(const road *r);       /* 0: not connected */
void         *road_socket(const road *r);      /* NULL: not connected */
void          road_send(road *r);              /* what is published and not sent */
bool          road_drain(road *r, bool ready); /* true: head moved, or there is more to send */
bool          road_is_busy(const road *r);     /* waits for an acknowledgement */
void          road_tick(road *r);              /* every ROAD_TICK_MS while it is busy */

#endif
