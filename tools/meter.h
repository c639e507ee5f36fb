/* meter.h - how far a long command has come: one line on a terminal, rewritten; nothing elsewhere.
 *
 *   1 234 567 readings  41 %  120 345/s  0:18 left
 */
#ifndef HALTLESS_TOOLS_METER_H
#define HALTLESS_TOOLS_METER_H

#include "proto/base.h"

#include <time.h>

typedef struct meter {
    const char     *what; /* is counted: "readings" */
    bool            shown;
    struct timespec begun;
    double          last_s;
    double          share_at_start; /* a resumed one has not earned its share in this run */
} meter;

void meter_start(meter *p, const char *what, double share);
/* share: 0..1 of the whole, below 0 when nobody knows. */
void meter_show(meter *p, uint64_t count, double share);
void meter_end(meter *p, uint64_t count, double share); /* and a new line */

#endif
