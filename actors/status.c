/* status.c - the one rule for a machine's status (status.h). */
#include "actors/status.h"

enum machine_status
machine_status_of(const board_machine *machine, const board_arrival *arrival, int64_t now_us)
{
    if (arrival == NULL || arrival->arrived_us == 0)
        return STATUS_OFFLINE;
    if (now_us - arrival->arrived_us >= (int64_t)machine->offline_after_s * 1000000)
        return STATUS_OFFLINE;
    if (machine->open_critical > 0)
        return STATUS_CRITICAL;
    return machine->open_warning > 0 ? STATUS_WARNING : STATUS_HEALTHY;
}
