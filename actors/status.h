/* status.h - the one rule for a machine's status, for whoever shows or derives it. */
#ifndef HALTLESS_ACTORS_STATUS_H
#define HALTLESS_ACTORS_STATUS_H

#include "proto/reg_ops.h"
#include "transport/board.h"

/* `arrival` may be NULL or zero: nothing has arrived.  Offline counts from the arrival (server clock), not from
 * the reading's own time; open alerts matter only while the machine reports. */
enum machine_status machine_status_of(const board_machine *machine, const board_arrival *arrival, int64_t now_us);

#endif
