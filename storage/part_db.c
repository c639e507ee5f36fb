/* part_db.c - the RocksDB of a partition: who in this process has it open.
 *
 * RocksDB lets a process open a database once, and its handle may be read from any thread.  So the part that owns it
 * and the readers of the same process share one, counted; a reader that outlives its part keeps the handle open, and
 * the part's successor takes it over.  Databases are told apart by the directory itself (device and inode).
 *
 * After a failed write RocksDB takes no more until it is opened anew, which the owner does underneath the readers: every
 * use of the handle by a reader is between enter and leave, their iterators are on a list, and an exchange ends them.
 */
#include "storage/part_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/world.h"
#include "storage/reserve.h"

enum {
    WRITE_BUFFER_BYTES = 16 << 20,
    CHUNK_BLOCK_BYTES = 32 << 10,
    SMALL_BLOCK_BYTES = 8 << 10,
    ROLLUP_BLOCK_BYTES = 16 << 10,
};

static const rocks_family families[PART_FAMILY_COUNT] = {
    [PART_DEFAULT] = { "default", false, SMALL_BLOCK_BYTES },
    [PART_CHUNKS] = { "chunks", true, CHUNK_BLOCK_BYTES },
    [PART_SERIES] = { "series", true, SMALL_BLOCK_BYTES },
    [PART_LATEST] = { "latest", true, SMALL_BLOCK_BYTES },
    [PART_META] = { "meta", false, SMALL_BLOCK_BYTES },
    [PART_ROLLUPS] = { "rollups", true, ROLLUP_BLOCK_BYTES },
    [PART_ERASED] = { "erased", false, SMALL_BLOCK_BYTES },
};

struct part_db {
    rocks    rocks;
    pthread_rwlock_t use;        /* written: the handle is exchanged */
    pthread_mutex_t  views_lock; /* guards the list */
    db_view *views;
    uint64_t epoch; /* of a follower: how often it has caught up */
    bool     follows;
    uint64_t device, inode;
    uint32_t refs;
    bool     owned; /* by a part */
    bool     read_only;
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
new_db(void)
{
    part_db *d = calloc(1, sizeof *d);

    ASSERT(d != NULL);
    pthread_rwlock_init(&d->use, NULL);
    pthread_mutex_init(&d->views_lock, NULL);
    return d;
}

static void
free_db(part_db *d)
{
    ASSERT(d->views == NULL); /* a cursor outlives its reader */
    pthread_rwlock_destroy(&d->use);
    pthread_mutex_destroy(&d->views_lock);
    free(d);
}

static part_db *
find(const char *dir)
{
    world_file at;

    if (the_world->look(dir, &at) < 0)
        return NULL;
    for (part_db *d = open_ones; d != NULL; d = d->next)
        if (d->device == at.device && d->inode == at.inode)
            return d;
    return NULL;
}

int
part_db_space(const char *dir)
{
    uint64_t space;

    if (the_world->space(dir, &space) < 0)
        return err_errno(errno, "look at %s", dir);
    return space >= RESERVE_LOW ? E_OK : err(E_NOSPACE, "%" PRIu64 " bytes are free in %s", space, dir);
}

/* To read only where there is a database and the disk is full. */
static int
open_within_space(part_db *d, const rocks_config *config)
{
    char       path[FS_PATH_MAX];
    world_file at;
    int        rc = fs_path(path, "%s/db/CURRENT", config->dir);

    if (rc == E_OK && the_world->look(path, &at) == 0 && part_db_space(config->dir) == E_NOSPACE) {
        rc = fs_check_format(config->dir, config->what);
        if (rc == E_OK && rocks_reopen(&d->rocks, config, false) == E_OK)
            d->read_only = true;
    }
    if (rc == E_OK)
        err_clear();
    return rc < 0 || d->read_only ? rc : rocks_open(&d->rocks, config);
}

static int
open_new(part_db **out, const char *dir, uint64_t cache_bytes)
{
    rocks_config config = config_of(dir, cache_bytes);
    part_db     *d = new_db();
    world_file   at = { 0 };
    int          rc;

    rc = open_within_space(d, &config);
    if (rc == E_OK && the_world->look(dir, &at) < 0) {
        rc = err_errno(errno, "stat %s", dir);
        rocks_close(&d->rocks);
    }
    if (rc < 0) {
        free_db(d);
        return rc;
    }
    d->device = at.device;
    d->inode = at.inode;
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
    part_db     *d = new_db();
    int          rc;

    *out = NULL;
    d->refs = 1;
    d->follows = true;
    rc = rocks_open_secondary(&d->rocks, &config, scratch);
    if (rc < 0)
        free_db(d);
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
        free_db(d);
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
    free_db(d);
    *dp = NULL;
}

/* As if another process had had it: nothing is closed, nothing given back. */
void
part_db_lose(const char *dir)
{
    pthread_mutex_lock(&lock);
    part_db *d = find(dir);
    if (d != NULL)
        unlink_db(d);
    pthread_mutex_unlock(&lock);
}

rocks *
part_db_rocks(part_db *d)
{
    return &d->rocks;
}

bool
part_db_is_read_only(const part_db *d)
{
    return d->read_only;
}

/* ---- iterators, and the exchange underneath them ---- */

void
part_db_enter(part_db *d)
{
    pthread_rwlock_rdlock(&d->use);
}

void
part_db_leave(part_db *d)
{
    pthread_rwlock_unlock(&d->use);
}

int
part_db_view_open(part_db *d, db_view *v)
{
    const rocks *r = &d->rocks;
    int          rc = E_OK;

    *v = (db_view){ .of = d, .epoch = d->epoch };
    part_db_enter(d);
    if (r->db == NULL) {
        rc = err(E_AGAIN, "the partition is being opened anew");
    } else {
        v->read = rocksdb_readoptions_create();
        if (!d->follows) {
            v->snapshot = rocksdb_create_snapshot(r->db);
            rocksdb_readoptions_set_snapshot(v->read, v->snapshot);
        }
        pthread_mutex_lock(&d->views_lock);
        v->next = d->views;
        d->views = v;
        pthread_mutex_unlock(&d->views_lock);
    }
    part_db_leave(d);
    return rc;
}

static int
judge_moment(const db_view *v)
{
    if (v->gone)
        return err(E_AGAIN, "the partition was opened anew");
    return v->epoch == v->of->epoch ? E_OK : err(E_AGAIN, "the partition has gone on");
}

int
part_db_view_iter(db_view *v, uint32_t slot, enum part_family family)
{
    const rocks *r = &v->of->rocks;
    int          rc;

    if (v->gone)
        return err(E_AGAIN, "the partition was opened anew");
    if (v->it[slot] != NULL)
        return E_OK;
    rc = judge_moment(v);
    if (rc == E_OK)
        v->it[slot] = rocksdb_create_iterator_cf(r->db, v->read, r->cf[family]);
    return rc;
}

int
part_db_view_get(db_view *v, enum part_family family, view key, rocksdb_pinnableslice_t **out)
{
    const rocks *r = &v->of->rocks;
    char        *text = NULL;
    int          rc = judge_moment(v);

    *out = NULL;
    if (rc < 0)
        return rc;
    *out = rocksdb_get_pinned_cf(r->db, v->read, r->cf[family], (const char *)key.at, key.len, &text);
    if (text != NULL)
        return rocks_result(text, "get");
    return *out != NULL ? E_OK : E_NOTFOUND;
}

void
part_db_caught_up(part_db *d)
{
    d->epoch++;
}

static void
end_view(db_view *v)
{
    for (uint32_t i = 0; i < DB_VIEW_ITERS; i++)
        if (v->it[i] != NULL)
            rocksdb_iter_destroy(v->it[i]);
    memset(v->it, 0, sizeof v->it);
    if (v->snapshot != NULL)
        rocksdb_release_snapshot(v->of->rocks.db, v->snapshot);
    v->snapshot = NULL;
    v->gone = true;
}

static void
unlink_view(part_db *d, const db_view *v)
{
    for (db_view **at = &d->views; *at != NULL; at = &(*at)->next) {
        if (*at != v)
            continue;
        *at = v->next;
        return;
    }
}

void
part_db_view_close(db_view *v)
{
    part_db *d = v->of;

    part_db_enter(d);
    pthread_mutex_lock(&d->views_lock);
    unlink_view(d, v);
    pthread_mutex_unlock(&d->views_lock);
    if (!v->gone)
        end_view(v);
    part_db_leave(d);
    rocksdb_readoptions_destroy(v->read);
    v->read = NULL;
}

int
part_db_reopen(part_db *d, const char *dir, uint64_t cache_bytes, bool to_write)
{
    rocks_config config = config_of(dir, cache_bytes);
    int          rc;

    pthread_rwlock_wrlock(&d->use);
    for (db_view *v = d->views; v != NULL; v = v->next)
        if (!v->gone)
            end_view(v);
    rc = rocks_reopen(&d->rocks, &config, to_write);
    d->read_only = !to_write || rc < 0;
    pthread_rwlock_unlock(&d->use);
    return rc;
}
