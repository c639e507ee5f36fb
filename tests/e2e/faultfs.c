/* faultfs.c - preloaded into the server by tests: a partition's RocksDB meets a full or a failing disk.
 *
 * Calls that write, grow or sync a file below part.N/db obey the file named by FAULTFS, read at each call: "ok",
 * "full" (ENOSPC), "fail" (EIO).  The journal and the registry stay as they are.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int
is_ours(int fd)
{
    char        link[64], path[4096];
    const char *part;
    ssize_t     n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    part = strstr(path, "/part.");
    return part != NULL && strstr(part, "/db/") != NULL && strstr(part, "/db/LOG") == NULL;
}

/* 0: go on; else errno is set. */
static int
obey(int fd)
{
    const char *name = getenv("FAULTFS");
    char        text[16] = "";
    int         at = name != NULL && is_ours(fd) ? open(name, O_RDONLY | O_CLOEXEC) : -1;

    if (at < 0)
        return 0;
    if (read(at, text, sizeof text - 1) < 0)
        text[0] = '\0';
    close(at);
    errno = strncmp(text, "full", 4) == 0 ? ENOSPC : EIO;
    return strncmp(text, "full", 4) == 0 || strncmp(text, "fail", 4) == 0 ? -1 : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t
write(int fd, const void *data, size_t len)
{
    return obey(fd) < 0 ? -1 : REAL(write)(fd, data, len);
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    return obey(fd) < 0 ? -1 : REAL(pwrite64)(fd, data, len, at);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
    return pwrite64(fd, data, len, at);
}

int
fallocate(int fd, int mode, off_t at, off_t len)
{
    return obey(fd) < 0 ? -1 : REAL(fallocate)(fd, mode, at, len);
}

int
fdatasync(int fd)
{
    return obey(fd) < 0 ? -1 : REAL(fdatasync)(fd);
}

int
fsync(int fd)
{
    return obey(fd) < 0 ? -1 : REAL(fsync)(fd);
}
