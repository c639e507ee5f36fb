/* ak_node.h - an actor looks at the node it is part of: for /metrics, /readyz, and whoever owns the listener. */
#ifndef HALTLESS_ACTORS_AK_NODE_H
#define HALTLESS_ACTORS_AK_NODE_H

#include "actors/ak.h"

const char *ak_run_dir(const ak *k);     /* shared memory: counters of the others, slot files */
int         ak_listen_fd(const ak *k);   /* the listener, shared by all fronts: dup() it; -1: none */
bool        ak_is_loopback(const ak *k); /* does it listen on the loopback only? */
bool        ak_same_process(const ak *k, addr other); /* is that actor a thread of this process? */

/* Where init() may say what it is busy with, for its next life.  Kept when a fault ends this one. */
struct crumb *ak_crumb(const ak *k);

/* What is known of any actor of the node from outside of it.  False: no such actor. */
typedef struct ak_about {
    int32_t  pid;
    uint32_t restarts;
    bool     ready; /* its init() is done, and it has not died since as far as the supervisor knows */
} ak_about;
bool ak_look(const ak *k, addr who, ak_about *out);

/* Lane `i` (0, 1, ...) of the node.  False: there are no more. */
typedef struct ak_lane_about {
    addr     from;
    addr     to;
    uint64_t bytes; /* published and not acknowledged; UINT64_MAX: its file cannot be read */
    uint64_t most;  /* that there ever were */
    uint64_t capacity;
} ak_lane_about;
bool ak_lane_look(const ak *k, uint32_t i, ak_lane_about *out);

#endif
