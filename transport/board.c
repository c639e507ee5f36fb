/* board.c - the tables of board.h, their hashes, and the words beside them.
 *
 *   DIR/tenants users keys blocked machines rules      registry
 *   DIR/arrivals.P series.P latest.P                   ingest.P
 *   DIR/words      page 0   magic, abi, secret, limits             written once
 *                  page 1   registry_seq, rules_seq                registry
 *                  then     for each front { live, bitmap of tenants } in pages of its own
 *                  then     for each partition { filling } in a page of its own
 *
 * What an actor may not write it maps read-only.  Series of a machine form a list: its head is in
 * the machine's arrival, the links are in the series; new ones go in front, linked before they are
 * shown.
 */
#include "transport/board.h"
#include "transport/pages.h"

#include "proto/err.h"
#include "proto/world.h"
#include "proto/hash.h"

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BOARD_ABI = 2, REGISTRY_FILES = BOARD_RULES + 1, PART_FILES = BOARD_FILES - REGISTRY_FILES };
#define BOARD_MAGIC UINT64_C(0x647261626c74616c) /* "latlbard" */

typedef struct words_constant {
    uint64_t     magic;
    uint64_t     abi;
    uint64_t     secret;
    board_limits limits;
} words_constant;

typedef struct registry_words {
    alignas(128) _Atomic uint64_t registry_seq;
    alignas(128) _Atomic uint64_t rules_seq;
} registry_words;

typedef struct front_words {
    _Atomic uint64_t live; /* bits set */
    uint64_t         spare[7];
    _Atomic uint64_t tenants[];
} front_words;

typedef struct part_words {
    _Atomic uint64_t filling;
} part_words;

struct board {
    table          *t[REGISTRY_FILES];
    table          *part[BOARD_PARTS_MAX][PART_FILES];
    addr            writer;
    uint64_t        copies;        /* a copier's partitions */
    bool            copies_registry;
    words_constant  c;
    registry_words *registry;
    uint8_t        *fronts;     /* all of them, read-only */
    front_words    *own;        /* a front's own, writable */
    uint8_t        *parts;      /* all of them, read-only */
    part_words     *own_part;   /* an ingest actor's own, writable */
    uint32_t        expired_at; /* where the search for a free place among the blocked goes on */
};

/* strings: bytes of heap a record, on the average; mutable ones leave old texts behind until the
 * next start */
static const struct {
    const char *name;
    uint32_t    record_size;
    size_t      limit; /* offset of its capacity in board_limits */
    uint32_t    strings;
    bool        tracked; /* on a node alone too: the alert actor asks what was put */
} files[BOARD_FILES] = {
    [BOARD_TENANTS] = { "tenants", sizeof(board_tenant), offsetof(board_limits, tenants), 0 },
    [BOARD_USERS] = { "users", sizeof(board_user), offsetof(board_limits, users), 0 },
    [BOARD_KEYS] = { "keys", sizeof(board_key), offsetof(board_limits, keys), 0 },
    [BOARD_BLOCKED] = { "blocked", sizeof(board_blocked), offsetof(board_limits, blocked), 0 },
    [BOARD_MACHINES] = { "machines", sizeof(board_machine), offsetof(board_limits, machines),
                         1024, true },
    [BOARD_RULES] = { "rules", sizeof(board_rule), offsetof(board_limits, rules), 2048 },
    [BOARD_ARRIVALS] = { "arrivals", sizeof(board_arrival), offsetof(board_limits, machines), 0, true },
    [BOARD_SERIES] = { "series", sizeof(board_series), offsetof(board_limits, series), 128 },
    [BOARD_LATEST] = { "latest", sizeof(board_latest), offsetof(board_limits, series), 0 },
};

enum { HEAP_MIN = 1024 * 1024, HEAP_MAX = 1024 * 1024 * 1024 };

/* ---- files ---- */

static void
file_name(char path[PAGES_PATH_MAX], const char *dir, enum board_file file, uint16_t part)
{
    if (file <= BOARD_RULES)
        (void)snprintf(path, PAGES_PATH_MAX, "%s/%s", dir, files[file].name);
    else
        (void)snprintf(path, PAGES_PATH_MAX, "%s/%s.%u", dir, files[file].name, part);
}

static uint64_t
front_len(const board_limits *l)
{
    return round_up(sizeof(front_words) + (l->tenants / 64 + 1) * sizeof(uint64_t), PAGE_LEN);
}

static uint64_t
words_len(const board_limits *l)
{
    return 2 * PAGE_LEN + BOARD_FRONTS_MAX * front_len(l) + BOARD_PARTS_MAX * PAGE_LEN;
}

static uint64_t
part_words_at(const board_limits *l, uint16_t part)
{
    return 2 * PAGE_LEN + BOARD_FRONTS_MAX * front_len(l) + part * PAGE_LEN;
}

static bool
are_limits(const board_limits *l)
{
    for (int i = 0; i < BOARD_FILES; i++)
        if (load_u32((const uint8_t *)l + files[i].limit) == 0)
            return false;
    return l->parts > 0 && l->parts <= BOARD_PARTS_MAX && l->tenants <= 1u << 24;
}

static int
create_file(const char *dir, const board_limits *l, enum board_file file, uint16_t part)
{
    uint32_t capacity = load_u32((const uint8_t *)l + files[file].limit);
    uint64_t heap = files[file].strings == 0 ? 0 : (uint64_t)capacity * files[file].strings;
    char     path[PAGES_PATH_MAX];

    if (heap > 0)
        heap = min_u64(max_u64(heap, HEAP_MIN), HEAP_MAX);
    file_name(path, dir, file, part);
    if (l->tracked != 0 || files[file].tracked)
        return table_create_tracked(path, files[file].record_size, capacity, heap);
    return table_create(path, files[file].record_size, capacity, heap);
}

static int
create_words(const char *dir, const board_limits *l)
{
    words_constant c = { .magic = BOARD_MAGIC, .abi = BOARD_ABI, .limits = *l };
    part_words     filling = { 1 };
    char           path[PAGES_PATH_MAX];
    int            fd = -1;
    int            rc;

    (void)snprintf(path, sizeof path, "%s/words", dir);
    if (the_world->chance(&c.secret, sizeof c.secret) < 0)
        return err_errno(errno, "random");
    rc = pages_make(path, words_len(l), words_len(l), &fd);
    if (rc < 0)
        return rc;
    if (pwrite(fd, &c, sizeof c, 0) != (ssize_t)sizeof c)
        rc = err(E_IO, "write %s", path);
    /* Partitions of other nodes say nothing of it. */
    for (uint16_t p = 0; p < l->parts && l->tracked == 0 && rc == E_OK; p++)
        if (pwrite(fd, &filling, sizeof filling, (off_t)part_words_at(l, p)) != (ssize_t)sizeof filling)
            rc = err(E_IO, "write %s", path);
    return pages_land(path, &fd, rc);
}

int
board_create(const char *dir, const board_limits *limits)
{
    int rc = E_OK;

    if (!are_limits(limits))
        return err(E_RANGE, "limits of the board");
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_errno(errno, "make %s", dir);
    for (int f = 0; f < BOARD_FILES && rc == E_OK; f++)
        for (uint32_t p = 0; rc == E_OK && p < (f <= BOARD_RULES ? 1 : limits->parts); p++)
            rc = create_file(dir, limits, (enum board_file)f, (uint16_t)p);
    if (rc == E_OK)
        rc = create_words(dir, limits); /* last: a board without it is none */
    return rc < 0 ? err(rc, "board %s", dir) : E_OK;
}

static bool
may_write(const board *b, enum board_file file, uint16_t part)
{
    if (file <= BOARD_RULES)
        return addr_kind(b->writer) == KIND_REGISTRY || b->copies_registry;
    return (addr_kind(b->writer) == KIND_INGEST && addr_part(b->writer) == part) ||
           (b->copies >> part & 1) != 0;
}

static int
map_words(board *b, const char *dir)
{
    bool     registry = addr_kind(b->writer) == KIND_REGISTRY || b->copies_registry;
    bool     front = addr_kind(b->writer) == KIND_FRONT && addr_part(b->writer) < BOARD_FRONTS_MAX;
    bool     ingest = addr_kind(b->writer) == KIND_INGEST && addr_part(b->writer) < BOARD_PARTS_MAX;
    char     path[PAGES_PATH_MAX];
    uint64_t len = 0;
    int      fd = -1;
    int      rc;

    (void)snprintf(path, sizeof path, "%s/words", dir);
    rc = pages_open(path, registry || front || ingest, &fd, &len);
    if (rc < 0)
        return rc;
    if (pread(fd, &b->c, sizeof b->c, 0) != (ssize_t)sizeof b->c || b->c.magic != BOARD_MAGIC ||
        b->c.abi != BOARD_ABI || !are_limits(&b->c.limits) || len != words_len(&b->c.limits)) {
        (void)close(fd);
        return err(E_BAD, "%s: not a board of this version", path);
    }
    len = front_len(&b->c.limits);
    b->registry = pages_map(fd, PAGE_LEN, PAGE_LEN, registry);
    b->fronts = pages_map(fd, 2 * PAGE_LEN, BOARD_FRONTS_MAX * len, b->copies_registry);
    if (front)
        b->own = pages_map(fd, 2 * PAGE_LEN + addr_part(b->writer) * len, len, true);
    b->parts = pages_map(fd, part_words_at(&b->c.limits, 0), BOARD_PARTS_MAX * PAGE_LEN, false);
    if (ingest)
        b->own_part = pages_map(fd, part_words_at(&b->c.limits, addr_part(b->writer)), PAGE_LEN, true);
    (void)close(fd);
    return b->registry == NULL || b->fronts == NULL || (front && b->own == NULL) || b->parts == NULL ||
                   (ingest && b->own_part == NULL)
               ? err(E_NOMEM, "map %s", path)
               : E_OK;
}

/* Nobody is connected to a front that starts. */
static void
forget_watchers(board *b)
{
    if (b->own == NULL)
        return;
    for (uint32_t i = 0; i <= b->c.limits.tenants / 64; i++)
        atomic_store(&b->own->tenants[i], 0);
    atomic_store(&b->own->live, 0);
}

static table **
table_at(board *b, enum board_file file, uint16_t part)
{
    return file <= BOARD_RULES ? &b->t[file] : &b->part[part][file - REGISTRY_FILES];
}

static int
open_as(board **out, const char *dir, const board *who)
{
    board *b = calloc(1, sizeof *b);
    char   path[PAGES_PATH_MAX];
    int    rc;

    *out = NULL;
    if (b == NULL)
        return err(E_NOMEM, "board");
    *b = *who;
    rc = map_words(b, dir);
    for (int f = 0; f < BOARD_FILES && rc == E_OK; f++)
        for (uint16_t p = 0; rc == E_OK && p < (f <= BOARD_RULES ? 1 : b->c.limits.parts); p++) {
            file_name(path, dir, (enum board_file)f, p);
            rc = table_open(table_at(b, (enum board_file)f, p), path,
                            may_write(b, (enum board_file)f, p));
        }
    if (rc < 0) {
        board_close(&b);
        return err(rc, "board %s", dir);
    }
    forget_watchers(b);
    *out = b;
    return E_OK;
}

int
board_open(board **b, const char *dir, addr writer)
{
    return open_as(b, dir, &(board){ .writer = writer });
}

int
board_open_copier(board **b, const char *dir, uint64_t parts, bool registry)
{
    return open_as(b, dir, &(board){ .copies = parts, .copies_registry = registry });
}

void
board_close(board **bp)
{
    board *b = *bp;

    if (b == NULL)
        return;
    *bp = NULL;
    for (int f = 0; f < REGISTRY_FILES; f++)
        table_close(&b->t[f]);
    for (int p = 0; p < BOARD_PARTS_MAX; p++)
        for (int f = 0; f < PART_FILES; f++)
            table_close(&b->part[p][f]);
    pages_unmap(b->registry, PAGE_LEN);
    pages_unmap(b->fronts, BOARD_FRONTS_MAX * front_len(&b->c.limits));
    pages_unmap(b->own, front_len(&b->c.limits));
    pages_unmap(b->parts, BOARD_PARTS_MAX * PAGE_LEN);
    pages_unmap(b->own_part, PAGE_LEN);
    free(b);
}

table *
board_table(const board *b, enum board_file file, uint16_t part)
{
    ASSERT(file < BOARD_FILES && (file <= BOARD_RULES || part < b->c.limits.parts));
    return file <= BOARD_RULES ? b->t[file] : b->part[part][file - REGISTRY_FILES];
}

uint16_t
board_parts(const board *b)
{
    return (uint16_t)b->c.limits.parts;
}

view
board_string(const board *b, enum board_file file, uint16_t part, table_string s)
{
    return table_string_view(board_table(b, file, part), s);
}

/* ---- hashes: keyed, so that no client can choose names that collide ---- */

static uint64_t
hash_in(const board *b, uint64_t scope, const void *at, size_t len)
{
    uint64_t h = hash64(b->c.secret ^ scope * UINT64_C(0x9e3779b97f4a7c15), at, len);

    return h == 0 ? 1 : h; /* 0 is "no hash" */
}

static uint64_t
hash_id(const board *b, enum board_file file, const void *id, size_t len)
{
    return hash_in(b, (uint64_t)1 << 40 | (uint64_t)file, id, len);
}

static uint64_t
hash_name(const board *b, enum board_file file, uint32_t owner, view name)
{
    return hash_in(b, (uint64_t)(2 + file) << 40 | owner, name.at, name.len);
}

/* ---- look-ups by an id ---- */

#define IS_FN(name, type, field)                                                                   \
    static bool name(const table *t, const void *record, const void *key)                          \
    {                                                                                              \
        (void)t;                                                                                   \
        return memcmp(&((const type *)record)->field, key, sizeof((const type *)record)->field) == \
               0;                                                                                  \
    }

IS_FN(is_tenant, board_tenant, id)
IS_FN(is_user, board_user, id)
IS_FN(is_key, board_key, hash)
IS_FN(is_blocked, board_blocked, jti)
IS_FN(is_machine, board_machine, id)
IS_FN(is_rule, board_rule, id)

static uint32_t
find_id(const board *b, enum board_file file, table_is_fn *is, const void *id, void *out)
{
    size_t len = file == BOARD_KEYS ? sizeof((board_key *)0)->hash : sizeof(uuid);

    return table_find(b->t[file], hash_id(b, file, id, len), is, id, out);
}

uint32_t
board_find_tenant(const board *b, const uuid *id, board_tenant *out)
{
    return find_id(b, BOARD_TENANTS, is_tenant, id, out);
}

uint32_t
board_find_user(const board *b, const uuid *id, board_user *out)
{
    return find_id(b, BOARD_USERS, is_user, id, out);
}

uint32_t
board_find_key(const board *b, const uint8_t hash[32], board_key *out)
{
    return find_id(b, BOARD_KEYS, is_key, hash, out);
}

bool
board_is_blocked(const board *b, const uuid *jti)
{
    return find_id(b, BOARD_BLOCKED, is_blocked, jti, NULL) != 0;
}

uint32_t
board_find_machine_id(const board *b, const uuid *id, board_machine *out)
{
    return find_id(b, BOARD_MACHINES, is_machine, id, out);
}

uint32_t
board_find_rule(const board *b, const uuid *id, board_rule *out)
{
    return find_id(b, BOARD_RULES, is_rule, id, out);
}

/* ---- look-ups by a name, compared in place: fields of a record as aligned words, each read whole
 * ---- */

static inline uint32_t
field_u32(const void *record, size_t offset)
{
    const _Atomic uint64_t *w = (const _Atomic uint64_t *)record + offset / 8;
    uint64_t                v = atomic_load_explicit(w, memory_order_acquire);

    return (uint32_t)(v >> (offset % 8 * 8));
}

#define FIELD_U32(record, type, field) field_u32((record), offsetof(type, field))

uint32_t
board_machine_no_part(const board *b, uint32_t tenant, view identifier, uint16_t *part)
{
    const table *t = b->t[BOARD_MACHINES];
    table_probe  p = table_begin(t, hash_name(b, BOARD_MACHINES, tenant, identifier));
    uint32_t     no;

    while ((no = table_next(t, &p)) != 0) {
        const void *m = table_peek(t, no);

        if (m == NULL || FIELD_U32(m, board_machine, tenant) != tenant ||
            (FIELD_U32(m, board_machine, flags) & BOARD_LIVE) == 0 ||
            !view_eq(table_string_view(t, FIELD_U32(m, board_machine, identifier)), identifier))
            continue;
        *part = (uint16_t)FIELD_U32(m, board_machine, part);
        return no;
    }
    return 0;
}

uint32_t
board_find_machine(const board *b, uint32_t tenant, view identifier, board_machine *out)
{
    uint16_t      part;
    uint32_t      no = board_machine_no_part(b, tenant, identifier, &part);
    board_machine m;

    if (no == 0 || !table_read(b->t[BOARD_MACHINES], no, &m) || (m.flags & BOARD_LIVE) == 0)
        return 0;
    if (out != NULL)
        *out = m;
    return no;
}

/* Its record in place, or NULL. */
static const void *
series_at(const board *b, uint16_t part, uint32_t machine, view metric, uint32_t *no)
{
    const table *t = board_table(b, BOARD_SERIES, part);
    table_probe  p = table_begin(t, hash_name(b, BOARD_SERIES, machine, metric));

    while ((*no = table_next(t, &p)) != 0) {
        const void *s = table_peek(t, *no);

        if (s != NULL && FIELD_U32(s, board_series, machine) == machine &&
            view_eq(table_string_view(t, FIELD_U32(s, board_series, metric)), metric))
            return s;
    }
    return NULL;
}

uint32_t
board_series_no(const board *b, uint16_t part, uint32_t machine, view metric, view unit,
                bool *same_unit)
{
    uint32_t    no;
    const void *s = series_at(b, part, machine, metric, &no);

    if (s != NULL)
        *same_unit =
            view_eq(board_string(b, BOARD_SERIES, part, FIELD_U32(s, board_series, unit)), unit);
    return no;
}

uint32_t
board_find_series(const board *b, uint16_t part, uint32_t machine, view metric, board_series *out)
{
    uint32_t no;

    if (series_at(b, part, machine, metric, &no) == NULL)
        return 0;
    if (out != NULL && !table_read(board_table(b, BOARD_SERIES, part), no, out))
        return 0;
    return no;
}

/* ---- writing ---- */

static int
put(board *b, enum board_file file, uint32_t no, uint64_t hash, const void *record)
{
    int64_t rc;

    if (no == 0)
        return err(E_RANGE, "%s: record 0", files[file].name);
    rc = table_put(b->t[file], no, hash, record);
    return rc < 0 ? err((int)rc, "%s %u", files[file].name, no) : E_OK;
}

int
board_put_tenant(board *b, const board_tenant *r)
{
    return put(b, BOARD_TENANTS, r->no, hash_id(b, BOARD_TENANTS, &r->id, sizeof r->id), r);
}

int
board_put_user(board *b, const board_user *r)
{
    return put(b, BOARD_USERS, r->no, hash_id(b, BOARD_USERS, &r->id, sizeof r->id), r);
}

int
board_put_key(board *b, const board_key *r)
{
    return put(b, BOARD_KEYS, r->no, hash_id(b, BOARD_KEYS, r->hash, sizeof r->hash), r);
}

/* The next number; when all are taken, one whose time is over. */
static uint32_t
place_for_blocked(board *b)
{
    table          *t = b->t[BOARD_BLOCKED];
    uint32_t        capacity = table_capacity(t);
    board_blocked   old;
    int64_t         now_us;

    if (table_count(t) < capacity)
        return table_count(t) + 1;
    now_us = the_world->wall_us();
    for (uint32_t i = 0; i < capacity; i++) {
        b->expired_at = b->expired_at % capacity + 1;
        if (table_read(t, b->expired_at, &old) && old.until_us < now_us)
            return b->expired_at;
    }
    return 0;
}

int
board_put_blocked(board *b, const board_blocked *r)
{
    uint32_t no = find_id(b, BOARD_BLOCKED, is_blocked, &r->jti, NULL);

    if (no == 0)
        no = place_for_blocked(b);
    if (no == 0)
        return err(E_FULL, "blocked tokens");
    return put(b, BOARD_BLOCKED, no, hash_id(b, BOARD_BLOCKED, &r->jti, sizeof r->jti), r);
}

/* The same text keeps its place; a new one gets one. */
static int
keep_string(table *t, table_string was, view text, table_string *out)
{
    *out = view_eq(table_string_view(t, was), text) ? was : table_put_string(t, text);
    return *out == UINT32_MAX ? err(E_FULL, "strings") : E_OK;
}

int
board_put_machine(board *b, board_machine *r, view identifier, view name, view location)
{
    table        *t = b->t[BOARD_MACHINES];
    board_machine was = { 0 };
    int           rc;

    (void)table_read(t, r->no, &was);
    rc = keep_string(t, was.identifier, identifier, &r->identifier);
    if (rc == E_OK)
        rc = keep_string(t, was.name, name, &r->name);
    if (rc == E_OK)
        rc = keep_string(t, was.location, location, &r->location);
    if (rc == E_OK)
        rc = put(b, BOARD_MACHINES, r->no, hash_id(b, BOARD_MACHINES, &r->id, sizeof r->id), r);
    if (rc == E_OK)
        rc = put(b, BOARD_MACHINES, r->no, hash_name(b, BOARD_MACHINES, r->tenant, identifier), r);
    return rc < 0 ? err(rc, "board: machine %u", r->no) : E_OK;
}

int
board_put_rule(board *b, board_rule *r, view metric, view name, view message, view conditions)
{
    table     *t = b->t[BOARD_RULES];
    board_rule was = { 0 };
    int        rc;

    (void)table_read(t, r->no, &was);
    rc = keep_string(t, was.metric, metric, &r->metric);
    if (rc == E_OK)
        rc = keep_string(t, was.name, name, &r->name);
    if (rc == E_OK)
        rc = keep_string(t, was.message, message, &r->message);
    if (rc == E_OK)
        rc = keep_string(t, was.conditions, conditions, &r->conditions);
    if (rc == E_OK)
        rc = put(b, BOARD_RULES, r->no, hash_id(b, BOARD_RULES, &r->id, sizeof r->id), r);
    return rc < 0 ? err(rc, "board: rule %u", r->no) : E_OK;
}

/* ---- series, latest, arrivals ---- */

static int
put_in_part(board *b, enum board_file file, uint16_t part, uint32_t no, const void *record)
{
    int64_t rc;

    if (UNLIKELY(no == 0))
        return err(E_RANGE, "%s.%u: record 0", files[file].name, part);
    rc = table_put(board_table(b, file, part), no, 0, record);
    return UNLIKELY(rc < 0) ? err((int)rc, "%s.%u %u", files[file].name, part, no) : E_OK;
}

int
board_put_latest(board *b, uint16_t part, uint32_t series, const board_latest *r)
{
    return put_in_part(b, BOARD_LATEST, part, series, r);
}

int
board_put_arrival(board *b, uint16_t part, uint32_t machine, const board_arrival *r)
{
    board_arrival mine = *r;

    mine.first_series = board_machine_first_series(b, part, machine);
    mine.spare = 0;
    return put_in_part(b, BOARD_ARRIVALS, part, machine, &mine);
}

static bool
is_linked(const board *b, uint16_t part, uint32_t machine, uint32_t no)
{
    uint32_t left = table_count(board_table(b, BOARD_SERIES, part));

    for (uint32_t s = board_machine_first_series(b, part, machine); s != 0 && left > 0; left--) {
        if (s == no)
            return true;
        s = board_next_series(b, part, s);
    }
    return false;
}

static int
make_first(board *b, uint16_t part, uint32_t machine, uint32_t no)
{
    board_arrival a = { 0 };

    (void)table_read(board_table(b, BOARD_ARRIVALS, part), machine, &a);
    a.first_series = no;
    return put_in_part(b, BOARD_ARRIVALS, part, machine, &a);
}

int
board_put_series(board *b, uint16_t part, uint32_t no, uint32_t machine, uint32_t tenant,
                 view metric, view unit)
{
    table       *t = board_table(b, BOARD_SERIES, part);
    board_series was = { 0 };
    board_series s = { .machine = machine, .tenant = tenant };
    bool         linked;
    int64_t      put_rc;
    int          rc;

    if (no == 0 || machine == 0 || machine > table_capacity(board_table(b, BOARD_ARRIVALS, part)))
        return err(E_RANGE, "board: series %u of machine %u", no, machine);
    linked = table_read(t, no, &was) && is_linked(b, part, machine, no);
    s.next = linked ? was.next : board_machine_first_series(b, part, machine);
    rc = keep_string(t, was.metric, metric, &s.metric);
    if (rc == E_OK)
        rc = keep_string(t, was.unit, unit, &s.unit);
    if (rc < 0)
        return err(rc, "board: series %u", no);
    put_rc = table_put(t, no, hash_name(b, BOARD_SERIES, machine, metric), &s);
    if (put_rc < 0)
        return err((int)put_rc, "board: series %u", no);
    return linked ? E_OK : make_first(b, part, machine, no);
}

bool
board_latest_of(const board *b, uint16_t part, uint32_t series, board_latest *out)
{
    return table_read(board_table(b, BOARD_LATEST, part), series, out) && out->lsn != 0; /* 0: they were deleted */
}

bool
board_arrival_of(const board *b, uint16_t part, uint32_t machine, board_arrival *out)
{
    return table_read(board_table(b, BOARD_ARRIVALS, part), machine, out);
}

uint32_t
board_machine_first_series(const board *b, uint16_t part, uint32_t machine)
{
    return (uint32_t)table_word(board_table(b, BOARD_ARRIVALS, part), machine,
                                offsetof(board_arrival, first_series));
}

uint32_t
board_next_series(const board *b, uint16_t part, uint32_t series)
{
    return (uint32_t)table_word(board_table(b, BOARD_SERIES, part), series,
                                offsetof(board_series, next));
}

_Static_assert(offsetof(board_arrival, first_series) % 8 == 0 &&
                   offsetof(board_series, next) % 8 == 0,
               "words");

/* ---- words ---- */

uint64_t
board_registry_seq(const board *b)
{
    return atomic_load(&b->registry->registry_seq);
}

uint64_t
board_rules_seq(const board *b)
{
    return atomic_load(&b->registry->rules_seq);
}

void
board_bump_registry(board *b, bool rules_changed)
{
    ASSERT(addr_kind(b->writer) == KIND_REGISTRY);
    if (rules_changed)
        atomic_store(&b->registry->rules_seq, board_rules_seq(b) + 1);
    atomic_store(&b->registry->registry_seq, board_registry_seq(b) + 1);
}

void
board_set_rules_seq(board *b, uint64_t seq)
{
    ASSERT(addr_kind(b->writer) == KIND_REGISTRY);
    if (seq > board_rules_seq(b))
        atomic_store(&b->registry->rules_seq, seq);
}

static const front_words *
front_at(const board *b, uint16_t front)
{
    return (const front_words *)(const void *)(b->fronts + front * front_len(&b->c.limits));
}

size_t
board_front_len(const board *b)
{
    return sizeof(front_words) + (b->c.limits.tenants / 64 + 1) * sizeof(uint64_t);
}

void
board_front_words(const board *b, uint16_t front, void *out)
{
    const _Atomic uint64_t *from = (const _Atomic uint64_t *)(const void *)front_at(b, front);
    uint8_t                *to = out;

    ASSERT(front < BOARD_FRONTS_MAX);
    for (size_t i = 0; i < board_front_len(b) / sizeof *from; i++) {
        uint64_t w = atomic_load_explicit(&from[i], memory_order_acquire);

        memcpy(to + i * sizeof w, &w, sizeof w);
    }
}

void
board_put_front_words(board *b, uint16_t front, view words)
{
    _Atomic uint64_t *to;

    ASSERT(b->copies_registry);
    if (front >= BOARD_FRONTS_MAX || words.len != board_front_len(b))
        return;
    to = (_Atomic uint64_t *)(void *)(b->fronts + front * front_len(&b->c.limits));
    for (size_t i = 0; i < words.len / sizeof *to; i++)
        atomic_store_explicit(&to[i], load_u64(words.at + i * sizeof *to), memory_order_release);
}

void
board_put_sequences(board *b, uint64_t registry_seq, uint64_t rules_seq)
{
    ASSERT(b->copies_registry);
    atomic_store(&b->registry->rules_seq, rules_seq);
    atomic_store(&b->registry->registry_seq, registry_seq);
}

void
board_watch_tenant(board *b, uint16_t front, uint32_t tenant, bool live)
{
    uint64_t bit = UINT64_C(1) << (tenant % 64);
    uint64_t w;

    ASSERT(b->own != NULL && addr_part(b->writer) == front);
    if (tenant > b->c.limits.tenants)
        return;
    w = atomic_load_explicit(&b->own->tenants[tenant / 64], memory_order_relaxed);
    if (((w & bit) != 0) == live)
        return;
    atomic_store(&b->own->tenants[tenant / 64], w ^ bit);
    w = atomic_load_explicit(&b->own->live, memory_order_relaxed);
    atomic_store(&b->own->live, live ? w + 1 : w - 1);
}

void
board_say_filling(board *b, bool filling)
{
    ASSERT(b->own_part != NULL);
    atomic_store(&b->own_part->filling, filling);
}

bool
board_is_filling(const board *b, uint16_t part)
{
    const part_words *w = (const part_words *)(const void *)(b->parts + part * PAGE_LEN);

    return part < BOARD_PARTS_MAX && atomic_load_explicit(&w->filling, memory_order_acquire) != 0;
}

bool
board_is_copied(const board *b)
{
    return b->c.limits.tracked != 0;
}

bool
board_anyone_watches(const board *b)
{
    for (uint16_t f = 0; f < BOARD_FRONTS_MAX; f++)
        if (atomic_load_explicit(&front_at(b, f)->live, memory_order_acquire) != 0)
            return true;
    return false;
}

bool
board_front_watches(const board *b, uint16_t front, uint32_t tenant)
{
    if (front >= BOARD_FRONTS_MAX || tenant > b->c.limits.tenants)
        return false;
    return (atomic_load_explicit(&front_at(b, front)->tenants[tenant / 64], memory_order_acquire) >>
                (tenant % 64) &
            1) != 0;
}
