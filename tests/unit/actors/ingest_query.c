/* Ingest and query on real lanes: what was stored is read back, raw and aggregated, as a naive model of
 * the same readings says. */
#include "tests/unit/check.h"

#include "actors/aggregate.h"
#include "actors/kinds.h"
#include "actors/options.h"
#include "tests/unit/actors/rig.h"
#include "transport/board.h"

#include <float.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define FRONT     ((addr)KIND_FRONT << 32)
#define INGEST(p) ((addr)KIND_INGEST << 32 | (addr)(p) << 16)
#define QUERY     ((addr)KIND_QUERY << 32)
#define S      1000000LL
#define DAY    (86400 * S)
#define T0     (1767225600LL * S) /* 2026-01-01 */

enum { PARTS = 2, MACHINES = 4, METRICS = 2, SERIES = MACHINES * METRICS, ROWS = 60000, TENANT = 3 };

static const edge_plan edges[] = {
    { FRONT, INGEST(0), CARRIER_RING, EDGE_WAIT, 1 << 20 }, { INGEST(0), FRONT, CARRIER_RING, EDGE_SHED, 256 << 10 },
    { FRONT, INGEST(1), CARRIER_RING, EDGE_WAIT, 1 << 20 }, { INGEST(1), FRONT, CARRIER_RING, EDGE_SHED, 256 << 10 },
    { FRONT, QUERY, CARRIER_RING, EDGE_WAIT, 128 << 10 },   { QUERY, FRONT, CARRIER_RING, EDGE_REPLY, 1 << 20 },
    { QUERY, INGEST(0), CARRIER_RING, EDGE_WAIT, 128 << 10 }, { INGEST(0), QUERY, CARRIER_RING, EDGE_REPLY, 1 << 20 },
    { QUERY, INGEST(1), CARRIER_RING, EDGE_WAIT, 128 << 10 }, { INGEST(1), QUERY, CARRIER_RING, EDGE_REPLY, 1 << 20 },
    { 0 },
};
static const char *const metrics[METRICS] = { "pressure", "temperature" };

/* ---- the model: rows of each series in order of acceptance ---- */

typedef struct model {
    head_row rows[ROWS];
    uint32_t count;
} model;

static model    models[SERIES];
static uint64_t seed = 7;

static uint32_t
chance(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static uint16_t
part_of(uint32_t machine)
{
    return (uint16_t)(machine % PARTS);
}

static int
by_time(const void *x, const void *y)
{
    const head_row *a = x, *b = y;

    return (a->time_us > b->time_us) - (a->time_us < b->time_us);
}

/* The series' rows in [start, end) by time, the last accepted of equal times. */
static uint32_t
model_rows(uint32_t series, int64_t start, int64_t end, head_row *out)
{
    const model *m = &models[series];
    uint32_t     n = 0;

    /* From the last accepted on: the first one met of a time stays. */
    static head_row all[ROWS];
    for (uint32_t i = m->count; i-- > 0;)
        if (m->rows[i].time_us >= start && m->rows[i].time_us < end)
            all[n++] = m->rows[i];
    /* qsort is not stable: the place of acceptance decides among equal times. */
    static struct { head_row r; uint32_t at; } with[ROWS];
    for (uint32_t i = 0; i < n; i++) {
        with[i].r = all[i];
        with[i].at = i;
    }
    qsort(with, n, sizeof *with, by_time);
    uint32_t kept = 0;
    for (uint32_t i = 0, j; i < n; i = j) {
        uint32_t best = i;

        for (j = i; j < n && with[j].r.time_us == with[i].r.time_us; j++)
            if (with[j].at < with[best].at)
                best = j;
        out[kept++] = with[best].r;
    }
    return kept;
}

/* ---- a front by hand ---- */

typedef struct answer_series {
    uint32_t     machine;
    char         metric[64];
    char         unit[64];
    result_point points[10000];
    uint32_t     count;
    int64_t      next_us;
} answer_series;

typedef struct front {
    uint32_t stored, stored_asked;
    int32_t  stored_rc;
    bool     done, failed;
    int32_t  rc;
    uint32_t series;
    uint32_t feed_rows;
    answer_series *at; /* SERIES of them */
} front;

static front the;

static void
take_record(view record)
{
    result_head    h;
    result_series  s;
    answer_series *a = the.series > 0 ? &the.at[the.series - 1] : NULL;
    const uint8_t *at = record.at + sizeof h;

    memcpy(&h, record.at, sizeof h);
    if (h.kind == RESULT_SERIES) {
        CHECK(the.series < SERIES);
        a = &the.at[the.series++];
        memset(a, 0, sizeof *a);
        memcpy(&s, at, sizeof s);
        a->machine = s.machine;
        memcpy(a->metric, at + sizeof s, s.metric_len);
        memcpy(a->unit, at + sizeof s + s.metric_len, s.unit_len);
    } else if (h.kind == RESULT_POINTS) {
        CHECK(a->count + h.count <= 10000);
        memcpy(a->points + a->count, at, h.count * sizeof *a->points);
        a->count += h.count;
    } else if (h.kind == RESULT_CLOSE) {
        a->next_us = h.next_us;
    } else {
        the.rc = h.rc;
        the.done = true;
    }
}

static void
take_result(const ak_msg *m)
{
    for (view left = view_of(m->body, m->len); left.len > 0;) {
        size_t len = result_record_len(left);

        CHECK(len > 0);
        take_record(view_of(left.at, len));
        left = view_of(left.at + len, left.len - len);
    }
}

static ak_verdict
on_front(ak *k, void *self, const ak_msg *m)
{
    stored s;

    (void)self;
    switch (m->type) {
    case MSG_STORED:
        memcpy(&s, m->body, sizeof s);
        the.stored++;
        if (s.rc < 0)
            the.stored_rc = s.rc;
        break;
    case MSG_RESULT:
        take_result(m);
        if (m->flags & ENV_MORE)
            ak_credit(k, m->corr, m->len);
        break;
    case MSG_PROBED:
        memcpy(&the.rc, m->body, sizeof the.rc);
        the.done = true;
        break;
    case MSG_FEED:
        the.feed_rows += ((const feed_head *)m->body)->rows;
        break;
    default:
        if (m->type == MSG_FAIL)
            memcpy(&the.rc, m->body, sizeof the.rc);
        the.failed = the.done = true;
    }
    return AK_DONE;
}

static int
front_init(ak *k, void *self)
{
    (void)k;
    (void)self;
    return E_OK;
}

static const ak_on front_on[] = {
    { MSG_STORED, 0, on_front }, { MSG_RESULT, 0, on_front }, { MSG_PROBED, 0, on_front },
    { MSG_FEED, 0, on_front },   { MSG_FAIL, 0, on_front },   { MSG_LATE, 0, on_front },
    { 0 },
};
static const ak_kind hand_front = {
    .name = "front", .self_size = 8, .number = KIND_FRONT, .on = front_on, .init = front_init
};

static rig     *r;
static ak      *k;
static board   *as_registry;
static options  settings;

static void
until(const bool *flag, const uint32_t *count, uint32_t want)
{
    struct timespec t, now;

    clock_gettime(CLOCK_MONOTONIC, &t);
    while ((flag != NULL && !*flag) || (count != NULL && *count < want)) {
        if (ak_step(k, 64) == 0)
            sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > t.tv_sec + 20)
            fail_msg("nothing came for 20 s");
    }
}

/* ---- storing ---- */

static size_t
put_name(uint8_t *at, uint32_t machine, const char *metric, const char *unit)
{
    name_row n = { .machine = machine, .metric_len = (uint16_t)strlen(metric), .unit_len = (uint16_t)strlen(unit),
                   .tenant = TENANT };

    memset(at, 0, name_row_len(n.metric_len, n.unit_len));
    memcpy(at, &n, sizeof n);
    memcpy(at + sizeof n, metric, n.metric_len);
    memcpy(at + sizeof n + n.metric_len, unit, n.unit_len);
    return name_row_len(n.metric_len, n.unit_len);
}

/* One message of readings of one series; by number when the board has it. */
static void
store_rows(uint32_t series, const head_row *rows, uint32_t n)
{
    static uint8_t body[64 << 10];
    uint32_t       machine = series / METRICS + 1;
    const char    *metric = metrics[series % METRICS];
    readings_head  h = { .rows = n, .tenant = TENANT };
    board_series   s;
    uint32_t       no = board_find_series(as_registry, part_of(machine), machine, view_str(metric), &s);
    size_t         len = sizeof h + n * sizeof(reading_row);

    for (uint32_t i = 0; i < n; i++) {
        reading_row row = { .series = no, .flags = no == 0 ? ROW_NEW : 0, .time_us = rows[i].time_us,
                            .value = rows[i].value };

        memcpy(body + sizeof h + i * sizeof row, &row, sizeof row);
    }
    if (no == 0) {
        h.names = 1;
        h.names_len = (uint32_t)put_name(body + len, machine, metric, "unit");
        len += h.names_len;
    }
    memcpy(body, &h, sizeof h);
    while (ak_ask(k, INGEST(part_of(machine)), MSG_READINGS, body, (uint32_t)len, 20000 * (uint64_t)S, &the) == 0) {
        if (ak_step(k, 64) == 0)
            sched_yield();
    }
    the.stored_asked++;
    memcpy(models[series].rows + models[series].count, rows, n * sizeof *rows);
    models[series].count += n;
}

static void
all_stored(void)
{
    until(NULL, &the.stored, the.stored_asked);
    CHECK_EQ(the.stored_rc, 0);
}

/* Mostly onwards by ten seconds with jitter; at times far back, twice, or a whole block again. */
static void
store_some(uint32_t series, int64_t *clock, uint32_t n)
{
    static head_row rows[1000];
    double          v = 20 + series;

    for (uint32_t i = 0; i < n; i++) {
        int64_t t = *clock;

        if (chance(50) == 0)
            t -= (int64_t)chance(4000) * 10 * S;
        else if (chance(20) == 0)
            t -= (int64_t)chance(30) * 10 * S;
        else if (chance(10) != 0)
            *clock += 10 * S + (chance(4) == 0 ? (int64_t)chance(1000000) : 0);
        v += (chance(200) - 100.0) / 10;
        rows[i] = (head_row){ t, chance(500) == 0 ? v * 1e12 : v };
    }
    store_rows(series, rows, n);
}

/* ---- asking ---- */

typedef struct ask {
    query_head head;
    uint32_t   machines[MACHINES];
    const char *metric; /* NULL: all */
} ask;

static void
run(const ask *a)
{
    uint8_t body[1024];
    size_t  len = sizeof a->head;

    memcpy(body, &a->head, sizeof a->head);
    memcpy(body + len, a->machines, a->head.machines * 4);
    len += a->head.machines * 4;
    if (a->metric != NULL) {
        uint16_t n = (uint16_t)strlen(a->metric);

        memcpy(body + len, &n, 2);
        memcpy(body + len + 2, a->metric, n);
        len += 2u + n;
    }
    the.done = the.failed = false;
    the.series = 0;
    the.rc = 0;
    CHECK(ak_ask_stream(k, QUERY, MSG_QUERY, body, (uint32_t)len, 20000 * (uint64_t)S, &the, 65536) != 0);
    until(&the.done, NULL, 0);
}

/* ---- the oracle ---- */

static double
ulps(double sum_of_abs)
{
    return 4 * DBL_EPSILON * sum_of_abs;
}

typedef struct want {
    double value, slack;
    double min, max;
} want;

static int
by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;

    return (a > b) - (a < b);
}

static double
held_average(const head_row *all, uint32_t first, uint32_t n, int64_t from, int64_t to)
{
    long double held = 0;
    int64_t     us = 0;

    for (uint32_t i = first > 0 ? first - 1 : 0; i < first + n; i++) {
        int64_t a = all[i].time_us, b = a + 3600 * S;

        if (i + 1 < first + n && all[i + 1].time_us < b)
            b = all[i + 1].time_us;
        a = a < from ? from : a;
        b = b > to ? to : b;
        if (b > a) {
            held += (long double)all[i].value * (long double)(b - a);
            us += b - a;
        }
    }
    return (double)(held / us);
}

/* What the rows all[first .. first + n) of one bucket give. */
static want
expect(enum aggregation how, const head_row *all, uint32_t first, uint32_t n, int64_t from, int64_t to)
{
    static double   v[ROWS];
    const head_row *b = all + first;
    want            w = { .min = b[0].value, .max = b[0].value };
    long double     sum = 0, abs_sum = 0, squares = 0, rise = 0;

    for (uint32_t i = 0; i < n; i++) {
        v[i] = b[i].value;
        sum += v[i];
        abs_sum += fabs(v[i]);
        w.min = v[i] < w.min ? v[i] : w.min;
        w.max = v[i] > w.max ? v[i] : w.max;
        if (i > 0)
            rise += v[i] < v[i - 1] ? (long double)v[i] : (long double)v[i] - v[i - 1];
    }
    for (uint32_t i = 0; i < n; i++)
        squares += (v[i] - sum / n) * (v[i] - sum / n);
    qsort(v, n, sizeof *v, by_value);
    switch (how) {
    case AGG_AVG:
        return (want){ (double)(sum / n), ulps((double)(abs_sum / n)), w.min, w.max };
    case AGG_SUM:
        return (want){ (double)sum, ulps((double)abs_sum), w.min, w.max };
    case AGG_MIN:
        return (want){ w.min, 0, w.min, w.max };
    case AGG_MAX:
        return (want){ w.max, 0, w.min, w.max };
    case AGG_COUNT:
        return (want){ n, 0, w.min, w.max };
    case AGG_FIRST:
        return (want){ b[0].value, 0, w.min, w.max };
    case AGG_LAST:
        return (want){ b[n - 1].value, 0, w.min, w.max };
    case AGG_DELTA:
        return (want){ b[n - 1].value - b[0].value, 0, w.min, w.max };
    case AGG_STDDEV:
        return (want){ (double)sqrtl(squares / n), ulps((double)sqrtl(squares / n)) + 1e-300, w.min, w.max };
    case AGG_RATE:
        return (want){ n > 1 ? (double)(rise / ((b[n - 1].time_us - b[0].time_us) / 1e6L)) : NAN,
                       n > 1 ? ulps((double)(2 * abs_sum / ((b[n - 1].time_us - b[0].time_us) / 1e6L))) : 0, w.min, w.max };
    case AGG_TIME_WEIGHTED_AVG:
        return (want){ held_average(all, first, n, from, to), ulps((double)abs_sum), w.min, w.max };
    default: {
        static const double q[] = { [AGG_P50] = 0.5, [AGG_P90] = 0.9, [AGG_P95] = 0.95, [AGG_P99] = 0.99 };
        double              rank = (n - 1) * q[how], at = floor(rank);
        double              low = v[(uint32_t)at], high = at + 1 < n ? v[(uint32_t)at + 1] : low;

        return (want){ low + (rank - at) * (high - low), 0, w.min, w.max };
    }
    }
}

/* The points of one series as the model has them, oldest first, without a limit. */
static uint32_t
expect_points(uint32_t series, const query_head *q, result_point *out, double *slack)
{
    static head_row all[ROWS];
    every    e = { q->every, q->every_n };
    uint32_t n = model_rows(series, q->start_us - 3600 * S, q->end_us, all);
    uint32_t points = 0, first = 0;

    while (first < n && all[first].time_us < q->start_us)
        first++;
    for (uint32_t i = first, j; i < n; i = j) {
        int64_t start = bucket_start(e, all[i].time_us), end = bucket_end(e, start);
        int64_t from = start > q->start_us ? start : q->start_us, to = end < q->end_us ? end : q->end_us;
        want    w;

        for (j = i; j < n && all[j].time_us < end;)
            j++;
        w = q->every == EVERY_RAW ? (want){ all[i].value, 0, all[i].value, all[i].value }
                                  : expect(q->aggregation, all, i, j - i, from, to);
        slack[points] = w.slack;
        out[points++] = (result_point){ start, w.value, j - i, w.min, w.max };
    }
    return points;
}

static void
check_point(const result_point *got, const result_point *wanted, double slack)
{
    CHECK_EQ(got->time_us, wanted->time_us);
    CHECK_EQ(got->count, wanted->count);
    CHECK(got->min == wanted->min && got->max == wanted->max);
    if (isnan(wanted->value) ? !isnan(got->value) : !(fabs(got->value - wanted->value) <= slack))
        fail_msg("%.17g, not %.17g (of %lu readings)", got->value, wanted->value, (unsigned long)got->count);
}

static void
check_series(const query_head *q, uint32_t series, const answer_series *a)
{
    static result_point points[ROWS];
    static double       slack[ROWS];
    uint32_t            n = expect_points(series, q, points, slack);
    uint32_t            want_n = n < q->limit ? n : q->limit;
    bool                desc = q->flags & QUERY_DESC;

    CHECK_EQ(a->machine, series / METRICS + 1);
    assert_string_equal(a->metric, metrics[series % METRICS]);
    assert_string_equal(a->unit, "unit");
    CHECK_EQ(a->count, want_n);
    for (uint32_t i = 0; i < want_n; i++) {
        uint32_t at = desc ? n - 1 - i : i;

        check_point(&a->points[i], &points[at], slack[at]);
    }
    if (n > q->limit)
        CHECK_EQ(a->next_us, points[desc ? n - 1 - q->limit : q->limit].time_us);
    else
        CHECK(a->next_us == INT64_MIN);
}

static ask
random_ask(void)
{
    static const every everies[] = { { EVERY_RAW, 1 },   { EVERY_SECOND, 30 }, { EVERY_MINUTE, 5 }, { EVERY_HOUR, 1 },
                                     { EVERY_HOUR, 12 }, { EVERY_DAY, 1 },     { EVERY_WEEK, 1 },   { EVERY_MONTH, 1 } };
    static const uint32_t limits[] = { 1, 7, 1000, 10000 };
    every e = everies[chance(COUNT_OF(everies))];
    ask   a = { .head = { .tenant = TENANT, .aggregation = (uint16_t)chance(AGG_NUMBERS), .every = e.unit,
                          .every_n = e.n, .limit = limits[chance(4)], .flags = chance(2) ? QUERY_DESC : 0,
                          .cursor_us = INT64_MIN } };

    a.head.start_us = T0 + (int64_t)chance(3) * DAY + (int64_t)chance(86400) * (chance(2) ? S : 0);
    a.head.end_us = a.head.start_us + (int64_t)(1 + chance(chance(2) ? 3600 : 4 * 86400)) * S;
    if (chance(3) == 0)
        a.head.machines = 1;
    a.machines[0] = 1 + chance(MACHINES);
    if (chance(2) == 0) {
        a.metric = metrics[chance(METRICS)];
        a.head.metrics = 1;
    }
    return a;
}

static void
check_random_query(void)
{
    ask      a = random_ask();
    uint32_t at = 0;

    run(&a);
    CHECK(!the.failed);
    CHECK_EQ(the.rc, 0);
    for (uint32_t s = 0; s < SERIES; s++) {
        if (a.head.machines == 1 && s / METRICS + 1 != a.machines[0])
            continue;
        if (a.metric != NULL && strcmp(a.metric, metrics[s % METRICS]) != 0)
            continue;
        CHECK(at < the.series);
        check_series(&a.head, s, &the.at[at++]);
    }
    CHECK_EQ(at, the.series);
}

/* ---- tests ---- */

static void
put_machines(void)
{
    for (uint32_t no = 1; no <= MACHINES; no++) {
        board_machine m = { .no = no, .tenant = TENANT, .flags = BOARD_LIVE, .offline_after_s = 300,
                            .part = part_of(no) };
        char          id[16];

        m.id.b[0] = (uint8_t)no;
        snprintf(id, sizeof id, "machine-%u", no);
        CHECK_OK(board_put_machine(as_registry, &m, view_str(id), view_str(id), (view){ 0 }));
    }
}

static int
start(void **state)
{
    char path[256];

    (void)state;
    CHECK_OK(options_load(&settings, NULL, 0, NULL));
    settings.storage_durability = DURABILITY_OS;
    r = rig_new(edges, &(rig_with){ .options = &settings, .board = true });
    snprintf(path, sizeof path, "%s/board", rig_run_dir(r));
    CHECK_OK(board_open(&as_registry, path, addr_of(KIND_REGISTRY, 0)));
    put_machines();
    rig_thread(r, &ingest_kind, 0);
    rig_thread(r, &ingest_kind, 1);
    rig_thread(r, &query_kind, 0);
    k = rig_hand(r, &hand_front, 0);
    the.at = calloc(SERIES, sizeof *the.at);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    board_close(&as_registry);
    rig_free(&r);
    options_free(&settings);
    free(the.at);
    return 0;
}

static void
a_reading_is_there_and_the_latest_when_its_answer_comes(void **state)
{
    head_row      one[] = { { T0 - DAY, 1.5 }, { T0 - DAY + S, 2.5 }, { T0 - DAY - S, 9 } };
    ask           a = { .head = { .tenant = TENANT, .every = EVERY_RAW, .limit = 10, .start_us = T0 - 2 * DAY,
                                  .end_us = T0, .cursor_us = INT64_MIN } };
    board_series  s;
    board_latest  latest;
    board_arrival arrival;
    uint32_t      no;

    (void)state;
    store_rows(0, one, 3);
    all_stored();
    no = board_find_series(as_registry, part_of(1), 1, view_str(metrics[0]), &s);
    CHECK(no != 0);
    CHECK(board_latest_of(as_registry, part_of(1), no, &latest));
    CHECK(latest.value == 2.5 && latest.time_us == T0 - DAY + S);
    CHECK(board_arrival_of(as_registry, part_of(1), 1, &arrival));
    CHECK_EQ(arrival.newest_us, T0 - DAY + S);
    CHECK(arrival.arrived_us > T0);
    run(&a);
    CHECK_EQ(the.rc, 0);
    CHECK_EQ(the.series, 1);
    check_series(&a.head, 0, &the.at[0]);
}

static void
a_probe_is_answered_when_a_block_is_on_the_disk(void **state)
{
    (void)state;
    the.done = false;
    the.rc = -1;
    CHECK(ak_ask(k, INGEST(0), MSG_PROBE, NULL, 0, 20000 * (uint64_t)S, &the) != 0);
    until(&the.done, NULL, 0);
    CHECK_EQ(the.rc, 0);
}

static void
queries_are_what_a_model_says_over_late_and_repeated_readings_and_seals(void **state)
{
    int64_t clock[SERIES];

    (void)state;
    for (uint32_t s = 0; s < SERIES; s++)
        clock[s] = T0 + 6 * 3600 * S;
    for (uint32_t round = 0; round < 12; round++) {
        for (uint32_t i = 0; i < 60; i++) {
            uint32_t s = chance(SERIES);

            store_some(s, &clock[s], 1 + chance(400));
        }
        all_stored();
        for (uint32_t i = 0; i < 25; i++)
            check_random_query();
        if (round == 4 || round == 9) { /* what was accepted is there after a restart, in the same order */
            rig_stop(r, &ingest_kind, round == 4 ? 0 : 1);
            rig_thread(r, &ingest_kind, round == 4 ? 0 : 1);
        }
    }
}

static void
another_tenants_machine_is_as_if_it_were_not_there(void **state)
{
    ask a = { .head = { .tenant = TENANT + 1, .every = EVERY_RAW, .limit = 10, .start_us = 0, .end_us = T0 + 100 * DAY,
                        .machines = 1, .cursor_us = INT64_MIN },
              .machines = { 1 } };

    (void)state;
    run(&a);
    CHECK(!the.failed);
    CHECK_EQ(the.rc, 0);
    CHECK_EQ(the.series, 0);
}

static void
a_cursor_goes_on_where_the_page_before_ended(void **state)
{
    static result_point whole[10000];
    (void)state;
    for (int desc = 0; desc < 2; desc++) {
        ask      a = { .head = { .tenant = TENANT, .every = EVERY_MINUTE, .every_n = 5, .limit = 10000,
                                 .flags = desc ? QUERY_DESC : 0, .start_us = T0 + 100 * S, .end_us = T0 + 2 * DAY,
                                 .machines = 1, .metrics = 1, .cursor_us = INT64_MIN },
                       .machines = { 2 }, .metric = metrics[1] };
        uint32_t total, seen = 0;

        run(&a);
        total = the.at[0].count;
        CHECK(total > 20);
        memcpy(whole, the.at[0].points, total * sizeof *whole);
        a.head.limit = 7;
        do {
            run(&a);
            CHECK_EQ(the.rc, 0);
            CHECK(memcmp(the.at[0].points, whole + seen, the.at[0].count * sizeof *whole) == 0);
            seen += the.at[0].count;
            a.head.cursor_us = the.at[0].next_us;
        } while (a.head.cursor_us != INT64_MIN);
        CHECK_EQ(seen, total);
    }
}

static void
folded_series_are_one_series_of_all_their_readings(void **state)
{
    static head_row all[SERIES * ROWS], some[ROWS];
    ask      a = { .head = { .tenant = TENANT, .aggregation = AGG_P90, .every = EVERY_HOUR, .every_n = 6, .limit = 10000,
                             .group_by = GROUP_METRIC, .start_us = T0, .end_us = T0 + 3 * DAY, .cursor_us = INT64_MIN } };

    (void)state;
    for (int how = 0; how < 2; how++) {
        a.head.aggregation = how == 0 ? AGG_P90 : AGG_SUM;
        run(&a);
        CHECK_EQ(the.rc, 0);
        CHECK_EQ(the.series, METRICS);
        for (uint32_t metric = 0; metric < METRICS; metric++) {
            answer_series *s = &the.at[metric];
            every          e = { EVERY_HOUR, 6 };
            uint32_t       at = 0;

            assert_string_equal(s->metric, metrics[metric]);
            CHECK_EQ(s->machine, 0);
            for (int64_t t = T0; t < a.head.end_us; t = bucket_end(e, t)) {
                uint32_t n = 0;
                want     w;

                for (uint32_t m = 0; m < MACHINES; m++) {
                    uint32_t k2 = model_rows(m * METRICS + metric, t, bucket_end(e, t), some);

                    memcpy(all + n, some, k2 * sizeof *some);
                    n += k2;
                }
                if (n == 0)
                    continue;
                w = expect(a.head.aggregation, all, 0, n, t, bucket_end(e, t));
                CHECK(at < s->count);
                check_point(&s->points[at++], &(result_point){ t, w.value, n, w.min, w.max }, w.slack);
            }
            CHECK_EQ(at, s->count);
        }
    }
}

static void
a_body_whose_counts_do_not_fit_is_refused(void **state)
{
    ask a = { .head = { .tenant = TENANT, .every = EVERY_HOUR, .every_n = 1, .limit = 10, .end_us = T0,
                        .cursor_us = INT64_MIN } };

    (void)state;
    a.head.metrics = 500;
    run(&a);
    CHECK(the.failed);
    a.head.metrics = 0;
    a.head.limit = 0;
    run(&a);
    CHECK(the.failed);
    a.head.limit = 10;
    a.head.every_n = 0;
    run(&a);
    CHECK(!the.failed);
    CHECK_EQ(the.rc, E_RANGE);
}

static void
readings_of_a_watched_tenant_go_to_its_front(void **state)
{
    head_row one[] = { { T0 + 50 * DAY, 1 }, { T0 + 50 * DAY + S, 2 } };
    board   *b;
    char     path[256];

    (void)state;
    snprintf(path, sizeof path, "%s/board", rig_run_dir(r));
    CHECK_OK(board_open(&b, path, FRONT));
    the.feed_rows = 0;
    board_watch_tenant(b, 0, TENANT, true);
    store_rows(1, one, 2);
    all_stored();
    until(NULL, &the.feed_rows, 2);
    board_watch_tenant(b, 0, TENANT, false);
    board_close(&b);
}

/* Heads are asked for 256 series at a time; one series of the answer goes over all of them. */
static void
a_query_over_many_series_goes_over_several_batches(void **state)
{
    enum { MANY = 700 };
    static uint8_t body[128 << 10];
    ask            a = { .head = { .tenant = TENANT, .aggregation = AGG_SUM, .every = EVERY_HOUR, .every_n = 1, .limit = 10,
                                   .group_by = GROUP_ALL, .start_us = T0 - 50 * DAY, .end_us = T0 - 49 * DAY,
                                   .cursor_us = INT64_MIN } };
    readings_head  h = { .rows = MANY, .names = MANY, .tenant = TENANT };
    size_t         len = sizeof h + MANY * sizeof(reading_row);

    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        reading_row row = { .series = i, .flags = ROW_NEW, .time_us = T0 - 50 * DAY + i, .value = i };
        char        name[32];

        memcpy(body + sizeof h + i * sizeof row, &row, sizeof row);
        snprintf(name, sizeof name, "many.%u", i);
        len += put_name(body + len, 1, name, "unit");
    }
    h.names_len = (uint32_t)(len - sizeof h - MANY * sizeof(reading_row));
    memcpy(body, &h, sizeof h);
    CHECK(ak_ask(k, INGEST(part_of(1)), MSG_READINGS, body, (uint32_t)len, 20000 * (uint64_t)S, &the) != 0);
    the.stored_asked++;
    all_stored();
    run(&a);
    CHECK_EQ(the.rc, 0);
    CHECK_EQ(the.series, 1);
    CHECK_EQ(the.at[0].count, 1);
    CHECK_EQ(the.at[0].points[0].count, MANY);
    CHECK(the.at[0].points[0].value == MANY * (MANY - 1) / 2);
}

static void
an_arrival_is_known_after_a_restart(void **state)
{
    board_arrival before, after;

    (void)state;
    CHECK(board_arrival_of(as_registry, part_of(1), 1, &before));
    rig_stop(r, &ingest_kind, part_of(1));
    rig_thread(r, &ingest_kind, part_of(1));
    CHECK(board_arrival_of(as_registry, part_of(1), 1, &after));
    CHECK_EQ(after.arrived_us, before.arrived_us);
    CHECK_EQ(after.newest_us, before.newest_us);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_reading_is_there_and_the_latest_when_its_answer_comes),
        TEST(a_probe_is_answered_when_a_block_is_on_the_disk),
        TEST(queries_are_what_a_model_says_over_late_and_repeated_readings_and_seals),
        TEST(another_tenants_machine_is_as_if_it_were_not_there),
        TEST(a_cursor_goes_on_where_the_page_before_ended),
        TEST(folded_series_are_one_series_of_all_their_readings),
        TEST(a_body_whose_counts_do_not_fit_is_refused),
        TEST(readings_of_a_watched_tenant_go_to_its_front),
        TEST(a_query_over_many_series_goes_over_several_batches),
        TEST(an_arrival_is_known_after_a_restart),
    };

    return cmocka_run_group_tests_name("actors/ingest_query", tests, start, end);
}
