/* slowsync.c - preloaded into the server by tests: makes the call that syncs slow, or fail.
 *
 * Synced calls are fdatasync/fsync, and pwrite to a descriptor opened with O_DSYNC.  What to do is read from the
 * file named by SLOWSYNC at each call: "ok", "delay MS", or "fail" (EIO), so that a test can change its mind.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* 0: go on; -1: fail. */
static int
obey(void)
{
    const char *path = getenv("SLOWSYNC");
    char        text[64] = "";
    int         fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return 0;
    if (read(fd, text, sizeof text - 1) < 0)
        text[0] = '\0';
    close(fd);
    if (strncmp(text, "delay ", 6) == 0) {
        long            ms = strtol(text + 6, NULL, 10);
        struct timespec t = { ms / 1000, (ms % 1000) * 1000000 };

        nanosleep(&t, NULL);
    }
    return strncmp(text, "fail", 4) == 0 ? -1 : 0;
}

static int
is_synced(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_DSYNC) != 0;
}

/* Only descriptors of the journal: RocksDB's own syncs stay as they are. */
static int
is_journal(int fd)
{
    char    link[64], path[4096];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    return strstr(path, "/journal/") != NULL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t
pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    if (is_synced(fd) && is_journal(fd) && obey() < 0) {
        errno = EIO;
        return -1;
    }
    return REAL(pwrite64)(fd, data, len, at);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
    return pwrite64(fd, data, len, at);
}

int
fdatasync(int fd)
{
    if (is_journal(fd) && obey() < 0) {
        errno = EIO;
        return -1;
    }
    return REAL(fdatasync)(fd);
}
