/* fleet.c - GET /fleet/status, from the board alone.
 *
 * The machines table is one for all tenants; a front keeps for each tenant the list of its machine
 * numbers:
 *
 *     heads[tenant] -> first number
 *     next[number]  -> next number of that tenant, in order of creation
 *
 * New records are entered when the table has grown, so an answer costs what the tenant has, never
 * what is stored.
 */
#include "actors/status.h"
#include "api/front.h"

#include <stdlib.h>

typedef struct list {
    uint32_t first;
    uint32_t last;
    uint32_t count;
} list;

struct fleet {
    uint32_t  seen; /* records entered so far */
    uint32_t  next_room;
    uint32_t *next;
    uint32_t  tenants_room;
    list     *tenants;
};

fleet *
fleet_new(void)
{
    return calloc(1, sizeof(fleet));
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

static void
get_status(call *c)
{
    fleet    *fl = c->f->fleet;
    board    *b = c->f->board;
    json_out *j = call_json(c);
    uint32_t  counts[STATUS_CRITICAL + 1] = { 0 };
    int64_t   now_us = front_wall_us();
    uint32_t  total = 0;
    uint32_t  no = 0;

    catch_up(fl, b);
    if (c->who.tenant < fl->tenants_room)
        no = fl->tenants[c->who.tenant].first;
    json_open(j, '{');
    json_name(j, VIEW_LIT("machines"));
    json_open(j, '[');
    for (; no != 0; no = fl->next[no]) {
        board_machine       m;
        board_arrival       a = { 0 };
        enum machine_status status;

        if (!table_read(board_table(b, BOARD_MACHINES, 0), no, &m) || !(m.flags & BOARD_LIVE))
            continue;
        if (m.part >= board_parts(b) || !board_arrival_of(b, m.part, no, &a))
            a = (board_arrival){ 0 };
        status = machine_status_of(&m, &a, now_us);
        counts[status]++;
        total++;
        add_machine(j, b, &m, &a, status);
    }
    json_close(j, ']');
    json_name_int(j, "total_machines", total);
    json_name(j, VIEW_LIT("status_counts"));
    json_open(j, '{');
    for (int i = 0; status_words[i] != NULL; i++)
        json_name_int(j, status_words[i], counts[i]);
    json_close(j, '}');
    json_close(j, '}');
    call_send_json(c, 200);
}

extern const route fleet_routes[];

const route fleet_routes[] = {
    { GET, 200, WHO_VIEWER | WHO_SCOPE(SCOPE_READ_FLEET), 0, 0, "/fleet/status", NULL, NULL,
      get_status, 0, "Every machine's status, from memory" },
    { 0 },
};
