/* serve.c - haltless as a node: its kinds, its two directories: data (durable) and run (shared memory).
 *
 * The data directory's lock comes first; who holds it owns the run directory too, whose name follows from
 * it.
 */
#include "actors/nodes.h"
#include "actors/sup_internal.h"

#include "actors/kinds.h"
#include "proto/secrets.h"
#include "proto/err.h"
#include "proto/log.h"
#include "storage/regstore.h"
#include "transport/board.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_WAIT_MS = 1000, LOCK_LOOK_MS = 10, PATH_ROOM = RUNDIR_PATH_MAX + RUNDIR_NAME_MAX };

/* A supervisor that was killed between a fork and its exec leaves the lock to that child for a moment. */
static int
lock_data(const char *dir)
{
    const struct timespec look = { .tv_nsec = LOCK_LOOK_MS * 1000000L };
    int                   fd = data_dir_lock(dir);

    for (int ms = 0; fd == E_LOCKED && ms < LOCK_WAIT_MS; ms += LOCK_LOOK_MS) {
        err_clear();
        (void)nanosleep(&look, NULL);
        fd = data_dir_lock(dir);
    }
    return fd;
}

static int
data_open(sup *s)
{
    secrets secret;
    char    full[PATH_MAX];
    int     rc;

    if ((s->lock_fd = lock_data(s->o->server_data)) < 0)
        return s->lock_fd;
    if (realpath(s->o->server_data, full) == NULL)
        return err_errno(errno, "data directory %s", s->o->server_data);
    (void)snprintf(s->run.data_dir, sizeof s->run.data_dir, "%s", full);
    rc = secrets_load(&secret, full); /* made here, before several processes would */
    explicit_bzero(&secret, sizeof secret);
    return rc < 0 ? err(rc, "secrets of %s", full) : E_OK;
}

/* Partitions are the directories part.N; what is on disk rules. */
static uint64_t
partitions_in(const char *dir)
{
    DIR           *d = opendir(dir);
    struct dirent *e;
    uint64_t       set = 0;
    unsigned       n;
    int            end;

    while (d != NULL && (e = readdir(d)) != NULL) {
        end = 0;
        if (sscanf(e->d_name, "part.%u%n", &n, &end) == 1 && e->d_name[end] == '\0' &&
            n < BOARD_PARTS_MAX)
            set |= UINT64_C(1) << n;
    }
    if (d != NULL)
        (void)closedir(d);
    return set;
}

/* Readings are where their partition's directory is: a setting does not move them. */
static int
make_plan(sup *s)
{
    uint64_t on_disk = partitions_in(s->run.data_dir);
    uint64_t elsewhere = on_disk;
    char     text[256];
    int      rc = plan_make(&s->run.plan, s->o,
                            (uint16_t)(on_disk == 0 ? 0 : 64 - __builtin_clzll(on_disk)));

    for (uint32_t i = 0; i < s->run.plan.slots; i++)
        if (addr_kind(s->run.plan.slot[i].who) == KIND_INGEST)
            elsewhere &= ~(UINT64_C(1) << addr_part(s->run.plan.slot[i].who));
    nodes_parts_text(elsewhere, text, sizeof text);
    if (rc == E_OK && elsewhere != 0)
        return err(E_CONFIG, "%s holds partition %s, which node.partitions does not name",
                   s->run.data_dir, text);
    return rc;
}

static int
make_board(const sup *s)
{
    char         path[PATH_ROOM];
    board_limits limits = { .tenants = 4096,
                            .users = 65536,
                            .keys = 65536,
                            .blocked = 262144,
                            .machines = (uint32_t)s->o->limits_machines,
                            .rules = 65536,
                            .series = 1048576,
                            .parts = s->run.plan.parts[KIND_INGEST],
                            .tracked = s->run.plan.peers > 0 };

    (void)snprintf(path, sizeof path, "%s/board", s->run.path);
    if (mkdir(path, 0700) < 0)
        return err_errno(errno, "make %s", path);
    return board_create(path, &limits);
}

static int
say_no_space(int rc)
{
    if (rc == E_NOSPACE)
        return err(rc, "shared memory is full: a larger tmpfs (Docker: --shm-size), or another server.run_dir");
    return rc;
}

static int
run_make(sup *s)
{
    int rc;

    s->run.machines = s->o->limits_machines;
    if ((rc = make_plan(s)) < 0 || (rc = sup__run_begin(s)) < 0 || (!s->attached && (rc = make_board(s)) < 0))
        return say_no_space(rc);
    return sup__run_end(s);
}

static int
open_server(sup *s)
{
    nodes n;
    int   rc;

    if ((rc = nodes_read(&n, s->o)) < 0 || (rc = data_open(s)) < 0 ||
        (rc = rundir_name(s->run.path, s->o->server_run_dir, s->run.data_dir)) < 0 ||
        (rc = sup__run_find(s)) < 0) /* whoever is still there holds the address too */
        return rc;
    if (n.many && !n.is_home)
        (void)snprintf(s->listen, sizeof s->listen, "none");
    else if ((rc = sup__listen(s)) < 0)
        return rc;
    return run_make(s);
}

const uint16_t node_start_order[] = { KIND_WORKER, KIND_LINK,   KIND_REGISTRY, KIND_NOTIFIER, KIND_ALERT,
                                      KIND_INGEST, KIND_READER, KIND_QUERY,    KIND_FRONT };
_Static_assert(COUNT_OF(node_start_order) == NODE_KINDS, "every kind once");

static const node_app server = {
    .order = node_start_order,
    .kinds = NODE_KINDS,
    .kind_of = kind_of,
    .open = open_server,
};

int
node_serve(options *o, const char *config_file, int argc, char **argv)
{
    return node_run(&server, o, config_file, argc, argv);
}

int
node_actor(int argc, char **argv)
{
    return node_host(&server, argc, argv);
}
