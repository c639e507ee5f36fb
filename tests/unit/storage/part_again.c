/* Rows of the journal once more, in order: what was shown, from any place, while it goes on. */
#include "tests/unit/storage/scratch.h"

#include "storage/part.h"
#include "tests/unit/storage/body.h"

static const uuid lanes = { { 1, 2, 3 } };

enum { A_BLOCK = 500 };

static part *
open_in(const char *dir)
{
    part_config    config = { .dir = dir, .journal_bytes = 8 << 20, .heads_bytes = 8 << 20, .cache_bytes = 1 << 20,
                              .durability = JOURNAL_FSYNC };
    journal_report report;
    part          *p;

    CHECK_OK(part_open(&p, &config, NULL, &report));
    return p;
}

/* A block of rows whose value is their lsn. */
static void
put_block(part *p, body *b, uint64_t stamp)
{
    part_source source = { lanes, addr_of(3, 1), part_next_lsn(p) };
    uint64_t    lsn, first = part_next_lsn(p);
    uint32_t    name, rejected;

    body_clear(b);
    name = body_name(b, 1, 0, "m", "C");
    for (uint32_t i = 0; i < A_BLOCK; i++)
        body_row(b, name, ROW_NEW, (int64_t)(first + i) * 1000000, (double)(first + i));
    CHECK_OK(part_stage(p, body_view(b), &source, &lsn, &rejected));
    part_stamp(p, stamp);
    part_end_block(p, 0);
    CHECK_OK(part_write(p));
    part_show(p, NULL, NULL);
}

static void
tend_all(part *p)
{
    int rc = E_OK;

    while (part_tend(p, &rc))
        CHECK_OK(rc);
    CHECK_OK(rc);
}

/* All rows behind `after`, each in its place. */
static void
walk(part *p, part_again *r, uint64_t after, uint64_t until)
{
    const part_again_row *row;
    uint64_t             at = after;

    while (at < until) {
        part_again_begin(r, at);
        part_again_read(r);
        CHECK_OK(part_again_end(r));
        while ((row = part_again_peek(r)) != NULL) {
            CHECK_EQ(row->lsn, at + 1);
            CHECK(row->row.value == (double)row->lsn);
            CHECK_EQ(row->series, 1);
            CHECK_EQ(row->stamp, 1 + (row->lsn - 1) / A_BLOCK);
            part_again_skip(r);
            at++;
            CHECK_EQ(part_again_upto(r), at);
        }
        CHECK_EQ(part_again_upto(r), at);
    }
    CHECK_EQ(at, until);
    (void)p;
}

static void
rows_come_again_in_order_from_any_place(void **state)
{
    part        *p = open_in(*state);
    body         b = body_new(7);
    part_again *r = part_again_new(p);
    uint64_t     end;

    part_hold(p, 0);
    for (uint64_t i = 1; i <= 100; i++)
        put_block(p, &b, i);
    end = part_shown(p);
    CHECK_EQ(end, 100 * A_BLOCK);
    walk(p, r, 0, end);
    walk(p, r, 777, end); /* behind where it has been */
    put_block(p, &b, 101);
    walk(p, r, end, end + A_BLOCK);
    part_again_free(&r);
    part_abandon(&p);
    p = open_in(*state);
    r = part_again_new(p);
    walk(p, r, 40, end + A_BLOCK);
    put_block(p, &b, 3); /* a stamp never goes back */
    part_again_begin(r, end + A_BLOCK);
    part_again_read(r);
    CHECK_EQ(part_again_peek(r)->stamp, 101);
    part_again_free(&r);
    body_free(&b);
    part_close(&p);
}

static void
nothing_is_there_behind_the_last(void **state)
{
    part        *p = open_in(*state);
    body         b = body_new(7);
    part_again *r = part_again_new(p);

    put_block(p, &b, 1);
    part_again_begin(r, A_BLOCK);
    part_again_read(r);
    CHECK_OK(part_again_end(r));
    CHECK(part_again_peek(r) == NULL);
    CHECK_EQ(part_again_upto(r), A_BLOCK);
    part_again_free(&r);
    body_free(&b);
    part_close(&p);
}

/* A block that is written and not shown is nobody's yet. */
static void
what_is_not_shown_is_not_read(void **state)
{
    part        *p = open_in(*state);
    body         b = body_new(7);
    part_again *r = part_again_new(p);
    part_source  source = { lanes, addr_of(3, 1), 99 };
    uint64_t     lsn;
    uint32_t     rejected;

    put_block(p, &b, 1);
    CHECK_OK(part_stage(p, body_view(&b), &source, &lsn, &rejected));
    part_end_block(p, 0);
    CHECK_OK(part_write(p));
    walk(p, r, 0, A_BLOCK);
    CHECK(part_again_peek(r) == NULL);
    part_show(p, NULL, NULL);
    part_again_free(&r);
    body_free(&b);
    part_close(&p);
}

static void
what_is_held_is_not_trimmed_before_the_budget_says_so(void **state)
{
    part      *p = open_in(*state);
    body       b = body_new(7);
    part_stats s;
    uint64_t   held = 10 * A_BLOCK, i = 1;

    for (; i <= 20; i++)
        put_block(p, &b, i);
    part_hold(p, held);
    while (!part_is_held(p)) { /* half of 8 MiB */
        put_block(p, &b, i++);
        tend_all(p);
    }
    CHECK(part_trimmed(p) <= held);
    part_hold(p, part_shown(p));
    tend_all(p);
    CHECK(part_trimmed(p) > held);
    CHECK(!part_is_held(p));
    CHECK_EQ(part_forced_trims(p), 0);
    held = part_shown(p);
    for (uint32_t more = 0; more < 1000; more++) {
        put_block(p, &b, i++);
        tend_all(p);
        part_stat(p, &s);
        CHECK(s.journal_used <= 8 << 20);
    }
    CHECK(part_forced_trims(p) > 0);
    CHECK(part_trimmed(p) > held);
    body_free(&b);
    part_close(&p);
}

static struct {
    uint64_t lsn[8];
    uint32_t count;
} late;

static void
on_late(void *ctx, uint64_t lsn)
{
    (void)ctx;
    CHECK(late.count < COUNT_OF(late.lsn));
    late.lsn[late.count++] = lsn;
}

static void
rows_that_were_late_are_told_by_the_replay(void **state)
{
    static const int64_t times[] = { 5, 3, 5, 9, 8, 10 };
    part_config    config = { .dir = *state, .journal_bytes = 8 << 20, .heads_bytes = 8 << 20, .cache_bytes = 1 << 20 };
    part          *p = open_in(*state);
    body           b = body_new(7);
    part_source    source = { lanes, addr_of(3, 1), 1 };
    journal_report report;
    uint64_t       lsn;
    uint32_t       name, rejected;

    late.count = 0;
    name = body_name(&b, 1, 0, "m", "C");
    for (uint32_t i = 0; i < COUNT_OF(times); i++)
        body_row(&b, name, ROW_NEW, times[i], 0);
    CHECK_OK(part_stage(p, body_view(&b), &source, &lsn, &rejected));
    part_end_block(p, 0);
    CHECK_OK(part_write(p));
    part_show(p, NULL, NULL);
    part_abandon(&p);
    CHECK_OK(part_open(&p, &config, &(part_events){ .late = on_late }, &report));
    CHECK_EQ(late.count, 2); /* of equal times the later one is none */
    CHECK_EQ(late.lsn[0], 2);
    CHECK_EQ(late.lsn[1], 5);
    body_free(&b);
    part_close(&p);
}

static void
numbers_can_be_passed_over(void **state)
{
    part        *p = open_in(*state);
    body         b = body_new(7);
    part_again *r = part_again_new(p);

    put_block(p, &b, 1);
    part_skip_to(p, 3);
    CHECK_EQ(part_next_lsn(p), A_BLOCK + 1);
    part_skip_to(p, 9999);
    CHECK_EQ(part_next_lsn(p), 10000);
    put_block(p, &b, 2);
    part_again_begin(r, A_BLOCK);
    part_again_read(r);
    CHECK_EQ(part_again_peek(r)->lsn, 10000);
    part_again_free(&r);
    body_free(&b);
    part_close(&p);
}

#define EACH(fn) TEST_IN_SCRATCH(fn)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(rows_come_again_in_order_from_any_place),
        EACH(nothing_is_there_behind_the_last),
        EACH(what_is_not_shown_is_not_read),
        EACH(what_is_held_is_not_trimmed_before_the_budget_says_so),
        EACH(rows_that_were_late_are_told_by_the_replay),
        EACH(numbers_can_be_passed_over),
    };

    return cmocka_run_group_tests_name("storage/part_again", tests, NULL, NULL);
}
