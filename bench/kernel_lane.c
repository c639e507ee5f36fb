/* kernel_lane.c - records between the two ends of one edge, way by way.
 *
 *   lane     both sides poll
 *   ring     both sides sleep when there is nothing: the lane and ZeroMQ notes
 *   zmq      the lane's records as ZeroMQ frames
 *   link     the same between two hosts: over tcp with CURVE, by way of a link on each
 *
 * ... as two threads (inproc) and as two processes (ipc).  A producer writes every body in full and
 * publishes after each record, after 32, or once a step (what the kernel does when 1 024 messages wait);
 * the consumer touches every cache line, acknowledges like a kernel batch, and checks that each record is
 * the next one with the bytes it was given.  Beside each throughput stands which part of memcpy's it is, and
 * of what the two cores pass on without any queue (kernel_pass.c).
 * Round trips: one record there, one back.
 *
 * The peer of a case is a thread, or a child forked before this process has a ZeroMQ context.
 */
#include "bench/kernel.h"
#include "bench/kernel_link.h"

#include "actors/rundir.h"
#include "proto/err.h"
#include "transport/wire.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LANE_LEN = KERNEL_LANE,
    STEP = 1024, /* messages a step takes at most */
    ACK_EVERY = 32,
    SPINS = 256,
    PATIENCE_S = 20,
    TIMES_MAX = 1 << 20,
    SIZE_MAX_BODY = 65536
};
enum { TYPE_DATA = 1, TYPE_STOP = 2 };
enum how { BY_POLLING, BY_RING, BY_ZMQ, BY_LINK };

typedef struct trial {
    const char *name;
    uint32_t    size; /* of the body */
    uint32_t    batch;
    enum how    how;
    bool        processes;
    bool        round_trip;
    double      pass_rate; /* of bare copies between the two cores, measured just before; BY_POLLING */
} trial;

typedef struct end {
    wire    *w; /* NULL: polls */
    lane    *out;
    lane    *in;
    int      out_edge;
    int      in_edge;
    uint64_t sum;   /* of what was read, so that it is read */
    uint64_t wrong; /* records that were not the next one */
} end;

typedef struct job {
    const trial          *t;
    const kernel_bench *b;
    void                 *ctx;
    host                 *host; /* BY_LINK: where this side lives */
    int                   status;
} job;

static char dir[96]; /* of this side */
static addr near_addr;
static addr far_addr;

/* ---- an end of a case ---- */

static void
path_of(char out[112], addr from)
{
    (void)snprintf(out, 112, "%s/%s", dir, from == near_addr ? "there" : "back");
}

/* Between hosts each side has a directory of its own, and a link that must be there first. */
static int
end_open_far(end *e, const job *j, addr self, addr peer)
{
    int rc = kernel_host_start(j->host, j->ctx);

    if (rc == E_OK)
        rc = wire_open(&e->w, j->ctx, dir, self);
    if (rc == E_OK)
        rc = e->out_edge = wire_add_out_far(e->w, e->out, kernel_host_link(j->host), true);
    if (rc >= 0)
        rc = e->in_edge =
            wire_add_in_far(e->w, &e->in, peer, kernel_host_link(j->host), true, LANE_LEN);
    return rc < 0 ? rc : E_OK;
}

static int
end_open(end *e, const job *j, addr self)
{
    addr    peer = self == near_addr ? far_addr : near_addr;
    carrier c = j->t->how == BY_ZMQ ? CARRIER_ZMQ : CARRIER_RING;
    char    path[112];
    int     rc;

    memset(e, 0, sizeof *e);
    if (j->host != NULL)
        (void)snprintf(dir, sizeof dir, "%s", kernel_host_dir(j->host));
    path_of(path, self);
    rc = lane_open(&e->out, path, LANE_PRODUCER);
    if (rc == E_OK && j->t->how == BY_LINK)
        return end_open_far(e, j, self, peer);
    path_of(path, peer);
    if (rc == E_OK && j->t->how != BY_ZMQ)
        rc = lane_open(&e->in, path, LANE_CONSUMER);
    if (rc < 0 || j->t->how == BY_POLLING)
        return rc;
    rc = wire_open(&e->w, j->ctx, dir, self);
    if (rc == E_OK)
        rc = e->out_edge = wire_add_out(e->w, e->out, c, !j->t->processes);
    if (rc >= 0)
        rc = e->in_edge = wire_add_in(e->w, &e->in, peer, c, !j->t->processes, LANE_LEN);
    return rc < 0 ? rc : E_OK;
}

static void
end_close(end *e)
{
    wire_close(&e->w);
    lane_close(&e->out);
    lane_close(&e->in);
}

typedef bool looks(end *e, uint64_t what);

static bool
has_more(end *e, uint64_t what)
{
    (void)what;
    return lane_has_more(e->in);
}

static bool
has_room(end *e, uint64_t what)
{
    return lane_room(e->out) >= what;
}

static bool
has_head(end *e, uint64_t what)
{
    return lane_head(e->out) >= what;
}

/* False: nothing for PATIENCE_S seconds. */
static bool
wait_until(end *e, looks *look, uint64_t what)
{
    uint64_t until = bench_now_ns() + PATIENCE_S * UINT64_C(1000000000);

    do {
        for (int i = 0; e->w == NULL && i < SPINS; i++) {
            if (look(e, what))
                return true;
            __builtin_ia32_pause();
        }
        if (e->w == NULL) {
            (void)sched_yield(); /* the peer may need this core */
            continue;
        }
        (void)wire_pump(e->w);
        if (look(e, what))
            return true;
        wire_sleep(e->w);
        if (!look(e, what))
            wire_wait(e->w, UINT64_C(1000000000), NULL, NULL, 0);
        wire_awake(e->w);
    } while (bench_now_ns() < until);
    return false;
}

static bool
wait_starving(end *e, looks *look, uint64_t what)
{
    bool came;

    lane_starve(e->out, true);
    came = wait_until(e, look, what);
    lane_starve(e->out, false);
    return came;
}

static void
show(end *e)
{
    if (lane_publish(e->out) && e->w != NULL)
        wire_kick(e->w, e->out_edge);
}

/* A record built in place: the body, and the record's number in its first bytes. */
static bool
say(end *e, const envelope *env, const void *body)
{
    uint8_t *at = lane_reserve(e->out, env->len);

    if (at == NULL) {
        show(e);
        if (!wait_starving(e, has_room, envelope_record_len(env->len)) ||
            (at = lane_reserve(e->out, env->len)) == NULL)
            return false;
    }
    if (env->len > 0) {
        memcpy(at, body, env->len);
        memcpy(at, &env->corr, sizeof env->corr);
    }
    lane_stage(e->out, env);
    return true;
}

static void
acknowledge(end *e)
{
    bool starved = lane_ack(e->in, lane_read_pos(e->in));

    if (e->w != NULL)
        wire_acked(e->w, e->in_edge, starved);
}

/* The next record; its type, or -1.  Touches every line of the body. */
static int
hear(end *e, uint64_t no)
{
    envelope       env;
    uint64_t       pos;
    uint64_t       pos_end;
    int            rc;
    const uint8_t *body = lane_peek(e->in, &env, &pos, &pos_end, &rc);

    if (body == NULL) {
        acknowledge(e);
        if (rc < 0 || !wait_until(e, has_more, 0))
            return -1;
        body = lane_peek(e->in, &env, &pos, &pos_end, &rc);
        if (body == NULL)
            return -1;
    }
    for (uint32_t i = 0; i < env.len; i += 64)
        e->sum += load_u32(body + i);
    if (env.corr != no || (env.len >= 8 && load_u64(body) != no))
        e->wrong++;
    lane_advance(e->in, pos_end);
    return env.type;
}

/* ---- the peer ---- */

static bool
produce(end *e, const job *j)
{
    static _Thread_local uint8_t body[SIZE_MAX_BODY];
    uint64_t                     until = bench_now_ns() + (uint64_t)(j->b->seconds * 1e9);
    envelope                     env = { .len = j->t->size, .type = TYPE_DATA };
    uint32_t                     staged = 0;
    bool                         ok = true;

    memset(body, 7, sizeof body);
    for (env.corr = 0; ok; env.corr++) {
        ok = say(e, &env, body);
        if (++staged == j->t->batch) {
            show(e);
            staged = 0;
        }
        if (env.corr % 64 == 63 && bench_now_ns() > until)
            break;
    }
    env = (envelope){ .type = TYPE_STOP, .corr = env.corr + 1 };
    ok = ok && say(e, &env, NULL);
    show(e);
    return ok && wait_starving(e, has_head, lane_tail(e->out));
}

static bool
echo(end *e)
{
    uint8_t body[64] = { 0 };
    int     type = TYPE_DATA;

    for (uint64_t no = 0; type == TYPE_DATA; no++) {
        envelope env = { .len = sizeof body, .corr = no };

        type = hear(e, no);
        env.type = (uint16_t)type;
        if (type < 0 || !say(e, &env, body))
            return false;
        show(e);
        acknowledge(e); /* after the publish, as the kernel does */
    }
    return e->wrong == 0 && wait_starving(e, has_head, lane_tail(e->out));
}

static int
be_peer(const job *j)
{
    end e;
    int status = 1;

    kernel_place(j->b, 1, j->t->how == BY_POLLING);
    if (end_open(&e, j, far_addr) < 0)
        (void)fprintf(stderr, "bench: %s\n", err_text());
    else if (j->t->round_trip ? echo(&e) : produce(&e, j))
        status = 0;
    end_close(&e);
    if (j->host != NULL)
        kernel_host_stop(j->host);
    return status;
}

static void *
peer_thread(void *arg)
{
    job *j = arg;

    j->status = be_peer(j);
    return NULL;
}

/* ---- this side ---- */

static bool
consume(end *e, const trial *t, const bench_out *o)
{
    uint64_t count = 0;
    uint64_t begun;
    double   took;
    int      type = hear(e, 0); /* the clock runs from the second record on */

    begun = bench_now_ns();
    while (type == TYPE_DATA) {
        type = hear(e, ++count);
        if (count % ACK_EVERY == 0)
            acknowledge(e);
    }
    took = (double)(bench_now_ns() - begun) / 1e9;
    acknowledge(e);
    if (type != TYPE_STOP || e->wrong > 0) {
        (void)fprintf(stderr, "bench: %s: %llu of %llu records wrong\n", t->name,
                      (unsigned long long)e->wrong, (unsigned long long)count);
        return false;
    }
    bench_row(o, t->name, "throughput", (double)count / took, "msg/s");
    bench_row(o, t->name, "bytes", (double)count * t->size / took, "B/s");
    bench_row(o, t->name, "of_memcpy", (double)count / took / kernel_copy_rate(t->size), "1");
    if (t->how == BY_POLLING)
        bench_row(o, t->name, "of_pass", (double)count / took / t->pass_rate, "1");
    return true;
}

static bool
ask(end *e, uint64_t no, uint16_t type)
{
    uint8_t  body[64] = { 0 };
    envelope env = { .len = sizeof body, .corr = no, .type = type };

    if (!say(e, &env, body))
        return false;
    show(e);
    acknowledge(e); /* of the last trip */
    return hear(e, no) == type;
}

static bool
measure_trips(end *e, const job *j)
{
    uint64_t *ns = malloc(TIMES_MAX * sizeof *ns);
    uint64_t  no = 0;
    bool      ok = ns != NULL && ask(e, no, TYPE_DATA); /* the first waits for the peer to start */
    uint64_t  now = bench_now_ns();
    uint64_t  until = now + (uint64_t)(j->b->seconds * 1e9);

    while (ok && no + 1 < TIMES_MAX && now < until) {
        uint64_t from = now;

        ok = ask(e, ++no, TYPE_DATA);
        now = bench_now_ns();
        ns[no - 1] = now - from;
    }
    ok = ok && ask(e, no + 1, TYPE_STOP) && e->wrong == 0;
    acknowledge(e);
    if (ok)
        kernel_times(j->b, j->t->name, ns, no);
    else
        (void)fprintf(stderr, "bench: %s: an answer was wrong or did not come\n", j->t->name);
    free(ns);
    return ok;
}

static int
make_host_files(host *both[2])
{
    uuid generation = { { 1 } };
    int  rc = kernel_hosts_make(both, dir, near_addr, far_addr);

    for (int i = 0; i < 2 && rc >= 0; i++) {
        char path[112];

        (void)snprintf(path, sizeof path, "%s/%s", kernel_host_dir(both[i]), i == 0 ? "there" : "back");
        rc = lane_create(path, LANE_LEN, i == 0 ? near_addr : far_addr, i == 0 ? far_addr : near_addr,
                         &generation);
    }
    return rc;
}

static int
make_files(void)
{
    uuid generation = { { 1 } };
    char path[112];
    int  rc;

    rc = wire_slot_create(dir, near_addr);
    if (rc == E_OK)
        rc = wire_slot_create(dir, far_addr);
    path_of(path, near_addr);
    if (rc == E_OK)
        rc = lane_create(path, LANE_LEN, near_addr, far_addr, &generation);
    path_of(path, far_addr);
    if (rc == E_OK)
        rc = lane_create(path, LANE_LEN, far_addr, near_addr, &generation);
    return rc;
}

static bool
drive(job *j, const bench_out *o)
{
    end  e;
    bool ok = false;

    kernel_place(j->b, 0, j->t->how == BY_POLLING);
    if (end_open(&e, j, near_addr) < 0)
        (void)fprintf(stderr, "bench: %s\n", err_text());
    else
        ok = j->t->round_trip ? measure_trips(&e, j) : consume(&e, j->t, o);
    /* The peer waits for its last acknowledgement, which a zmq edge may have to be asked for. */
    for (int i = 0; e.w != NULL && i < 5; i++) {
        (void)wire_pump(e.w);
        wire_wait(e.w, 10000000, NULL, NULL, 0);
    }
    end_close(&e);
    if (j->host != NULL)
        kernel_host_stop(j->host);
    return ok;
}

static bool
run_processes(job *j, host *both[2], const bench_out *o)
{
    int   status = 1;
    bool  ok;
    pid_t pid = fork();

    j->host = both[pid == 0];
    if (pid == 0) {
        if (j->t->how != BY_POLLING)
            j->ctx = wire_context();
        _exit(be_peer(j));
    }
    if (pid < 0)
        return false;
    if (j->t->how != BY_POLLING)
        j->ctx = wire_context();
    ok = drive(j, o);
    if (j->ctx != NULL)
        wire_context_close(j->ctx);
    return waitpid(pid, &status, 0) == pid && status == 0 && ok;
}

static bool
run_threads(job *j, const bench_out *o)
{
    pthread_t thread;
    bool      ok;

    if (j->t->how != BY_POLLING)
        j->ctx = wire_context();
    if (pthread_create(&thread, NULL, peer_thread, j) != 0)
        return false;
    ok = drive(j, o);
    (void)pthread_join(thread, NULL);
    if (j->ctx != NULL)
        wire_context_close(j->ctx);
    return ok && j->status == 0;
}

static bool
run(const trial *t, const kernel_bench *b)
{
    job   j = { .t = t, .b = b };
    host *both[2] = { NULL, NULL };
    char  base[80];
    bool  ok = false;

    (void)fflush(b->out.to);
    (void)snprintf(base, sizeof base, "%s/edge", b->dir);
    (void)snprintf(dir, sizeof dir, "%s", base);
    if (mkdir(dir, 0700) < 0 || (t->how == BY_LINK ? make_host_files(both) : make_files()) < 0)
        (void)fprintf(stderr, "bench: %s: %s\n", dir, err_text());
    else
        ok = t->processes ? run_processes(&j, both, &b->out) : run_threads(&j, &b->out);
    kernel_hosts_free(both);
    rundir_remove(base);
    return ok;
}

/* ---- the list ---- */

static const uint32_t sizes[] = { 64, 256, 1024, 65536 };
static const struct {
    const char *name;
    uint32_t    records;
} batches[] = { { "batch1", 1 }, { "batch32", 32 }, { "step", STEP } };

/* clang-format off */
static const trial carriers[] = {
/*    name                              body   batch  how         processes  round trip */
    { "ring/64B/batch32/inproc",          64,   32,  BY_RING,     false,     false },
    { "ring/1KiB/batch32/inproc",       1024,   32,  BY_RING,     false,     false },
    { "ring/64KiB/batch1/inproc",      65536,    1,  BY_RING,     false,     false },
    { "ring/64B/batch32/ipc",             64,   32,  BY_RING,     true,      false },
    { "ring/1KiB/batch32/ipc",          1024,   32,  BY_RING,     true,      false },
    { "ring/64KiB/batch1/ipc",         65536,    1,  BY_RING,     true,      false },
    { "zmq/64B/batch32/inproc",           64,   32,  BY_ZMQ,      false,     false },
    { "zmq/1KiB/batch32/inproc",        1024,   32,  BY_ZMQ,      false,     false },
    { "zmq/64KiB/batch1/inproc",       65536,    1,  BY_ZMQ,      false,     false },
    { "zmq/64B/batch32/ipc",              64,   32,  BY_ZMQ,      true,      false },
    { "zmq/1KiB/batch32/ipc",           1024,   32,  BY_ZMQ,      true,      false },
    { "zmq/64KiB/batch1/ipc",          65536,    1,  BY_ZMQ,      true,      false },
    { "link/64B/batch32/tcp+curve",       64,   32,  BY_LINK,     true,      false },
    { "link/1KiB/batch32/tcp+curve",    1024,   32,  BY_LINK,     true,      false },
    { "link/64KiB/batch1/tcp+curve",   65536,    1,  BY_LINK,     true,      false },
    { "trip/lane/2threads",               64,    1,  BY_POLLING,  false,     true  },
    { "trip/lane/2proc",                  64,    1,  BY_POLLING,  true,      true  },
    { "trip/ring/inproc",                 64,    1,  BY_RING,     false,     true  },
    { "trip/ring/ipc",                    64,    1,  BY_RING,     true,      true  },
    { "trip/zmq/inproc",                  64,    1,  BY_ZMQ,      false,     true  },
    { "trip/zmq/ipc",                     64,    1,  BY_ZMQ,      true,      true  },
    { "trip/link/tcp+curve",              64,    1,  BY_LINK,     true,      true  },
};
/* clang-format on */

static int
run_lanes(const kernel_bench *b, bool processes)
{
    int failed = 0;

    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        for (size_t k = 0; k < COUNT_OF(batches); k++) {
            char  size[16];
            char  name[64];
            trial t = { .name = name, .size = sizes[i], .processes = processes };

            /* Never more than half of the lane at once: the consumer takes one half, the other fills. */
            t.batch = (uint32_t)min_u64(batches[k].records,
                                        LANE_LEN / 2 / envelope_record_len(t.size));
            kernel_size_name(size, t.size);
            (void)snprintf(name, sizeof name, "lane/%s/%s/%s", size, batches[k].name,
                           processes ? "2proc" : "2threads");
            if (!kernel_wants(b, name))
                continue;
            t.pass_rate = kernel_pass_rate(b, t.size);
            failed += !run(&t, b);
        }
    }
    return failed;
}

int
kernel_lanes(const kernel_bench *b)
{
    int failed;

    near_addr = addr_of(KIND_FRONT, 0);
    far_addr = addr_of(KIND_INGEST, 0);
    failed = run_lanes(b, false) + run_lanes(b, true);
    for (size_t i = 0; i < COUNT_OF(carriers); i++)
        if (kernel_wants(b, carriers[i].name))
            failed += !run(&carriers[i], b);
    return failed;
}
