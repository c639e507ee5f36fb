#include "storage/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/hash.h"
#include "storage/fs.h"
#include "storage/journal_file.h"

enum { TRIES = 200, TRY_MS = 10, PIECE = 1 << 20, FILES_OPEN = 16 };

/* ---- names ---- */

typedef struct names {
    char   **at;
    uint32_t count, room;
} names;

static void
names_free(names *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        free(n->at[i]);
    free(n->at);
    *n = (names){ 0 };
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Entries of a directory in order; none where there is none. */
static int
names_read(names *n, const char *dir)
{
    DIR           *d = opendir(dir);
    struct dirent *e;

    *n = (names){ 0 };
    if (d == NULL)
        return errno == ENOENT ? E_OK : err_errno(errno, "open directory %s", dir);
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        if (n->count == n->room) {
            n->room = n->room == 0 ? 64 : 2 * n->room;
            n->at = realloc(n->at, n->room * sizeof *n->at);
            ASSERT(n->at != NULL);
        }
        n->at[n->count] = strdup(e->d_name);
        ASSERT(n->at[n->count] != NULL);
        n->count++;
    }
    closedir(d);
    if (n->count > 0)
        qsort(n->at, n->count, sizeof *n->at, by_text);
    return E_OK;
}

static bool
names_equal(const names *a, const names *b)
{
    for (uint32_t i = 0; i < a->count && i < b->count; i++)
        if (strcmp(a->at[i], b->at[i]) != 0)
            return false;
    return a->count == b->count;
}

static bool
ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), t = strlen(tail);

    return n >= t && strcmp(name + n - t, tail) == 0;
}

/* ---- files ---- */

static int
pour(int in, int out, uint8_t *piece, uint32_t *crc, uint64_t *len)
{
    ssize_t n;

    while ((n = read(in, piece, PIECE)) > 0) {
        for (ssize_t done = 0; done < n;) {
            ssize_t w = write(out, piece + done, (size_t)(n - done));

            if (w < 0 && errno != EINTR)
                return -1;
            done += w > 0 ? w : 0;
        }
        *crc = crc32c(*crc, piece, (size_t)n);
        *len += (uint64_t)n;
    }
    return n < 0 ? -1 : fsync(out);
}

int
image_copy_file(const char *from, const char *to, uint32_t *crc, uint64_t *len)
{
    uint8_t *piece = malloc(PIECE);
    int      in = open(from, O_RDONLY | O_CLOEXEC);
    int      out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    uint32_t sum = 0;
    uint64_t bytes = 0;
    int      rc = E_OK;

    ASSERT(piece != NULL);
    if (in < 0 || out < 0)
        rc = errno == ENOENT && in < 0 ? err(E_NOTFOUND, "%s", from) : err_errno(errno, "copy %s to %s", from, to);
    else if (pour(in, out, piece, &sum, &bytes) < 0)
        rc = err_errno(errno, "copy %s to %s", from, to);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    free(piece);
    if (crc != NULL)
        *crc = sum;
    if (len != NULL)
        *len = bytes;
    return rc;
}

static int
copy_named(const char *from_dir, const char *to_dir, const char *name)
{
    char from[FS_PATH_MAX], to[FS_PATH_MAX];
    int  rc = fs_path(from, "%s/%s", from_dir, name);

    if (rc == E_OK)
        rc = fs_path(to, "%s/%s", to_dir, name);
    return rc < 0 ? rc : image_copy_file(from, to, NULL, NULL);
}

static int
link_named(const char *from_dir, const char *to_dir, const char *name)
{
    char from[FS_PATH_MAX], to[FS_PATH_MAX];
    int  rc = fs_path(from, "%s/%s", from_dir, name);

    if (rc == E_OK)
        rc = fs_path(to, "%s/%s", to_dir, name);
    if (rc == E_OK && link(from, to) < 0)
        rc = errno == ENOENT ? err(E_NOTFOUND, "%s", from) : err_errno(errno, "link %s to %s", from, to);
    return rc;
}

/* ---- a journal ---- */

/* Of the first block that a segment file has: its segment number; 0: none of ours; UINT64_MAX: something else. */
static int
segment_of(const char *dir, const char *name, uint64_t *number)
{
    static const block_head nothing;
    char       path[FS_PATH_MAX];
    block_head h = { 0 };
    int        rc = fs_path(path, "%s/%s", dir, name), fd;

    if (rc < 0)
        return rc;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err(E_NOTFOUND, "%s", path) : err_errno(errno, "open %s", path);
    if (pread(fd, &h, sizeof h, 0) < 0)
        rc = err_errno(errno, "read %s", path);
    close(fd);
    *number = h.magic == JOURNAL_MAGIC ? h.segment : memcmp(&h, &nothing, sizeof h) == 0 ? 0 : UINT64_MAX;
    return rc;
}

/* The newest that has been begun; what is damaged in front counts as old. */
static int
newest_segment(const char *dir, const names *n, uint64_t *newest)
{
    *newest = 0;
    for (uint32_t i = 0; i < n->count; i++) {
        uint64_t number;
        int      rc = ends_with(n->at[i], ".seg") ? segment_of(dir, n->at[i], &number) : E_NOTFOUND;

        if (rc == E_OK && number != UINT64_MAX)
            *newest = max_u64(*newest, number);
        else if (rc < 0 && rc != E_NOTFOUND)
            return rc;
        err_clear();
    }
    return E_OK;
}

static int
copy_segment(const char *from, const char *to, const char *name, uint64_t newest)
{
    uint64_t before, after;
    char     copy[FS_PATH_MAX];
    int      rc = segment_of(from, name, &before);

    if (rc < 0 || before == 0 || (before > newest && before != UINT64_MAX))
        return rc;
    rc = copy_named(from, to, name);
    if (rc == E_OK)
        rc = segment_of(from, name, &after);
    if (rc == E_OK && after != before && (rc = fs_path(copy, "%s/%s", to, name)) == E_OK)
        unlink(copy); /* begun anew meanwhile */
    return rc;
}

static int
copy_journal(const char *from, const char *to)
{
    names    n;
    uint64_t newest;
    int      rc = names_read(&n, from);

    if (rc == E_OK)
        rc = fs_make_dir(to);
    if (rc == E_OK)
        rc = newest_segment(from, &n, &newest);
    for (uint32_t i = 0; i < n.count && rc == E_OK; i++) {
        if (ends_with(n.at[i], ".seg"))
            rc = copy_segment(from, to, n.at[i], newest);
        if (rc == E_NOTFOUND) { /* removed: it was not needed */
            err_clear();
            rc = E_OK;
        }
    }
    names_free(&n);
    return rc;
}

/* ---- a RocksDB ---- */

static int
db_once(const char *from, const char *to, const names *n)
{
    int rc = E_OK;

    for (uint32_t i = 0; i < n->count && rc == E_OK; i++) {
        const char *name = n->at[i];

        if (strncmp(name, "LOG", 3) == 0 || strcmp(name, "LOCK") == 0 || ends_with(name, ".dbtmp"))
            continue;
        rc = ends_with(name, ".sst") ? link_named(from, to, name) : copy_named(from, to, name);
    }
    return rc;
}

/* CURRENT, manifest, tables and logs belong together only when none came or went while they were taken. */
static int
take_db(const char *from, const char *to)
{
    int rc = E_AGAIN;

    for (int i = 0; i < TRIES && (rc == E_AGAIN || rc == E_NOTFOUND); i++) {
        names before, after;

        err_clear();
        if (i > 0) {
            image_remove(to);
            nanosleep(&(struct timespec){ 0, TRY_MS * 1000000L }, NULL);
        }
        if ((rc = fs_make_dir(to)) < 0 || (rc = names_read(&before, from)) < 0)
            return rc;
        rc = db_once(from, to, &before);
        if (rc == E_OK && (rc = names_read(&after, from)) == E_OK) {
            if (!names_equal(&before, &after))
                rc = err(E_AGAIN, "%s changes all the time", from);
            names_free(&after);
        }
        names_free(&before);
    }
    return rc;
}

/* ---- the whole ---- */

static bool
is_dir(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool
is_file(const char *dir, const char *name)
{
    char        path[FS_PATH_MAX];
    struct stat st;

    return fs_path(path, "%s/%s", dir, name) == E_OK && lstat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Small files that are replaced whole; one that goes meanwhile is gone. */
static int
copy_small(const char *from, const char *to)
{
    names n;
    int   rc = names_read(&n, from);

    for (uint32_t i = 0; i < n.count && rc == E_OK; i++) {
        if (!is_file(from, n.at[i]) || strcmp(n.at[i], "LOCK") == 0 ||
            strcmp(n.at[i], "RESERVE") == 0 || ends_with(n.at[i], ".tmp"))
            continue;
        rc = copy_named(from, to, n.at[i]);
        if (rc == E_NOTFOUND) {
            err_clear();
            rc = E_OK;
        }
    }
    names_free(&n);
    return rc;
}

/* One of DATA's directories: small files, and below it, where there are, a journal and a db. */
static int
take_dir(const char *data, const char *name, const char *to_data)
{
    char from[FS_PATH_MAX], to[FS_PATH_MAX], inner[FS_PATH_MAX], inner_to[FS_PATH_MAX];
    int  rc = fs_path(from, "%s/%s", data, name);

    if (rc == E_OK)
        rc = fs_path(to, "%s/%s", to_data, name);
    if (rc == E_OK)
        rc = fs_make_dir(to);
    if (rc == E_OK)
        rc = copy_small(from, to);
    if (rc == E_OK && (rc = fs_path(inner, "%s/journal", from)) == E_OK && is_dir(inner) &&
        (rc = fs_path(inner_to, "%s/journal", to)) == E_OK)
        rc = copy_journal(inner, inner_to);
    if (rc == E_OK && (rc = fs_path(inner, "%s/db", from)) == E_OK && is_dir(inner) &&
        (rc = fs_path(inner_to, "%s/db", to)) == E_OK)
        rc = take_db(inner, inner_to);
    return rc;
}

int
image_take(const char *data_dir, const char *to)
{
    char  path[FS_PATH_MAX];
    names n;
    int   rc = fs_path(path, "%s/registry", data_dir);

    if (rc == E_OK && !is_dir(path))
        rc = err(E_NOTFOUND, "%s holds no data of a server", data_dir);
    if (rc == E_OK)
        rc = fs_make_dir(to);
    if (rc < 0 || (rc = names_read(&n, data_dir)) < 0)
        return rc;
    for (uint32_t i = 0; i < n.count && rc == E_OK; i++)
        if (strncmp(n.at[i], "part.", 5) == 0 || strcmp(n.at[i], "dead") == 0)
            rc = take_dir(data_dir, n.at[i], to);
    if (rc == E_OK)
        rc = copy_small(data_dir, to);
    if (rc == E_OK)
        rc = take_dir(data_dir, "registry", to);
    names_free(&n);
    return rc;
}

static int
remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s;
    (void)type;
    (void)f;
    return remove(path);
}

void
image_remove(const char *to)
{
    (void)nftw(to, remove_one, FILES_OPEN, FTW_DEPTH | FTW_PHYS);
}
