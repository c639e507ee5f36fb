/* kernel.c - `haltless bench kernel`: how fast records pass between two actors, way by way.
 *
 *   memcpy   the same bytes, copied once: what no queue can beat
 *   lane     both sides poll
 *   ring     both sides sleep when there is nothing: the lane and ZeroMQ notes
 *   zmq      the lane's records as ZeroMQ frames
 *
 * ... as two threads (inproc) and as two processes (ipc).  A producer writes every body in full and
 * publishes after each record or after 32; the consumer touches every cache line, acknowledges like
 * a kernel batch, and checks that each record is the next one with the bytes it was given.  Round
 * trips: one record there, one back.
 *
 * The peer of a case is a thread, or a child forked before this process has a ZeroMQ context.
 */
#include "bench/bench.h"
#include "bench/out.h"

#include "proto/err.h"
#include "transport/wire.h"

#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LANE_LEN = 2 * 1024 * 1024,
    ACK_EVERY = 32,
    SPINS = 256,
    PATIENCE_S = 20,
    TIMES_MAX = 1 << 20
};
enum { WINDOW = 8 * 1024 * 1024, SIZE_MAX_BODY = 65536 };
enum { TYPE_DATA = 1, TYPE_STOP = 2 };
enum how { BY_POLLING, BY_RING, BY_ZMQ };

typedef struct trial {
    const char *name;
    uint32_t    size; /* of the body */
    uint32_t    batch;
    enum how    how;
    bool        processes;
    bool        round_trip;
} trial;

typedef struct bench_settings {
    double seconds; /* a case */
    int    core[2];
} bench_settings;

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
    const bench_settings *s;
    void                 *ctx;
    int                   status;
} job;

static char dir[64];
static addr near_addr;
static addr far_addr;

/* ---- an end of a case ---- */

static void
path_of(char out[96], addr from)
{
    (void)snprintf(out, 96, "%s/%s", dir, from == near_addr ? "there" : "back");
}

static int
end_open(end *e, const job *j, addr self)
{
    addr peer = self == near_addr ? far_addr : near_addr;
    char path[96];
    int  rc;

    memset(e, 0, sizeof *e);
    path_of(path, self);
    rc = lane_open(&e->out, path, LANE_PRODUCER);
    path_of(path, peer);
    if (rc == E_OK && j->t->how != BY_ZMQ)
        rc = lane_open(&e->in, path, LANE_CONSUMER);
    if (rc < 0 || j->t->how == BY_POLLING)
        return rc;
    rc = wire_open(&e->w, j->ctx, dir, self);
    if (rc == E_OK)
        rc = e->out_edge = wire_add_out(
            e->w, e->out, j->t->how == BY_ZMQ ? CARRIER_ZMQ : CARRIER_RING, !j->t->processes);
    if (rc >= 0)
        rc = e->in_edge =
            wire_add_in(e->w, &e->in, peer, j->t->how == BY_ZMQ ? CARRIER_ZMQ : CARRIER_RING,
                        !j->t->processes, LANE_LEN);
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

static bool
say(end *e, const envelope *env, const void *body)
{
    if (lane_put(e->out, env, body) == E_OK)
        return true;
    show(e);
    return wait_starving(e, has_room, envelope_record_len(env->len)) &&
           lane_put(e->out, env, body) == E_OK;
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

static void
acknowledge(end *e)
{
    bool starved = lane_ack(e->in, lane_read_pos(e->in));

    if (e->w != NULL)
        wire_acked(e->w, e->in_edge, starved);
}

/* ---- the peer ---- */

static bool
produce(end *e, const job *j)
{
    static _Thread_local uint8_t body[SIZE_MAX_BODY];
    uint64_t                     until = bench_now_ns() + (uint64_t)(j->s->seconds * 1e9);
    envelope                     env = { .len = j->t->size, .type = TYPE_DATA };
    bool                         ok = true;

    memset(body, 7, sizeof body);
    for (env.corr = 0; ok; env.corr++) {
        memcpy(body, &env.corr, sizeof env.corr);
        ok = say(e, &env, body);
        if ((env.corr + 1) % j->t->batch == 0)
            show(e);
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
        acknowledge(e);
        env.type = (uint16_t)type;
        memcpy(body, &no, sizeof no);
        if (type < 0 || !say(e, &env, body))
            return false;
        show(e);
    }
    return e->wrong == 0 && wait_starving(e, has_head, lane_tail(e->out));
}

static int
be_peer(const job *j)
{
    end e;
    int status = 1;

    bench_pin(j->s->core[1]);
    if (end_open(&e, j, far_addr) < 0)
        (void)fprintf(stderr, "bench: %s\n", err_text());
    else if (j->t->round_trip ? echo(&e) : produce(&e, j))
        status = 0;
    end_close(&e);
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
        if (count % ACK_EVERY == 0 || !lane_has_more(e->in))
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
    return true;
}

static bool
ask(end *e, uint64_t no, uint16_t type)
{
    uint8_t  body[64] = { 0 };
    envelope env = { .len = sizeof body, .corr = no, .type = type };

    memcpy(body, &no, sizeof no);
    if (!say(e, &env, body))
        return false;
    show(e);
    if (hear(e, no) != type)
        return false;
    acknowledge(e);
    return true;
}

static bool
measure_trips(end *e, const job *j, const bench_out *o)
{
    static const struct {
        const char *name;
        double      q;
    } rows[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "p99.9", 0.999 }, { "max", 1 } };
    uint64_t *ns = malloc(TIMES_MAX * sizeof *ns);
    uint64_t  until = bench_now_ns() + (uint64_t)(j->s->seconds * 1e9);
    uint64_t  no = 0;
    bool      ok = ns != NULL && ask(e, no, TYPE_DATA); /* the first waits for the peer to start */

    for (no = 1; ok && no < TIMES_MAX; no++) {
        uint64_t from = bench_now_ns();

        ok = ask(e, no, TYPE_DATA);
        ns[no - 1] = bench_now_ns() - from;
        if (from > until)
            break;
    }
    ok = ok && ask(e, no < TIMES_MAX ? no + 1 : no, TYPE_STOP) && e->wrong == 0;
    if (ok) {
        bench_sort(ns, no - 1);
        for (size_t i = 0; i < COUNT_OF(rows); i++)
            bench_row(o, j->t->name, rows[i].name, (double)bench_quantile(ns, no - 1, rows[i].q),
                      "ns");
    } else {
        (void)fprintf(stderr, "bench: %s: an answer was wrong or did not come\n", j->t->name);
    }
    free(ns);
    return ok;
}

static int
make_files(const trial *t)
{
    uuid generation = { { 1 } };
    char path[96];
    int  rc;

    (void)t;
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

    bench_pin(j->s->core[0]);
    if (end_open(&e, j, near_addr) < 0)
        (void)fprintf(stderr, "bench: %s\n", err_text());
    else
        ok = j->t->round_trip ? measure_trips(&e, j, o) : consume(&e, j->t, o);
    /* The peer waits for its last acknowledgement, which a zmq edge may have to be asked for. */
    for (int i = 0; e.w != NULL && i < 5; i++) {
        (void)wire_pump(e.w);
        wire_wait(e.w, 10000000, NULL, NULL, 0);
    }
    end_close(&e);
    return ok;
}

static bool
run_processes(job *j, const bench_out *o)
{
    int   status = 1;
    bool  ok;
    pid_t pid = fork();

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
run(const trial *t, const bench_settings *s, const bench_out *o)
{
    job j = { .t = t, .s = s };

    (void)fflush(o->to);
    if (make_files(t) < 0) {
        (void)fprintf(stderr, "bench: %s\n", err_text());
        return false;
    }
    return t->processes ? run_processes(&j, o) : run_threads(&j, o);
}

/* ---- what nothing can beat ---- */

static bool
run_memcpy(uint32_t size, const bench_settings *s, const bench_out *o)
{
    uint8_t *to = calloc(1, WINDOW);
    uint8_t *from = malloc(size);
    char     name[32];
    uint64_t begun = bench_now_ns();
    uint64_t count = 0;
    double   took = 0;
    bool     ok = to != NULL && from != NULL;

    for (uint32_t at = 0; ok && took < s->seconds; count++) {
        memcpy(from, &count, sizeof count);
        memcpy(to + at, from, size);
        at = (at + size) % WINDOW;
        if (count % 1024 == 0) {
            __asm__ volatile("" ::"r"(to) : "memory");
            took = (double)(bench_now_ns() - begun) / 1e9;
        }
    }
    (void)snprintf(name, sizeof name, size < 1024 ? "memcpy/%uB" : "memcpy/%uKiB",
                   size < 1024 ? size : size / 1024);
    if (ok) {
        bench_row(o, name, "throughput", (double)count / took, "msg/s");
        bench_row(o, name, "bytes", (double)count * size / took, "B/s");
    }
    free(to);
    free(from);
    return ok;
}

/* ---- the list ---- */

/* clang-format off */
static const trial trials[] = {
/*    name                              body   batch  how         processes  round trip */
    { "lane/64B/batch1/2threads",         64,    1,  BY_POLLING,  false,     false },
    { "lane/64B/batch32/2threads",        64,   32,  BY_POLLING,  false,     false },
    { "lane/1KiB/batch1/2threads",      1024,    1,  BY_POLLING,  false,     false },
    { "lane/1KiB/batch32/2threads",     1024,   32,  BY_POLLING,  false,     false },
    { "lane/64KiB/batch1/2threads",    65536,    1,  BY_POLLING,  false,     false },
    { "lane/64B/batch1/2proc",            64,    1,  BY_POLLING,  true,      false },
    { "lane/64B/batch32/2proc",           64,   32,  BY_POLLING,  true,      false },
    { "lane/1KiB/batch1/2proc",         1024,    1,  BY_POLLING,  true,      false },
    { "lane/1KiB/batch32/2proc",        1024,   32,  BY_POLLING,  true,      false },
    { "lane/64KiB/batch1/2proc",       65536,    1,  BY_POLLING,  true,      false },
    { "ring/64B/batch32/inproc",          64,   32,  BY_RING,     false,     false },
    { "ring/1KiB/batch32/inproc",       1024,   32,  BY_RING,     false,     false },
    { "ring/64B/batch32/ipc",             64,   32,  BY_RING,     true,      false },
    { "ring/1KiB/batch32/ipc",          1024,   32,  BY_RING,     true,      false },
    { "ring/64KiB/batch1/ipc",         65536,    1,  BY_RING,     true,      false },
    { "zmq/64B/batch32/inproc",           64,   32,  BY_ZMQ,      false,     false },
    { "zmq/1KiB/batch32/inproc",        1024,   32,  BY_ZMQ,      false,     false },
    { "zmq/64KiB/batch1/inproc",       65536,    1,  BY_ZMQ,      false,     false },
    { "zmq/64B/batch32/ipc",              64,   32,  BY_ZMQ,      true,      false },
    { "zmq/1KiB/batch32/ipc",           1024,   32,  BY_ZMQ,      true,      false },
    { "zmq/64KiB/batch1/ipc",          65536,    1,  BY_ZMQ,      true,      false },
    { "trip/lane/2threads",               64,    1,  BY_POLLING,  false,     true  },
    { "trip/lane/2proc",                  64,    1,  BY_POLLING,  true,      true  },
    { "trip/ring/inproc",                 64,    1,  BY_RING,     false,     true  },
    { "trip/ring/ipc",                    64,    1,  BY_RING,     true,      true  },
    { "trip/zmq/inproc",                  64,    1,  BY_ZMQ,      false,     true  },
    { "trip/zmq/ipc",                     64,    1,  BY_ZMQ,      true,      true  },
};
static const uint32_t copies[] = { 64, 1024, 65536 };
/* clang-format on */

static void
remove_files(void)
{
    static const char *const names[] = { "there",          "back",           "slot.front.0",
                                         "slot.ingest.0",  "bell.front.0.1", "bell.ingest.0.1",
                                         "road.front.0.1", "road.ingest.0.1" };
    char                     path[96];

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

static const char help[] =
    "haltless bench kernel - records between two actors: lanes, notes and ZeroMQ frames\n"
    "\n"
    "  --seconds S     a case (0.3)\n"
    "  --only TEXT     only cases whose name has it\n"
    "  --cores A,B     pins both sides\n"
    "  --json          one object a line\n";

static int
run_all(const bench_settings *s, const char *only, const bench_out *o)
{
    int failed = 0;

    for (size_t i = 0; i < COUNT_OF(copies); i++)
        if (only == NULL || strstr("memcpy", only) != NULL)
            failed += !run_memcpy(copies[i], s, o);
    for (size_t i = 0; i < COUNT_OF(trials); i++)
        if (only == NULL || strstr(trials[i].name, only) != NULL)
            failed += !run(&trials[i], s, o);
    return failed == 0 ? 0 : 1;
}

int
bench_kernel(int argc, char **argv)
{
    static const struct option flags[] = {
        { "seconds", required_argument, NULL, 's' }, { "only", required_argument, NULL, 'o' },
        { "cores", required_argument, NULL, 'c' },   { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },          { 0 },
    };
    bench_settings s = { .seconds = 0.3, .core = { -1, -1 } };
    bench_out      o = { .to = stdout, .bench = "kernel" };
    const char    *only = NULL;
    char          *rest = NULL;
    int            status;
    int            key;

    optind = 1;
    while ((key = getopt_long(argc, argv, "+", flags, NULL)) != -1) {
        if (key == 's' &&
            (s.seconds = strtod(optarg, &rest), *rest == 0 && s.seconds > 0 && s.seconds <= 60))
            continue;
        if (key == 'c' && sscanf(optarg, "%d,%d", &s.core[0], &s.core[1]) == 2)
            continue;
        if (key == 'h') {
            (void)fputs(help, stdout);
            return 0;
        }
        if (key != 'o' && key != 'j') {
            (void)fputs(help, stderr);
            return 2;
        }
        only = key == 'o' ? optarg : only;
        o.json |= key == 'j';
    }
    (void)snprintf(dir, sizeof dir, "%s/haltless-bench-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(dir) == NULL) {
        (void)fprintf(stderr, "bench: no directory %s\n", dir);
        return 1;
    }
    near_addr = addr_of(KIND_FRONT, 0);
    far_addr = addr_of(KIND_INGEST, 0);
    bench_env(&o, dir, "none", "two ends of one edge", argc, argv);
    status = run_all(&s, only, &o);
    remove_files();
    return status;
}
