/* bench.h - the benches: one function each, called by `haltless bench NAME`. */
#ifndef HALTLESS_BENCH_BENCH_H
#define HALTLESS_BENCH_BENCH_H

/* argv[0] is the bench's name.  The exit status: 0, 1 when a correctness check failed, 2 on unusable arguments. */
int bench_alert(int argc, char **argv);
int bench_fair(int argc, char **argv);
int bench_ingest(int argc, char **argv);
int bench_kernel(int argc, char **argv);
int bench_query(int argc, char **argv);
int bench_recovery(int argc, char **argv);
int bench_ws(int argc, char **argv);

#endif
