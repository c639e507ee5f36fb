/* lane_hot.h - what runs once a record, inline; included by lane.h alone.  The contract is there, the slow half in lane.c.
 *
 * Nobody else looks into the struct: a call and an envelope copied through memory cost more than the ring does.
 */
#ifndef HALTLESS_TRANSPORT_LANE_HOT_H
#define HALTLESS_TRANSPORT_LANE_HOT_H

#include <stdalign.h>

enum { LANE_STEP = 64 };

typedef struct lane_constant {
    uint64_t magic;
    uint32_t abi;
    uint32_t spare;
    uint64_t capacity;
    addr     from;
    addr     to;
    uuid     generation;
} lane_constant;

/* Lines 128 bytes apart: the prefetcher takes them in pairs. */
typedef struct lane_producer_page {
    alignas(128) _Atomic uint64_t tail;
    alignas(128) _Atomic uint32_t starved;
} lane_producer_page;

typedef struct lane_consumer_page {
    alignas(128) _Atomic uint64_t head;
    alignas(128) _Atomic uint64_t seen; /* the read cursor: tells a successor what comes again */
    _Atomic uint64_t most;              /* high water of tail - head */
} lane_consumer_page;

struct lane {
    /* both */
    uint8_t            *data;
    uint64_t            mask;
    uint64_t            capacity;
    lane_producer_page *out;
    lane_consumer_page *in;

    /* producer */
    alignas(128) uint64_t staged;
    uint64_t tail;      /* published */
    uint64_t head_seen; /* head <= this never holds for the real one */

    /* consumer */
    alignas(128) uint64_t read;
    uint64_t tail_seen;
    uint64_t head; /* acknowledged */
    uint64_t seen_before;
    bool     bad;

    alignas(128) bool produces;
    bool          consumes;
    lane_constant c; /* copied once */
};

void        lane__reload_head(lane *l);
bool        lane__reload_tail(lane *l); /* false: it lies */
void        lane__quarantine(lane *l, int *rc);

/* Field by field, on purpose.  A block copy of an envelope whose fields were stored a moment ago cannot be served
 * by the store buffer and waits for it; this way the fields go from registers into the lane. */
static inline void
lane__write(envelope *at, const envelope *e)
{
    at->len = e->len;
    at->crc = e->crc;
    at->type = e->type;
    at->flags = e->flags;
    at->spare = e->spare;
    at->from = e->from;
    at->to = e->to;
    at->corr = e->corr;
    at->deadline_ns = e->deadline_ns;
    at->sent_ns = e->sent_ns;
    at->trace = e->trace;
}

/* Each field once, whatever the compiler thinks: the peer may write there at any time. */
static inline void
lane__read(envelope *e, const volatile envelope *at)
{
    e->len = at->len;
    e->crc = at->crc;
    e->type = at->type;
    e->flags = at->flags;
    e->spare = at->spare;
    e->from = at->from;
    e->to = at->to;
    e->corr = at->corr;
    e->deadline_ns = at->deadline_ns;
    e->sent_ns = at->sent_ns;
    e->trace = at->trace;
}

/* ---- producer ---- */

static inline bool
lane_fits(lane *l, uint64_t need)
{
    if (LIKELY(need <= l->capacity - (l->staged - l->head_seen)))
        return true;
    lane__reload_head(l);
    return need <= l->capacity - (l->staged - l->head_seen);
}

static inline void *
lane_reserve(lane *l, uint32_t len)
{
    if (UNLIKELY(!lane_fits(l, envelope_record_len(len))))
        return NULL;
    return l->data + (l->staged & l->mask) + ENVELOPE_LEN;
}

static inline void
lane_stage(lane *l, const envelope *e)
{
    uint64_t  need = envelope_record_len(e->len);
    envelope *at = (envelope *)(void *)(l->data + (l->staged & l->mask));

    ASSERT(l->produces && need <= l->capacity - (l->staged - l->head_seen));
    lane__write(at, e);
    l->staged += need;
}

static inline int
lane_put(lane *l, const envelope *e, const void *body)
{
    void *at = lane_reserve(l, e->len);

    if (UNLIKELY(at == NULL))
        return E_FULL;
    if (e->len > 0) {
        ASSERT(body != NULL);
        memcpy(at, body, e->len);
    }
    lane_stage(l, e);
    return E_OK;
}

/* ---- consumer ---- */

static inline void
lane_advance(lane *l, uint64_t pos_end)
{
    ASSERT(pos_end >= l->read && pos_end <= l->tail_seen);
    l->read = pos_end;
    atomic_store_explicit(&l->in->seen, pos_end, memory_order_relaxed);
}

static inline const void *
lane_peek(lane *l, envelope *e, uint64_t *pos, uint64_t *pos_end, int *rc)
{
    *rc = E_OK;
    *pos = *pos_end = l->read;
    while (LIKELY(!l->bad)) {
        const uint8_t *at = l->data + (l->read & l->mask);
        uint64_t       need;

        if (l->read == l->tail_seen) {
            if (!lane__reload_tail(l))
                break;
            if (l->read == l->tail_seen)
                return NULL;
        }
        /* Read once: the peer can still write.  What is judged is the copy. */
        lane__read(e, (const volatile envelope *)(const volatile void *)at);
        need = envelope_record_len(e->len);
        if (UNLIKELY(need > l->tail_seen - l->read))
            break;
        if (LIKELY((e->flags & ENV_PAD) == 0)) {
            *pos = l->read;
            *pos_end = l->read + need;
            return at + ENVELOPE_LEN;
        }
        lane_advance(l, l->read + need);
    }
    lane__quarantine(l, rc); /* E_BAD the first time */
    return NULL;
}

static inline bool
lane_has_more(const lane *l)
{
    return !l->bad && atomic_load(&l->out->tail) != l->read;
}

#endif
