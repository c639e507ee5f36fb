/* out.h - what a bench prints: lines for people, or with --json one object a line.
 *
 * JSON: first {"env":{...}}, then {"bench","case","metric","value","unit"}.
 */
#ifndef HALTLESS_BENCH_OUT_H
#define HALTLESS_BENCH_OUT_H

#include "proto/base.h"

#include <stdio.h>

typedef struct bench_out {
    FILE       *to;
    bool        json;
    const char *bench; /* "ingest", "kernel" */
} bench_out;

/* Version, commit, CPU, kernel, file system of `dir`, durability, topology, command line. */
void bench_env(const bench_out *o, const char *dir, const char *durability, const char *topology, int argc,
               char **argv);
void bench_row(const bench_out *o, const char *what, const char *metric, double value, const char *unit);

/* Sorts ns[] in place; the q-quantile (0..1) by nearest rank. */
void     bench_sort(uint64_t *ns, size_t count);
uint64_t bench_quantile(const uint64_t *sorted, size_t count, double q);
/* Sorts them; rows "`of` p50", p99, max in ms; none when there are none. */
void     bench_late(const bench_out *o, const char *what, const char *of, uint64_t *ns, size_t count);
uint64_t bench_now_ns(void); /* monotonic */
/* Pins this thread to a core; -1: leaves it. */
void bench_pin(int core);

#endif
