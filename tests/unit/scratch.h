/* scratch.h - a directory of a test's own in memory, gone when the test ends. */
#ifndef HALTLESS_TESTS_UNIT_SCRATCH_H
#define HALTLESS_TESTS_UNIT_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char  scratch_path[32];
static pid_t scratch_owner;

static inline int
scratch_forget(const char *path, const struct stat *st, int what, struct FTW *walk)
{
    (void)st;
    (void)what;
    (void)walk;
    return remove(path);
}

/* Made at the first call; removed at exit by the process that made it. */
static inline void
scratch_remove(void)
{
    if (scratch_owner == getpid())
        (void)nftw(scratch_path, scratch_forget, 8, FTW_DEPTH | FTW_PHYS);
}

static inline const char *
scratch_dir(void)
{
    if (scratch_path[0] == 0) {
        (void)snprintf(scratch_path, sizeof scratch_path, "%s/ht-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (mkdtemp(scratch_path) == NULL)
            abort();
        scratch_owner = getpid();
        (void)atexit(scratch_remove);
    }
    return scratch_path;
}

/* A path in it; the buffer is one of eight. */
static inline const char *
scratch_file(const char *name)
{
    static char     path[8][128];
    static unsigned next;
    char           *p = path[next++ % 8];

    (void)snprintf(p, sizeof path[0], "%s/%s", scratch_dir(), name);
    return p;
}

#endif
