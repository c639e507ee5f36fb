/* count.h - counters and latency histograms: declared rows, kept in shared memory, one writer each.
 *
 * One file per actor, named as its slot.  Relaxed loads and stores of aligned words, no locked
 * instruction.  A reader (metrics, top) maps it read-only, also of a dead node; each value is
 * atomic, the set is no snapshot.
 */
#ifndef HALTLESS_TRANSPORT_COUNT_H
#define HALTLESS_TRANSPORT_COUNT_H

#include "proto/envelope.h"

enum counter {
#define X(COUNTER, name, unit, brief) COUNTER,
#include "transport/counters.def"
#undef X
    COUNTERS
};

enum histogram {
#define X(HISTOGRAM, name, brief) HISTOGRAM,
#include "transport/histograms.def"
#undef X
    HISTOGRAMS
};

typedef struct counters counters;

NODISCARD int counters_create(const char *dir, addr who); /* supervisor; keeps what is there */
NODISCARD int counters_open(counters **c, const char *dir, addr who, bool writer);
void counters_close(counters **c);

void     count_add(counters *c, enum counter which, uint64_t n);
void     count_set(counters *c, enum counter which, uint64_t n);
uint64_t count_get(const counters *c, enum counter which);

/* Log-linear: powers of two, 8 linear steps each; relative error <= 1/8. */
void     hist_add(counters *c, enum histogram which, uint64_t ns);
void     hist_add_many(counters *c, enum histogram which, uint64_t ns, uint64_t times);
uint64_t hist_count(const counters *c, enum histogram which);
uint64_t hist_sum_ns(const counters *c, enum histogram which);
/* Readings at or below ns. */
uint64_t hist_below(const counters *c, enum histogram which, uint64_t ns);
uint64_t hist_quantile_ns(const counters *c, enum histogram which, double q); /* q in 0..1 */

#endif
