/* alert_silence.c - rules of type no_data: machines that should have been heard of, by deadline.
 *
 *   deadlines   [ since + duration | rule | machine ]   one entry a silent-able pair
 *
 * A reading only moves the pair's `since`; the entry is looked at when its time comes and goes back with the later
 * deadline.  So a million pairs cost what falls due, not a walk.  Time is the server's: what was silent while the server
 * was down is counted from its start.
 */
#include "actors/alert_internal.h"

#include <stdlib.h>

enum { LOOKS_A_TICK = 20000, BEHIND_US = 250000 };

static void
expect(alert *a, const board_rule *r, alert_state *s)
{
    if (s->queued)
        return;
    if (s->s.since_us < a->started_us)
        s->s.since_us = a->started_us;
    s->queued = true;
    deadlines_add(&a->silences, (deadline){ rule_due_us(r, &s->s), r->no, s->machine });
}

enum rule_turn
alert__heard(alert *a, const board_rule *r, alert_state *s)
{
    enum rule_turn t = rule_heard(r, &s->s, ak_wall_us(a->k));

    expect(a, r, s);
    return t;
}

/* One pair whose time has come. */
static void
look_at(alert *a, const deadline *due)
{
    const live_rule *l = due->what < a->rule_room && a->rule_at[due->what] != 0
                             ? &alert__rules(a)->rules[a->rule_at[due->what] - 1]
                             : NULL;
    alert_state     *s = alert__state_find(a, due->what, due->machine);
    feed_part       *f;
    int64_t          machine_us;
    double           seconds;

    if (s == NULL)
        return;
    s->queued = false;
    if (l == NULL || l->rule.type != RULE_NO_DATA || !alert__applies(a, &l->rule, due->machine, &machine_us))
        return;
    f = alert__feed_of(a, due->machine);
    if (f == NULL || f->behind || !f->placed || alert__is_done(s, alert__timer_pos(f->cursor) + 1)) {
        /* What it said may wait in the journal. */
        s->queued = true;
        deadlines_add(&a->silences, (deadline){ ak_wall_us(a->k) + BEHIND_US, due->what, due->machine });
    } else if (rule_silent(&l->rule, &s->s, ak_wall_us(a->k), &seconds) == RULE_OPENS) {
        a->states.changed = true;
        alert__take_turn(a, &l->rule, s, RULE_OPENS, alert__timer_pos(f->cursor), ak_wall_us(a->k), seconds);
    } else if (!s->s.open) {
        expect(a, &l->rule, s);
    }
}

void
alert__silences(alert *a)
{
    int64_t now_us = ak_wall_us(a->k);

    for (uint32_t i = 0; i < LOOKS_A_TICK && deadlines_due(&a->silences, now_us); i++) {
        deadline due;

        if (alert__turns_room(a) == 0)
            return;
        due = deadlines_take(&a->silences);
        look_at(a, &due);
    }
}

/* ---- who is expected ---- */
static bool
has_new_rule(alert *a)
{
    bool found = false;

    for (uint32_t i = 0; i < alert__rules(a)->count; i++) {
        const board_rule *r = &alert__rules(a)->rules[i].rule;

        if (r->type != RULE_NO_DATA || a->silence_version[r->no] == r->version)
            continue;
        a->silence_version[r->no] = r->version;
        found = true;
    }
    return found;
}

static void
expect_run(alert *a, const rule_run *run, uint32_t machine)
{
    for (uint32_t i = run->first; i < run->first + run->count; i++) {
        const board_rule *r = &alert__rules(a)->rules[i].rule;
        alert_state      *state;
        int64_t           machine_us;

        if (r->type != RULE_NO_DATA || !alert__applies(a, r, machine, &machine_us) ||
            (state = alert__state(a, r->no, machine)) == NULL)
            continue;
        if (state->s.since_us == 0)
            state->s.since_us = ak_wall_us(a->k);
        expect(a, r, state);
    }
}

static void
expect_series(alert *a, uint16_t part, uint32_t no)
{
    board       *b = ak_board(a->k);
    board_series s;
    rule_run     run[RULE_RUNS];

    if (!table_read(board_table(b, BOARD_SERIES, part), no, &s))
        return;
    ruleset_find(alert__rules(a), s.tenant, board_string(b, BOARD_SERIES, part, s.metric), s.machine, run);
    for (uint32_t i = 0; i < RULE_RUNS; i++)
        expect_run(a, &run[i], s.machine);
}

void
alert__silence_rules(alert *a)
{
    uint32_t max = 0;
    board   *b = ak_board(a->k);

    for (uint32_t i = 0; i < alert__rules(a)->count; i++)
        max = alert__rules(a)->rules[i].rule.no > max ? alert__rules(a)->rules[i].rule.no : max;
    if (max >= a->rule_room) {
        uint32_t room = max + 64;

        a->rule_at = realloc(a->rule_at, room * sizeof *a->rule_at);
        a->silence_version = realloc(a->silence_version, room * sizeof *a->silence_version);
        ASSERT(a->rule_at != NULL && a->silence_version != NULL);
        memset(a->silence_version + a->rule_room, 0, (room - a->rule_room) * sizeof *a->silence_version);
        a->rule_room = room;
    }
    if (a->rule_room > 0)
        memset(a->rule_at, 0, a->rule_room * sizeof *a->rule_at);
    for (uint32_t i = 0; i < alert__rules(a)->count; i++)
        a->rule_at[alert__rules(a)->rules[i].rule.no] = i + 1;
    if (!has_new_rule(a))
        return;
    for (uint16_t part = 0; part < board_parts(b); part++)
        for (uint32_t no = 1; no <= table_count(board_table(b, BOARD_SERIES, part)); no++)
            expect_series(a, part, no);
}

void
alert__silences_free(alert *a)
{
    deadlines_fini(&a->silences);
    free(a->rule_at);
    free(a->silence_version);
}
