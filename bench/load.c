/* load.c - see load.h. */
#include "bench/load.h"

#include "bench/out.h"
#include "proto/err.h"

#include <stdlib.h>
#include <time.h>

enum { CONNECTIONS = 8, PER_BODY = 1000, TICKS_AHEAD = 40, BODIES_MAX = 4000000 };

int
load_open(load *l, const char *where, const char *email, uint32_t machines, uint64_t seed)
{
    target_options o = { .url = where, .email = email, .password = "bench-haltless-1", .core = -1 };
    int            rc = target_open(&l->t, &o);

    l->ids = calloc(machines, sizeof *l->ids);
    ASSERT(l->ids != NULL);
    if (rc == E_OK)
        rc = target_machines(&l->t, machines, l->ids);
    if (rc == E_OK)
        rc = generate(&l->g, VARIANT_WALK, seed, machines, (uint64_t)machines * GENERATE_METRICS * TICKS_AHEAD, PER_BODY);
    return rc < 0 ? rc : generate_text(&l->g);
}

void
load_close(load *l)
{
    target_close(&l->t);
    generate_free(&l->g);
    free(l->ids);
    l->ids = NULL;
}

static void *
run(void *arg)
{
    load *l = arg;

    l->rc = push_run(&l->p);
    return NULL;
}

int
load_begin(load *l, double rate)
{
    atomic_store(&l->stop, false);
    l->p = (push){ .where = l->t.where, .key = l->t.key, .g = &l->g, .first = l->next, .bodies = BODIES_MAX,
                   .connections = CONNECTIONS, .rate = rate, .stop = &l->stop };
    return pthread_create(&l->thread, NULL, run, l) == 0 ? E_OK : err(E_NOMEM, "a thread");
}

int
load_end(load *l, load_result *out)
{
    push *p = &l->p;

    atomic_store(&l->stop, true);
    pthread_join(l->thread, NULL);
    l->next += p->answered + CONNECTIONS;
    bench_sort(p->latency_ns, p->answered);
    *out = (load_result){ .asked = p->rate,
                          .got = p->seconds > 0 ? (double)p->accepted / p->seconds : 0,
                          .p50_ms = (double)bench_quantile(p->latency_ns, p->answered, 0.5) / 1e6,
                          .p99_ms = (double)bench_quantile(p->latency_ns, p->answered, 0.99) / 1e6,
                          .refused = (double)p->refused };
    push_free(p);
    return l->rc < 0 ? err(l->rc, "the load beside") : E_OK;
}

int
load_measure(load *l, double seconds)
{
    struct timespec wait = { .tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
    load_result     r;
    int             rc = load_begin(l, 0);

    if (rc < 0)
        return rc;
    nanosleep(&wait, NULL);
    rc = load_end(l, &r);
    l->most = r.got;
    return rc;
}
