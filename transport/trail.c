/* trail.c - see trail.h. */
#include "transport/trail.h"

#include "proto/hash.h"
#include "transport/pages.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TRAIL_VERSION = 1, RECORDS_MIN = 16, RECORDS_MAX = 65536, NAME_DIGITS = 16 };
#define TRAIL_MAGIC UINT64_C(0x6c696172746c6174) /* "latrtrail" */

typedef _Atomic uint64_t word;

typedef struct trail_constant {
    uint64_t magic;
    uint32_t version;
    uint32_t records;
    addr     who;
} trail_constant;

/* One cache line.  number: n + 1; 0 while it is being written. */
typedef struct trail_record {
    word number;
    word trace;
    word from;
    word sent_ns;
    word at_ns;
    word done_ns;
    word flushed_ns;
    word what; /* len:32 type:16 flags:16 */
} trail_record;

_Static_assert(sizeof(trail_record) == 64, "one cache line");

struct trail {
    word         *next;
    trail_record *record;
    void         *map;
    uint64_t      map_len;
    uint32_t      records; /* a power of two */
    bool          writer;
};

static uint64_t
body_len(uint32_t records)
{
    return PAGE_LEN + round_up(records * sizeof(trail_record), PAGE_LEN);
}

static void
file_name(char path[PAGES_PATH_MAX], const char *dir, addr who)
{
    (void)snprintf(path, PAGES_PATH_MAX, "%s/trail.%s.%u", dir, kind_name(addr_kind(who)),
                   addr_part(who));
}

static bool
is_sound(const trail_constant *c, uint64_t len, addr who)
{
    return c->magic == TRAIL_MAGIC && c->version == TRAIL_VERSION && c->who == who &&
           c->records >= RECORDS_MIN && c->records <= RECORDS_MAX &&
           (c->records & (c->records - 1)) == 0 && len == PAGE_LEN + body_len(c->records);
}

static int
open_checked(const char *path, addr who, bool write, int *fd, uint32_t *records)
{
    trail_constant c;
    uint64_t       len = 0;
    int            rc = pages_open(path, write, fd, &len);

    if (rc < 0)
        return rc;
    if (pread(*fd, &c, sizeof c, 0) != (ssize_t)sizeof c || !is_sound(&c, len, who)) {
        (void)close(*fd);
        *fd = -1;
        return err(E_BAD, "%s: not a trail of this version", path);
    }
    *records = c.records;
    return E_OK;
}

int
trail_create(const char *dir, addr who, uint32_t records)
{
    trail_constant c = { TRAIL_MAGIC, TRAIL_VERSION, records, who };
    char           path[PAGES_PATH_MAX];
    uint64_t       len = PAGE_LEN + body_len(records);
    uint32_t       have = 0;
    int            fd = -1;
    int            rc;

    ASSERT(is_sound(&c, len, who));
    file_name(path, dir, who);
    if (open_checked(path, who, true, &fd, &have) == E_OK) {
        (void)close(fd);
        if (have == records)
            return E_OK;
    }
    err_clear();
    if ((rc = pages_make(path, len, len, &fd)) < 0)
        return err(rc, "trail");
    if (pwrite(fd, &c, sizeof c, 0) != (ssize_t)sizeof c)
        rc = err(E_IO, "write");
    rc = pages_land(path, &fd, rc);
    return rc < 0 ? err(rc, "trail %s", path) : E_OK;
}

int
trail_open(trail **out, const char *dir, addr who, bool writer)
{
    trail *t = calloc(1, sizeof *t);
    char   path[PAGES_PATH_MAX];
    int    fd = -1;
    int    rc;

    *out = NULL;
    file_name(path, dir, who);
    if (t == NULL)
        return err(E_NOMEM, "trail");
    rc = open_checked(path, who, writer, &fd, &t->records);
    if (rc == E_OK) {
        t->writer = writer;
        t->map_len = body_len(t->records);
        t->map = pages_map(fd, PAGE_LEN, t->map_len, writer);
        (void)close(fd);
        if (t->map == NULL)
            rc = err(E_NOMEM, "map %s", path);
    }
    if (rc < 0) {
        trail_close(&t);
        return err(rc, "trail");
    }
    t->next = t->map;
    t->record = (trail_record *)((uint8_t *)t->map + PAGE_LEN);
    *out = t;
    return E_OK;
}

void
trail_close(trail **tp)
{
    trail *t = *tp;

    if (t == NULL)
        return;
    *tp = NULL;
    pages_unmap(t->map, t->map_len);
    free(t);
}

static bool
is_number(view name, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.at[i];
        bool    digit = c >= '0' && c <= '9';

        if (!digit && (c < 'a' || c > 'f'))
            return false;
        *out = *out << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    return name.len == NAME_DIGITS;
}

uint64_t
trail_id(view request)
{
    uint64_t id;

    if (!is_number(request, &id))
        id = hash64(0, request.at, request.len);
    return id == 0 ? 1 : id;
}

/* ---- the writer ---- */

static inline void
set(word *w, uint64_t n)
{
    atomic_store_explicit(w, n, memory_order_relaxed);
}

static inline uint64_t
get(const word *w)
{
    return atomic_load_explicit(w, memory_order_relaxed);
}

static inline trail_record *
record_of(const trail *t, uint64_t number)
{
    return &t->record[number & (t->records - 1)];
}

uint64_t
trail_add(trail *t, const trail_step *s)
{
    uint64_t      number = get(t->next);
    trail_record *r = record_of(t, number);

    ASSERT(t->writer);
    set(&r->number, 0);
    atomic_thread_fence(memory_order_release);
    set(&r->trace, s->trace);
    set(&r->from, s->from);
    set(&r->sent_ns, s->sent_ns);
    set(&r->at_ns, s->at_ns);
    set(&r->done_ns, s->done_ns);
    set(&r->flushed_ns, s->flushed_ns);
    set(&r->what, (uint64_t)s->len << 32 | (uint64_t)s->type << 16 | s->flags);
    atomic_store_explicit(&r->number, number + 1, memory_order_release);
    atomic_store_explicit(t->next, number + 1, memory_order_release);
    return number;
}

void
trail_done(trail *t, uint64_t number, uint64_t ns, uint16_t flags)
{
    trail_record *r = record_of(t, number);

    if (get(&r->number) != number + 1)
        return; /* written over: a handler that marked very much */
    set(&r->what, get(&r->what) | flags);
    set(&r->done_ns, ns);
}

uint64_t
trail_next(const trail *t)
{
    return atomic_load_explicit(t->next, memory_order_acquire);
}

void
trail_flushed(trail *t, uint64_t from, uint64_t until, uint64_t ns)
{
    if (until > from + t->records)
        from = until - t->records;
    for (; from < until; from++) {
        trail_record *r = record_of(t, from);

        if (get(&r->number) == from + 1 && (get(&r->what) & TRAIL_COMMITS) != 0)
            set(&r->flushed_ns, ns);
    }
}

/* ---- readers ---- */

uint64_t
trail_first(const trail *t)
{
    uint64_t next = trail_next(t);

    return next > t->records ? next - t->records : 0;
}

bool
trail_read(const trail *t, uint64_t number, trail_step *s)
{
    const trail_record *r = record_of(t, number);
    uint64_t            what;

    if (atomic_load_explicit(&r->number, memory_order_acquire) != number + 1)
        return false;
    what = get(&r->what);
    *s = (trail_step){ .trace = get(&r->trace),
                       .from = get(&r->from),
                       .sent_ns = get(&r->sent_ns),
                       .at_ns = get(&r->at_ns),
                       .done_ns = get(&r->done_ns),
                       .flushed_ns = get(&r->flushed_ns),
                       .len = (uint32_t)(what >> 32),
                       .type = (uint16_t)(what >> 16),
                       .flags = (uint16_t)what };
    atomic_thread_fence(memory_order_acquire);
    return get(&r->number) == number + 1;
}
