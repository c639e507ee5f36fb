/* limits.c - token buckets in a bounded table (limits.h).
 *
 *   slot = hash(what, key); the next WAYS slots are looked at: the one found, an empty one, or the
 *   one that was idle longest is taken
 */
#include "api/limits.h"

#include "proto/hash.h"

#include <stdlib.h>

enum { SLOTS = 8192, WAYS = 8 };
#define NS_PER_S UINT64_C(1000000000)

typedef struct bucket {
    uint64_t id; /* hash of (what, key), never 0 */
    uint64_t at_ns;
    double   tokens;
} bucket;

struct limits {
    bucket slots[SLOTS];
};

limits *
limits_new(void)
{
    return calloc(1, sizeof(limits));
}

void
limits_free(limits *l)
{
    free(l);
}

static bucket *
bucket_of(limits *l, uint64_t id)
{
    bucket *oldest = NULL;

    for (uint64_t i = 0; i < WAYS; i++) {
        bucket *b = &l->slots[(id + i) % SLOTS];

        if (b->id == id)
            return b;
        if (oldest == NULL || b->id == 0 || (oldest->id != 0 && b->at_ns < oldest->at_ns))
            oldest = b;
    }
    oldest->id = 0;
    return oldest;
}

bool
limits_take(limits *l, enum limits_what what, uint64_t key, uint64_t per_minute, uint64_t now_ns,
            limits_state *out)
{
    uint64_t id = hash64(what, &key, sizeof key) | 1;
    double   rate = (double)per_minute / 60.0;
    bucket  *b;
    bool     ok;

    *out = (limits_state){ .limit = per_minute };
    if (per_minute == 0)
        return true;
    b = bucket_of(l, id);
    if (b->id == 0)
        *b = (bucket){ id, now_ns, (double)per_minute };
    if (now_ns > b->at_ns)
        b->tokens += rate * (double)(now_ns - b->at_ns) / (double)NS_PER_S;
    b->at_ns = now_ns;
    if (b->tokens > (double)per_minute)
        b->tokens = (double)per_minute;
    ok = b->tokens >= 1.0;
    if (ok)
        b->tokens -= 1.0;
    out->remaining = (uint64_t)b->tokens;
    out->retry_s = ok ? 0 : (uint64_t)((1.0 - b->tokens) / rate) + 1;
    out->reset_s = (uint64_t)(((double)per_minute - b->tokens) / rate) + 1;
    return ok;
}
