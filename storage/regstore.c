/* regstore.c - the registry's column families over storage/rocks.h.
 *
 *   stored value   [0] format version, [1..] what the registry put
 *
 * An unreadable registry is repaired, but never replaced by an empty one: record numbers would start again, and a
 * new tenant would own what another one's readings are filed under.  Then it refuses to open.
 */
#include "storage/regstore.h"

#include <stdlib.h>

#include "proto/err.h"
#include "proto/log.h"
#include "storage/fs.h"
#include "storage/patience.h"
#include "storage/rocks.h"

enum {
    VALUE_VERSION = 1,
    CACHE_BYTES = 8 << 20,
    WRITE_BUFFER_BYTES = 8 << 20,
    BLOCK_BYTES = 8 << 10,
};

/* RocksDB insists on a family named "default"; ours follow it. */
static const rocks_family families[] = { { "default", false, BLOCK_BYTES },
#define X(FAMILY, name) { name, false, BLOCK_BYTES },
                                         REG_FAMILIES(X)
#undef X
};
_Static_assert(COUNT_OF(families) <= ROCKS_FAMILIES_MAX, "room for every family");

struct regstore {
    rocks                 rocks;
    rocksdb_writebatch_t *batch;
    bool                  read_only; /* the disk was full when it was opened */
};

static rocksdb_column_family_handle_t *
family(const regstore *s, enum reg_family f)
{
    ASSERT(f < REG_FAMILY_COUNT);
    return s->rocks.cf[f + 1];
}

int
regstore_open(regstore **out, const char *data_dir)
{
    char         dir[FS_PATH_MAX];
    rocks_config config = { .dir = dir,
                            .what = "registry",
                            .families = families,
                            .family_count = COUNT_OF(families),
                            .cache_bytes = CACHE_BYTES,
                            .write_buffer_bytes = WRITE_BUFFER_BYTES };
    regstore    *s;
    int          rc = fs_path(dir, "%s/registry", data_dir);

    *out = NULL;
    if (rc < 0)
        return rc;
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return err(E_NOMEM, "open registry");
    rc = rocks_open(&s->rocks, &config);
    /* A full disk: who may log in and what is watched is known all the same. */
    if (rc == E_NOSPACE && rocks_reopen(&s->rocks, &config, false) == E_OK) {
        log_warn("regstore.read_only", "dir=%s why=\"the disk is full\"", dir);
        err_clear();
        s->read_only = true;
        rc = E_OK;
    }
    if (rc < 0) {
        rocks_close(&s->rocks);
        free(s);
        return rc;
    }
    patience_renew(dir);
    s->batch = rocksdb_writebatch_create();
    *out = s;
    return E_OK;
}

bool
regstore_is_read_only(const regstore *s)
{
    return s->read_only;
}

void
regstore_close(regstore **sp)
{
    regstore *s = *sp;

    if (s == NULL)
        return;
    rocksdb_writebatch_destroy(s->batch);
    rocks_close(&s->rocks);
    free(s);
    *sp = NULL;
}

void
regstore_put(regstore *s, enum reg_family f, view key, view value)
{
    static const uint8_t version = VALUE_VERSION;
    const char          *keys[1] = { (const char *)key.at };
    size_t               key_lens[1] = { key.len };
    const char          *values[2] = { (const char *)&version, (const char *)value.at };
    size_t               value_lens[2] = { 1, value.len };

    ASSERT(key.len > 0);
    rocksdb_writebatch_putv_cf(s->batch, family(s, f), 1, keys, key_lens, value.len > 0 ? 2 : 1,
                               values, value_lens);
}

void
regstore_delete(regstore *s, enum reg_family f, view key)
{
    rocksdb_writebatch_delete_cf(s->batch, family(s, f), (const char *)key.at, key.len);
}

int
regstore_commit(regstore *s, bool sync)
{
    char *text = NULL;

    if (rocksdb_writebatch_count(s->batch) == 0)
        return E_OK;
    if (s->read_only) {
        rocksdb_writebatch_clear(s->batch);
        return err(E_NOSPACE, "the registry is open for reading only");
    }
    rocksdb_write(s->rocks.db, sync ? s->rocks.write_synced : s->rocks.write, s->batch, &text);
    rocksdb_writebatch_clear(s->batch);
    return rocks_result(text, "commit to the registry");
}

void
regstore_abandon(regstore *s)
{
    rocksdb_writebatch_clear(s->batch);
}

/* Takes the version byte off; *value then points one byte into what RocksDB gave. */
static int
judge(view *value)
{
    if (value->len == 0)
        return err(E_BAD, "a registry value without a version");
    if (value->at[0] != VALUE_VERSION)
        return err(E_NEWER, "a registry value of version %u", value->at[0]);
    *value = view_of(value->at + 1, value->len - 1);
    return E_OK;
}

int
regstore_get(regstore *s, enum reg_family f, view key, uint8_t **value, size_t *len)
{
    char  *text = NULL;
    size_t got_len = 0;
    char  *got = rocksdb_get_cf(s->rocks.db, s->rocks.read, family(s, f), (const char *)key.at,
                                key.len, &got_len, &text);
    view   v = view_of(got, got_len);
    int    rc = rocks_result(text, "read the registry");

    *value = NULL;
    *len = 0;
    if (rc < 0)
        return rc;
    if (got == NULL)
        return E_NOTFOUND;
    rc = judge(&v);
    if (rc == E_OK) {
        /* One byte more than asked for, so that an empty value is not NULL. */
        *value = malloc(v.len + 1);
        ASSERT(*value != NULL);
        memcpy(*value, v.at, v.len);
        *len = v.len;
    }
    rocksdb_free(got);
    return rc;
}

void
regstore_free(uint8_t *value)
{
    free(value);
}

static void
go_to_start(rocksdb_iterator_t *it, view from, view until, bool backwards)
{
    if (!backwards && from.len == 0)
        rocksdb_iter_seek_to_first(it);
    else if (!backwards)
        rocksdb_iter_seek(it, (const char *)from.at, from.len);
    else if (until.len == 0)
        rocksdb_iter_seek_to_last(it);
    else {
        size_t len;

        rocksdb_iter_seek_for_prev(it, (const char *)until.at, until.len);
        /* `until` itself is outside. */
        if (rocksdb_iter_valid(it)) {
            const char *key = rocksdb_iter_key(it, &len);
            if (view_eq(view_of(key, len), until))
                rocksdb_iter_prev(it);
        }
    }
}

static int
compare(view a, view b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int    c = n > 0 ? memcmp(a.at, b.at, n) : 0;

    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static bool
is_inside(view key, view from, view until)
{
    return compare(key, from) >= 0 && (until.len == 0 || compare(key, until) < 0);
}

int
regstore_scan(regstore *s, enum reg_family f, view from, view until, bool backwards,
              regstore_scan_fn *fn, void *ctx)
{
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(s->rocks.db, s->rocks.read, family(s, f));
    char               *text = NULL;
    int                 rc = E_OK;

    go_to_start(it, from, until, backwards);
    while (rc == E_OK && rocksdb_iter_valid(it)) {
        size_t      key_len, value_len;
        const char *key_at = rocksdb_iter_key(it, &key_len);
        const char *value_at = rocksdb_iter_value(it, &value_len);
        view        key = view_of(key_at, key_len);
        view        value = view_of(value_at, value_len);

        if (!is_inside(key, from, until))
            break;
        rc = judge(&value);
        if (rc == E_OK)
            rc = fn(ctx, key, value);
        if (backwards)
            rocksdb_iter_prev(it);
        else
            rocksdb_iter_next(it);
    }
    if (rc == E_OK) {
        rocksdb_iter_get_error(it, &text);
        rc = rocks_result(text, "scan the registry");
    }
    rocksdb_iter_destroy(it);
    return rc;
}
