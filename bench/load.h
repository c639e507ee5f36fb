/* load.h - the ingest bench beside another one: a tenant of its own pushes readings, at half of what it can alone. */
#ifndef HALTLESS_BENCH_LOAD_H
#define HALTLESS_BENCH_LOAD_H

#include "bench/push.h"
#include "bench/target.h"

#include <pthread.h>

typedef struct load {
    target      t; /* of its own tenant, at the other's server */
    generated   g;
    char      (*ids)[37]; /* owned: of its machines */
    push        p;
    atomic_bool stop;
    pthread_t   thread;
    uint64_t    next; /* body */
    uint32_t    connections;
    double      most; /* readings/s alone, once measured */
    int         rc;
} load;

typedef struct load_result {
    double asked, got;  /* readings/s */
    double p50_ms, p99_ms;
    double refused;     /* requests */
} load_result;

NODISCARD int load_open(load *l, const char *where, const char *email, uint32_t machines, uint64_t seed);
void load_close(load *l);
/* As fast as it is answered, for so long. */
NODISCARD int load_measure(load *l, double seconds);
/* Goes on beside what follows, at that rate, until load_end(). */
NODISCARD int load_begin(load *l, double rate);
NODISCARD int load_end(load *l, load_result *out);

#endif
