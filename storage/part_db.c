/* part_db.c - the RocksDB of a partition: who in this process has it open.
 *
 * RocksDB lets a process open a database once, and its handle may be read from any thread.  So the part that owns it
 * and the readers of the same process share one, counted; a reader that outlives its part keeps the handle open, and
 * the part's successor takes it over.  Databases are told apart by the directory itself (device and inode).
 */
#include "storage/part_inner.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proto/err.h"

enum {
    WRITE_BUFFER_BYTES = 16 << 20,
    CHUNK_BLOCK_BYTES = 32 << 10,
    SMALL_BLOCK_BYTES = 8 << 10,
};

static const rocks_family families[PART_FAMILY_COUNT] = {
    [PART_DEFAULT] = { "default", false, SMALL_BLOCK_BYTES },
    [PART_CHUNKS] = { "chunks", true, CHUNK_BLOCK_BYTES },
    [PART_SERIES] = { "series", true, SMALL_BLOCK_BYTES },
    [PART_LATEST] = { "latest", true, SMALL_BLOCK_BYTES },
    [PART_META] = { "meta", false, SMALL_BLOCK_BYTES },
};

struct part_db {
    rocks    rocks;
    dev_t    device;
    ino_t    inode;
    uint32_t refs;
    bool     owned; /* by a part */
    part_db *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static part_db        *open_ones;

static rocks_config
config_of(const char *dir, uint64_t cache_bytes)
{
    return (rocks_config){ .dir = dir,
                           .what = "part",
                           .families = families,
                           .family_count = PART_FAMILY_COUNT,
                           .cache_bytes = cache_bytes,
                           .write_buffer_bytes = WRITE_BUFFER_BYTES,
                           .start_empty = true };
}

static part_db *
find(const char *dir)
{
    struct stat st;

    if (stat(dir, &st) < 0)
        return NULL;
    for (part_db *d = open_ones; d != NULL; d = d->next)
        if (d->device == st.st_dev && d->inode == st.st_ino)
            return d;
    return NULL;
}

static int
open_new(part_db **out, const char *dir, uint64_t cache_bytes)
{
    rocks_config config = config_of(dir, cache_bytes);
    part_db     *d = calloc(1, sizeof *d);
    struct stat  st = { 0 };
    int          rc;

    ASSERT(d != NULL);
    rc = rocks_open(&d->rocks, &config);
    if (rc == E_OK && stat(dir, &st) < 0) {
        rc = err_errno(errno, "stat %s", dir);
        rocks_close(&d->rocks);
    }
    if (rc < 0) {
        free(d);
        return rc;
    }
    d->device = st.st_dev;
    d->inode = st.st_ino;
    d->next = open_ones;
    open_ones = d;
    *out = d;
    return E_OK;
}

int
part_db_own(part_db **out, const char *dir, uint64_t cache_bytes)
{
    int rc = E_OK;

    *out = NULL;
    pthread_mutex_lock(&lock);
    part_db *d = find(dir);
    if (d != NULL && d->owned)
        rc = err(E_LOCKED, "%s is open in this process", dir);
    else if (d == NULL)
        rc = open_new(&d, dir, cache_bytes);
    if (rc == E_OK) {
        d->owned = true;
        d->refs++;
        *out = d;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int
part_db_borrow(part_db **out, const char *dir)
{
    int rc = E_AGAIN;

    *out = NULL;
    pthread_mutex_lock(&lock);
    part_db *d = find(dir);
    if (d != NULL && d->owned) {
        d->refs++;
        *out = d;
        rc = E_OK;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int
part_db_follow(part_db **out, const char *dir, const char *scratch, uint64_t cache_bytes)
{
    rocks_config config = config_of(dir, cache_bytes);
    part_db     *d = calloc(1, sizeof *d);
    int          rc;

    ASSERT(d != NULL);
    *out = NULL;
    d->refs = 1;
    rc = rocks_open_secondary(&d->rocks, &config, scratch);
    if (rc < 0)
        free(d);
    else
        *out = d;
    return rc;
}

static void
unlink_db(part_db *d)
{
    for (part_db **at = &open_ones; *at != NULL; at = &(*at)->next) {
        if (*at != d)
            continue;
        *at = d->next;
        return;
    }
}

static void
release(part_db **dp, bool owner)
{
    part_db *d = *dp;

    if (d == NULL)
        return;
    *dp = NULL;
    pthread_mutex_lock(&lock);
    ASSERT(d->refs > 0);
    if (owner)
        d->owned = false;
    if (--d->refs == 0) {
        unlink_db(d);
        /* Within the lock: who opens it next must find it closed. */
        rocks_close(&d->rocks);
        free(d);
    }
    pthread_mutex_unlock(&lock);
}

void
part_db_disown(part_db **d)
{
    release(d, true);
}

void
part_db_release(part_db **d)
{
    release(d, false);
}

void
part_db_unfollow(part_db **dp)
{
    part_db *d = *dp;

    rocks_close(&d->rocks);
    free(d);
    *dp = NULL;
}

rocks *
part_db_rocks(part_db *d)
{
    return &d->rocks;
}
