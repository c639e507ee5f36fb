/* kills.c - a real node under kill -9: the consumer, the producer, the supervisor, thousands of times.
 *
 *   front.0 ──numbers──▶ ingest.0 ──▶ sink: a file of {number, position behind it}, and how many of them count
 *
 * The sink is as a journal is: an entry and the watermark are there together or not at all.  The producer goes on where
 * its lane ends: what it published exists, what it only staged does not.  Records are of one size, so the number that
 * comes next is the lane's tail over that size.
 *
 * Claim, when the last kill is over: the sink holds 0, 1, 2, ... up to what was published, each once, in order, in one
 * generation of lanes.       kills COUNT [SEED]        prints what it counted; ends with 1 when the claim is false
 */
#include "actors/ak_internal.h"
#include "actors/kinds.h"
#include "actors/options.h"
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BODY = 56, RECORD = 128, ENTRIES_MAX = 1 << 24, A_TICK = 8, PATIENCE_MS = 60000, BATCH_MAX = 4096, DISK_US = 400 };
static const uint64_t TICK_NS = 1000000;

/* ---- the sink ---- */

typedef struct sink_entry {
    uint64_t number;
    uint64_t pos_end;
} sink_entry;

typedef struct sink {
    _Atomic uint64_t commit; /* entries that count */
    _Atomic uint32_t enough; /* the producer sends no more */
    _Atomic uint64_t again;  /* deliveries with AK_AGAIN */
    sink_entry       entry[ENTRIES_MAX];
} sink;

static sink *
sink_map(const char *dir)
{
    char  path[4200];
    void *at;
    int   fd;

    (void)snprintf(path, sizeof path, "%s/sink", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(sink)) < 0)
        return NULL;
    at = mmap(NULL, sizeof(sink), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    return at == MAP_FAILED ? NULL : at;
}

/* ---- the consumer ---- */

typedef struct eater {
    sink      *sink;
    uint64_t   mark;
    uint32_t   count;
    sink_entry batch[BATCH_MAX];
} eater;

static ak_verdict
on_number(ak *k, void *self, const ak_msg *m)
{
    eater *e = self;

    (void)k;
    if ((m->flags & AK_AGAIN) != 0)
        atomic_fetch_add(&e->sink->again, 1);
    if (m->pos_end <= e->mark)
        return AK_DONE;
    if (e->count == BATCH_MAX)
        return AK_WAIT;
    e->batch[e->count++] = (sink_entry){ .number = load_u64(m->body), .pos_end = m->pos_end };
    return AK_DONE;
}

static int
eater_flush(ak *k, void *self)
{
    eater   *e = self;
    uint64_t n = atomic_load(&e->sink->commit);

    (void)k;
    if (e->count == 0)
        return E_OK;
    if (n + e->count > ENTRIES_MAX)
        return err(E_FULL, "sink");
    (void)usleep(DISK_US); /* a disk takes its time: deaths fall before the commit, */
    memcpy(&e->sink->entry[n], e->batch, e->count * sizeof e->batch[0]);
    e->mark = e->batch[e->count - 1].pos_end;
    atomic_store(&e->sink->commit, n + e->count);
    (void)usleep(DISK_US); /* and between it and the acknowledgement */
    e->count = 0;
    return E_OK;
}

static int
eater_init(ak *k, void *self)
{
    eater   *e = self;
    uint64_t n;

    if ((e->sink = sink_map(ak_data_dir(k))) == NULL)
        return err(E_IO, "sink");
    n = atomic_load(&e->sink->commit);
    e->mark = n == 0 ? 0 : e->sink->entry[n - 1].pos_end;
    return E_OK;
}

/* ---- the producer ---- */

typedef struct teller {
    sink    *sink;
    uint64_t next;
} teller;

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    teller *t = self;
    uint8_t body[BODY] = { 0 };

    (void)m;
    for (int i = 0; i < A_TICK && atomic_load(&t->sink->enough) == 0; i++) {
        memcpy(body, &t->next, sizeof t->next);
        if (ak_send(k, addr_of(KIND_INGEST, 0), MSG_READINGS, body, sizeof body) != E_OK)
            break;
        t->next++;
    }
    (void)ak_timer(k, TICK_NS, NULL);
    return AK_DONE;
}

static uint64_t
published(const char *run_dir)
{
    const edge_plan e = { .from = addr_of(KIND_FRONT, 0), .to = addr_of(KIND_INGEST, 0) };
    rundir         *r = calloc(1, sizeof *r);
    char            path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];
    uint64_t        n = UINT64_MAX;
    lane           *l;

    if (r == NULL)
        return n;
    (void)snprintf(r->path, sizeof r->path, "%s", run_dir);
    rundir_lane_path(r, &e, path);
    free(r);
    if (lane_open(&l, path, LANE_WATCHER) < 0)
        return n;
    n = lane_tail(l) / RECORD;
    lane_close(&l);
    return n;
}

static int
teller_init(ak *k, void *self)
{
    teller *t = self;

    if ((t->sink = sink_map(ak_data_dir(k))) == NULL)
        return err(E_IO, "sink");
    if ((t->next = published(k->host->run->path)) == UINT64_MAX)
        return err(E_IO, "lane");
    (void)ak_timer(k, 0, NULL);
    return E_OK;
}

static const ak_on teller_on[] = { { MSG_TIMER, 0, on_timer }, { 0 } };
static const ak_on eater_on[] = { { MSG_READINGS, 0, on_number }, { 0 } };
static const ak_on deaf[] = { { 0 } };

const ak_kind front_kind = {
    .name = "front", .number = KIND_FRONT, .self_size = sizeof(teller), .on = teller_on, .init = teller_init
};
const ak_kind ingest_kind = { .name = "ingest",
                              .number = KIND_INGEST,
                              .self_size = sizeof(eater),
                              .ordered = true,
                              .on = eater_on,
                              .init = eater_init,
                              .flush = eater_flush };
#define DEAF(word, KIND) const ak_kind word##_kind = { .name = #word, .number = KIND, .on = deaf }
DEAF(query, KIND_QUERY);
DEAF(reader, KIND_READER);
DEAF(alert, KIND_ALERT);
DEAF(registry, KIND_REGISTRY);
DEAF(worker, KIND_WORKER);
DEAF(notifier, KIND_NOTIFIER);

/* ---- the driver ---- */

typedef struct driver {
    char     base[128];
    char     data[160];
    char     run[160];
    pid_t    server;
    sink    *sink;
    uint64_t random;
    uint32_t kills[3]; /* consumer, producer, supervisor */
    uuid     generation;
} driver;

static uint32_t
dice(driver *d, uint32_t below)
{
    d->random = d->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(d->random >> 33) % below;
}

static _Noreturn void
serve(driver *d)
{
    char   *argv[] = { (char[]){ "--data" },          d->data,          (char[]){ "--run-dir" },      d->run,
                       (char[]){ "--listen" },        (char[]){ "127.0.0.1:0" }, (char[]){ "--ingest-count" },
                       (char[]){ "1" },               (char[]){ "--front-count" }, (char[]){ "1" },
                       (char[]){ "--limits-machines" }, (char[]){ "16" },  (char[]){ "--processes" },
                       (char[]){ "--log-level" },     (char[]){ "error" } };
    options o;

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (options_load(&o, NULL, COUNT_OF(argv), argv) < 0)
        _exit(99);
    _exit(node_serve(&o, NULL, COUNT_OF(argv), argv));
}

static void
start(driver *d)
{
    d->server = fork();
    if (d->server == 0)
        serve(d);
}

/* The process of that actor; 0: it is not ready. */
static pid_t
pid_of(const driver *d, uint16_t kind)
{
    seat *s;
    pid_t pid = 0;

    if (seat_open(&s, d->run, addr_of(kind, 0), false) < 0) {
        err_clear();
        return 0;
    }
    if (atomic_load(&s->ready) == atomic_load(&s->epoch) && atomic_load(&s->state) != SEAT_DOWN)
        pid = atomic_load(&s->pid);
    seat_close(&s);
    return pid;
}

/* Both live, and something was committed since. */
static bool
flows(const driver *d, uint64_t since)
{
    for (uint32_t ms = 0; ms < PATIENCE_MS; ms++) {
        if (pid_of(d, KIND_FRONT) != 0 && pid_of(d, KIND_INGEST) != 0 &&
            atomic_load(&d->sink->commit) > since)
            return true;
        (void)usleep(1000);
    }
    return false;
}

static void
kill_one(driver *d)
{
    uint32_t who = dice(d, 20);
    pid_t    pid;

    (void)usleep(dice(d, 12000));
    if (who >= 2) {
        who = who % 2;
        pid = pid_of(d, who == 0 ? KIND_INGEST : KIND_FRONT);
        if (pid == 0)
            return;
        (void)kill(pid, SIGKILL);
        d->kills[who]++;
        return;
    }
    (void)kill(d->server, SIGKILL);
    (void)waitpid(d->server, NULL, 0);
    d->kills[2]++;
    start(d);
}

static bool
read_generation(const driver *d, uuid *g)
{
    rundir *r = calloc(1, sizeof *r);
    bool    read = r != NULL && rundir_read(r, d->run) >= 0;

    if (read)
        *g = r->generation;
    free(r);
    return read;
}

/* Everything that was published is in the sink. */
static bool
drains(const driver *d)
{
    atomic_store(&d->sink->enough, 1);
    (void)usleep(50000);
    for (uint32_t ms = 0; ms < PATIENCE_MS; ms++) {
        if (pid_of(d, KIND_INGEST) != 0 && atomic_load(&d->sink->commit) == published(d->run))
            return true;
        (void)usleep(1000);
    }
    return false;
}

static uint32_t
killed(const driver *d)
{
    return d->kills[0] + d->kills[1] + d->kills[2];
}

static int
verdict(const driver *d)
{
    uint64_t n = atomic_load(&d->sink->commit);
    uint64_t sent = published(d->run);
    uint64_t lost = sent > n ? sent - n : 0;
    uint64_t twice = 0;
    uuid     now = { 0 };

    for (uint64_t i = 0; i < n; i++) {
        uint64_t before = i == 0 ? UINT64_MAX : d->sink->entry[i - 1].number;

        if (d->sink->entry[i].number > before + 1)
            lost += d->sink->entry[i].number - before - 1;
        twice += d->sink->entry[i].number < before + 1;
    }
    (void)printf("kills=%u consumer=%u producer=%u supervisor=%u messages=%" PRIu64 " again=%" PRIu64
                 " lost=%" PRIu64 " twice=%" PRIu64 "\n",
                 killed(d), d->kills[0], d->kills[1], d->kills[2], n,
                 atomic_load(&d->sink->again), lost, twice);
    if (!read_generation(d, &now) || memcmp(&now, &d->generation, sizeof now) != 0) {
        (void)printf("the lanes were made anew: this shows nothing\n");
        return 1;
    }
    return lost == 0 && twice == 0 && n > 0 && n == sent && atomic_load(&d->sink->again) > 0 ? 0 : 1;
}

static int
campaign(driver *d, uint32_t kills)
{
    uint64_t since = 0;

    start(d);
    if (!flows(d, 0) || !read_generation(d, &d->generation))
        return 2;
    while (killed(d) < kills) {
        since = atomic_load(&d->sink->commit);
        kill_one(d);
        if (killed(d) % 1000 == 0)
            (void)fprintf(stderr, "%u kills\n", killed(d));
        if (!flows(d, since)) {
            (void)printf("nothing flows any longer after %u kills\n", killed(d));
            return 2;
        }
    }
    if (!drains(d)) {
        (void)printf("does not drain\n");
        (void)verdict(d);
        return 2;
    }
    return verdict(d);
}

int
main(int argc, char **argv)
{
    driver   d = { .random = 1 };
    uint32_t kills = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100;
    int      rc;

    if (argc > 1 && strcmp(argv[1], "actor") == 0)
        return node_actor(argc - 2, argv + 2);
    d.random = argc > 2 ? (uint64_t)strtoull(argv[2], NULL, 10) : (uint64_t)(uint32_t)getpid();
    (void)snprintf(d.base, sizeof d.base, "%s/haltless-kills-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (crypto_start() < 0 || mkdtemp(d.base) == NULL)
        return 2;
    (void)snprintf(d.data, sizeof d.data, "%s/data", d.base);
    (void)snprintf(d.run, sizeof d.run, "%s/run", d.base);
    (void)mkdir(d.data, 0700);
    (void)printf("seed=%" PRIu64 "\n", d.random);
    if ((d.sink = sink_map(d.data)) == NULL)
        return 2;
    rc = campaign(&d, kills);
    (void)kill(d.server, SIGTERM);
    (void)waitpid(d.server, NULL, 0);
    rundir_remove(d.base);
    return rc;
}
