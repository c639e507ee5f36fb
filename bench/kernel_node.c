/* kernel_node.c - see kernel_node.h. */
#include "bench/kernel_node.h"

#include "proto/crypto.h"
#include "proto/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct node {
    rundir  run;
    options options;
    ak_host host;
};

static void
add_edges(plan *p, const node_form *f)
{
    const addr ends[2] = { addr_of(KIND_FRONT, 0), addr_of(KIND_INGEST, 0) };

    for (int i = 0; i < 2; i++) {
        p->slot[p->slots++] =
            (slot_plan){ .who = ends[i], .group = f->processes ? i : 0, .core = -1 };
        p->parts[addr_kind(ends[i])] = 1;
        p->edge[p->edges++] = (edge_plan){ .from = ends[i],
                                           .to = ends[1 - i],
                                           .carrier = f->carrier,
                                           .policy = i == 0 ? EDGE_WAIT : EDGE_REPLY,
                                           .capacity = KERNEL_LANE };
    }
}

int
kernel_node_open(node **out, const kernel_bench *b, const node_form *f)
{
    node *n = calloc(1, sizeof *n);
    int   rc;

    *out = NULL;
    if (n == NULL)
        return err(E_NOMEM, "node");
    add_edges(&n->run.plan, f);
    n->run.listen_fd = -1;
    (void)snprintf(n->run.path, sizeof n->run.path, "%s/node", b->dir);
    n->options.kernel_spin_us = f->spin_us;
    n->host.run = &n->run;
    atomic_store(&n->host.options, &n->options);
    rc = crypto_start();
    if (rc >= 0 && mkdir(n->run.path, 0700) < 0)
        rc = err_errno(errno, "make %s", n->run.path);
    if (rc >= 0)
        rc = rundir_make(&n->run);
    *out = n;
    if (rc < 0)
        kernel_node_close(out);
    return rc;
}

void
kernel_node_close(node **np)
{
    node *n = *np;

    if (n == NULL)
        return;
    *np = NULL;
    if (n->host.zmq != NULL)
        wire_context_close(n->host.zmq);
    rundir_remove(n->run.path);
    free(n);
}

int
kernel_node_context(node *n)
{
    n->host.zmq = wire_context();
    return n->host.zmq == NULL ? err(E_NOMEM, "ZeroMQ") : E_OK;
}

int
kernel_node_actor(node *n, ak **k, const ak_kind *kind)
{
    seat *s;
    int   rc = seat_open(&s, n->run.path, addr_of(kind->number, 0), true);

    *k = NULL;
    if (rc < 0)
        return rc;
    atomic_store(&s->epoch, atomic_load(&s->epoch) + 1); /* what a supervisor does for every start */
    seat_close(&s);
    return ak_open(k, kind, 0, &n->host);
}
