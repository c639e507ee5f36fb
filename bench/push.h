/* push.h - readings pushed over HTTP: a few kept-alive connections, each sends the next body once the last was answered.
 *
 * Without a rate the loop is closed: as fast as the server acknowledges.  With one, body i is due at its own moment and
 * its latency counts from there, whether a connection was free for it or not.
 */
#ifndef HALTLESS_BENCH_PUSH_H
#define HALTLESS_BENCH_PUSH_H

#include "bench/generate.h"

#include <stdatomic.h>

enum { PUSH_CONNECTIONS_MAX = 512 };

typedef struct push {
    const char      *where; /* HOST:PORT */
    const char      *key;
    const generated *g;
    uint64_t         first; /* body */
    uint64_t         bodies;
    uint32_t         connections;
    double           rate;   /* readings/s; 0: as fast as they are answered */
    atomic_bool     *stop;   /* NULL: goes on to the last body */
    atomic_ullong   *landed; /* readings acknowledged so far, for whoever watches; NULL */
    bool             quiet;  /* a server that goes away is no news */

    uint64_t  answered; /* bodies acknowledged with every reading accepted */
    uint64_t  accepted; /* readings of them */
    uint64_t  refused;  /* other answers and broken connections; each body is sent again */
    uint64_t *latency_ns; /* owned: one a body that was answered */
    double    seconds;
} push;

NODISCARD int push_run(push *p);
void push_free(push *p);

#endif
