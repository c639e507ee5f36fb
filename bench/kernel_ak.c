/* kernel_ak.c - through the whole kernel: asks and their answers, and notes, between two actors.
 *
 *   front.0 ──READINGS (an ask of 64 bytes)──▶ ingest.0
 *           ◀──STORED (16 bytes)───────────────         one at a time; each answer is checked
 *
 *   front.0 ──FEED (notes of 64 bytes)───────▶ ingest.0  as many as the lane takes; counted at the far end
 *
 * Both as two threads (inproc) and as two processes (ipc), on both carriers.  Polling: the actors spin
 * (kernel.spin_us) as long as the case lasts; sleeping: they park at once, as by default.
 */
#include "bench/kernel_node.h"

#include "proto/err.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMES_MAX = 1 << 20, BODY = 64, WARM = 64, POLL_US = 1000000 };
static const uint64_t WITHIN_NS = 10000000000ull;

typedef struct trial {
    const char *name;
    node_form   form;
    bool        notes;
} trial;

/* What the actors of the case share; the far one may be another process's. */
typedef struct far_side {
    _Atomic uint64_t taken;
    _Atomic uint64_t first_ns; /* of what was taken: the clock runs from here, */
    _Atomic uint64_t last_ns;  /* until here */
    _Atomic uint64_t wrong;
} far_side;

static struct {
    uint64_t *ns;
    uint64_t  count;
    uint64_t  number;
    uint64_t  asked_ns;
    uint64_t  until_ns;
    uint64_t  seconds_ns;
    uint64_t  wrong;
    far_side *far;
} now;

static const addr far_addr = (uint64_t)KIND_INGEST << 32;

/* ---- the near actor ---- */

static ak_verdict
ask_next(ak *k)
{
    uint64_t body[BODY / 8] = { ++now.number };

    if (ak_ask(k, far_addr, MSG_READINGS, body, sizeof body, WITHIN_NS, NULL) == 0) {
        now.wrong++;
        ak_stop(k);
    }
    return AK_DONE;
}

static ak_verdict
on_start(ak *k, void *self, const ak_msg *m)
{
    (void)self, (void)m;
    now.asked_ns = bench_now_ns();
    return ask_next(k);
}

static ak_verdict
on_answer(ak *k, void *self, const ak_msg *m)
{
    uint64_t at_ns = bench_now_ns();

    (void)self;
    now.wrong += m->type != MSG_STORED || load_u64(m->body) != now.number;
    if (now.number > WARM && now.count < TIMES_MAX)
        now.ns[now.count++] = at_ns - now.asked_ns;
    now.asked_ns = at_ns;
    if (now.number == WARM)
        now.until_ns = at_ns + now.seconds_ns;
    if (now.wrong == 0 && (now.number < WARM || (at_ns < now.until_ns && now.count < TIMES_MAX)))
        return ask_next(k);
    ak_stop(k);
    return AK_DONE;
}

/* Fills the lane; its timer is due in the next step. */
static ak_verdict
on_more(ak *k, void *self, const ak_msg *m)
{
    uint64_t body[BODY / 8] = { 0 };

    (void)self, (void)m;
    for (int i = 0; i < 1024; i++) {
        body[0] = now.number;
        if (ak_send(k, far_addr, MSG_FEED, body, sizeof body) != E_OK)
            break;
        now.number++;
    }
    if (now.until_ns == 0)
        now.until_ns = ak_now_ns(k) + now.seconds_ns;
    if (ak_now_ns(k) < now.until_ns)
        (void)ak_timer(k, 1, NULL); /* the next step */
    else
        ak_stop(k);
    return AK_DONE;
}

static int
start(ak *k, void *self)
{
    (void)self;
    (void)ak_timer(k, 1, NULL); /* the next step */
    return E_OK;
}

static const ak_on   asker_on[] = { { MSG_TIMER, AK_READ, on_start },
                                    { MSG_STORED, AK_READ, on_answer },
                                    { MSG_FAIL, AK_READ, on_answer },
                                    { MSG_LATE, AK_READ, on_answer },
                                    { 0 } };
static const ak_kind asker_kind = {
    .name = "front", .number = KIND_FRONT, .self_size = 8, .on = asker_on, .init = start
};
static const ak_on   sender_on[] = { { MSG_TIMER, AK_READ, on_more }, { 0 } };
static const ak_kind sender_kind = {
    .name = "front", .number = KIND_FRONT, .self_size = 8, .on = sender_on, .init = start
};

/* ---- the far actor ---- */

static ak_verdict
on_ask(ak *k, void *self, const ak_msg *m)
{
    uint64_t body[2] = { load_u64(m->body) };

    (void)self;
    ak_reply(k, m, MSG_STORED, body, sizeof body);
    return AK_DONE;
}

static ak_verdict
on_note(ak *k, void *self, const ak_msg *m)
{
    far_side *f = now.far;
    uint64_t  taken = atomic_load_explicit(&f->taken, memory_order_relaxed);

    (void)self;
    if (load_u64(m->body) != taken)
        atomic_store_explicit(&f->wrong, 1, memory_order_relaxed);
    if (taken == 0)
        atomic_store(&f->first_ns, ak_now_ns(k));
    atomic_store_explicit(&f->last_ns, ak_now_ns(k), memory_order_relaxed);
    atomic_store_explicit(&f->taken, taken + 1, memory_order_release);
    return AK_DONE;
}

static const ak_on   far_on[] = { { MSG_READINGS, AK_READ, on_ask },
                                  { MSG_FEED, AK_READ, on_note },
                                  { 0 } };
static const ak_kind far_kind = {
    .name = "ingest", .number = KIND_INGEST, .self_size = 8, .on = far_on
};

typedef struct far_thread {
    node               *n;
    ak                 *k;
    const kernel_bench *b;
    bool                polls;
    atomic_int          open; /* 1: yes, -1: failed */
} far_thread;

static void *
run_far(void *arg)
{
    far_thread *t = arg;
    int         rc;

    kernel_place(t->b, 1, t->polls);
    rc = kernel_node_actor(t->n, &t->k, &far_kind);
    if (rc < 0)
        (void)fprintf(stderr, "bench: %s\n", err_text());
    atomic_store(&t->open, rc < 0 ? -1 : 1);
    if (rc >= 0)
        (void)ak_run(t->k);
    ak_close(&t->k);
    return NULL;
}

/* ---- a case ---- */

static bool
run_near(node *n, const kernel_bench *b, const trial *t)
{
    ak *k;
    int rc;

    kernel_place(b, 0, t->form.spin_us > 0);
    rc = kernel_node_actor(n, &k, t->notes ? &sender_kind : &asker_kind);
    if (rc >= 0)
        rc = ak_run(k);
    /* The far side takes what is left. */
    for (int i = 0; rc >= 0 && t->notes && i < 2000 && atomic_load(&now.far->taken) < now.number; i++) {
        (void)ak_step(k, 64);
        (void)usleep(1000);
    }
    if (rc < 0)
        (void)fprintf(stderr, "bench: %s\n", err_text());
    ak_close(&k);
    return rc >= 0;
}

static bool
run_threads(node *n, const kernel_bench *b, const trial *t)
{
    far_thread far = { .n = n, .b = b, .polls = t->form.spin_us > 0 };
    pthread_t  thread;
    bool       ok;

    if (kernel_node_context(n) < 0 || pthread_create(&thread, NULL, run_far, &far) != 0)
        return false;
    while (atomic_load(&far.open) == 0)
        (void)usleep(1000);
    ok = atomic_load(&far.open) == 1 && run_near(n, b, t);
    if (atomic_load(&far.open) == 1)
        ak_stop(far.k);
    (void)pthread_join(thread, NULL);
    return ok;
}

static bool
run_processes(node *n, const kernel_bench *b, const trial *t)
{
    far_thread far = { .n = n, .b = b, .polls = t->form.spin_us > 0 };
    pid_t      pid = fork();
    bool       ok;

    if (pid == 0) {
        if (kernel_node_context(n) == E_OK)
            (void)run_far(&far);
        _exit(0);
    }
    if (pid < 0)
        return false;
    ok = kernel_node_context(n) == E_OK && run_near(n, b, t);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return ok;
}

static bool
print(const kernel_bench *b, const trial *t)
{
    double ns = (double)(atomic_load(&now.far->last_ns) - atomic_load(&now.far->first_ns));
    double taken = (double)atomic_load(&now.far->taken);

    if (now.wrong != 0 || atomic_load(&now.far->wrong) != 0 ||
        (t->notes ? atomic_load(&now.far->taken) != now.number || ns <= 0 : now.count == 0)) {
        (void)fprintf(stderr, "bench: %s: something came wrong or not at all\n", t->name);
        return false;
    }
    if (t->notes) {
        bench_row(&b->out, t->name, "throughput", taken * 1e9 / ns, "msg/s");
        bench_row(&b->out, t->name, "of_memcpy", taken * 1e9 / ns / kernel_copy_rate(BODY), "1");
    } else {
        kernel_times(b, t->name, now.ns, now.count);
    }
    return true;
}

static bool
run(const kernel_bench *b, const trial *t)
{
    node *n;
    bool  ok;

    now.count = now.number = now.wrong = now.until_ns = 0;
    now.seconds_ns = (uint64_t)(b->seconds * 1e9);
    memset(now.far, 0, sizeof *now.far);
    (void)fflush(b->out.to);
    if (kernel_node_open(&n, b, &t->form) < 0) {
        (void)fprintf(stderr, "bench: %s\n", err_text());
        return false;
    }
    ok = t->form.processes ? run_processes(n, b, t) : run_threads(n, b, t);
    kernel_node_close(&n);
    return ok && print(b, t);
}

/* clang-format off */
static const trial trials[] = {
    { "ask/ring/2threads/polling",  { CARRIER_RING, false, POLL_US }, false },
    { "ask/ring/2threads/sleeping", { CARRIER_RING, false, 0 },       false },
    { "ask/ring/2proc/polling",     { CARRIER_RING, true,  POLL_US }, false },
    { "ask/ring/2proc/sleeping",    { CARRIER_RING, true,  0 },       false },
    { "ask/zmq/inproc/polling",     { CARRIER_ZMQ,  false, POLL_US }, false },
    { "ask/zmq/inproc/sleeping",    { CARRIER_ZMQ,  false, 0 },       false },
    { "ask/zmq/ipc/polling",        { CARRIER_ZMQ,  true,  POLL_US }, false },
    { "ask/zmq/ipc/sleeping",       { CARRIER_ZMQ,  true,  0 },       false },
    { "note/ring/2threads/polling", { CARRIER_RING, false, POLL_US }, true },
    { "note/ring/2threads/sleeping",{ CARRIER_RING, false, 0 },       true },
    { "note/ring/2proc/polling",    { CARRIER_RING, true,  POLL_US }, true },
    { "note/ring/2proc/sleeping",   { CARRIER_RING, true,  0 },       true },
    { "note/zmq/inproc",            { CARRIER_ZMQ,  false, 0 },       true },
    { "note/zmq/ipc",               { CARRIER_ZMQ,  true,  0 },       true },
};
/* clang-format on */

int
kernel_actors(const kernel_bench *b)
{
    int failed = 0;

    now.ns = malloc(TIMES_MAX * sizeof *now.ns);
    now.far = mmap(NULL, sizeof *now.far, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(now.ns != NULL && now.far != MAP_FAILED);
    for (size_t i = 0; i < COUNT_OF(trials); i++)
        if (kernel_wants(b, trials[i].name))
            failed += !run(b, &trials[i]);
    (void)munmap(now.far, sizeof *now.far);
    free(now.ns);
    return failed;
}
