#include "actors/mirror.h"
#include "actors/plan.h"
#include "actors/seat.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "transport/board.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { WORDS_ROOM = 512 };
#define KEY "abababababababababababababababababababababababababababababababab"

/* A node's run directory, its board with a writer of its own, and what it said. */
typedef struct host {
    options  o;
    rundir   run;
    nodes    n;
    board   *writer;
    mirror  *m;
    uint8_t *word[WORDS_ROOM];
    size_t   len[WORDS_ROOM];
    uint32_t words, room;
} host;

static host home, away;

static bool
say(void *ctx, uint32_t peer, view word)
{
    host *h = ctx;

    CHECK_EQ(peer, 0);
    if (h->words == h->room)
        return false;
    h->word[h->words] = malloc(word.len);
    memcpy(h->word[h->words], word.at, word.len);
    h->len[h->words++] = word.len;
    return true;
}

/* Everything said is heard. */
static void
pass(host *from, host *to)
{
    for (uint32_t i = 0; i < from->words; i++) {
        CHECK(mirror_hear(to->m, 0, view_of(from->word[i], from->len[i])));
        free(from->word[i]);
    }
    from->words = 0;
}

static void
make(host *h, const char *name, addr writer, char **flags, int count)
{
    board_limits limits = { 8, 8, 8, 8, 1024, 64, 1024, 2, 1 };
    char         path[RUNDIR_PATH_MAX + 16];

    memset(h, 0, sizeof *h);
    h->room = WORDS_ROOM;
    CHECK_OK(options_load(&h->o, NULL, count, flags));
    CHECK_OK(plan_make(&h->run.plan, &h->o, 0));
    CHECK_OK(nodes_read(&h->n, &h->o));
    (void)snprintf(h->run.path, sizeof h->run.path, "%s/%s", scratch_dir(), name);
    CHECK_EQ(mkdir(h->run.path, 0700), 0);
    CHECK_OK(rundir_make(&h->run));
    (void)snprintf(path, sizeof path, "%s/board", h->run.path);
    CHECK_OK(board_create(path, &limits));
    CHECK_OK(board_open(&h->writer, path, writer));
    CHECK_OK(mirror_open(&h->m, &h->run, &h->n, say, h));
}

static int
set_up(void **state)
{
    static int number;
    char       a[32], b[32];
    char *home_flags[] = { "--node-name", "a", "--node-key-file", "k", "--node-listen", "127.0.0.1:1", "--node-peers",
                           "b 127.0.0.1:2 " KEY " 0-1" };
    char *away_flags[] = { "--node-name", "b", "--node-key-file", "k", "--node-listen", "127.0.0.1:2", "--node-home", "a",
                           "--node-partitions", "0-1", "--node-peers", "a 127.0.0.1:1 " KEY };

    (void)state;
    (void)snprintf(a, sizeof a, "a%d", number);
    (void)snprintf(b, sizeof b, "b%d", number++);
    make(&home, a, addr_of(KIND_REGISTRY, 0), home_flags, (int)COUNT_OF(home_flags));
    make(&away, b, addr_of(KIND_INGEST, 1), away_flags, (int)COUNT_OF(away_flags));
    return 0;
}

static void
end(host *h)
{
    for (uint32_t i = 0; i < h->words; i++)
        free(h->word[i]);
    mirror_close(&h->m);
    board_close(&h->writer);
    options_free(&h->o);
    rundir_remove(h->run.path);
}

static int
tear_down(void **state)
{
    (void)state;
    end(&home);
    end(&away);
    return 0;
}

static board *
look(const host *h)
{
    char   path[RUNDIR_PATH_MAX + 16];
    board *b;

    (void)snprintf(path, sizeof path, "%s/board", h->run.path);
    CHECK_OK(board_open(&b, path, 0));
    return b;
}

static void
put_series(uint32_t no, uint32_t machine, const char *metric)
{
    CHECK_OK(board_put_series(away.writer, 1, no, machine, 3, view_str(metric), VIEW_LIT("C")));
}

static void
series_and_latest_values_come_home(void **state)
{
    board       *b = look(&home);
    board_series s;
    board_latest l = { 0 };

    (void)state;
    put_series(1, 7, "temperature");
    put_series(2, 7, "speed");
    CHECK_OK(board_put_latest(away.writer, 1, 2, &(board_latest){ 55, 1.5, 9 }));
    CHECK_OK(board_put_arrival(away.writer, 1, 7, &(board_arrival){ .arrived_us = 44, .newest_us = 43 }));
    CHECK(mirror_say(away.m, 0));
    pass(&away, &home);
    CHECK_EQ(board_find_series(b, 1, 7, VIEW_LIT("speed"), &s), 2);
    CHECK_EQ(s.tenant, 3);
    CHECK_EQ(board_machine_first_series(b, 1, 7), 2);
    CHECK_EQ(board_next_series(b, 1, 2), 1);
    CHECK(board_latest_of(b, 1, 2, &l));
    CHECK(l.time_us == 55 && l.value == 1.5 && l.lsn == 9);
    CHECK_EQ(board_find_series(b, 1, 7, VIEW_LIT("pressure"), &s), 0);
    board_close(&b);
}

static void
what_is_known_is_not_said_again(void **state)
{
    (void)state;
    put_series(1, 7, "temperature");
    CHECK(mirror_say(away.m, 0));
    CHECK(away.words > 0);
    pass(&away, &home);
    CHECK(mirror_say(away.m, 0));
    CHECK_EQ(away.words, 0);
    CHECK_OK(board_put_latest(away.writer, 1, 1, &(board_latest){ 1, 2, 3 }));
    CHECK(mirror_say(away.m, 0));
    CHECK_EQ(away.words, 1);
    CHECK(away.len[0] < 100);
}

static void
a_peer_that_forgot_hears_everything_again(void **state)
{
    board *b;

    (void)state;
    for (uint32_t no = 1; no <= 1000; no++)
        put_series(no, 1 + no % 50, "m");
    CHECK(mirror_say(away.m, 0));
    for (uint32_t i = 0; i < away.words; i++)
        free(away.word[i]);
    away.words = 0; /* lost */
    mirror_begin(away.m, 0);
    CHECK(mirror_say(away.m, 0));
    pass(&away, &home);
    b = look(&home);
    CHECK_EQ(table_count(board_table(b, BOARD_SERIES, 1)), 1000);
    board_close(&b);
}

static void
what_finds_no_room_goes_on_later(void **state)
{
    board *b = look(&home);
    bool   all = false;

    (void)state;
    for (uint32_t no = 1; no <= 1000; no++) {
        char metric[200];

        memset(metric, 'x', sizeof metric - 1);
        metric[199] = '\0';
        put_series(no, 1, metric);
    }
    away.room = 1;
    for (int i = 0; i < 100 && !all; i++) {
        all = mirror_say(away.m, 0);
        pass(&away, &home);
    }
    CHECK(all);
    CHECK_EQ(table_count(board_table(b, BOARD_SERIES, 1)), 1000);
    board_close(&b);
}

static void
rules_machines_and_their_sequences_go_out(void **state)
{
    board        *b = look(&away);
    board_machine m = { .id = { { 5 } }, .no = 3, .tenant = 1, .flags = BOARD_LIVE, .part = 1 }, got;
    board_rule    r = { .id = { { 6 } }, .no = 1, .tenant = 1, .flags = BOARD_LIVE, .threshold = 80 };

    (void)state;
    CHECK_OK(board_put_machine(home.writer, &m, VIEW_LIT("CNC-1"), VIEW_LIT("Mill"), VIEW_LIT("Hall")));
    CHECK_OK(board_put_rule(home.writer, &r, VIEW_LIT("temperature"), VIEW_LIT("hot"), VIEW_LIT(""),
                            VIEW_LIT("packed")));
    board_bump_registry(home.writer, true);
    CHECK(mirror_say(home.m, 0));
    pass(&home, &away);
    CHECK_EQ(board_find_machine(b, 1, VIEW_LIT("CNC-1"), &got), 3);
    CHECK_VIEW(board_string(b, BOARD_MACHINES, 0, got.location), "Hall");
    CHECK_EQ(board_find_rule(b, &r.id, &r), 1);
    CHECK_VIEW(board_string(b, BOARD_RULES, 0, r.metric), "temperature");
    CHECK_VIEW(board_string(b, BOARD_RULES, 0, r.conditions), "packed");
    CHECK_EQ(board_rules_seq(b), board_rules_seq(home.writer));
    CHECK_EQ(board_registry_seq(b), board_registry_seq(home.writer));
    board_close(&b);
}

static void
the_life_of_an_actor_is_known_elsewhere_and_ends_with_the_link(void **state)
{
    seat *here, *there;

    (void)state;
    CHECK_OK(seat_open(&here, away.run.path, addr_of(KIND_INGEST, 1), true));
    CHECK_OK(seat_open(&there, home.run.path, addr_of(KIND_INGEST, 1), false));
    CHECK_EQ(atomic_load(&there->state), SEAT_DOWN);
    atomic_store(&here->epoch, 77);
    atomic_store(&here->ready, 77);
    atomic_store(&here->state, SEAT_RUN);
    CHECK(mirror_say(away.m, 0));
    pass(&away, &home);
    CHECK_EQ(atomic_load(&there->epoch), 77);
    CHECK_EQ(atomic_load(&there->ready), 77);
    CHECK_EQ(atomic_load(&there->state), SEAT_RUN);
    mirror_away(home.m, 0);
    CHECK_EQ(atomic_load(&there->state), SEAT_DOWN);
    mirror_back(home.m, 0); /* a silence, and the session goes on */
    CHECK_EQ(atomic_load(&there->state), SEAT_RUN);
    seat_close(&here);
    seat_close(&there);
}

/* Away cannot make machines at home, home cannot make series away, nobody cannot say anything else. */
static void
only_what_is_its_own_is_taken_from_a_peer(void **state)
{
    board        *b = look(&home);
    board_machine m = { .id = { { 5 } }, .no = 3, .tenant = 1, .flags = BOARD_LIVE };

    (void)state;
    CHECK_OK(board_put_machine(home.writer, &m, VIEW_LIT("CNC-1"), VIEW_LIT("Mill"), VIEW_LIT("")));
    put_series(1, 7, "temperature");
    CHECK(mirror_say(home.m, 0));
    CHECK(mirror_say(away.m, 0));
    CHECK(home.words == 1 && away.words == 1);
    CHECK(!mirror_hear(home.m, 0, view_of(home.word[0], home.len[0])));
    CHECK(!mirror_hear(away.m, 0, view_of(away.word[0], away.len[0])));
    for (size_t cut = 1; cut < away.len[0]; cut++)
        (void)mirror_hear(home.m, 0, view_of(away.word[0], cut));
    CHECK(!mirror_hear(home.m, 0, view_of(away.word[0], 10)));
    board_close(&b);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(series_and_latest_values_come_home),
        T(what_is_known_is_not_said_again),
        T(a_peer_that_forgot_hears_everything_again),
        T(what_finds_no_room_goes_on_later),
        T(rules_machines_and_their_sequences_go_out),
        T(the_life_of_an_actor_is_known_elsewhere_and_ends_with_the_link),
        T(only_what_is_its_own_is_taken_from_a_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
