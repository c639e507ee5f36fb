/* conform.c - the same steps over RocksDB and over memrocks.c: what storage/ relies on holds for both.
 *
 * Keys and batches from a fixed seed, a naive model beside them.  A crash is a copy of the directory for RocksDB, a
 * cut for memrocks.c: what was synced is there, and of the rest a prefix of whole batches.
 */
#include "tests/unit/check.h"

#include "proto/world.h"

#include <dirent.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef BACKEND_MEMORY
#include "tests/sim/memrocks.h"
#endif

enum { FAMILIES = 3, KEYS = 200, BATCHES = 120, OPS_MAX = 12 };

typedef struct state { /* value of each key; 0: none */
    uint32_t value[FAMILIES][KEYS];
} state;

typedef struct rig {
    char                            dir[256];
    rocksdb_options_t              *options;
    rocksdb_readoptions_t          *read;
    rocksdb_writeoptions_t         *lazy, *synced;
    rocksdb_t                      *db;
    rocksdb_column_family_handle_t *cf[FAMILIES];
} rig;

static state    model, history[BATCHES + 1];
static uint64_t sequences[BATCHES + 1];
static uint64_t seed;

static uint64_t
below(uint64_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % n;
}

/* ---- opening ---- */

static rocksdb_t *
try_open(rig *r, char **text)
{
    static const char *const names[FAMILIES] = { "default", "one", "two" };
    const rocksdb_options_t *options[FAMILIES] = { r->options, r->options, r->options };

    return rocksdb_open_column_families(r->options, r->dir, FAMILIES, names, options, r->cf, text);
}

static void
open_db(rig *r)
{
    char *text = NULL;

    r->db = try_open(r, &text);
    if (text != NULL)
        fail_msg("open: %s", text);
}

static void
close_db(rig *r)
{
    for (int i = 0; i < FAMILIES; i++)
        rocksdb_column_family_handle_destroy(r->cf[i]);
    rocksdb_close(r->db);
    r->db = NULL;
}

static int
set_up(void **state_p)
{
    rig *r = calloc(1, sizeof *r);

    CHECK(r != NULL);
    snprintf(r->dir, sizeof r->dir, "/dev/shm/haltless-conform-XXXXXX");
    CHECK(mkdtemp(r->dir) != NULL);
    r->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(r->options, 1);
    rocksdb_options_set_create_missing_column_families(r->options, 1);
    rocksdb_options_set_info_log_level(r->options, 2);
    r->read = rocksdb_readoptions_create();
    r->lazy = rocksdb_writeoptions_create();
    r->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(r->synced, 1);
    memset(&model, 0, sizeof model);
    seed = 42;
    open_db(r);
    *state_p = r;
    return 0;
}

static void
remove_dir(const char *path)
{
    char           inner[600];
    DIR           *d = opendir(path);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
            if (unlink(inner) < 0)
                remove_dir(inner);
        }
    if (d != NULL)
        closedir(d);
    rmdir(path);
}

static int
tear_down(void **state_p)
{
    rig *r = *state_p;

    if (r->db != NULL)
        close_db(r);
    rocksdb_options_destroy(r->options);
    rocksdb_readoptions_destroy(r->read);
    rocksdb_writeoptions_destroy(r->lazy);
    rocksdb_writeoptions_destroy(r->synced);
    remove_dir(r->dir);
    free(r);
    return 0;
}

/* ---- steps ---- */

static size_t
key_of(uint32_t k, char out[16])
{
    return (size_t)snprintf(out, 16, k % 3 == 0 ? "%04u" : "%04u.x", k);
}

static void
write_batch(rig *r, bool sync)
{
    rocksdb_writebatch_t *b = rocksdb_writebatch_create();
    uint64_t              before = rocksdb_get_latest_sequence_number(r->db);
    uint64_t              ops = 1 + below(OPS_MAX);
    char                 *text = NULL;

    for (uint64_t i = 0; i < ops; i++) {
        uint32_t    f = (uint32_t)below(FAMILIES), k = (uint32_t)below(KEYS);
        uint32_t    v = (uint32_t)below(4) == 0 ? 0 : 1 + (uint32_t)below(1 << 30);
        char        key[16];
        size_t      len = key_of(k, key);
        const char *keys[1] = { key }, *values[2] = { (const char *)&v, "tail" };
        size_t      lens[1] = { len }, value_lens[2] = { sizeof v, 4 };

        if (v == 0)
            rocksdb_writebatch_delete_cf(b, r->cf[f], key, len);
        else if (below(2) == 0)
            rocksdb_writebatch_putv_cf(b, r->cf[f], 1, keys, lens, 2, values, value_lens);
        else
            rocksdb_writebatch_put_cf(b, r->cf[f], key, len, (const char *)&v, sizeof v);
        model.value[f][k] = v;
    }
    CHECK_EQ((uint64_t)rocksdb_writebatch_count(b), ops);
    rocksdb_write(r->db, sync ? r->synced : r->lazy, b, &text);
    CHECK(text == NULL);
    rocksdb_writebatch_clear(b);
    CHECK_EQ(rocksdb_writebatch_count(b), 0);
    rocksdb_writebatch_destroy(b);
    CHECK_EQ(rocksdb_get_latest_sequence_number(r->db), before + ops);
}

static uint32_t
value_at(const char *at, size_t len)
{
    uint32_t v;

    CHECK(len == 4 || (len == 8 && memcmp(at + 4, "tail", 4) == 0));
    memcpy(&v, at, sizeof v);
    return v;
}

static uint32_t
number_of(const char *key, size_t len)
{
    char text[16];

    CHECK(len < sizeof text);
    memcpy(text, key, len);
    text[len] = '\0';
    return (uint32_t)strtoul(text, NULL, 10);
}

static uint32_t
key_at(const rocksdb_iterator_t *it)
{
    size_t      len;
    const char *key = rocksdb_iter_key(it, &len);

    return number_of(key, len);
}

/* All that is there, by key and by both directions of an iterator, is what `want` says. */
static void
check_equal(rig *r, rocksdb_t *db, rocksdb_column_family_handle_t *const *cf, const state *want)
{
    for (uint32_t f = 0; f < FAMILIES; f++) {
        rocksdb_iterator_t *it = rocksdb_create_iterator_cf(db, r->read, cf[f]);
        char               *text = NULL;
        uint32_t            k = 0;

        for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it), k++) {
            size_t      len;
            const char *value = rocksdb_iter_value(it, &len);

            while (k < KEYS && want->value[f][k] == 0)
                k++;
            CHECK_EQ(key_at(it), k);
            CHECK_EQ(value_at(value, len), want->value[f][k]);
        }
        while (k < KEYS && want->value[f][k] == 0)
            k++;
        CHECK_EQ(k, KEYS);
        for (rocksdb_iter_seek_to_last(it); rocksdb_iter_valid(it); rocksdb_iter_prev(it)) {
            while (k > 0 && want->value[f][k - 1] == 0)
                k--;
            CHECK(k > 0);
            CHECK_EQ(key_at(it), --k);
        }
        rocksdb_iter_get_error(it, &text);
        CHECK(text == NULL);
        rocksdb_iter_destroy(it);
    }
}

static void
check_lookups(rig *r)
{
    for (uint32_t i = 0; i < 400; i++) {
        uint32_t f = (uint32_t)below(FAMILIES), k = (uint32_t)below(KEYS);
        char     key[16];
        size_t   key_len = key_of(k, key), len = 0;
        char    *text = NULL;
        char    *got = rocksdb_get_cf(r->db, r->read, r->cf[f], key, key_len, &len, &text);
        rocksdb_pinnableslice_t *p = rocksdb_get_pinned_cf(r->db, r->read, r->cf[f], key, key_len, &text);

        CHECK(text == NULL);
        CHECK_EQ(got != NULL, model.value[f][k] != 0);
        CHECK_EQ(p != NULL, got != NULL);
        if (got != NULL) {
            size_t      pinned_len;
            const char *pinned = rocksdb_pinnableslice_value(p, &pinned_len);

            CHECK_EQ(value_at(got, len), model.value[f][k]);
            CHECK(pinned_len == len && memcmp(pinned, got, len) == 0);
        }
        rocksdb_free(got);
        rocksdb_pinnableslice_destroy(p);
    }
}

/* seek: the first key not below; seek_for_prev: the last one not above. */
static void
check_seeks(rig *r)
{
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t            f = (uint32_t)below(FAMILIES), k = (uint32_t)below(KEYS), up = k, down = k + 1;
        rocksdb_iterator_t *it = rocksdb_create_iterator_cf(r->db, r->read, r->cf[f]);
        char                key[16];
        size_t              len = key_of(k, key);

        while (up < KEYS && model.value[f][up] == 0)
            up++;
        while (down > 0 && model.value[f][down - 1] == 0)
            down--;
        rocksdb_iter_seek(it, key, len);
        CHECK_EQ(rocksdb_iter_valid(it), up < KEYS);
        if (up < KEYS)
            CHECK_EQ(key_at(it), up);
        len = key_of(k, key);
        rocksdb_iter_seek_for_prev(it, key, len);
        CHECK_EQ(rocksdb_iter_valid(it), down > 0);
        if (down > 0)
            CHECK_EQ(key_at(it), down - 1);
        rocksdb_iter_destroy(it);
    }
}

/* ---- claims ---- */

static void
what_is_written_is_read_by_key_and_by_iterator(void **state_p)
{
    rig *r = *state_p;

    for (int i = 0; i < BATCHES; i++)
        write_batch(r, i % 5 == 0);
    check_equal(r, r->db, r->cf, &model);
    check_lookups(r);
    check_seeks(r);
    close_db(r);
    open_db(r);
    check_equal(r, r->db, r->cf, &model);
}

static void
iterators_and_snapshots_see_their_moment(void **state_p)
{
    rig                      *r = *state_p;
    rocksdb_readoptions_t    *then = rocksdb_readoptions_create();
    const rocksdb_snapshot_t *s;
    rocksdb_iterator_t       *it;
    rocksdb_readoptions_t    *now = r->read;
    state                     before;
    uint32_t                  seen = 0;

    for (int i = 0; i < 30; i++)
        write_batch(r, false);
    before = model;
    s = rocksdb_create_snapshot(r->db);
    it = rocksdb_create_iterator_cf(r->db, r->read, r->cf[1]);
    rocksdb_readoptions_set_snapshot(then, s);
    for (int i = 0; i < 30; i++)
        write_batch(r, false);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it))
        seen++;
    for (uint32_t k = 0; k < KEYS; k++)
        seen -= before.value[1][k] != 0;
    CHECK_EQ(seen, 0);
    rocksdb_iter_destroy(it);
    r->read = then;
    check_equal(r, r->db, r->cf, &before);
    r->read = now;
    check_equal(r, r->db, r->cf, &model);
    rocksdb_release_snapshot(r->db, s);
    rocksdb_readoptions_destroy(then);
}

static void
a_database_has_one_owner(void **state_p)
{
    rig  *r = *state_p;
    rig   other = *r;
    char *text = NULL;

    CHECK(try_open(&other, &text) == NULL);
    CHECK(text != NULL && strstr(text, "lock hold by current process") != NULL);
    rocksdb_free(text);
}

static void
a_follower_sees_what_there_was_when_it_caught_up(void **state_p)
{
    static const char *const        names[FAMILIES] = { "default", "one", "two" };
    rig                            *r = *state_p;
    const rocksdb_options_t        *options[FAMILIES] = { r->options, r->options, r->options };
    rocksdb_column_family_handle_t *cf[FAMILIES];
    char                            scratch[300], *text = NULL;
    rocksdb_t                      *follower;

    for (int i = 0; i < 30; i++)
        write_batch(r, false);
    snprintf(scratch, sizeof scratch, "%s.follower", r->dir);
    rocksdb_options_set_max_open_files(r->options, -1);
    follower = rocksdb_open_as_secondary_column_families(r->options, r->dir, scratch, FAMILIES, names,
                                                         options, cf, &text);
    CHECK(text == NULL);
    check_equal(r, follower, cf, &model);
    for (int i = 0; i < 30; i++)
        write_batch(r, false);
    CHECK(rocksdb_get_latest_sequence_number(follower) < rocksdb_get_latest_sequence_number(r->db));
    rocksdb_try_catch_up_with_primary(follower, &text);
    CHECK(text == NULL);
    CHECK_EQ(rocksdb_get_latest_sequence_number(follower), rocksdb_get_latest_sequence_number(r->db));
    check_equal(r, follower, cf, &model);
    for (int i = 0; i < FAMILIES; i++)
        rocksdb_column_family_handle_destroy(cf[i]);
    rocksdb_close(follower);
    remove_dir(scratch);
}

/* ---- a crash ---- */

#ifdef BACKEND_MEMORY

static void
crash(rig *r, bool keep_unsynced)
{
    (void)keep_unsynced; /* chance decides */
    for (int i = 0; i < FAMILIES; i++)
        rocksdb_column_family_handle_destroy(r->cf[i]);
    (void)memrocks_cut(below);
    rocksdb_close(r->db);
}

#else

static void
copy_file(const char *from, const char *to, long but)
{
    static char bytes[1 << 16];
    FILE       *in = fopen(from, "rb"), *out = fopen(to, "wb");
    long        left;
    size_t      n;

    CHECK(in != NULL && out != NULL);
    fseek(in, 0, SEEK_END);
    left = ftell(in) - but;
    rewind(in);
    while (left > 0 && (n = fread(bytes, 1, (size_t)(left < (long)sizeof bytes ? left : (long)sizeof bytes), in)) > 0) {
        CHECK_EQ(fwrite(bytes, 1, n, out), n);
        left -= (long)n;
    }
    fclose(in);
    fclose(out);
}

/* The files as they are now, the newest log cut short by what was not synced or less; then on with the copy. */
static void
crash(rig *r, bool keep_unsynced)
{
    char           from[600], to[600], copy[256];
    struct dirent *e;
    DIR           *d;

    snprintf(copy, sizeof copy, "/dev/shm/haltless-conform-XXXXXX");
    CHECK(mkdtemp(copy) != NULL);
    d = opendir(r->dir);
    CHECK(d != NULL);
    while ((e = readdir(d)) != NULL) {
        size_t len = strlen(e->d_name);

        if (e->d_name[0] == '.')
            continue;
        snprintf(from, sizeof from, "%s/%s", r->dir, e->d_name);
        snprintf(to, sizeof to, "%s/%s", copy, e->d_name);
        copy_file(from, to, len > 4 && strcmp(e->d_name + len - 4, ".log") == 0 && !keep_unsynced ? 100 : 0);
    }
    closedir(d);
    close_db(r);
    remove_dir(r->dir);
    memcpy(r->dir, copy, sizeof r->dir);
}

#endif

/* After the crash the state is that of some moment, and none before the last sync; the sequence says which. */
static void
a_crash_keeps_a_prefix_of_what_was_not_synced(void **state_p)
{
    rig *r = *state_p;

    for (int round = 0; round < 12; round++) {
        int synced = (int)below(6), last = synced + (int)below(6), at = 0;

        history[0] = model;
        sequences[0] = rocksdb_get_latest_sequence_number(r->db);
        for (int i = 1; i <= last; i++) {
            write_batch(r, i == synced);
            history[i] = model;
            sequences[i] = rocksdb_get_latest_sequence_number(r->db);
        }
        if (synced == 0) {
            char *text = NULL;

            rocksdb_flush_wal(r->db, 1, &text);
            CHECK(text == NULL);
            synced = last;
        }
        crash(r, synced == last || round % 2 == 0);
        open_db(r);
        while (at < last && sequences[at] < rocksdb_get_latest_sequence_number(r->db))
            at++;
        CHECK_EQ(sequences[at], rocksdb_get_latest_sequence_number(r->db));
        CHECK(at >= synced);
        model = history[at];
        check_equal(r, r->db, r->cf, &model);
    }
}

static void
a_range_is_deleted_at_once(void **state_p)
{
    rig     *r = *state_p;
    uint64_t before;
    char     from[16], until[16], *text = NULL;
    size_t   from_len = key_of(40, from), until_len = key_of(90, until);

    for (int i = 0; i < 40; i++)
        write_batch(r, false);
    before = rocksdb_get_latest_sequence_number(r->db);
    rocksdb_delete_range_cf(r->db, r->lazy, r->cf[2], from, from_len, until, until_len, &text);
    CHECK(text == NULL);
    CHECK_EQ(rocksdb_get_latest_sequence_number(r->db), before + 1);
    for (uint32_t k = 40; k < 90; k++)
        model.value[2][k] = 0;
    check_equal(r, r->db, r->cf, &model);
    write_batch(r, false);
    check_equal(r, r->db, r->cf, &model);
}

/* Of one family; with several of them, RocksDB syncs the log behind it first. */
static void
a_flush_makes_everything_before_it_durable(void **state_p)
{
    rig                    *r = *state_p;
    rocksdb_flushoptions_t *wait = rocksdb_flushoptions_create();
    char                   *text = NULL, key[16];
    size_t                  len = key_of(7, key);

    for (int i = 0; i < 20; i++)
        write_batch(r, false);
    rocksdb_delete_cf(r->db, r->lazy, r->cf[1], key, len, &text);
    CHECK(text == NULL);
    model.value[1][7] = 0;
    rocksdb_flushoptions_set_wait(wait, 1);
    rocksdb_flush_cf(r->db, wait, r->cf[1], &text);
    CHECK(text == NULL);
    rocksdb_flushoptions_destroy(wait);
    crash(r, true);
    open_db(r);
    check_equal(r, r->db, r->cf, &model);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read_by_key_and_by_iterator, set_up, tear_down),
        cmocka_unit_test_setup_teardown(iterators_and_snapshots_see_their_moment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_database_has_one_owner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_follower_sees_what_there_was_when_it_caught_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_range_is_deleted_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flush_makes_everything_before_it_durable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_crash_keeps_a_prefix_of_what_was_not_synced, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("conform", tests, NULL, NULL);
}
