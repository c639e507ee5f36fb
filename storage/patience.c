#include "storage/patience.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"
#include "storage/fs.h"

#define SECOND_US 1000000

/* 0: none is known. */
static int64_t
since(const char *path)
{
    char   text[32];
    size_t len;

    if (fs_read_file(path, text, sizeof text, &len) < 0) {
        err_clear();
        return 0;
    }
    return strtoll(text, NULL, 10);
}

bool
patience_is_over(const char *dir)
{
    int64_t now = the_world->wall_us(), began;
    char    path[FS_PATH_MAX], text[32];

    if (fs_path(path, "%s/UNREADABLE", dir) < 0)
        return true;
    began = since(path);
    if (began > 0 && began <= now) /* else the clock was set back: it counts from now */
        return now - began >= (int64_t)PATIENCE_S * SECOND_US;
    snprintf(text, sizeof text, "%" PRId64 "\n", now);
    if (fs_write_file(path, view_str(text)) < 0)
        err_clear(); /* a disk that takes nothing either: it is not over */
    log_warn("storage.unreadable", "dir=%s what=\"tried again for %d s before it counts as damaged\"", dir,
             PATIENCE_S);
    return false;
}

void
patience_renew(const char *dir)
{
    char       path[FS_PATH_MAX];
    world_file about;

    if (fs_path(path, "%s/UNREADABLE", dir) == E_OK && the_world->look(path, &about) == 0)
        the_world->unlink(path);
}
