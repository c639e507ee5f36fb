/* inflate.h - compressed request bodies, off the loop. */
#ifndef HALTLESS_API_INFLATE_H
#define HALTLESS_API_INFLATE_H

#include "api/front.h"
#include "proto/squeeze.h"

typedef void inflate_then(call *c);

/* c->bytes, into at most `room` bytes; then() finds them in c->bytes.  A body that is unfit is answered. */
void inflate_start(call *c, squeeze_kind kind, size_t room, inflate_then *then);
bool inflate_turn(front *f); /* copies one piece of one body; true: there is more to do */

#endif
