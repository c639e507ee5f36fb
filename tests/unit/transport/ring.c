/* Every state of a small ring: a lane of four cells, and from each state that can be reached each thing that can be done,
 * on the real lane, beside an oracle of twenty lines.
 *
 * A cell is 1 KiB, a record one to four cells.  A state is where head, read, tail and staged are, what each side believes
 * of the other, and the records between.  States are kept as bytes (both ends' structs, the shared pages, the data), so
 * one is taken up again by copying it back. */
#include "transport/lane.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <stdlib.h>

enum { CELLS = 4, CELL = 1024, CAP = CELLS * CELL, STATES_MAX = 1 << 16, SLOTS = 1 << 18 };
enum { PUT1, PUT2, PUT3, PUT4, PUT5, PUBLISH, UNSTAGE, TAKE, REWIND, ACK, OUT_DIES, IN_DIES, OPS };

/* ---- the oracle: positions in cells, since ever; which record begins where ---- */

typedef struct oracle {
    uint32_t head, read, tail, staged;
    uint32_t len[CELLS]; /* of the record that begins at cell % CELLS */
    uint8_t  mark[CELLS];
} oracle;

static bool
oracle_puts(oracle *o, uint32_t len, uint8_t mark)
{
    if (o->staged + len - o->head > CELLS)
        return false;
    o->len[o->staged % CELLS] = len;
    o->mark[o->staged % CELLS] = mark;
    o->staged += len;
    return true;
}

static bool
oracle_takes(oracle *o, uint32_t *len, uint8_t *mark)
{
    if (o->read == o->tail)
        return false;
    *len = o->len[o->read % CELLS];
    *mark = o->mark[o->read % CELLS];
    o->read += *len;
    return true;
}

/* ---- a state ---- */

typedef struct state {
    oracle   o;
    lane     out, in;
    uint64_t tail, head;
    uint8_t  data[CAP];
} state;

static const uuid  generation = { { 1 } };
static const char *path;
static lane       *out, *in;
static state      *states;
static uint32_t    state_count;
static uint32_t    slots[SLOTS]; /* state + 1 */
static uint8_t     next_mark;

static void
keep(state *s, const oracle *o)
{
    s->o = *o;
    s->out = *out;
    s->in = *in;
    s->tail = lane_tail(out);
    s->head = lane_head(in);
    memcpy(s->data, out->data, CAP);
}

static void
take_up(const state *s)
{
    *out = s->out;
    *in = s->in;
    atomic_store(&out->out->tail, s->tail);
    atomic_store(&in->in->head, s->head);
    memcpy(out->data, s->data, CAP);
}

/* What tells states apart, positions counted from head, which itself counts only as far as it goes round the ring. */
static uint64_t
key_of(const oracle *o)
{
    uint64_t key = o->head % CELLS;

    for (uint32_t at = o->head; at < o->staged; at += o->len[at % CELLS])
        key = key * 8 + o->len[at % CELLS];
    key = key * 8 + (o->read - o->head);
    key = key * 8 + (o->tail - o->head);
    key = key * 8 + (o->staged - o->head);
    key = key * 8 + (o->head - (uint32_t)(out->head_seen / CELL));
    return key * 16 + (uint32_t)(in->tail_seen / CELL - o->head + 8);
}

static void
reach(const oracle *o)
{
    static uint64_t keys[STATES_MAX];
    uint64_t        key = key_of(o);
    uint32_t        at = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 46);

    for (; slots[at] != 0; at = (at + 1) % SLOTS)
        if (keys[slots[at] - 1] == key)
            return;
    CHECK(state_count < STATES_MAX);
    states = realloc(states, (state_count + 1) * sizeof *states);
    CHECK(states != NULL);
    keys[state_count] = key;
    keep(&states[state_count], o);
    slots[at] = ++state_count;
}

/* ---- what can be done ---- */

static void
put(oracle *o, uint32_t len)
{
    static uint8_t body[5 * CELL];
    envelope       e = { .len = len * CELL - ENVELOPE_LEN, .type = 1, .corr = ++next_mark };
    bool           fits;

    memset(body, next_mark, e.len);
    fits = oracle_puts(o, len, next_mark);
    CHECK_EQ(lane_put(out, &e, body), fits ? E_OK : E_FULL);
}

/* Every byte of it: what was put later has not touched it. */
static void
take(oracle *o)
{
    envelope       e;
    uint64_t       pos, pos_end;
    int            rc;
    const uint8_t *body = lane_peek(in, &e, &pos, &pos_end, &rc);
    uint64_t       from = (uint64_t)o->read * CELL;
    uint32_t       len = 0;
    uint8_t        mark = 0;

    CHECK_EQ(rc, E_OK);
    CHECK_EQ(oracle_takes(o, &len, &mark), body != NULL);
    if (body == NULL)
        return;
    CHECK_EQ(pos, from);
    CHECK_EQ(pos_end, from + (uint64_t)len * CELL);
    CHECK_EQ(e.corr, mark);
    CHECK_EQ(e.len, len * CELL - ENVELOPE_LEN);
    for (uint32_t i = 0; i < e.len; i++)
        if (body[i] != mark)
            fail_msg("byte %u of a record of %u", i, e.len);
    lane_advance(in, pos_end);
}

/* What a successor finds, in the place of what its predecessor knew. */
static void
reborn(lane *l, enum lane_role role)
{
    lane *fresh;

    CHECK_OK(lane_open(&fresh, path, role));
    l->staged = fresh->staged;
    l->tail = fresh->tail;
    l->head_seen = fresh->head_seen;
    l->read = fresh->read;
    l->tail_seen = fresh->tail_seen;
    l->head = fresh->head;
    l->seen_before = fresh->seen_before;
    lane_close(&fresh);
}

static void
apply(oracle *o, int op)
{
    switch (op) {
    case PUBLISH:
        CHECK_EQ(lane_publish(out), o->staged != o->tail);
        o->tail = o->staged;
        break;
    case UNSTAGE:
        lane_unstage(out);
        o->staged = o->tail;
        break;
    case TAKE:
        take(o);
        break;
    case REWIND:
        lane_rewind(in, lane_head(in));
        o->read = o->head;
        break;
    case ACK:
        CHECK(!lane_ack(in, lane_read_pos(in)));
        o->head = o->read;
        break;
    case OUT_DIES:
        reborn(out, LANE_PRODUCER);
        o->staged = o->tail;
        break;
    case IN_DIES:
        reborn(in, LANE_CONSUMER);
        o->read = o->head;
        break;
    default:
        put(o, (uint32_t)(op - PUT1 + 1));
    }
}

static void
compare(const oracle *o)
{
    CHECK_EQ(lane_head(out), (uint64_t)o->head * CELL);
    CHECK_EQ(lane_tail(in), (uint64_t)o->tail * CELL);
    CHECK_EQ(lane_read_pos(in), (uint64_t)o->read * CELL);
    CHECK_EQ(lane_staged_len(out), (uint64_t)(o->staged - o->tail) * CELL);
    CHECK_EQ(lane_has_more(in), o->read != o->tail);
}

/* Whatever can be done in whatever state, the lane does what the oracle says, and records keep their bytes. */
static void
every_state_of_a_ring_of_four_cells_is_right(void **unused)
{
    (void)unused;
    path = scratch_file("ring");
    CHECK_OK(lane_create(path, CAP, 1, 2, &generation));
    CHECK_OK(lane_open(&out, path, LANE_PRODUCER));
    CHECK_OK(lane_open(&in, path, LANE_CONSUMER));
    reach(&(oracle){ 0 });
    for (uint32_t i = 0; i < state_count; i++) {
        for (int op = 0; op < OPS; op++) {
            oracle o = states[i].o;

            take_up(&states[i]);
            apply(&o, op);
            compare(&o);
            reach(&o);
        }
    }
    print_message("%u states, %u steps\n", state_count, state_count * OPS);
    CHECK(state_count > 1000);
    lane_close(&out);
    lane_close(&in);
    free(states);
}

int
main(void)
{
    const struct CMUnitTest tests[] = { TEST(every_state_of_a_ring_of_four_cells_is_right) };

    return cmocka_run_group_tests_name("transport/ring", tests, NULL, NULL);
}
