/* memrocks.c - RocksDB's C interface, as far as storage/ uses it, over ordered memory.
 *
 *   database ─ families by name ─ skip list of keys ─ versions of a key, newest first: {sequence, value or deleted}
 *
 * What is modelled: batches are atomic and numbered as RocksDB numbers them; an iterator sees what there was when it
 * was made; a secondary sees what there was when it caught up last; one owner at a time; after a failed write nothing
 * is taken until the database is opened anew; a power cut keeps a prefix of the batches that were not synced.  What is
 * not: table files, compaction, damage.  tests/sim/conform.c runs the same steps over this and over RocksDB.
 *
 * Linked instead of librocksdb: a call that is missing here is an error of the linker.
 */
#include "tests/sim/memrocks.h"

#include "proto/world.h"

#include <fcntl.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEIGHT_MAX = 12, FAMILIES_MAX = 32, DATABASES_MAX = 32, PATH_ROOM = 4096 };

typedef struct version {
    struct version *older;
    uint64_t        sequence;
    size_t          len;
    bool            deleted;
    uint8_t         bytes[];
} version;

typedef struct node {
    version     *newest;
    struct node *before; /* the one in front of it */
    size_t       len;
    uint8_t     *key;
    struct node *next[];
} node;

typedef struct family {
    char     name[64];
    node    *first[HEIGHT_MAX];
    node    *last;
    uint64_t keys;
} family;

typedef struct database {
    char      path[PATH_ROOM];
    family    family[FAMILIES_MAX];
    uint32_t  families;
    uint64_t  sequence, synced;
    uint64_t *ends; /* sequences at which batches end that are not synced */
    uint32_t  end_count, end_room;
    bool      owned, broken;
} database;

struct rocksdb_t {
    database *d;
    bool      writes;
    bool      follows;
    uint64_t  sees; /* when it follows */
    uint64_t  life; /* of all databases: a power cut ends it */
};
struct rocksdb_column_family_handle_t {
    family *f;
};
struct rocksdb_iterator_t {
    family  *f;
    node    *at;
    uint64_t sees;
};
struct rocksdb_writeoptions_t {
    bool sync;
};
struct rocksdb_writebatch_t {
    uint8_t *bytes;
    size_t   len, room;
    int      count;
};
struct rocksdb_options_t {
    bool create;
};
struct rocksdb_readoptions_t {
    const rocksdb_snapshot_t *snapshot;
};
struct rocksdb_snapshot_t {
    uint64_t sees;
};
struct rocksdb_pinnableslice_t {
    const version *v;
};
struct rocksdb_cache_t {
    int none;
};
struct rocksdb_flushoptions_t {
    int none;
};
struct rocksdb_block_based_table_options_t {
    int none;
};

typedef struct op { /* in a batch: then key, value */
    family *f;
    size_t  key_len, len;
    bool    deleted;
} op;

static database *databases[DATABASES_MAX];
static uint32_t  database_count;
static uint64_t  life = 1;
static uint64_t  dice = 88172645463325252ull;

bool (*memrocks_fails)(const char *path);

static void *
get(size_t len)
{
    void *at = calloc(1, len);

    ASSERT(at != NULL);
    return at;
}

static void
complain(char **text, const char *what)
{
    *text = strdup(what);
    ASSERT(*text != NULL);
}

/* ---- a family ---- */

static int
compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    size_t n = a_len < b_len ? a_len : b_len;
    int    c = n > 0 ? memcmp(a, b, n) : 0;

    return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

/* The first node >= key; at[]: the links that lead to it on each level. */
static node *
seek(family *f, const uint8_t *key, size_t len, node **at[HEIGHT_MAX], node **before)
{
    node **links = f->first;
    node  *prev = NULL;

    for (int h = HEIGHT_MAX; h-- > 0;) {
        while (links[h] != NULL && compare(links[h]->key, links[h]->len, key, len) < 0) {
            prev = links[h];
            links = prev->next;
        }
        if (at != NULL)
            at[h] = &links[h];
    }
    if (before != NULL)
        *before = prev;
    return links[0];
}

static int
height(void)
{
    int h = 1;

    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    while (h < HEIGHT_MAX && (dice >> (2 * h) & 3) == 0)
        h++;
    return h;
}

static node *
add_node(family *f, const uint8_t *key, size_t len, node **at[HEIGHT_MAX], node *before)
{
    int   high = height();
    node *n = get(sizeof *n + HEIGHT_MAX * sizeof(node *));

    n->key = get(len + 1);
    memcpy(n->key, key, len);
    n->len = len;
    n->before = before;
    if (*at[0] != NULL)
        (*at[0])->before = n;
    else
        f->last = n;
    for (int h = 0; h < high; h++) {
        n->next[h] = *at[h];
        *at[h] = n;
    }
    f->keys++;
    return n;
}

static void
put(family *f, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len, bool deleted,
    uint64_t sequence)
{
    node   **at[HEIGHT_MAX];
    node    *before;
    node    *n = seek(f, key, key_len, at, &before);
    version *v = get(sizeof *v + len);

    if (n == NULL || compare(n->key, n->len, key, key_len) != 0)
        n = add_node(f, key, key_len, at, before);
    v->older = n->newest;
    v->sequence = sequence;
    v->len = len;
    v->deleted = deleted;
    if (len > 0)
        memcpy(v->bytes, value, len);
    n->newest = v;
}

static const version *
seen(const node *n, uint64_t sees)
{
    const version *v = n->newest;

    while (v != NULL && v->sequence > sees)
        v = v->older;
    return v == NULL || v->deleted ? NULL : v;
}

/* ---- databases ---- */

static database *
find(const char *path)
{
    for (uint32_t i = 0; i < database_count; i++)
        if (strcmp(databases[i]->path, path) == 0)
            return databases[i];
    return NULL;
}

static void
make_file(const char *path)
{
    char name[PATH_ROOM + 16];
    int  fd;

    (void)the_world->make_dir(path);
    (void)snprintf(name, sizeof name, "%s/CURRENT", path);
    if ((fd = the_world->open(name, O_WRONLY | O_CREAT)) >= 0)
        (void)the_world->close(fd);
    if ((fd = the_world->open(path, O_RDONLY | O_DIRECTORY)) < 0)
        return;
    (void)the_world->sync(fd);
    (void)the_world->close(fd);
}

static database *
make(const char *path)
{
    database *d = get(sizeof *d);

    ASSERT(database_count < DATABASES_MAX && strlen(path) < sizeof d->path);
    memcpy(d->path, path, strlen(path) + 1);
    databases[database_count++] = d;
    make_file(path);
    return d;
}

static family *
family_of(database *d, const char *name)
{
    for (uint32_t i = 0; i < d->families; i++)
        if (strcmp(d->family[i].name, name) == 0)
            return &d->family[i];
    ASSERT(d->families < FAMILIES_MAX && strlen(name) < sizeof d->family[0].name);
    memcpy(d->family[d->families].name, name, strlen(name) + 1);
    return &d->family[d->families++];
}

static rocksdb_t *
handle(database *d, int count, const char *const *names, rocksdb_column_family_handle_t **cf)
{
    rocksdb_t *r = get(sizeof *r);

    for (int i = 0; i < count; i++) {
        cf[i] = get(sizeof *cf[i]);
        cf[i]->f = family_of(d, names[i]);
    }
    r->d = d;
    r->life = life;
    return r;
}

rocksdb_t *
rocksdb_open_column_families(const rocksdb_options_t *options, const char *path, int count,
                             const char *const *names, const rocksdb_options_t *const *family_options,
                             rocksdb_column_family_handle_t **cf, char **text)
{
    database  *d = find(path);
    rocksdb_t *r;

    (void)family_options;
    if (d == NULL && !options->create) {
        complain(text, "Invalid argument: does not exist (create_if_missing is false)");
        return NULL;
    }
    if (d != NULL && d->owned) {
        complain(text, "IO error: lock hold by current process");
        return NULL;
    }
    if (d == NULL)
        d = make(path);
    r = handle(d, count, names, cf);
    r->writes = d->owned = true;
    d->broken = false;
    return r;
}

rocksdb_t *
rocksdb_open_for_read_only_column_families(const rocksdb_options_t *options, const char *path,
                                           int count, const char *const *names,
                                           const rocksdb_options_t *const *family_options,
                                           rocksdb_column_family_handle_t **cf,
                                           unsigned char fail_on_log, char **text)
{
    database  *d = find(path);
    rocksdb_t *r;

    (void)options;
    (void)family_options;
    (void)fail_on_log;
    if (d == NULL) {
        complain(text, "IO error: No such file or directory");
        return NULL;
    }
    r = handle(d, count, names, cf);
    r->follows = true;
    r->sees = d->sequence;
    return r;
}

rocksdb_t *
rocksdb_open_as_secondary_column_families(const rocksdb_options_t *options, const char *path,
                                          const char *scratch, int count, const char *const *names,
                                          const rocksdb_options_t *const *family_options,
                                          rocksdb_column_family_handle_t **cf, char **text)
{
    (void)scratch;
    return rocksdb_open_for_read_only_column_families(options, path, count, names, family_options,
                                                      cf, 0, text);
}

void
rocksdb_try_catch_up_with_primary(rocksdb_t *r, char **text)
{
    (void)text;
    r->sees = r->d->sequence;
}

void
rocksdb_close(rocksdb_t *r)
{
    if (r->writes && r->life == life)
        r->d->owned = false;
    free(r);
}

void
rocksdb_repair_db(const rocksdb_options_t *options, const char *path, char **text)
{
    (void)options;
    (void)path;
    complain(text, "Corruption: nothing to repair here");
}

void
rocksdb_column_family_handle_destroy(rocksdb_column_family_handle_t *cf)
{
    free(cf);
}

void
memrocks_die(const char *prefix)
{
    size_t n = strlen(prefix);

    for (uint32_t i = 0; i < database_count; i++)
        if (strncmp(databases[i]->path, prefix, n) == 0 && databases[i]->path[n] == '/')
            databases[i]->owned = false;
}

static void
forget_after(database *d, uint64_t sequence)
{
    for (uint32_t i = 0; i < d->families; i++)
        for (node *n = d->family[i].first[0]; n != NULL; n = n->next[0])
            while (n->newest != NULL && n->newest->sequence > sequence) {
                version *v = n->newest;

                n->newest = v->older;
                free(v);
            }
    d->sequence = sequence;
}

uint64_t
memrocks_cut(uint64_t (*below)(uint64_t n))
{
    uint64_t lost = 0;

    life++;
    for (uint32_t i = 0; i < database_count; i++) {
        database *d = databases[i];
        uint64_t  keep = below(d->end_count + 1);

        lost += d->end_count - keep;
        forget_after(d, keep > 0 ? d->ends[keep - 1] : d->synced);
        d->synced = d->sequence;
        d->end_count = 0;
        d->owned = false;
    }
    return lost;
}

/* ---- writing ---- */

static void
note_end(database *d, bool sync)
{
    if (sync) {
        d->synced = d->sequence;
        d->end_count = 0;
        return;
    }
    if (d->end_count == d->end_room) {
        d->end_room = d->end_room == 0 ? 64 : 2 * d->end_room;
        d->ends = realloc(d->ends, d->end_room * sizeof *d->ends);
        ASSERT(d->ends != NULL);
    }
    d->ends[d->end_count++] = d->sequence;
}

static bool
takes_writes(rocksdb_t *r, char **text)
{
    database *d = r->d;

    if (!r->writes) {
        complain(text, "Not implemented: Not supported operation in read only mode.");
        return false;
    }
    if (d->broken || (memrocks_fails != NULL && memrocks_fails(d->path))) {
        d->broken = true;
        complain(text, "IO error: While appending to file: Input/output error");
        return false;
    }
    return true;
}

void
rocksdb_write(rocksdb_t *r, const rocksdb_writeoptions_t *options, rocksdb_writebatch_t *b,
              char **text)
{
    database *d = r->d;

    world_pause();
    if (!takes_writes(r, text))
        return;
    for (size_t at = 0; at < b->len;) {
        op o;

        memcpy(&o, b->bytes + at, sizeof o);
        at += sizeof o;
        put(o.f, b->bytes + at, o.key_len, b->bytes + at + o.key_len, o.len, o.deleted, ++d->sequence);
        at += o.key_len + o.len;
    }
    note_end(d, options->sync);
    world_pause();
}

void
rocksdb_flush_wal(rocksdb_t *r, unsigned char sync, char **text)
{
    world_pause();
    r->d->broken |= r->writes && memrocks_fails != NULL && memrocks_fails(r->d->path);
    if (r->d->broken)
        complain(text, "IO error: While fdatasync: Input/output error");
    else if (sync)
        note_end(r->d, true);
    world_pause();
}

static void
append(rocksdb_writebatch_t *b, const void *at, size_t len)
{
    if (b->len + len > b->room) {
        b->room = 2 * (b->len + len) + 256;
        b->bytes = realloc(b->bytes, b->room);
        ASSERT(b->bytes != NULL);
    }
    if (len > 0)
        memcpy(b->bytes + b->len, at, len);
    b->len += len;
}

void
rocksdb_writebatch_putv_cf(rocksdb_writebatch_t *b, rocksdb_column_family_handle_t *cf, int keys,
                           const char *const *key, const size_t *key_len, int values,
                           const char *const *value, const size_t *value_len)
{
    op o = { .f = cf->f };

    for (int i = 0; i < keys; i++)
        o.key_len += key_len[i];
    for (int i = 0; i < values; i++)
        o.len += value_len[i];
    append(b, &o, sizeof o);
    for (int i = 0; i < keys; i++)
        append(b, key[i], key_len[i]);
    for (int i = 0; i < values; i++)
        append(b, value[i], value_len[i]);
    b->count++;
}

void
rocksdb_writebatch_put_cf(rocksdb_writebatch_t *b, rocksdb_column_family_handle_t *cf,
                          const char *key, size_t key_len, const char *value, size_t len)
{
    rocksdb_writebatch_putv_cf(b, cf, 1, &key, &key_len, 1, &value, &len);
}

void
rocksdb_writebatch_delete_cf(rocksdb_writebatch_t *b, rocksdb_column_family_handle_t *cf,
                             const char *key, size_t key_len)
{
    op o = { .f = cf->f, .key_len = key_len, .deleted = true };

    append(b, &o, sizeof o);
    append(b, key, key_len);
    b->count++;
}

rocksdb_writebatch_t *
rocksdb_writebatch_create(void)
{
    return get(sizeof(rocksdb_writebatch_t));
}

void
rocksdb_writebatch_destroy(rocksdb_writebatch_t *b)
{
    free(b->bytes);
    free(b);
}

void
rocksdb_writebatch_clear(rocksdb_writebatch_t *b)
{
    b->len = 0;
    b->count = 0;
}

int
rocksdb_writebatch_count(rocksdb_writebatch_t *b)
{
    return b->count;
}

void
rocksdb_put_cf(rocksdb_t *r, const rocksdb_writeoptions_t *options,
               rocksdb_column_family_handle_t *cf, const char *key, size_t key_len,
               const char *value, size_t len, char **text)
{
    rocksdb_writebatch_t *b = rocksdb_writebatch_create();

    rocksdb_writebatch_put_cf(b, cf, key, key_len, value, len);
    rocksdb_write(r, options, b, text);
    rocksdb_writebatch_destroy(b);
}

void
rocksdb_delete_cf(rocksdb_t *r, const rocksdb_writeoptions_t *options,
                  rocksdb_column_family_handle_t *cf, const char *key, size_t key_len, char **text)
{
    rocksdb_writebatch_t *b = rocksdb_writebatch_create();

    rocksdb_writebatch_delete_cf(b, cf, key, key_len);
    rocksdb_write(r, options, b, text);
    rocksdb_writebatch_destroy(b);
}

/* [from, until), under one number. */
void
rocksdb_delete_range_cf(rocksdb_t *r, const rocksdb_writeoptions_t *options,
                        rocksdb_column_family_handle_t *cf, const char *from, size_t from_len,
                        const char *until, size_t until_len, char **text)
{
    database *d = r->d;

    world_pause();
    if (!takes_writes(r, text))
        return;
    d->sequence++;
    for (node *n = seek(cf->f, (const uint8_t *)from, from_len, NULL, NULL);
         n != NULL && compare(n->key, n->len, (const uint8_t *)until, until_len) < 0; n = n->next[0])
        if (seen(n, d->sequence) != NULL)
            put(cf->f, n->key, n->len, NULL, 0, true, d->sequence);
    note_end(d, options->sync);
    world_pause();
}

/* There are no table files: what it may leave, it leaves. */
void
rocksdb_delete_file_in_range_cf(rocksdb_t *r, rocksdb_column_family_handle_t *cf, const char *from,
                                size_t from_len, const char *until, size_t until_len, char **text)
{
    (void)r;
    (void)cf;
    (void)from;
    (void)from_len;
    (void)until;
    (void)until_len;
    (void)text;
}

void
rocksdb_compact_range_cf(rocksdb_t *r, rocksdb_column_family_handle_t *cf, const char *from,
                         size_t from_len, const char *until, size_t until_len)
{
    (void)r;
    (void)cf;
    (void)from;
    (void)from_len;
    (void)until;
    (void)until_len;
}

/* RocksDB syncs the log that a flush closes before the table file counts: with several families that is a sync. */
void
rocksdb_flush_cf(rocksdb_t *r, const rocksdb_flushoptions_t *options,
                 rocksdb_column_family_handle_t *cf, char **text)
{
    (void)options;
    (void)cf;
    rocksdb_flush_wal(r, 1, text);
}

/* ---- reading ---- */

static uint64_t
sees(const rocksdb_t *r)
{
    return r->follows ? r->sees : r->d->sequence;
}

static uint64_t
sees_by(const rocksdb_t *r, const rocksdb_readoptions_t *options)
{
    return options->snapshot != NULL ? options->snapshot->sees : sees(r);
}

const rocksdb_snapshot_t *
rocksdb_create_snapshot(rocksdb_t *r)
{
    rocksdb_snapshot_t *s = get(sizeof *s);

    s->sees = sees(r);
    return s;
}

void
rocksdb_release_snapshot(rocksdb_t *r, const rocksdb_snapshot_t *s)
{
    (void)r;
    free((void *)(uintptr_t)s);
}

void
rocksdb_readoptions_set_snapshot(rocksdb_readoptions_t *options, const rocksdb_snapshot_t *s)
{
    options->snapshot = s;
}

uint64_t
rocksdb_get_latest_sequence_number(rocksdb_t *r)
{
    return sees(r);
}

static const version *
look_up(family *f, const char *key, size_t key_len, uint64_t sees_until)
{
    const node *n = seek(f, (const uint8_t *)key, key_len, NULL, NULL);

    if (n == NULL || compare(n->key, n->len, (const uint8_t *)key, key_len) != 0)
        return NULL;
    return seen(n, sees_until);
}

/* Nothing is moved or freed before a power cut, and then nobody is left who reads: pinned is what it is. */
rocksdb_pinnableslice_t *
rocksdb_get_pinned_cf(rocksdb_t *r, const rocksdb_readoptions_t *options,
                      rocksdb_column_family_handle_t *cf, const char *key, size_t key_len,
                      char **text)
{
    const version           *v = look_up(cf->f, key, key_len, sees_by(r, options));
    rocksdb_pinnableslice_t *out;

    (void)text;
    if (v == NULL)
        return NULL;
    out = get(sizeof *out);
    out->v = v;
    return out;
}

void
rocksdb_pinnableslice_destroy(rocksdb_pinnableslice_t *p)
{
    free(p);
}

const char *
rocksdb_pinnableslice_value(const rocksdb_pinnableslice_t *p, size_t *len)
{
    *len = p == NULL ? 0 : p->v->len;
    return p == NULL ? NULL : (const char *)p->v->bytes;
}

char *
rocksdb_get_cf(rocksdb_t *r, const rocksdb_readoptions_t *options,
               rocksdb_column_family_handle_t *cf, const char *key, size_t key_len, size_t *len,
               char **text)
{
    const version *v = look_up(cf->f, key, key_len, sees_by(r, options));
    char          *out;

    (void)text;
    *len = 0;
    if (v == NULL)
        return NULL;
    out = get(v->len + 1);
    memcpy(out, v->bytes, v->len);
    *len = v->len;
    return out;
}

int
rocksdb_property_int_cf(rocksdb_t *r, rocksdb_column_family_handle_t *cf, const char *name,
                        uint64_t *out)
{
    (void)r;
    *out = strcmp(name, "rocksdb.estimate-num-keys") == 0 ? cf->f->keys : 0;
    return 0;
}

void
rocksdb_options_enable_statistics(rocksdb_options_t *o)
{
    (void)o;
}

char *
rocksdb_options_statistics_get_string(rocksdb_options_t *o)
{
    (void)o;
    return NULL; /* nothing is counted */
}

rocksdb_iterator_t *
rocksdb_create_iterator_cf(rocksdb_t *r, const rocksdb_readoptions_t *options,
                           rocksdb_column_family_handle_t *cf)
{
    rocksdb_iterator_t *i = get(sizeof *i);

    *i = (rocksdb_iterator_t){ .f = cf->f, .sees = sees_by(r, options) };
    return i;
}

void
rocksdb_iter_destroy(rocksdb_iterator_t *i)
{
    free(i);
}

static void
forwards(rocksdb_iterator_t *i)
{
    while (i->at != NULL && seen(i->at, i->sees) == NULL)
        i->at = i->at->next[0];
}

static void
backwards(rocksdb_iterator_t *i)
{
    while (i->at != NULL && seen(i->at, i->sees) == NULL)
        i->at = i->at->before;
}

void
rocksdb_iter_seek_to_first(rocksdb_iterator_t *i)
{
    i->at = i->f->first[0];
    forwards(i);
}

void
rocksdb_iter_seek_to_last(rocksdb_iterator_t *i)
{
    i->at = i->f->last;
    backwards(i);
}

void
rocksdb_iter_seek(rocksdb_iterator_t *i, const char *key, size_t len)
{
    i->at = seek(i->f, (const uint8_t *)key, len, NULL, NULL);
    forwards(i);
}

void
rocksdb_iter_seek_for_prev(rocksdb_iterator_t *i, const char *key, size_t len)
{
    node *before;
    node *n = seek(i->f, (const uint8_t *)key, len, NULL, &before);

    i->at = n != NULL && compare(n->key, n->len, (const uint8_t *)key, len) == 0 ? n : before;
    backwards(i);
}

void
rocksdb_iter_next(rocksdb_iterator_t *i)
{
    ASSERT(i->at != NULL);
    i->at = i->at->next[0];
    forwards(i);
}

void
rocksdb_iter_prev(rocksdb_iterator_t *i)
{
    ASSERT(i->at != NULL);
    i->at = i->at->before;
    backwards(i);
}

unsigned char
rocksdb_iter_valid(const rocksdb_iterator_t *i)
{
    return i->at != NULL;
}

const char *
rocksdb_iter_key(const rocksdb_iterator_t *i, size_t *len)
{
    *len = i->at->len;
    return (const char *)i->at->key;
}

const char *
rocksdb_iter_value(const rocksdb_iterator_t *i, size_t *len)
{
    const version *v = seen(i->at, i->sees);

    ASSERT(v != NULL);
    *len = v->len;
    return (const char *)v->bytes;
}

void
rocksdb_iter_get_error(const rocksdb_iterator_t *i, char **text)
{
    (void)i;
    (void)text;
}

void
rocksdb_free(void *at)
{
    free(at);
}

/* ---- settings: taken, and without meaning here ---- */

#define MAKE(type, name)                                                                           \
    type *name(void);                                                                              \
    type *name(void)                                                                               \
    {                                                                                              \
        return get(sizeof(type));                                                                  \
    }
#define DESTROY(type, name)                                                                        \
    void name(type *at)                                                                            \
    {                                                                                              \
        free(at);                                                                                  \
    }
#define IGNORE(name, ...)                                                                          \
    void name(rocksdb_options_t *o, __VA_ARGS__ v)                                                 \
    {                                                                                              \
        (void)o;                                                                                   \
        (void)v;                                                                                   \
    }

MAKE(rocksdb_options_t, rocksdb_options_create)
DESTROY(rocksdb_options_t, rocksdb_options_destroy)
MAKE(rocksdb_readoptions_t, rocksdb_readoptions_create)
DESTROY(rocksdb_readoptions_t, rocksdb_readoptions_destroy)
MAKE(rocksdb_flushoptions_t, rocksdb_flushoptions_create)
DESTROY(rocksdb_flushoptions_t, rocksdb_flushoptions_destroy)
MAKE(rocksdb_writeoptions_t, rocksdb_writeoptions_create)
DESTROY(rocksdb_writeoptions_t, rocksdb_writeoptions_destroy)
MAKE(rocksdb_block_based_table_options_t, rocksdb_block_based_options_create)
DESTROY(rocksdb_block_based_table_options_t, rocksdb_block_based_options_destroy)
DESTROY(rocksdb_cache_t, rocksdb_cache_destroy)
IGNORE(rocksdb_options_set_create_missing_column_families, unsigned char)
IGNORE(rocksdb_options_set_max_open_files, int)
IGNORE(rocksdb_options_set_max_background_jobs, int)
IGNORE(rocksdb_options_set_db_write_buffer_size, size_t)
IGNORE(rocksdb_options_set_max_total_wal_size, uint64_t)
IGNORE(rocksdb_options_set_wal_bytes_per_sync, uint64_t)
IGNORE(rocksdb_options_set_keep_log_file_num, size_t)
IGNORE(rocksdb_options_set_info_log_level, int)
IGNORE(rocksdb_options_set_stats_dump_period_sec, unsigned int)
IGNORE(rocksdb_options_set_stats_persist_period_sec, unsigned int)
IGNORE(rocksdb_options_set_max_manifest_file_size, size_t)
IGNORE(rocksdb_options_set_wal_recovery_mode, int)
IGNORE(rocksdb_options_set_write_buffer_size, size_t)
IGNORE(rocksdb_options_set_max_write_buffer_number, int)
IGNORE(rocksdb_options_set_level0_file_num_compaction_trigger, int)
IGNORE(rocksdb_options_set_level0_slowdown_writes_trigger, int)
IGNORE(rocksdb_options_set_level0_stop_writes_trigger, int)
IGNORE(rocksdb_options_set_soft_pending_compaction_bytes_limit, size_t)
IGNORE(rocksdb_options_set_hard_pending_compaction_bytes_limit, size_t)
IGNORE(rocksdb_options_set_compression, int)
IGNORE(rocksdb_options_set_block_based_table_factory, rocksdb_block_based_table_options_t *)

void
rocksdb_readoptions_set_fill_cache(rocksdb_readoptions_t *o, unsigned char v)
{
    (void)o;
    (void)v;
}

void
rocksdb_readoptions_set_verify_checksums(rocksdb_readoptions_t *o, unsigned char v)
{
    (void)o;
    (void)v;
}

void
rocksdb_readoptions_set_readahead_size(rocksdb_readoptions_t *o, size_t v)
{
    (void)o;
    (void)v;
}

void
rocksdb_flushoptions_set_wait(rocksdb_flushoptions_t *o, unsigned char v)
{
    (void)o;
    (void)v;
}

void
rocksdb_suggest_compact_range_cf(rocksdb_t *r, rocksdb_column_family_handle_t *cf, const char *from,
                                 size_t from_len, const char *to, size_t to_len, char **text)
{
    (void)r;
    (void)cf;
    (void)from;
    (void)from_len;
    (void)to;
    (void)to_len;
    (void)text;
}

void
rocksdb_options_set_create_if_missing(rocksdb_options_t *o, unsigned char v)
{
    o->create = v;
}

void
rocksdb_writeoptions_set_sync(rocksdb_writeoptions_t *o, unsigned char v)
{
    o->sync = v;
}

rocksdb_cache_t *
rocksdb_cache_create_lru(size_t capacity)
{
    (void)capacity;
    return get(sizeof(rocksdb_cache_t));
}

void
rocksdb_block_based_options_set_block_cache(rocksdb_block_based_table_options_t *o,
                                            rocksdb_cache_t *cache)
{
    (void)o;
    (void)cache;
}

void
rocksdb_block_based_options_set_block_size(rocksdb_block_based_table_options_t *o, size_t size)
{
    (void)o;
    (void)size;
}
