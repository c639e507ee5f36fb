/* scratch.h - a directory of a test's own, under the current one, gone afterwards.
 * On the build's disk rather than in /tmp, which is memory on many machines. */
#ifndef HALTLESS_TESTS_UNIT_STORAGE_SCRATCH_H
#define HALTLESS_TESTS_UNIT_STORAGE_SCRATCH_H

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/check.h"

static int
scratch_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void
scratch_remove(const char *dir)
{
    nftw(dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* cmocka set-up and tear-down: *state is the directory's path. */
static inline int
scratch_make(void **state)
{
    char *dir = strdup("scratch.XXXXXX");

    if (dir == NULL || mkdtemp(dir) == NULL)
        return -1;
    *state = dir;
    return 0;
}

static inline int
scratch_drop(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

#define TEST_IN_SCRATCH(fn) cmocka_unit_test_setup_teardown(fn, scratch_make, scratch_drop)

#endif
