/* park.c - does a sleeper always hear of what was published?  All runs, with store buffers.
 *
 *   producer, for each message         consumer, until it has them all
 *     tail = i                           look: take everything up to tail
 *     [fence]                            parked += 1 (odd: asleep)
 *     p = parked                         [fence]
 *     if p is odd and not rung for:      nothing new up to tail?  sleep until the bell
 *         ring; rung = p                 parked += 1 (even: awake), look again
 *
 * Each side's stores wait in a buffer of its own (as on x86) and reach memory later, in order; a
 * fence waits for that.  A seq_cst store is a store with the fence.  A state in which nothing can
 * move, the consumer sleeping with messages unread, is a lost wake-up.  With both fences there is
 * none; without either there is.
 *
 * The words that wake a producer waiting for room (starved, then a look at head; head, then a look
 * at starved) have the same shape with the sides exchanged.
 */
#include "tests/model/explore.h"

enum { MESSAGES = 3, BUFFER = 3 };
enum { LOOK, PARK, SECOND_LOOK, ASLEEP, WAKE, FENCE_WAKE, HAS_ALL };

typedef struct world {
    uint8_t tail, parked;            /* memory */
    uint8_t p_buffer[BUFFER], p_len; /* of tail */
    uint8_t c_buffer[BUFFER], c_len; /* of parked */
    uint8_t sent;                    /* producer: messages stored */
    uint8_t stored;                  /* producer: between the store and the look */
    uint8_t rung;                    /* the parked value it rang for */
    uint8_t at, read, own;           /* consumer: where, up to what, its parked word */
    uint8_t bell;
} world;

static uint64_t
pack(const world *w)
{
    uint64_t s = 0;

#define PUT(v, bits) s = s << (bits) | (v)
    PUT(w->tail, 2), PUT(w->parked, 5), PUT(w->p_len, 2), PUT(w->c_len, 2), PUT(w->sent, 2);
    for (int i = 0; i < BUFFER; i++)
        PUT(i < w->p_len ? w->p_buffer[i] : 0, 2), PUT(i < w->c_len ? w->c_buffer[i] : 0, 5);
    PUT(w->stored, 1), PUT(w->rung, 5), PUT(w->at, 3), PUT(w->read, 2), PUT(w->own, 5),
        PUT(w->bell, 1);
#undef PUT
    return s;
}

static world
unpack(uint64_t s)
{
    world w = { 0 };

#define GET(v, bits) v = (uint8_t)(s & ((1u << (bits)) - 1)), s >>= (bits)
    GET(w.bell, 1), GET(w.own, 5), GET(w.read, 2), GET(w.at, 3), GET(w.rung, 5), GET(w.stored, 1);
    for (int i = BUFFER - 1; i >= 0; i--)
        GET(w.c_buffer[i], 5), GET(w.p_buffer[i], 2);
    GET(w.sent, 2), GET(w.c_len, 2), GET(w.p_len, 2), GET(w.parked, 5), GET(w.tail, 2);
#undef GET
    return w;
}

static bool
producer_moves(world *w, bool fence)
{
    if (!w->stored) {
        if (w->sent == MESSAGES || w->p_len == BUFFER)
            return false;
        w->p_buffer[w->p_len++] = ++w->sent;
        w->stored = 1;
        return true;
    }
    if (fence && w->p_len > 0)
        return false;
    if ((w->parked & 1) != 0 && w->parked != w->rung) {
        w->rung = w->parked;
        w->bell = 1;
    }
    w->stored = 0;
    return true;
}

/* Both of the consumer's stores to its word. */
static bool
store_parked(world *w, uint8_t next)
{
    if (w->c_len == BUFFER || w->own == 31)
        return false;
    w->c_buffer[w->c_len++] = ++w->own;
    w->at = next;
    return true;
}

static bool
consumer_moves(world *w, bool fence)
{
    switch (w->at) {
    case LOOK:
        w->at = w->read == w->tail ? PARK : w->tail == MESSAGES ? HAS_ALL : LOOK;
        w->read = w->tail;
        return true;
    case PARK:
        return store_parked(w, SECOND_LOOK);
    case SECOND_LOOK:
        if (fence && w->c_len > 0)
            return false;
        w->at = w->read == w->tail ? ASLEEP : WAKE;
        return true;
    case ASLEEP:
        if (!w->bell)
            return false;
        w->bell = 0;
        w->at = WAKE;
        return true;
    case WAKE:
        return store_parked(w, FENCE_WAKE);
    case FENCE_WAKE:
        if (fence && w->c_len > 0)
            return false;
        w->at = LOOK;
        return true;
    default:
        return false;
    }
}

static bool
memory_takes(uint8_t *memory, uint8_t *buffer, uint8_t *len)
{
    if (*len == 0)
        return false;
    *memory = buffer[0];
    for (int i = 1; i < *len; i++)
        buffer[i - 1] = buffer[i];
    (*len)--;
    return true;
}

/* True when some run loses a wake-up. */
static bool
loses_a_wake_up(bool producer_fence, bool consumer_fence, uint32_t *states)
{
    explore  x = explore_from(pack(&(world){ 0 }));
    bool     lost = false;
    uint64_t s;

    while (!lost && explore_next(&x, &s)) {
        world w[4] = { unpack(s), unpack(s), unpack(s), unpack(s) };
        bool  moved[4] = { producer_moves(&w[0], producer_fence),
                           consumer_moves(&w[1], consumer_fence),
                           memory_takes(&w[2].tail, w[2].p_buffer, &w[2].p_len),
                           memory_takes(&w[3].parked, w[3].c_buffer, &w[3].c_len) };

        for (int i = 0; i < 4; i++)
            if (moved[i])
                explore_reach(&x, pack(&w[i]));
        lost = !moved[0] && !moved[1] && !moved[2] && !moved[3] && unpack(s).at != HAS_ALL;
    }
    *states = x.count;
    explore_end(&x);
    return lost;
}

int
main(void)
{
    int wrong = 0;

    for (int mode = 0; mode < 4; mode++) {
        bool     producer = (mode & 1) != 0;
        bool     consumer = (mode & 2) != 0;
        uint32_t states;
        bool     lost = loses_a_wake_up(producer, consumer, &states);

        (void)printf("producer %s, consumer %s: %s (%u states)\n", producer ? "seq_cst" : "release",
                     consumer ? "seq_cst" : "release", lost ? "a wake-up is lost" : "none is lost",
                     states);
        wrong += lost == (producer && consumer);
    }
    return wrong == 0 ? 0 : 1;
}
