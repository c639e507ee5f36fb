/* alert_asks.c - transitions and status changes on their way to the registry.
 *
 *   turns:  [ open 7/3 | close 7/3 | open 9/1 | ... ]   in order; at most TURNS_FLYING_MAX are asked at
 *            a time, never two of one rule and machine
 *
 * An ask that failed or was late is made again: to open an alert that is open, or to close one that is
 * closed, changes nothing.
 */
#include "actors/alert_internal.h"

#include "proto/err.h"
#include "proto/log.h"

#include <stdlib.h>

#define WITHIN_NS (5ull * 1000000000)
#define RETRY_NS  (500ull * 1000000)
enum { BODY_MAX = 1024 };

bool
alert__ask_registry(alert *a, enum reg_op op, uint32_t tenant, pack *p, void *ctx)
{
    reg_ask head = { .op = (uint16_t)op, .role = ROLE_SYSTEM, .tenant = tenant };
    view    map = pack_view(p);
    uint8_t body[BODY_MAX];

    ASSERT(sizeof head + map.len <= sizeof body);
    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, map.at, map.len);
    return ak_ask(a->k, addr_of(KIND_REGISTRY, 0), MSG_REG, body, (uint32_t)(sizeof head + map.len), WITHIN_NS,
                  ctx) != 0;
}

/* ---- turns ---- */

uint32_t
alert__turns_room(const alert *a)
{
    return TURNS_MAX - (uint32_t)(a->turns_end - a->turns_first);
}

void
alert__turn(alert *a, const turn *t)
{
    ASSERT(alert__turns_room(a) > 0);
    a->turns[a->turns_end++ % TURNS_MAX] = *t;
}

static bool
ask_turn(alert *a, turn_slot *slot)
{
    const turn *t = &slot->t;
    pack        p;
    bool        asked;

    pack_init(&p);
    pack_map(&p, 7);
    pack_name_int(&p, "rule", t->rule);
    pack_name_int(&p, "version", t->version);
    pack_name_int(&p, "machine", t->machine);
    pack_name_int(&p, "pos", (int64_t)t->pos);
    pack_name_int(&p, "time_us", t->time_us);
    pack_name_double(&p, "value", t->value);
    pack_name_double(&p, "peak", t->peak);
    asked = alert__ask_registry(a, t->opens ? REG_ALERT_OPEN : REG_ALERT_CLOSE, t->tenant, &p, slot);
    pack_fini(&p);
    slot->waits = !asked;
    return asked;
}

static turn_slot *
free_slot(alert *a)
{
    for (uint32_t i = 0; i < TURNS_FLYING_MAX; i++)
        if (!a->flying[i].used)
            return &a->flying[i];
    return NULL;
}

static bool
is_flying(const alert *a, const turn *t)
{
    for (uint32_t i = 0; i < TURNS_FLYING_MAX; i++)
        if (a->flying[i].used && a->flying[i].t.rule == t->rule && a->flying[i].t.machine == t->machine)
            return true;
    return false;
}

void
alert__retry_later(alert *a)
{
    if (!a->retry_set)
        ak_timer(a->k, RETRY_NS, &a->retry_set);
    a->retry_set = true;
}

/* Which alerts are open, a page at a time, before anything is judged. */
static void
ask_open(alert *a)
{
    pack p;

    if (a->loading)
        return;
    pack_init(&p);
    pack_map(&p, 2);
    pack_name_int(&p, "after", a->load_after);
    pack_str(&p, VIEW_LIT("judged"));
    pack_array(&p, a->feed_count);
    for (uint16_t i = 0; i < a->feed_count; i++)
        pack_int(&p, (int64_t)a->feeds[i].cursor);
    a->loading = alert__ask_registry(a, REG_ALERT_OPEN_ALL, 0, &p, &a->load_after);
    pack_fini(&p);
    if (!a->loading)
        alert__retry_later(a);
}

void
alert__asks_go(alert *a)
{
    turn_slot *slot;

    if (!a->loaded) {
        ask_open(a);
        return;
    }
    for (uint32_t i = 0; i < TURNS_FLYING_MAX; i++)
        if (a->flying[i].used && a->flying[i].waits && !ask_turn(a, &a->flying[i])) {
            alert__retry_later(a);
            return;
        }
    while (a->turns_first != a->turns_end && (slot = free_slot(a)) != NULL) {
        const turn *t = &a->turns[a->turns_first % TURNS_MAX];

        if (is_flying(a, t))
            return; /* its answer goes on */
        *slot = (turn_slot){ .used = true, .t = *t };
        a->turns_first++;
        if (!ask_turn(a, slot)) {
            alert__retry_later(a);
            return;
        }
    }
}

/* ---- status ---- */

bool
alert__status_changed(alert *a, uint32_t machine, uint8_t old_status, uint8_t new_status)
{
    board_machine m;
    uint32_t      i = 0;
    pack          p;
    bool          asked;

    while (i < STATUS_FLYING_MAX && a->status_flying[i].used)
        i++;
    if (i == STATUS_FLYING_MAX || !table_read(board_table(ak_board(a->k), BOARD_MACHINES, 0), machine, &m))
        return false;
    pack_init(&p);
    pack_map(&p, 4);
    pack_name_int(&p, "machine", machine);
    pack_name_str(&p, "old_status", view_str(status_words[old_status]));
    pack_name_str(&p, "new_status", view_str(status_words[new_status]));
    pack_name_int(&p, "time_us", ak_wall_us(a->k));
    a->status_flying[i] = (status_slot){ .used = true, .machine = machine, .old_status = old_status };
    asked = alert__ask_registry(a, REG_STATUS_CHANGED, m.tenant, &p, &a->status_flying[i]);
    pack_fini(&p);
    a->status_flying[i].used = asked;
    return asked;
}

/* ---- answers ---- */

/* The HTTP status; 0: no answer came. */
static uint16_t
status_of(const ak_msg *m)
{
    reg_done d;

    if (m->type != MSG_REG_DONE)
        return 0;
    memcpy(&d, m->body, sizeof d);
    return d.status;
}

static bool
is_trouble(uint16_t status)
{
    return status == 0 || status >= 500;
}

/* The last alert of a rule on a machine: it stands, or was decided behind what we know. */
static void
take_open(alert *a, const msgpack_object *item)
{
    int64_t      rule = 0, machine = 0, no = 0, pos = 0;
    double       peak = 0;
    bool         stands = true, cleared = false;
    feed_part   *f;
    alert_state *s;

    if (!pack_get_int(item, "rule", &rule) || !pack_get_int(item, "machine", &machine)
        || (s = alert__state(a, (uint32_t)rule, (uint32_t)machine)) == NULL)
        return;
    (void)pack_get_int(item, "pos", &pos);
    (void)pack_get_bool(item, "stands", &stands);
    (void)pack_get_bool(item, "cleared", &cleared);
    if (pack_get_int(item, "alert", &no) && no > a->load_after)
        a->load_after = no;
    f = alert__feed_of(a, (uint32_t)machine);
    if (f != NULL)
        f->known = max_u64(f->known, (uint64_t)pos / 2);
    if (f != NULL && (uint64_t)pos / 2 > f->cursor) {
        s->done_pos = (uint64_t)pos;
        s->done_open = !cleared; /* an edit that closed it has its place behind that, and begins the state anew */
    } else if (stands && s->flying == 0) { /* else what it waits for is the later word */
        if (!s->s.open && pack_get_double(item, "peak", &peak))
            s->s.peak = peak;
        s->s.open = true;
    }
}

bool
alert__page(const ak_msg *m, pack_doc *d)
{
    return status_of(m) == 200 && m->len >= sizeof(reg_done) &&
           pack_open(d, view_of((const uint8_t *)m->body + sizeof(reg_done), m->len - sizeof(reg_done))) == E_OK;
}

/* A page of open alerts; an empty one is the last. */
static void
take_page(alert *a, const ak_msg *m)
{
    pack_doc              d;
    const msgpack_object *root;
    int64_t               before = a->load_after;

    a->loading = false;
    if (!alert__page(m, &d)) {
        err_clear();
        alert__retry_later(a);
        return;
    }
    root = pack_root(&d);
    for (uint32_t i = 0; root->type == MSGPACK_OBJECT_ARRAY && i < root->via.array.size; i++)
        take_open(a, &root->via.array.ptr[i]);
    a->loaded = a->load_after == before;
    pack_doc_close(&d);
    if (a->loaded)
        alert__look_at_rules(a);
}

static void
turn_answered(alert *a, turn_slot *slot, uint16_t status)
{
    alert_state *s = alert__state_find(a, slot->t.rule, slot->t.machine);

    if (is_trouble(status)) {
        slot->waits = true;
        alert__retry_later(a);
        return;
    }
    slot->used = false;
    a->states.changed = true;
    if (s != NULL && s->flying > 0)
        s->flying--;
    if (slot->t.opens && status == 201)
        count_add(ak_counters(a->k), COUNT_ALERTS_OPENED, 1);
    if (!slot->t.opens && status < 300)
        count_add(ak_counters(a->k), COUNT_ALERTS_CLOSED, 1);
    if (slot->t.opens && status >= 400 && s != NULL) { /* the rule or the machine is gone */
        s->s.open = false;
        s->s.holding = false;
    }
}

void
alert__answered(alert *a, const ak_msg *m)
{
    uint16_t     status = status_of(m);
    uint8_t     *ctx = m->ctx;
    status_slot *changed;

    if (ctx == (uint8_t *)&a->load_after) {
        take_page(a, m);
    } else if (ctx >= (uint8_t *)a->flying && ctx < (uint8_t *)(a->flying + TURNS_FLYING_MAX)) {
        turn_answered(a, m->ctx, status);
    } else if (ctx >= (uint8_t *)a->status_flying && ctx < (uint8_t *)(a->status_flying + STATUS_FLYING_MAX)) {
        changed = m->ctx;
        changed->used = false;
        if (is_trouble(status))
            alert__status_refused(a, changed->machine, changed->old_status);
    }
    alert__asks_go(a);
}
