/* days.c - see days.h. */
#include "storage/days.h"

#include <stdlib.h>

enum { BUCKETS_MIN = 256 };

struct days {
    size_t   bytes, bytes_max;
    uint32_t count, buckets; /* a power of two */
    kept_day    **bucket;
    kept_day ring; /* newer: the one used least; older: the one used last */
};

days *
days_new(size_t bytes_max)
{
    days *d = calloc(1, sizeof *d);

    ASSERT(d != NULL);
    d->bytes_max = bytes_max;
    d->buckets = BUCKETS_MIN;
    d->bucket = calloc(d->buckets, sizeof *d->bucket);
    ASSERT(d->bucket != NULL);
    d->ring.newer = d->ring.older = &d->ring;
    return d;
}

static uint32_t
place_of(const days *d, uint32_t series, int32_t number)
{
    return (uint32_t)((((uint64_t)(uint32_t)number << 32 | series) * 0x9e3779b97f4a7c15ull) >> 33) & (d->buckets - 1);
}

static void
unring(kept_day *of)
{
    of->newer->older = of->older;
    of->older->newer = of->newer;
}

static void
ring_last(days *d, kept_day *of)
{
    of->newer = &d->ring;
    of->older = d->ring.older;
    d->ring.older->newer = of;
    d->ring.older = of;
}

void
day_free(kept_day **p)
{
    kept_day *of = *p;

    *p = NULL;
    if (of == NULL)
        return;
    for (uint32_t i = 0; i < of->count; i++) {
        free(of->chunk[i].hour);
        columns_free(&of->chunk[i].columns);
    }
    free(of->chunk);
    free(of);
}

void
days_forget(days *d, kept_day *of)
{
    kept_day **at = &d->bucket[place_of(d, of->series, of->number)];

    while (*at != of)
        at = &(*at)->next;
    *at = of->next;
    unring(of);
    d->bytes -= of->bytes;
    d->count--;
    day_free(&of);
}

void
days_free(days **p)
{
    days *d = *p;

    *p = NULL;
    if (d == NULL)
        return;
    while (d->ring.newer != &d->ring)
        days_forget(d, d->ring.newer);
    free(d->bucket);
    free(d);
}

static kept_day *
look_up(days *d, uint32_t series, int32_t number)
{
    kept_day *of = d->bucket[place_of(d, series, number)];

    while (of != NULL && (of->series != series || of->number != number))
        of = of->next;
    return of;
}

kept_day *
days_find(days *d, uint32_t series, int32_t number, uint64_t version)
{
    kept_day *of = look_up(d, series, number);

    if (of == NULL || of->version != version)
        return NULL;
    unring(of);
    ring_last(d, of);
    return of;
}

/* ---- one ---- */

kept_day *
day_new(uint32_t series, int32_t number, uint64_t version)
{
    kept_day *of = calloc(1, sizeof *of);

    ASSERT(of != NULL);
    of->series = series;
    of->number = number;
    of->version = version;
    of->bytes = sizeof *of;
    return of;
}

void
day_add(kept_day *of, const rollup *r)
{
    day_chunk *c;

    if (of->count == of->room) {
        of->room = of->room == 0 ? 1 : of->room * 2;
        of->chunk = realloc(of->chunk, of->room * sizeof *of->chunk);
        ASSERT(of->chunk != NULL);
    }
    c = &of->chunk[of->count++];
    *c = (day_chunk){ .whole = r->whole, .hours = r->hours, .bare = r->bare };
    if (r->hours > 0) {
        c->hour = malloc(r->hours * sizeof *c->hour);
        ASSERT(c->hour != NULL);
        memcpy(c->hour, r->hour, r->hours * sizeof *c->hour);
    }
    of->bytes += sizeof *c + r->hours * sizeof *c->hour;
}

static bool
is_same(const chunk_summary *a, const chunk_summary *b)
{
    return a->first_us == b->first_us && a->lsn == b->lsn && a->gen == b->gen;
}

day_chunk *
day_chunk_of(kept_day *of, const chunk_summary *s)
{
    for (uint32_t i = 0; i < of->count; i++)
        if (is_same(&of->chunk[i].whole, s))
            return &of->chunk[i];
    return NULL;
}

/* ---- all ---- */

static void
grow(days *d)
{
    kept_day    **before = d->bucket;
    uint32_t many = d->buckets;

    if (d->count < d->buckets)
        return;
    d->buckets *= 2;
    d->bucket = calloc(d->buckets, sizeof *d->bucket);
    ASSERT(d->bucket != NULL);
    for (uint32_t i = 0; i < many; i++)
        for (kept_day *of = before[i], *next; of != NULL; of = next) {
            kept_day **at = &d->bucket[place_of(d, of->series, of->number)];

            next = of->next;
            of->next = *at;
            *at = of;
        }
    free(before);
}

static void
make_room(days *d, const kept_day *but)
{
    while (d->bytes > d->bytes_max && d->ring.newer != but && d->ring.newer != &d->ring)
        days_forget(d, d->ring.newer);
}

kept_day *
days_add(days *d, kept_day **p)
{
    kept_day *of = *p, *before = look_up(d, of->series, of->number);
    kept_day **at;

    *p = NULL;
    for (uint32_t i = 0; before != NULL && i < of->count; i++) {
        day_chunk *c = day_chunk_of(before, &of->chunk[i].whole);

        if (c == NULL || c->columns == NULL)
            continue;
        of->chunk[i].columns = c->columns;
        of->bytes += columns_bytes(c->columns);
        before->bytes -= columns_bytes(c->columns);
        d->bytes -= columns_bytes(c->columns);
        c->columns = NULL;
    }
    if (before != NULL)
        days_forget(d, before);
    grow(d);
    at = &d->bucket[place_of(d, of->series, of->number)];
    of->next = *at;
    *at = of;
    d->count++;
    d->bytes += of->bytes;
    ring_last(d, of);
    make_room(d, of);
    return of;
}

void
days_set_columns(days *d, kept_day *of, day_chunk *c, columns **made)
{
    size_t bytes = columns_bytes(*made);

    ASSERT(c->columns == NULL);
    c->columns = *made;
    *made = NULL;
    of->bytes += bytes;
    d->bytes += bytes;
    make_room(d, of);
}
