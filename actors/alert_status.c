/* alert_status.c - the walk over the machines: each one's status, and who is told when it changed.
 *
 * A bounded number of machines a tick.  Of machines that were there before this actor the first look is only
 * recorded; one that is made later was offline before its first look, however soon it reported.
 */
#include "actors/alert_internal.h"

#include "actors/status.h"

#include <stdlib.h>

enum { WALK_A_TICK = 32768 };

static uint8_t
status_now(const alert *a, uint32_t no)
{
    board        *b = ak_board(a->k);
    board_machine m;
    board_arrival arrival = { 0 };

    if (!table_read(board_table(b, BOARD_MACHINES, 0), no, &m) || !(m.flags & BOARD_LIVE)
        || m.part >= board_parts(b))
        return STATUS_UNKNOWN;
    (void)board_arrival_of(b, m.part, no, &arrival);
    return (uint8_t)machine_status_of(&m, &arrival, ak_wall_us(a->k));
}

static bool
is_filling(const alert *a, uint32_t no)
{
    board        *b = ak_board(a->k);
    board_machine m;

    return table_read(board_table(b, BOARD_MACHINES, 0), no, &m) && m.part < board_parts(b) &&
           board_is_filling(b, m.part);
}

static void
look_at(alert *a, uint32_t no)
{
    uint8_t old_status = a->status[no], now;

    if (is_filling(a, no)) /* when it reported last is not known yet */
        return;
    now = status_now(a, no);
    if (old_status == STATUS_UNKNOWN && no > a->old_count)
        old_status = STATUS_OFFLINE;
    if (now == old_status)
        return;
    if (old_status == STATUS_UNKNOWN || now == STATUS_UNKNOWN || alert__status_changed(a, no, old_status, now))
        a->status[no] = now;
}

void
alert__walk(alert *a)
{
    uint32_t count = table_count(board_table(ak_board(a->k), BOARD_MACHINES, 0));

    if (count >= a->status_room) {
        uint32_t room = count + 1024;

        a->status = realloc(a->status, room);
        ASSERT(a->status != NULL);
        memset(a->status + a->status_room, STATUS_UNKNOWN, room - a->status_room);
        a->status_room = room;
    }
    if (!a->walked) {
        a->walked = true;
        a->old_count = count;
    }
    for (uint32_t i = 0; i < WALK_A_TICK && i < count; i++) {
        a->walk_at = a->walk_at < count ? a->walk_at + 1 : 1;
        look_at(a, a->walk_at);
    }
}
