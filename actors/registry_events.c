/* registry_events.c - what happened to a tenant, numbered: frames for its WebSockets, and the last ones for who missed some.
 *
 * In the meta family, in the batch of the transition itself:
 *
 *   "seq"  be32 tenant           u64                            the tenant's last event
 *   "evt"  be32 tenant be64 seq  u16 kind, u32 machine, text    the frame, of the last REG_EVENTS_KEPT
 *
 * A front is sent each event once, on an edge that sheds; it finds a hole by the number and asks for what is behind it,
 * as a client does that comes back (`resume`).  The tenant's record on the board says which number is the last.
 */
#include "actors/registry_internal.h"
#include "proto/err.h"
#include "proto/log.h"

#include <stdlib.h>

enum { SEQ_KEY = 7, EVENT_KEY = 15, EVENT_HEAD = 6 };

static void
seq_key(uint32_t tenant, uint8_t key[SEQ_KEY])
{
    memcpy(key, "seq", 3);
    store_be32(key + 3, tenant);
}

static void
event_key(uint32_t tenant, uint64_t seq, uint8_t key[EVENT_KEY])
{
    memcpy(key, "evt", 3);
    store_be32(key + 3, tenant);
    store_be64(key + 7, seq);
}

/* ---- one happens ---- */

uint64_t
reg_event_next(registry *r, reg_tenant *t)
{
    uint8_t key[SEQ_KEY];

    t->event_seq++;
    seq_key(t->no, key);
    regstore_put(r->store, REG_META, view_of(key, sizeof key), view_of(&t->event_seq, 8));
    r->wrote = true;
    reg_touch(r, BOARD_TENANTS, t);
    return t->event_seq;
}

static void
keep(registry *r, const reg_event *e)
{
    uint8_t  key[EVENT_KEY];
    uint8_t *value = malloc(EVENT_HEAD + e->len);

    ASSERT(value != NULL);
    memcpy(value, &e->head.kind, 2);
    memcpy(value + 2, &e->head.machine, 4);
    memcpy(value + EVENT_HEAD, e->text, e->len);
    event_key(e->head.tenant, e->head.seq, key);
    regstore_put(r->store, REG_META, view_of(key, sizeof key), view_of(value, EVENT_HEAD + e->len));
    free(value);
    if (e->head.seq <= REG_EVENTS_KEPT)
        return;
    event_key(e->head.tenant, e->head.seq - REG_EVENTS_KEPT, key);
    regstore_delete(r->store, REG_META, view_of(key, sizeof key));
}

void
reg_event_add(registry *r, reg_tenant *t, enum event_kind kind, uint32_t machine, json_out *frame)
{
    reg_event *e;

    if (frame->failed || frame->len > REG_EVENT_MAX) {
        log_error("registry.event", "tenant=%u error=\"frame of %zu bytes\"", t->no, frame->len);
        json_out_free(frame);
        return;
    }
    if (r->event_count == r->event_room) {
        r->event_room = r->event_room == 0 ? 16 : r->event_room * 2;
        r->events = realloc(r->events, r->event_room * sizeof *r->events);
        ASSERT(r->events != NULL);
    }
    e = &r->events[r->event_count++];
    *e = (reg_event){
        .head = { .tenant = t->no, .kind = (uint16_t)kind, .machine = machine, .seq = t->event_seq },
        .text = frame->at,
        .len = (uint32_t)frame->len,
    };
    keep(r, e);
}

void
reg_drop_events(registry *r)
{
    for (uint32_t i = 0; i < r->event_count; i++)
        free(r->events[i].text);
    r->event_count = 0;
}

int
reg_events_load(registry *r)
{
    for (uint32_t i = 0; i < r->tenants.count; i++) {
        reg_tenant *t = r->tenants.at[i];
        uint8_t     key[SEQ_KEY];
        uint8_t    *value = NULL;
        size_t      len = 0;

        if (t == NULL)
            continue;
        seq_key(t->no, key);
        int rc = regstore_get(r->store, REG_META, view_of(key, sizeof key), &value, &len);
        if (rc == E_NOTFOUND)
            continue;
        if (rc < 0)
            return err(rc, "events of tenant %u", t->no);
        if (len == 8)
            t->event_seq = load_u64(value);
        regstore_free(value);
    }
    return E_OK;
}

/* ---- those missed ---- */

typedef struct missed {
    pack     items;
    uint32_t count;
    uint64_t upto; /* everything up to there was looked at */
    bool     cut;
} missed;

static int
add_missed(void *ctx, view key, view value)
{
    missed  *m = ctx;
    uint16_t kind;
    uint32_t machine;

    if (key.len != EVENT_KEY || value.len < EVENT_HEAD)
        return 0;
    if (pack_view(&m->items).len + value.len + 64 > REG_LIST_MAX) {
        m->cut = true;
        return 1;
    }
    memcpy(&kind, value.at, 2);
    memcpy(&machine, value.at + 2, 4);
    m->upto = load_be64(key.at + 7);
    m->count++;
    pack_map(&m->items, 4);
    pack_name_int(&m->items, "seq", (int64_t)m->upto);
    pack_name_int(&m->items, "kind", kind);
    pack_name_int(&m->items, "machine", machine);
    pack_name_str(&m->items, "text", view_of(value.at + EVENT_HEAD, value.len - EVENT_HEAD));
    return 0;
}

static uint16_t
op_events(reg_call *c)
{
    uint64_t after = (uint64_t)reg_int(c, "after", 0);
    uint64_t until = (uint64_t)reg_int(c, "until", INT64_MAX - 1);
    missed   m = { .upto = until };
    uint8_t  from[EVENT_KEY], to[EVENT_KEY];
    int      rc;

    if (c->tenant == NULL)
        return reg_fail(c, 404, "Tenant not found.");
    event_key(c->tenant->no, after + 1, from);
    event_key(c->tenant->no, until + 1, to);
    pack_init(&m.items);
    rc = after >= until ? 0
                        : regstore_scan(c->r->store, REG_META, view_of(from, sizeof from), view_of(to, sizeof to), false,
                                        add_missed, &m);
    if (rc < 0) {
        pack_fini(&m.items);
        err_clear();
        return reg_fail(c, 503, "The events cannot be read; retry.");
    }
    pack_map(c->out, 2);
    pack_name_int(c->out, "upto", (int64_t)(m.cut ? m.upto : until));
    pack_str(c->out, VIEW_LIT("events"));
    pack_array(c->out, m.count);
    view raw = pack_view(&m.items);
    if (raw.len > 0)
        msgpack_sbuffer_write(&c->out->buffer, (const char *)raw.at, raw.len);
    pack_fini(&m.items);
    return 200;
}

const reg_op_fn reg_event_ops[] = {
    { REG_EVENTS, op_events },
    { 0 },
};
