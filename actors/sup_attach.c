/* sup_attach.c - the run directory of a supervisor that was killed is taken over, lanes and all.
 *
 *   its processes ended by SIGTERM (PR_SET_PDEATHSIG), draining what they could      wait: the lock of the living
 *   same boot, program, topology, sizes; every lane sound                            goes on in the same generation:
 *       what is unacknowledged is delivered again, and watermarks know what was applied
 *   anything else                                                                    a new generation, empty lanes
 *
 * A node of several always begins anew: its lanes' other ends are elsewhere, and nothing unacknowledged is promised.
 */
#include "actors/sup_internal.h"

#include "actors/crash.h"
#include "proto/err.h"
#include "proto/log.h"
#include "transport/lane.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = RUNDIR_PATH_MAX + RUNDIR_NAME_MAX };

void
sup__run_identify(rundir *r)
{
    int     fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, r->boot, sizeof r->boot - 1);

    r->boot[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        (void)close(fd);
    (void)snprintf(r->build, sizeof r->build, "%s", crash_build());
}

/* ---- is it the same node? ---- */

static bool
same_slots(const plan *a, const plan *b)
{
    if (a->slots != b->slots)
        return false;
    for (uint32_t i = 0; i < a->slots; i++)
        if (a->slot[i].who != b->slot[i].who || a->slot[i].group != b->slot[i].group)
            return false;
    return true;
}

static bool
same_edges(const plan *a, const plan *b)
{
    if (a->edges != b->edges)
        return false;
    for (uint32_t i = 0; i < a->edges; i++) {
        const edge_plan *x = &a->edge[i];
        const edge_plan *y = &b->edge[i];

        if (x->from != y->from || x->to != y->to || x->carrier != y->carrier ||
            x->policy != y->policy || x->capacity != y->capacity)
            return false;
    }
    return true;
}

/* NULL: it is. */
static const char *
difference(const rundir *old, const rundir *now)
{
    if (now->plan.peers > 0 || old->plan.peers > 0)
        return "several nodes";
    if (now->boot[0] == '\0' || strcmp(old->boot, now->boot) != 0)
        return "another boot";
    if (now->build[0] == '\0' || strcmp(old->build, now->build) != 0)
        return "another program";
    if (strcmp(old->data_dir, now->data_dir) != 0)
        return "another data directory";
    if (old->machines != now->machines || !same_slots(&old->plan, &now->plan) ||
        !same_edges(&old->plan, &now->plan))
        return "another topology";
    return NULL;
}

/* ---- are its lanes whole? ---- */

static bool
lane_is_sound(const rundir *old, const edge_plan *e, uint64_t *bytes)
{
    char     path[PATH_ROOM];
    lane    *l;
    uint64_t head = 0;
    uint64_t tail = 0;
    bool     sound;

    rundir_lane_path(old, e, path);
    if (lane_open(&l, path, LANE_WATCHER) < 0)
        return false;
    sound = lane_from(l) == e->from && lane_to(l) == e->to && lane_capacity(l) == e->capacity &&
            memcmp(lane_generation(l), &old->generation, sizeof old->generation) == 0 &&
            lane_span(l, &head, &tail);
    lane_close(&l);
    *bytes += sound ? tail - head : 0;
    return sound;
}

static const char *
damage(const rundir *old, uint64_t *bytes)
{
    seat *s;

    for (uint32_t i = 0; i < old->plan.edges; i++)
        if (!lane_is_sound(old, &old->plan.edge[i], bytes))
            return "a lane is damaged";
    for (uint32_t i = 0; i < old->plan.slots; i++) {
        if (seat_open(&s, old->path, old->plan.slot[i].who, true) < 0)
            return "a seat is damaged";
        seat_close(&s);
    }
    return NULL;
}

/* ---- taking it over ---- */

/* Endpoints of lives that are over. */
static void
remove_sockets(const char *path)
{
    DIR           *d = opendir(path);
    struct dirent *e;
    struct stat    st;

    while (d != NULL && (e = readdir(d)) != NULL)
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
            (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d != NULL)
        (void)closedir(d);
}

/* How they ended is not known: not by a fault, as far as anybody saw. */
static int
end_lives(const rundir *r)
{
    for (uint32_t i = 0; i < r->plan.slots; i++) {
        seat *s;
        int   rc = seat_open(&s, r->path, r->plan.slot[i].who, true);

        if (rc < 0)
            return rc;
        seat_judge(s, 0, SEAT_INNOCENT);
        atomic_store(&s->state, SEAT_DOWN);
        atomic_store(&s->down, 0);
        atomic_store(&s->pid, 0);
        seat_close(&s);
    }
    return E_OK;
}

bool
sup__run_attach(sup *s)
{
    rundir     *old = calloc(1, sizeof *old);
    uint64_t    bytes = 0;
    const char *why = "unreadable";

    if (old != NULL && rundir_read(old, s->run.path) >= 0 && strcmp(old->path, s->run.path) == 0 &&
        (why = difference(old, &s->run)) == NULL && (why = damage(old, &bytes)) == NULL) {
        s->run.generation = old->generation;
        s->run.epoch_base = old->epoch_base;
        remove_sockets(s->run.path);
        if (rundir_rewrite(&s->run) < 0 || end_lives(&s->run) < 0)
            why = "it cannot be written";
    }
    free(old);
    if (why == NULL)
        log_info("node.attached", "run_dir=%s unacknowledged_bytes=%" PRIu64, s->run.path, bytes);
    else
        log_info("node.new_generation", "run_dir=%s why=%s", s->run.path, log_quote(view_str(why)));
    err_clear();
    return why == NULL;
}
