/* usage.c - when API keys were used (usage.h).
 *
 *   usage_note: slot[key mod SLOTS] = (key, last use)        another key's slot is taken over when that one
 *   usage_tick: slots with a use not told for a minute       was told; else the newcomer waits for its next use
 *               -> one REG_KEY_USED of at most BATCH keys
 */
#include "api/usage.h"

#include "proto/hash.h"
#include "proto/pack.h"
#include "proto/reg_ops.h"

#include <stdlib.h>

enum { SLOTS = 4096, BATCH = 512, WITHIN_S = 5 };
#define MINUTE_US (INT64_C(60) * 1000000)
#define NS_PER_S  UINT64_C(1000000000)

typedef struct use {
    uint32_t key; /* 0: empty */
    bool     due; /* used since it was told */
    int64_t  used_us;
    int64_t  told_us;
} use;

struct usage {
    use      slots[SLOTS];
    uint32_t due; /* slots */
    uint32_t at;  /* where the next tick begins */
};

usage *
usage_new(void)
{
    return calloc(1, sizeof(usage));
}

void
usage_free(usage *u)
{
    free(u);
}

void
usage_note(usage *u, uint32_t key, int64_t at_us)
{
    use *s = &u->slots[hash64(0, &key, sizeof key) % SLOTS];

    if (s->key != key) {
        if (s->due)
            return;
        *s = (use){ .key = key };
    }
    u->due += !s->due;
    s->due = true;
    s->used_us = at_us;
}

/* Which slots to tell, from where the last tick ended. */
static uint32_t
gather(usage *u, int64_t now_us, use *out[BATCH])
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < SLOTS && n < BATCH; i++, u->at = (u->at + 1) % SLOTS) {
        use *s = &u->slots[u->at];

        if (s->due && now_us - s->told_us >= MINUTE_US)
            out[n++] = s;
    }
    return n;
}

static bool
tell(ak *k, use *const *uses, uint32_t n)
{
    reg_ask head = { .op = REG_KEY_USED, .role = ROLE_SYSTEM };
    pack    p;
    bool    sent;

    pack_init(&p);
    msgpack_sbuffer_write(&p.buffer, (const char *)&head, sizeof head);
    pack_map(&p, 1);
    pack_str(&p, VIEW_LIT("keys"));
    pack_array(&p, n);
    for (uint32_t i = 0; i < n; i++) {
        pack_map(&p, 2);
        pack_name_int(&p, "key", uses[i]->key);
        pack_name_int(&p, "at_us", uses[i]->used_us);
    }
    sent = ak_ask(k, addr_of(KIND_REGISTRY, 0), MSG_REG, pack_view(&p).at, (uint32_t)pack_view(&p).len,
                  WITHIN_S * NS_PER_S, NULL) != 0;
    pack_fini(&p);
    return sent; /* how it ends is of no interest: the next use is told again */
}

void
usage_tick(usage *u, ak *k)
{
    int64_t  now_us = ak_wall_us(k);
    use     *uses[BATCH];
    uint32_t n = u->due == 0 ? 0 : gather(u, now_us, uses);

    if (n == 0 || !tell(k, uses, n))
        return;
    for (uint32_t i = 0; i < n; i++) {
        uses[i]->due = false;
        uses[i]->told_us = now_us;
    }
    u->due -= n;
}
