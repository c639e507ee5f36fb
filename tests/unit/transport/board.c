#include "transport/board.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static const board_limits limits = { .tenants = 100,
                                     .users = 100,
                                     .keys = 100,
                                     .blocked = 4,
                                     .machines = 5000,
                                     .rules = 100,
                                     .series = 20000,
                                     .parts = 2 };

static const char *
fresh(void)
{
    const char *dir = scratch_file("board");

    CHECK_OK(board_create(dir, &limits));
    return dir;
}

static board *
opened(const char *dir, addr who)
{
    board *b;

    CHECK_OK(board_open(&b, dir, who));
    return b;
}

static uuid
id_of(uint8_t n)
{
    uuid id = { { n, 1, 2, 3 } };

    return id;
}

static void
put_machine(board *b, uint32_t no, uint32_t tenant, const char *identifier, uint32_t flags)
{
    board_machine m = { .id = id_of((uint8_t)no),
                        .no = no,
                        .tenant = tenant,
                        .flags = flags,
                        .part = (uint16_t)(no % 2) };

    CHECK_OK(board_put_machine(b, &m, view_str(identifier), view_str("a name"), view_str("")));
}

static void
what_the_registry_puts_everyone_finds(void **state)
{
    const char  *dir = fresh();
    board       *w = opened(dir, addr_of(KIND_REGISTRY, 0));
    board       *r = opened(dir, addr_of(KIND_FRONT, 0));
    board_tenant tenant = { .id = id_of(1), .no = 1, .flags = BOARD_LIVE, .tier = TIER_PRO };
    board_user   user = { .id = id_of(2), .no = 3, .tenant = 1 };
    board_key    key = {
           .hash = { 9, 9 }, .id = id_of(4), .no = 2, .tenant = 1, .scopes = SCOPE_INGEST
    };
    board_rule    rule = { .id = id_of(5), .no = 7, .tenant = 1, .threshold = 4.5 };
    board_blocked blocked = { .jti = id_of(6), .until_us = 1 };
    uuid          none = id_of(99);

    (void)state;
    CHECK_OK(board_put_tenant(w, &tenant));
    CHECK_OK(board_put_user(w, &user));
    CHECK_OK(board_put_key(w, &key));
    CHECK_OK(board_put_rule(w, &rule, view_str("temp"), view_str("hot"), view_str("too hot"), (view){ 0 }));
    CHECK_OK(board_put_blocked(w, &blocked));
    memset(&tenant, 0, sizeof tenant);
    memset(&rule, 0, sizeof rule);
    CHECK_EQ(board_find_tenant(r, &(uuid){ { 1, 1, 2, 3 } }, &tenant), 1);
    CHECK_EQ(tenant.tier, TIER_PRO);
    CHECK_EQ(board_find_user(r, &user.id, &user), 3);
    CHECK_EQ(board_find_key(r, key.hash, &key), 2);
    CHECK_EQ(key.scopes, SCOPE_INGEST);
    CHECK_EQ(board_find_rule(r, &(uuid){ { 5, 1, 2, 3 } }, &rule), 7);
    CHECK(rule.threshold > 4 && rule.threshold < 5);
    CHECK_VIEW(board_string(r, BOARD_RULES, 0, rule.message), "too hot");
    CHECK(board_is_blocked(r, &blocked.jti));
    CHECK(!board_is_blocked(r, &none));
    CHECK_EQ(board_find_tenant(r, &none, &tenant), 0);
    board_close(&w);
    board_close(&r);
}

static void
a_machine_is_found_by_name_and_id_while_it_lives(void **state)
{
    const char   *dir = fresh();
    board        *w = opened(dir, addr_of(KIND_REGISTRY, 0));
    board        *r = opened(dir, 0);
    uuid          id = id_of(10);
    uint16_t      part = 9;
    board_machine m;

    (void)state;
    put_machine(w, 10, 1, "press-1", BOARD_LIVE);
    put_machine(w, 11, 2, "press-1", BOARD_LIVE); /* another tenant's */
    CHECK_EQ(board_machine_no_part(r, 1, view_str("press-1"), &part), 10);
    CHECK_EQ(part, 0);
    CHECK_EQ(board_machine_no_part(r, 2, view_str("press-1"), &part), 11);
    CHECK_EQ(part, 1);
    CHECK_EQ(board_machine_no_part(r, 3, view_str("press-1"), &part), 0);
    CHECK_EQ(board_find_machine(r, 1, view_str("press-1"), &m), 10);
    CHECK_VIEW(board_string(r, BOARD_MACHINES, 0, m.name), "a name");
    CHECK_EQ(board_find_machine_id(r, &id, &m), 10);
    put_machine(w, 10, 1, "press-1", 0); /* deleted, and made anew */
    put_machine(w, 12, 1, "press-1", BOARD_LIVE);
    CHECK_EQ(board_find_machine(r, 1, view_str("press-1"), &m), 12);
    CHECK_EQ(board_find_machine_id(r, &id, &m), 10);
    CHECK_EQ(m.flags & BOARD_LIVE, 0);
    put_machine(w, 12, 1, "press-2", BOARD_LIVE); /* renamed */
    CHECK_EQ(board_find_machine(r, 1, view_str("press-1"), &m), 0);
    CHECK_EQ(board_find_machine(r, 1, view_str("press-2"), &m), 12);
    board_close(&w);
    board_close(&r);
}

static uint32_t
count_series(const board *b, uint16_t part, uint32_t machine)
{
    uint32_t n = 0;

    for (uint32_t s = board_machine_first_series(b, part, machine); s != 0;
         s = board_next_series(b, part, s)) {
        board_series rec;

        CHECK(table_read(board_table(b, BOARD_SERIES, part), s, &rec));
        CHECK_EQ(rec.machine, machine);
        CHECK(++n < 1000);
    }
    return n;
}

static void
series_are_found_and_listed_by_machine(void **state)
{
    const char  *dir = fresh();
    board       *w = opened(dir, addr_of(KIND_INGEST, 1));
    board       *r = opened(dir, 0);
    bool         same = false;
    board_series s;

    (void)state;
    for (uint32_t m = 1; m <= 3; m++)
        for (uint32_t i = 0; i < 5; i++) {
            char name[16];

            (void)snprintf(name, sizeof name, "metric%u", i);
            CHECK_OK(
                board_put_series(w, 1, (m - 1) * 5 + i + 1, m, 1, view_str(name), view_str("C")));
        }
    for (uint32_t m = 1; m <= 3; m++)
        CHECK_EQ(count_series(r, 1, m), 5);
    CHECK_EQ(count_series(r, 1, 4), 0);
    CHECK_EQ(board_series_no(r, 1, 2, view_str("metric3"), view_str("C"), &same), 9);
    CHECK(same);
    CHECK_EQ(board_series_no(r, 1, 2, view_str("metric3"), view_str("F"), &same), 9);
    CHECK(!same);
    CHECK_EQ(board_series_no(r, 1, 2, view_str("metric9"), view_str("C"), &same), 0);
    CHECK_EQ(board_series_no(r, 0, 2, view_str("metric3"), view_str("C"), &same), 0);
    CHECK_EQ(board_find_series(r, 1, 3, view_str("metric0"), &s), 11);
    CHECK_VIEW(board_string(r, BOARD_SERIES, 1, s.unit), "C");
    board_close(&w);
    board_close(&r);
}

/* The writer comes again and puts everything anew: nothing doubles, units may change. */
static void
a_rebuilt_board_is_the_same(void **state)
{
    const char   *dir = fresh();
    board_arrival a = { .arrived_us = 5, .newest_us = 6 };
    board_latest  l = { .time_us = 7, .value = 1.5, .lsn = 8 };
    bool          same;

    (void)state;
    for (int life = 0; life < 3; life++) {
        board *w = opened(dir, addr_of(KIND_INGEST, 0));

        for (uint32_t i = 1; i <= 4; i++) {
            CHECK_OK(board_put_series(w, 0, i, 1, 1, view_of("abcd", i),
                                      view_str(life < 2 ? "C" : "F")));
            CHECK_OK(board_put_latest(w, 0, i, &l));
            CHECK_OK(board_put_arrival(w, 0, 1, &a));
        }
        CHECK_EQ(count_series(w, 0, 1), 4);
        CHECK_EQ(board_series_no(w, 0, 1, view_str("abc"), view_str(life < 2 ? "C" : "F"), &same),
                 3);
        CHECK(same);
        memset(&a, 0, sizeof a);
        CHECK(board_arrival_of(w, 0, 1, &a));
        CHECK_EQ(a.newest_us, 6);
        CHECK(board_latest_of(w, 0, 4, &l) && l.lsn == 8);
        CHECK(!board_latest_of(w, 0, 5, &l));
        board_close(&w);
    }
}

static void
nobody_writes_what_is_not_his(void **state)
{
    const char *dir = fresh();
    board      *b;

    (void)state;
    b = opened(dir, addr_of(KIND_INGEST, 0));
    CHECK(board_table(b, BOARD_SERIES, 0) != NULL);
    CHECK_EQ(board_put_series(b, 0, 0, 1, 1, view_str("a"), view_str("")), E_RANGE);
    CHECK_EQ(board_put_series(b, 0, 1, 5001, 1, view_str("a"), view_str("")), E_RANGE);
    CHECK_EQ(board_put_series(b, 0, 20001, 1, 1, view_str("a"), view_str("")), E_FULL);
    board_close(&b);
}

static void
blocked_tokens_make_room_when_their_time_is_over(void **state)
{
    const char   *dir = fresh();
    board        *w = opened(dir, addr_of(KIND_REGISTRY, 0));
    board_blocked b = { .until_us = INT64_MAX };

    (void)state;
    for (uint8_t i = 1; i <= 4; i++) {
        b = (board_blocked){ id_of(i), i == 3 ? 1000 : INT64_MAX };
        CHECK_OK(board_put_blocked(w, &b));
        CHECK_OK(board_put_blocked(w, &b)); /* once */
    }
    b = (board_blocked){ id_of(5), INT64_MAX };
    CHECK_OK(board_put_blocked(w, &b));
    CHECK(board_is_blocked(w, &b.jti));
    b.jti = id_of(3);
    CHECK(!board_is_blocked(w, &b.jti));
    b.jti = id_of(6);
    CHECK_EQ(board_put_blocked(w, &b), E_FULL);
    board_close(&w);
}

static void
words_tell_what_changed_and_who_watches(void **state)
{
    const char *dir = fresh();
    board      *registry = opened(dir, addr_of(KIND_REGISTRY, 0));
    board      *front = opened(dir, addr_of(KIND_FRONT, 3));
    board      *r = opened(dir, addr_of(KIND_INGEST, 1));

    (void)state;
    board_bump_registry(registry, false);
    board_bump_registry(registry, true);
    CHECK_EQ(board_registry_seq(r), 2);
    CHECK_EQ(board_rules_seq(r), 1);
    CHECK(!board_anyone_watches(r));
    board_watch_tenant(front, 3, 100, true);
    board_watch_tenant(front, 3, 100, true);
    CHECK(board_anyone_watches(r));
    CHECK(board_front_watches(r, 3, 100));
    CHECK(!board_front_watches(r, 3, 99) && !board_front_watches(r, 2, 100) &&
          !board_front_watches(r, 3, 10000));
    board_watch_tenant(front, 3, 100, false);
    CHECK(!board_anyone_watches(r));
    board_watch_tenant(front, 3, 64, true);
    board_close(&front); /* killed with somebody connected */
    front = opened(dir, addr_of(KIND_FRONT, 3));
    CHECK(!board_anyone_watches(r));
    board_close(&registry);
    board_close(&front);
    board_close(&r);
}

static void
what_is_no_board_is_refused(void **state)
{
    const char  *dir = fresh();
    board_limits bad = limits;
    board       *b;

    (void)state;
    bad.parts = BOARD_PARTS_MAX + 1;
    CHECK_EQ(board_create(dir, &bad), E_RANGE);
    CHECK_EQ(board_open(&b, scratch_file("nowhere"), 0), E_NOTFOUND);
    CHECK_EQ(truncate(scratch_file("board/words"), 4096), 0);
    CHECK_EQ(board_open(&b, dir, 0), E_BAD);
    CHECK(b == NULL);
}

/* Not a benchmark: a bound that only a change of the algorithm would break. */
static void
a_series_is_found_in_no_time(void **state)
{
    const char     *dir = fresh();
    board          *w = opened(dir, addr_of(KIND_INGEST, 0));
    struct timespec from;
    struct timespec to;
    uint64_t        ns;
    bool            same;

    (void)state;
    for (uint32_t i = 1; i <= 20000; i++) {
        char name[32];

        (void)snprintf(name, sizeof name, "metric_number_%u", i % 5);
        CHECK_OK(board_put_series(w, 0, i, 1 + i / 5, 1, view_str(name), view_str("mm/s")));
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint32_t round = 0; round < 20; round++)
        for (uint32_t i = 1; i <= 5000; i++)
            CHECK(board_series_no(w, 0, 1 + i / 5, view_of("metric_number_012345", 14),
                                  view_str("mm/s"), &same) == 0);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)(to.tv_nsec - from.tv_nsec);
    print_message("absent: %llu ns\n", (unsigned long long)ns / 100000);
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint32_t round = 0; round < 20; round++)
        for (uint32_t i = 1; i <= 5000; i++) {
            char name[16] = "metric_number_0";

            name[14] = (char)('0' + i % 5);
            if (board_series_no(w, 0, 1 + i / 5, view_of(name, 15), view_str("mm/s"), &same) != i)
                fail();
        }
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)(to.tv_nsec - from.tv_nsec);
    print_message("found: %llu ns\n", (unsigned long long)ns / 100000);
    CHECK(ns / 100000 < 5000);
    board_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_the_registry_puts_everyone_finds),
        TEST(a_machine_is_found_by_name_and_id_while_it_lives),
        TEST(series_are_found_and_listed_by_machine),
        TEST(a_rebuilt_board_is_the_same),
        TEST(nobody_writes_what_is_not_his),
        TEST(blocked_tokens_make_room_when_their_time_is_over),
        TEST(words_tell_what_changed_and_who_watches),
        TEST(what_is_no_board_is_refused),
        TEST(a_series_is_found_in_no_time),
    };

    return cmocka_run_group_tests_name("transport/board", tests, NULL, NULL);
}
