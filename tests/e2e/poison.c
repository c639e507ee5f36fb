/* poison.c - preloaded into the server by tests: a journal block that carries a marked value kills its writer.
 *
 * While the file named by POISON exists, a write to a journal of the double 666.666 ends the process by SIGSEGV: as a
 * bug would that only that reading meets.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

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
    static const double mark = 666.666;
    const char         *name = getenv("POISON");

    if (name != NULL && is_journal(fd) && memmem(data, len, &mark, sizeof mark) != NULL && access(name, F_OK) == 0)
        raise(SIGSEGV);
    return REAL(pwrite64)(fd, data, len, at);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
    return pwrite64(fd, data, len, at);
}
