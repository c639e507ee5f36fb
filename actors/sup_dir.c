/* sup_dir.c - the two directories of a server: data (durable) and run (shared memory).
 *
 * The data directory's lock comes first; who holds it owns the run directory too, whose name follows from
 * it.  A run directory left by a killed server is removed as soon as the last of its processes is gone.
 */
#include "actors/nodes.h"
#include "actors/sup_internal.h"

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
#include <unistd.h>

enum { LEFTOVER_WAIT_MS = 10000, PATH_ROOM = RUNDIR_PATH_MAX + RUNDIR_NAME_MAX };

int
sup__data_open(sup *s)
{
    secrets secret;
    char    full[PATH_MAX];
    int     rc;

    if ((s->lock_fd = data_dir_lock(s->o->server_data)) < 0)
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

/* Only what is ours is removed: a directory of this user that holds a run directory's file, or nothing. */
static int
clear_leftover(const char *path)
{
    char        node[PATH_ROOM];
    struct stat st;
    int         fd;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? E_OK : err_errno(errno, "run directory %s", path);
    if (!S_ISDIR(st.st_mode) || st.st_uid != getuid())
        return err(E_PERM, "run directory %s: belongs to somebody else", path);
    if (rmdir(path) == 0)
        return E_OK;
    (void)snprintf(node, sizeof node, "%s/alive", path);
    if (stat(node, &st) < 0)
        return err(E_CONFIG, "run directory %s: holds other things", path);
    if ((fd = rundir_alive(path, true, LEFTOVER_WAIT_MS)) < 0)
        return fd;
    rundir_remove(path);
    (void)close(fd);
    return E_OK;
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
open_seats(sup *s)
{
    int rc = E_OK;

    for (uint32_t i = 0; i < s->run.plan.slots && rc >= 0; i++)
        rc = seat_open(&s->seat[i], s->run.path, s->run.plan.slot[i].who, true);
    return rc;
}

int
sup__run_make(sup *s)
{
    char path[PATH_ROOM];
    int  rc;
    int  alive;

    if ((rc = make_plan(s)) < 0 ||
        (rc = rundir_name(s->run.path, s->o->server_run_dir, s->run.data_dir)) < 0 ||
        (rc = clear_leftover(s->run.path)) < 0)
        return rc;
    if (mkdir(s->run.path, 0700) < 0)
        return err_errno(errno, "make %s", s->run.path);
    if ((alive = rundir_alive(s->run.path, false, 0)) < 0)
        return alive;
    (void)close(alive); /* the file marks the directory as ours; each process locks it for itself */
    (void)snprintf(path, sizeof path, "%s/options", s->run.path);
    if ((rc = rundir_make(&s->run)) < 0 || (rc = make_board(s)) < 0 ||
        (rc = options_save(s->o, path)) < 0 || (rc = open_seats(s)) < 0)
        return rc;
    return control_bind(&s->control, s->run.path);
}

void
sup__run_remove(sup *s)
{
    control_close(&s->control);
    for (uint32_t i = 0; i < s->run.plan.slots; i++)
        seat_close(&s->seat[i]);
    if (s->run.magic != 0)
        rundir_remove(s->run.path);
}
