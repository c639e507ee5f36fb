/* part_replay.c - blocks of the journal, applied once more at open, or from then on by and by.
 *
 *   open: files are read --peek--> which blocks define series --early--> names, numbers, what of the lanes is applied
 *         from here on the partition takes blocks; those that are written are kept in memory (part_show.c)
 *   replay, piece by piece: rows into heads, deletes
 *         then the kept ones are shown, in their order
 *
 * What is replayed was applied in the same order before, so it meets the same numbers.  A row is skipped when its series
 * is sealed up to its lsn or beyond.
 */
#include "storage/part_inner.h"

#include <inttypes.h>

#include "proto/err.h"
#include "proto/log.h"

/* A definition may be older than what the database has. */
static int
replay_series(part *p, const item *it, uint64_t block_lsn)
{
    uint32_t number = it->series.number;
    series  *s;

    if (!series_reserve(p->map, number))
        return E_BAD;
    s = series_at(p->map, number);
    if (s->machine != 0 && s->defined_lsn > block_lsn)
        return E_OK;
    if (s->machine == 0 && series_find(p->map, it->name.machine, it->name.metric) != 0)
        return E_BAD; /* two numbers for one name: damage */
    if (s->machine == 0)
        series_add(p->map, number, &it->name);
    else if (!view_eq(series_unit(p->map, number), it->name.unit))
        series_set_unit(p->map, number, it->name.unit);
    else
        return E_OK; /* the database has it */
    s->defined_lsn = block_lsn;
    part_note_unstored(p, number);
    part_tell_series(p, number);
    return E_OK;
}

/* As prefetch(), of rows that nobody has judged. */
static inline void
replay_prefetch(const part *p, const item *it, uint32_t i)
{
    uint32_t known = series_count(p->map);

    if (UNLIKELY(i + 3 * PREFETCH >= it->rows))
        return;
    series_prefetch(p->map, it->row[i + 3 * PREFETCH].series);
    if (it->row[i + 2 * PREFETCH].series - 1 < known) /* 0 is no series */
        heads_prefetch(p->heads, series_at(p->map, it->row[i + 2 * PREFETCH].series)->head);
    if (it->row[i + PREFETCH].series - 1 < known)
        heads_prefetch_row(p->heads, series_at(p->map, it->row[i + PREFETCH].series)->head);
}

static void
replay_rows(part *p, const item *it, uint64_t lsn)
{
    for (uint32_t i = 0; i < it->rows; i++) {
        const reading_row *r = &it->row[i];
        head_row           row = { r->time_us, r->value };
        series            *s;

        replay_prefetch(p, it, i);
        if (r->series == 0 || !series_reserve(p->map, r->series) ||
            (s = series_at(p->map, r->series))->machine == 0) {
            p->lost_rows++;
            continue;
        }
        if (lsn + i <= s->sealed_lsn)
            continue;
        if (UNLIKELY(r->time_us < s->latest_us) && s->latest_lsn != 0 && p->events.late != NULL)
            p->events.late(p->events.ctx, lsn + i);
        part_show_row(p, r->series, s, &row, lsn + i);
        p->replayed_rows++;
    }
}

bool
part_replay_peek(void *ctx, const journal_block *b)
{
    part    *p = ctx;
    view     payload = b->payload;
    item     it;
    uint32_t most = 0;
    bool     defines = false;

    while (part_item_next(&payload, &it) == 1) {
        defines |= it.kind == ITEM_SERIES;
        for (uint32_t i = 0; it.kind == ITEM_ROWS && i < it.rows; i++)
            most = most > it.row[i].series ? most : it.row[i].series;
    }
    /* A number that rows have is not given to another series, whatever became of its definition. */
    (void)series_reserve(p->map, most);
    p->next_lsn = max_u64(p->next_lsn, b->first_lsn + (b->rows > 0 ? b->rows : 1));
    return defines;
}

int
part_replay_early(void *ctx, const journal_block *b)
{
    part    *p = ctx;
    view     payload = b->payload;
    item     it;
    uint32_t bad = 0;
    int      rc;

    if (b->first_lsn <= p->early_lsn)
        return E_OK;
    while ((rc = part_item_next(&payload, &it)) == 1)
        if (it.kind == ITEM_SERIES && replay_series(p, &it, b->first_lsn) < 0)
            bad++;
    part_apply_marks(p, b);
    part_stamp(p, b->stamp);
    p->early_lsn = b->first_lsn;
    if (rc < 0 || bad > 0)
        log_error("part.bad_block", "dir=%s lsn=%" PRIu64 " bad_series=%u", p->dir, b->first_lsn, bad);
    return E_OK;
}

int
part_replay_block(void *ctx, const journal_block *b)
{
    part    *p = ctx;
    uint64_t lsn = b->first_lsn;
    view     payload = b->payload;
    item     it;

    /* Blocks that overlap what was replayed cannot come from us. */
    if (b->first_lsn <= p->replayed_lsn)
        return E_OK;
    while (part_item_next(&payload, &it) == 1) {
        if (it.kind == ITEM_ERASE)
            part_show_erase(p, &it, lsn++);
        if (it.kind != ITEM_ROWS)
            continue;
        replay_rows(p, &it, lsn);
        lsn += it.rows;
    }
    p->replayed_lsn = b->first_lsn + (b->rows > 0 ? b->rows - 1 : 0);
    p->next_lsn = max_u64(p->next_lsn, p->replayed_lsn + 1);
    return E_OK;
}

/* ---- by and by ---- */

void
part_tell_latest(part *p)
{
    for (uint32_t i = 1; p->events.latest != NULL && i <= series_count(p->map); i++) {
        const series *s = series_at(p->map, i);

        if (s->machine != 0 && s->latest_lsn != 0)
            p->events.latest(p->events.ctx, i, s->latest_us, s->latest, s->latest_lsn);
    }
}

bool
part_is_replaying(const part *p)
{
    return p->replaying;
}

int
part_replay(part *p, uint64_t bytes, bool *more)
{
    int rc;

    *more = false;
    if (!p->replaying)
        return E_OK;
    rc = journal_replay(p->journal, bytes, more);
    if (rc < 0 || *more)
        return rc;
    p->replaying = false;
    p->shown_lsn = max_u64(p->shown_lsn, p->opened_lsn);
    if (p->lost_rows > 0)
        log_error("part.lost_rows", "dir=%s rows=%" PRIu64 " why=series_unknown", p->dir, p->lost_rows);
    part_tell_latest(p);
    return E_OK;
}

const journal_report *
part_reported(const part *p)
{
    return journal_reported(p->journal);
}
