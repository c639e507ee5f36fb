/* rules.c - see rules.h. */
#include "actors/rules.h"

#include "proto/err.h"

#include <math.h>
#include <stdlib.h>

bool
rule_compare(enum compare op, double value, double threshold)
{
    switch (op) {
    case CMP_GT:
        return value > threshold;
    case CMP_GTE:
        return value >= threshold;
    case CMP_LT:
        return value < threshold;
    case CMP_LTE:
        return value <= threshold;
    case CMP_EQ:
        return value == threshold;
    case CMP_NE:
        return value != threshold;
    }
    return false;
}

/* ---- conditions ---- */
size_t
rule_conditions_pack(const rule_condition *c, uint32_t count, uint8_t *out)
{
    size_t at = 0;

    ASSERT(count <= RULE_CONDITIONS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint16_t len = (uint16_t)c[i].metric.len;

        out[at] = c[i].op;
        out[at + 1] = 0;
        memcpy(out + at + 2, &len, sizeof len);
        memcpy(out + at + 4, &c[i].threshold, sizeof c[i].threshold);
        memcpy(out + at + 12, c[i].metric.at, len);
        at += 12u + len;
    }
    return at;
}

uint32_t
rule_conditions_read(view packed, rule_condition out[RULE_CONDITIONS_MAX])
{
    uint32_t n = 0;
    size_t   at = 0;

    for (; at < packed.len; n++) {
        uint16_t len;

        if (n == RULE_CONDITIONS_MAX || packed.len - at < 12 || packed.at[at] > CMP_NE)
            return 0;
        memcpy(&len, packed.at + at + 2, sizeof len);
        if (packed.len - at - 12 < len)
            return 0;
        out[n] = (rule_condition){ .op = packed.at[at], .metric = view_of(packed.at + at + 12, len) };
        memcpy(&out[n].threshold, packed.at + at + 4, sizeof out[n].threshold);
        at += 12u + len;
    }
    return n;
}

/* ---- what a reading means ---- */
/* known: it can be judged at all.  breaks: enough to open; lasts: enough to stay open. */
typedef struct meaning {
    bool   known, breaks, lasts;
    double value; /* what an alert is about */
    double score;
} meaning;

static meaning
compared(const board_rule *rule, double value)
{
    return (meaning){ .known = true,
                      .breaks = rule_compare(rule->op, value, rule->threshold),
                      .lasts = rule_compare(rule->op, value, rule->clear_threshold),
                      .value = value };
}

static meaning
composite(const board_rule *rule, const rule_condition *c, uint32_t count, uint32_t which, rule_state *s, int64_t time_us,
          double value)
{
    uint32_t holding = 0;
    bool     holds;

    /* Two conditions may be of one metric: 10 < x AND x < 20. */
    for (uint32_t i = 0; i < count; i++)
        if (i == which || view_eq(c[i].metric, c[which].metric)) {
            s->sample[i] = (rule_sample){ time_us, value };
            s->samples |= 1u << i;
        }
    for (uint32_t i = 0; i < count; i++)
        holding += (s->samples >> i & 1) != 0 && rule_compare(c[i].op, s->sample[i].value, c[i].threshold);
    holds = rule->logic == LOGIC_OR ? holding > 0 : holding == count;
    return (meaning){ .known = true, .breaks = holds, .lasts = holds,
                      .value = (s->samples & 1) != 0 ? s->sample[0].value : value };
}

/* Keeps the reading when it is a quarter of the window behind the one kept last. */
static void
keep_sample(const board_rule *rule, rule_state *s, int64_t time_us, double value)
{
    int64_t apart_us = (int64_t)rule->window_s * 1000000 / 4;

    if (s->samples > 0 && time_us - s->sample[s->samples - 1].time_us < apart_us)
        return;
    if (s->samples == RULE_CONDITIONS_MAX)
        memmove(s->sample, s->sample + 1, --s->samples * sizeof *s->sample);
    s->sample[s->samples++] = (rule_sample){ time_us, value };
}

static meaning
rate(const board_rule *rule, rule_state *s, int64_t time_us, double value)
{
    int64_t  window_us = (int64_t)rule->window_s * 1000000;
    uint32_t i = s->samples;
    meaning  m = { .known = false };

    while (i > 0 && time_us - s->sample[i - 1].time_us < window_us)
        i--;
    if (i > 0 && time_us - s->sample[i - 1].time_us <= 2 * window_us) {
        double seconds = (double)(time_us - s->sample[i - 1].time_us) / 1e6;
        double per_s = (value - s->sample[i - 1].value) / seconds;

        if (isfinite(per_s))
            m = compared(rule, per_s);
    }
    keep_sample(rule, s, time_us, value);
    return m;
}

static void
learn(const board_rule *rule, rule_state *s, double value)
{
    double d = value - s->usual.mean;
    double weight = rule->method == METHOD_EWMA && s->samples > 0 ? 0.05 : 1.0 / ((double)s->samples + 1);

    if (s->samples < UINT32_MAX)
        s->samples++;
    s->usual.mean += weight * d;
    s->usual.variance = (1 - weight) * (s->usual.variance + weight * d * d);
}

static meaning
anomaly(const board_rule *rule, rule_state *s, double value)
{
    meaning m = { .known = s->samples >= RULE_SEEN_MIN, .value = value };

    if (m.known) {
        double d = fabs(value - s->usual.mean), deviation = sqrt(s->usual.variance);

        m.score = deviation > 0 ? d / deviation : d > 0 ? INFINITY : 0;
        m.breaks = m.lasts = m.score > rule->sensitivity;
    }
    if (!m.breaks || rule->method == METHOD_EWMA)
        learn(rule, s, value);
    return m;
}

/* ---- turns ---- */
static bool
is_farther(const board_rule *rule, const meaning *m, const rule_state *s)
{
    if (rule->type == RULE_ANOMALY)
        return m->score > s->score;
    switch ((enum compare)rule->op) {
    case CMP_GT:
    case CMP_GTE:
        return m->value > s->peak;
    case CMP_LT:
    case CMP_LTE:
        return m->value < s->peak;
    default:
        return fabs(m->value - rule->threshold) > fabs(s->peak - rule->threshold);
    }
}

static void
note_peak(const board_rule *rule, const meaning *m, rule_state *s, bool first)
{
    if (!first && !is_farther(rule, m, s))
        return;
    s->peak = m->value;
    s->score = m->score;
}

static enum rule_turn
close_it(rule_state *s, int64_t time_us)
{
    s->open = false;
    s->holding = false;
    s->has_closed = true;
    s->closed_us = time_us;
    return RULE_CLOSES;
}

static bool
is_cooling(const board_rule *rule, const rule_state *s, int64_t time_us)
{
    return s->has_closed && time_us - s->closed_us < (int64_t)rule->cooldown_s * 1000000;
}

static enum rule_turn
judge_open(const board_rule *rule, rule_state *s, int64_t time_us, const meaning *m)
{
    if (!m->lasts)
        return close_it(s, time_us);
    note_peak(rule, m, s, false);
    return RULE_STAYS;
}

static enum rule_turn
judge_closed(const board_rule *rule, rule_state *s, int64_t time_us, const meaning *m)
{
    if (!m->breaks) {
        s->holding = false;
        return RULE_STAYS;
    }
    note_peak(rule, m, s, !s->holding);
    if (!s->holding) {
        s->holding = true;
        s->since_us = time_us;
    }
    if (time_us - s->since_us < (int64_t)rule->duration_s * 1000000 || is_cooling(rule, s, time_us))
        return RULE_STAYS;
    s->open = true;
    return RULE_OPENS;
}

/* It was off in between, or about something else: nothing of before counts. */
static void
begin_anew(const board_rule *rule, rule_state *s)
{
    if (s->version != 0 && s->version < rule->live_from)
        memset(s, 0, sizeof *s);
}

/* Another version starts anew what was on its way; what is open stays so.  True: it is another one. */
static bool
take_version(const board_rule *rule, rule_state *s)
{
    bool edited = s->version != 0 && s->version != rule->version;

    s->version = rule->version;
    if (!edited)
        return false;
    s->holding = false;
    s->samples = 0;
    memset(s->sample, 0, sizeof s->sample);
    return true;
}

static bool
is_late(const rule_state *s, uint32_t count, uint32_t which, int64_t time_us)
{
    if (count == 0)
        return s->has_newest && time_us < s->newest_us;
    return (s->samples >> which & 1) != 0 && time_us < s->sample[which].time_us;
}

enum rule_turn
rule_judge_part(const board_rule *rule, const rule_condition *conditions, uint32_t count, uint32_t which, rule_state *s,
                int64_t time_us, double value, double *shown)
{
    meaning m;
    bool    edited;

    *shown = value;
    begin_anew(rule, s);
    if (is_late(s, count, which, time_us))
        return RULE_STAYS;
    edited = take_version(rule, s);
    /* Metrics of one machine need not come in step: time never goes back. */
    time_us = s->has_newest && s->newest_us > time_us ? s->newest_us : time_us;
    s->has_newest = true;
    s->newest_us = time_us;
    if (rule->type == RULE_RATE)
        m = rate(rule, s, time_us, value);
    else if (rule->type == RULE_ANOMALY)
        m = anomaly(rule, s, value);
    else if (count > 0)
        m = composite(rule, conditions, count, which, s, time_us, value);
    else
        m = compared(rule, value);
    if (!m.known)
        return RULE_STAYS;
    *shown = m.value;
    if (!s->open)
        return judge_closed(rule, s, time_us, &m);
    /* The rule may have been off in between, and its alert closed; to open an open one changes nothing. */
    if (edited && m.breaks)
        return RULE_OPENS;
    return judge_open(rule, s, time_us, &m);
}

enum rule_turn
rule_judge(const board_rule *rule, rule_state *s, int64_t time_us, double value)
{
    double shown;

    return rule_judge_part(rule, NULL, 0, 0, s, time_us, value, &shown);
}

/* ---- silence ---- */
enum rule_turn
rule_heard(const board_rule *rule, rule_state *s, int64_t now_us)
{
    begin_anew(rule, s);
    (void)take_version(rule, s);
    s->since_us = now_us;
    return s->open ? close_it(s, now_us) : RULE_STAYS;
}

enum rule_turn
rule_silent(const board_rule *rule, rule_state *s, int64_t now_us, double *shown)
{
    int64_t silent_us = now_us - s->since_us;

    *shown = (double)(silent_us / 1000000);
    if (s->open || silent_us < (int64_t)rule->duration_s * 1000000 || is_cooling(rule, s, now_us))
        return RULE_STAYS;
    s->version = rule->version;
    s->open = true;
    s->peak = *shown;
    return RULE_OPENS;
}

int64_t
rule_due_us(const board_rule *rule, const rule_state *s)
{
    int64_t silent_us = s->since_us + (int64_t)rule->duration_s * 1000000;
    int64_t cooled_us = s->has_closed ? s->closed_us + (int64_t)rule->cooldown_s * 1000000 : INT64_MIN;

    return silent_us > cooled_us ? silent_us : cooled_us;
}

/* ---- bounds ---- */
void
rule_bounds_init(rule_bounds *b)
{
    *b = (rule_bounds){ INFINITY, -INFINITY, INFINITY, -INFINITY, false, false };
}

void
rule_bounds_add(rule_bounds *b, const board_rule *rule, uint32_t conditions)
{
    bool above = rule->op == CMP_GT || rule->op == CMP_GTE, below = rule->op == CMP_LT || rule->op == CMP_LTE;

    b->hears = b->hears || rule->type == RULE_NO_DATA;
    if (rule->type != RULE_THRESHOLD || conditions > 0 || (!above && !below)) {
        b->every = true;
    } else if (above) {
        b->high = fmin(b->high, rule->threshold);
        b->rest_high = fmin(b->rest_high, fmin(rule->threshold, rule->clear_threshold));
    } else {
        b->low = fmax(b->low, rule->threshold);
        b->rest_low = fmax(b->rest_low, fmax(rule->threshold, rule->clear_threshold));
    }
}

bool
rule_bounds_want(const rule_bounds *b, bool *hot, double value)
{
    if (b->every)
        return true;
    if (!*hot && value < b->high && value > b->low)
        return false;
    *hot = !(value < b->rest_high && value > b->rest_low);
    return true;
}
