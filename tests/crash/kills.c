/* kills.c - real nodes under kill -9: the consumer, the producer, the links, the supervisors, thousands of times.
 *
 *   front.0 ──numbers──▶ ingest.0 ──▶ sink: a file of {number, position behind it}, and how many of them count
 *   front.0 ──▶ link ══tcp, CURVE══▶ link ──▶ ingest.0 ──▶ sink            with --nodes: two nodes, and the far supervisor
 *
 * The sink is as a journal is: an entry and the watermark are there together or not at all.  The producer goes on where
 * its lane ends: what it published exists, what it only staged does not.  Records are of one size, so the number that
 * comes next is the lane's tail over that size.
 *
 * Claim, when the last kill is over: the sink holds 0, 1, 2, ... up to what was published, each once, in order, in one
 * generation of the producer's lanes.
 *
 *   kills [--nodes] COUNT [SEED]        prints what it counted; ends with 1 when the claim is false
 */
#include "actors/ak_internal.h"
#include "actors/kinds.h"
#include "actors/options.h"
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/log.h"
#include "transport/trust.h"

#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the sink is: of the driver's environment, for actors of either node. */
#define SINK "HALTLESS_KILLS_SINK"

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
sink_map(void)
{
    const char *path = getenv(SINK);
    void       *at;
    int         fd;

    fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
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

    (void)k;
    if ((e->sink = sink_map()) == NULL)
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

    if ((t->sink = sink_map()) == NULL)
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

enum { NODES_MOST = 2, SUPERVISOR = 0 };

typedef struct victim {
    const char *name;
    uint8_t     node;
    uint16_t    kind; /* SUPERVISOR: nobody's */
    uint16_t    shares;
} victim;

static const victim alone[] = {
    { "consumer", 0, KIND_INGEST, 9 }, { "producer", 0, KIND_FRONT, 9 }, { "supervisor", 0, SUPERVISOR, 2 }, { 0 }
};
/* Not the producer's supervisor: a node of several begins a new generation, and what nobody had acknowledged is gone. */
static const victim apart[] = {
    { "consumer", 1, KIND_INGEST, 4 }, { "producer", 0, KIND_FRONT, 4 },         { "link", 0, KIND_LINK, 5 },
    { "far_link", 1, KIND_LINK, 5 },   { "far_supervisor", 1, SUPERVISOR, 2 },   { 0 }
};

enum { VICTIMS_MOST = COUNT_OF(apart) };

typedef struct place {
    char  data[160];
    char  run[160];
    char  key_file[160];
    char  key[TRUST_TEXT_LEN + 1];
    char  listen[32];
    char  peers[200];
    pid_t server;
} place;

typedef struct driver {
    char          base[128];
    place         node[NODES_MOST]; /* the first has the producer */
    uint8_t       nodes;
    const victim *victims;
    uint16_t      consumer_at; /* node */
    sink         *sink;
    uint64_t      random;
    uint32_t      kills[VICTIMS_MOST];
    uuid          generation;
} driver;

static uint32_t
dice(driver *d, uint32_t below)
{
    d->random = d->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(d->random >> 33) % below;
}

/* ---- nodes ---- */

static _Noreturn void
serve(const driver *d, uint32_t n)
{
    place  p = d->node[n];
    char  *argv[32];
    int    argc = 0;
    char  *flags[] = { (char[]){ "--data" },            p.data,
                       (char[]){ "--run-dir" },         p.run,
                       (char[]){ "--listen" },          (char[]){ "127.0.0.1:0" },
                       (char[]){ "--ingest-count" },    (char[]){ "1" },
                       (char[]){ "--front-count" },     (char[]){ "1" },
                       (char[]){ "--limits-machines" }, (char[]){ "16" },
                       (char[]){ "--processes" },       (char[]){ "--log-level" },
                       (char[]){ "error" } };
    char  *many[] = { (char[]){ "--node-name" },     n == 0 ? (char[]){ "a" } : (char[]){ "b" },
                      (char[]){ "--node-key-file" }, p.key_file,
                      (char[]){ "--node-listen" },   p.listen,
                      (char[]){ "--node-peers" },    p.peers };
    char  *away[] = { (char[]){ "--node-home" }, (char[]){ "a" }, (char[]){ "--node-partitions" }, (char[]){ "0" } };
    options o;

    for (size_t i = 0; i < COUNT_OF(flags); i++)
        argv[argc++] = flags[i];
    for (size_t i = 0; d->nodes > 1 && i < COUNT_OF(many); i++)
        argv[argc++] = many[i];
    for (size_t i = 0; n > 0 && i < COUNT_OF(away); i++)
        argv[argc++] = away[i];
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (options_load(&o, NULL, argc, argv) < 0) {
        (void)fprintf(stderr, "%s\n", err_text());
        _exit(99);
    }
    _exit(node_serve(&o, NULL, argc, argv));
}

static void
start(driver *d, uint32_t n)
{
    d->node[n].server = fork();
    if (d->node[n].server == 0)
        serve(d, n);
}

static int
free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          len = sizeof at;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int                port = -1;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0)
        port = ntohs(at.sin_port);
    if (fd >= 0)
        (void)close(fd);
    return port;
}

static bool
make_place(place *p, const char *base, uint32_t n)
{
    trust_pair pair;
    int        port = free_port();

    (void)snprintf(p->data, sizeof p->data, "%s/data%u", base, n);
    (void)snprintf(p->run, sizeof p->run, "%s/run%u", base, n);
    (void)snprintf(p->key_file, sizeof p->key_file, "%s/key%u", base, n);
    (void)snprintf(p->listen, sizeof p->listen, "127.0.0.1:%d", port);
    if (port < 0 || mkdir(p->data, 0700) < 0 || trust_make(p->key_file, &pair) < 0)
        return false;
    trust_text(pair.public, p->key);
    return true;
}

static bool
make_places(driver *d)
{
    char base[sizeof d->base];

    memcpy(base, d->base, sizeof base);
    for (uint32_t n = 0; n < d->nodes; n++)
        if (!make_place(&d->node[n], base, n))
            return false;
    (void)snprintf(d->node[0].peers, sizeof d->node[0].peers, "b %s %s 0", d->node[1].listen, d->node[1].key);
    (void)snprintf(d->node[1].peers, sizeof d->node[1].peers, "a %s %s", d->node[0].listen, d->node[0].key);
    return true;
}

/* The process of that actor; 0: it is not ready. */
static pid_t
pid_of(const driver *d, uint32_t n, uint16_t kind)
{
    seat *s;
    pid_t pid = 0;

    if (seat_open(&s, d->node[n].run, addr_of(kind, 0), false) < 0) {
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
        if (pid_of(d, 0, KIND_FRONT) != 0 && pid_of(d, d->consumer_at, KIND_INGEST) != 0 &&
            atomic_load(&d->sink->commit) > since)
            return true;
        (void)usleep(1000);
    }
    return false;
}

/* ---- kills ---- */

static uint32_t
choose(driver *d)
{
    uint32_t all = 0;
    uint32_t i = 0;
    uint32_t at;

    for (i = 0; d->victims[i].name != NULL; i++)
        all += d->victims[i].shares;
    at = dice(d, all);
    for (i = 0; at >= d->victims[i].shares; i++)
        at -= d->victims[i].shares;
    return i;
}

static void
kill_one(driver *d)
{
    uint32_t      which = choose(d);
    const victim *v = &d->victims[which];
    place        *p = &d->node[v->node];
    pid_t         pid = p->server;

    (void)usleep(dice(d, 12000));
    if (v->kind != SUPERVISOR && (pid = pid_of(d, v->node, v->kind)) == 0)
        return;
    (void)kill(pid, SIGKILL);
    d->kills[which]++;
    if (v->kind != SUPERVISOR)
        return;
    (void)waitpid(p->server, NULL, 0);
    start(d, v->node);
}

static bool
read_generation(const driver *d, uuid *g)
{
    rundir *r = calloc(1, sizeof *r);
    bool    read = r != NULL && rundir_read(r, d->node[0].run) >= 0;

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
        if (pid_of(d, d->consumer_at, KIND_INGEST) != 0 && atomic_load(&d->sink->commit) == published(d->node[0].run))
            return true;
        (void)usleep(1000);
    }
    return false;
}

static uint32_t
killed(const driver *d)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < VICTIMS_MOST; i++)
        n += d->kills[i];
    return n;
}

static int
verdict(const driver *d)
{
    uint64_t n = atomic_load(&d->sink->commit);
    uint64_t sent = published(d->node[0].run);
    uint64_t lost = sent > n ? sent - n : 0;
    uint64_t twice = 0;
    uuid     now = { 0 };

    for (uint64_t i = 0; i < n; i++) {
        uint64_t before = i == 0 ? UINT64_MAX : d->sink->entry[i - 1].number;

        if (d->sink->entry[i].number > before + 1)
            lost += d->sink->entry[i].number - before - 1;
        twice += d->sink->entry[i].number < before + 1;
    }
    (void)printf("kills=%u", killed(d));
    for (uint32_t i = 0; d->victims[i].name != NULL; i++)
        (void)printf(" %s=%u", d->victims[i].name, d->kills[i]);
    (void)printf(" messages=%" PRIu64 " again=%" PRIu64 " lost=%" PRIu64 " twice=%" PRIu64 "\n", n,
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

    for (uint32_t n = 0; n < d->nodes; n++)
        start(d, n);
    if (!flows(d, 0) || !read_generation(d, &d->generation))
        return 2;
    while (killed(d) < kills) {
        since = atomic_load(&d->sink->commit);
        kill_one(d);
        if (killed(d) % 1000 == 0)
            (void)fprintf(stderr, "%u kills\n", killed(d));
        if (!flows(d, since)) {
            (void)printf("nothing flows any longer after %u kills\n", killed(d));
            (void)verdict(d);
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

static bool
prepare(driver *d)
{
    char path[160];

    (void)snprintf(d->base, sizeof d->base, "%s/haltless-kills-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (crypto_start() < 0 || mkdtemp(d->base) == NULL)
        return false;
    (void)snprintf(path, sizeof path, "%s/sink", d->base);
    return setenv(SINK, path, 1) == 0 && (d->sink = sink_map()) != NULL && make_places(d);
}

int
main(int argc, char **argv)
{
    bool     nodes = argc > 1 && strcmp(argv[1], "--nodes") == 0;
    char   **arg = argv + 1 + nodes;
    int      args = argc - 1 - nodes;
    driver   d = { .nodes = nodes ? 2 : 1, .victims = nodes ? apart : alone, .consumer_at = nodes ? 1 : 0 };
    uint32_t kills = args > 0 ? (uint32_t)strtoul(arg[0], NULL, 10) : 100;
    int      rc;

    if (argc > 1 && strcmp(argv[1], "actor") == 0)
        return node_actor(argc - 2, argv + 2);
    d.random = args > 1 ? (uint64_t)strtoull(arg[1], NULL, 10) : (uint64_t)(uint32_t)getpid();
    (void)printf("seed=%" PRIu64 "\n", d.random);
    if (!prepare(&d)) {
        (void)fprintf(stderr, "kills: %s\n", err_text());
        return 2;
    }
    rc = campaign(&d, kills);
    for (uint32_t n = d.nodes; n-- > 0;) {
        (void)kill(d.node[n].server, SIGTERM);
        (void)waitpid(d.node[n].server, NULL, 0);
    }
    rundir_remove(d.base);
    return rc;
}
