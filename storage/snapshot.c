/* snapshot.c - see snapshot.h. */
#include "storage/snapshot.h"

#include "proto/err.h"
#include "proto/hash.h"
#include "proto/world.h"
#include "storage/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { SNAPSHOT_VERSION = 1 };
#define SNAPSHOT_LEN_MAX ((uint64_t)1 << 30)

typedef struct head {
    uint32_t kind, version, record_size, count, crc, zero;
} head;

static int
write_all(int fd, const void *at, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = the_world->write(fd, (const uint8_t *)at + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

static int
write_file(const char *path, const snapshot *s)
{
    size_t len = (size_t)s->count * s->record_size;
    head   h = { s->kind, SNAPSHOT_VERSION, s->record_size, s->count, crc32c(0, s->records, len), 0 };
    int    fd = the_world->open(path, O_WRONLY | O_CREAT | O_TRUNC);
    int    rc = E_OK;

    if (fd < 0)
        return err_errno(errno, "open %s", path);
    if (write_all(fd, &h, sizeof h) < 0 || write_all(fd, s->records, len) < 0)
        rc = err_errno(errno, "write %s", path);
    if (rc == E_OK && s->sync && the_world->datasync(fd) < 0)
        rc = err_errno(errno, "sync %s", path);
    the_world->close(fd);
    return rc;
}

static int
sync_place(const char *path)
{
    char  dir[PATH_MAX];
    char *slash;

    strncpy(dir, path, sizeof dir - 1);
    dir[sizeof dir - 1] = '\0';
    slash = strrchr(dir, '/');
    if (slash == NULL)
        return fs_sync_dir(".");
    *slash = '\0';
    return fs_sync_dir(dir);
}

int
snapshot_save(const char *path, const snapshot *s)
{
    char fresh[PATH_MAX];
    int  rc;

    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
        return err(E_RANGE, "path %s", path);
    rc = write_file(fresh, s);
    if (rc < 0)
        return rc;
    if (the_world->rename(fresh, path) < 0)
        return err_errno(errno, "rename %s", fresh);
    return s->sync ? sync_place(path) : E_OK;
}

static bool
read_all(int fd, void *at, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = the_world->read(fd, (uint8_t *)at + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static bool
read_file(int fd, snapshot *s)
{
    head   h;
    size_t len;

    if (!read_all(fd, &h, sizeof h) || h.kind != s->kind || h.version != SNAPSHOT_VERSION
        || h.record_size != s->record_size || h.count == 0
        || (uint64_t)h.count * h.record_size > SNAPSHOT_LEN_MAX)
        return false;
    len = (size_t)h.count * h.record_size;
    s->records = malloc(len);
    s->count = h.count;
    return s->records != NULL && read_all(fd, s->records, len) && crc32c(0, s->records, len) == h.crc;
}

void
snapshot_load(const char *path, snapshot *s)
{
    int fd = the_world->open(path, O_RDONLY);

    s->records = NULL;
    s->count = 0;
    if (fd < 0)
        return;
    if (!read_file(fd, s)) {
        free(s->records);
        s->records = NULL;
        s->count = 0;
    }
    the_world->close(fd);
}
