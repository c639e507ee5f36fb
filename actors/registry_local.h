/* registry_local.h - operations of the registry on a data directory that no server has open. */
#ifndef HALTLESS_ACTORS_REGISTRY_LOCAL_H
#define HALTLESS_ACTORS_REGISTRY_LOCAL_H

#include "proto/pack.h"

/* Locks the directory (E_LOCKED: a server has it: speak to DATA/control.sock), opens the store, runs one operation
 * of reg_ops.def as ROLE_SYSTEM, commits, closes.  params: a MessagePack map.  *reply (initialised by the caller)
 * gets the value: of a status >= 400 the detail as a str.  Such a status is not an error here. */
NODISCARD int registry_local_op(const char *data_dir, uint16_t op, view params, uint16_t *status, pack *reply);

#endif
