/* part_show.c - what is durable becomes visible: definitions, rows into heads, deletes, and how far lanes are applied. */
#include "storage/part_inner.h"

#include <stdlib.h>

/* ---- definitions that are not in the database yet ---- */

void
part_note_unstored(part *p, uint32_t number)
{
    unstored *u = &p->unstored;
    series   *s = series_at(p->map, number);

    if (s->unstored)
        return;
    if (u->end == u->room && u->first > u->room / 2) {
        memmove(u->series, u->series + u->first, (u->end - u->first) * sizeof *u->series);
        u->end -= u->first;
        u->first = 0;
    }
    if (u->end == u->room) {
        u->room = u->room == 0 ? 1024 : 2 * u->room;
        u->series = realloc(u->series, u->room * sizeof *u->series);
        ASSERT(u->series != NULL);
    }
    u->series[u->end++] = number;
    s->unstored = 1;
}

/* ---- what is applied ---- */

uint64_t
part_applied(const part *p, const uuid *generation, addr from)
{
    if (!uuid_eq(&p->generation, generation))
        return 0;
    for (uint32_t i = 0; i < p->applied_count; i++)
        if (p->applied[i].from == from)
            return p->applied[i].pos;
    return 0;
}

static void
note_applied(part *p, const journal_mark *mark)
{
    for (uint32_t i = 0; i < p->applied_count; i++) {
        if (p->applied[i].from != mark->from)
            continue;
        p->applied[i].pos = max_u64(p->applied[i].pos, mark->pos);
        return;
    }
    ASSERT(p->applied_count < JOURNAL_MARKS_MAX);
    p->applied[p->applied_count++] = *mark;
}

/* Blocks of another generation of lane files are of another count altogether. */
void
part_apply_marks(part *p, const journal_block *b)
{
    if (!uuid_eq(&p->generation, &b->generation)) {
        p->generation = b->generation;
        p->applied_count = 0;
    }
    for (uint32_t i = 0; i < b->mark_count; i++)
        note_applied(p, &b->marks[i]);
}

/* ---- rows into heads ---- */

/* Row i is ours now; what the rows behind it will touch is asked for. */
static inline void
prefetch(const part *p, const item *it, uint32_t i)
{
    if (LIKELY(i + 3 * PREFETCH < it->rows)) {
        series_prefetch(p->map, it->row[i + 3 * PREFETCH].series);
        heads_prefetch(p->heads, series_at(p->map, it->row[i + 2 * PREFETCH].series)->head);
        heads_prefetch_row(p->heads, series_at(p->map, it->row[i + PREFETCH].series)->head);
    }
}

static void
show_rows(part *p, const item *it, uint64_t lsn, part_row_fn *row_fn, void *ctx)
{
    for (uint32_t i = 0; i < it->rows; i++) {
        const reading_row *r = &it->row[i];
        head_row           row = { r->time_us, r->value };

        prefetch(p, it, i);
        part_show_row(p, r->series, series_at(p->map, r->series), &row, lsn + i);
        if (row_fn != NULL)
            row_fn(ctx, r->series, &row, lsn + i);
    }
}

void
part_show_erase(part *p, const item *it, uint64_t lsn)
{
    for (uint32_t i = 0; i < it->erased_count; i++)
        part_erase_show(p, &(erasure){ .series = load_u32(it->erased + i * 4),
                                       .from_us = it->erase.from_us,
                                       .to_us = it->erase.to_us,
                                       .lsn = lsn });
}

/* Whoever listens counts its own trouble (a full board): the series exists all the same. */
void
part_tell_series(part *p, uint32_t number)
{
    const series *s = series_at(p->map, number);

    if (p->events.series != NULL)
        (void)p->events.series(p->events.ctx, number, s->machine, s->tenant,
                               series_metric(p->map, number), series_unit(p->map, number));
}

/* A block's definitions count before its rows, wherever they stand in it. */
static void
tell_defined(part *p, view payload)
{
    item it;

    while (part_item_next(&payload, &it) == 1)
        if (it.kind == ITEM_SERIES)
            part_tell_series(p, it.series.number);
}

static void
show_block(part *p, uint64_t lsn, uint32_t rows, view payload, part_row_fn *row_fn, void *ctx)
{
    uint64_t last = lsn + (rows > 0 ? rows - 1 : 0);
    item     it;

    while (part_item_next(&payload, &it) == 1) {
        if (it.kind == ITEM_ERASE) {
            part_show_erase(p, &it, lsn++);
            p->staged_erasures -= it.erased_count;
        }
        if (it.kind != ITEM_ROWS)
            continue;
        show_rows(p, &it, lsn, row_fn, ctx);
        p->shown_rows += it.rows;
        lsn += it.rows;
    }
    p->shown_lsn = max_u64(p->shown_lsn, last);
}

static void
keep(part *p, const journal_block *b)
{
    kept_block *k = malloc(sizeof *k + b->payload.len);

    ASSERT(k != NULL);
    *k = (kept_block){ .first_lsn = b->first_lsn, .stamp = b->stamp, .rows = b->rows, .len = (uint32_t)b->payload.len };
    memcpy(k->payload, b->payload.at, b->payload.len);
    if (p->kept == NULL)
        p->kept_end = &p->kept;
    *p->kept_end = k;
    p->kept_end = &k->next;
    p->kept_bytes += k->len;
}

void
part_show(part *p, part_row_fn *row_fn, void *ctx)
{
    const journal_block *b = journal_ended(p->journal);

    ASSERT(b != NULL);
    tell_defined(p, b->payload);
    if (p->replaying)
        keep(p, b);
    else
        show_block(p, b->first_lsn, b->rows, b->payload, row_fn, ctx);
    part_apply_marks(p, b);
    p->flying_definitions = 0;
    journal_drop(p->journal);
}

bool
part_show_kept(part *p, part_row_fn *row_fn, void *ctx)
{
    kept_block *k = p->kept;

    ASSERT(!p->replaying);
    if (k == NULL)
        return false;
    show_block(p, k->first_lsn, k->rows, view_of(k->payload, k->len), row_fn, ctx);
    p->kept = k->next;
    p->kept_bytes -= k->len;
    free(k);
    return true;
}

uint64_t
part_kept_bytes(const part *p)
{
    return p->kept_bytes;
}

void
part_kept_free(part *p)
{
    for (kept_block *k; (k = p->kept) != NULL; free(k))
        p->kept = k->next;
}
