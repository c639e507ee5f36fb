/* alert_feed.c - each partition's readings in the order of their lsn, none left out, none twice.
 *
 *   WATCHED (after, upto]   after <= cursor: its rows behind the cursor are judged, cursor = upto
 *                           after >  cursor: something is missing: it waits in the stash, CATCH_UP cursor
 *   CAUGHT  (after, upto]   the same, from the journal, until it meets the stash
 *
 * A partition that has no cursor yet (a first start) is asked where to begin; nothing of it is judged before that is on
 * the disk, so that no reading lies between what was judged and what a successor would begin with.
 */
#include "actors/alert_internal.h"

#include "proto/err.h"
#include "proto/log.h"

#include <inttypes.h>
#include <stdlib.h>

#define WITHIN_NS (5ull * 1000000000)
enum { STASH_MAX = 256 << 10 };

feed_part *
alert__feed_of(alert *a, uint32_t machine)
{
    board_machine m;

    if (!table_read(board_table(ak_board(a->k), BOARD_MACHINES, 0), machine, &m) || m.part >= a->feed_count)
        return NULL;
    return &a->feeds[m.part];
}

/* ---- judging ---- */

/* False: transitions wait, and there is no room for more: the rest has to be asked for again. */
static bool
take_rows(alert *a, feed_part *f, const watched_head *h, const uint8_t *rows)
{
    uint32_t    series_max = table_capacity(board_table(ak_board(a->k), BOARD_SERIES, h->part));
    reading_row row;

    for (uint32_t i = 0; i < h->rows; i++) {
        uint64_t lsn;

        memcpy(&row, rows + i * sizeof row, sizeof row);
        lsn = h->lsn + row.flags;
        if (lsn <= f->cursor || row.series > series_max)
            continue;
        if (!alert__has_room(a, h->part, row.series))
            return false;
        alert__judge_row(a, h->part, &row, lsn, h->rules);
        f->cursor = lsn;
        a->states.changed = true;
    }
    if (h->rows > 0)
        f->stamp = max_u64(f->stamp, h->rules);
    if (h->upto > f->cursor) {
        f->cursor = h->upto;
        a->states.changed = true;
    }
    f->known = max_u64(f->known, f->cursor);
    return true;
}

/* ---- behind a hole ---- */

static void
stash_add(feed_part *f, const watched_head *h, const uint8_t *rows)
{
    uint32_t len = (uint32_t)(sizeof *h + h->rows * sizeof(reading_row));

    if (f->stash_len > 0 && (h->after != f->stash_upto || f->stash_len + len > STASH_MAX))
        f->stash_len = 0; /* another hole, or too much: the journal has it */
    if (f->stash_len + len > f->stash_room) {
        f->stash_room = f->stash_len + len > STASH_MAX / 4 ? STASH_MAX : STASH_MAX / 4;
        f->stash = realloc(f->stash, f->stash_room);
        ASSERT(f->stash != NULL);
    }
    if (f->stash_len == 0)
        f->stash_after = h->after;
    memcpy(f->stash + f->stash_len, h, sizeof *h);
    memcpy(f->stash + f->stash_len + sizeof *h, rows, len - sizeof *h);
    f->stash_len += len;
    f->stash_upto = h->upto;
}

/* True: it was met, and all of it is judged. */
static bool
stash_take(alert *a, feed_part *f)
{
    watched_head h;

    if (f->stash_len == 0 || f->stash_after > f->cursor)
        return false;
    for (uint32_t at = 0; at < f->stash_len; at += (uint32_t)(sizeof h + h.rows * sizeof(reading_row))) {
        memcpy(&h, f->stash + at, sizeof h);
        if (!take_rows(a, f, &h, f->stash + at + sizeof h)) {
            f->stash_len = 0;
            return false;
        }
    }
    f->stash_len = 0;
    return true;
}

static void
fall_behind(alert *a, feed_part *f)
{
    if (!f->behind)
        count_add(ak_counters(a->k), COUNT_ALERT_GAPS, 1);
    f->behind = true;
}

void
alert__feed_take(alert *a, const watched_head *h, const void *rows)
{
    feed_part *f = &a->feeds[h->part];

    if (h->flags & WATCHED_STARTED) {
        f->told = (judged_note){ 0 }; /* it has to hear it again */
        if (f->placed && h->upto < f->cursor)
            fall_behind(a, f); /* the journal has lost its end */
    }
    if (!f->placed || f->fresh)
        return;
    if (h->flags & WATCHED_PRESSED) {
        a->save_due = true;
        alert__save(a);
    }
    if (h->after > f->cursor) {
        fall_behind(a, f);
        stash_add(f, h, rows);
    } else if (!take_rows(a, f, h, rows)) {
        fall_behind(a, f);
    }
    alert__feeds_go(a);
}

/* ---- asking ---- */

static bool
ask(alert *a, uint16_t part)
{
    feed_part *f = &a->feeds[part];
    judged_note j = { .upto = f->placed ? f->cursor : CATCH_UP_ANEW, .saved = f->saved, .known = f->known };

    f->asked = ak_ask(a->k, addr_of(KIND_INGEST, part), MSG_CATCH_UP, &j, sizeof j, WITHIN_NS, f) != 0;
    return f->asked;
}

/* Not while half of the room for transitions is taken: their answers call this again. */
void
alert__feeds_go(alert *a)
{
    if (!a->loaded || !a->rules_known || a->fetch.asked || alert__turns_room(a) < TURNS_MAX / 2)
        return;
    for (uint16_t i = 0; i < a->feed_count; i++) {
        feed_part *f = &a->feeds[i];

        if (f->asked || (f->placed && (f->fresh || !f->behind)))
            continue;
        if (!ask(a, i))
            alert__retry_later(a);
    }
}

static void
place(alert *a, feed_part *f, const watched_head *h)
{
    /* What lies in a whole journal has never been judged, unless by a version that kept no cursors. */
    f->cursor = h->trimmed > 0 || a->was_there ? h->upto : 0;
    f->placed = f->fresh = true;
    log_info("alert.begins", "part=%td lsn=%" PRIu64, f - a->feeds, f->cursor);
    a->save_due = true;
    if (!a->saving.flying)
        alert__save(a);
}

static void
note_lost(alert *a, feed_part *f, const watched_head *h)
{
    if (h->trimmed <= f->cursor)
        return;
    count_add(ak_counters(a->k), COUNT_ALERT_LOST, h->trimmed - f->cursor);
    log_warn("alert.unjudged", "part=%td from=%" PRIu64 " to=%" PRIu64 " why=\"no longer in the journal\"", f - a->feeds,
             f->cursor + 1, h->trimmed);
}

static void
take_caught(alert *a, feed_part *f, const watched_head *h, const uint8_t *rows)
{
    bool whole;

    if (!f->placed) {
        place(a, f, h);
        return;
    }
    if (h->flags & WATCHED_BEHIND) {
        log_warn("alert.journal_lost", "part=%td judged=%" PRIu64 " there=%" PRIu64, f - a->feeds, f->cursor, h->upto);
        f->cursor = h->upto;
        f->stash_len = 0;
        f->behind = false;
        a->states.changed = true;
        return;
    }
    note_lost(a, f, h);
    count_add(ak_counters(a->k), COUNT_ALERT_CAUGHT, h->rows);
    whole = take_rows(a, f, h, rows);
    if (whole && stash_take(a, f))
        f->behind = false;
    else if (whole && f->stash_len == 0)
        f->behind = (h->flags & WATCHED_MORE) != 0;
}

void
alert__feed_answered(alert *a, feed_part *f, const ak_msg *m)
{
    watched_head h;

    f->asked = false;
    if (m->type == MSG_CAUGHT) {
        memcpy(&h, m->body, sizeof h);
        if (h.part != f - a->feeds || h.rows > (m->len - sizeof h) / sizeof(reading_row))
            return;
        if (!alert__can_judge(a, h.rules)) /* it is asked for again then */
            return;
        take_caught(a, f, &h, (const uint8_t *)m->body + sizeof h);
        alert__feeds_go(a);
    } else {
        alert__retry_later(a);
    }
}

/* ---- what ingest hears ---- */

void
alert__feeds_tell(alert *a)
{
    for (uint16_t i = 0; i < a->feed_count; i++) {
        feed_part *f = &a->feeds[i];
        judged_note j = { .upto = f->cursor, .saved = f->saved, .known = f->known };

        if (f->placed && !f->fresh && memcmp(&j, &f->told, sizeof j) != 0 &&
            ak_send(a->k, addr_of(KIND_INGEST, i), MSG_JUDGED, &j, sizeof j) == E_OK)
            f->told = j;
    }
}

void
alert__feeds_saved(alert *a)
{
    for (uint16_t i = 0; i < a->feed_count; i++) {
        feed_part *f = &a->feeds[i];

        if (!a->saving.placed[i])
            continue;
        f->saved = a->saving.cursor[i];
        f->fresh = false;
    }
    alert__feeds_tell(a);
    alert__feeds_go(a);
}

/* ---- life ---- */

void
alert__feeds_open(alert *a)
{
    uint16_t parts = ak_parts(a->k, KIND_INGEST);

    a->feed_count = parts < BOARD_PARTS_MAX ? parts : BOARD_PARTS_MAX;
    if (a->feed_count > board_parts(ak_board(a->k)))
        a->feed_count = board_parts(ak_board(a->k));
    for (uint16_t i = 0; i < a->feed_count; i++)
        a->feeds[i].behind = true;
}

void
alert__feeds_close(alert *a)
{
    for (uint16_t i = 0; i < BOARD_PARTS_MAX; i++)
        free(a->feeds[i].stash);
}
