/* stir.h - what happens to a tenant that somebody watches: readings at a rate, and alerts that open and close.
 *
 * Each reading's value is the moment of its sending (viewers_clock_ms), so an alert's metric_value is as well.
 */
#ifndef HALTLESS_BENCH_STIR_H
#define HALTLESS_BENCH_STIR_H

#include "bench/target.h"

enum { STIR_EVENTS_MAX = 1000 }; /* at once */

typedef struct stir {
    client   source; /* pushes with the tenant's key */
    char    *body;   /* owned */
    uint32_t machines;
    uint64_t sent;   /* readings */
    uint64_t raised; /* alerts */
    char     token[1024]; /* of the tenant's admin, for viewers */
} stir;

/* Machines and a rule, at that tenant. */
NODISCARD int stir_open(stir *s, target *t, uint32_t machines);
void stir_close(stir *s);
NODISCARD int stir_events(stir *s, uint64_t count); /* readings that break no rule, in one request */
/* One over the bound, and when it is stored one under it: two frames with `seq`. */
NODISCARD int stir_alarm(stir *s);

#endif
