/* alert_status.c - each machine's status, and who is told when it changed.
 *
 *   machines.. put since the last look   registered, edited, its alerts counted anew      ─┐
 *   arrivals.. put since the last look   of those that were offline: they report again     ├─▶ looked at
 *   deadlines                            when one that reports will be offline             ─┘
 *
 * So a tick costs what changed, however many machines there are.  Of machines that were there before this actor the first
 * look is only recorded; one that is made later was offline before its first look, however soon it reported.
 */
#include "actors/alert_internal.h"

#include "actors/status.h"

#include <stdlib.h>

enum { LOOKS_A_TICK = 32768, AGAIN_US = 250000 };

/* ---- one machine ---- */

static void
look_again(alert *a, uint32_t no, int64_t at_us)
{
    machine_watch *w = &a->watched[no];

    if (w->due_us != 0 && w->due_us <= at_us)
        return;
    w->due_us = at_us; /* a later entry of it, if there is one, is passed over when its time comes */
    deadlines_add(&a->offline, (deadline){ .at_us = at_us, .machine = no });
}

static void
look_at(alert *a, uint32_t no)
{
    board          *b = ak_board(a->k);
    machine_watch  *w = &a->watched[no];
    board_machine   m;
    board_arrival   arrival = { 0 };
    uint8_t         was = w->status, now = STATUS_UNKNOWN;
    bool            there = table_read(board_table(b, BOARD_MACHINES, 0), no, &m) && (m.flags & BOARD_LIVE) && m.part < board_parts(b);

    count_add(ak_counters(a->k), COUNT_LOOKS, 1);
    if (there && board_is_filling(b, m.part)) { /* when it reported last is not known yet */
        look_again(a, no, ak_wall_us(a->k) + AGAIN_US);
        return;
    }
    if (there) {
        (void)board_arrival_of(b, m.part, no, &arrival);
        now = (uint8_t)machine_status_of(&m, &arrival, ak_wall_us(a->k));
    }
    if (was == STATUS_UNKNOWN && no > a->old_count)
        was = STATUS_OFFLINE;
    if (now == was || was == STATUS_UNKNOWN || now == STATUS_UNKNOWN || alert__status_changed(a, no, was, now))
        w->status = now;
    else
        look_again(a, no, ak_wall_us(a->k) + AGAIN_US); /* there is no room for it now */
    if (now != STATUS_UNKNOWN && now != STATUS_OFFLINE)
        look_again(a, no, arrival.arrived_us + (int64_t)m.offline_after_s * 1000000);
}

void
alert__status_refused(alert *a, uint32_t machine, uint8_t old_status)
{
    a->watched[machine].status = old_status;
    look_again(a, machine, ak_wall_us(a->k) + AGAIN_US);
}

/* ---- what was put since ---- */

static void
make_room(alert *a, uint32_t no)
{
    uint32_t room = no + no / 2 + 1024;

    if (no < a->watched_room)
        return;
    a->watched = realloc(a->watched, room * sizeof *a->watched);
    ASSERT(a->watched != NULL);
    for (uint32_t i = a->watched_room; i < room; i++)
        a->watched[i] = (machine_watch){ .status = STATUS_UNKNOWN };
    a->watched_room = room;
}

/* The next one; 0: none, and what is put from here on is seen by the next round. */
static uint32_t
next_put(table_round *r, const table *t)
{
    uint32_t no;

    if (r->from == 0) {
        r->until = table_changes(t);
        r->from = 1;
    }
    no = table_changed(t, r->since, r->from);
    r->from = no == 0 ? 0 : no + 1;
    if (no == 0)
        r->since = r->until;
    return no;
}

static uint32_t
look_at_machines(alert *a, uint32_t most)
{
    const table *t = board_table(ak_board(a->k), BOARD_MACHINES, 0);
    uint32_t     no, looks = 0;

    while (looks < most && (no = next_put(&a->machines_round, t)) != 0) {
        make_room(a, no);
        look_at(a, no);
        looks++;
    }
    return looks;
}

/* One that is online is not looked at: its deadline will be. */
static uint32_t
look_at_arrivals(alert *a, uint16_t part, uint32_t most)
{
    const table *t = board_table(ak_board(a->k), BOARD_ARRIVALS, part);
    uint32_t     no, looks = 0;

    while (looks < most && (no = next_put(&a->arrivals_round[part], t)) != 0) {
        looks++;
        make_room(a, no);
        if (a->watched[no].status == STATUS_OFFLINE || a->watched[no].status == STATUS_UNKNOWN)
            look_at(a, no);
    }
    return looks;
}

static void
look_at_due(alert *a)
{
    for (uint32_t i = 0; i < LOOKS_A_TICK && deadlines_due(&a->offline, ak_wall_us(a->k)); i++) {
        deadline due = deadlines_take(&a->offline);

        if (a->watched[due.machine].due_us != due.at_us)
            continue;
        a->watched[due.machine].due_us = 0;
        look_at(a, due.machine);
    }
}

void
alert__look_at_status(alert *a)
{
    board   *b = ak_board(a->k);
    uint32_t left = LOOKS_A_TICK;

    if (!a->has_looked) {
        a->has_looked = true;
        a->old_count = table_count(board_table(b, BOARD_MACHINES, 0));
    }
    left -= look_at_machines(a, left);
    for (uint16_t i = 0; i < board_parts(b) && left > 0; i++) {
        uint16_t part = (uint16_t)((a->ticks + i) % board_parts(b)); /* none waits for another for ever */

        left -= look_at_arrivals(a, part, left);
    }
    look_at_due(a);
}

void
alert__status_free(alert *a)
{
    free(a->watched);
    deadlines_fini(&a->offline);
}
