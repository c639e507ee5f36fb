/* rules_live.c - sets of rules, found by tenant and metric: those on the board, and those that were. */
#include "actors/rules.h"

#include "proto/err.h"

#include <stdlib.h>

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
add_rule(loading *l, const board_rule *rule, view metric, view conditions)
{
    rule_condition *c = l->conditions + l->used;
    uint32_t        count = rule_conditions_read(conditions, c);

    l->used += count;
    for (uint32_t i = 0; i < (count > 0 ? count : 1); i++) {
        if (count > 0 && is_named_before(c, i))
            continue;
        if (l->count == l->room && !grow(l))
            return false;
        l->entries[l->count++] = (entry){
            .live = { .rule = *rule, .conditions = count > 0 ? c : NULL, .count = count, .which = i },
            .metric = count > 0 ? c[i].metric : metric,
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
        if (!add_rule(l, &rule, board_string(b, BOARD_RULES, 0, rule.metric),
                      board_string(b, BOARD_RULES, 0, rule.conditions)))
            return false;
    }
    return true;
}

static bool
begin_loading(loading *l, uint32_t rules)
{
    *l = (loading){ .conditions = malloc(((size_t)rules + 1) * RULE_CONDITIONS_MAX * sizeof *l->conditions) };
    return l->conditions != NULL;
}

/* What was gathered, in order; it is given up where there is no memory. */
static bool
end_loading(loading *l, ruleset *set)
{
    live_rule *rules = malloc(((size_t)l->count + 1) * sizeof *rules);
    view      *metrics = malloc(((size_t)l->count + 1) * sizeof *metrics);

    if (rules == NULL || metrics == NULL) {
        free(rules);
        free(metrics);
        return false;
    }
    if (l->count > 0)
        qsort(l->entries, l->count, sizeof *l->entries, compare_entries);
    for (uint32_t i = 0; i < l->count; i++) {
        rules[i] = l->entries[i].live;
        metrics[i] = l->entries[i].metric;
    }
    free(l->entries);
    *set = (ruleset){ .rules = rules, .metrics = metrics, .conditions = l->conditions, .count = l->count };
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
    uint64_t seq = board_rules_seq(b); /* before the rules: a change meanwhile makes us read again */
    uint32_t max = table_count(board_table(b, BOARD_RULES, 0));
    ruleset  fresh;
    loading  l;

    if (!begin_loading(&l, max) || !read_live(&l, b, max) || !end_loading(&l, &fresh)) {
        drop_loading(&l);
        return err(E_NOMEM, "%u rules", max);
    }
    ruleset_free(set);
    *set = fresh;
    set->seq = seq;
    return E_OK;
}

/* ---- rules as bytes ---- */
/* board_rule | metric_len u32 | conditions_len u32 | metric | conditions */
typedef struct packed_head {
    board_rule rule;
    uint32_t   metric_len, conditions_len;
} packed_head;

size_t
rule_pack(const board_rule *rule, view metric, view conditions, uint8_t *out)
{
    packed_head h = { *rule, (uint32_t)metric.len, (uint32_t)conditions.len };

    ASSERT(sizeof h + metric.len + conditions.len <= RULE_PACKED_MAX);
    memcpy(out, &h, sizeof h);
    if (metric.len > 0)
        memcpy(out + sizeof h, metric.at, metric.len);
    if (conditions.len > 0)
        memcpy(out + sizeof h + metric.len, conditions.at, conditions.len);
    return sizeof h + metric.len + conditions.len;
}

static bool
read_packed(loading *l, view rest)
{
    while (rest.len > 0) {
        packed_head h;
        size_t      len;

        if (rest.len < sizeof h)
            return false;
        memcpy(&h, rest.at, sizeof h);
        len = sizeof h + (size_t)h.metric_len + h.conditions_len;
        if (len > rest.len || !add_rule(l, &h.rule, view_of(rest.at + sizeof h, h.metric_len),
                                        view_of(rest.at + sizeof h + h.metric_len, h.conditions_len)))
            return false;
        rest = view_of(rest.at + len, rest.len - len);
    }
    return true;
}

int
ruleset_from(ruleset *set, view packed)
{
    uint8_t *owned = malloc(packed.len + 1);
    ruleset  fresh;
    loading  l = { 0 };

    ASSERT(owned != NULL);
    if (packed.len > 0)
        memcpy(owned, packed.at, packed.len);
    if (!begin_loading(&l, (uint32_t)(packed.len / sizeof(packed_head))) ||
        !read_packed(&l, view_of(owned, packed.len)) || !end_loading(&l, &fresh)) {
        drop_loading(&l);
        free(owned);
        return err(E_BAD, "rules of %zu bytes", packed.len);
    }
    ruleset_free(set);
    *set = fresh;
    set->owned = owned;
    return E_OK;
}

void
ruleset_free(ruleset *set)
{
    free(set->rules);
    free(set->metrics);
    free(set->conditions);
    free(set->owned);
    memset(set, 0, sizeof *set);
}

bool
ruleset_is_whole(const ruleset *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (set->rules[i].rule.changed > set->seq)
            return false;
    return true;
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
