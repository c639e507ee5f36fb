/* seat.c - see seat.h. */
#include "actors/seat.h"

#include "proto/err.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEAT_MAGIC = 0x31746c73, PATH_ROOM = 4096 };

_Static_assert(sizeof(seat) <= 4096, "one page");

static void
seat_path(char out[PATH_ROOM], const char *run_dir, addr who)
{
    (void)snprintf(out, PATH_ROOM, "%s/state.%s.%u", run_dir, kind_name(addr_kind(who)),
                   addr_part(who));
}

static int
seat_map(seat **s, const char *path, int flags)
{
    int         rc = E_OK;
    bool        writer = (flags & O_ACCMODE) == O_RDWR;
    struct stat st;
    void       *at;
    int         fd = open(path, flags | O_CLOEXEC, 0600);

    *s = NULL;
    if (fd < 0)
        return err_errno(errno, "seat %s", path);
    if ((flags & O_CREAT) != 0 && (errno = posix_fallocate(fd, 0, sizeof(seat))) != 0) {
        rc = err_errno(errno, "seat %s", path);
        goto out;
    }
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(seat)) {
        rc = err(E_BAD, "seat %s: too short", path);
        goto out;
    }
    at = mmap(NULL, sizeof(seat), writer ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        rc = err_errno(errno, "seat %s", path);
    else
        *s = at;
out:
    (void)close(fd);
    return rc;
}

int
seat_create(const char *run_dir, addr who)
{
    char  path[PATH_ROOM];
    seat *s;
    int   rc;

    seat_path(path, run_dir, who);
    if ((rc = seat_map(&s, path, O_RDWR | O_CREAT)) < 0)
        return rc;
    atomic_store(&s->magic, SEAT_MAGIC);
    seat_close(&s);
    return E_OK;
}

int
seat_open(seat **s, const char *run_dir, addr who, bool writer)
{
    char path[PATH_ROOM];
    int  rc;

    seat_path(path, run_dir, who);
    if ((rc = seat_map(s, path, writer ? O_RDWR : O_RDONLY)) < 0)
        return rc;
    if (atomic_load(&(*s)->magic) == SEAT_MAGIC)
        return E_OK;
    seat_close(s);
    return err(E_BAD, "seat %s: not one of ours", path);
}

void
seat_close(seat **s)
{
    if (*s != NULL)
        (void)munmap(*s, sizeof(seat));
    *s = NULL;
}

void
seat_fail(seat *s, int rc, const char *text)
{
    (void)snprintf(s->error, sizeof s->error, "%s", text);
    atomic_store(&s->rc, rc);
    atomic_store(&s->failed, atomic_load(&s->epoch));
}

/* ---- poison ---- */

bool
seat_is_fault(int signal)
{
    return signal == SIGSEGV || signal == SIGABRT || signal == SIGBUS || signal == SIGFPE ||
           signal == SIGILL;
}

bool
seat_has_crashed(const seat *s)
{
    return atomic_load(&s->crashed) == atomic_load(&s->epoch) && atomic_load(&s->epoch) != 0;
}

seat_suspect *
seat_suspect_of(seat *s, addr from, uint64_t pos)
{
    for (uint32_t i = 0; i < SEAT_SUSPECTS; i++) {
        seat_suspect *p = &s->suspect[i];

        if (atomic_load(&p->deaths) != 0 && atomic_load(&p->from) == from &&
            atomic_load(&p->pos) == pos)
            return p;
    }
    return NULL;
}

/* A free row, or that of the fewest deaths. */
static seat_suspect *
row_for(seat *s, addr from, uint64_t pos)
{
    seat_suspect *p = seat_suspect_of(s, from, pos);

    if (p != NULL)
        return p;
    p = &s->suspect[0];
    for (uint32_t i = 1; i < SEAT_SUSPECTS; i++)
        if (atomic_load(&s->suspect[i].deaths) < atomic_load(&p->deaths))
            p = &s->suspect[i];
    atomic_store(&p->deaths, 0);
    atomic_store(&p->from, from);
    atomic_store(&p->pos, pos);
    return p;
}

static void
charge(seat *s, int signal)
{
    seat_suspect *p;

    if (atomic_load(&s->at_type) == 0 || atomic_load(&s->at_exact) == 0)
        return;
    p = row_for(s, atomic_load(&s->at_from), atomic_load(&s->at_pos));
    atomic_store(&p->signal, signal);
    atomic_store(&p->deaths, atomic_load(&p->deaths) + 1);
}

void
seat_judge(seat *s, int signal, enum seat_guilt guilt)
{
    uint32_t epoch = atomic_load(&s->epoch);
    bool     frets = atomic_load(&s->careful) == epoch && atomic_load(&s->soothed) != epoch;

    if (guilt == SEAT_GUILTY)
        charge(s, signal);
    if (guilt != SEAT_INNOCENT || (frets && epoch != 0))
        atomic_store(&s->careful, epoch + 1);
    atomic_store(&s->at_type, 0);
}
