/* slow.h - clients that never get done: connections on which a request arrives a byte at a time. */
#ifndef HALTLESS_BENCH_SLOW_H
#define HALTLESS_BENCH_SLOW_H

#include "proto/base.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SLOW_CONNECTIONS_MAX = 10000 };

typedef struct slow {
    const char *host; /* IPv4 */
    uint16_t    port;
    uint32_t    connections; /* every other one a head, the rest a body of which it announced more than will come */

    uint64_t    closed; /* by the server; each is made anew */
    atomic_bool stop;
    pthread_t   thread;
    int        *fds; /* owned */
} slow;

NODISCARD int slow_start(slow *s); /* returns when all are connected */
void          slow_end(slow *s);

#endif
