/* host.h - a program of one's own on this kernel: kinds, messages and roads are tables, host_main() is its main().
 *
 *     ./ping                    every actor a thread of one process
 *     ./ping --processes        every actor a process of its own
 *
 * It is the supervisor and the kernel that `haltless serve` runs on: actors start in the order of the table, are
 * started again when they die, and stop the other way round on SIGTERM or Ctrl-C; what they had not acknowledged
 * comes again.  `haltless top`, `lane` and `trace` look at it.  One node a directory: --data DIR, default ".".
 */
#ifndef HALTLESS_ACTORS_HOST_H
#define HALTLESS_ACTORS_HOST_H

#include "actors/ak.h"

typedef struct host_kind {
    const ak_kind *kind;    /* its number: KIND_OWN, KIND_OWN + 1, ... */
    uint16_t       parts;   /* how many actors of it */
    bool           process; /* each is a process of its own, also without --processes */
} host_kind;

typedef struct host_message {
    uint16_t    type; /* MSG_OWN, MSG_OWN + 1, ... */
    const char *name; /* for the tools: [a-z0-9_], at most 15 */
    uint32_t    body_min;
    uint32_t    body_max;
    uint32_t    reply_max; /* an ask: the longest answer */
} host_message;

/* Each part of `from` may ask and note each part of `to`, and gets its answers.  No circle of these. */
typedef struct host_road {
    uint16_t from;
    uint16_t to;
    uint32_t kib; /* of each lane: a power of two from 4; 0: 64 */
    bool     zmq; /* over ZeroMQ sockets; else shared memory */
    bool     shed; /* notes only, one way: dropped and counted when it is full */
} host_road;

typedef struct host {
    const host_kind    *kinds;    /* servants before those who ask them; ended by { 0 }, as the others */
    const host_road    *roads;
    const host_message *messages;
} host;

/* argv: --processes, --data DIR, --run-dir DIR, --log-level LEVEL.  Returns the exit status. */
int host_main(const host *h, int argc, char **argv);

#endif
