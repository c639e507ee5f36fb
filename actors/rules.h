/* rules.h - threshold rules: when one opens and closes an alert.  Pure: readings in, turns out.
 *
 *   value  ^            ____
 *          |   _       /    \              threshold ...............
 *          |__/ \_____/      \    ____     clear_threshold .........
 *          |                  \__/    \_
 *              ^ too short    ^        ^
 *                (duration)   opens    closes
 *
 * Time is the readings' own.  A reading older than the newest one that was judged for this rule and
 * machine neither raises nor clears.
 */
#ifndef HALTLESS_ACTORS_RULES_H
#define HALTLESS_ACTORS_RULES_H

#include "proto/base.h"
#include "transport/board.h"

enum rule_turn { RULE_STAYS, RULE_OPENS, RULE_CLOSES };

/* What is known of one rule on one machine. */
typedef struct rule_state {
    uint32_t version; /* of the rule that was judged last: another one starts anew; 0: not known */
    bool     open;
    bool     holding;   /* the condition holds since since_us, not long enough yet */
    bool     has_newest;
    bool     has_closed;
    int64_t  newest_us;
    int64_t  since_us;
    int64_t  closed_us;
    double   peak; /* while open: the value farthest beyond the threshold */
} rule_state;

bool rule_compare(enum compare op, double value, double threshold);
enum rule_turn rule_judge(const board_rule *rule, rule_state *s, int64_t time_us, double value);

/* ---- the live rules, found by tenant and metric ---- */
typedef struct ruleset {
    board_rule *rules; /* sorted by tenant, then metric */
    view       *metrics;
    uint32_t    count;
    uint64_t    seq; /* board_rules_seq when they were read */
} ruleset;

/* Reads the board's live rules anew; on E_NOMEM the set is unchanged. */
NODISCARD int ruleset_load(ruleset *set, const board *b);
void ruleset_free(ruleset *set);
/* The run of rules on that metric of that tenant: its first index; *count of them. */
uint32_t ruleset_find(const ruleset *set, uint32_t tenant, view metric, uint32_t *count);

#endif
