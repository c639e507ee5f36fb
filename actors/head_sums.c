/* head_sums.c - see head_sums.h. */
#include "actors/head_sums.h"

#include <stdlib.h>

#include "storage/rollup.h"

enum {
    GAP = 16,     /* of a width: so few rows with gaps are not worth a sum */
    PREFETCH = 6, /* cache lines: four sums */
};

typedef struct kept {
    uint64_t      first_lsn; /* of the head */
    uint32_t      changes;
    uint32_t      rows; /* that are summed up */
    int64_t       width_us;
    bool          spread;
    uint32_t      count, room;
    chunk_summary at[];
} kept;

struct head_sums {
    size_t   bytes, bytes_max;
    uint32_t room;
    kept   **of; /* by series */
};

head_sums *
head_sums_new(size_t bytes_max)
{
    head_sums *h = calloc(1, sizeof *h);

    ASSERT(h != NULL);
    h->bytes_max = bytes_max;
    return h;
}

static void
forget_all(head_sums *h)
{
    for (uint32_t i = 0; i < h->room; i++)
        free(h->of[i]);
    free(h->of);
    h->of = NULL;
    h->room = 0;
    h->bytes = 0;
}

void
head_sums_free(head_sums **hp)
{
    head_sums *h = *hp;

    *hp = NULL;
    if (h == NULL)
        return;
    forget_all(h);
    free(h);
}

static size_t
len_of(uint32_t room)
{
    return sizeof(kept) + room * sizeof(chunk_summary);
}

static kept **
slot_of(head_sums *h, uint32_t series)
{
    uint32_t room = h->room == 0 ? 1024 : h->room;

    if (h->bytes > h->bytes_max)
        forget_all(h);
    if (series >= h->room) {
        while (room <= series)
            room *= 2;
        h->of = realloc(h->of, room * sizeof *h->of);
        ASSERT(h->of != NULL);
        memset(h->of + h->room, 0, (room - h->room) * sizeof *h->of);
        h->bytes += (room - h->room) * sizeof *h->of;
        h->room = room;
    }
    return &h->of[series];
}

static chunk_summary *
next_sum(head_sums *h, kept **slot)
{
    kept    *k = *slot;
    uint32_t room = k->room;

    if (k->count == k->room) {
        k = realloc(k, len_of(room * 2));
        ASSERT(k != NULL);
        k->room = room * 2;
        h->bytes += len_of(k->room) - len_of(room);
        *slot = k;
    }
    return &k->at[k->count++];
}

/* Is the row further from the next than that one is from its next? */
static bool
stands_apart(const head_view *v, uint32_t from)
{
    const head_row *at = v->rows + from;

    return from + 2 < v->count &&
           at[1].time_us - at[0].time_us > (at[2].time_us - at[1].time_us) + (at[2].time_us - at[1].time_us) / 4;
}

/* Where the run that rows[from] begins ends: at a multiple of the width, or before a gap.  What came late, into the midst
 * of what is sealed, must not make a run with what is not: there its rows would be needed. */
static uint32_t
run_end(const head_view *v, uint32_t from, int64_t width_us)
{
    int64_t  end = v->rows[from].time_us / width_us * width_us + width_us;
    uint32_t to = from + 1;

    if (stands_apart(v, from))
        return to;
    while (to < v->count && v->rows[to].time_us < end && v->rows[to].time_us - v->rows[to - 1].time_us <= width_us / GAP)
        to++;
    return to;
}

static kept *
begin(head_sums *h, kept **slot)
{
    enum { ROOM = 4 };

    if (*slot == NULL) {
        *slot = malloc(len_of(ROOM));
        ASSERT(*slot != NULL);
        (*slot)->room = ROOM;
        h->bytes += len_of(ROOM);
    }
    (*slot)->count = (*slot)->rows = 0;
    return *slot;
}

void
head_sums_prefetch(const head_sums *h, uint32_t series)
{
    const char *k = series < h->room ? (const char *)h->of[series] : NULL;

    for (size_t line = 0; k != NULL && line < PREFETCH; line++)
        __builtin_prefetch(k + line * 64);
}

const chunk_summary *
head_sums_of(head_sums *h, uint32_t series, const head_view *v, int64_t width_us, bool with_spread, uint32_t *count)
{
    kept **slot = slot_of(h, series), *k = *slot;

    if (k == NULL || k->first_lsn != v->first_lsn || k->changes != v->changes || k->width_us != width_us ||
        k->rows > v->count || (with_spread && !k->spread)) {
        k = begin(h, slot);
        k->first_lsn = v->first_lsn;
        k->changes = v->changes;
        k->width_us = width_us;
        k->spread = with_spread;
    }
    if (k->rows < v->count && k->count > 0)
        k->rows -= k->at[--k->count].count; /* the last one may go on */
    for (uint32_t from = k->rows, to; from < v->count; from = to) {
        to = run_end(v, from, width_us);
        *next_sum(h, slot) = rollup_sum(v->rows + from, to - from, (*slot)->spread);
    }
    k = *slot;
    k->rows = v->count;
    *count = k->count;
    return k->at;
}
