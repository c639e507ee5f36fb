/* rig.c - see rig.h. */
#include "tests/unit/actors/rig.h"

#include "actors/ak_internal.h"
#include "proto/crypto.h"
#include "proto/log.h"
#include "tests/unit/check.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RIG_ACTORS = 16 };

typedef struct rig_actor {
    ak             *k;
    const ak_kind  *kind;
    rig            *rig;
    uint16_t        part;
    bool            threaded;
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  opened;
    bool            open;
    int             rc;
    char            text[512];
} rig_actor;

struct rig {
    rundir    run;
    ak_host   host;
    bool      own_data;
    uint32_t  actors;
    rig_actor actor[RIG_ACTORS];
};

static void
add_slot(plan *p, addr who)
{
    uint16_t kind = addr_kind(who);

    for (uint32_t i = 0; i < p->slots; i++)
        if (p->slot[i].who == who)
            return;
    p->slot[p->slots++] = (slot_plan){ .who = who, .core = -1 };
    if (p->parts[kind] <= addr_part(who))
        p->parts[kind] = (uint16_t)(addr_part(who) + 1);
}

static void
make_board(rig *r)
{
    char         path[128];
    board_limits limits = { .tenants = 64,
                            .users = 64,
                            .keys = 64,
                            .blocked = 64,
                            .machines = 1024,
                            .rules = 64,
                            .series = 8192,
                            .parts = (uint32_t)max_u64(1, r->run.plan.parts[KIND_INGEST]) };

    (void)snprintf(path, sizeof path, "%s/board", r->run.path);
    CHECK_EQ(mkdir(path, 0700), 0);
    CHECK_OK(board_create(path, &limits));
}

static void
make_data_dir(rig *r)
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(r->run.data_dir, sizeof r->run.data_dir, "%s/haltless-rig-XXXXXX",
                   tmp == NULL ? "/tmp" : tmp);
    CHECK(mkdtemp(r->run.data_dir) != NULL);
    r->own_data = true;
}

rig *
rig_new(const edge_plan *edges, const rig_with *with)
{
    static const rig_with nothing;
    rig                  *r = calloc(1, sizeof *r);

    CHECK(r != NULL);
    CHECK_OK(crypto_start());
    if (with == NULL)
        with = &nothing;
    for (; edges->capacity != 0; edges++) {
        r->run.plan.edge[r->run.plan.edges++] = *edges;
        add_slot(&r->run.plan, edges->from);
        add_slot(&r->run.plan, edges->to);
    }
    (void)snprintf(r->run.path, sizeof r->run.path, "/dev/shm/haltless-rig-XXXXXX");
    CHECK(mkdtemp(r->run.path) != NULL);
    if (with->data_dir == NULL)
        make_data_dir(r);
    else
        (void)snprintf(r->run.data_dir, sizeof r->run.data_dir, "%s", with->data_dir);
    r->run.listen_fd = -1;
    CHECK_OK(rundir_make(&r->run));
    if (with->board)
        make_board(r);
    r->host.run = &r->run;
    r->host.zmq = wire_context();
    atomic_store(&r->host.options, with->options);
    return r;
}

static rig_actor *
actor_of(rig *r, const ak_kind *kind, uint16_t part)
{
    rig_actor *a;

    for (uint32_t i = 0; i < r->actors; i++)
        if (r->actor[i].kind == kind && r->actor[i].part == part)
            return &r->actor[i];
    CHECK(r->actors < RIG_ACTORS);
    a = &r->actor[r->actors++];
    a->kind = kind;
    a->part = part;
    a->rig = r;
    (void)pthread_mutex_init(&a->lock, NULL);
    (void)pthread_cond_init(&a->opened, NULL);
    return a;
}

/* What the supervisor does for every start. */
static void
bump_epoch(rig *r, const rig_actor *a)
{
    seat *s;

    CHECK_OK(seat_open(&s, r->run.path, addr_of(a->kind->number, a->part), true));
    atomic_store(&s->epoch, atomic_load(&s->epoch) + 1);
    seat_close(&s);
}

ak *
rig_hand(rig *r, const ak_kind *kind, uint16_t part)
{
    rig_actor *a = actor_of(r, kind, part);

    CHECK(a->k == NULL);
    bump_epoch(r, a);
    CHECK_OK(ak_open(&a->k, kind, part, &r->host));
    return a->k;
}

static void
tell_open(rig_actor *a, int rc)
{
    (void)pthread_mutex_lock(&a->lock);
    a->open = true;
    a->rc = rc;
    if (rc < 0)
        (void)snprintf(a->text, sizeof a->text, "%s", err_text());
    (void)pthread_cond_signal(&a->opened);
    (void)pthread_mutex_unlock(&a->lock);
}

static void *
thread_main(void *arg)
{
    rig_actor *a = arg;
    int        rc = ak_open(&a->k, a->kind, a->part, &a->rig->host);

    tell_open(a, rc);
    if (rc >= 0)
        a->rc = ak_run(a->k);
    if (a->rc < 0)
        (void)snprintf(a->text, sizeof a->text, "%s", err_text());
    return NULL;
}

void
rig_thread(rig *r, const ak_kind *kind, uint16_t part)
{
    rig_actor *a = actor_of(r, kind, part);

    CHECK(a->k == NULL);
    bump_epoch(r, a);
    a->open = false;
    a->threaded = true;
    CHECK_EQ(pthread_create(&a->thread, NULL, thread_main, a), 0);
    (void)pthread_mutex_lock(&a->lock);
    while (!a->open)
        (void)pthread_cond_wait(&a->opened, &a->lock);
    (void)pthread_mutex_unlock(&a->lock);
    if (a->rc < 0)
        fail_msg("%s.%u: init: %s", kind->name, part, a->text);
}

ak *
rig_thread_ak(rig *r, const ak_kind *kind, uint16_t part)
{
    rig_thread(r, kind, part);
    return actor_of(r, kind, part)->k;
}

void
rig_options(rig *r, const options *o)
{
    atomic_store(&r->host.options, o);
}

static void
stop_thread(rig_actor *a)
{
    ak_stop(a->k);
    (void)pthread_join(a->thread, NULL);
    ak_close(&a->k);
    a->threaded = false;
    if (a->rc < 0)
        fail_msg("%s.%u died: %s", a->kind->name, a->part, a->text);
}

void
rig_stop(rig *r, const ak_kind *kind, uint16_t part)
{
    rig_actor *a = actor_of(r, kind, part);

    CHECK(a->threaded);
    stop_thread(a);
}

void *
rig_self(ak *k)
{
    return k->self;
}

void
rig_kill(rig *r, ak *k)
{
    for (uint32_t i = 0; i < r->actors; i++)
        if (r->actor[i].k == k && !r->actor[i].threaded)
            ak_close(&r->actor[i].k);
}

void
rig_free(rig **rp)
{
    rig *r = *rp;

    for (uint32_t i = 0; i < r->actors; i++)
        if (r->actor[i].threaded)
            stop_thread(&r->actor[i]);
    for (uint32_t i = 0; i < r->actors; i++) {
        ak_close(&r->actor[i].k);
        (void)pthread_mutex_destroy(&r->actor[i].lock);
        (void)pthread_cond_destroy(&r->actor[i].opened);
    }
    wire_context_close(r->host.zmq);
    rundir_remove(r->run.path);
    if (r->own_data)
        rundir_remove(r->run.data_dir);
    free(r);
    *rp = NULL;
}

const char *
rig_data_dir(const rig *r)
{
    return r->run.data_dir;
}

const char *
rig_run_dir(const rig *r)
{
    return r->run.path;
}
