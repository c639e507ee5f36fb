/* count.h - counters and latency histograms: declared rows, kept in shared memory, one writer each.
 *
 * One file per actor, named as its slot.  Relaxed loads and stores of aligned words, no locked
 * instruction.  A reader (metrics, top) maps it read-only, also of a dead node; each value is
 * atomic, the set is no snapshot.
 *
 *   counters.def     one number an actor
 *   histograms.def   one an actor, or one for each type of message that the actor gets
 *   edges            what each lane out refused and dropped
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
#define X(HISTOGRAM, name, scope, brief) HISTOGRAM,
#include "transport/histograms.def"
#undef X
    HISTOGRAMS
};

/* The rows as readers print them. */
typedef struct counter_row {
    const char *name;
    const char *brief;
} counter_row;
extern const counter_row counter_rows[COUNTERS];
bool counter_grows(enum counter which); /* for ever; or it is how much there is now */

typedef struct histogram_row {
    const char *name;
    const char *brief;
    bool        by_type;
} histogram_row;
extern const histogram_row histogram_rows[HISTOGRAMS];

enum {
    COUNT_TYPES = 16,  /* place 0 is that of every type beyond the fifteenth */
    COUNT_EDGES = 192, /* lanes out; those beyond are in the actor's sums only */
};

typedef struct counters counters;

NODISCARD int counters_create(const char *dir, addr who); /* supervisor; keeps what is there */
NODISCARD int counters_open(counters **c, const char *dir, addr who, bool writer);
void counters_close(counters **c);

/* ---- the writer ---- */

void count_add(counters *c, enum counter which, uint64_t n);
void count_set(counters *c, enum counter which, uint64_t n);
void hist_add(counters *c, enum histogram which, uint64_t ns); /* a row of scope ACTOR */
/* The place of that type, for hist_add_type(): the same for ever. */
uint32_t count_type_place(counters *c, uint16_t type);
void     hist_add_type(counters *c, enum histogram which, uint32_t place, uint64_t ns, uint64_t times);
void     count_edge_open(counters *c, uint32_t edge, addr to); /* another `to` than before: from zero */
void     count_edge_full(counters *c, uint32_t edge);
void     count_edge_shed(counters *c, uint32_t edge);

/* ---- readers ---- */

uint64_t count_get(const counters *c, enum counter which);
/* False: nothing has been at that place.  *type 0: more than one. */
bool count_type_at(const counters *c, uint32_t place, uint16_t *type);

typedef struct count_edge {
    addr     to;
    uint64_t full; /* sends refused for want of room */
    uint64_t shed; /* notes dropped */
} count_edge;
bool count_edge_to(const counters *c, addr to, count_edge *out);

/* A copy of a histogram, or the sum of several.  Log-linear: powers of two, 8 linear steps each, up to 137 s;
 * relative error <= 1/8. */
enum { HIST_STEPS = 8, HIST_POWER_MAX = 37, HIST_BUCKETS = HIST_STEPS + (HIST_POWER_MAX - 3) * HIST_STEPS };
typedef struct hist {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t bucket[HIST_BUCKETS];
} hist;
void     hist_read(hist *h, const counters *c, enum histogram which); /* all types together; adds to *h */
void     hist_read_type(hist *h, const counters *c, enum histogram which, uint32_t place); /* likewise */
void     hist_less(hist *h, const hist *before); /* what came since */
uint64_t hist_below(const hist *h, uint64_t ns); /* at or below: exact when ns is 2^n - 1 */
uint64_t hist_quantile_ns(const hist *h, double q); /* q in 0..1; 0 when there is nothing */

#endif
