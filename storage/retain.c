/* retain.c - see retain.h. */
#include "storage/retain.h"

#include "proto/err.h"

int
retain_read(view bytes, retain_rule out[RETAIN_RULES_MAX], uint32_t *count)
{
    *count = 0;
    while (bytes.len > 0) {
        retain_row  r;
        retain_rule rule;

        if (bytes.len < sizeof r || *count == RETAIN_RULES_MAX)
            return E_BAD;
        memcpy(&r, bytes.at, sizeof r);
        if (r.pattern_len == 0 || r.pattern_len > bytes.len - sizeof r || r.raw_days > RETAIN_DAYS_MAX ||
            r.rollup_days > RETAIN_DAYS_MAX || (r.raw_days == 0 && r.rollup_days != 0) ||
            (r.rollup_days != 0 && r.rollup_days < r.raw_days))
            return E_BAD;
        rule = (retain_rule){ view_of(bytes.at + sizeof r, r.pattern_len), r.raw_days, r.rollup_days };
        out[(*count)++] = rule;
        bytes = view_of(bytes.at + sizeof r + r.pattern_len, bytes.len - sizeof r - r.pattern_len);
    }
    return E_OK;
}

/* The last '*' takes one more character whenever what follows it does not fit: no recursion, O(n * m). */
bool
retain_matches(view pattern, view metric)
{
    size_t p = 0, m = 0, star = SIZE_MAX, from = 0;

    while (m < metric.len) {
        if (p < pattern.len && pattern.at[p] == '*') {
            star = p++;
            from = m;
        } else if (p < pattern.len && (pattern.at[p] == '?' || pattern.at[p] == metric.at[m])) {
            p++;
            m++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            m = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.at[p] == '*')
        p++;
    return p == pattern.len;
}

const retain_rule *
retain_rule_of(const retain_rule *rules, uint32_t count, view metric)
{
    for (uint32_t i = 0; i < count; i++)
        if (retain_matches(rules[i].pattern, metric))
            return &rules[i];
    return NULL;
}
