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
    *b = (rule_bounds){ INFINITY, -INFINITY, INFINITY, -INFINITY, false };
}

void
rule_bounds_add(rule_bounds *b, const board_rule *rule, uint32_t conditions)
{
    bool above = rule->op == CMP_GT || rule->op == CMP_GTE, below = rule->op == CMP_LT || rule->op == CMP_LTE;

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

/* ---- the live rules ---- */

typedef struct entry {
    live_rule live;
    view      metric;
} entry;

static int
compare_keys(uint32_t tenant_a, view a, uint32_t tenant_b, view b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int    c;

    if (tenant_a != tenant_b)
        return tenant_a < tenant_b ? -1 : 1;
    c = len > 0 ? memcmp(a.at, b.at, len) : 0;
    if (c != 0)
        return c;
    return (a.len > b.len) - (a.len < b.len);
}

static int
compare_entries(const void *x, const void *y)
{
    const entry *a = x, *b = y;
    int          c = compare_keys(a->live.rule.tenant, a->metric, b->live.rule.tenant, b->metric);

    if (c == 0)
        c = (a->live.rule.machine > b->live.rule.machine) - (a->live.rule.machine < b->live.rule.machine);
    return c != 0 ? c : (a->live.rule.no > b->live.rule.no) - (a->live.rule.no < b->live.rule.no);
}

typedef struct loading {
    entry          *entries; /* up to RULE_CONDITIONS_MAX a rule */
    rule_condition *conditions;
    uint32_t        count, room, used;
} loading;

static bool
grow(loading *l)
{
    uint32_t room = l->room == 0 ? 64 : l->room * 2;
    entry   *entries = realloc(l->entries, room * sizeof *entries);

    if (entries == NULL)
        return false;
    l->entries = entries;
    l->room = room;
    return true;
}

static bool
is_named_before(const rule_condition *c, uint32_t i)
{
    for (uint32_t j = 0; j < i; j++)
        if (view_eq(c[j].metric, c[i].metric))
            return true;
    return false;
}

/* An entry for the rule's metric, or for each metric that its conditions name. */
static bool
add_rule(loading *l, const board *b, const board_rule *rule)
{
    rule_condition *c = l->conditions + l->used;
    uint32_t        count = rule_conditions_read(board_string(b, BOARD_RULES, 0, rule->conditions), c);

    l->used += count;
    for (uint32_t i = 0; i < (count > 0 ? count : 1); i++) {
        if (count > 0 && is_named_before(c, i))
            continue;
        if (l->count == l->room && !grow(l))
            return false;
        l->entries[l->count++] = (entry){
            .live = { .rule = *rule, .conditions = count > 0 ? c : NULL, .count = count, .which = i },
            .metric = count > 0 ? c[i].metric : board_string(b, BOARD_RULES, 0, rule->metric),
        };
    }
    return true;
}

static bool
read_live(loading *l, const board *b, uint32_t max)
{
    const table *t = board_table(b, BOARD_RULES, 0);

    for (uint32_t no = 1; no <= max; no++) {
        board_rule rule;

        if (!table_read(t, no, &rule) || !(rule.flags & BOARD_LIVE))
            continue;
        rule.no = no;
        if (!add_rule(l, b, &rule))
            return false;
    }
    return true;
}

static void
drop_loading(loading *l)
{
    free(l->entries);
    free(l->conditions);
}

int
ruleset_load(ruleset *set, const board *b)
{
    uint64_t   seq = board_rules_seq(b); /* before the rules: a change meanwhile makes us read again */
    uint32_t   max = table_count(board_table(b, BOARD_RULES, 0));
    loading    l = { .conditions = malloc(((size_t)max + 1) * RULE_CONDITIONS_MAX * sizeof *l.conditions) };
    live_rule *rules = NULL;
    view      *metrics = NULL;

    if (l.conditions == NULL || !read_live(&l, b, max) ||
        (rules = malloc(((size_t)l.count + 1) * sizeof *rules)) == NULL ||
        (metrics = malloc(((size_t)l.count + 1) * sizeof *metrics)) == NULL) {
        free(rules);
        drop_loading(&l);
        return err(E_NOMEM, "%u rules", max);
    }
    if (l.count > 0)
        qsort(l.entries, l.count, sizeof *l.entries, compare_entries);
    for (uint32_t i = 0; i < l.count; i++) {
        rules[i] = l.entries[i].live;
        metrics[i] = l.entries[i].metric;
    }
    free(l.entries);
    ruleset_free(set);
    *set = (ruleset){ .rules = rules, .metrics = metrics, .conditions = l.conditions, .count = l.count, .seq = seq };
    return E_OK;
}

void
ruleset_free(ruleset *set)
{
    free(set->rules);
    free(set->metrics);
    free(set->conditions);
    memset(set, 0, sizeof *set);
}

/* The first index that is not below the key (or, past: that is above it). */
static uint32_t
bound(const ruleset *set, uint32_t tenant, view metric, uint32_t machine, bool past)
{
    uint32_t low = 0, high = set->count;

    while (low < high) {
        uint32_t          mid = low + (high - low) / 2;
        const board_rule *r = &set->rules[mid].rule;
        int               c = compare_keys(r->tenant, set->metrics[mid], tenant, metric);

        if (c == 0)
            c = (r->machine > machine) - (r->machine < machine);
        if (c < 0 || (past && c == 0))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void
ruleset_find(const ruleset *set, uint32_t tenant, view metric, uint32_t machine, rule_run out[RULE_RUNS])
{
    const uint32_t machines[RULE_RUNS] = { 0, machine };

    for (uint32_t i = 0; i < RULE_RUNS; i++) {
        out[i].first = bound(set, tenant, metric, machines[i], false);
        out[i].count = bound(set, tenant, metric, machines[i], true) - out[i].first;
    }
}
