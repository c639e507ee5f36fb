/* reach.h - one operation of the registry, by the server that has the data directory open, or
 * without one. */
#ifndef HALTLESS_TOOLS_REACH_H
#define HALTLESS_TOOLS_REACH_H

#include "proto/pack.h"

/* op: a row of reg_ops.def, run as ROLE_SYSTEM.  reply (initialised by the caller) gets the value;
 * of a status
 * >= 400 it is the detail as a str. */
NODISCARD int reach_registry(const char *data_dir, uint16_t op, view params, uint16_t *status,
                             pack *reply);

#endif
