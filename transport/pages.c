/* pages.c - files of shared memory; the contract is in pages.h. */
#include "transport/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int
temporary_name(char out[PAGES_PATH_MAX + 8], const char *path)
{
    int len = snprintf(out, PAGES_PATH_MAX + 8, "%s.new", path);

    return len < PAGES_PATH_MAX ? E_OK : err(E_RANGE, "path %s", path);
}

/* A negative off_t would be somebody's wrapped arithmetic. */
static bool
is_length(uint64_t n)
{
    return n <= INT64_MAX;
}

int
pages_back(int fd, uint64_t at, uint64_t len)
{
    int rc;

    if (!is_length(at) || !is_length(len))
        return err(E_RANGE, "allocate %llu bytes", (unsigned long long)len);
    do
        rc = posix_fallocate(fd, (off_t)at, (off_t)len);
    while (rc == EINTR);
    return rc == 0 ? E_OK : err_errno(rc, "allocate %llu bytes", (unsigned long long)len);
}

static int
size_and_back(int fd, uint64_t len, uint64_t backed)
{
    if (!is_length(len) || ftruncate(fd, (off_t)len) < 0)
        return err_errno(is_length(len) ? errno : EFBIG, "set a length of %llu",
                         (unsigned long long)len);
    return backed > 0 ? pages_back(fd, 0, backed) : E_OK;
}

int
pages_make(const char *path, uint64_t len, uint64_t backed, int *fd)
{
    char name[PAGES_PATH_MAX + 8];
    int  rc = temporary_name(name, path);

    *fd = -1;
    if (rc < 0)
        return rc;
    (void)unlink(name);
    *fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return err_errno(errno, "make %s", name);
    rc = size_and_back(*fd, len, backed);
    return rc < 0 ? pages_land(path, fd, err(rc, "make %s", path)) : E_OK;
}

int
pages_make_private(const char *label, uint64_t len, int *fd)
{
    int rc;

    *fd = memfd_create(label, MFD_CLOEXEC);
    if (*fd < 0)
        return err_errno(errno, "memfd %s", label);
    rc = size_and_back(*fd, len, len);
    if (rc < 0) {
        (void)close(*fd);
        *fd = -1;
        return err(rc, "memfd %s", label);
    }
    return E_OK;
}

int
pages_land(const char *path, int *fd, int rc)
{
    char name[PAGES_PATH_MAX + 8];

    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
    if (temporary_name(name, path) < 0)
        return rc < 0 ? rc : E_RANGE;
    if (rc == E_OK && rename(name, path) < 0)
        rc = err_errno(errno, "name %s", path);
    if (rc < 0)
        (void)unlink(name);
    return rc;
}

int
pages_open(const char *path, bool write, int *fd, uint64_t *len)
{
    struct stat st;

    *fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0)
        return err_errno(errno, "open %s", path);
    if (fstat(*fd, &st) < 0 || st.st_size < 0) {
        int rc = err_errno(errno, "stat %s", path);

        (void)close(*fd);
        *fd = -1;
        return rc;
    }
    *len = (uint64_t)st.st_size;
    return E_OK;
}

void *
pages_map(int fd, uint64_t at, uint64_t len, bool write)
{
    int   prot = write ? PROT_READ | PROT_WRITE : PROT_READ;
    void *map = mmap(NULL, len, prot, MAP_SHARED, fd, (off_t)at);

    return map == MAP_FAILED ? NULL : map;
}

void *
pages_map_twice(int fd, uint64_t at, uint64_t len, bool write)
{
    int      prot = write ? PROT_READ | PROT_WRITE : PROT_READ;
    int      flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE;
    uint8_t *room =
        mmap(NULL, 2 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (room == MAP_FAILED)
        return NULL;
    if (mmap(room, len, prot, flags, fd, (off_t)at) == MAP_FAILED ||
        mmap(room + len, len, prot, flags, fd, (off_t)at) == MAP_FAILED) {
        (void)munmap(room, 2 * len);
        return NULL;
    }
    return room;
}

void
pages_unmap(const void *map, uint64_t len)
{
    if (map != NULL)
        (void)munmap((void *)(uintptr_t)map, len);
}
