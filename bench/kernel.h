/* kernel.h - the themes of `haltless bench kernel`, one file each; between them and kernel.c. */
#ifndef HALTLESS_BENCH_KERNEL_H
#define HALTLESS_BENCH_KERNEL_H

#include "bench/out.h"

#include <sched.h>

typedef struct kernel_bench {
    bench_out   out;
    double      seconds; /* a case */
    int         core[2]; /* -1: not pinned */
    cpu_set_t   cores;   /* where this process may run */
    const char *only;    /* cases whose name has it; NULL: all */
    char        dir[64]; /* run directories of the cases are made in it */
} kernel_bench;

/* How many of its cases failed a check. */
typedef int kernel_theme(const kernel_bench *b);

kernel_theme kernel_copies;   /* kernel_copy.c: memcpy, what nothing can beat */
kernel_theme kernel_lanes;    /* kernel_lane.c: lanes, their carriers, round trips */
kernel_theme kernel_sockets;  /* kernel_socket.c: bare ZeroMQ under the same load */
kernel_theme kernel_actors;   /* kernel_ak.c: asks and notes through the whole kernel */
kernel_theme kernel_crashes;  /* kernel_crash.c: an actor is killed; its successor goes on */
kernel_theme kernel_messages; /* kernel_message.c: what the kernel itself costs a message */

/* Where this thread, side 0 or 1 of a case, runs: on its core of --cores; on one of its own if both sides poll, for
 * two that poll on one core measure the scheduler; else wherever it may. */
void kernel_place(const kernel_bench *b, int side, bool polls);
bool kernel_wants(const kernel_bench *b, const char *name);
/* Records of an envelope and that body that this thread copies a second into a window as large as a lane. */
double kernel_copy_rate(uint32_t body);
/* Such records that the two sides' cores pass on a second, by plain copies and looks at large windows: no queue between them. */
double kernel_pass_rate(const kernel_bench *b, uint32_t body);
/* Sorts them; prints quantiles. */
void kernel_times(const kernel_bench *b, const char *what, uint64_t *ns, size_t count);
/* "64B", "1KiB" */
void kernel_size_name(char out[16], uint32_t bytes);

enum { KERNEL_LANE = 2 * 1024 * 1024 };

#endif
