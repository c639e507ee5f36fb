/* seat.c - see seat.h. */
#include "actors/seat.h"

#include "proto/err.h"

#include <errno.h>
#include <fcntl.h>
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
