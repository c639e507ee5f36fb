/* rundir.c - see rundir.h. */
#include "actors/rundir.h"

#include "actors/seat.h"
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/hash.h"
#include "transport/count.h"
#include "transport/lane.h"
#include "transport/trail.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATH_ROOM = RUNDIR_PATH_MAX + RUNDIR_NAME_MAX, ALIVE_LOOK_MS = 5 };
/* 128 KB an actor; of a node with very many actors, 16. */
enum { FEW_SLOTS = 32, TRAIL_RECORDS = 2048, TRAIL_RECORDS_MANY = 256 };

static const uint64_t rundir_magic = 0x6c7400000000ull + sizeof(rundir);

void
rundir_lane_path(const rundir *r, const edge_plan *e, char out[PATH_ROOM])
{
    (void)snprintf(out, PATH_ROOM, "%s/lane.%s.%u.%s.%u", r->path, kind_name(addr_kind(e->from)),
                   addr_part(e->from), kind_name(addr_kind(e->to)), addr_part(e->to));
}

static int
write_node(const rundir *r)
{
    char    path[PATH_ROOM];
    int     rc = E_OK;
    int     fd;
    ssize_t n;

    (void)snprintf(path, sizeof path, "%s/node", r->path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(errno, "make %s", path);
    n = write(fd, r, sizeof *r);
    if (n != (ssize_t)sizeof *r)
        rc = n < 0 ? err_errno(errno, "write %s", path) : err(E_NOSPACE, "write %s", path);
    (void)close(fd);
    return rc;
}

static int
make_lanes(const rundir *r)
{
    char path[PATH_ROOM];
    int  rc = E_OK;

    for (uint32_t i = 0; i < r->plan.edges && rc >= 0; i++) {
        const edge_plan *e = &r->plan.edge[i];

        if (e->side == EDGE_COMES_IN)
            continue;
        rundir_lane_path(r, e, path);
        rc = lane_create(path, e->capacity, e->from, e->to, &r->generation);
    }
    return rc;
}

static int
make_slots(const rundir *r)
{
    uint32_t records = r->plan.slots <= FEW_SLOTS ? TRAIL_RECORDS : TRAIL_RECORDS_MANY;
    int      rc = E_OK;

    for (uint32_t i = 0; i < r->plan.slots; i++) {
        addr who = r->plan.slot[i].who;

        if ((rc = seat_create(r->path, who)) < 0 || (rc = wire_slot_create(r->path, who)) < 0 ||
            (rc = counters_create(r->path, who)) < 0 || (rc = trail_create(r->path, who, records)) < 0)
            return rc;
    }
    for (uint32_t i = 0; i < r->plan.fars && rc >= 0; i++)
        rc = seat_create(r->path, r->plan.far[i].who);
    return E_OK;
}

int
rundir_name(char out[RUNDIR_PATH_MAX], const char *wish, const char *data_dir)
{
    uint64_t h = hash64(0, data_dir, strlen(data_dir));
    int      len;

    if (wish != NULL && wish[0] != '\0')
        len = snprintf(out, RUNDIR_PATH_MAX, "%s", wish);
    else
        len = snprintf(out, RUNDIR_PATH_MAX, "/dev/shm/haltless-%u-%08" PRIx32, (unsigned)getuid(),
                       (uint32_t)(h ^ h >> 32));
    return len >= RUNDIR_PATH_MAX ? err(E_CONFIG, "server.run_dir: too long") : E_OK;
}

int
rundir_make(rundir *r)
{
    int rc;

    ASSERT(r->plan.slots <= SLOTS_MAX && r->plan.edges <= EDGES_MAX);
    r->names = *own_names_now();
    r->magic = rundir_magic;
    crypto_uuid4(&r->generation);
    r->epoch_base = 0;
    if (r->plan.peers > 0)
        crypto_random(&r->epoch_base, sizeof r->epoch_base);
    r->epoch_base &= INT16_MAX; /* asks carry 16 bits of it */
    if ((rc = make_lanes(r)) < 0 || (rc = make_slots(r)) < 0 || (rc = write_node(r)) < 0)
        return err(rc, "run directory %s", r->path);
    return E_OK;
}

int
rundir_rewrite(rundir *r)
{
    r->magic = rundir_magic;
    return write_node(r);
}

int
rundir_read(rundir *r, const char *path)
{
    char    file[PATH_ROOM];
    int     fd;
    ssize_t n;

    (void)snprintf(file, sizeof file, "%s/node", path);
    fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(errno, "open %s", file);
    n = read(fd, r, sizeof *r);
    (void)close(fd);
    r->path[RUNDIR_PATH_MAX - 1] = r->data_dir[DATA_PATH_MAX - 1] = '\0';
    if (n != (ssize_t)sizeof *r || r->magic != rundir_magic || r->plan.slots > SLOTS_MAX ||
        r->plan.edges > EDGES_MAX)
        return err(E_BAD, "%s: written by another build", file);
    return E_OK;
}

static int
remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
    (void)st;
    (void)what;
    (void)at;
    (void)remove(path);
    return 0;
}

void
rundir_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int
rundir_alive(const char *path, bool exclusive, uint32_t wait_ms)
{
    char            file[PATH_ROOM];
    struct timespec nap = { 0, ALIVE_LOOK_MS * 1000000 };
    int             fd;

    (void)snprintf(file, sizeof file, "%s/alive", path);
    fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(errno, "open %s", file);
    for (uint32_t waited = 0;; waited += ALIVE_LOOK_MS) {
        if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0)
            return fd;
        if (waited >= wait_ms)
            break;
        (void)nanosleep(&nap, NULL);
    }
    (void)close(fd);
    return err(E_LOCKED, "%s: processes of an earlier server still run", path);
}
