/* ak_latest.c - what waits for room on a LATEST edge: of each key the newest note, and no more than the lane would hold.
 *
 *   queue    first ▶ oldest key ▶ ... ▶ youngest ▶ end        sent in this order when there is room
 *   bucket   key -> its note; a newer one of the key takes its place in the queue
 *
 * While a key waits nothing of it goes past, so a receiver never sees an older one after a newer.  A key for which
 * there is no memory in the bound is dropped, as on a SHED edge.
 */
#include "actors/ak_internal.h"

#include <stdlib.h>

enum { BUCKETS = 1024 };

typedef struct waiting {
    struct waiting    *next;        /* in the queue */
    struct waiting    *next_of_bucket;
    uint64_t           key;
    uint32_t           room; /* of body[] */
    envelope           e;
    _Alignas(8) uint8_t body[];
} waiting;

struct ak_latest {
    waiting  *first;
    waiting **end;
    uint64_t  bytes; /* of records */
    waiting  *bucket[BUCKETS];
};

static waiting **
bucket_of(ak_latest *t, uint64_t key)
{
    return &t->bucket[key * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

static waiting *
find(ak_latest *t, uint64_t key)
{
    waiting *w = *bucket_of(t, key);

    while (w != NULL && w->key != key)
        w = w->next_of_bucket;
    return w;
}

static bool
add(ak_latest *t, uint64_t key, const envelope *e, const void *body, uint64_t most)
{
    waiting **at = bucket_of(t, key);
    waiting  *w;

    if (t->bytes + envelope_record_len(e->len) > most || (w = malloc(sizeof *w + e->len)) == NULL)
        return false;
    *w = (waiting){ .next_of_bucket = *at, .key = key, .room = e->len, .e = *e };
    if (e->len > 0)
        memcpy(w->body, body, e->len);
    *at = w;
    *t->end = w;
    t->end = &w->next;
    t->bytes += envelope_record_len(e->len);
    return true;
}

static void
take_out(ak_latest *t, waiting *w)
{
    waiting **at = bucket_of(t, w->key);

    ASSERT(t->first == w);
    while (*at != w)
        at = &(*at)->next_of_bucket;
    *at = w->next_of_bucket;
    t->first = w->next;
    if (t->first == NULL)
        t->end = &t->first;
    t->bytes -= envelope_record_len(w->e.len);
    free(w);
}

/* A note of another length than the one that waits is dropped rather than let past: keys are of one shape. */
static bool
keep(ak *k, ak_out *o, uint64_t key, const envelope *e, const void *body)
{
    waiting *w;

    if (o->latest == NULL) {
        o->latest = calloc(1, sizeof *o->latest);
        ASSERT(o->latest != NULL);
        o->latest->end = &o->latest->first;
    }
    w = find(o->latest, key);
    if (w == NULL)
        return add(o->latest, key, e, body, o->capacity);
    if (e->len > w->room)
        return false;
    o->latest->bytes -= envelope_record_len(w->e.len) - envelope_record_len(e->len);
    w->e = *e;
    if (e->len > 0)
        memcpy(w->body, body, e->len);
    count_add(k->counters, COUNT_REPLACED, 1);
    return true;
}

int
ak_send_latest(ak *k, addr to, uint16_t type, uint64_t key, const void *body, uint32_t len)
{
    ak_out  *o = ak__out(k, to);
    envelope e;

    if (o == NULL || o->policy != EDGE_LATEST)
        return ak_send(k, to, type, body, len);
    if (!ak__latest_waits(o) && ak__sheds_not(o, len))
        return ak_send(k, to, type, body, len);
    e = ak__envelope(k, o, type, 0);
    e.len = len;
    if (!keep(k, o, key, &e, body))
        ak__count_shed(k, o);
    o->want = max_u64(o->want, min_u64(envelope_record_len(len) + o->shed_below, o->capacity));
    return E_OK;
}

bool
ak__latest_waits(const ak_out *o)
{
    return o->latest != NULL && o->latest->first != NULL;
}

uint32_t
ak__latest_send(ak *k, ak_out *o)
{
    uint32_t n = 0;

    while (ak__latest_waits(o) && ak__sheds_not(o, o->latest->first->e.len)) {
        waiting *w = o->latest->first;

        if (!ak__stage(k, o, &w->e, w->body))
            break;
        take_out(o->latest, w);
        n++;
    }
    if (ak__latest_waits(o))
        o->want = max_u64(o->want, min_u64(envelope_record_len(o->latest->first->e.len) + o->shed_below,
                                           o->capacity));
    return n;
}

void
ak__latest_free(ak_out *o)
{
    while (ak__latest_waits(o))
        take_out(o->latest, o->latest->first);
    free(o->latest);
    o->latest = NULL;
}
