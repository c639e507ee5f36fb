/* board.h - what every actor may know without asking: facts of the registry, series, latest values.
 *
 *   file          writer      keyed by                     record
 *   tenants       registry    uuid                         board_tenant
 *   users         registry    uuid                         board_user
 *   keys          registry    keyed BLAKE2b of the key     board_key
 *   blocked       registry    jti                          board_blocked
 *   machines      registry    (tenant, identifier); uuid   board_machine   (entered under both hashes)
 *   rules         registry    uuid                         board_rule
 *   arrivals.P    ingest.P    machine number               board_arrival   (record number = machine number)
 *   series.P      ingest.P    (machine, metric)            board_series
 *   latest.P      ingest.P    series number                board_latest    (record number = series number)
 *   words         one word a writer: registry_seq, rules_seq, a line for each front (live tenants) and partition (filling)
 *
 * Written after durability and before the reply, rebuilt at start by the writer (table_put of the same
 * number: readers that live on see the same or newer).  A fact is on every front when the answer that
 * reports it leaves, because fronts read these pages.
 */
#ifndef HALTLESS_TRANSPORT_BOARD_H
#define HALTLESS_TRANSPORT_BOARD_H

#include "proto/envelope.h"
#include "proto/rows.h"
#include "transport/table.h"

enum { BOARD_PARTS_MAX = 64, BOARD_FRONTS_MAX = 64 };

typedef struct board board;

typedef struct board_limits { /* capacities; each a setting */
    uint32_t tenants;  /*     4 096 */
    uint32_t users;    /*    65 536 */
    uint32_t keys;     /*    65 536 */
    uint32_t blocked;  /*   262 144 */
    uint32_t machines; /*   131 072 */
    uint32_t rules;    /*    65 536 */
    uint32_t series;   /* 1 048 576 a partition */
    uint32_t parts;
    uint32_t tracked; /* 1: other nodes have copies of it */
} board_limits;

NODISCARD int board_create(const char *dir, const board_limits *limits);
/* writer: which actor opens it; it may write the files the table above gives it, the rest is read-only.
 * 0 for a pure reader (tools). */
NODISCARD int board_open(board **b, const char *dir, addr writer);
/* For who copies from other nodes: may write what ingest writes of the partitions in `parts`, and, if so, what the
 * registry and the fronts do. */
NODISCARD int board_open_copier(board **b, const char *dir, uint64_t parts, bool registry);
void board_close(board **b);

enum board_flags { BOARD_LIVE = 1u << 0 }; /* not deleted, revoked, deactivated */
enum tenant_tier { TIER_FREE, TIER_PRO, TIER_ENTERPRISE };

typedef struct board_tenant {
    uuid     id;
    uint32_t no;
    uint32_t flags;
    uint8_t  tier;         /* enum tenant_tier */
    uint8_t  subscription; /* 0 active; else 402 */
    uint8_t  spare[6];
    uint64_t event_seq; /* of its last event (MSG_EVENT) */
} board_tenant;

typedef struct board_user {
    uuid     id;
    uint32_t no;
    uint32_t tenant;
    uint32_t flags;
    uint8_t  role; /* enum role */
    uint8_t  spare[3];
    int64_t  tokens_from_us; /* access tokens issued before this are void (password change, ...) */
} board_user;

enum scope {
    SCOPE_INGEST = 1u << 0,
    SCOPE_AGENT = 1u << 1,
    SCOPE_READ_MACHINES = 1u << 2,
    SCOPE_READ_SENSORS = 1u << 3,
    SCOPE_READ_ALERTS = 1u << 4,
    SCOPE_READ_FLEET = 1u << 5,
    SCOPE_STREAM = 1u << 6,
};
typedef struct board_key {
    uint8_t  hash[32];
    uuid     id;
    uint32_t no;
    uint32_t tenant;
    uint32_t flags;
    uint32_t scopes;
    int64_t  expires_us; /* 0: never */
} board_key;

typedef struct board_blocked {
    uuid    jti;
    int64_t until_us;
} board_blocked;

typedef struct board_machine {
    uuid         id;
    uint32_t     no;
    uint32_t     tenant;
    uint32_t     flags;
    uint32_t     offline_after_s;
    uint16_t     part;
    uint16_t     spare;
    uint32_t     group; /* 0: none */
    uint32_t     open_alerts;
    uint32_t     open_critical; /* open and unsnoozed, of that severity */
    uint32_t     open_warning;
    table_string identifier; /* strings: board_machine_string() */
    table_string name;
    table_string location;
    int64_t      created_us;
    int64_t      updated_us;
    uint8_t      protocol; /* enum protocol of reg_ops.h */
    uint8_t      spare2[7];
} board_machine;

typedef struct board_arrival {
    int64_t  arrived_us;   /* server clock, of the last accepted reading; 0: never */
    int64_t  newest_us;    /* greatest timestamp of any reading */
    uint32_t first_series; /* the board's own: head of the machine's list */
    uint32_t spare;
} board_arrival;

typedef struct board_series {
    uint32_t     machine;
    uint32_t     tenant;
    table_string metric;
    table_string unit; /* the last accepted one */
    uint32_t     next; /* the board's own: the next series of the machine */
    uint32_t     spare;
} board_series;

typedef struct board_latest {
    int64_t  time_us;
    double   value;
    uint64_t lsn;
} board_latest;

enum compare { CMP_GT, CMP_GTE, CMP_LT, CMP_LTE, CMP_EQ, CMP_NE };
enum rule_type { RULE_THRESHOLD, RULE_RATE, RULE_NO_DATA, RULE_ANOMALY, RULE_TYPES };
enum rule_method { METHOD_ZSCORE, METHOD_EWMA };
enum rule_logic { LOGIC_AND, LOGIC_OR };
enum severity { SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_CRITICAL };
typedef struct board_rule {
    uuid         id;
    uint32_t     no;
    uint32_t     tenant;
    uint32_t     machine; /* 0: every machine */
    uint32_t     group;   /* 0: any */
    uint32_t     flags;   /* BOARD_LIVE: active */
    uint8_t      op;      /* enum compare */
    uint8_t      severity;
    uint8_t      type;   /* enum rule_type */
    uint8_t      method; /* enum rule_method, of RULE_ANOMALY */
    double       threshold;
    double       clear_threshold; /* = threshold when not given */
    uint32_t     duration_s;
    uint32_t     cooldown_s;
    table_string metric;
    table_string name;
    table_string message;
    table_string conditions; /* of a composite rule (actors/rules.h); empty: none */
    uint32_t     version;    /* grows with every edit */
    uint32_t     window_s;   /* RULE_RATE: over so long */
    uint8_t      logic;      /* enum rule_logic, of a composite rule */
    uint8_t      spare[3];
    double       sensitivity; /* RULE_ANOMALY: standard deviations */
    uint64_t     changed;     /* rules_seq from which on this version is in force */
    uint32_t     live_from;   /* version: since then it has been on, and about the same: what an older one knew is of no use */
    uint32_t     spare_too;
    uint64_t     until;       /* of a version that was: rules_seq from which on another one is in force; 0 on the board */
} board_rule;

/* ---- tables.  `part` only for the last three. ---- */
enum board_file { BOARD_TENANTS, BOARD_USERS, BOARD_KEYS, BOARD_BLOCKED, BOARD_MACHINES, BOARD_RULES,
                  BOARD_ARRIVALS, BOARD_SERIES, BOARD_LATEST, BOARD_FILES };
table *board_table(const board *b, enum board_file file, uint16_t part);
uint16_t board_parts(const board *b);

/* ---- look-ups: the record's number or 0.  Hashes are keyed with a secret of this board.
 * The registry enters a machine twice with board_put_machine: under its identifier and under its uuid. ---- */
uint32_t board_find_tenant(const board *b, const uuid *id, board_tenant *out);
uint32_t board_find_user(const board *b, const uuid *id, board_user *out);
uint32_t board_find_key(const board *b, const uint8_t hash[32], board_key *out);
bool     board_is_blocked(const board *b, const uuid *jti);
uint32_t board_find_machine(const board *b, uint32_t tenant, view identifier, board_machine *out); /* live ones only */
uint32_t board_find_machine_id(const board *b, const uuid *id, board_machine *out); /* deleted ones too: see flags */
uint32_t board_find_rule(const board *b, const uuid *id, board_rule *out);
uint32_t board_find_series(const board *b, uint16_t part, uint32_t machine, view metric, board_series *out);

/* The same for the hot path, once a reading, without copying records.  Live machines only. */
uint32_t board_machine_no_part(const board *b, uint32_t tenant, view identifier, uint16_t *part);
uint32_t board_series_no(const board *b, uint16_t part, uint32_t machine, view metric, view unit, bool *same_unit);

/* Writers: 0 or a negative code. Numbers are the registry's (or the partition's) own, persistent ones. */
NODISCARD int board_put_tenant(board *b, const board_tenant *r);
NODISCARD int board_put_user(board *b, const board_user *r);
NODISCARD int board_put_key(board *b, const board_key *r);
NODISCARD int board_put_blocked(board *b, const board_blocked *r);
NODISCARD int board_put_machine(board *b, board_machine *r, view identifier, view name, view location);
NODISCARD int board_put_rule(board *b, board_rule *r, view metric, view name, view message,
                             view conditions);
NODISCARD int board_put_series(board *b, uint16_t part, uint32_t no, uint32_t machine, uint32_t tenant,
                               view metric, view unit);
NODISCARD int board_put_latest(board *b, uint16_t part, uint32_t series, const board_latest *r);
NODISCARD int board_put_arrival(board *b, uint16_t part, uint32_t machine, const board_arrival *r);
/* False: it has no reading, or none any longer (a record with lsn 0). */
bool board_latest_of(const board *b, uint16_t part, uint32_t series, board_latest *out);
bool board_arrival_of(const board *b, uint16_t part, uint32_t machine, board_arrival *out);
view board_string(const board *b, enum board_file file, uint16_t part, table_string s);

/* Series of a machine, for `latest` of one machine: ingest links them when it makes one.
 * First series of the machine / the next one of the same machine; 0 ends. */
uint32_t board_machine_first_series(const board *b, uint16_t part, uint32_t machine);
uint32_t board_next_series(const board *b, uint16_t part, uint32_t series);

/* ---- words ---- */
uint64_t board_registry_seq(const board *b); /* bumped by the registry after every commit it put on the board */
uint64_t board_rules_seq(const board *b);    /* grows when a rule changes, over restarts too */
void     board_bump_registry(board *b, bool rules_changed);
void     board_set_rules_seq(board *b, uint64_t seq); /* the rules as of there are on the board; a smaller one is no news */
/* A front says for which tenants it has live subscribers; ingest asks before it sends a FEED. */
void     board_watch_tenant(board *b, uint16_t front, uint32_t tenant, bool live);
/* The same words as a copier moves them: what a front says, in one piece; the two sequences. */
size_t   board_front_len(const board *b);
void     board_front_words(const board *b, uint16_t front, void *out);
void     board_put_front_words(board *b, uint16_t front, view words); /* others than that many bytes: not taken */
void     board_put_sequences(board *b, uint64_t registry_seq, uint64_t rules_seq);
/* Newest readings of a partition are not all on the board: as it is made, and while its ingest actor replays. */
void     board_say_filling(board *b, bool filling);
bool     board_is_filling(const board *b, uint16_t part);
bool     board_is_copied(const board *b); /* other nodes have copies of it */
bool     board_anyone_watches(const board *b);
bool     board_front_watches(const board *b, uint16_t front, uint32_t tenant);

#endif
