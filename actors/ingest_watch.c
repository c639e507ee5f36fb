/* ingest_watch.c - rows whose series has a rule, to the alert actor: each once and in order, or it knows of the hole.
 *
 *   a commit's rows ──WATCHED (after, upto]──▶ alert         shed when its lane is full
 *   alert ──CATCH_UP after──▶ a helper reads the journal ──CAUGHT (after, upto]──▶ alert
 *   alert ──JUDGED upto, saved──▶ the journal is held behind `saved`
 *
 * Nobody here waits for the alert actor.  What it missed (a shed message, a crash on either side) it sees by `after`, and
 * asks for; a piece of an answer is bounded.  While it has not said how far it is, the position is said again, so that
 * a crossing in the last rows before a silence is not overlooked.  "Watched" is by the rules of now: rows that no rule
 * can want may be left out of both ways alike.  Of a commit, rows between the tightest bounds of their series are left
 * out as well (rule_bounds); the journal's all come: they make the same turns.  Of a block that was closed before the rules
 * changed, the rows of every series come: the alert actor judges them by the rules that were in force then.
 */
#include "actors/ingest_internal.h"

#include "proto/err.h"
#include "proto/log.h"

#include <inttypes.h>
#include <stdlib.h>

enum { LATE_MAX = 1 << 20, CAUGHT_LEN_MAX = 32768, CAUGHT_ROWS_MAX = (CAUGHT_LEN_MAX - sizeof(watched_head)) / sizeof(reading_row) };

static const addr the_alert = (addr)KIND_ALERT << 32;

/* ---- rules ---- */

void
ingest__refresh_rules(ingest *in)
{
    board *b = ak_board(in->k);

    if (in->rules.seq == board_rules_seq(b) || ruleset_load(&in->rules, b) == E_OK)
        return;
    log_warn("ingest.rules", "text=%s", log_quote(view_str(err_text())));
    err_clear();
}

static rule_bounds *
bounds_of(ingest *in, series_slot *s)
{
    if (s->bounds == 0) {
        if (in->bounds_count == in->bounds_room) {
            in->bounds_room = in->bounds_room == 0 ? 256 : in->bounds_room * 2;
            in->bounds = realloc(in->bounds, in->bounds_room * sizeof *in->bounds);
            ASSERT(in->bounds != NULL);
        }
        s->bounds = ++in->bounds_count;
    }
    return &in->bounds[s->bounds - 1];
}

/* Any live rule on the metric of that series and machine counts; whether the machine is in a rule's group is for the
 * alert actor to see. */
void
ingest__look_at_rules(ingest *in, uint32_t no, series_slot *s)
{
    board       *b = ak_board(in->k);
    board_series r;
    rule_run     run[RULE_RUNS];
    rule_bounds *bounds;

    s->watched = false;
    s->hot = true;
    s->watch_seq = (uint32_t)in->rules.seq + 1;
    if (in->rules.count == 0 || !table_read(board_table(b, BOARD_SERIES, in->number), no, &r))
        return;
    ruleset_find(&in->rules, s->tenant, board_string(b, BOARD_SERIES, in->number, r.metric), s->machine, run);
    s->watched = run[0].count + run[1].count > 0;
    if (!s->watched)
        return;
    bounds = bounds_of(in, s);
    rule_bounds_init(bounds);
    for (const rule_run *u = run; u < run + RULE_RUNS; u++)
        for (uint32_t i = u->first; i < u->first + u->count; i++)
            rule_bounds_add(bounds, &in->rules.rules[i].rule, in->rules.rules[i].count);
}

/* Can any of its rules make something of that row?  is_newest: no row of the series before it is newer. */
bool
ingest__is_wanted(const ingest *in, series_slot *s, bool is_newest, double value)
{
    const rule_bounds *b = s->bounds != 0 ? &in->bounds[s->bounds - 1] : NULL;

    if (!is_newest)
        return s->watched && b->hears;
    return in->watch.all || rule_bounds_want(b, &s->hot, value);
}

/* Late rows are not handed on when they come, and not when they are read again: so they are remembered. */
void
ingest__note_late(void *ctx, uint64_t lsn)
{
    ingest *in = ctx;
    watch  *w = &in->watch;

    if (w->late_end == w->late_room && w->late_first >= w->late_room / 2 && w->late_room > 0) {
        memmove(w->late, w->late + w->late_first, (w->late_end - w->late_first) * sizeof *w->late);
        w->late_end -= w->late_first;
        w->late_first = 0;
    }
    if (w->late_end == w->late_room) {
        w->late_room = w->late_room == 0 ? 1024 : w->late_room * 2;
        w->late = realloc(w->late, w->late_room * sizeof *w->late);
        ASSERT(w->late != NULL);
    }
    w->late[w->late_end++] = lsn;
    if (w->late_end - w->late_first > LATE_MAX)
        w->late_first++;
}

static void
forget_late(watch *w)
{
    while (w->late_first < w->late_end && w->late[w->late_first] <= w->judged.saved)
        w->late_first++;
    if (w->late_first == w->late_end)
        w->late_first = w->late_end = 0;
}

/* ---- what the journal must hold ---- */

static void
hold(ingest *in)
{
    const watch *w = &in->watch;
    bool         all = w->rows_max == 0 || in->rules.seq == 0; /* there has never been a rule */

    part_hold(in->part, all ? UINT64_MAX : w->heard ? w->judged.saved : 0);
}

ak_verdict
ingest__on_judged(ak *k, void *self, const ak_msg *m)
{
    ingest     *in = self;
    watch      *w = &in->watch;
    judged_note j;

    (void)k;
    memcpy(&j, m->body, sizeof j);
    part_skip_to(in->part, j.known);
    if (in->replaying) /* it is told that we are here when that is through */
        return AK_DONE;
    w->judged = j;
    w->heard = true;
    forget_late(w);
    hold(in);
    return AK_DONE;
}

/* ---- rows of a commit ---- */

void
ingest__watch_send(ingest *in)
{
    watch        *w = &in->watch;
    watched_head *h = (void *)w->body;
    uint32_t      rows = w->rows;

    if (rows == 0)
        return;
    h->rows = rows;
    w->rows = 0;
    w->upto = h->upto;
    hold(in);
    (void)!ak_send(in->k, the_alert, MSG_WATCHED, w->body, (uint32_t)(sizeof *h + rows * sizeof(reading_row)));
}

void
ingest__watch_row(ingest *in, const reading_row *r, uint64_t lsn)
{
    watch        *w = &in->watch;
    watched_head *h;
    reading_row  *to;

    if (w->rows_max == 0)
        return;
    if (w->body == NULL) {
        w->body = malloc(FEED_LEN_MAX);
        ASSERT(w->body != NULL);
    }
    if (w->rows == w->rows_max)
        ingest__watch_send(in);
    h = (void *)w->body;
    if (w->rows == 0)
        *h = (watched_head){ .part = in->number, .after = w->upto, .lsn = lsn, .rules = part_stamped(in->part) };
    to = (reading_row *)(void *)(w->body + sizeof *h) + w->rows++;
    *to = *r;
    to->flags = (uint32_t)(lsn - h->lsn); /* a block has fewer rows */
    h->upto = lsn;
}

static void
announce(ingest *in, uint16_t flags)
{
    watched_head h = { .part = in->number, .after = in->watch.upto, .upto = in->watch.upto };

    h.flags = flags | (in->watch.heard ? 0 : WATCHED_STARTED);
    (void)!ak_send(in->k, the_alert, MSG_WATCHED, &h, sizeof h);
}

/* Up to here nothing more was wanted: so the journal is held for what comes behind, and is all there for it. */
static void
advance(ingest *in)
{
    watch       *w = &in->watch;
    watched_head h = { .part = in->number, .after = w->upto, .upto = part_shown(in->part) };

    if (h.upto == h.after || in->rules.seq == 0)
        return;
    w->upto = h.upto;
    (void)!ak_send(in->k, the_alert, MSG_WATCHED, &h, sizeof h);
}

void
ingest__watch_second(ingest *in)
{
    const watch *w = &in->watch;

    if (w->rows_max == 0)
        return;
    advance(in);
    hold(in);
    if (!w->heard || w->judged.upto < w->upto)
        announce(in, 0);
}

void
ingest__watch_tend(ingest *in)
{
    watch *w = &in->watch;

    if (w->rows_max == 0 || w->pressed_upto == w->judged.saved || !part_is_held(in->part))
        return;
    w->pressed_upto = w->judged.saved; /* once for each file of its */
    advance(in);
    announce(in, WATCHED_PRESSED);
}

/* ---- rows of the journal ---- */

static void
answer(ingest *in, watched_head *h)
{
    watch *w = &in->watch;

    h->part = in->number;
    h->trimmed = part_trimmed(in->part);
    w->asked = false;
    ak_reply(in->k, &w->ask, MSG_CAUGHT, h, (uint32_t)(sizeof *h + h->rows * sizeof(reading_row)));
}

static bool
is_late(const ingest *in, const series_slot *s, const part_again_row *r)
{
    const watch *w = &in->watch;
    uint32_t     low = w->late_first, high = w->late_end;

    if (s->latest.lsn < r->lsn && r->row.time_us < s->latest.time_us)
        return true;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (w->late[mid] < r->lsn)
            low = mid + 1;
        else
            high = mid;
    }
    return low < w->late_end && w->late[low] == r->lsn;
}

static bool
is_watched(ingest *in, uint32_t no, const part_again_row *r)
{
    series_slot *s = no < in->series_room ? &in->series[no] : NULL;

    if (s == NULL || s->machine == 0)
        return false;
    if (s->watch_seq != (uint32_t)in->rules.seq + 1)
        ingest__look_at_rules(in, no, s);
    if (is_late(in, s, r)) /* the alert actor may not know behind what: that may have been at rest */
        return s->watched && in->bounds[s->bounds - 1].hears;
    return s->watched || r->stamp < in->rules.seq;
}

/* A piece of what was read: rows under the same rules. */
static void
answer_read(ingest *in)
{
    watch               *w = &in->watch;
    watched_head        *h = (void *)w->caught;
    reading_row         *to = (void *)(w->caught + sizeof *h);
    const part_again_row *r;

    w->fresh = false;
    *h = (watched_head){ .after = w->after };
    for (; (r = part_again_peek(w->replay)) != NULL; part_again_skip(w->replay)) {
        if (!is_watched(in, r->series, r))
            continue;
        if (h->rows == CAUGHT_ROWS_MAX || (h->rows > 0 && (r->stamp != h->rules || r->lsn - h->lsn > UINT32_MAX)))
            break;
        if (h->rows == 0) {
            h->rules = r->stamp;
            h->lsn = r->lsn;
        }
        to[h->rows++] = (reading_row){ .series = r->series,
                                       .flags = (uint32_t)(r->lsn - h->lsn),
                                       .time_us = r->row.time_us,
                                       .value = r->row.value };
    }
    h->upto = max_u64(w->after, part_again_upto(w->replay));
    h->flags = h->upto < part_shown(in->part) ? WATCHED_MORE : 0;
    answer(in, h);
}

static void serve(ingest *in);

static void
read_done(ak *k, void *self, void *job)
{
    ingest *in = self;
    watch  *w = &in->watch;
    int     rc = part_again_end(w->replay);

    (void)job;
    w->reading = false;
    w->fresh = rc == E_OK;
    if (!w->asked)
        return;
    if (rc < 0) {
        log_warn("ingest.replay", "text=%s", log_quote(view_str(err_text())));
        err_clear();
        w->asked = false;
        ak_fail(k, &w->ask, E_IO);
        return;
    }
    serve(in);
}

static void
read_journal(void *job)
{
    part_again_read(job);
}

static void
begin_read(ingest *in, uint64_t after)
{
    watch *w = &in->watch;

    w->fresh = false;
    part_again_begin(w->replay, after);
    w->reading = ak_help(in->k, read_journal, read_done, w->replay) == E_OK;
    if (w->reading)
        return;
    w->asked = false;
    ak_fail(in->k, &w->ask, E_AGAIN);
}

/* At the front of what was read, or read on. */
static void
serve(ingest *in)
{
    watch   *w = &in->watch;
    uint64_t shown = part_shown(in->part);
    uint64_t from = max_u64(w->after, part_trimmed(in->part));

    ingest__refresh_rules(in);
    if (w->after == CATCH_UP_ANEW)
        answer(in, &(watched_head){ .upto = shown });
    else if (w->after > shown)
        answer(in, &(watched_head){ .after = shown, .upto = shown, .flags = WATCHED_BEHIND });
    else if (in->rules.seq == 0 || w->after == shown) /* there has never been a rule */
        answer(in, &(watched_head){ .after = w->after, .upto = shown });
    else if (part_again_upto(w->replay) == from && (w->fresh || part_again_peek(w->replay) != NULL))
        answer_read(in);
    else
        begin_read(in, from);
}

ak_verdict
ingest__on_catch_up(ak *k, void *self, const ak_msg *m)
{
    ingest *in = self;
    watch  *w = &in->watch;
    judged_note j;

    memcpy(&j, m->body, sizeof j);
    if (in->replaying) {
        part_skip_to(in->part, j.known);
        ak_fail(k, m, E_AGAIN);
        return AK_DONE;
    }
    /* One is asked at a time: who asked the one before is dead, and its answer goes nowhere. */
    w->ask = *m;
    w->ask.body = NULL;
    w->after = j.upto;
    w->asked = true;
    part_skip_to(in->part, j.known);
    if (!w->reading)
        serve(in);
    return AK_DONE;
}

/* ---- life ---- */

void
ingest__open_watch(ingest *in)
{
    watch   *w = &in->watch;
    uint32_t len = ak_body_max(in->k, the_alert) / 4; /* a note that takes much of a lane is shed first */

    if (len > FEED_LEN_MAX)
        len = FEED_LEN_MAX;
    w->rows_max = len < sizeof(watched_head) ? 0 : (uint32_t)((len - sizeof(watched_head)) / sizeof(reading_row));
    w->upto = part_shown(in->part);
    hold(in);
    if (w->rows_max == 0)
        return;
    w->caught = malloc(CAUGHT_LEN_MAX);
    ASSERT(w->caught != NULL);
    w->replay = part_again_new(in->part);
    w->pressed_upto = UINT64_MAX;
    announce(in, 0);
}

void
ingest__close_watch(ingest *in)
{
    free(in->watch.body);
    free(in->watch.caught);
    free(in->watch.late);
    free(in->bounds);
    part_again_free(&in->watch.replay);
}
