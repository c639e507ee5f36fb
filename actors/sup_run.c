/* sup_run.c - the run directory, from outside of its processes: made, given up.
 *
 * One left by a killed supervisor is taken over (sup_attach.c) or removed, as soon as the last of its processes is gone.
 */
#include "actors/sup_internal.h"

#include "actors/fault_log.h"
#include "proto/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LEFTOVER_WAIT_MS = 10000, PATH_ROOM = RUNDIR_PATH_MAX + RUNDIR_NAME_MAX };

/* Only what is ours is touched: a directory of this user that holds a run directory's file, or nothing. */
static int
judge_leftover(const char *path, bool *there)
{
    char        node[PATH_ROOM];
    struct stat st;

    *there = false;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? E_OK : err_errno(errno, "run directory %s", path);
    if (!S_ISDIR(st.st_mode) || st.st_uid != getuid())
        return err(E_PERM, "run directory %s: belongs to somebody else", path);
    if (rmdir(path) == 0)
        return E_OK;
    (void)snprintf(node, sizeof node, "%s/alive", path);
    if (stat(node, &st) < 0)
        return err(E_CONFIG, "run directory %s: holds other things", path);
    *there = true;
    return E_OK;
}

int
sup__run_find(sup *s)
{
    int fd;
    int rc = judge_leftover(s->run.path, &s->leftover);

    s->found = rc >= 0;
    if (rc < 0 || !s->leftover)
        return rc;
    if ((fd = rundir_alive(s->run.path, true, LEFTOVER_WAIT_MS)) < 0)
        return fd;
    (void)close(fd); /* whoever holds the data directory's lock is alone */
    return E_OK;
}

static int
open_seats(sup *s)
{
    int rc = E_OK;

    for (uint32_t i = 0; i < s->run.plan.slots && rc >= 0; i++)
        rc = seat_open(&s->seat[i], s->run.path, s->run.plan.slot[i].who, true);
    return rc;
}

static int
make_anew(sup *s)
{
    int alive;

    if (s->leftover)
        rundir_remove(s->run.path);
    if (mkdir(s->run.path, 0700) < 0)
        return err_errno(errno, "make %s (server.run_dir: its parent has to be there, and writable)", s->run.path);
    if ((alive = rundir_alive(s->run.path, false, 0)) < 0)
        return alive;
    (void)close(alive); /* the file marks the directory as ours; each process locks it for itself */
    return rundir_make(&s->run);
}

int
sup__run_begin(sup *s)
{
    int rc = s->found ? E_OK : sup__run_find(s);

    if (rc < 0)
        return rc;
    sup__run_identify(&s->run);
    s->attached = s->leftover && sup__run_attach(s);
    return s->attached ? E_OK : make_anew(s);
}

int
sup__run_end(sup *s)
{
    char path[PATH_ROOM];
    int  rc;

    (void)snprintf(path, sizeof path, "%s/options", s->run.path);
    if ((rc = options_save(s->o, path)) < 0 || (rc = open_seats(s)) < 0)
        return rc;
    fault_log_open(s->run.path, FAULT_LOG_NODE);
    return control_bind(&s->control, s->run.path);
}

void
sup__run_remove(sup *s)
{
    fault_log_close();
    control_close(&s->control);
    for (uint32_t i = 0; i < s->run.plan.slots; i++)
        seat_close(&s->seat[i]);
    if (s->run.magic != 0)
        rundir_remove(s->run.path);
}
