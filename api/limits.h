/* limits.h - token buckets: so many requests a minute for a tenant, an address, an account.
 *
 * A bounded table: when it is full, the bucket that has been idle longest among its neighbours is
 * forgotten, which can only be kind to somebody.  A bucket starts full.
 */
#ifndef HALTLESS_API_LIMITS_H
#define HALTLESS_API_LIMITS_H

#include "proto/base.h"

typedef struct limits limits;

enum limits_what { LIMIT_TENANT = 1, LIMIT_ADDRESS, LIMIT_ACCOUNT };

typedef struct limits_state {
    uint64_t limit; /* 0: unlimited, nothing was counted */
    uint64_t remaining;
    uint64_t retry_s; /* until one more may come; 0: now */
    uint64_t reset_s; /* until the bucket is full */
} limits_state;

limits *limits_new(void);
void    limits_free(limits *l);
/* False: over the limit. */
bool limits_take(limits *l, enum limits_what what, uint64_t key, uint64_t per_minute,
                 uint64_t now_ns, limits_state *out);

#endif
