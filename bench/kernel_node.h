/* kernel_node.h - the smallest node: a front and an ingest actor of the bench, on the real kernel. */
#ifndef HALTLESS_BENCH_KERNEL_NODE_H
#define HALTLESS_BENCH_KERNEL_NODE_H

#include "actors/ak_internal.h"
#include "bench/kernel.h"

typedef struct node_form {
    carrier  carrier;
    bool     processes; /* each actor one of its own: decides inproc or ipc */
    uint64_t spin_us;
} node_form;

/* One at a time; its run directory is made and removed.  The ZeroMQ context is the caller's to make, after its fork. */
typedef struct node node;
NODISCARD int kernel_node_open(node **n, const kernel_bench *b, const node_form *f);
void          kernel_node_close(node **n);
NODISCARD int kernel_node_context(node *n);
/* The actor of that kind, part 0, in this thread. */
NODISCARD int kernel_node_actor(node *n, ak **k, const ak_kind *kind);

#endif
