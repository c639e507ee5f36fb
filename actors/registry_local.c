/* registry_local.c - one operation of the registry without a server (registry_local.h). */
#include "actors/registry_local.h"
#include "actors/registry_internal.h"
#include "proto/err.h"
#include "proto/world.h"

#include <unistd.h>

static int
run(const char *data_dir, const reg_ask *ask, view params, uint16_t *status, pack *reply)
{
    registry r = { .now_us = the_world->wall_us() };
    int      rc = reg_open(&r, data_dir, NULL);

    if (rc < 0)
        return rc;
    *status = reg_run(&r, ask, params, reply);
    rc = reg_commit(&r);
    reg_close(&r);
    return rc;
}

int
registry_local_op(const char *data_dir, uint16_t op, view params, uint16_t *status, pack *reply)
{
    reg_ask ask = { .op = op, .role = ROLE_SYSTEM };
    int     rc = crypto_start();

    if (rc < 0)
        return rc;
    int lock = data_dir_lock(data_dir);
    if (lock < 0)
        return lock;
    rc = run(data_dir, &ask, params, status, reply);
    close(lock);
    return rc;
}
