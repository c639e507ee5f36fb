/* deadlines.h - what falls due when: a heap, the earliest on top.
 *
 * An entry is not moved when its time changes: it is looked at when it falls due, and goes back with the later time.  So a
 * million of them cost what falls due.
 */
#ifndef HALTLESS_ACTORS_DEADLINES_H
#define HALTLESS_ACTORS_DEADLINES_H

#include "proto/base.h"

typedef struct deadline {
    int64_t  at_us;
    uint32_t what, machine; /* the owner's */
} deadline;

typedef struct deadlines {
    deadline *at; /* owned */
    uint32_t  count, room;
} deadlines;

void     deadlines_add(deadlines *d, deadline one);
bool     deadlines_due(const deadlines *d, int64_t now_us); /* is one? */
deadline deadlines_take(deadlines *d);                      /* the earliest; there is one */
void     deadlines_fini(deadlines *d);

#endif
