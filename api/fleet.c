/* fleet.c - GET /fleet/status, from the board alone.
 *
 * The machines table is one for all tenants; a front keeps for each tenant the list of its machine
 * numbers:
 *
 *     heads[tenant] -> first number
 *     next[number]  -> next number of that tenant, in order of creation
 *
 * New records are entered when the table has grown, so an answer costs what the tenant has, never
 * what is stored.  A large fleet is put together in slices, one a loop turn, and sent when it is whole.
 */
#include "actors/status.h"
#include "api/front.h"
#include "proto/err.h"

#include <stdlib.h>

typedef struct list {
    uint32_t first;
    uint32_t last;
    uint32_t count;
} list;

enum { SLICE_NS = 200000, SLICE_LOOK = 32, TEXT_MAX = 256 << 20 };

typedef struct answer answer;
struct answer {
    call    *c;
    answer  *next; /* in the queue of large ones */
    json_out text;
    int64_t  now_us;
    uint32_t no; /* the machine that comes next; 0: there are no more */
    uint32_t total;
    uint32_t counts[STATUS_CRITICAL + 1];
};

struct fleet {
    answer   *first;
    answer  **tail;
    uint32_t  seen; /* records entered so far */
    uint32_t  next_room;
    uint32_t *next;
    uint32_t  tenants_room;
    list     *tenants;
};

fleet *
fleet_new(void)
{
    fleet *fl = calloc(1, sizeof *fl);

    if (fl != NULL)
        fl->tail = &fl->first;
    return fl;
}

void
fleet_free(fleet *fl)
{
    if (fl == NULL)
        return;
    free(fl->next);
    free(fl->tenants);
    free(fl);
}

/* Room for index `want`; what is new is zero. */
static bool
grow(void **at, uint32_t *room, uint32_t want, size_t size)
{
    uint32_t more = *room == 0 ? 256 : *room;
    uint8_t *bigger;

    if (want < *room)
        return true;
    while (more <= want)
        more *= 2;
    bigger = realloc(*at, more * size);
    if (bigger == NULL)
        return false;
    memset(bigger + *room * size, 0, (more - *room) * size);
    *at = bigger;
    *room = more;
    return true;
}

static bool
enter(fleet *fl, uint32_t tenant, uint32_t machine)
{
    list *l;

    if (!grow((void **)&fl->tenants, &fl->tenants_room, tenant, sizeof(list)) ||
        !grow((void **)&fl->next, &fl->next_room, machine, sizeof(uint32_t)))
        return false;
    l = &fl->tenants[tenant];
    if (l->first == 0)
        l->first = machine;
    else
        fl->next[l->last] = machine;
    l->last = machine;
    l->count++;
    return true;
}

/* Stops at a number that is not there yet: it comes with the next look. */
static void
catch_up(fleet *fl, const board *b)
{
    const table  *machines = board_table(b, BOARD_MACHINES, 0);
    uint32_t      count = table_count(machines);
    uint32_t      tenants = table_capacity(board_table(b, BOARD_TENANTS, 0));
    board_machine m;

    while (fl->seen < count) {
        if (!table_read(machines, fl->seen + 1, &m))
            return;
        if (m.tenant > 0 && m.tenant <= tenants && !enter(fl, m.tenant, fl->seen + 1))
            return;
        fl->seen++;
    }
}

uint32_t
fleet_first(fleet *fl, const board *b, uint32_t tenant)
{
    catch_up(fl, b);
    return tenant < fl->tenants_room ? fl->tenants[tenant].first : 0;
}

uint32_t
fleet_next(const fleet *fl, uint32_t no)
{
    return no < fl->next_room ? fl->next[no] : 0;
}

static void
add_machine(json_out *j, const board *b, const board_machine *m, const board_arrival *a,
            enum machine_status status)
{
    json_open(j, '{');
    json_name_uuid(j, "id", &m->id);
    json_name_string(j, "name", board_string(b, BOARD_MACHINES, 0, m->name));
    json_name_string(j, "status", view_str(status_words[status]));
    json_name_int(j, "alert_count", m->open_alerts);
    json_name_time(j, "last_reading_at", a->arrived_us == 0 ? INT64_MIN : a->newest_us);
    json_name_string(j, "machine_identifier", board_string(b, BOARD_MACHINES, 0, m->identifier));
    json_close(j, '}');
}

/* ---- an answer under way ---- */

static void
unqueue(fleet *fl, const answer *n)
{
    for (answer **at = &fl->first; *at != NULL; at = &(*at)->next) {
        if (*at != n)
            continue;
        *at = n->next;
        if (*at == NULL)
            fl->tail = at;
        return;
    }
}

/* The call has ended. */
static void
drop(void *kept)
{
    answer *n = kept;

    unqueue(n->c->f->fleet, n);
    json_out_free(&n->text);
    free(n);
}

static void
add(answer *n, const board *b)
{
    board_machine       m;
    board_arrival       a = { 0 };
    enum machine_status status;

    if (!table_read(board_table(b, BOARD_MACHINES, 0), n->no, &m) || !(m.flags & BOARD_LIVE))
        return;
    if (m.part >= board_parts(b) || !board_arrival_of(b, m.part, n->no, &a))
        a = (board_arrival){ 0 };
    status = machine_status_of(&m, &a, n->now_us);
    n->counts[status]++;
    n->total++;
    add_machine(&n->text, b, &m, &a, status);
}

static void
finish(answer *n)
{
    json_out *j = &n->text;

    json_close(j, ']');
    json_name_int(j, "total_machines", n->total);
    json_name(j, VIEW_LIT("status_counts"));
    json_open(j, '{');
    for (int i = 0; status_words[i] != NULL; i++)
        json_name_int(j, status_words[i], n->counts[i]);
    json_close(j, '}');
    json_close(j, '}');
    call_send_taken(n->c, 200, j, 0);
}

/* True: it is whole. */
static bool
slice(fleet *fl, answer *n)
{
    uint64_t until_ns = front_now_ns() + SLICE_NS;

    for (uint32_t looked = 1; n->no != 0; n->no = fl->next[n->no], looked++) {
        if (looked % SLICE_LOOK == 0 && front_now_ns() >= until_ns)
            return false;
        add(n, n->c->f->board);
    }
    return true;
}

bool
fleet_turn(fleet *fl)
{
    answer *n = fl->first;

    if (n == NULL)
        return false;
    unqueue(fl, n);
    if (n->c->x == NULL) {
        n->no = 0; /* nobody waits for it: its call ends by itself */
    } else if (slice(fl, n)) {
        finish(n);
    } else { /* behind the others */
        n->next = NULL;
        *fl->tail = n;
        fl->tail = &n->next;
    }
    return fl->first != NULL;
}

static void
get_status(call *c)
{
    fleet  *fl = c->f->fleet;
    answer *n;

    for (uint16_t p = 0; p < board_parts(c->f->board); p++)
        if (board_is_filling(c->f->board, p)) {
            call_unavailable(c, KIND_INGEST, E_AGAIN);
            return;
        }
    n = calloc(1, sizeof *n);
    ASSERT(n != NULL);
    n->c = c;
    n->text.max = TEXT_MAX;
    n->now_us = front_wall_us();
    call_keep(c, n, drop);
    n->no = fleet_first(fl, c->f->board, c->who.tenant);
    json_open(&n->text, '{');
    json_name(&n->text, VIEW_LIT("machines"));
    json_open(&n->text, '[');
    if (slice(fl, n)) {
        finish(n);
    } else {
        *fl->tail = n;
        fl->tail = &n->next;
    }
}

extern const route fleet_routes[];

const route fleet_routes[] = {
    { GET, 200, WHO_VIEWER | WHO_SCOPE(SCOPE_READ_FLEET), 0, 0, "/fleet/status", NULL, NULL,
      get_status, 0, "Every machine's status, from memory" },
    { 0 },
};
