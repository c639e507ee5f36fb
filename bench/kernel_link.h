/* kernel_link.h - two hosts of the bench: a run directory, a key and a link thread each, tcp with CURVE between. */
#ifndef HALTLESS_BENCH_KERNEL_LINK_H
#define HALTLESS_BENCH_KERNEL_LINK_H

#include "proto/envelope.h"

typedef struct host host;

/* Directories dir/0 and dir/1, keys, slots of the links.  `me` lives on host 0, `other` on host 1. */
NODISCARD int kernel_hosts_make(host *both[2], const char *dir, addr me, addr other);
void          kernel_hosts_free(host *both[2]);
const char   *kernel_host_dir(const host *h);
addr          kernel_host_link(const host *h); /* for wire_add_out_far() */
/* Its link thread, in the process that calls; with its ZeroMQ context. */
NODISCARD int kernel_host_start(host *h, void *zmq_ctx);
void          kernel_host_stop(host *h);

#endif
