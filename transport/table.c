/* table.c - numbered records, their index and their strings in one file.
 *
 *   0        constant page   magic, abi, sizes
 *   4096     state page      count, heap_used, area, index_used             (the writer's words)
 *   8192     slots           capacity x { u64 seq, copy 0, copy 1 }, whole cache lines
 *   ...      heap            { u32 len, bytes } padded to 4
 *   ...      index areas     2^12, 2^13, ... entries of { u32 tag, u32 no }; `area` says which
 *   ...      when tracked    which put changed it last: of 4096 records, of 64 records, of each record
 *
 * seq 0: no record; else copy seq & 1 is the record.  The writer fills the other copy, then stores
 * seq + 1.  A reader copies, then looks whether seq is still the same: if it is, nobody had begun
 * to write that copy.  All words are atomic: loads acquire and stores release, which are plain
 * moves here and order copy and seq.
 *
 * The index doubles by filling the next area and then publishing it; the last one stays as it was,
 * so a reader that still walks it misses nothing that was there when it came.
 */
#include "transport/table.h"
#include "transport/pages.h"

#include "proto/err.h"
#include "proto/hash.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { TABLE_ABI = 2, AREA_MIN_LOG = 12, AREA_MAX_LOG = 30, HEAP_START = 8, INTERNED = 4096 };
enum { BACK_STEP = 256 * 1024 };
#define TABLE_MAGIC UINT64_C(0x656c62617474616c) /* "lattable" */

typedef _Atomic uint64_t word;

typedef struct table_constant {
    uint64_t magic;
    uint32_t abi;
    uint32_t record_size;
    uint32_t capacity;
    uint32_t tracked;
    uint64_t heap_max;
} table_constant;

typedef struct table_state {
    alignas(64) word count;
    alignas(64) word heap_used;
    alignas(64) word area; /* log2 of the entries of the area in force; 0: no index yet */
    alignas(64) word index_used;
    alignas(64) word changes;
} table_state;

struct table {
    uint8_t     *base;
    table_state *state;
    uint8_t     *slots;
    uint8_t     *heap;
    uint8_t     *index;
    word        *wide, *narrow, *single; /* of a tracked one: by 4096, by 64, by one */
    uint32_t     slot_len;
    uint32_t     copy_len;
    uint32_t     record_size;
    uint32_t     capacity;
    uint32_t     area_max_log;
    uint64_t     heap_max;
    uint64_t     slots_at;
    uint64_t     heap_at;
    uint64_t     index_at;
    uint64_t     changes_at;
    bool         tracked;
    uint64_t     len;
    /* writer */
    int           fd;
    bool          writer;
    uint64_t      slots_backed;
    uint64_t      heap_backed;
    uint64_t      single_backed;
    table_string *interned;
};

/* ---- layout ---- */

static uint64_t
area_offset(uint32_t log)
{
    return ((UINT64_C(1) << log) - (UINT64_C(1) << AREA_MIN_LOG)) * sizeof(word);
}

enum { NARROW_LOG = 6, WIDE_LOG = 12 };

static uint64_t
wide_len(uint32_t capacity)
{
    return round_up(((uint64_t)(capacity >> WIDE_LOG) + 1) * sizeof(word), PAGE_LEN);
}

static uint64_t
summaries_len(uint32_t capacity)
{
    return wide_len(capacity) + round_up(((uint64_t)(capacity >> NARROW_LOG) + 1) * sizeof(word), PAGE_LEN);
}

/* Everything that follows from the constant page. */
static void
lay_out(table *t, const table_constant *c)
{
    uint64_t at = 2 * PAGE_LEN;

    t->record_size = c->record_size;
    t->capacity = c->capacity;
    t->heap_max = c->heap_max;
    t->copy_len = (uint32_t)round_up(c->record_size, 8);
    t->slot_len = (uint32_t)round_up(8 + 2 * t->copy_len, 64);
    t->area_max_log = AREA_MIN_LOG;
    while (t->area_max_log < AREA_MAX_LOG &&
           UINT64_C(1) << t->area_max_log < UINT64_C(4) * c->capacity)
        t->area_max_log++;
    t->slots_at = at;
    at += round_up((uint64_t)t->capacity * t->slot_len, PAGE_LEN);
    t->heap_at = at;
    at += round_up(t->heap_max, PAGE_LEN);
    t->index_at = at;
    t->changes_at = round_up(at + area_offset(t->area_max_log + 1), PAGE_LEN);
    t->tracked = c->tracked != 0;
    t->len = t->tracked ? t->changes_at + summaries_len(c->capacity) +
                              round_up((uint64_t)c->capacity * sizeof(word), PAGE_LEN)
                        : at + area_offset(t->area_max_log + 1);
}

static bool
is_constant(const table_constant *c)
{
    return c->magic == TABLE_MAGIC && c->abi == TABLE_ABI && c->record_size > 0 &&
           c->record_size <= TABLE_RECORD_MAX && c->capacity > 0 && c->capacity < UINT32_MAX &&
           c->heap_max < UINT32_MAX && c->tracked <= 1;
}

static int
create(const char *path, uint32_t record_size, uint32_t capacity, uint64_t heap_max, bool tracked)
{
    table_constant c = { .magic = TABLE_MAGIC,
                         .abi = TABLE_ABI,
                         .tracked = tracked,
                         .record_size = record_size,
                         .capacity = capacity,
                         .heap_max = heap_max };
    table          t = { 0 };
    int            fd = -1;
    int            rc;

    if (!is_constant(&c))
        return err(E_RANGE, "table %s: %u records of %u bytes", path, capacity, record_size);
    lay_out(&t, &c);
    rc = pages_make(path, t.len, 2 * PAGE_LEN, &fd);
    if (rc < 0)
        return err(rc, "table");
    if (pwrite(fd, &c, sizeof c, 0) != (ssize_t)sizeof c)
        rc = err(E_IO, "write");
    if (rc == E_OK && tracked)
        rc = pages_back(fd, t.changes_at, summaries_len(capacity));
    rc = pages_land(path, &fd, rc);
    return rc < 0 ? err(rc, "table %s", path) : E_OK;
}

int
table_create(const char *path, uint32_t record_size, uint32_t capacity, uint64_t heap_max)
{
    return create(path, record_size, capacity, heap_max, false);
}

int
table_create_tracked(const char *path, uint32_t record_size, uint32_t capacity, uint64_t heap_max)
{
    return create(path, record_size, capacity, heap_max, true);
}

static int
map_table(table *t)
{
    uint64_t       file_len = t->len;
    table_constant c;

    if (pread(t->fd, &c, sizeof c, 0) != (ssize_t)sizeof c || !is_constant(&c))
        return err(E_BAD, "not a table of this version");
    lay_out(t, &c);
    if (t->len != file_len)
        return err(E_BAD, "length %llu", (unsigned long long)file_len);
    t->base = pages_map(t->fd, 0, t->len, t->writer);
    if (t->base == NULL)
        return err(E_NOMEM, "map %llu bytes", (unsigned long long)t->len);
    t->state = (table_state *)(t->base + PAGE_LEN);
    t->slots = t->base + t->slots_at;
    t->heap = t->base + t->heap_at;
    t->index = t->base + t->index_at;
    t->wide = (word *)(void *)(t->base + t->changes_at);
    t->narrow = (word *)(void *)(t->base + t->changes_at + wide_len(t->capacity));
    t->single = (word *)(void *)(t->base + t->changes_at + summaries_len(t->capacity));
    return E_OK;
}

int
table_open(table **out, const char *path, bool writer)
{
    table *t = calloc(1, sizeof *t);
    int    rc = E_OK;

    *out = NULL;
    if (t == NULL)
        return err(E_NOMEM, "table %s", path);
    t->writer = writer;
    t->fd = -1;
    if (writer && (t->interned = calloc(INTERNED, sizeof *t->interned)) == NULL)
        rc = E_NOMEM;
    if (rc == E_OK)
        rc = pages_open(path, writer, &t->fd, &t->len);
    if (rc == E_OK)
        rc = map_table(t);
    if (rc < 0) {
        table_close(&t);
        return err(rc, "table %s", path);
    }
    if (!writer) {
        (void)close(t->fd);
        t->fd = -1;
    }
    *out = t;
    return E_OK;
}

void
table_close(table **tp)
{
    table *t = *tp;

    if (t == NULL)
        return;
    *tp = NULL;
    pages_unmap(t->base, t->len);
    if (t->fd >= 0)
        (void)close(t->fd);
    free(t->interned);
    free(t);
}

uint32_t
table_capacity(const table *t)
{
    return t->capacity;
}

uint32_t
table_count(const table *t)
{
    return (uint32_t)min_u64(atomic_load_explicit(&t->state->count, memory_order_acquire),
                             t->capacity);
}

/* ---- records ---- */

static inline word *
slot_of(const table *t, uint32_t no)
{
    return (word *)(void *)(t->slots + (uint64_t)(no - 1) * t->slot_len);
}

static inline word *
copy_of(const table *t, word *slot, uint64_t seq)
{
    return slot + 1 + (seq & 1) * (t->copy_len / 8);
}

/* Its sequence, or 0 when there is none (and no memory behind it, perhaps). */
static inline uint64_t
seq_of(const table *t, uint32_t no, word **slot)
{
    if (no == 0 || no > table_count(t))
        return 0;
    *slot = slot_of(t, no);
    return atomic_load_explicit(*slot, memory_order_acquire);
}

/* Words that do not change are not written: who peeks at them reads on undisturbed. */
static void
store_words(word *to, const void *from, uint32_t len)
{
    const uint8_t *at = from;

    for (uint32_t i = 0; i < len; i += 8, to++) {
        uint64_t w = 0;

        memcpy(&w, at + i, len - i < 8 ? len - i : 8);
        if (atomic_load_explicit(to, memory_order_relaxed) != w)
            atomic_store_explicit(to, w, memory_order_release);
    }
}

static void
load_words(void *to, const word *from, uint32_t len)
{
    uint8_t *at = to;

    for (uint32_t i = 0; i < len; i += 8, from++) {
        uint64_t w = atomic_load_explicit(from, memory_order_acquire);

        memcpy(at + i, &w, len - i < 8 ? len - i : 8);
    }
}

/* Backs `upto` bytes of a part in steps. */
static int
back(table *t, const uint8_t *part, uint64_t *backed, uint64_t upto, uint64_t part_len)
{
    uint64_t want = min_u64(round_up(upto, BACK_STEP), round_up(part_len, PAGE_LEN));
    int      rc;

    if (upto <= *backed)
        return E_OK;
    rc = pages_back(t->fd, (uint64_t)(part - t->base) + *backed, want - *backed);
    if (rc == E_OK)
        *backed = want;
    return rc;
}

bool
table_read(const table *t, uint32_t no, void *record)
{
    word    *slot;
    uint64_t seq = seq_of(t, no, &slot);

    if (seq == 0)
        return false;
    for (;;) {
        uint64_t now;

        load_words(record, copy_of(t, slot, seq), t->record_size);
        now = atomic_load_explicit(slot, memory_order_acquire);
        if (LIKELY(now == seq))
            return true;
        seq = now;
    }
}

const void *
table_peek(const table *t, uint32_t no)
{
    word    *slot;
    uint64_t seq = seq_of(t, no, &slot);

    return seq == 0 ? NULL : (const void *)copy_of(t, slot, seq);
}

uint64_t
table_word(const table *t, uint32_t no, size_t offset)
{
    word    *slot;
    uint64_t seq = seq_of(t, no, &slot);

    ASSERT(offset % 8 == 0 && offset < t->copy_len);
    return seq == 0
               ? 0
               : atomic_load_explicit(copy_of(t, slot, seq) + offset / 8, memory_order_acquire);
}

void
table_word_store(table *t, uint32_t no, size_t offset, uint64_t value)
{
    word    *slot;
    uint64_t seq = seq_of(t, no, &slot);

    ASSERT(t->writer && seq != 0 && offset % 8 == 0 && offset < t->copy_len);
    atomic_store_explicit(copy_of(t, slot, seq) + offset / 8, value, memory_order_release);
}

/* ---- the index ---- */

static inline word *
area_of(const table *t, uint64_t log)
{
    return (word *)(void *)(t->index + area_offset((uint32_t)log));
}

static inline uint64_t
area_log(const table *t)
{
    uint64_t log = atomic_load_explicit(&t->state->area, memory_order_acquire);

    return log >= AREA_MIN_LOG && log <= t->area_max_log ? log : 0;
}

table_probe
table_begin(const table *t, uint64_t hash)
{
    uint64_t    log = area_log(t);
    table_probe p = { .tag = (uint32_t)(hash >> 32) };

    if (log == 0)
        return p;
    p.area = area_of(t, log);
    p.left = (uint32_t)(UINT64_C(1) << log);
    p.mask = p.left - 1;
    p.at = p.tag & p.mask;
    return p;
}

uint32_t
table_next(const table *t, table_probe *p)
{
    const word *area = p->area;

    (void)t;
    while (p->left > 0) {
        uint64_t e = atomic_load_explicit(&area[p->at], memory_order_acquire);

        if (e == 0)
            break;
        p->left--;
        p->at = (p->at + 1) & p->mask;
        if ((uint32_t)(e >> 32) == p->tag)
            return (uint32_t)e;
    }
    p->left = 0;
    return 0;
}

uint32_t
table_find(const table *t, uint64_t hash, table_is_fn *is, const void *key, void *record_out)
{
    _Alignas(8) uint8_t record[TABLE_RECORD_MAX];
    table_probe         p = table_begin(t, hash);
    uint32_t            no;

    while ((no = table_next(t, &p)) != 0) {
        if (!table_read(t, no, record) || !is(t, record, key))
            continue;
        if (record_out != NULL)
            memcpy(record_out, record, t->record_size);
        return no;
    }
    return 0;
}

/* Into an area that has room.  False: it was there. */
static bool
enter(word *area, uint64_t log, uint64_t entry)
{
    uint64_t mask = (UINT64_C(1) << log) - 1;
    uint64_t at = (entry >> 32) & mask;

    for (;; at = (at + 1) & mask) {
        uint64_t e = atomic_load_explicit(&area[at], memory_order_relaxed);

        if (e == entry)
            return false;
        if (e != 0)
            continue;
        atomic_store_explicit(&area[at], entry, memory_order_release);
        return true;
    }
}

/* The next area: backed, cleared of what a predecessor killed half-way may have left, filled, in
 * force. */
static int
grow_index(table *t, uint64_t log)
{
    uint64_t to_log = log == 0 ? AREA_MIN_LOG : log + 1;
    word    *to = area_of(t, to_log);
    uint64_t used = 0;
    int      rc;

    rc = pages_back(t->fd, (uint64_t)((uint8_t *)to - t->base),
                    (UINT64_C(1) << to_log) * sizeof(word));
    if (rc < 0)
        return err(rc, "index");
    for (uint64_t i = 0; i < UINT64_C(1) << to_log; i++)
        if (atomic_load_explicit(&to[i], memory_order_relaxed) != 0)
            atomic_store_explicit(&to[i], 0, memory_order_relaxed);
    for (uint64_t i = 0; log != 0 && i < UINT64_C(1) << log; i++) {
        uint64_t e = atomic_load_explicit(&area_of(t, log)[i], memory_order_relaxed);

        if (e != 0 && enter(to, to_log, e))
            used++;
    }
    atomic_store_explicit(&t->state->index_used, used, memory_order_relaxed);
    atomic_store_explicit(&t->state->area, to_log, memory_order_release);
    return E_OK;
}

/* Half full at most, so that walks are short; the last area may fill to seven eighths. */
static int
index_room(table *t)
{
    uint64_t log = area_log(t);
    uint64_t used = atomic_load_explicit(&t->state->index_used, memory_order_relaxed);
    uint64_t size = log == 0 ? 0 : UINT64_C(1) << log;

    if (2 * (used + 1) <= size)
        return E_OK;
    if (log < t->area_max_log)
        return grow_index(t, log);
    return 8 * (used + 1) <= 7 * size ? E_OK : E_FULL;
}

static bool
is_entered(const table *t, uint64_t hash, uint32_t no)
{
    table_probe p = table_begin(t, hash);
    uint32_t    found;

    while ((found = table_next(t, &p)) != 0)
        if (found == no)
            return true;
    return false;
}

/* ---- what changed ---- */

/* The words of a record, of its 64, of its 4096, and then how many there were: who reads the last one
 * first finds everything up to it. */
static void
note_change(table *t, uint32_t no)
{
    uint64_t change = atomic_load_explicit(&t->state->changes, memory_order_relaxed) + 1;

    atomic_store_explicit(&t->single[no - 1], change, memory_order_release);
    atomic_store_explicit(&t->narrow[(no - 1) >> NARROW_LOG], change, memory_order_release);
    atomic_store_explicit(&t->wide[(no - 1) >> WIDE_LOG], change, memory_order_release);
    atomic_store_explicit(&t->state->changes, change, memory_order_release);
}

uint64_t
table_changes(const table *t)
{
    return atomic_load_explicit(&t->state->changes, memory_order_acquire);
}

/* The first index after `at` that begins another group. */
static inline uint32_t
next_group(uint32_t at, uint32_t log)
{
    return ((at >> log) + 1) << log;
}

uint32_t
table_changed(const table *t, uint64_t since, uint32_t from)
{
    uint32_t count = table_count(t);

    ASSERT(t->tracked && from > 0);
    for (uint32_t at = from - 1; at < count;) {
        if (atomic_load_explicit(&t->wide[at >> WIDE_LOG], memory_order_acquire) <= since)
            at = next_group(at, WIDE_LOG);
        else if (atomic_load_explicit(&t->narrow[at >> NARROW_LOG], memory_order_acquire) <= since)
            at = next_group(at, NARROW_LOG);
        else if (atomic_load_explicit(&t->single[at], memory_order_acquire) <= since)
            at++;
        else
            return at + 1;
    }
    return 0;
}

/* ---- putting ---- */

static int
put_record(table *t, uint32_t no, const void *record)
{
    word    *slot = slot_of(t, no);
    uint64_t count = table_count(t);
    uint64_t seq;
    int      rc;

    rc = back(t, t->slots, &t->slots_backed, (uint64_t)no * t->slot_len,
              (uint64_t)t->capacity * t->slot_len);
    if (rc == E_OK && t->tracked)
        rc = back(t, (const uint8_t *)t->single, &t->single_backed, (uint64_t)no * sizeof(word),
                  (uint64_t)t->capacity * sizeof(word));
    if (rc < 0)
        return rc;
    seq = atomic_load_explicit(slot, memory_order_relaxed);
    store_words(copy_of(t, slot, seq + 1), record, t->record_size);
    atomic_store_explicit(slot, seq + 1, memory_order_release);
    if (no > count)
        atomic_store_explicit(&t->state->count, no, memory_order_release);
    if (t->tracked)
        note_change(t, no);
    return E_OK;
}

int64_t
table_put(table *t, uint32_t no, uint64_t hash, const void *record)
{
    bool new_entry;
    int  rc = E_OK;

    ASSERT(t->writer);
    if (no == 0)
        no = table_count(t) + 1;
    if (no > t->capacity)
        return E_FULL;
    new_entry = hash != 0 && !is_entered(t, hash, no);
    if (new_entry)
        rc = index_room(t);
    if (rc == E_OK)
        rc = put_record(t, no, record);
    if (rc < 0)
        return rc;
    if (new_entry && enter(area_of(t, area_log(t)), area_log(t), (hash >> 32) << 32 | no))
        atomic_store_explicit(&t->state->index_used,
                              atomic_load_explicit(&t->state->index_used, memory_order_relaxed) + 1,
                              memory_order_relaxed);
    return no;
}

/* ---- strings ---- */

view
table_string_view(const table *t, table_string s)
{
    uint64_t used =
        min_u64(atomic_load_explicit(&t->state->heap_used, memory_order_acquire), t->heap_max);
    uint32_t len;

    if (s < HEAP_START || s % 4 != 0 || (uint64_t)s + sizeof len > used)
        return (view){ NULL, 0 };
    len = load_u32(t->heap + s);
    if (len > used - s - sizeof len)
        return (view){ NULL, 0 };
    return view_of(t->heap + s + sizeof len, len);
}

table_string
table_put_string(table *t, view s)
{
    table_string *known;
    uint64_t      at;
    uint32_t      len = (uint32_t)s.len;

    ASSERT(t->writer);
    if (s.len == 0)
        return 0;
    /* Names of metrics and units come again and again. */
    known = &t->interned[hash64(0, s.at, s.len) % INTERNED];
    if (*known != 0 && view_eq(table_string_view(t, *known), s))
        return *known;
    at = max_u64(atomic_load_explicit(&t->state->heap_used, memory_order_relaxed), HEAP_START);
    if (at > t->heap_max || s.len > UINT32_MAX - 8 || sizeof len + s.len > t->heap_max - at)
        return UINT32_MAX;
    if (back(t, t->heap, &t->heap_backed, at + sizeof len + s.len, t->heap_max) < 0)
        return UINT32_MAX;
    memcpy(t->heap + at, &len, sizeof len);
    memcpy(t->heap + at + sizeof len, s.at, s.len);
    atomic_store_explicit(&t->state->heap_used, round_up(at + sizeof len + s.len, 4),
                          memory_order_release);
    *known = (table_string)at;
    return *known;
}
