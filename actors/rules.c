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

static bool
is_farther(const board_rule *rule, double value, double peak)
{
    switch ((enum compare)rule->op) {
    case CMP_GT:
    case CMP_GTE:
        return value > peak;
    case CMP_LT:
    case CMP_LTE:
        return value < peak;
    default:
        return fabs(value - rule->threshold) > fabs(peak - rule->threshold);
    }
}

static enum rule_turn
judge_open(const board_rule *rule, rule_state *s, int64_t time_us, double value)
{
    if (rule_compare(rule->op, value, rule->clear_threshold)) {
        if (is_farther(rule, value, s->peak))
            s->peak = value;
        return RULE_STAYS;
    }
    s->open = false;
    s->holding = false;
    s->has_closed = true;
    s->closed_us = time_us;
    return RULE_CLOSES;
}

static enum rule_turn
judge_closed(const board_rule *rule, rule_state *s, int64_t time_us, double value)
{
    if (!rule_compare(rule->op, value, rule->threshold)) {
        s->holding = false;
        return RULE_STAYS;
    }
    if (!s->holding) {
        s->holding = true;
        s->since_us = time_us;
        s->peak = value;
    }
    if (is_farther(rule, value, s->peak))
        s->peak = value;
    if (time_us - s->since_us < (int64_t)rule->duration_s * 1000000)
        return RULE_STAYS;
    if (s->has_closed && time_us - s->closed_us < (int64_t)rule->cooldown_s * 1000000)
        return RULE_STAYS;
    s->open = true;
    return RULE_OPENS;
}

enum rule_turn
rule_judge(const board_rule *rule, rule_state *s, int64_t time_us, double value)
{
    bool edited = s->version != 0 && s->version != rule->version;

    if (s->has_newest && time_us < s->newest_us)
        return RULE_STAYS;
    s->version = rule->version;
    s->has_newest = true;
    s->newest_us = time_us;
    if (edited)
        s->holding = false; /* what was on its way under the old one does not count */
    if (!s->open)
        return judge_closed(rule, s, time_us, value);
    /* The rule may have been off in between, and its alert closed; to open an open one changes nothing. */
    if (edited && rule_compare(rule->op, value, rule->threshold))
        return RULE_OPENS;
    return judge_open(rule, s, time_us, value);
}

/* ---- the live rules ---- */

typedef struct entry {
    board_rule rule;
    view       metric;
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
    int          c = compare_keys(a->rule.tenant, a->metric, b->rule.tenant, b->metric);

    return c != 0 ? c : (a->rule.no > b->rule.no) - (a->rule.no < b->rule.no);
}

static uint32_t
read_live(const board *b, entry *out, uint32_t max)
{
    const table *t = board_table(b, BOARD_RULES, 0);
    uint32_t     n = 0;

    for (uint32_t no = 1; no <= max; no++) {
        entry *e = &out[n];

        if (!table_read(t, no, &e->rule) || !(e->rule.flags & BOARD_LIVE))
            continue;
        e->rule.no = no;
        e->metric = board_string(b, BOARD_RULES, 0, e->rule.metric);
        n++;
    }
    return n;
}

int
ruleset_load(ruleset *set, const board *b)
{
    uint64_t    seq = board_rules_seq(b); /* before the rules: a change meanwhile makes us read again */
    uint32_t    max = table_count(board_table(b, BOARD_RULES, 0));
    entry      *entries = malloc(((size_t)max + 1) * sizeof *entries);
    board_rule *rules = malloc(((size_t)max + 1) * sizeof *rules);
    view       *metrics = malloc(((size_t)max + 1) * sizeof *metrics);
    uint32_t    n;

    if (entries == NULL || rules == NULL || metrics == NULL) {
        free(entries);
        free(rules);
        free(metrics);
        return err(E_NOMEM, "%u rules", max);
    }
    n = read_live(b, entries, max);
    qsort(entries, n, sizeof *entries, compare_entries);
    for (uint32_t i = 0; i < n; i++) {
        rules[i] = entries[i].rule;
        metrics[i] = entries[i].metric;
    }
    free(entries);
    ruleset_free(set);
    *set = (ruleset){ .rules = rules, .metrics = metrics, .count = n, .seq = seq };
    return E_OK;
}

void
ruleset_free(ruleset *set)
{
    free(set->rules);
    free(set->metrics);
    memset(set, 0, sizeof *set);
}

/* The first index that is not below the key (or, past: that is above it). */
static uint32_t
bound(const ruleset *set, uint32_t tenant, view metric, bool past)
{
    uint32_t low = 0, high = set->count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int      c = compare_keys(set->rules[mid].tenant, set->metrics[mid], tenant, metric);

        if (c < 0 || (past && c == 0))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

uint32_t
ruleset_find(const ruleset *set, uint32_t tenant, view metric, uint32_t *count)
{
    uint32_t first = bound(set, tenant, metric, false);

    *count = bound(set, tenant, metric, true) - first;
    return first;
}
