/* limits.h - rates: so many requests a minute of a tenant, an address, an account; so many readings a second.
 *
 * One table for the whole node, in memory that all fronts share: a limit is a limit, however a client's
 * connections are spread.  It is bounded: when it is full, the bucket that is fullest among its neighbours is
 * forgotten, which can only be kind to somebody.  A bucket starts full.
 */
#ifndef HALTLESS_API_LIMITS_H
#define HALTLESS_API_LIMITS_H

#include "proto/base.h"

typedef struct limits limits;

enum limits_what { LIMIT_TENANT = 1, LIMIT_ADDRESS, LIMIT_ACCOUNT, LIMIT_FAILED, LIMIT_READINGS };

/* `count` each `period_ns`, which is also what a full bucket holds. */
typedef struct limits_rate {
    uint64_t count; /* 0: unlimited */
    uint64_t period_ns;
} limits_rate;

static inline limits_rate
limits_a_minute(uint64_t count)
{
    return (limits_rate){ count, UINT64_C(60000000000) };
}

typedef struct limits_state {
    uint64_t limit; /* 0: unlimited, nothing was counted */
    uint64_t remaining;
    uint64_t retry_s; /* until it may come again; 0: now */
    uint64_t reset_s; /* until the bucket is full */
} limits_state;

/* The table in `dir`, which is made by whoever comes first; dir NULL: one of its own. */
NODISCARD int limits_open(limits **l, const char *dir);
void          limits_close(limits **l);
/* Takes n (0: only looks).  False: over the limit, nothing was taken.  More than a bucket holds is lent when the
 * bucket is full, and has to be made up for before the next. */
bool limits_take(limits *l, enum limits_what what, uint64_t key, limits_rate rate, uint64_t n,
                 uint64_t now_ns, limits_state *out);

#endif
