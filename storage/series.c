/* series.c - records in groups that never move, an open-addressed hash of numbers, counted strings.
 *
 *   hash   [17][ ][4][ ]...  number, by hash of (machine, metric's string number); at most 3/4 full
 *   text   [3][ ][1]...      string number, by hash of the bytes
 *
 * Strings are counted by the series that use them, so that units that change all the time do not pile up.
 */
#include "storage/series.h"

#include <stdlib.h>

#include "proto/hash.h"

enum {
    GROUP_SHIFT = 12,
    GROUP = 1 << GROUP_SHIFT,
    GROUPS_MAX = SERIES_MAX / GROUP,
    TABLE_MIN = 64,
};

typedef struct string {
    char    *at; /* NULL: free; then `refs` is the next free one */
    uint32_t len;
    uint32_t refs;
} string;

/* Numbers by hash; 0 is an empty place. */
typedef struct table {
    uint32_t *slots;
    uint32_t  mask;
    uint32_t  used;
} table;

typedef struct tenant_count {
    uint32_t tenant;
    uint32_t spare;
    uint64_t count;
} tenant_count;

struct series_map {
    series       *groups[GROUPS_MAX];
    uint32_t      count;
    table         by_name;
    string       *strings; /* number 0 is not used */
    uint32_t      string_count, string_room, free_string;
    table         by_text;
    tenant_count *tenants;
    uint32_t      tenant_count, tenant_room, tenant_hint;
};

static void
table_init(table *t, uint32_t room)
{
    t->slots = calloc(room, sizeof *t->slots);
    ASSERT(t->slots != NULL);
    t->mask = room - 1;
    t->used = 0;
}

static void
table_put(table *t, uint64_t hash, uint32_t number)
{
    uint32_t i = (uint32_t)hash & t->mask;

    while (t->slots[i] != 0)
        i = (i + 1) & t->mask;
    t->slots[i] = number;
    t->used++;
}

typedef uint64_t hash_fn(const series_map *m, uint32_t number);

static void
table_make_room(series_map *m, table *t, hash_fn *hash)
{
    table old = *t;

    if (4 * ((uint64_t)t->used + 1) <= 3 * ((uint64_t)t->mask + 1))
        return;
    table_init(t, 2 * (old.mask + 1));
    for (uint32_t i = 0; i <= old.mask; i++)
        if (old.slots[i] != 0)
            table_put(t, hash(m, old.slots[i]), old.slots[i]);
    free(old.slots);
}

/* Takes one number out and moves up what may stand behind its place. */
static void
table_remove(series_map *m, table *t, hash_fn *hash, uint32_t number)
{
    uint32_t hole = (uint32_t)hash(m, number) & t->mask;

    while (t->slots[hole] != number)
        hole = (hole + 1) & t->mask;
    for (uint32_t i = (hole + 1) & t->mask; t->slots[i] != 0; i = (i + 1) & t->mask) {
        uint32_t home = (uint32_t)hash(m, t->slots[i]) & t->mask;

        if (((i - home) & t->mask) >= ((i - hole) & t->mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = 0;
    t->used--;
}

series_map *
series_new(void)
{
    series_map *m = calloc(1, sizeof *m);

    ASSERT(m != NULL);
    table_init(&m->by_name, TABLE_MIN);
    table_init(&m->by_text, TABLE_MIN);
    m->string_count = 1;
    return m;
}

void
series_free(series_map **mp)
{
    series_map *m = *mp;

    if (m == NULL)
        return;
    for (uint32_t i = 0; i < GROUPS_MAX; i++)
        free(m->groups[i]);
    for (uint32_t i = 1; i < m->string_count; i++)
        free(m->strings[i].at);
    free(m->strings);
    free(m->by_name.slots);
    free(m->by_text.slots);
    free(m->tenants);
    free(m);
    *mp = NULL;
}

/* ---- strings ---- */

static uint64_t
hash_text(view text)
{
    return hash64(0, text.at, text.len);
}

static view
text_of(const series_map *m, uint32_t number)
{
    return view_of(m->strings[number].at, m->strings[number].len);
}

static uint64_t
hash_string(const series_map *m, uint32_t number)
{
    return hash_text(text_of(m, number));
}

static uint32_t
find_string(const series_map *m, view text)
{
    uint32_t i = (uint32_t)hash_text(text) & m->by_text.mask;

    for (; m->by_text.slots[i] != 0; i = (i + 1) & m->by_text.mask)
        if (view_eq(text_of(m, m->by_text.slots[i]), text))
            return m->by_text.slots[i];
    return 0;
}

static uint32_t
new_string(series_map *m)
{
    uint32_t number = m->free_string;

    if (number != 0) {
        m->free_string = m->strings[number].refs;
        return number;
    }
    if (m->string_count >= m->string_room) {
        m->string_room = m->string_room == 0 ? 64 : 2 * m->string_room;
        m->strings = realloc(m->strings, m->string_room * sizeof *m->strings);
        ASSERT(m->strings != NULL);
    }
    return m->string_count++;
}

static uint32_t
hold_string(series_map *m, view text)
{
    uint32_t number = find_string(m, text);

    if (number != 0) {
        m->strings[number].refs++;
        return number;
    }
    table_make_room(m, &m->by_text, hash_string);
    number = new_string(m);
    m->strings[number] =
        (string){ .at = malloc(text.len + 1), .len = (uint32_t)text.len, .refs = 1 };
    ASSERT(m->strings[number].at != NULL);
    if (text.len > 0)
        memcpy(m->strings[number].at, text.at, text.len);
    table_put(&m->by_text, hash_text(text), number);
    return number;
}

static void
drop_string(series_map *m, uint32_t number)
{
    string *s = &m->strings[number];

    ASSERT(s->refs > 0);
    if (--s->refs > 0)
        return;
    table_remove(m, &m->by_text, hash_string, number);
    free(s->at);
    *s = (string){ .refs = m->free_string };
    m->free_string = number;
}

/* ---- tenants: few, and rows of one come together ---- */

static tenant_count *
find_tenant(const series_map *m, uint32_t tenant)
{
    if (m->tenant_hint < m->tenant_count && m->tenants[m->tenant_hint].tenant == tenant)
        return &m->tenants[m->tenant_hint];
    for (uint32_t i = 0; i < m->tenant_count; i++)
        if (m->tenants[i].tenant == tenant)
            return &m->tenants[i];
    return NULL;
}

uint64_t
series_of_tenant(const series_map *m, uint32_t tenant)
{
    const tenant_count *t = find_tenant(m, tenant);

    return t != NULL ? t->count : 0;
}

static void
count_tenant(series_map *m, uint32_t tenant)
{
    tenant_count *t = find_tenant(m, tenant);

    if (t == NULL) {
        if (m->tenant_count == m->tenant_room) {
            m->tenant_room = m->tenant_room == 0 ? 16 : 2 * m->tenant_room;
            m->tenants = realloc(m->tenants, m->tenant_room * sizeof *m->tenants);
            ASSERT(m->tenants != NULL);
        }
        t = &m->tenants[m->tenant_count++];
        *t = (tenant_count){ .tenant = tenant };
    }
    m->tenant_hint = (uint32_t)(t - m->tenants);
    t->count++;
}

/* ---- series ---- */

uint32_t
series_count(const series_map *m)
{
    return m->count;
}

series *
series_at(const series_map *m, uint32_t number)
{
    ASSERT(number > 0 && number <= m->count);
    return &m->groups[(number - 1) >> GROUP_SHIFT][(number - 1) & (GROUP - 1)];
}

void
series_prefetch(const series_map *m, uint32_t number)
{
    if (LIKELY(number > 0 && number <= m->count))
        __builtin_prefetch(&m->groups[(number - 1) >> GROUP_SHIFT][(number - 1) & (GROUP - 1)], 1);
}

static uint64_t
hash_name(uint32_t machine, uint32_t metric)
{
    uint64_t h = ((uint64_t)machine << 32 | metric) * 0x9e3779b97f4a7c15ull;

    return h ^ h >> 32;
}

static uint64_t
hash_series(const series_map *m, uint32_t number)
{
    const series *s = series_at(m, number);

    return hash_name(s->machine, s->metric);
}

uint32_t
series_find(const series_map *m, uint32_t machine, view metric)
{
    uint32_t text = find_string(m, metric);
    uint32_t i = (uint32_t)hash_name(machine, text) & m->by_name.mask;

    if (text == 0)
        return 0;
    for (; m->by_name.slots[i] != 0; i = (i + 1) & m->by_name.mask) {
        const series *s = series_at(m, m->by_name.slots[i]);

        if (s->machine == machine && s->metric == text)
            return m->by_name.slots[i];
    }
    return 0;
}

static void
reach(series_map *m, uint32_t number)
{
    for (uint32_t g = m->count >> GROUP_SHIFT; g <= (number - 1) >> GROUP_SHIFT; g++) {
        if (m->groups[g] != NULL)
            continue;
        m->groups[g] = calloc(GROUP, sizeof(series));
        ASSERT(m->groups[g] != NULL);
    }
    m->count = number > m->count ? number : m->count;
}

bool
series_reserve(series_map *m, uint32_t number)
{
    if (number > SERIES_MAX)
        return false;
    if (number > m->count)
        reach(m, number);
    return true;
}

uint32_t
series_add(series_map *m, uint32_t number, const series_name *name)
{
    series *s;

    if (number == 0)
        number = m->count + 1;
    if (number > SERIES_MAX)
        return 0;
    reach(m, number);
    s = series_at(m, number);
    ASSERT(s->machine == 0 && name->machine != 0);
    table_make_room(m, &m->by_name, hash_series);
    s->machine = name->machine;
    s->tenant = name->tenant;
    s->metric = hold_string(m, name->metric);
    s->unit = hold_string(m, name->unit);
    table_put(&m->by_name, hash_series(m, number), number);
    count_tenant(m, name->tenant);
    return number;
}

void
series_set_unit(series_map *m, uint32_t number, view unit)
{
    series  *s = series_at(m, number);
    uint32_t old = s->unit;

    s->unit = hold_string(m, unit);
    drop_string(m, old);
}

view
series_metric(const series_map *m, uint32_t number)
{
    return text_of(m, series_at(m, number)->metric);
}

view
series_unit(const series_map *m, uint32_t number)
{
    return text_of(m, series_at(m, number)->unit);
}
