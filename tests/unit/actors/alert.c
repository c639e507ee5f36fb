/* The alert actor between a hand-made ingest and a hand-made registry. */
#include "tests/unit/check.h"

#include "actors/kinds.h"
#include "actors/options.h"
#include "actors/rules.h"
#include "proto/pack.h"
#include "proto/reg_ops.h"
#include "tests/unit/actors/rig.h"
#include "transport/board.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define ADDR(kind) ((addr)(kind) << 32)
#define INGEST   ADDR(KIND_INGEST)
#define ALERT    ADDR(KIND_ALERT)
#define REGISTRY ADDR(KIND_REGISTRY)
#define S        1000000LL

enum { TENANT = 2, SERIES = 5, MACHINE = 1, SEEN_MAX = 256 };

static const edge_plan edges[] = {
    { INGEST, ALERT, CARRIER_RING, EDGE_SHED, 256 << 10 },
    { ALERT, INGEST, CARRIER_RING, EDGE_WAIT, 16 << 10 },
    { ALERT, REGISTRY, CARRIER_RING, EDGE_WAIT, 128 << 10 },
    { REGISTRY, ALERT, CARRIER_RING, EDGE_REPLY, 256 << 10 },
    { 0 },
};

/* ---- a registry by hand ---- */

typedef struct seen {
    uint16_t op;
    uint32_t tenant;
    int64_t  rule, machine, time_us, pos;
    double   value, peak;
    char     old_status[16], new_status[16];
} seen;

static struct {
    seen     at[SEEN_MAX];
    uint32_t count; /* opens, closes and status changes, in order */
    uint32_t pages;
    int64_t  open_rule; /* what OPEN_ALL tells; 0: nothing */
    int64_t  open_pos;
    bool     closed;
    uint32_t fail_next; /* so many asks are failed */
} reg;

static void
copy_text(const msgpack_object *map, const char *name, char out[16])
{
    view v;

    memset(out, 0, 16);
    if (pack_get_str(map, name, &v) && v.len < 16)
        memcpy(out, v.at, v.len);
}

static void
answer(ak *k, const ak_msg *m, uint16_t status, pack *p)
{
    uint8_t  body[65536];
    reg_done d = { .status = status };
    view     v = pack_view(p);

    memcpy(body, &d, sizeof d);
    memcpy(body + sizeof d, v.at, v.len);
    ak_reply(k, m, MSG_REG_DONE, body, (uint32_t)(sizeof d + v.len));
}

static void
answer_open_all(ak *k, const ak_msg *m, const msgpack_object *params, pack *p)
{
    int64_t after = 0;

    (void)pack_get_int(params, "after", &after);
    reg.pages++;
    pack_array(p, reg.open_rule != 0 && after == 0);
    if (reg.open_rule != 0 && after == 0) {
        pack_map(p, 8);
        pack_name_bool(p, "cleared", reg.closed);
        pack_name_int(p, "pos", reg.open_pos);
        pack_name_bool(p, "stands", !reg.closed);
        pack_name_int(p, "alert", 1);
        pack_name_int(p, "rule", reg.open_rule);
        pack_name_int(p, "machine", MACHINE);
        pack_name_int(p, "created_us", 1);
        pack_name_double(p, "peak", 99);
    }
    answer(k, m, 200, p);
}

/* What rules were, before they were put anew. */
static uint8_t versions[8 * RULE_PACKED_MAX];
static size_t  versions_len;
static board  *as_registry, *as_ingest;

static void
answer_versions(ak *k, const ak_msg *m, pack *p)
{
    pack_map(p, 3);
    pack_name_int(p, "rules_seq", (int64_t)board_rules_seq(as_registry));
    pack_str(p, VIEW_LIT("versions"));
    pack_bin(p, view_of(versions, versions_len));
    pack_name_int(p, "next", 0);
    answer(k, m, 200, p);
}

static ak_verdict
on_reg(ak *k, void *self, const ak_msg *m)
{
    reg_ask               a;
    pack_doc              d;
    pack                  p;
    seen                  s = { 0 };
    const msgpack_object *params;

    (void)self;
    memcpy(&a, m->body, sizeof a);
    if (reg.fail_next > 0) {
        reg.fail_next--;
        ak_fail(k, m, E_IO);
        return AK_DONE;
    }
    CHECK_EQ(a.role, ROLE_SYSTEM);
    CHECK_OK(pack_open(&d, view_of((const uint8_t *)m->body + sizeof a, m->len - sizeof a)));
    params = pack_root(&d);
    pack_init(&p);
    if (a.op == REG_ALERT_OPEN_ALL) {
        answer_open_all(k, m, params, &p);
    } else if (a.op == REG_RULE_VERSIONS) {
        answer_versions(k, m, &p);
    } else {
        s.op = a.op;
        s.tenant = a.tenant;
        (void)pack_get_int(params, "rule", &s.rule);
        (void)pack_get_int(params, "machine", &s.machine);
        (void)pack_get_int(params, "time_us", &s.time_us);
        (void)pack_get_int(params, "pos", &s.pos);
        (void)pack_get_double(params, "value", &s.value);
        (void)pack_get_double(params, "peak", &s.peak);
        copy_text(params, "old_status", s.old_status);
        copy_text(params, "new_status", s.new_status);
        CHECK(reg.count < SEEN_MAX);
        reg.at[reg.count++] = s;
        pack_map(&p, 0);
        answer(k, m, a.op == REG_ALERT_OPEN ? 201 : 200, &p);
    }
    pack_fini(&p);
    pack_doc_close(&d);
    return AK_DONE;
}

static int
nothing(ak *k, void *self)
{
    (void)k;
    (void)self;
    return E_OK;
}

static const ak_on reg_on[] = { { MSG_REG, 0, on_reg }, { 0 } };

/* ---- an ingest by hand: a journal of rows, numbered from 1 ---- */

enum { ROWS_MAX = 64 };

static struct {
    reading_row row[ROWS_MAX];
    uint64_t    count, sent; /* rows there are, and the last that was handed on */
    uint64_t    stamp[ROWS_MAX];
    uint64_t    trimmed;
    uint32_t    asks;
    judged_note judged;
} jour;

typedef struct watched_rows {
    watched_head h;
    reading_row  row[ROWS_MAX];
} watched_rows;

static uint32_t
fill(watched_rows *out, uint64_t after, uint64_t upto)
{
    out->h = (watched_head){ .after = after, .upto = upto, .lsn = after + 1, .trimmed = jour.trimmed };
    for (uint64_t lsn = max_u64(after, jour.trimmed) + 1; lsn <= upto; lsn++) {
        if (out->h.rows > 0 && jour.stamp[lsn - 1] != out->h.rules) { /* under one set of rules each */
            out->h.upto = lsn - 1;
            out->h.flags = WATCHED_MORE;
            break;
        }
        out->h.rules = jour.stamp[lsn - 1];
        out->row[out->h.rows] = jour.row[lsn - 1];
        out->row[out->h.rows++].flags = (uint32_t)(lsn - out->h.lsn);
    }
    return (uint32_t)(sizeof out->h + out->h.rows * sizeof out->row[0]);
}

static ak_verdict
on_catch_up(ak *k, void *self, const ak_msg *m)
{
    watched_rows out;
    judged_note  j;
    uint32_t     len;

    (void)self;
    memcpy(&j, m->body, sizeof j);
    jour.asks++;
    if (j.upto == CATCH_UP_ANEW) {
        out.h = (watched_head){ .upto = jour.count, .trimmed = jour.trimmed };
        len = sizeof out.h;
    } else if (j.upto > jour.count) {
        out.h = (watched_head){ .after = jour.count, .upto = jour.count, .flags = WATCHED_BEHIND };
        len = sizeof out.h;
    } else {
        len = fill(&out, j.upto, jour.count);
    }
    ak_reply(k, m, MSG_CAUGHT, &out, len);
    return AK_DONE;
}

static ak_verdict
on_judged(ak *k, void *self, const ak_msg *m)
{
    (void)k;
    (void)self;
    memcpy(&jour.judged, m->body, sizeof jour.judged);
    return AK_DONE;
}

static const ak_on ingest_on[] = { { MSG_CATCH_UP, 0, on_catch_up }, { MSG_JUDGED, 0, on_judged }, { 0 } };
static const ak_kind hand_registry = {
    .name = "registry", .self_size = 8, .number = KIND_REGISTRY, .on = reg_on, .init = nothing
};
static const ak_kind hand_ingest = {
    .name = "ingest", .self_size = 8, .number = KIND_INGEST, .on = ingest_on, .init = nothing
};

static rig    *r;
static ak     *ingest, *registry;
static options settings;

static int64_t
wall_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * S + t.tv_nsec / 1000;
}

static void
until(const uint32_t *count, uint32_t want)
{
    struct timespec t, now;

    clock_gettime(CLOCK_MONOTONIC, &t);
    while (*count < want) {
        if (ak_step(ingest, 64) + ak_step(registry, 64) == 0)
            sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > t.tv_sec + 10)
            fail_msg("%u of %u after 10 s", *count, want);
    }
}

/* A row is durable; handed on, or lost on the way. */
static void
written(int64_t time_us, double value)
{
    CHECK(jour.count < ROWS_MAX);
    jour.stamp[jour.count] = board_rules_seq(as_registry);
    jour.row[jour.count++] = (reading_row){ .series = SERIES, .time_us = time_us, .value = value };
}

static void
hand_on(void)
{
    watched_rows out;
    uint32_t     len = fill(&out, jour.sent, jour.count);

    jour.sent = jour.count;
    CHECK_OK(ak_send(ingest, ALERT, MSG_WATCHED, &out, len));
    (void)ak_step(ingest, 1);
}

static void
watched(int64_t time_us, double value)
{
    written(time_us, value);
    hand_on();
}

static uint32_t version;

static void
put_rule(uint32_t no, double threshold, uint32_t duration_s, bool live)
{
    board_rule      rule = { .no = no, .tenant = TENANT, .flags = live ? BOARD_LIVE : 0, .op = CMP_GT,
                             .severity = SEVERITY_CRITICAL, .threshold = threshold, .clear_threshold = threshold,
                             .duration_s = duration_s, .version = ++version,
                             .changed = board_rules_seq(as_registry) + 1 };

    board_rule was;

    if (table_read(board_table(as_registry, BOARD_RULES, 0), no, &was) && (was.flags & BOARD_LIVE)) {
        was.until = rule.changed;
        was.no = no;
        versions_len += rule_pack(&was, VIEW_LIT("temperature"), (view){ 0 }, versions + versions_len);
    }
    rule.id.b[0] = (uint8_t)no;
    CHECK_OK(board_put_rule(as_registry, &rule, VIEW_LIT("temperature"), VIEW_LIT("hot"), (view){ 0 }, (view){ 0 }));
    board_bump_registry(as_registry, true);
}

static void
expect(uint32_t at, enum reg_op op, int64_t rule, int64_t time_us, double value)
{
    until(&reg.count, at + 1);
    CHECK_EQ(reg.at[at].op, op);
    CHECK_EQ(reg.at[at].rule, rule);
    CHECK_EQ(reg.at[at].machine, MACHINE);
    CHECK_EQ(reg.at[at].tenant, TENANT);
    CHECK_EQ(reg.at[at].time_us, time_us);
    CHECK(reg.at[at].value == value);
}

static int
start(void **state)
{
    char          path[256];
    board_machine m = { .no = MACHINE, .tenant = TENANT, .flags = BOARD_LIVE, .offline_after_s = 300 };

    (void)state;
    memset(&reg, 0, sizeof reg);
    memset(&jour, 0, sizeof jour);
    versions_len = 0;
    CHECK_OK(options_load(&settings, NULL, 0, NULL));
    r = rig_new(edges, &(rig_with){ .options = &settings, .board = true });
    snprintf(path, sizeof path, "%s/board", rig_run_dir(r));
    CHECK_OK(board_open(&as_registry, path, REGISTRY));
    CHECK_OK(board_open(&as_ingest, path, INGEST));
    board_say_filling(as_ingest, false);
    m.id.b[0] = 1;
    CHECK_OK(board_put_machine(as_registry, &m, VIEW_LIT("m"), VIEW_LIT("m"), (view){ 0 }));
    board_say_filling(as_ingest, false);
    CHECK_OK(board_put_series(as_ingest, 0, SERIES, MACHINE, TENANT, VIEW_LIT("temperature"), VIEW_LIT("C")));
    ingest = rig_hand(r, &hand_ingest, 0);
    registry = rig_hand(r, &hand_registry, 0);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    board_close(&as_registry);
    board_close(&as_ingest);
    rig_free(&r);
    options_free(&settings);
    return 0;
}

static void
a_crossing_opens_one_alert_and_the_way_back_closes_it(void **state)
{
    (void)state;
    put_rule(1, 80, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&reg.pages, 1);
    watched(1 * S, 70);
    watched(2 * S, 85);
    watched(3 * S, 95);
    watched(4 * S, 60);
    expect(0, REG_ALERT_OPEN, 1, 2 * S, 85);
    expect(1, REG_ALERT_CLOSE, 1, 4 * S, 60);
    CHECK(reg.at[1].peak == 95);
    CHECK_EQ(reg.count, 2);
}

static void
an_alert_that_is_open_is_not_raised_again_but_closes(void **state)
{
    (void)state;
    reg.open_rule = 1;
    put_rule(1, 80, 0, true);
    put_rule(2, 90, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&reg.pages, 2);
    watched(1 * S, 95);
    expect(0, REG_ALERT_OPEN, 2, 1 * S, 95);
    watched(2 * S, 85);
    expect(1, REG_ALERT_CLOSE, 2, 2 * S, 85);
    watched(3 * S, 10);
    expect(2, REG_ALERT_CLOSE, 1, 3 * S, 10);
    CHECK(reg.at[2].peak == 99);
}

static void
what_the_registry_failed_is_asked_again_in_order(void **state)
{
    (void)state;
    put_rule(1, 80, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&reg.pages, 1);
    watched(1 * S, 70);
    reg.fail_next = 2;
    watched(2 * S, 90);
    watched(3 * S, 10);
    watched(4 * S, 91);
    expect(0, REG_ALERT_OPEN, 1, 2 * S, 90);
    expect(1, REG_ALERT_CLOSE, 1, 3 * S, 10);
    expect(2, REG_ALERT_OPEN, 1, 4 * S, 91);
}

static void
a_duration_that_runs_goes_on_over_a_restart(void **state)
{
    (void)state;
    put_rule(1, 80, 60, true);
    put_rule(2, 80, 0, true); /* shows when the first reading was judged */
    rig_thread(r, &alert_kind, 0);
    until(&reg.pages, 1);
    watched(100 * S, 90);
    expect(0, REG_ALERT_OPEN, 2, 100 * S, 90);
    rig_stop(r, &alert_kind, 0);
    reg.open_rule = 2;
    reg.pages = 0;
    rig_thread(r, &alert_kind, 0);
    until(&reg.pages, 2);
    watched(159 * S, 90);
    watched(160 * S, 90);
    expect(1, REG_ALERT_OPEN, 1, 160 * S, 90);
    CHECK_EQ(reg.count, 2);
}

static void
a_rule_that_is_off_judges_nothing(void **state)
{
    (void)state;
    put_rule(1, 80, 0, true);
    put_rule(2, 80, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&reg.pages, 1);
    put_rule(1, 80, 0, false);
    watched(1 * S, 90);
    expect(0, REG_ALERT_OPEN, 2, 1 * S, 90);
    CHECK_EQ(reg.count, 1);
}

static void
a_change_of_status_is_told_within_a_second(void **state)
{
    board_arrival a = { .newest_us = 1 };
    board_machine m;
    int64_t       at;

    (void)state;
    rig_thread(r, &alert_kind, 0);
    until(&reg.pages, 1);
    for (at = wall_us(); wall_us() < at + 600000;) /* a walk records it as offline */
        if (ak_step(registry, 64) == 0)
            sched_yield();
    CHECK_EQ(reg.count, 0);
    at = a.arrived_us = wall_us();
    CHECK_OK(board_put_arrival(as_ingest, 0, MACHINE, &a));
    until(&reg.count, 1);
    CHECK(wall_us() - at < 1 * S);
    CHECK_EQ(reg.at[0].op, REG_STATUS_CHANGED);
    CHECK_EQ(reg.at[0].machine, MACHINE);
    assert_string_equal(reg.at[0].old_status, "offline");
    assert_string_equal(reg.at[0].new_status, "healthy");
    reg.fail_next = 1; /* told again when the registry did not take it */
    CHECK(table_read(board_table(as_registry, BOARD_MACHINES, 0), MACHINE, &m));
    m.open_critical = 1;
    CHECK_OK(board_put_machine(as_registry, &m, VIEW_LIT("m"), VIEW_LIT("m"), (view){ 0 }));
    until(&reg.count, 2);
    assert_string_equal(reg.at[1].old_status, "healthy");
    assert_string_equal(reg.at[1].new_status, "critical");
}

static void
a_silent_machine_is_offline_at_its_deadline_and_an_edit_moves_it(void **state)
{
    board_arrival a = { .newest_us = 1 };
    board_machine m;

    (void)state;
    rig_thread(r, &alert_kind, 0);
    until(&reg.pages, 1);
    for (int64_t at = wall_us(); wall_us() < at + 600000;)
        if (ak_step(registry, 64) == 0)
            sched_yield();
    a.arrived_us = wall_us();
    CHECK_OK(board_put_arrival(as_ingest, 0, MACHINE, &a));
    until(&reg.count, 1);
    assert_string_equal(reg.at[0].new_status, "healthy"); /* for 300 s */
    CHECK(table_read(board_table(as_registry, BOARD_MACHINES, 0), MACHINE, &m));
    m.offline_after_s = 1;
    CHECK_OK(board_put_machine(as_registry, &m, VIEW_LIT("m"), VIEW_LIT("m"), (view){ 0 }));
    until(&reg.count, 2);
    assert_string_equal(reg.at[1].new_status, "offline");
    CHECK(wall_us() >= a.arrived_us + 1 * S);
    a.arrived_us = wall_us();
    CHECK_OK(board_put_arrival(as_ingest, 0, MACHINE, &a));
    until(&reg.count, 4); /* it reports again, and falls silent again */
    assert_string_equal(reg.at[2].new_status, "healthy");
    assert_string_equal(reg.at[3].new_status, "offline");
}

static void
a_machine_made_since_was_offline_before(void **state)
{
    board_machine m = { .no = 2, .tenant = TENANT, .flags = BOARD_LIVE, .offline_after_s = 300 };
    board_arrival a = { .newest_us = 1 };
    int64_t       at;

    (void)state;
    rig_thread(r, &alert_kind, 0);
    for (at = wall_us(); wall_us() < at + 600000;)
        if (ak_step(registry, 64) == 0)
            sched_yield();
    a.arrived_us = wall_us(); /* it reports before anybody looked at it */
    CHECK_OK(board_put_arrival(as_ingest, 0, 2, &a));
    m.id.b[0] = 2;
    CHECK_OK(board_put_machine(as_registry, &m, VIEW_LIT("n"), VIEW_LIT("n"), (view){ 0 }));
    until(&reg.count, 1);
    CHECK_EQ(reg.at[0].machine, 2);
    assert_string_equal(reg.at[0].old_status, "offline");
    assert_string_equal(reg.at[0].new_status, "healthy");
}

static void
what_was_lost_on_the_way_is_judged_from_the_journal_in_its_place(void **state)
{
    (void)state;
    put_rule(1, 80, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&jour.asks, 2); /* where to begin; and from there on */
    watched(1 * S, 70);
    written(2 * S, 90);
    written(3 * S, 10);
    jour.sent = jour.count; /* shed */
    watched(4 * S, 91);
    expect(0, REG_ALERT_OPEN, 1, 2 * S, 90);
    expect(1, REG_ALERT_CLOSE, 1, 3 * S, 10);
    expect(2, REG_ALERT_OPEN, 1, 4 * S, 91);
    CHECK_EQ(reg.at[0].pos, 2 * 2);
    CHECK_EQ(reg.at[2].pos, 2 * 4);
    CHECK_EQ(reg.count, 3);
}

static void
the_last_rows_before_a_silence_are_asked_for_too(void **state)
{
    watched_head h = { .after = 2, .upto = 2, .flags = WATCHED_STARTED };

    (void)state;
    put_rule(1, 80, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&jour.asks, 2);
    watched(1 * S, 70);
    written(2 * S, 90); /* and its ingest dies */
    jour.sent = jour.count;
    CHECK_OK(ak_send(ingest, ALERT, MSG_WATCHED, &h, sizeof h));
    (void)ak_step(ingest, 1);
    expect(0, REG_ALERT_OPEN, 1, 2 * S, 90);
}

static void
after_a_restart_it_goes_on_where_the_file_ends(void **state)
{
    (void)state;
    put_rule(1, 80, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&jour.asks, 2);
    watched(1 * S, 90);
    expect(0, REG_ALERT_OPEN, 1, 1 * S, 90);
    rig_stop(r, &alert_kind, 0);
    written(2 * S, 10);
    written(3 * S, 95);
    jour.sent = jour.count;
    reg.open_rule = 1;
    reg.open_pos = 2;
    rig_thread(r, &alert_kind, 0);
    expect(1, REG_ALERT_CLOSE, 1, 2 * S, 10);
    expect(2, REG_ALERT_OPEN, 1, 3 * S, 95);
    CHECK_EQ(reg.count, 3);
}

/* Its file is gone: everything is judged again, and the registry has what the first three rows led to. */
static void
what_the_registry_has_made_is_not_told_again(void **state)
{
    (void)state;
    put_rule(1, 80, 0, true);
    written(1 * S, 90);
    written(2 * S, 10);
    written(3 * S, 95);
    written(4 * S, 20);
    reg.open_rule = 1;
    reg.open_pos = 2 * 3;
    rig_thread(r, &alert_kind, 0);
    expect(0, REG_ALERT_CLOSE, 1, 4 * S, 20);
    CHECK_EQ(reg.at[0].pos, 2 * 4);
    CHECK_EQ(reg.count, 1);
}

/* The rule was another one when the registry's transition was made: that one counts. */
static void
past_what_the_registry_has_made_its_word_counts(void **state)
{
    (void)state;
    put_rule(1, 80, 0, true);
    written(1 * S, 90);
    written(2 * S, 90);
    reg.open_rule = 1;
    reg.open_pos = 2 * 1;
    reg.closed = true;
    rig_thread(r, &alert_kind, 0);
    expect(0, REG_ALERT_OPEN, 1, 2 * S, 90);
    CHECK_EQ(reg.count, 1);
}

/* Two readings before the edit, one behind it; all of them judged after it, by another life. */
static void
an_edit_divides_the_readings_where_it_was_made(void **state)
{
    (void)state;
    put_rule(1, 80, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&jour.asks, 2);
    watched(1 * S, 70);
    rig_stop(r, &alert_kind, 0);
    written(2 * S, 85);
    written(3 * S, 75);
    put_rule(1, 60, 0, true);
    written(4 * S, 65);
    jour.sent = jour.count;
    rig_thread(r, &alert_kind, 0);
    expect(0, REG_ALERT_OPEN, 1, 2 * S, 85);
    expect(1, REG_ALERT_CLOSE, 1, 3 * S, 75);
    expect(2, REG_ALERT_OPEN, 1, 4 * S, 65);
}

static void
a_rule_judges_nothing_of_before_it_was_made(void **state)
{
    (void)state;
    put_rule(2, 1000, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&jour.asks, 2);
    watched(1 * S, 70);
    rig_stop(r, &alert_kind, 0);
    written(2 * S, 85);
    written(3 * S, 70);
    put_rule(1, 80, 0, true);
    written(4 * S, 90);
    jour.sent = jour.count;
    rig_thread(r, &alert_kind, 0);
    expect(0, REG_ALERT_OPEN, 1, 4 * S, 90);
}

static void
ingest_hears_what_is_on_the_disk(void **state)
{
    (void)state;
    put_rule(1, 80, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&jour.asks, 2);
    watched(1 * S, 70);
    watched(2 * S, 71);
    for (int64_t end = wall_us() + 10 * S; jour.judged.saved < 2 && wall_us() < end;)
        if (ak_step(ingest, 64) + ak_step(registry, 64) == 0)
            sched_yield();
    CHECK_EQ(jour.judged.saved, 2);
    CHECK_EQ(jour.judged.upto, 2);
}

static void
a_journal_that_lost_its_end_is_followed(void **state)
{
    (void)state;
    put_rule(1, 80, 0, true);
    rig_thread(r, &alert_kind, 0);
    until(&jour.asks, 2);
    watched(1 * S, 70);
    watched(2 * S, 71);
    watched(3 * S, 90);
    expect(0, REG_ALERT_OPEN, 1, 3 * S, 90);
    rig_stop(r, &alert_kind, 0);
    jour.count = jour.sent = 1;
    jour.asks = 0;
    reg.open_rule = 1;
    reg.open_pos = 2 * 3;
    rig_thread(r, &alert_kind, 0);
    until(&jour.asks, 1);
    jour.count = jour.sent = 3; /* numbers go on behind what was known: MSG_CATCH_UP says it */
    watched(5 * S, 10);
    expect(1, REG_ALERT_CLOSE, 1, 5 * S, 10);
}

#define EACH(fn) cmocka_unit_test_setup_teardown(fn, start, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(a_crossing_opens_one_alert_and_the_way_back_closes_it),
        EACH(an_alert_that_is_open_is_not_raised_again_but_closes),
        EACH(what_the_registry_failed_is_asked_again_in_order),
        EACH(a_duration_that_runs_goes_on_over_a_restart),
        EACH(a_rule_that_is_off_judges_nothing),
        EACH(a_change_of_status_is_told_within_a_second),
        EACH(a_silent_machine_is_offline_at_its_deadline_and_an_edit_moves_it),
        EACH(a_machine_made_since_was_offline_before),
        EACH(what_was_lost_on_the_way_is_judged_from_the_journal_in_its_place),
        EACH(the_last_rows_before_a_silence_are_asked_for_too),
        EACH(after_a_restart_it_goes_on_where_the_file_ends),
        EACH(what_the_registry_has_made_is_not_told_again),
        EACH(past_what_the_registry_has_made_its_word_counts),
        EACH(an_edit_divides_the_readings_where_it_was_made),
        EACH(a_rule_judges_nothing_of_before_it_was_made),
        EACH(ingest_hears_what_is_on_the_disk),
        EACH(a_journal_that_lost_its_end_is_followed),
    };

    return cmocka_run_group_tests_name("actors/alert", tests, NULL, NULL);
}
