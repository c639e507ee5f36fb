/* alert_internal.h - what the files of the alert actor share.
 *
 *   alert.c         the kind: watched readings, rules, timers
 *   alert_rules.c   the rules in force, and those that were when readings were accepted that are judged later
 *   alert_feed.c    how far each partition's readings are judged; what was missed, from its journal
 *   alert_states.c  what is known of each rule on each machine
 *   alert_save.c    that, the cursors and the waiting transitions, over restarts
 *   alert_asks.c    transitions and status changes on their way to the registry
 *   alert_silence.c who has not been heard of
 *   alert_status.c  each machine's status
 */
#ifndef HALTLESS_ACTORS_ALERT_INTERNAL_H
#define HALTLESS_ACTORS_ALERT_INTERNAL_H

#include "actors/ak.h"
#include "actors/deadlines.h"
#include "actors/rules.h"
#include "proto/pack.h"
#include "proto/reg_ops.h"
#include "transport/board.h"
#include "transport/count.h"

enum {
    STATES_MAX = 1 << 22,
    TURNS_MAX = 1 << 16,    /* transitions that wait */
    TURNS_FLYING_MAX = 32,
    STATUS_FLYING_MAX = 64,
};

typedef struct alert_state {
    uint32_t   rule, machine;
    uint32_t   flying; /* transitions of it that the registry has not answered */
    bool       queued; /* no_data: its deadline is in the heap */
    int64_t    machine_us; /* group rules: the machine's record as it was judged last */
    uint64_t   done_pos;   /* the registry has its transitions up to here; 0: no more than we know */
    bool       done_open;  /* and this is what they led to */
    rule_state s;
} alert_state;

typedef struct alert_states {
    alert_state *at;
    uint32_t     count, room;
    uint32_t    *slots; /* open addressing: index in at[] + 1 */
    uint32_t     slots_room; /* a power of two */
    bool         changed;
} alert_states;

/* An alert to open or to close. */
typedef struct turn {
    uint32_t rule, version, machine, tenant;
    bool     opens;
    int64_t  time_us;
    uint64_t pos; /* where it was decided: see alert__row_pos() */
    double   value, peak;
} turn;

typedef struct turn_slot {
    bool used;
    bool waits; /* to be asked again */
    turn t;
} turn_slot;

enum { STATUS_UNKNOWN = 255 }; /* not looked at yet, or gone */
typedef struct machine_watch {
    int64_t due_us; /* when it is looked at again; 0: when it is put */
    uint8_t status;
} machine_watch;

/* A walk over what was put on a table since the last one, in pieces. */
typedef struct table_round {
    uint64_t since, until;
    uint32_t from; /* 0: between two */
} table_round;

typedef struct status_slot {
    bool     used;
    uint8_t  old_status;
    uint32_t machine;
} status_slot;

/* What is kept of a series: where its rules are in the set, as of an edition. */
typedef struct watched_series {
    uint64_t edition; /* plus 1; 0: not looked up */
    uint32_t machine, tenant;
    rule_run run[RULE_RUNS];
} watched_series;

typedef struct watched_part {
    watched_series *series;
    uint32_t        room;
} watched_part;

/* Rules, and what is looked up by them. */
typedef struct rule_book {
    ruleset      set;
    uint64_t     edition; /* another set, another edition */
    watched_part parts[BOARD_PARTS_MAX];
} rule_book;

/* Versions of rules on their way from the registry, a page at a time. */
typedef struct rule_fetch {
    bool     asked;
    int64_t  after;
    uint64_t seq; /* the registry's rules_seq */
    uint8_t *bytes;
    size_t   len;
} rule_fetch;

/* One partition's readings: judged up to `cursor`, in their order, none left out. */
typedef struct feed_part {
    uint64_t cursor;
    uint64_t saved;  /* of the newest file */
    judged_note told;   /* to its ingest */
    uint64_t known;  /* the greatest lsn heard of */
    uint64_t stamp;  /* rules_seq of what was judged last */
    bool     placed; /* there is a cursor; else its ingest is asked where to begin */
    bool     fresh;  /* which is on no disk yet: nothing is judged before */
    bool     behind; /* there is something to ask for */
    bool     asked;
    uint8_t *stash;  /* messages behind a hole, each behind its length */
    uint32_t stash_len, stash_room;
    uint64_t stash_after, stash_upto;
} feed_part;

/* The file, on its way: a copy, so that nobody waits for the disk. */
typedef struct saving {
    bool     flying;
    uint8_t *bytes;
    size_t   len;
    uint64_t cursor[BOARD_PARTS_MAX];
    bool     placed[BOARD_PARTS_MAX];
    char     path[4096];
    int      rc;
    char     text[256];
} saving;

typedef struct alert {
    ak          *k;
    rule_book    now;  /* what is in force */
    rule_book    past; /* what was, of rules that were changed since */
    rule_fetch   fetch;
    bool         rules_known; /* both are of one moment */
    alert_states states;
    feed_part    feeds[BOARD_PARTS_MAX];
    uint16_t     feed_count;
    saving       saving;
    bool         save_due; /* as soon as may be */
    bool         was_there; /* a file of an earlier version */
    bool         loaded; /* the registry told which alerts are open */
    bool         loading;
    int64_t      load_after;
    turn        *turns; /* a ring of TURNS_MAX */
    uint64_t     turns_first, turns_end;
    turn_slot    flying[TURNS_FLYING_MAX];
    bool         retry_set;
    uint64_t     lost; /* readings that could not be judged */
    machine_watch *watched; /* by machine number */
    uint32_t     watched_room;
    table_round  machines_round, arrivals_round[BOARD_PARTS_MAX];
    deadlines    offline;
    bool         has_looked; /* once at least */
    uint32_t     old_count;  /* machines there were then */
    status_slot  status_flying[STATUS_FLYING_MAX];
    uint32_t     ticks;
    int64_t      started_us;
    deadlines    silences;
    uint32_t    *rule_at; /* by rule number: index in rules + 1 */
    uint32_t    *silence_version; /* by rule number: whose machines are expected already */
    uint32_t     rule_room;
} alert;

/* alert_states.c */
/* The state of a rule on a machine; made when there is none; NULL: there are too many. */
alert_state *alert__state(alert *a, uint32_t rule, uint32_t machine);
alert_state *alert__state_find(alert *a, uint32_t rule, uint32_t machine);
void alert__states_prune(alert *a); /* of rules that are no longer live */
void alert__states_free(alert *a);
/* The registry has decided up to there: what is found out again is not told again.  Past it, its word counts. */
bool alert__is_done(alert_state *s, uint64_t pos);

/* alert_rules.c */
void alert__look_at_rules(alert *a);
bool alert__can_judge(const alert *a, uint64_t stamp); /* false: it is asked what is in force there */
void alert__rules_answered(alert *a, const ak_msg *m);
watched_series *alert__series_of(alert *a, rule_book *book, uint16_t part, uint32_t no); /* NULL: not there */
void alert__rules_close(alert *a);
static inline const ruleset *
alert__rules(const alert *a)
{
    return &a->now.set;
}

/* alert_save.c */
void alert__load(alert *a);
void alert__save(alert *a); /* by the helper; not while one is under way */
void alert__save_now(alert *a);

/* alert_feed.c */
/* Of a row, and of what time alone brings after it: transitions of a rule and machine are in this order. */
static inline uint64_t
alert__row_pos(uint64_t lsn)
{
    return 2 * lsn;
}
static inline uint64_t
alert__timer_pos(uint64_t lsn)
{
    return 2 * lsn + 1;
}
void alert__feeds_open(alert *a);
void alert__feeds_go(alert *a); /* asks for what was missed */
void alert__feed_take(alert *a, const watched_head *h, const void *rows);
void alert__feed_answered(alert *a, feed_part *f, const ak_msg *m);
void alert__feeds_tell(alert *a);
void alert__feeds_saved(alert *a); /* what is in a->saving is on the disk */
void alert__feeds_close(alert *a);
feed_part *alert__feed_of(alert *a, uint32_t machine); /* NULL: not known where it is */

/* alert_asks.c */
uint32_t alert__turns_room(const alert *a);
void alert__retry_later(alert *a);
/* A page of an answer: what REG_DONE carries; false: trouble. */
bool alert__page(const ak_msg *m, pack_doc *d);
bool alert__ask_registry(alert *a, enum reg_op op, uint32_t tenant, pack *p, void *ctx);
void alert__turn(alert *a, const turn *t); /* not when full */
void alert__asks_go(alert *a);             /* sends what may go; asks for the open alerts first */
/* A reply, MSG_FAIL or MSG_LATE.  False: it is not one of ours. */
void alert__answered(alert *a, const ak_msg *m);
bool alert__status_changed(alert *a, uint32_t machine, uint8_t old_status, uint8_t new_status);

/* alert_silence.c */
enum rule_turn alert__heard(alert *a, const board_rule *r, alert_state *s); /* a reading came */
void alert__silences(alert *a);      /* opens what has been silent too long */
void alert__silence_rules(alert *a); /* the rules were read anew */
void alert__silences_free(alert *a);

/* alert_status.c */
void alert__look_at_status(alert *a); /* of machines that changed, or whose time has come */
void alert__status_refused(alert *a, uint32_t machine, uint8_t old_status);
void alert__status_free(alert *a);

/* alert.c */
void alert__log_error(const char *event);
/* Is the rule for that machine?  *machine_us: for a group's rule, when the machine was changed last; else 0. */
bool alert__applies(const alert *a, const board_rule *r, uint32_t machine, int64_t *machine_us);
void alert__take_turn(alert *a, const board_rule *r, alert_state *s, enum rule_turn t, uint64_t pos, int64_t time_us,
                      double value);
/* False: its transitions may find no room. */
bool alert__has_room(alert *a, uint16_t part, uint32_t series);
void alert__judge_row(alert *a, uint16_t part, const reading_row *row, uint64_t lsn, uint64_t stamp);
void alert__rules_changed(alert *a);

#endif
