/* alert.c - judges watched readings by the rules, and derives each machine's status.
 *
 *   ingest.p --WATCHED--> rules --OPEN, CLOSE--> registry --EVENT--> fronts
 *   board: arrivals, open alerts, time --> STATUS_CHANGED --^
 *
 * Exactly once: readings of a partition are judged in the order of their lsn and none is left out (alert_feed.c);
 * what is found out from them depends on nothing else; the file (alert_save.c) says up to where, with all that is known
 * there and the transitions that the registry has not answered; and the registry stores with a transition where it
 * was decided, and takes none of the same rule and machine that is not later.  So whoever dies, what is judged again
 * leads to the same transitions, and those that were made already are not made again.
 *
 * Nothing is judged before the registry has told which alerts are open.  Transitions reach it in order for each
 * rule and machine, and are asked again until it answers.
 */
#include "actors/alert_internal.h"

#include "actors/kinds.h"
#include "proto/err.h"
#include "proto/log.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SAVE_EVERY_TICKS = 20 }; /* a sync that the registry may have to wait behind */
#define TICK_NS (250ull * 1000000)

void
alert__log_error(const char *event)
{
    log_warn(event, "text=%s", log_quote(view_str(err_text())));
    err_clear();
}

/* ---- rules ---- */

void
alert__rules_changed(alert *a)
{
    alert__states_prune(a);
    alert__silence_rules(a);
}

bool
alert__applies(const alert *a, const board_rule *r, uint32_t machine, int64_t *machine_us)
{
    board_machine m;

    *machine_us = 0;
    if (r->machine != 0 && r->machine != machine)
        return false;
    if (r->group == 0)
        return true;
    if (!table_read(board_table(ak_board(a->k), BOARD_MACHINES, 0), machine, &m) || m.group != r->group)
        return false;
    *machine_us = m.updated_us;
    return true;
}

/* ---- readings ---- */

/* The machine may have left the group and come back, and its alert was closed: to open an open one changes nothing. */
static enum rule_turn
judge_again(const live_rule *l, alert_state *s, int64_t machine_us, double value, enum rule_turn t)
{
    const board_rule *r = &l->rule;
    bool              changed = s->machine_us != machine_us;
    bool              has_hysteresis = l->count == 0 && (r->type == RULE_THRESHOLD || r->type == RULE_RATE);

    s->machine_us = machine_us;
    if (!changed || t != RULE_STAYS || !s->s.open || (has_hysteresis && !rule_compare(r->op, value, r->threshold)))
        return t;
    return RULE_OPENS;
}

void
alert__take_turn(alert *a, const board_rule *r, alert_state *s, enum rule_turn t, uint64_t pos, int64_t time_us,
                 double value)
{
    s->flying++;
    alert__turn(a, &(turn){ .rule = r->no, .version = r->version, .machine = s->machine, .tenant = r->tenant, .opens = t == RULE_OPENS,
                            .pos = pos, .time_us = time_us, .value = value, .peak = s->s.peak });
}

static void
judge(alert *a, const live_rule *l, uint32_t machine, int64_t machine_us, const reading_row *row, uint64_t pos)
{
    const board_rule *r = &l->rule;
    alert_state      *s = alert__state(a, r->no, machine);
    enum rule_turn    t;
    double            shown = row->value;
    bool              done;

    if (s == NULL || alert__turns_room(a) == 0) {
        if (a->lost++ == 0)
            log_warn("alert.overrun", "states=%u", a->states.count);
        return;
    }
    done = alert__is_done(s, pos);
    if (r->type == RULE_NO_DATA) {
        t = alert__heard(a, r, s);
    } else {
        t = rule_judge_part(r, l->conditions, l->count, l->which, &s->s, row->time_us, row->value, &shown);
        t = judge_again(l, s, machine_us, shown, t);
    }
    a->states.changed = true;
    if (t != RULE_STAYS && !done)
        alert__take_turn(a, r, s, t, pos, row->time_us, shown);
}

static uint32_t
count_rules(const watched_series *w)
{
    return w == NULL ? 0 : w->run[0].count + w->run[1].count;
}

bool
alert__has_room(alert *a, uint16_t part, uint32_t series)
{
    const watched_series *now = alert__series_of(a, &a->now, part, series);
    const watched_series *past = alert__series_of(a, &a->past, part, series);
    uint32_t              count = count_rules(now) + count_rules(past);

    return alert__turns_room(a) >= count || alert__turns_room(a) == TURNS_MAX;
}

/* By those of a run that were in force when the row's block was closed. */
static void
judge_run(alert *a, const live_rule *rules, uint32_t count, uint32_t machine, const reading_row *row, uint64_t lsn,
          uint64_t stamp)
{
    int64_t machine_us;

    for (const live_rule *l = rules; l < rules + count; l++)
        if (l->rule.changed <= stamp && (l->rule.until == 0 || stamp < l->rule.until) &&
            alert__applies(a, &l->rule, machine, &machine_us))
            judge(a, l, machine, machine_us, row, alert__row_pos(lsn));
}

static void
judge_by(alert *a, rule_book *book, uint16_t part, const reading_row *row, uint64_t lsn, uint64_t stamp)
{
    const watched_series *w = alert__series_of(a, book, part, row->series);

    for (uint32_t i = 0; w != NULL && i < RULE_RUNS; i++)
        judge_run(a, book->set.rules + w->run[i].first, w->run[i].count, w->machine, row, lsn, stamp);
}

void
alert__judge_row(alert *a, uint16_t part, const reading_row *row, uint64_t lsn, uint64_t stamp)
{
    judge_by(a, &a->now, part, row, lsn, stamp);
    if (a->past.set.count > 0)
        judge_by(a, &a->past, part, row, lsn, stamp);
}

static ak_verdict
on_watched(ak *k, void *self, const ak_msg *m)
{
    alert       *a = self;
    watched_head h;

    (void)k;
    if (!a->loaded)
        return AK_WAIT;
    memcpy(&h, m->body, sizeof h);
    if (h.rows > (m->len - sizeof h) / sizeof(reading_row) || h.part >= a->feed_count)
        return AK_BAD;
    alert__look_at_rules(a);
    if (!alert__can_judge(a, h.rules))
        return AK_WAIT;
    alert__feed_take(a, &h, (const uint8_t *)m->body + sizeof h);
    alert__asks_go(a);
    return AK_DONE;
}

/* ---- answers and time ---- */

static ak_verdict
on_answer(ak *k, void *self, const ak_msg *m)
{
    alert   *a = self;
    uint8_t *ctx = m->ctx;

    (void)k;
    if (ctx >= (uint8_t *)a->feeds && ctx < (uint8_t *)(a->feeds + BOARD_PARTS_MAX)) {
        alert__look_at_rules(a);
        alert__feed_answered(a, m->ctx, m);
        alert__asks_go(a);
    } else if (ctx == (uint8_t *)&a->fetch) {
        alert__rules_answered(a, m);
        alert__feeds_go(a);
    } else if (ctx != NULL) {
        alert__answered(a, m);
        alert__feeds_go(a);
    }
    return AK_DONE;
}

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    alert *a = self;

    if (m->ctx == &a->retry_set) {
        a->retry_set = false;
        alert__look_at_rules(a);
        alert__feeds_go(a);
        alert__asks_go(a);
        return AK_DONE;
    }
    if (a->loaded)
        alert__look_at_status(a);
    alert__look_at_rules(a);
    if (a->loaded)
        alert__silences(a);
    alert__asks_go(a);
    if (a->loaded)
        alert__feeds_tell(a);
    if (++a->ticks % SAVE_EVERY_TICKS == 0 && a->states.changed)
        alert__save(a);
    ak_timer(k, TICK_NS, &a->ticks);
    return AK_DONE;
}

/* ---- life ---- */

static void
stop(ak *k, void *self)
{
    alert *a = self;

    (void)k;
    if (a->states.changed)
        alert__save_now(a);
    alert__states_free(a);
    alert__feeds_close(a);
    alert__rules_close(a);
    alert__silences_free(a);
    free(a->turns);
    alert__status_free(a);
}

static int
init(ak *k, void *self)
{
    alert *a = self;

    a->k = k;
    a->turns = malloc(TURNS_MAX * sizeof *a->turns);
    if (a->turns == NULL)
        return err(E_NOMEM, "transitions");
    alert__feeds_open(a);
    alert__load(a);
    a->started_us = ak_wall_us(k);
    alert__silence_rules(a);
    alert__asks_go(a);
    ak_timer(k, TICK_NS, &a->ticks);
    return E_OK;
}

static const ak_on on[] = {
    { MSG_WATCHED, 0, on_watched },
    { MSG_CAUGHT, 0, on_answer },
    { MSG_REG_DONE, 0, on_answer },
    { MSG_FAIL, 0, on_answer },
    { MSG_LATE, 0, on_answer },
    { MSG_TIMER, 0, on_timer },
    { 0 },
};

const ak_kind alert_kind = {
    .name = "alert",
    .self_size = sizeof(alert),
    .number = KIND_ALERT,
    .helpers = 1, /* the file */
    .on = on,
    .init = init,
    .stop = stop,
};
