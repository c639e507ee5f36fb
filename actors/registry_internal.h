/* registry_internal.h - the registry without its actor: records in memory, one store, operations.
 *
 *   params ──▶ operation ──▶ record in memory          (later operations of the batch see it)
 *                        ├─▶ staged put in the store   (reg_commit makes the batch durable)
 *                        ├─▶ "touched" list            (reg_commit shows it on the board afterwards)
 *                        └─▶ events                    (whoever runs it sends them after the commit)
 *
 * The same operations run inside the actor (registry.c) and without a kernel (registry_local.c), so nothing
 * here knows ak.h.  Records live until the registry closes: what is deleted stays as a tombstone, because its
 * number is never given again and the board has to hear of it after any crash.
 */
#ifndef HALTLESS_ACTORS_REGISTRY_INTERNAL_H
#define HALTLESS_ACTORS_REGISTRY_INTERNAL_H

#include "proto/secrets.h"
#include "proto/json.h"
#include "proto/pack.h"
#include "proto/reg_ops.h"
#include "proto/rows.h"
#include "storage/regstore.h"
#include "transport/board.h"

enum {
    REG_REPLY_MAX = 65536,       /* of MSG_REG, head included */
    REG_LIST_MAX = 48 << 10,     /* bytes of items in one answer: the asker comes again for the rest */
    REG_ALERTS_KEPT = 100000,    /* alerts of a tenant; over it the oldest resolved ones go */
    REG_SESSIONS_PER_USER = 100, /* over it the oldest goes */
    REG_REUSE_US = 10 * 1000000, /* two tabs may use the same refresh token within this */
    REG_EVENT_MAX = 8192 - (int)sizeof(event_head),
    REG_EVENTS_KEPT = 1000, /* of a tenant, for who comes back */
    REG_MESSAGE_MAX = 1000, /* bytes of an alert's text */
    REG_VERSIONS = 4,       /* of a rule that are remembered */
};

/* ---- pointers in order, and pointers by hash ---- */
typedef struct reg_list {
    void   **at;
    uint32_t count;
    uint32_t room;
} reg_list;

void reg_list_add(reg_list *l, void *record);
void reg_list_remove(reg_list *l, const void *record);
void reg_list_fini(reg_list *l);

typedef struct reg_slot {
    uint64_t hash;
    void    *record; /* NULL: never used */
} reg_slot;

typedef struct reg_index {
    reg_slot *slot;
    uint32_t  room; /* a power of two, or 0 */
    uint32_t  used; /* with removed ones */
    uint64_t  seed;
} reg_index;

void  reg_index_put(reg_index *x, uint64_t hash, void *record);
void  reg_index_remove(reg_index *x, uint64_t hash, const void *record);
/* Walks the records under `hash`: *at = 0 to start; NULL ends it. */
void *reg_index_next(const reg_index *x, uint64_t hash, uint32_t *at);
void  reg_index_fini(reg_index *x);

/* ---- records.  A view member owns its bytes (reg_text_set). ---- */
void reg_text_set(view *text, view to);
void reg_text_fini(view *text);

typedef struct reg_tenant {
    uuid     id;
    uint32_t no;
    uint8_t  tier;
    uint8_t  subscription;
    int64_t  created_us;
    view     name;
    uint64_t event_seq; /* of the last event */
    uint64_t audit_seq; /* of the last audit entry, and its hash */
    uint8_t  audit_hash[DIGEST_LEN];
    reg_list users; /* live ones, by number */
    reg_list keys;
    reg_list machines;
    reg_list groups;
    reg_list rules;
    reg_list alerts; /* all, oldest first */
    reg_list channels;
    reg_list escalations;
    uint32_t outbox_pending;
    uint32_t storm_count; /* alerts since storm_from_us; memory only */
    int64_t  storm_from_us;
} reg_tenant;

typedef struct reg_user {
    uuid        id;
    uint32_t    no;
    uint8_t     role;
    bool        active;
    bool        deleted;
    bool        onboarded;
    int64_t     created_us;
    int64_t     updated_us;
    int64_t     tokens_from_us;
    int64_t     last_login_us; /* INT64_MIN: never */
    view        email;
    view        full_name;
    view        password_hash;
    reg_tenant *tenant;
    reg_list    sessions; /* oldest first */
} reg_user;

/* One family of refresh tokens: the token in use, and the one before it. */
typedef struct reg_session {
    uuid      family;
    reg_user *user;
    int64_t   created_us;
    int64_t   expires_us;
    int64_t   rotated_us; /* 0: never */
    uint8_t   hash[DIGEST_LEN];
    uint8_t   before[DIGEST_LEN];
    view      answer; /* of the last rotation, for REG_REUSE_US; never stored */
} reg_session;

typedef struct reg_blocked {
    uuid    jti;
    int64_t until_us;
} reg_blocked;

typedef struct reg_key {
    uuid        id;
    uint32_t    no;
    uint32_t    scopes;
    bool        revoked;
    int64_t     expires_us; /* 0: never */
    int64_t     created_us;
    int64_t     last_used_us; /* INT64_MIN: not known */
    uint32_t    created_by;
    uint8_t     hash[DIGEST_LEN];
    char        prefix[8];
    view        name;
    reg_tenant *tenant;
} reg_key;

typedef struct reg_group {
    uuid              id;
    uint32_t          no;
    uint32_t          machines; /* counted from the machines, not stored */
    int64_t           created_us;
    int64_t           updated_us;
    view              name;
    view              description; /* .at == NULL: null */
    struct reg_group *parent;      /* NULL: at the top */
    reg_tenant       *tenant;
} reg_group;

typedef struct reg_machine {
    uuid        id;
    uint32_t    no;
    uint32_t    offline_after_s;
    uint16_t    part;
    uint8_t     protocol;
    bool        active;
    bool        deleted;
    uint32_t    open_alerts; /* counted from the alerts, not stored */
    uint32_t    open_critical;
    uint32_t    open_warning;
    int64_t     created_us;
    int64_t     updated_us;
    view        identifier;
    view        name;
    view        location; /* .at == NULL: null */
    view        timezone;
    reg_group  *group; /* NULL: none */
    reg_tenant *tenant;
} reg_machine;

typedef struct reg_channel    reg_channel; /* registry_notify.h */

typedef struct reg_rule {
    uuid         id;
    uint32_t     no;
    uint32_t     version;
    uint32_t     live_from; /* version from which on it knows only its own */
    uint64_t     seq;       /* of the change that made this version: rules_seq */
    uint8_t      op;
    uint8_t      severity;
    bool         active;
    bool         deleted;
    bool         has_clear;
    uint8_t      type;   /* enum rule_type */
    uint8_t      method; /* enum rule_method */
    uint8_t      logic;  /* enum rule_logic */
    uint32_t     window_s;
    double       sensitivity;
    double       threshold;
    double       clear_threshold;
    uint32_t     duration_s;
    uint32_t     cooldown_s;
    int64_t      created_us;
    int64_t      updated_us;
    view         name;
    view         metric;
    view         message; /* .at == NULL: the default text */
    view         conditions; /* packed (rules.h); .at == NULL: none */
    view         channels; /* u32 numbers of channels; .at == NULL: all that are active */
    view         was[REG_VERSIONS]; /* versions that were in force before (rules.h packs them), oldest first; owned */
    reg_machine *machine;  /* NULL: every machine */
    reg_group   *group;    /* of that group; NULL: any */
    reg_tenant  *tenant;
} reg_rule;

typedef struct reg_alert {
    uuid         id;
    uint64_t     no;
    uint8_t      severity;
    bool         dropped; /* on its way out */
    bool         cleared; /* its last transition closed it; else it was opened, whatever people and edits did to it since */
    bool         held;    /* a person resolved it, and its condition has not cleared since: nothing is opened */
    bool         counted; /* in its machine's open_alerts */
    bool         loud;    /* in its machine's counts by severity: open, and not snoozed now */
    double       value;
    double       threshold;
    double       peak;
    int64_t      created_us;
    int64_t      reading_us;
    uint64_t     pos;             /* where the alert actor decided its last transition */
    int64_t      resolved_us;     /* INT64_MIN: open */
    int64_t      acknowledged_us; /* INT64_MIN: not */
    int64_t      snoozed_us;      /* until; INT64_MIN: not */
    uint32_t     acknowledged_by;
    uint32_t     resolved_by; /* 0: it closed by itself */
    uint64_t     escalated;   /* a bit for each policy (its slot) that fired */
    view         message;
    view         metric;
    reg_rule    *rule;
    reg_machine *machine;
    reg_tenant  *tenant;
} reg_alert;

static inline bool
reg_alert_is_open(const reg_alert *a)
{
    return a->resolved_us == INT64_MIN;
}

/* ---- the registry ---- */
typedef struct reg_event {
    event_head head;
    char      *text; /* owned */
    uint32_t   len;
} reg_event;

typedef struct reg_touched {
    enum board_file file;
    void           *record;
} reg_touched;

enum reg_counter { NEXT_TENANT, NEXT_USER, NEXT_KEY, NEXT_MACHINE, NEXT_RULE, NEXT_ALERT, NEXT_GROUP, NEXT_COMMENT, NEXT_CHANNEL,
                   NEXT_DELIVERY, NEXT_ESCALATION, NEXT_COUNTERS };

typedef struct registry {
    regstore *store;
    char     *dir;
    bool      suspect; /* a commit failed: the store refuses writes until it is opened again */
    board    *board; /* NULL: none is there (offline) */
    secrets   secrets;
    int64_t   now_us;
    uint16_t  parts;
    bool      registration_open; /* while there is a tenant already */
    bool      registration_first;
    struct {
        uint32_t machines, users, keys, rules, channels; /* that one tenant may have; 0: no cap */
    } caps;
    uint32_t  access_s;
    uint32_t  refresh_s;
    bool      wrote; /* something is staged in the store */
    bool      rules_changed;
    uint64_t  rules_seq; /* of the last change of a rule, of any tenant */

    uint64_t next[NEXT_COUNTERS];

    reg_list tenants; /* by number: at[no - 1] */
    reg_list users;
    reg_list keys;
    reg_list machines;
    reg_list groups;
    reg_list rules;
    reg_list channels;    /* NULL: deleted */
    reg_list escalations; /* NULL: deleted */
    reg_list blocked;
    reg_list all_alerts;   /* by number */
    reg_list snoozed;      /* open alerts whose snooze has not ended, in no order */
    reg_list all_sessions;

    reg_index by_uuid;       /* tenants, users, keys, machines, rules, alerts, sessions, groups: hash of (noun, uuid) */
    reg_index by_email;      /* live users */
    reg_index by_identifier; /* live machines */
    reg_index open_alerts;   /* by (rule, machine); held ones too */
    reg_index last_alerts;   /* by (rule, machine): the newest */
    uint64_t  seed;

    reg_list outbox;          /* pending deliveries, oldest first */
    int64_t  outbox_next_us;  /* when the next one that is not taken is due */
    bool     outbox_rang;     /* there is more for the notifier than it has heard of */
    int64_t  escalate_at_us;  /* when an alert may have waited long enough */
    uint32_t storm_alerts;    /* of a tenant in a minute, told one by one; 0: any number */

    reg_touched *touched;
    uint32_t     touched_count;
    uint32_t     touched_room;
    reg_event   *events;
    uint32_t     event_count;
    uint32_t     event_room;
} registry;

/* Opens DATA/registry and loads it.  b: NULL when nobody serves the directory. */
NODISCARD int reg_open(registry *r, const char *data_dir, board *b);
void          reg_close(registry *r);
/* Everything again from the store: after a batch that could not be committed. */
NODISCARD int reg_reload(registry *r);
/* While suspect: opens the store again, once the disk takes a small file.  Negative: still no writing; reading goes
 * on unless r->store is NULL. */
NODISCARD int reg_recover(registry *r);
/* Puts every live fact on the board (at start). */
void reg_show_all(registry *r);

/* Runs one operation; the value is packed into `out` and its HTTP status returned.  Nothing is durable, on the
 * board or an event on its way before reg_commit() and what follows it. */
uint16_t reg_run(registry *r, const reg_ask *ask, view params, pack *out);
NODISCARD int reg_commit(registry *r); /* E_OK also when nothing was written */
void reg_drop_events(registry *r);

/* ---- for the operations ---- */
typedef struct reg_call {
    registry             *r;
    const reg_ask        *ask;
    const reg_op_row     *row;
    const msgpack_object *params;
    reg_tenant           *tenant; /* NULL: operations without one */
    reg_user             *user;   /* who asks; NULL: a key or ourselves */
    pack                 *out;
} reg_call;

typedef uint16_t reg_fn(reg_call *c);
typedef struct reg_op_fn {
    uint16_t op;
    reg_fn  *fn;
} reg_op_fn;

extern const reg_op_fn reg_tenant_ops[];
extern const reg_op_fn reg_account_ops[];
extern const reg_op_fn reg_user_ops[];
extern const reg_op_fn reg_key_ops[];
extern const reg_op_fn reg_machine_ops[];
extern const reg_op_fn reg_group_ops[];
extern const reg_op_fn reg_rule_ops[];
extern const reg_op_fn reg_version_ops[];
extern const reg_op_fn reg_alert_ops[];
extern const reg_op_fn reg_alert_act_ops[];
extern const reg_op_fn reg_channel_ops[];
extern const reg_op_fn reg_outbox_ops[];
extern const reg_op_fn reg_escalation_ops[];
extern const reg_op_fn reg_event_ops[];

uint16_t reg_fail(reg_call *c, uint16_t status, const char *detail); /* returns status */

/* Parameters. */
view reg_text(const reg_call *c, const char *name); /* empty when missing */
bool reg_given(const reg_call *c, const char *name, view *text); /* present; .at == NULL for null */
bool reg_id(const reg_call *c, const char *name, uuid *id);
int64_t reg_int(const reg_call *c, const char *name, int64_t otherwise);
size_t reg_characters(view text); /* code points */
view reg_trim(view text);

/* Numbers, identities, storing. */
uint64_t reg_next(registry *r, enum reg_counter which);
void reg_put(registry *r, enum reg_family family, view key, const pack *value);
void reg_put_no(registry *r, enum reg_family family, uint32_t no, const pack *value);
void reg_delete(registry *r, enum reg_family family, view key);
void reg_touch(registry *r, enum board_file file, void *record);
void reg_note_time(registry *r, view name); /* a write that keeps nothing else */
/* 0, or 400: the tenant has `cap` of them already. */
uint16_t reg_within_cap(reg_call *c, const reg_list *have, uint32_t cap, const char *things);
bool reg_has_room(const registry *r, enum board_file file, enum reg_counter which);
uint64_t reg_hash(const registry *r, uint32_t salt, const void *data, size_t len);
uint64_t reg_hash_lower(const registry *r, view text); /* ASCII case does not count */
bool reg_same_lower(view a, view b);

enum reg_noun { NOUN_TENANT = 1, NOUN_USER, NOUN_KEY, NOUN_MACHINE, NOUN_RULE, NOUN_ALERT, NOUN_SESSION, NOUN_GROUP,
                NOUN_CHANNEL, NOUN_ESCALATION };
void  reg_enter(registry *r, enum reg_noun noun, const uuid *id, void *record);
void  reg_leave(registry *r, enum reg_noun noun, const uuid *id, const void *record);
/* The record of that identity: every record begins with its uuid. */
void *reg_find(const registry *r, enum reg_noun noun, const uuid *id);
void *reg_numbered(const reg_list *l, uint64_t no); /* at[no - 1] or NULL */
void  reg_set_numbered(reg_list *l, uint64_t no, void *record);

/* Lists: {"items","total","page","page_size","total_pages"} of `found`; "left": items of this page that did not
 * fit (the asker comes again with `skip`). */
typedef void reg_item_fn(reg_call *c, pack *out, const void *record);
uint16_t reg_answer_list(reg_call *c, const reg_list *found, reg_item_fn *item);

/* Reading stored values; missing ones are `otherwise`, or leave *text alone. */
int64_t reg_stored_int(const msgpack_object *map, const char *name, int64_t otherwise);
void    reg_stored_text(const msgpack_object *map, const char *name, view *text);
/* Runs fn for each value of a family; a value that cannot be read is logged and skipped. */
typedef int reg_load_fn(registry *r, view key, const msgpack_object *map);
NODISCARD int reg_scan(registry *r, enum reg_family family, reg_load_fn *fn);

/* ---- nouns: loading, in this order ---- */
NODISCARD int reg_tenants_load(registry *r);
NODISCARD int reg_accounts_load(registry *r); /* users, sessions, blocked */
NODISCARD int reg_keys_load(registry *r);
NODISCARD int reg_groups_load(registry *r);
NODISCARD int reg_machines_load(registry *r);
NODISCARD int reg_rules_load(registry *r);
NODISCARD int reg_alerts_load(registry *r);
NODISCARD int reg_audit_load(registry *r);
NODISCARD int reg_channels_load(registry *r);    /* before the outbox and escalations */
NODISCARD int reg_escalations_load(registry *r);
NODISCARD int reg_outbox_load(registry *r);
void reg_tenants_free(registry *r);
void reg_accounts_free(registry *r);
void reg_keys_free(registry *r);
void reg_machines_free(registry *r);
void reg_groups_free(registry *r);
void reg_rules_free(registry *r);
void reg_alerts_free(registry *r);
void reg_outbox_free(registry *r); /* before the channels */
void reg_escalations_free(registry *r);
void reg_channels_free(registry *r);

/* Record to board, after the commit. */
reg_tenant *reg_tenant_new(registry *r, view name);
view        reg_subscription_word(const reg_tenant *t);
NODISCARD int reg_show_tenant(registry *r, const reg_tenant *t);
NODISCARD int reg_show_user(registry *r, const reg_user *u);
NODISCARD int reg_show_blocked(registry *r, const reg_blocked *b);
NODISCARD int reg_show_key(registry *r, const reg_key *k);
NODISCARD int reg_show_machine(registry *r, const reg_machine *m);
NODISCARD int reg_show_rule(registry *r, const reg_rule *rule);

/* The audit: one entry of this operation, chained to the one before. */
void reg_audit(reg_call *c, const char *resource_type, const uuid *resource, view details);
void reg_audit_of(reg_call *c, reg_tenant *t, const reg_user *u, const char *resource_type, const uuid *resource,
                  view details);

/* Now and then: answers of REG_REUSE_US ago, and families whose time is over. */
void reg_sessions_sweep(registry *r);

/* Between nouns. */
reg_machine *reg_machine_of(reg_call *c, const char *name); /* live, of the caller's tenant; NULL: none */
reg_group   *reg_group_of(reg_call *c, const char *name); /* the same for a machine group */
void reg_machines_leave(registry *r, const reg_group *g); /* its machines are in no group then */
void reg_alerts_close_all(registry *r, const reg_rule *rule, const reg_machine *machine); /* NULL: any */
bool reg_rules_use(const reg_group *g);
/* registry_versions.c: what a rule was before the change that is about to be stored. */
board_rule reg_rule_form(const reg_rule *u);
void reg_rule_keep(registry *r, reg_rule *u);
void reg_versions_pack(pack *p, const reg_rule *u);
void reg_versions_load(reg_rule *u, const msgpack_object *map);
void reg_versions_free(reg_rule *u);
/* The machine left the group: alerts of the group's rules on it are closed. */
void reg_alerts_leave(registry *r, const reg_group *g, const reg_machine *m);
/* What time alone brings: snoozes that end, escalations.  When it brings something next; INT64_MAX: never. */
int64_t reg_turn(registry *r);
/* Alerts whose snooze is over count again.  When the next one is over; INT64_MAX: none is snoozed. */
int64_t reg_alerts_wake(registry *r);

/* registry_alerts.c, for registry_alert_acts.c: what people do to an alert. */
reg_alert *reg_alert_of(const reg_call *c, const uuid *id); /* of the caller's tenant, or NULL */
void reg_alert_store(registry *r, const reg_alert *a);
void reg_alert_set_message(const registry *r, reg_alert *a); /* registry_alert_text.c */
void reg_alert_pack(reg_call *c, pack *p, const void *record);
void reg_alert_snooze(registry *r, reg_alert *a, int64_t until_us); /* INT64_MIN: no longer */
/* Closed, and its pair held until the condition has cleared. */
void reg_alert_resolve(registry *r, reg_alert *a, const reg_user *by);
enum { REG_ALERT_KEY_LEN = 12 };
void reg_alert_key(const reg_alert *a, uint8_t key[REG_ALERT_KEY_LEN]);
void reg_comments_drop(registry *r, const reg_alert *a);

void reg_event_add(registry *r, reg_tenant *t, enum event_kind kind, uint32_t machine, json_out *frame);
uint64_t reg_event_next(registry *r, reg_tenant *t); /* the seq of the next event, persistently */
int reg_events_load(registry *r);

#endif
