/* gate.h - the receiving end of the `zmq` carrier, one an actor; the protocol is drawn in road.h.
 */
#ifndef HALTLESS_TRANSPORT_GATE_H
#define HALTLESS_TRANSPORT_GATE_H

#include "transport/lane.h"
#include "transport/wire.h"

typedef struct gate gate;

NODISCARD int gate_open(gate **g, void *zmq_ctx, wire_counts *counts);
void          gate_close(gate **g);
void         *gate_socket(const gate *g);
void          gate_touched(gate *g);      /* somebody called its socket */
NODISCARD int gate_add(gate *g, lane *l); /* its number: 0, 1, ... */
/* Its producer is on another host: times in its records are of another clock. */
void          gate_far(gate *g, uint32_t number);
void          gate_acked(gate *g, uint32_t number);
bool          gate_drain(gate *g, bool ready); /* true: something arrived */

#endif
