/* readings_walk.h - the walk over JSON that is too long for one go (readings_walk.c).  For readings_json.c alone. */
#ifndef HALTLESS_PROTO_READINGS_WALK_H
#define HALTLESS_PROTO_READINGS_WALK_H

#include "proto/num_fast.h"
#include "proto/readings_text.h"

/* Where it begins: */
void readings_walk_body(readings_decoder *d);
void readings_walk_array_ended(readings_decoder *d, place p); /* behind the ']' of the readings */
void readings_walk_element(readings_decoder *d); /* at d->at, in the array or before a line */

/* A step of about d->window bytes.  READINGS_PAUSE with !d->walking: readings_json_next() takes over. */
enum readings_next readings_walk(readings_decoder *d, reading *out);

static inline enum readings_next
ends(readings_decoder *d, place p, uint32_t state)
{
    if (p != NULL)
        d->at = p;
    d->state = state;
    d->walking = false;
    return state == ENDED ? READINGS_END : state == MISFIT ? READINGS_SCHEMA : READINGS_SYNTAX;
}

#endif
