/* registry_notify.h - channels, the outbox and escalation: what registry_channels.c, registry_outbox.c, notice.c and
 * registry_escalations.c share with each other and with alerts.
 *
 *   alert opens, closes ──▶ outbox: one delivery for each channel, in the same batch ──▶ note to the notifier
 *   open for wait_minutes ─▶ escalation ──▶ outbox
 *   notifier ──OUTBOX_TAKE──▶ what is due ──▶ ... ──OUTBOX_DONE──▶ delivered; or later; or, after a day, dead
 */
#ifndef HALTLESS_ACTORS_REGISTRY_NOTIFY_H
#define HALTLESS_ACTORS_REGISTRY_NOTIFY_H

#include "actors/registry_internal.h"

enum channel_type { CHANNEL_WEBHOOK, CHANNEL_SLACK, CHANNEL_TEAMS, CHANNEL_EMAIL, CHANNEL_TYPES };
extern const char *const channel_words[]; /* webhook, slack, teams, email */

struct reg_channel {
    uuid        id;
    uint32_t    no;
    uint32_t    leased; /* deliveries that the notifier has */
    uint8_t     type;
    bool        active;
    uint8_t     secret[SECRET_LEN];
    int64_t     created_us;
    int64_t     updated_us;
    view        name;
    view        target;  /* a URL or a mailbox */
    view        headers; /* a MessagePack map of texts; empty: none */
    reg_tenant *tenant;
    reg_list    deliveries; /* oldest first; of those that ended the newest ones only */
};

enum notice_event { NOTICE_TRIGGERED, NOTICE_RESOLVED, NOTICE_ESCALATED, NOTICE_STORM, NOTICE_TEST, NOTICE_EVENTS };
extern const char *const notice_words[]; /* alert.triggered, ... */
enum delivery_state { DELIVERY_PENDING, DELIVERY_DELIVERED, DELIVERY_DEAD };

/* More alerts in a minute than are told one by one. */
typedef struct reg_storm {
    int64_t  from_us, until_us;
    uint32_t triggered, resolved;
    uint32_t of_severity[3];
} reg_storm;

typedef struct reg_delivery {
    uuid         id; /* X-Haltless-Delivery: the same at every try */
    uint64_t     no;
    uint64_t     alert; /* number; 0: of no single one */
    uint8_t      event;
    uint8_t      state;
    bool         leased;
    uint16_t     http_status; /* of the last try; 0: none came */
    uint32_t     attempts;
    int64_t      created_us;
    int64_t      next_us; /* pending: not before */
    int64_t      ended_us; /* INT64_MIN: pending */
    view         alert_id; /* text; empty: none */
    view         error;    /* of the last try */
    view         body;     /* pending ones only */
    reg_storm    storm;
    reg_channel *channel;
} reg_delivery;

typedef struct reg_escalation {
    uuid         id;
    uint32_t     no;
    uint32_t     wait_minutes;
    uint8_t      severity;
    uint8_t      slot; /* 0..63: its bit in reg_alert.escalated, none other's of the tenant */
    bool         active;
    int64_t      created_us;
    int64_t      updated_us;
    view         name;
    reg_channel *channel;
    reg_tenant  *tenant;
} reg_escalation;

/* ---- registry_channels.c ---- */
reg_channel *reg_channel_by(const reg_call *c, const uuid *id); /* of the caller's tenant, or NULL */

/* ---- registry_outbox.c ---- */
/* Something happened to the alert: a delivery for each channel of its rule, or, in a storm, into the group's. */
void reg_outbox_alert(registry *r, const reg_alert *a, enum notice_event event);
void reg_outbox_escalate(registry *r, const reg_alert *a, const reg_escalation *by);
void reg_outbox_drop(registry *r, reg_channel *ch); /* its deliveries, all of them */
void reg_outbox_pack_test(registry *r, pack *p, const reg_channel *ch, const uuid *id);

/* ---- notice.c: the text of a message, for a channel's type ---- */
void notice_alert(json_out *body, const reg_channel *ch, const reg_alert *a, enum notice_event event, int64_t now_us,
                  const reg_escalation *by);
void notice_storm(json_out *body, const reg_channel *ch, const reg_storm *s, int64_t now_us);
void notice_test(json_out *body, const reg_channel *ch, int64_t now_us);

/* ---- registry_escalations.c ---- */
bool reg_escalations_use(const reg_channel *ch);
/* Fires what is due; when the next one is; INT64_MAX: none. */
int64_t reg_escalations_run(registry *r);
void    reg_escalations_look(registry *r, const reg_alert *opened); /* an alert opened: when it is due */

#endif
