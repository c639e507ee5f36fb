/* rules.h - when an alert rule opens and closes an alert.  Pure: readings and time in, turns out.
 *
 *   value  ^            ____
 *          |   _       /    \              threshold ...............
 *          |__/ \_____/      \    ____     clear_threshold .........
 *          |                  \__/    \_
 *              ^ too short    ^        ^
 *                (duration)   opens    closes
 *
 * What is compared:
 *
 *   threshold      the reading's value; or, with conditions, each condition's newest value, all (AND) or any (OR) of them.  A
 *                  value holds until the next reading of its metric; one that is not known yet does not hold.
 *   rate_of_change (value - then) / seconds between, `then` being the newest kept reading that is window_s older or more;
 *                  readings are kept a quarter of the window apart.  Not known when the one before is over two windows old.
 *   anomaly        |value - mean| / deviation against sensitivity, after SEEN_MIN readings.
 *                  zscore: mean and variance after Welford (Technometrics 4, 1962) of all readings but the unusual ones.
 *                  ewma: exponentially weighted, alpha = 0.05 (T. Finch, Incremental calculation of weighted mean and
 *                  variance, 2009), of all readings: a new level becomes the usual one.
 *   no_data        how long no reading came, by the server's clock.
 *
 * Time is the readings' own, but for no_data.  A reading older than the newest one that was judged for this rule, machine
 * and condition neither raises nor clears.
 */
#ifndef HALTLESS_ACTORS_RULES_H
#define HALTLESS_ACTORS_RULES_H

#include "proto/base.h"
#include "transport/board.h"

enum rule_turn { RULE_STAYS, RULE_OPENS, RULE_CLOSES };
enum { RULE_CONDITIONS_MAX = 8, RULE_CONDITIONS_BYTES = RULE_CONDITIONS_MAX * (12 + 1020), RULE_SEEN_MIN = 30 };
enum { RULE_PACKED_MAX = sizeof(board_rule) + 8 + 1020 + RULE_CONDITIONS_BYTES };

/* One of a composite rule. */
typedef struct rule_condition {
    double  threshold;
    view    metric; /* borrowed from the packed text */
    uint8_t op;
} rule_condition;

/* Packed: for each  op u8 | 0 | metric_len u16 | threshold f64 | metric.  out has RULE_CONDITIONS_BYTES; the length. */
size_t rule_conditions_pack(const rule_condition *c, uint32_t count, uint8_t *out);
/* How many; 0 when there are none, or it cannot be read. */
uint32_t rule_conditions_read(view packed, rule_condition out[RULE_CONDITIONS_MAX]);

typedef struct rule_sample {
    int64_t time_us;
    double  value;
} rule_sample;

/* What is known of one rule on one machine. */
typedef struct rule_state {
    uint32_t version; /* of the rule that was judged last: another one starts anew; 0: not known */
    bool     open;
    bool     holding;   /* the condition holds since since_us, not long enough yet */
    bool     has_newest;
    bool     has_closed;
    uint32_t samples; /* threshold with conditions: a bit for each that is known; rate: how many; anomaly: readings seen */
    uint32_t spare;
    int64_t  newest_us;
    int64_t  since_us; /* no_data: when a reading came last (server clock) */
    int64_t  closed_us;
    double   peak;  /* while open: the value farthest beyond the threshold */
    double   score; /* anomaly: of the peak, in deviations */
    union {
        rule_sample sample[RULE_CONDITIONS_MAX]; /* newest of each condition; or the kept readings, oldest first */
        struct {
            double mean, variance;
        } usual;
    };
} rule_state;

bool rule_compare(enum compare op, double value, double threshold);

/* A reading of the rule's metric, or, with conditions, of that of number `which`.  *shown: the value that an alert is about. */
enum rule_turn rule_judge_part(const board_rule *rule, const rule_condition *conditions, uint32_t count, uint32_t which,
                               rule_state *s, int64_t time_us, double value, double *shown);
/* The same for a rule without conditions. */
enum rule_turn rule_judge(const board_rule *rule, rule_state *s, int64_t time_us, double value);

/* no_data: a reading came, now on the server's clock; and: is it silent too long?  *shown: seconds of silence. */
enum rule_turn rule_heard(const board_rule *rule, rule_state *s, int64_t now_us);
enum rule_turn rule_silent(const board_rule *rule, rule_state *s, int64_t now_us, double *shown);
/* no_data, while it is not open: when it opens, unless a reading comes. */
int64_t rule_due_us(const board_rule *rule, const rule_state *s);

/* ---- which readings of a series can matter to any of its rules ----
 *
 *   value ^  ########################   high: a rule breaks
 *         |  .......................    until it comes to rest: handed on after one that did
 *         |                             at rest: nothing that can open, close or count
 *         |  .......................
 *         |  ########################   low
 *
 * Handing on what rule_bounds_wants() says, of readings that are no older than the series' newest, makes the same turns
 * as handing on all of them: at rest nothing is open or holding, and one more reading at rest changes nothing. */
typedef struct rule_bounds {
    double high, low;           /* the tightest of all */
    double rest_high, rest_low; /* between them every rule clears */
    bool   every;               /* a rule looks at each reading: rates, averages, silence, other metrics, ==, != */
    bool   hears;               /* a rule of silence: late readings are heard too */
} rule_bounds;

void rule_bounds_init(rule_bounds *b);
void rule_bounds_add(rule_bounds *b, const board_rule *rule, uint32_t conditions);
/* *hot: the one before was handed on and was not at rest; true at first, and when the bounds have changed. */
bool rule_bounds_want(const rule_bounds *b, bool *hot, double value);

/* ---- the live rules, found by tenant, metric and machine ---- */
typedef struct live_rule {
    board_rule            rule;
    const rule_condition *conditions; /* NULL: none */
    uint32_t              count;
    uint32_t              which; /* the condition of this entry's metric: a composite rule has an entry for each */
} live_rule;

typedef struct ruleset {
    live_rule      *rules; /* sorted by tenant, then metric, then machine (0: any) */
    view           *metrics;
    rule_condition *conditions; /* of all of them */
    uint32_t        count;
    uint64_t        seq; /* board_rules_seq when they were read */
    uint8_t        *owned; /* what the views point to, when it is not the board */
} ruleset;

/* Reads the board's live rules anew; on E_NOMEM the set is unchanged. */
NODISCARD int ruleset_load(ruleset *set, const board *b);
void ruleset_free(ruleset *set);
/* One read while the registry was about a change may hold a rule of after it. */
bool ruleset_is_whole(const ruleset *set);
/* A rule as bytes; out has RULE_PACKED_MAX; the length.  And a set of such, one after the other: E_BAD, and it is unchanged. */
size_t rule_pack(const board_rule *rule, view metric, view conditions, uint8_t *out);
NODISCARD int ruleset_from(ruleset *set, view packed);
typedef struct rule_run {
    uint32_t first, count; /* indices in rules[] */
} rule_run;
enum { RULE_RUNS = 2 };
/* The rules on that metric of that machine: those for any machine (or a group's), and its own. */
void ruleset_find(const ruleset *set, uint32_t tenant, view metric, uint32_t machine, rule_run out[RULE_RUNS]);

#endif
