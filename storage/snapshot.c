/* snapshot.c - see snapshot.h. */
#include "storage/snapshot.h"

#include "proto/err.h"
#include "proto/hash.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { SNAPSHOT_VERSION = 1 };
#define SNAPSHOT_LEN_MAX ((uint64_t)1 << 30)

typedef struct head {
    uint32_t kind, version, record_size, count, crc, zero;
} head;

static int
write_file(const char *path, const snapshot *s)
{
    size_t len = (size_t)s->count * s->record_size;
    head   h = { s->kind, SNAPSHOT_VERSION, s->record_size, s->count, crc32c(0, s->records, len), 0 };
    FILE  *f = fopen(path, "we");
    bool   sound;

    if (f == NULL)
        return err_errno(errno, "open %s", path);
    sound = fwrite(&h, sizeof h, 1, f) == 1 && (len == 0 || fwrite(s->records, len, 1, f) == 1);
    if (fclose(f) != 0 || !sound)
        return err_errno(errno, "write %s", path);
    return E_OK;
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
    return rename(fresh, path) < 0 ? err_errno(errno, "rename %s", fresh) : E_OK;
}

static bool
read_file(FILE *f, snapshot *s)
{
    head   h;
    size_t len;

    if (fread(&h, sizeof h, 1, f) != 1 || h.kind != s->kind || h.version != SNAPSHOT_VERSION
        || h.record_size != s->record_size || h.count == 0
        || (uint64_t)h.count * h.record_size > SNAPSHOT_LEN_MAX)
        return false;
    len = (size_t)h.count * h.record_size;
    s->records = malloc(len);
    s->count = h.count;
    return s->records != NULL && fread(s->records, len, 1, f) == 1 && crc32c(0, s->records, len) == h.crc;
}

void
snapshot_load(const char *path, snapshot *s)
{
    FILE *f = fopen(path, "re");

    s->records = NULL;
    s->count = 0;
    if (f == NULL)
        return;
    if (!read_file(f, s)) {
        free(s->records);
        s->records = NULL;
        s->count = 0;
    }
    fclose(f);
}
