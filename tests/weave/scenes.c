/* scenes.c - publish, park, acknowledge, starve, and the opening by a successor: all schedules of a few turns.
 *
 * lane.c and slot.c are the real ones, compiled with atomic.h.  What stands here is the order in which wire.c and
 * ak_run.c call them; a mutant that breaks that order, or makes one seq_cst store a release, must be found.
 *
 *   producer                                            consumer
 *     full: starve, park, look at head, sleep             nothing: park, look at tail, sleep
 *     put, publish; asleep and not rung for? ring         take, commit with the mark, acknowledge; starved? ring
 */
#include "tests/weave/weave.h"

#include "transport/lane.h"
#include "transport/slot.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PRODUCER, CONSUMER };
enum { MESSAGES = 4, CAPACITY = 4096, BODY_BIG = 2048 - ENVELOPE_LEN, BODY_SMALL = 64, BATCH = 2 };
enum { PARKED_AT = 128, EPOCH_AT = 256 }; /* of a slot's page: slot.h */

/* What a mutant leaves out. */
static struct {
    bool second_look; /* of the consumer, after it parked */
    bool room_look;   /* of the producer */
    bool mark;        /* the commit does not say what it holds */
    bool commit_last; /* acknowledged before the commit */
    bool birth_bell;  /* a successor does not ring for what its predecessor published */
    bool birth_room;  /* ... or acknowledged */
} without;

static char  dir[] = "/dev/shm/haltless-weave-XXXXXX";
static char  lane_path[64];
static addr  who[2];
static lane *first[2], kept[2]; /* the first lives, and how they were when fresh */
static slot *own_first[2], *seen[2];
static void *slot_page[2];

static lane    *end[2]; /* as of now */
static slot    *own[2];
static uint64_t rung[2]; /* what each rang the other for */
static uint32_t body;

/* Durable: what the consumer's store holds. */
static uint32_t applied[MESSAGES];
static uint64_t mark;

/* ---- the glue ---- */

static void
ring(uint32_t me)
{
    uint64_t parked = slot_asks(seen[1 - me], rung[me]);

    if (parked == 0)
        return;
    rung[me] = parked;
    weave_wake(1 - me);
}

static void
put_one(uint32_t number)
{
    static const uint8_t bytes[BODY_BIG];
    envelope             e = { .len = body, .type = 1, .corr = number };
    lane                *l = end[PRODUCER];

    while (lane_put(l, &e, bytes) == E_FULL) {
        lane_starve(l, true);
        slot_park(own[PRODUCER]);
        if (without.room_look || lane_room(l) < envelope_record_len(body))
            weave_sleep();
        slot_unpark(own[PRODUCER]);
    }
    lane_starve(l, false);
    if (lane_publish(l))
        ring(PRODUCER);
}

static void
apply(uint64_t number, uint64_t pos_end)
{
    if (number >= MESSAGES)
        weave_fail("a message that was never sent");
    if (!without.mark && pos_end <= mark)
        return; /* again */
    applied[number]++;
    mark = pos_end;
}

static void
acknowledge(void)
{
    if (lane_ack(end[CONSUMER], lane_read_pos(end[CONSUMER])))
        ring(CONSUMER);
}

/* A batch: taken, committed, acknowledged.  False: there was nothing. */
static bool
take_some(void)
{
    uint64_t number[BATCH];
    uint64_t until[BATCH];
    uint32_t count = 0;
    envelope e;
    uint64_t pos;
    int      rc;

    while (count < BATCH && lane_peek(end[CONSUMER], &e, &pos, &until[count], &rc) != NULL) {
        number[count] = e.corr;
        lane_advance(end[CONSUMER], until[count++]);
    }
    if (rc < 0)
        weave_fail("the lane is bad");
    if (without.commit_last)
        acknowledge();
    for (uint32_t i = 0; i < count; i++)
        apply(number[i], until[i]);
    if (!without.commit_last)
        acknowledge();
    return count > 0;
}

/* ---- the threads ---- */

static void
produce_from(uint32_t number)
{
    for (; number < MESSAGES; number++)
        put_one(number);
    while (lane_head(end[PRODUCER]) < lane_tail(end[PRODUCER])) /* until all are acknowledged */
    {
        lane_starve(end[PRODUCER], true);
        slot_park(own[PRODUCER]);
        if (lane_head(end[PRODUCER]) < lane_tail(end[PRODUCER]))
            weave_sleep();
        slot_unpark(own[PRODUCER]);
    }
}

static void
produce(void)
{
    produce_from(0);
}

static void
consume(void)
{
    while (lane_head(end[CONSUMER]) < MESSAGES * envelope_record_len(body)) {
        if (take_some())
            continue;
        slot_park(own[CONSUMER]);
        if (without.second_look || !lane_has_more(end[CONSUMER]))
            weave_sleep();
        slot_unpark(own[CONSUMER]);
    }
}

static void
open_again(uint32_t me, enum lane_role role)
{
    int rc = slot_open(&own[me], dir, who[me], true);

    if (rc == E_OK)
        rc = lane_open(&end[me], lane_path, role);
    if (rc < 0)
        weave_fail(err_text());
    rung[me] = 0;
}

/* It goes on with what its predecessor had not published: here the position says which that is. */
static void
produce_again(void)
{
    open_again(PRODUCER, LANE_PRODUCER);
    if (!without.birth_bell && lane_tail(end[PRODUCER]) != lane_head(end[PRODUCER]))
        ring(PRODUCER);
    produce_from((uint32_t)(lane_tail(end[PRODUCER]) / envelope_record_len(body)));
}

static void
consume_again(void)
{
    open_again(CONSUMER, LANE_CONSUMER);
    if (!without.birth_room)
        acknowledge();
    consume();
}

/* ---- the scenes ---- */

static void
reset(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (end[i] != first[i])
            lane_close(&end[i]);
        if (own[i] != own_first[i])
            slot_close(&own[i]);
        end[i] = first[i];
        own[i] = own_first[i];
        *first[i] = kept[i];
        rung[i] = 0;
        memset((uint8_t *)slot_page[i] + PARKED_AT, 0, sizeof(uint64_t));
    }
    atomic_store(&first[PRODUCER]->out->tail, 0);
    atomic_store(&first[PRODUCER]->out->starved, 0);
    atomic_store(&first[CONSUMER]->in->head, 0);
    atomic_store(&first[CONSUMER]->in->seen, 0);
    atomic_store(&first[CONSUMER]->in->most, 0);
    memset(applied, 0, sizeof applied);
    mark = 0;
}

static void
reset_small(void)
{
    body = BODY_SMALL;
    reset();
}

static void
reset_full(void)
{
    body = BODY_BIG;
    reset();
}

static void
check(void)
{
    for (uint32_t i = 0; i < MESSAGES; i++)
        if (applied[i] != 1)
            weave_fail(applied[i] == 0 ? "a message was lost" : "a message was applied twice");
}

static const weave_scene park = {
    "publish and park", reset_small, { produce, consume }, check, { NULL, NULL }
};
static const weave_scene full = {
    "a full lane", reset_full, { produce, consume }, check, { NULL, NULL }
};
static const weave_scene kill_consumer = {
    "the consumer is killed", reset_full, { produce, consume }, check, { NULL, consume_again }
};
static const weave_scene kill_producer = {
    "the producer is killed", reset_full, { produce, consume }, check, { produce_again, NULL }
};

static void *
map_slot(uint32_t i)
{
    char  path[96];
    void *at;
    int   fd;

    (void)snprintf(path, sizeof path, "%s/slot.%s.0", dir, kind_name(addr_kind(who[i])));
    fd = open(path, O_RDWR);
    at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ASSERT(fd >= 0 && at != MAP_FAILED);
    (void)close(fd);
    return at;
}

static void
open_all(void)
{
    uuid generation = { { 1 } };
    int  rc = E_OK;

    who[PRODUCER] = addr_of(KIND_FRONT, 0);
    who[CONSUMER] = addr_of(KIND_INGEST, 0);
    ASSERT(mkdtemp(dir) != NULL);
    (void)snprintf(lane_path, sizeof lane_path, "%s/lane", dir);
    for (uint32_t i = 0; i < 2 && rc == E_OK; i++)
        if ((rc = slot_create(dir, who[i])) == E_OK &&
            (rc = slot_open(&own_first[i], dir, who[i], true)) == E_OK)
            rc = slot_open(&seen[i], dir, who[i], false);
    if (rc == E_OK)
        rc = lane_create(lane_path, CAPACITY, who[PRODUCER], who[CONSUMER], &generation);
    if (rc == E_OK)
        rc = lane_open(&first[PRODUCER], lane_path, LANE_PRODUCER);
    if (rc == E_OK)
        rc = lane_open(&first[CONSUMER], lane_path, LANE_CONSUMER);
    if (rc < 0) {
        (void)fprintf(stderr, "weave: %s\n", err_text());
        exit(2);
    }
    for (uint32_t i = 0; i < 2; i++) {
        kept[i] = *first[i];
        end[i] = first[i];
        own[i] = own_first[i];
        slot_page[i] = map_slot(i);
    }
}

static void
remove_all(void)
{
    static const char *const names[] = { "lane", "slot.front.0", "slot.ingest.0" };
    char                     path[96];

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

typedef struct mutant {
    const char        *name;
    const weave_scene *scene;
    bool              *leave_out;
    const volatile void *(*weak)(void);
} mutant;

static const volatile void *
tail_word(void)
{
    return &first[PRODUCER]->out->tail;
}

static const volatile void *
head_word(void)
{
    return &first[CONSUMER]->in->head;
}

static const volatile void *
consumer_parked_word(void)
{
    return slot_word(own_first[CONSUMER]);
}

static const volatile void *
producer_parked_word(void)
{
    return slot_word(own_first[PRODUCER]);
}

static const mutant mutants[] = {
    { "tail is stored release", &park, NULL, tail_word },
    { "parked is stored release", &park, NULL, consumer_parked_word },
    { "the consumer does not look again", &park, &without.second_look, NULL },
    { "head is stored release", &full, NULL, head_word },
    { "the producer's parked is stored release", &full, NULL, producer_parked_word },
    { "the producer does not look again", &full, &without.room_look, NULL },
    { "the commit has no mark", &kill_consumer, &without.mark, NULL },
    { "acknowledged before the commit", &kill_consumer, &without.commit_last, NULL },
    { "a new producer does not ring", &kill_producer, &without.birth_bell, NULL },
    { "a new consumer does not ring", &kill_consumer, &without.birth_room, NULL },
};

static int
run(const weave_scene *s, uint32_t budget)
{
    weave_result r = weave_explore(s, budget);

    (void)printf("%s, %u turns: %llu runs, %s\n", s->name, budget, (unsigned long long)r.runs,
                 r.failed == NULL ? "all sound" : r.failed);
    return r.failed != NULL;
}

static int
run_mutant(const mutant *m, uint32_t budget)
{
    weave_result r;

    memset(&without, 0, sizeof without);
    if (m->leave_out != NULL)
        *m->leave_out = true;
    if (m->weak != NULL)
        weave_weaken(m->weak());
    r = weave_explore(m->scene, budget);
    weave_weaken_none();
    memset(&without, 0, sizeof without);
    (void)printf("%s: %s after %llu runs\n", m->name, r.failed == NULL ? "NOT FOUND" : "found",
                 (unsigned long long)r.runs);
    return r.failed == NULL;
}

int
main(int argc, char **argv)
{
    uint32_t budget = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 3;
    int      wrong = 0;

    open_all();
    wrong += run(&park, budget);
    wrong += run(&full, budget);
    wrong += run(&kill_consumer, budget);
    wrong += run(&kill_producer, budget);
    for (size_t i = 0; i < COUNT_OF(mutants); i++)
        wrong += run_mutant(&mutants[i], budget);
    remove_all();
    return wrong == 0 ? 0 : 1;
}
