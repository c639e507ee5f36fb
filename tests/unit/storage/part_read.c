#include "tests/unit/storage/scratch.h"

#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "storage/keys.h"
#include "storage/part.h"
#include "tests/unit/storage/body.h"

enum { SERIES = 6, SPAN_S = 40 * 86400, ORACLE = 1 << 16 };

static const uuid lanes = { { 1 } };

static uint64_t seed;

static uint64_t
below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

/* The plain truth: for each series and time the last accepted value, times in seconds, half of them used. */
typedef struct truth {
    float *value[SERIES + 1]; /* by second / 60; NaN: none */
} truth;

enum { SLOT_S = 60, SLOTS = SPAN_S / SLOT_S };

static truth
truth_new(void)
{
    truth t = { 0 };

    for (int s = 1; s <= SERIES; s++) {
        t.value[s] = malloc(SLOTS * sizeof(float));
        for (int i = 0; i < SLOTS; i++)
            t.value[s][i] = NAN;
    }
    return t;
}

static void
truth_free(truth *t)
{
    for (int s = 1; s <= SERIES; s++)
        free(t->value[s]);
}

static int64_t
slot_us(int slot)
{
    return ((int64_t)slot - SLOTS / 3) * SLOT_S * 1000000; /* some days before 1970 */
}

typedef struct rig {
    const char             *dir;
    part                   *p;
    body                    b;
    truth                   t;
    uint64_t                pos;
    enum journal_durability durability;
} rig;

static void
rig_open(rig *r)
{
    part_config    config = { .dir = r->dir,
                              .journal_bytes = 4 << 20,
                              .heads_bytes = 64 << 20,
                              .cache_bytes = 1 << 20,
                              .durability = r->durability };
    journal_report report;

    CHECK_OK(part_open(&r->p, &config, NULL, &report));
    CHECK_EQ(report.damaged, 0);
}

static void
rig_commit(rig *r)
{
    if (!part_has_staged(r->p))
        return;
    part_end_block(r->p, 0);
    CHECK_OK(part_write(r->p));
    part_show(r->p, NULL, NULL);
}

static void
rig_put(rig *r, uint32_t count)
{
    part_source source = { lanes, 1, ++r->pos };
    uint64_t    lsn;
    uint32_t    rejected;

    body_clear(&r->b);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t s = 1 + (uint32_t)below(SERIES);
        int      slot = (int)below(SLOTS);
        float    v = (float)(int)below(10000) / 4;

        if (below(4) != 0) /* mostly runs of neighbours, as machines send them */
            slot = (int)((r->pos * 10 + i) % SLOTS);
        r->t.value[s][slot] = v;
        body_row(&r->b, s, 0, slot_us(slot), v);
    }
    CHECK_OK(part_stage(r->p, body_view(&r->b), &source, &lsn, &rejected));
    CHECK_EQ(rejected, 0);
    rig_commit(r);
}

static rig
rig_new(const char *dir)
{
    rig         r = { .dir = dir, .b = body_new(1), .t = truth_new() };
    part_source source = { lanes, 1, ++r.pos };
    uint64_t    lsn;
    uint32_t    rejected;

    rig_open(&r);
    for (uint32_t s = 1; s <= SERIES; s++)
        body_name(&r.b, s, 0, "m", "u");
    CHECK_OK(part_stage(r.p, body_view(&r.b), &source, &lsn, &rejected));
    rig_commit(&r);
    return r;
}

static void
rig_free(rig *r)
{
    part_close(&r->p);
    body_free(&r->b);
    truth_free(&r->t);
}

typedef struct got {
    double   value;
    uint64_t lsn;
} got;

/* Reads heads first, then chunks, and keeps the last accepted of each time. */
static void
check_range(rig *r, part_reader *reader, uint32_t number, int from, int to)
{
    static int64_t times[CHUNK_ROWS_MAX];
    static double  values[CHUNK_ROWS_MAX];
    got           *all = calloc(SLOTS, sizeof *all);
    head_view      h = part_head(r->p, number);
    chunk_cursor  *c;
    chunk_summary  s;
    int            rc;

    for (uint32_t i = 0; i < h.count; i++)
        all[h.rows[i].time_us / (SLOT_S * 1000000) + SLOTS / 3] =
            (got){ h.rows[i].value, UINT64_MAX };
    CHECK_OK(part_reader_reach(reader, part_sealed_seq(r->p)));
    CHECK_OK(chunk_cursor_open(&c, reader, number, slot_us(from), slot_us(to)));
    while ((rc = chunk_cursor_next(c, &s)) > 0) {
        CHECK_OK(chunk_cursor_rows(c, times, values));
        CHECK(s.first_us < slot_us(to) && s.last_us >= slot_us(from));
        for (uint32_t i = 0; i < s.count; i++) {
            got *g = &all[times[i] / (SLOT_S * 1000000) + SLOTS / 3];
            if (s.lsn > g->lsn)
                *g = (got){ values[i], s.lsn };
        }
    }
    CHECK_OK(rc);
    CHECK_EQ(chunk_cursor_next(c, &s), 0);
    for (int i = from; i < to; i++) {
        CHECK_EQ(all[i].lsn == 0, isnan(r->t.value[number][i]) ? 1 : 0);
        if (all[i].lsn != 0)
            CHECK(all[i].value == (double)r->t.value[number][i]);
    }
    chunk_cursor_close(&c);
    free(all);
}

static void
check_all(rig *r)
{
    part_reader *reader;

    CHECK_OK(part_reader_open(&reader, r->dir, 0, true, NULL, 0));
    for (uint32_t s = 1; s <= SERIES; s++) {
        int from = (int)below(SLOTS), to = from + (int)below((uint64_t)(SLOTS - from));

        check_range(r, reader, s, 0, SLOTS);
        check_range(r, reader, s, from, to);
    }
    CHECK_EQ(part_reader_damaged(reader), 0);
    part_reader_close(&reader);
}

static void
whatever_happens_reads_agree_with_the_plain_truth(void **state)
{
    seed = 20260227;
    rig r = rig_new(*state);

    for (int step = 0; step < 600; step++) {
        int rc;

        switch (below(12)) {
        case 0: /* a crash */
            part_abandon(&r.p);
            rig_open(&r);
            break;
        case 1:
            part_close(&r.p);
            rig_open(&r);
            break;
        case 2:
        case 3:
        case 4:
            (void)part_tend(r.p, &rc);
            CHECK_OK(rc);
            break;
        case 5:
            if (step % 3 == 0)
                check_all(&r);
            break;
        default:
            rig_put(&r, 1 + (uint32_t)below(500));
        }
    }
    check_all(&r);
    rig_free(&r);
}

static void
seal_all(part *p)
{
    int rc;

    while (part_tend(p, &rc))
        CHECK_OK(rc);
    CHECK_OK(rc);
}

static void
a_reader_in_another_process_sees_what_was_sealed(void **state)
{
    int   ask[2], ready[2], status;
    pid_t pid;
    char  byte = 0;

    CHECK_EQ(pipe(ask), 0);
    CHECK_EQ(pipe(ready), 0);
    pid = fork(); /* before RocksDB has threads */
    close(ready[pid == 0 ? 0 : 1]);
    if (pid == 0) {
        char          scratch[256];
        uint64_t      order[2]; /* sequence, rows */
        part_reader  *reader = NULL;
        chunk_cursor *c;
        chunk_summary s;

        snprintf(scratch, sizeof scratch, "%s/reader", (char *)*state);
        if (part_reader_open(&reader, *state, 0, false, scratch, 1 << 20) != E_AGAIN)
            _exit(10);
        close(ask[1]);
        if (write(ready[1], &byte, 1) != 1)
            _exit(15);
        while (read(ask[0], order, sizeof order) == sizeof order) {
            uint64_t rows = 0;

            if (reader == NULL && part_reader_open(&reader, *state, 0, false, scratch, 1 << 20) < 0)
                _exit(11);
            if (part_reader_reach(reader, order[0]) < 0)
                _exit(12);
            if (chunk_cursor_open(&c, reader, 1, INT64_MIN, INT64_MAX) < 0)
                _exit(13);
            while (chunk_cursor_next(c, &s) > 0)
                rows += s.count;
            chunk_cursor_close(&c);
            if (rows != order[1])
                _exit(14);
            if (write(ready[1], &byte, 1) != 1)
                _exit(15);
        }
        part_reader_close(&reader);
        _exit(0);
    }
    close(ask[0]);
    CHECK_EQ(read(ready[0], &byte, 1), 1); /* it has tried before there was a database */
    rig r = rig_new(*state);
    for (uint64_t round = 1; round <= 5; round++) {
        part_source source = { lanes, 1, ++r.pos };
        uint64_t    lsn;
        uint32_t    rejected;

        body_clear(&r.b);
        for (int i = 0; i < 1000; i++)
            body_row(&r.b, 1, 0, (int64_t)(round * 1000 + (uint64_t)i) * 1000000, i);
        CHECK_OK(part_stage(r.p, body_view(&r.b), &source, &lsn, &rejected));
        rig_commit(&r);
        seal_all(r.p);
        CHECK_EQ(part_head(r.p, 1).count, 0);
        uint64_t order[2] = { part_sealed_seq(r.p), round * 1000 };
        CHECK_EQ(write(ask[1], order, sizeof order), sizeof order);
        CHECK_EQ(read(ready[0], &byte, 1), 1);
    }
    close(ask[1]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(WEXITSTATUS(status), 0);
    rig_free(&r);
}

static void
a_reader_outlives_its_part_and_serves_the_next_one(void **state)
{
    seed = 5;
    rig          r = rig_new(*state);
    part_reader *reader, *early;

    for (int i = 0; i < 20; i++)
        rig_put(&r, 500);
    seal_all(r.p);
    CHECK_OK(part_reader_open(&reader, *state, 0, true, NULL, 0));
    part_close(&r.p);
    CHECK_EQ(part_reader_open(&early, *state, 0, true, NULL, 0), E_AGAIN);
    rig_open(&r); /* takes the handle over */
    check_range(&r, reader, 1, 0, SLOTS);
    part_reader_close(&reader);
    check_range(&r, (CHECK_EQ(part_reader_open(&reader, *state, 0, true, NULL, 0), 0), reader), 2,
                0, SLOTS);
    part_reader_close(&reader);
    rig_free(&r);
}

static void
a_long_sparse_range_is_read_in_few_steps(void **state)
{
    rig           r = rig_new(*state);
    part_source   source = { lanes, 1, ++r.pos };
    part_reader  *reader;
    chunk_cursor *c;
    chunk_summary s;
    uint64_t      lsn;
    uint32_t      rejected;
    int           found = 0;

    body_clear(&r.b);
    for (int i = 0; i < 700; i++) /* one row a century, for ripeness several of them */
        body_row(&r.b, 3, 0, (int64_t)(i / 70) * 100 * 365 * KEY_DAY_US + i, i);
    CHECK_OK(part_stage(r.p, body_view(&r.b), &source, &lsn, &rejected));
    rig_commit(&r);
    seal_all(r.p);
    CHECK_OK(part_reader_open(&reader, *state, 0, true, NULL, 0));
    CHECK_OK(chunk_cursor_open(&c, reader, 3, INT64_MIN, INT64_MAX));
    while (chunk_cursor_next(c, &s) > 0)
        found += (int)s.count;
    CHECK_EQ(found, 700);
    chunk_cursor_seek(c, 2, INT64_MIN, INT64_MAX);
    CHECK_EQ(chunk_cursor_next(c, &s), 0);
    chunk_cursor_seek(c, 3, 0, KEY_DAY_US);
    CHECK_EQ(chunk_cursor_next(c, &s), 1);
    CHECK_EQ(s.count, 70);
    CHECK_EQ(chunk_cursor_next(c, &s), 0);
    chunk_cursor_seek(c, 3, 10, 10);
    CHECK_EQ(chunk_cursor_next(c, &s), 0);
    chunk_cursor_close(&c);
    part_reader_close(&reader);
    rig_free(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_SCRATCH(
            a_reader_in_another_process_sees_what_was_sealed), /* first: it forks before threads are */
        TEST_IN_SCRATCH(whatever_happens_reads_agree_with_the_plain_truth),
        TEST_IN_SCRATCH(a_reader_outlives_its_part_and_serves_the_next_one),
        TEST_IN_SCRATCH(a_long_sparse_range_is_read_in_few_steps),
    };

    return cmocka_run_group_tests_name("storage/part_read", tests, NULL, NULL);
}
