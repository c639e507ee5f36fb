/* call_ask.c - what a call asks of other actors, and the answers.
 *
 *   call_ask -> ak_ask -> ... reply -> call_on_reply -> then()
 *            \ no room: postponed, tried once a turn until the call's time is over
 */
#include "api/front.h"
#include "proto/err.h"

#include <stdio.h>
#include <stdlib.h>

enum { POSTPONED_MAX = 1024 };

/* An ask for which there is no room now waits here: answers under way give their room back. */
struct postponed {
    postponed *next;
    ask       *a;
    addr       to;
    uint64_t   until_ns;
    uint32_t   window;
    uint32_t   len;
    uint16_t   type;
    _Alignas(16) uint8_t body[];
};

ask *
call_expect(call *c, call_then *then, bool raw)
{
    ask *a = c->f->free_asks;

    if (a != NULL)
        c->f->free_asks = a->next;
    else
        a = malloc(sizeof *a);
    ASSERT(a != NULL);
    *a = (ask){ .c = c, .then = then, .raw = raw, .next = c->asks };
    c->asks = a;
    return a;
}

void
call_unexpect(ask *a)
{
    call *c = a->c;
    ask **at = &c->asks;

    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    a->c = NULL;
    a->next = c->f->free_asks;
    c->f->free_asks = a;
}

void
call_release_asks(front *f)
{
    for (ask *a = f->free_asks, *next; a != NULL; a = next) {
        next = a->next;
        free(a);
    }
    for (postponed *p = f->postponed, *next; p != NULL; p = next) {
        next = p->next;
        free(p);
    }
    f->free_asks = NULL;
    f->postponed = NULL;
}

static int
fail_code(const ak_msg *m)
{
    int32_t rc = E_LATE;

    if (m->type == MSG_FAIL && m->len >= sizeof rc)
        memcpy(&rc, m->body, sizeof rc);
    return rc;
}

void
call_on_reply(front *f, const ak_msg *m)
{
    ask       *a = m->ctx;
    call      *c;
    call_then *then;
    bool       failed = m->type == MSG_FAIL || m->type == MSG_LATE;
    bool       raw;

    if (a == NULL || a->c == NULL)
        return;
    c = a->c;
    then = a->then;
    raw = a->raw;
    c->reply_tag = a->tag;
    ASSERT(c->f == f);
    if (!(m->flags & ENV_MORE))
        call_unexpect(a);
    ak_trace(f->k, c->trace);
    if (c->x == NULL)
        call_free_if_over(c);
    else if (failed && !raw)
        call_unavailable(c, addr_kind(m->from), fail_code(m));
    else
        then(c, m);
}

static bool
try_ask(front *f, const postponed *p, const void *body, uint64_t wait_ns)
{
    if (p->window == 0)
        p->a->corr = ak_ask(f->k, p->to, p->type, body, p->len, wait_ns, p->a);
    else
        p->a->corr = ak_ask_stream(f->k, p->to, p->type, body, p->len, wait_ns, p->a, p->window);
    return p->a->corr != 0;
}

static void
give_up_ask(const postponed *p)
{
    call *c = p->a->c;

    call_unexpect(p->a);
    if (c->x == NULL)
        call_free_if_over(c);
    else
        call_unavailable(c, addr_kind(p->to), E_FULL);
}

/* Once a turn.  What waits longest comes first; a destination that is full holds up its own only. */
void
call_retry_asks(front *f)
{
    postponed **at = &f->postponed;
    uint64_t    now = f->postponed == NULL ? 0 : front_now_ns();
    uint32_t    full = 0;

    while (*at != NULL) {
        postponed *p = *at;
        bool       gone = p->a->c->x == NULL || p->until_ns <= now;
        uint32_t   kind = 1u << addr_kind(p->to);

        if (!gone && ((full & kind) != 0 || !try_ask(f, p, p->body, p->until_ns - now))) {
            full |= kind;
            at = &p->next;
            continue;
        }
        *at = p->next;
        if (*at == NULL)
            f->postponed_tail = at;
        f->postponed_count--;
        if (gone)
            give_up_ask(p);
        free(p);
    }
}

static void
start_ask(call *c, const postponed *p, const void *body)
{
    front     *f = c->f;
    postponed *later;

    if (f->postponed == NULL && try_ask(f, p, body, call_within_ns(c)))
        return;
    if (f->postponed_count >= POSTPONED_MAX) {
        give_up_ask(p);
        return;
    }
    later = malloc(sizeof *later + p->len);
    ASSERT(later != NULL);
    *later = *p;
    later->next = NULL;
    later->until_ns = front_now_ns() + call_within_ns(c);
    if (p->len > 0)
        memcpy(later->body, body, p->len);
    *f->postponed_tail = later;
    f->postponed_tail = &later->next;
    f->postponed_count++;
}

void
call_ask(call *c, addr to, uint16_t type, const void *body, uint32_t len, call_then *then)
{
    ask *a = call_expect(c, then, false);

    start_ask(c, &(postponed){ .a = a, .to = to, .type = type, .len = len }, body);
}

void
call_ask_stream(call *c, addr to, uint16_t type, const void *body, uint32_t len, uint32_t window,
                call_then *then)
{
    ask *a = call_expect(c, then, true);

    a->stream = true;
    start_ask(c, &(postponed){ .a = a, .to = to, .type = type, .len = len, .window = window },
              body);
}

void
call_cancel(call *c, uint64_t corr)
{
    ask *a = c->asks;

    while (a != NULL && a->corr != corr)
        a = a->next;
    if (a == NULL)
        return;
    ak_cancel(c->f->k, corr);
    call_unexpect(a);
}

void
call_registry(call *c, uint16_t op, view params, call_then *then)
{
    reg_ask  head = { op, c->who.key != 0 ? ROLE_NONE : c->who.role, c->who.tenant, c->who.user,
                      c->who.key };
    uint32_t len = (uint32_t)(sizeof head + params.len);
    uint8_t *body;

    if (len > msg_row_of(MSG_REG)->body_max) {
        call_fail(c, 413, "Request body is too large.");
        return;
    }
    body = call_alloc(c, len);
    memcpy(body, &head, sizeof head);
    if (params.len > 0)
        memcpy(body + sizeof head, params.at, params.len);
    call_ask(c, addr_of(KIND_REGISTRY, 0), MSG_REG, body, len, then);
}

bool
call_reg_reply(call *c, const ak_msg *reply, reg_done *head, view *value)
{
    if (reply->type != MSG_REG_DONE || reply->len < sizeof *head)
        goto bad;
    memcpy(head, reply->body, sizeof *head);
    *value = view_of((const uint8_t *)reply->body + sizeof *head, reply->len - sizeof *head);
    if (head->status >= 200 && head->status <= 599)
        return true;
bad:
    call_unavailable(c, KIND_REGISTRY, E_BAD);
    return false;
}

/* ---- the reply of the registry as an answer ---- */

static void
fail_with_packed(call *c, uint16_t status, view value)
{
    pack_doc d;
    char     detail[512] = "";

    if (pack_open(&d, value) < 0) {
        call_fail(c, status, http_reason(status));
        return;
    }
    if (pack_root(&d)->type == MSGPACK_OBJECT_STR)
        snprintf(detail, sizeof detail, "%.*s",
                 (int)min_u64(pack_root(&d)->via.str.size, sizeof detail - 1),
                 pack_root(&d)->via.str.ptr);
    pack_doc_close(&d);
    call_fail(c, status, detail);
}

void
route_registry_answer(call *c, const ak_msg *reply)
{
    reg_done head;
    view     value;

    if (!call_reg_reply(c, reply, &head, &value))
        return;
    if (head.status >= 400) {
        if (head.status == 503)
            call_add_header(c, "Retry-After", VIEW_LIT("1"));
        fail_with_packed(c, head.status, value);
    } else if (head.status == 204) {
        call_send_empty(c, 204);
    } else if (!json_from_pack(call_json(c), value)) {
        call_unavailable(c, KIND_REGISTRY, E_BAD);
    } else {
        call_send_json(c, head.status);
    }
}
