/* replay.c - see replay.h. */
#include "actors/replay.h"

static bool
is_known(const replay *r, view metric)
{
    for (uint32_t i = 0; i < r->metric_count; i++)
        if (view_eq(r->metrics[i], metric))
            return true;
    return false;
}

bool
replay_rule(replay *r, const board_rule *rule, view metric, view conditions)
{
    view packed = view_of(r->text, conditions.len);

    memset(r, 0, sizeof *r);
    if (conditions.len + metric.len > sizeof r->text || rule->type >= RULE_TYPES)
        return false;
    if (conditions.len > 0)
        memcpy(r->text, conditions.at, conditions.len);
    if (metric.len > 0)
        memcpy(r->text + conditions.len, metric.at, metric.len);
    r->rule = *rule;
    r->count = rule_conditions_read(packed, r->conditions);
    if (r->count == 0) {
        r->metrics[r->metric_count++] = view_of(r->text + conditions.len, metric.len);
        return conditions.len == 0 && metric.len > 0;
    }
    for (uint32_t i = 0; i < r->count; i++)
        if (!is_known(r, r->conditions[i].metric)) {
            r->which[r->metric_count] = i;
            r->metrics[r->metric_count++] = r->conditions[i].metric;
        }
    return true;
}

void
replay_begin(replay *r)
{
    r->state = (rule_state){ 0 };
    r->expected = false;
    r->readings = r->fired = r->flaps = 0;
    r->fired_us = 0;
    r->kept = 0;
}

static void
keep(replay *r, int64_t until_us)
{
    r->now.peak = r->state.peak;
    r->fired_us += until_us - r->now.opened_us;
    if (r->kept < REPLAY_ALERTS_MAX)
        r->alerts[r->kept++] = r->now;
}

static void
take_turn(replay *r, enum rule_turn turn, int64_t time_us, double shown)
{
    if (turn == RULE_OPENS) {
        r->flaps += r->fired > 0 && time_us - r->closed_us < (int64_t)REPLAY_FLAP_S * 1000000;
        r->fired++;
        r->now = (replay_alert){ .opened_us = time_us, .resolved_us = INT64_MIN, .value = shown };
    } else if (turn == RULE_CLOSES) {
        r->now.resolved_us = r->closed_us = time_us;
        keep(r, time_us);
    }
}

/* Was it silent too long, before that moment? */
static void
be_silent(replay *r, int64_t until_us)
{
    int64_t        due_us = rule_due_us(&r->rule, &r->state);
    enum rule_turn turn;
    double         shown;

    if (!r->expected || r->state.open || due_us >= until_us)
        return;
    turn = rule_silent(&r->rule, &r->state, due_us, &shown);
    take_turn(r, turn, due_us, shown);
}

void
replay_expect(replay *r, int64_t start_us)
{
    (void)rule_heard(&r->rule, &r->state, start_us);
    r->expected = true;
}

void
replay_reading(replay *r, uint32_t metric, int64_t time_us, double value)
{
    enum rule_turn turn;
    double         shown = value;

    r->readings++;
    if (r->rule.type == RULE_NO_DATA) {
        be_silent(r, time_us);
        turn = rule_heard(&r->rule, &r->state, time_us);
        r->expected = true;
    } else {
        turn = rule_judge_part(&r->rule, r->count > 0 ? r->conditions : NULL, r->count, r->which[metric], &r->state, time_us,
                               value, &shown);
    }
    take_turn(r, turn, time_us, shown);
}

void
replay_end(replay *r, int64_t end_us)
{
    if (r->rule.type == RULE_NO_DATA)
        be_silent(r, end_us);
    if (r->state.open)
        keep(r, end_us);
}
