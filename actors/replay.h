/* replay.h - a rule over the stored readings of a machine: the alerts that it would have raised.
 *
 *   replay_begin           a machine; everything known of the one before is forgotten
 *   replay_expect          no_data: it was heard of before the range, so silence counts from the range's start
 *   replay_reading ...     in order of time
 *   replay_end             what is open stays so
 *
 * Judged by rules.c, as the alert actor judges what comes in, with a rule that was made when the range begins.  What differs:
 * readings come in the order of their times, not of arrival, so none is late; silence is measured by the readings' own times,
 * where the alert actor has the server's clock.
 */
#ifndef HALTLESS_ACTORS_REPLAY_H
#define HALTLESS_ACTORS_REPLAY_H

#include "actors/rules.h"

enum {
    REPLAY_ALERTS_MAX = 100, /* kept of a machine; the others are counted */
    REPLAY_FLAP_S = 600,     /* raised again so soon after the one before closed: it flaps */
    REPLAY_TEXT_MAX = RULE_CONDITIONS_BYTES + 1024,
};

typedef struct replay_alert {
    int64_t opened_us;
    int64_t resolved_us; /* INT64_MIN: it is open at the end */
    double  value;       /* that opened it */
    double  peak;
} replay_alert;

typedef struct replay {
    board_rule     rule;
    uint32_t       count; /* conditions; 0: none */
    uint32_t       metric_count;
    view           metrics[RULE_CONDITIONS_MAX]; /* each once; in text */
    uint32_t       which[RULE_CONDITIONS_MAX];   /* a condition of that metric */
    rule_condition conditions[RULE_CONDITIONS_MAX];
    uint8_t        text[REPLAY_TEXT_MAX];
    /* of the machine */
    rule_state     state;
    bool           expected;
    uint64_t       readings;
    uint64_t       fired, flaps;
    int64_t        fired_us; /* all its alerts together */
    replay_alert   now;      /* while state.open */
    int64_t        closed_us;
    uint32_t       kept;
    replay_alert   alerts[REPLAY_ALERTS_MAX]; /* the first ones */
} replay;

/* rule: its strings count for nothing; metric: unless there are conditions.  False: it cannot be read. */
NODISCARD bool replay_rule(replay *r, const board_rule *rule, view metric, view conditions);
void replay_begin(replay *r);
void replay_expect(replay *r, int64_t start_us);
/* Of the metric r->metrics[metric]. */
void replay_reading(replay *r, uint32_t metric, int64_t time_us, double value);
void replay_end(replay *r, int64_t end_us);

#endif
