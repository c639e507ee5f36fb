/* registry_control.h - DATA/control.sock: commands on this machine speak to the running registry.
 *
 *   request   u32 length | reg_ask | MessagePack map        length: of what follows
 *   reply     u32 length | reg_done | MessagePack value
 *
 * The socket is 0600 and the peer must be this user or root: whoever can connect could read the store anyway.
 */
#ifndef HALTLESS_ACTORS_REGISTRY_CONTROL_H
#define HALTLESS_ACTORS_REGISTRY_CONTROL_H

#include "actors/ak.h"
#include "proto/pack.h"
#include "proto/rows.h"

enum { REG_CONTROL_CONNECTIONS = 8, REG_CONTROL_BODY_MAX = 65536 };

typedef struct reg_control reg_control;

/* Runs an operation and makes it durable and seen; the value goes into `out`.  Negative: it could not be done. */
typedef int reg_control_run_fn(void *ctx, const reg_ask *ask, view params, uint16_t *status, pack *out);

/* An old socket file is replaced: the data directory's lock says that its server is gone. */
NODISCARD int reg_control_open(reg_control **c, const char *data_dir, reg_control_run_fn *run, void *ctx);
void reg_control_close(reg_control **c);
int  reg_control_listener(const reg_control *c);
/* The listener is readable: the new connection's descriptor, or -1. */
int  reg_control_accept(reg_control *c);
/* A connection is readable.  False: it is over; reg_control_drop() closes it. */
bool reg_control_read(reg_control *c, int fd);
void reg_control_drop(reg_control *c, int fd);

#endif
