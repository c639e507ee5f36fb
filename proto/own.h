/* own.h - kinds of actors and types of messages that are not in kinds.def and messages.def: those of a program
 * of one's own on the kernel (actors/host.h).
 *
 * Made known once a process, before its threads.  Names go along in the run directory, so that the tools can
 * say them.
 */
#ifndef HALTLESS_PROTO_OWN_H
#define HALTLESS_PROTO_OWN_H

#include "proto/envelope.h"
#include "proto/messages.h"

enum { OWN_NAME_MAX = 16, OWN_KINDS = KIND_MAX - KIND_OWN, OWN_MESSAGES = MSG_MAX - MSG_OWN };

typedef struct own_names { /* empty: none of that number */
    char kind[OWN_KINDS][OWN_NAME_MAX];
    char message[OWN_MESSAGES][OWN_NAME_MAX];
} own_names;

/* False: no number for one's own, or no name of [a-z0-9_]. */
NODISCARD bool own_kind(uint16_t number, const char *name);
NODISCARD bool own_message(uint16_t type, const char *name, uint32_t body_min, uint32_t body_max,
                           uint32_t reply_max);

const own_names *own_names_now(void);
/* The names of another process: for looking at it.  What is no name is left out. */
void own_names_take(const own_names *names);

#endif
