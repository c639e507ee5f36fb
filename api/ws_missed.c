/* ws_missed.c - events that did not come by themselves, asked of the registry.
 *
 *   a client   {"resume":n}       (n, joined]: what happened before it was there
 *   an audience                   what its edge from the registry shed
 *
 * What the registry does not keep any longer is told as {"type":"gap","from","to"}.  Until a client has what it missed,
 * newer events wait; and it is asked for a page at a time, when the last one is on its way.
 */
#include "api/ws_inner.h"
#include "proto/err.h"
#include "proto/pack.h"
#include "proto/reg_ops.h"

enum { WITHIN_S = 5 };

/* ---- asking ---- */

static bool
ask_events(ws *w, const ws_ask *what, uint64_t after)
{
    reg_ask head = { .op = REG_EVENTS, .role = ROLE_SYSTEM, .tenant = what->tenant };
    ws_ask *slot = NULL;
    pack    p;

    for (uint32_t i = 0; i < WS_ASKS && slot == NULL; i++)
        slot = w->asks[i].used ? NULL : &w->asks[i];
    if (slot == NULL)
        return false;
    pack_init(&p);
    msgpack_sbuffer_write(&p.buffer, (const char *)&head, sizeof head);
    pack_map(&p, 2);
    pack_name_int(&p, "after", (int64_t)after);
    pack_name_int(&p, "until", (int64_t)what->until);
    if (ak_ask(w->f->k, addr_of(KIND_REGISTRY, 0), MSG_REG, pack_view(&p).at, (uint32_t)pack_view(&p).len,
               WITHIN_S * NS_PER_S, slot) != 0) {
        *slot = *what;
        slot->used = true;
    }
    pack_fini(&p);
    return slot->used;
}

void
ws_repair(ws_audience *a)
{
    uint64_t until = ws_board_seq(a->w, a->tenant);

    if (!a->repairing && until > a->last_seq)
        a->repairing = ask_events(a->w, &(ws_ask){ .tenant = a->tenant, .until = until, .repairs = true }, a->last_seq);
}

void
ws_resume_more(ws_client *c)
{
    if (!c->asking)
        c->asking = ask_events(c->w, &(ws_ask){ .tenant = c->who.tenant, .until = c->joined_seq, .client = c }, c->resume_seq);
}

void
ws_missed_forget(ws_client *c)
{
    for (uint32_t i = 0; i < WS_ASKS && c->asking; i++)
        if (c->w->asks[i].client == c)
            c->w->asks[i].client = NULL;
    c->asking = c->resuming = false;
}

/* The tenant's events are kept here from there on, and it was told none of them yet: its cursor goes back. */
static bool
rewind_to(ws_client *c, uint64_t seq)
{
    const ws_log *l = &c->audience->events;

    for (uint64_t at = l->first; !c->told && at < l->end; at++) {
        const ws_block *b = ws_log_block(l, at);

        if (b->frames[at - b->first].seq != seq)
            continue;
        c->next_event = at;
        c->audience->urgent = true;
        return true;
    }
    return false;
}

void
ws_resume(ws_client *c, uint64_t seq)
{
    if (seq >= c->joined_seq || c->resuming || rewind_to(c, seq + 1))
        return;
    c->resuming = true;
    c->resume_seq = seq;
    ws_resume_more(c);
}

/* ---- what comes ---- */

typedef struct missed {
    pack_doc              doc;
    const msgpack_object *events; /* an array */
    uint64_t              upto;
} missed;

static bool
missed_open(missed *d, const ak_msg *m)
{
    reg_done head;
    int64_t  upto;

    if (m->type != MSG_REG_DONE || m->len < sizeof head)
        return false;
    memcpy(&head, m->body, sizeof head);
    if (head.status != 200 ||
        pack_open(&d->doc, view_of((const uint8_t *)m->body + sizeof head, m->len - sizeof head)) < 0) {
        err_clear();
        return false;
    }
    d->events = pack_get(pack_root(&d->doc), "events");
    if (d->events != NULL && d->events->type == MSGPACK_OBJECT_ARRAY &&
        pack_get_int(pack_root(&d->doc), "upto", &upto)) {
        d->upto = (uint64_t)upto;
        return true;
    }
    pack_doc_close(&d->doc);
    return false;
}

static bool
missed_event(const missed *d, uint32_t i, ws_frame *f, view *text)
{
    const msgpack_object *e = &d->events->via.array.ptr[i];
    int64_t               seq, kind, machine;

    if (e->type != MSGPACK_OBJECT_MAP || !pack_get_int(e, "seq", &seq) || !pack_get_int(e, "kind", &kind) ||
        !pack_get_int(e, "machine", &machine) || !pack_get_str(e, "text", text))
        return false;
    *f = (ws_frame){ .type = kind == EVENT_ALERT ? WS_ALERT : WS_STATUS, .machine = (uint32_t)machine,
                     .seq = (uint64_t)seq };
    return true;
}

static void
repaired(ws_audience *a, const missed *d)
{
    ws_frame f;
    view     text;

    for (uint32_t i = 0; i < d->events->via.array.size; i++)
        if (missed_event(d, i, &f, &text) && f.seq > a->last_seq) {
            a->last_seq = f.seq;
            ws_audience_event(a, &f, text);
        }
    a->last_seq = max_u64(a->last_seq, d->upto);
}

static void
say_gap(ws_client *c, uint64_t from, uint64_t to)
{
    json_out *j = &c->w->json;

    json_reset(j);
    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("gap"));
    json_name_int(j, "from", (int64_t)from);
    json_name_int(j, "to", (int64_t)to);
    json_close(j, '}');
    ws_client_say(c, view_of(j->at, j->len));
}

static void
resumed(ws_client *c, const missed *d)
{
    ws_frame f;
    view     text;

    for (uint32_t i = 0; i < d->events->via.array.size; i++) {
        if (!missed_event(d, i, &f, &text) || f.seq <= c->resume_seq)
            continue;
        if (f.seq > c->resume_seq + 1)
            say_gap(c, c->resume_seq + 1, f.seq - 1);
        c->resume_seq = f.seq;
        if (ws_filter_wants(&c->filter, f.type, f.machine, 0))
            ws_client_say(c, text);
    }
    if (d->upto > c->resume_seq) {
        say_gap(c, c->resume_seq + 1, d->upto);
        c->resume_seq = d->upto;
    }
    c->resuming = c->resume_seq < c->joined_seq;
    if (!c->resuming)
        ws_client_due(c);
    else if (c->own.len == 0 && !c->writing)
        ws_resume_more(c);
}

/* What failed is asked again by the tick. */
bool
ws_on_reply(ws *w, const ak_msg *m)
{
    ws_ask       got;
    ws_audience *a;
    missed       d;
    bool         good;

    if ((uintptr_t)m->ctx < (uintptr_t)w->asks || (uintptr_t)m->ctx >= (uintptr_t)(w->asks + WS_ASKS))
        return false;
    got = *(ws_ask *)m->ctx;
    *(ws_ask *)m->ctx = (ws_ask){ 0 };
    a = ws_audience_of(w, got.tenant);
    if (got.client != NULL)
        got.client->asking = false;
    if (got.repairs && a != NULL)
        a->repairing = false;
    good = missed_open(&d, m);
    if (good && got.repairs && a != NULL)
        repaired(a, &d);
    else if (good && got.client != NULL && got.client->resuming)
        resumed(got.client, &d);
    if (good)
        pack_doc_close(&d.doc);
    if (good && got.repairs && a != NULL && a->last_seq < got.until)
        ws_repair(a);
    return true;
}
