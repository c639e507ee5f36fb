/* heads.c - head arrays from slabs, heads in two intrusive lists.
 *
 *   rooms   8   32   128   384   704 | twice as many each time
 *           from slabs, free lists   | from malloc (one series in a burst)
 */
#include "storage/heads.h"

#include <stdlib.h>

enum {
    GROUP_SHIFT = 12, /* heads are allocated by 4096, and never move */
    GROUP = 1 << GROUP_SHIFT,
    GROUPS_MAX = 1 << 14,
    SLAB = 256 << 10,
    ROW = (int)sizeof(head_row),
};

static const uint32_t rooms[] = { 8, 32, 128, 384, 704 };
enum { ROOM_CLASSES = COUNT_OF(rooms) };

/* A free array links to the next one. */
typedef struct free_rows {
    struct free_rows *next;
} free_rows;

typedef struct slab {
    struct slab *next;
    uint64_t     spare; /* rows stay 16-aligned */
} slab;

struct heads {
    head      *groups[GROUPS_MAX];
    uint32_t   head_count; /* made so far, number 0 among them */
    uint32_t   free_head;  /* linked by `younger` */
    uint32_t   in_use;
    uint32_t   oldest, youngest;
    uint32_t   ripest, last_ripe;
    free_rows *free_rows[ROOM_CLASSES];
    slab      *slabs;
    uint64_t   row_count;
    uint64_t   row_bytes;
};

heads *
heads_new(void)
{
    heads *h = calloc(1, sizeof *h);

    ASSERT(h != NULL);
    h->head_count = 1;
    return h;
}

static head *
at_number(const heads *h, uint32_t at)
{
    return &h->groups[at >> GROUP_SHIFT][at & (GROUP - 1)];
}

void
heads_free(heads **hp)
{
    heads *h = *hp;

    if (h == NULL)
        return;
    for (uint32_t at = h->oldest; at != 0; at = at_number(h, at)->younger)
        if (at_number(h, at)->room > rooms[ROOM_CLASSES - 1])
            free(at_number(h, at)->rows);
    for (uint32_t i = 0; i < GROUPS_MAX; i++)
        free(h->groups[i]);
    while (h->slabs != NULL) {
        slab *next = h->slabs->next;

        free(h->slabs);
        h->slabs = next;
    }
    free(h);
    *hp = NULL;
}

/* ---- arrays ---- */

static void
cut_slab(heads *h, uint32_t class)
{
    slab    *s = malloc(SLAB);
    uint32_t len = rooms[class] * ROW;

    ASSERT(s != NULL);
    s->next = h->slabs;
    h->slabs = s;
    for (uint64_t at = sizeof *s; at + len <= SLAB; at += len) {
        free_rows *f = (free_rows *)(void *)((uint8_t *)s + at);

        f->next = h->free_rows[class];
        h->free_rows[class] = f;
    }
}

static uint32_t
class_of(uint32_t room)
{
    uint32_t class = 0;

    while (class < ROOM_CLASSES && rooms[class] < room)
        class ++;
    return class;
}

static head_row *
take_rows(heads *h, uint32_t room)
{
    uint32_t class = class_of(room);
    free_rows *f;

    h->row_bytes += (uint64_t)room * ROW;
    if (class == ROOM_CLASSES) {
        head_row *rows = malloc((size_t)room * ROW);

        ASSERT(rows != NULL);
        return rows;
    }
    if (h->free_rows[class] == NULL)
        cut_slab(h, class);
    f = h->free_rows[class];
    h->free_rows[class] = f->next;
    return (head_row *)(void *)f;
}

static void
give_rows(heads *h, head_row *rows, uint32_t room)
{
    uint32_t class = class_of(room);
    free_rows *f = (free_rows *)(void *)rows;

    h->row_bytes -= (uint64_t)room * ROW;
    if (class == ROOM_CLASSES) {
        free(rows);
        return;
    }
    f->next = h->free_rows[class];
    h->free_rows[class] = f;
}

static void
grow(heads *h, head *d)
{
    uint32_t class = class_of(d->room + 1);
    uint32_t  room = class < ROOM_CLASSES ? rooms[class] : 2 * d->room;
    head_row *rows = take_rows(h, room);

    memcpy(rows, d->rows, (size_t)d->count * ROW);
    give_rows(h, d->rows, d->room);
    d->rows = rows;
    d->room = room;
}

/* ---- heads ---- */

static uint32_t
take_number(heads *h)
{
    uint32_t at = h->free_head;

    h->in_use++;
    if (at != 0) {
        h->free_head = at_number(h, at)->younger;
        return at;
    }
    at = h->head_count++;
    ASSERT(at >> GROUP_SHIFT < GROUPS_MAX);
    if (h->groups[at >> GROUP_SHIFT] == NULL) {
        h->groups[at >> GROUP_SHIFT] = calloc(GROUP, sizeof(head));
        ASSERT(h->groups[at >> GROUP_SHIFT] != NULL);
    }
    return at;
}

static uint32_t
new_head(heads *h, uint32_t series, uint64_t lsn)
{
    uint32_t at = take_number(h);
    head    *d = at_number(h, at);

    ASSERT(h->youngest == 0 || at_number(h, h->youngest)->first_lsn < lsn);
    *d = (head){ .series = series,
                 .room = rooms[0],
                 .ripe_at = HEAD_RIPE_MIN + (series * 2654435761u >> 16) % HEAD_RIPE_SPREAD,
                 .first_lsn = lsn,
                 .older = h->youngest };
    d->rows = take_rows(h, d->room);
    if (h->youngest != 0)
        at_number(h, h->youngest)->younger = at;
    else
        h->oldest = at;
    h->youngest = at;
    return at;
}

static void
ripen(heads *h, uint32_t at)
{
    at_number(h, at)->ripe_before = h->last_ripe;
    if (h->last_ripe != 0)
        at_number(h, h->last_ripe)->ripe_after = at;
    else
        h->ripest = at;
    h->last_ripe = at;
}

uint32_t
heads_append(heads *h, uint32_t at, uint32_t series, const head_row *row, uint64_t lsn)
{
    head *d;

    if (at == 0)
        at = new_head(h, series, lsn);
    d = at_number(h, at);
    ASSERT(d->series == series && lsn >= d->first_lsn);
    if (UNLIKELY(d->count == d->room))
        grow(h, d);
    d->rows[d->count++] = *row;
    d->last_lsn = lsn;
    h->row_count++;
    if (UNLIKELY(d->count == d->ripe_at))
        ripen(h, at);
    return at;
}

const head *
heads_at(const heads *h, uint32_t at)
{
    const head *d = at_number(h, at);

    ASSERT(at != 0 && at < h->head_count && d->series != 0);
    return d;
}

void
heads_prefetch(const heads *h, uint32_t at)
{
    if (at != 0)
        __builtin_prefetch(at_number(h, at), 1);
}

void
heads_prefetch_row(const heads *h, uint32_t at)
{
    const head *d;

    if (at == 0)
        return;
    d = at_number(h, at);
    __builtin_prefetch(d->rows + d->count, 1);
}

static void
leave_ripe(heads *h, const head *d)
{
    if (d->ripe_before != 0)
        at_number(h, d->ripe_before)->ripe_after = d->ripe_after;
    else
        h->ripest = d->ripe_after;
    if (d->ripe_after != 0)
        at_number(h, d->ripe_after)->ripe_before = d->ripe_before;
    else
        h->last_ripe = d->ripe_before;
}

void
heads_drop(heads *h, uint32_t at)
{
    head *d = at_number(h, at);

    ASSERT(d->series != 0 && h->in_use > 0);
    if (d->count >= d->ripe_at)
        leave_ripe(h, d);
    if (d->older != 0)
        at_number(h, d->older)->younger = d->younger;
    else
        h->oldest = d->younger;
    if (d->younger != 0)
        at_number(h, d->younger)->older = d->older;
    else
        h->youngest = d->older;
    h->row_count -= d->count;
    give_rows(h, d->rows, d->room);
    *d = (head){ .younger = h->free_head };
    h->free_head = at;
    h->in_use--;
}

static void
shrink(heads *h, head *d, uint32_t kept)
{
    if (d->count >= d->ripe_at && kept < d->ripe_at) {
        leave_ripe(h, d);
        d->ripe_before = d->ripe_after = 0;
        if (d->ripe_at < HEAD_RIPE_MIN) /* it was made ripe before its time */
            d->ripe_at = HEAD_RIPE_MIN;
    }
    h->row_count -= d->count - kept;
    d->count = kept;
    d->ordered = 0;
}

void
heads_ripen(heads *h, uint32_t at)
{
    head *d = at_number(h, at);

    ASSERT(d->series != 0 && d->count > 0);
    if (d->count >= d->ripe_at)
        return;
    d->ripe_at = d->count;
    ripen(h, at);
}

uint32_t
heads_erase(heads *h, uint32_t at, int64_t from_us, int64_t to_us)
{
    head    *d = at_number(h, at);
    uint32_t kept = 0;

    ASSERT(d->series != 0);
    for (uint32_t i = 0; i < d->count; i++)
        if (d->rows[i].time_us < from_us || d->rows[i].time_us >= to_us)
            d->rows[kept++] = d->rows[i];
    shrink(h, d, kept);
    d->changes++;
    return kept;
}

void
heads_replace(heads *h, uint32_t at, const head_row *rows, uint32_t count)
{
    head *d = at_number(h, at);

    ASSERT(d->series != 0 && count > 0 && count <= d->count);
    memcpy(d->rows, rows, count * sizeof *rows);
    shrink(h, d, count);
    d->ordered = count;
    d->changes++;
}

bool
heads_is_ordered(heads *h, uint32_t at)
{
    head *d = at_number(h, at);

    if (d->ordered == 0)
        d->ordered = 1;
    while (d->ordered < d->count && d->rows[d->ordered - 1].time_us < d->rows[d->ordered].time_us)
        d->ordered++;
    return d->ordered == d->count;
}

uint32_t
heads_oldest(const heads *h)
{
    return h->oldest;
}

uint32_t
heads_younger(const heads *h, uint32_t at)
{
    return at_number(h, at)->younger;
}

uint32_t
heads_ripest(const heads *h)
{
    return h->ripest;
}

uint32_t
heads_riper(const heads *h, uint32_t at)
{
    return at_number(h, at)->ripe_after;
}

uint64_t
heads_bytes(const heads *h)
{
    return h->row_bytes + (uint64_t)h->in_use * sizeof(head);
}

uint64_t
heads_rows(const heads *h)
{
    return h->row_count;
}

uint32_t
heads_count(const heads *h)
{
    return h->in_use;
}
