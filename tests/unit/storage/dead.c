#include "tests/unit/storage/scratch.h"

#include "proto/hash.h"
#include "storage/dead.h"

#include <fcntl.h>
#include <sys/stat.h>

static dead_letter
letter(uint64_t pos, view body)
{
    dead_letter l = { .env = { .len = (uint32_t)body.len, .type = 16, .from = addr_of(KIND_FRONT, 1), .corr = 7 },
                      .body = body,
                      .actor = addr_of(KIND_INGEST, 3),
                      .pos = pos,
                      .generation = { { 0xab, 0xcd } },
                      .wall_us = 1775260800000000,
                      .signal = 11,
                      .attempts = 3,
                      .build = "b0b1",
                      .reason = "killed ingest.3" };

    return l;
}

static void
put(const char *dir, uint64_t pos, view body, uint32_t *dropped)
{
    dead_letter l = letter(pos, body);
    char        id[DEAD_ID_MAX];

    CHECK_OK(dead_write(dir, &l, id, dropped));
}

static size_t
count(const char *dir)
{
    dead_entry *e;
    size_t      n;

    CHECK_OK(dead_list(dir, &e, &n));
    free(e);
    return n;
}

static void
a_letter_comes_back_as_it_was(void **state)
{
    dead_letter l = letter(4096, VIEW_LIT("body of it"));
    dead_letter back;
    uint8_t    *file;
    char        id[DEAD_ID_MAX];
    uint32_t    dropped;

    CHECK_EQ(count(*state), 0); /* no directory is no letters */
    CHECK_OK(dead_write(*state, &l, id, &dropped));
    CHECK(strcmp(id, "ingest.3-front.1-4096-abcd0000") == 0);
    CHECK_OK(dead_read(*state, id, &back, &file));
    CHECK_VIEW(back.body, "body of it");
    CHECK(memcmp(&back.env, &l.env, sizeof l.env) == 0);
    CHECK(back.actor == l.actor && back.pos == 4096 && back.signal == 11 && back.attempts == 3);
    CHECK(strcmp(back.reason, l.reason) == 0);
    CHECK(strcmp(back.build, l.build) == 0);
    free(file);
    CHECK_OK(dead_drop(*state, id));
    CHECK_EQ(dead_read(*state, id, &back, &file), E_NOTFOUND);
    CHECK_EQ(dead_drop(*state, id), E_NOTFOUND);
    err_clear();
}

static void
a_letter_written_again_is_one_letter(void **state)
{
    uint32_t dropped;

    put(*state, 64, VIEW_LIT("x"), &dropped);
    put(*state, 64, VIEW_LIT("x"), &dropped);
    put(*state, 128, VIEW_LIT("x"), &dropped);
    CHECK_EQ(count(*state), 2);
}

static void
the_oldest_go_when_the_bytes_are_used_up(void **state)
{
    enum { MOST = DEAD_BYTES_MAX / DEAD_BODY_MAX };
    uint8_t    *body = calloc(1, DEAD_BODY_MAX);
    dead_entry *e;
    size_t      n;
    uint32_t    dropped;
    uint32_t    sum = 0;

    for (uint64_t i = 0; i < MOST + 2; i++) {
        put(*state, i * 64, view_of(body, DEAD_BODY_MAX), &dropped);
        sum += dropped;
    }
    CHECK_OK(dead_list(*state, &e, &n));
    CHECK_EQ(n, MOST - 1); /* each has a head besides */
    CHECK_EQ(sum, 3);
    for (size_t i = 0; i < n; i++)
        CHECK(strstr(e[i].id, "-0-") == NULL && strstr(e[i].id, "-128-") == NULL);
    free(e);
    free(body);
}

static void
the_oldest_go_when_there_are_too_many(void **state)
{
    char     path[4200];
    uint32_t dropped;

    put(*state, 0, VIEW_LIT(""), &dropped);
    for (uint64_t i = 1; i < DEAD_LETTERS_MAX; i++) { /* as many as there may be, without a sync each */
        (void)snprintf(path, sizeof path, "%s/dead/ingest.3-front.1-%d-00000000.letter", (char *)*state, (int)i * 64);
        CHECK(close(open(path, O_CREAT | O_WRONLY, 0600)) == 0);
    }
    CHECK_EQ(count(*state), DEAD_LETTERS_MAX);
    put(*state, 1 << 20, VIEW_LIT(""), &dropped);
    CHECK_EQ(dropped, 1);
    CHECK_EQ(count(*state), DEAD_LETTERS_MAX);
}

static void
a_name_that_leads_elsewhere_is_no_letter(void **state)
{
    static const char *const bad[] = { "", "..", "../x", "a/b", ".letter", "A", "a\nb" };
    dead_letter              l;
    uint8_t                 *file;

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_EQ(dead_read(*state, bad[i], &l, &file), E_NOTFOUND);
        CHECK_EQ(dead_drop(*state, bad[i]), E_NOTFOUND);
    }
    err_clear();
}

static void
a_damaged_letter_is_refused(void **state)
{
    dead_letter l = letter(64, VIEW_LIT("0123456789"));
    char        id[DEAD_ID_MAX];
    char        path[4200];
    uint8_t    *file;
    uint32_t    dropped;
    int         fd;

    CHECK_OK(dead_write(*state, &l, id, &dropped));
    (void)snprintf(path, sizeof path, "%s/dead/%s.letter", (char *)*state, id);
    fd = open(path, O_RDWR);
    CHECK_EQ(pwrite(fd, "X", 1, 325), 1);
    CHECK_EQ(dead_read(*state, id, &l, &file), E_BAD);
    CHECK_EQ(ftruncate(fd, 100), 0);
    CHECK_EQ(dead_read(*state, id, &l, &file), E_BAD);
    (void)close(fd);
    err_clear();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_SCRATCH(a_letter_comes_back_as_it_was),
        TEST_IN_SCRATCH(a_letter_written_again_is_one_letter),
        TEST_IN_SCRATCH(the_oldest_go_when_the_bytes_are_used_up),
        TEST_IN_SCRATCH(the_oldest_go_when_there_are_too_many),
        TEST_IN_SCRATCH(a_name_that_leads_elsewhere_is_no_letter),
        TEST_IN_SCRATCH(a_damaged_letter_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
