/* alert_silence.c - rules of type no_data: machines that should have been heard of, by deadline.
 *
 *   heap   [ since + duration | rule | machine ]   earliest first, one entry a silent-able pair
 *
 * A reading only moves the pair's `since`; the entry is looked at when its time comes and goes back with the later
 * deadline.  So a million pairs cost what falls due, not a walk.  Time is the server's: what was silent while the server
 * was down is counted from its start.
 */
#include "actors/alert_internal.h"

#include <stdlib.h>

enum { LOOKS_A_TICK = 20000, BEHIND_US = 250000 };

static void
swap(silence *a, silence *b)
{
    silence was = *a;

    *a = *b;
    *b = was;
}

static void
push(alert *a, int64_t at_us, uint32_t rule, uint32_t machine)
{
    uint32_t i = a->silences;

    if (a->silences == a->silence_room) {
        a->silence_room = a->silence_room == 0 ? 256 : a->silence_room * 2;
        a->silence = realloc(a->silence, a->silence_room * sizeof *a->silence);
        ASSERT(a->silence != NULL);
    }
    a->silence[a->silences++] = (silence){ at_us, rule, machine };
    for (; i > 0 && a->silence[i].at_us < a->silence[(i - 1) / 2].at_us; i = (i - 1) / 2)
        swap(&a->silence[i], &a->silence[(i - 1) / 2]);
}

static silence
pop(alert *a)
{
    silence  top = a->silence[0];
    uint32_t i = 0;

    a->silence[0] = a->silence[--a->silences];
    for (;;) {
        uint32_t least = i;

        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < a->silences; child++)
            if (a->silence[child].at_us < a->silence[least].at_us)
                least = child;
        if (least == i)
            return top;
        swap(&a->silence[i], &a->silence[least]);
        i = least;
    }
}

static void
expect(alert *a, const board_rule *r, alert_state *s)
{
    if (s->queued)
        return;
    if (s->s.since_us < a->started_us)
        s->s.since_us = a->started_us;
    s->queued = true;
    push(a, rule_due_us(r, &s->s), r->no, s->machine);
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
look_at(alert *a, const silence *due)
{
    const live_rule *l = due->rule < a->rule_room && a->rule_at[due->rule] != 0
                             ? &a->rules.rules[a->rule_at[due->rule] - 1]
                             : NULL;
    alert_state     *s = alert__state_find(a, due->rule, due->machine);
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
        push(a, ak_wall_us(a->k) + BEHIND_US, due->rule, due->machine);
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

    for (uint32_t i = 0; i < LOOKS_A_TICK && a->silences > 0 && a->silence[0].at_us <= now_us; i++) {
        silence due;

        if (alert__turns_room(a) == 0)
            return;
        due = pop(a);
        look_at(a, &due);
    }
}

/* ---- who is expected ---- */
static bool
has_new_rule(alert *a)
{
    bool found = false;

    for (uint32_t i = 0; i < a->rules.count; i++) {
        const board_rule *r = &a->rules.rules[i].rule;

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
        const board_rule *r = &a->rules.rules[i].rule;
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
    ruleset_find(&a->rules, s.tenant, board_string(b, BOARD_SERIES, part, s.metric), s.machine, run);
    for (uint32_t i = 0; i < RULE_RUNS; i++)
        expect_run(a, &run[i], s.machine);
}

void
alert__silence_rules(alert *a)
{
    uint32_t max = 0;
    board   *b = ak_board(a->k);

    for (uint32_t i = 0; i < a->rules.count; i++)
        max = a->rules.rules[i].rule.no > max ? a->rules.rules[i].rule.no : max;
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
    for (uint32_t i = 0; i < a->rules.count; i++)
        a->rule_at[a->rules.rules[i].rule.no] = i + 1;
    if (!has_new_rule(a))
        return;
    for (uint16_t part = 0; part < board_parts(b); part++)
        for (uint32_t no = 1; no <= table_count(board_table(b, BOARD_SERIES, part)); no++)
            expect_series(a, part, no);
}

void
alert__silences_free(alert *a)
{
    free(a->silence);
    free(a->rule_at);
    free(a->silence_version);
}
