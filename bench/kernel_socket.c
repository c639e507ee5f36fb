/* kernel_socket.c - bare ZeroMQ under the same load: frames of records from a PUSH to a PULL socket, in two processes.
 *
 * Beside the zmq carrier and the link it shows what positions, acknowledgements and resending cost, and beside each
 * other ipc, tcp and tcp with CURVE what the way itself does.  The receiver touches every line and checks the numbers.
 */
#include "bench/kernel.h"

#include "proto/envelope.h"
#include "proto/err.h"
#include "transport/trust.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

enum { HIGH_WATER = 64, PATIENCE_MS = 20000, CHECK_EVERY = 16 };
enum way { IPC, TCP, CURVE };

typedef struct trial {
    const char *name;
    uint32_t    size; /* of the body */
    uint32_t    batch;
    enum way    way;
} trial;

typedef struct keys {
    trust_pair near, far;
} keys;

static void
set(void *socket, int option, int value)
{
    ASSERT(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

/* ---- the sender, a child ---- */

static void
fill(uint8_t *frame, const trial *t, uint64_t from)
{
    uint64_t record = envelope_record_len(t->size);

    for (uint32_t i = 0; i < t->batch; i++) {
        envelope e = { .len = t->size, .type = 1, .corr = from + i };

        memcpy(frame + i * record, &e, sizeof e);
        memset(frame + i * record + sizeof e, 7, t->size);
    }
}

static int
send_all(const trial *t, const kernel_bench *b, const keys *k, const char *endpoint)
{
    void    *ctx = zmq_ctx_new();
    void    *push = zmq_socket(ctx, ZMQ_PUSH);
    size_t   len = t->batch * envelope_record_len(t->size);
    uint64_t until;

    kernel_place(b, 1, false);
    set(push, ZMQ_SNDHWM, HIGH_WATER);
    set(push, ZMQ_LINGER, 1000);
    if (t->way == CURVE)
        trust_visit(push, &k->far, k->near.public);
    if (zmq_connect(push, endpoint) < 0)
        return 1;
    until = bench_now_ns() + (uint64_t)(b->seconds * 1e9);
    for (uint64_t n = 0; n % CHECK_EVERY != 0 || bench_now_ns() < until; n++) {
        zmq_msg_t m;

        ASSERT(zmq_msg_init_size(&m, len) == 0);
        fill(zmq_msg_data(&m), t, n * t->batch);
        if (zmq_msg_send(&m, push, 0) < 0)
            return 1;
    }
    (void)zmq_send(push, "", 0, 0);
    (void)zmq_close(push);
    (void)zmq_ctx_term(ctx);
    return 0;
}

/* ---- the receiver ---- */

/* False: not the records that should have come. */
static bool
look(const uint8_t *frame, size_t len, const trial *t, uint64_t from)
{
    static volatile uint64_t sink;
    uint64_t                 record = envelope_record_len(t->size);
    uint64_t                 sum = 0;

    if (len != t->batch * record)
        return false;
    for (uint32_t i = 0; i < t->batch; i++) {
        envelope e;

        memcpy(&e, frame + i * record, sizeof e);
        if (e.corr != from + i || e.len != t->size)
            return false;
        for (uint32_t at = 0; at < t->size; at += 64)
            sum += load_u32(frame + i * record + sizeof e + at);
    }
    sink = sum;
    (void)sink;
    return true;
}

static bool
receive_all(void *pull, const trial *t, const kernel_bench *b)
{
    uint64_t count = 0;
    uint64_t begun = 0;
    double   took;

    for (;;) {
        zmq_msg_t m;
        size_t    len;
        bool      good;

        (void)zmq_msg_init(&m);
        if (zmq_msg_recv(&m, pull, 0) < 0)
            return false;
        len = zmq_msg_size(&m);
        good = len == 0 || look(zmq_msg_data(&m), len, t, count);
        (void)zmq_msg_close(&m);
        if (!good || len == 0)
            break;
        if (count == 0) /* the clock runs from the first frame on */
            begun = bench_now_ns();
        count += t->batch;
    }
    took = (double)(bench_now_ns() - begun) / 1e9;
    if (count <= t->batch)
        return false;
    count -= t->batch;
    bench_row(&b->out, t->name, "throughput", (double)count / took, "msg/s");
    bench_row(&b->out, t->name, "bytes", (double)count * t->size / took, "B/s");
    bench_row(&b->out, t->name, "of_memcpy", (double)count / took / kernel_copy_rate(t->size), "1");
    return true;
}

/* ---- a case ---- */

/* tcp: any port; the child is told which. */
static bool
bind_pull(void *pull, const trial *t, const kernel_bench *b, char name[256])
{
    size_t len = 256;

    set(pull, ZMQ_RCVHWM, HIGH_WATER);
    set(pull, ZMQ_RCVTIMEO, PATIENCE_MS);
    (void)snprintf(name, 256, t->way == IPC ? "ipc://%s/socket" : "tcp://127.0.0.1:*", b->dir);
    return zmq_bind(pull, name) == 0 && zmq_getsockopt(pull, ZMQ_LAST_ENDPOINT, name, &len) == 0;
}

/* Forked before this process has a context, and told the endpoint by a pipe. */
static pid_t
start_sender(const trial *t, const kernel_bench *b, const keys *k, int *tell)
{
    int   ends[2];
    pid_t pid;

    if (pipe(ends) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        char name[256];

        (void)close(ends[1]);
        _exit(read(ends[0], name, sizeof name) == (ssize_t)sizeof name ? send_all(t, b, k, name) : 1);
    }
    (void)close(ends[0]);
    *tell = ends[1];
    return pid;
}

static bool
run(const trial *t, const kernel_bench *b, const keys *k)
{
    int   tell = -1;
    char  name[256] = "";
    int   status = 1;
    void *ctx;
    void *pull;
    bool  ok;
    pid_t pid;

    (void)fflush(b->out.to);
    pid = start_sender(t, b, k, &tell);
    if (pid < 0)
        return false;
    ctx = zmq_ctx_new();
    pull = zmq_socket(ctx, ZMQ_PULL);
    kernel_place(b, 0, false);
    if (t->way == CURVE)
        trust_serve(pull, &k->near);
    ok = bind_pull(pull, t, b, name) && write(tell, name, sizeof name) == (ssize_t)sizeof name &&
         receive_all(pull, t, b);
    (void)close(tell);
    if (!ok) {
        (void)fprintf(stderr, "bench: %s: frames are missing or wrong\n", t->name);
        (void)kill(pid, SIGKILL);
    }
    (void)waitpid(pid, &status, 0);
    (void)zmq_close(pull);
    (void)zmq_ctx_term(ctx);
    return ok && status == 0;
}

/* clang-format off */
static const trial trials[] = {
    { "socket/64B/batch32/ipc",           64, 32, IPC },
    { "socket/1KiB/batch32/ipc",        1024, 32, IPC },
    { "socket/64KiB/batch1/ipc",       65536,  1, IPC },
    { "socket/64B/batch32/tcp",           64, 32, TCP },
    { "socket/1KiB/batch32/tcp",        1024, 32, TCP },
    { "socket/64KiB/batch1/tcp",       65536,  1, TCP },
    { "socket/64B/batch32/tcp+curve",     64, 32, CURVE },
    { "socket/1KiB/batch32/tcp+curve",  1024, 32, CURVE },
    { "socket/64KiB/batch1/tcp+curve", 65536,  1, CURVE },
};
/* clang-format on */

static int
make_keys(const kernel_bench *b, keys *k)
{
    static const char *const names[] = { "near", "near.pub", "far", "far.pub" };
    char                     path[96];
    int                      rc;

    (void)snprintf(path, sizeof path, "%s/near", b->dir);
    rc = trust_make(path, &k->near);
    (void)snprintf(path, sizeof path, "%s/far", b->dir);
    if (rc >= 0)
        rc = trust_make(path, &k->far);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", b->dir, names[i]);
        (void)unlink(path);
    }
    return rc;
}

int
kernel_sockets(const kernel_bench *b)
{
    keys k;
    int  failed = 0;

    if (make_keys(b, &k) < 0) {
        (void)fprintf(stderr, "bench: %s\n", err_text());
        return 1;
    }
    for (size_t i = 0; i < COUNT_OF(trials); i++)
        if (kernel_wants(b, trials[i].name))
            failed += !run(&trials[i], b, &k);
    return failed;
}
