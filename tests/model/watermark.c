/* watermark.c - is every message applied once, whenever the consumer is killed?  All runs.
 *
 *   take up to BATCH messages (from head on, after a crash) -> commit them to the store ->
 * acknowledge (head)
 *
 * The consumer may be killed between any two steps, CRASHES times.  Four ways to know what was
 * applied: no watermark          redelivered messages are applied again mark after the data   a
 * kill between the two: applied again mark before the data  a kill between the two: never applied
 *   mark with the data    one write, all or nothing: once
 */
#include "tests/model/explore.h"

enum { MESSAGES = 4, BATCH = 2, CRASHES = 2 };
enum way { NO_MARK, MARK_AFTER, MARK_BEFORE, MARK_WITH, WAYS };
enum { TAKE, COMMIT, COMMIT_REST, ACK };

typedef struct world {
    uint8_t applied[MESSAGES]; /* how often, up to 3 */
    uint8_t mark;              /* stored: applied up to here */
    uint8_t head;              /* acknowledged up to here */
    uint8_t at, read;          /* the consumer's: gone with it */
    uint8_t crashes;
} world;

static uint64_t
pack(const world *w)
{
    uint64_t s = 0;

    for (int i = 0; i < MESSAGES; i++)
        s = s << 2 | w->applied[i];
    s = s << 3 | w->mark;
    s = s << 3 | w->head;
    s = s << 2 | w->at;
    s = s << 3 | w->read;
    return s << 2 | w->crashes;
}

static world
unpack(uint64_t s)
{
    world w;

    w.crashes = s & 3, s >>= 2;
    w.read = s & 7, s >>= 3;
    w.at = s & 3, s >>= 2;
    w.head = s & 7, s >>= 3;
    w.mark = s & 7, s >>= 3;
    for (int i = MESSAGES - 1; i >= 0; i--)
        w.applied[i] = s & 3, s >>= 2;
    return w;
}

static void
apply(world *w, enum way way)
{
    for (int i = w->head; i < w->read; i++)
        if ((way == NO_MARK || i >= w->mark) && w->applied[i] < 3)
            w->applied[i]++;
}

/* What a batch asks of the store, when its mark is written first: judged by the mark of before. */
static void
apply_marked(world *w, uint8_t mark_before)
{
    for (int i = w->head; i < w->read; i++)
        if (i >= mark_before && w->applied[i] < 3)
            w->applied[i]++;
}

static bool
step(world *w, enum way way)
{
    switch (w->at) {
    case TAKE:
        if (w->head == MESSAGES)
            return false;
        w->read = (uint8_t)(w->head + BATCH < MESSAGES ? w->head + BATCH : MESSAGES);
        w->at = COMMIT;
        return true;
    case COMMIT:
        if (way == MARK_BEFORE) {
            w->mark = w->mark > w->read ? w->mark : w->read;
            w->at = COMMIT_REST;
            return true;
        }
        apply(w, way);
        if (way == MARK_WITH)
            w->mark = w->mark > w->read ? w->mark : w->read;
        w->at = way == MARK_AFTER ? COMMIT_REST : ACK;
        return true;
    case COMMIT_REST:
        if (way == MARK_BEFORE)
            apply_marked(w, w->head);
        else
            w->mark = w->mark > w->read ? w->mark : w->read;
        w->at = ACK;
        return true;
    default:
        w->head = w->read;
        w->at = TAKE;
        return true;
    }
}

/* A successor knows what is stored, and head.  One that finds its batch marked has nothing to
 * commit. */
static bool
crash(world *w, enum way way)
{
    if (w->crashes == CRASHES)
        return false;
    w->crashes++;
    w->read = w->head;
    w->at = TAKE;
    if (way == MARK_BEFORE && w->mark > w->head)
        w->head = w->mark;
    return true;
}

typedef struct verdict {
    bool twice;
    bool lost;
} verdict;

static verdict
explore_all(enum way way)
{
    explore  x = explore_from(pack(&(world){ 0 }));
    verdict  v = { false, false };
    uint64_t s;

    while (explore_next(&x, &s)) {
        world went_on = unpack(s);
        world crashed = unpack(s);
        bool  moved = step(&went_on, way);

        if (moved)
            explore_reach(&x, pack(&went_on));
        if (moved && crash(&crashed, way))
            explore_reach(&x, pack(&crashed));
        for (int i = 0; i < MESSAGES; i++) {
            v.twice |= went_on.applied[i] > 1;
            v.lost |= !moved && went_on.applied[i] == 0;
        }
    }
    explore_end(&x);
    return v;
}

int
main(void)
{
    static const struct {
        const char *name;
        verdict     expected;
    } ways[WAYS] = {
        [NO_MARK] = { "no watermark", { true, false } },
        [MARK_AFTER] = { "mark after the data", { true, false } },
        [MARK_BEFORE] = { "mark before the data", { false, true } },
        [MARK_WITH] = { "mark with the data", { false, false } },
    };
    int wrong = 0;

    for (enum way way = NO_MARK; way < WAYS; way++) {
        verdict v = explore_all(way);

        (void)printf("%s: %s, %s\n", ways[way].name, v.twice ? "applied twice" : "never twice",
                     v.lost ? "lost" : "never lost");
        wrong += v.twice != ways[way].expected.twice || v.lost != ways[way].expected.lost;
    }
    return wrong == 0 ? 0 : 1;
}
