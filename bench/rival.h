/* rival.h - the same readings and questions put to a stock time-series database: a VictoriaMetrics on loopback. */
#ifndef HALTLESS_BENCH_RIVAL_H
#define HALTLESS_BENCH_RIVAL_H

#include "bench/generate.h"
#include "bench/out.h"

typedef struct rival {
    const char      *where; /* HOST:PORT; it is to keep data of 2026: -retentionPeriod */
    const generated *g;
    uint32_t         hours;    /* of a question's range, */
    uint32_t         slack_s;  /* which begins up to so long into the data */
    uint32_t         requests; /* of each kind; a tenth of the long ones */
    uint64_t         random;
    const bench_out *out;
    uint64_t         wrong; /* answers */
} rival;

/* Loads it, asks, prints a row for each kind beside ours: case "KIND/victoria-metrics". */
NODISCARD int rival_measure(rival *r);

#endif
