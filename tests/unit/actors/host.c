/* Tables that cannot be a node end the program with one line that says why.  What a good one does: tests/e2e. */
#include "actors/host.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const ak_on        on[] = { { 0 } };
static const ak_kind      pump = { .name = "pump", .number = KIND_OWN, .on = on };
static const ak_kind      fan = { .name = "fan", .number = KIND_OWN + 1, .on = on };
static const ak_kind      same = { .name = "same", .number = KIND_OWN, .on = on };
static const ak_kind      front = { .name = "front", .number = KIND_FRONT, .on = on };
static const host_road    no_roads[] = { { 0 } };
static const host_message no_messages[] = { { 0 } };

/* host_main() in a process of its own: its exit status, and what it said. */
static int
status_of(const host *h, const char *flag, char said[512])
{
    char   *argv[] = { (char[]){ "test" }, (char *)(uintptr_t)flag, NULL };
    int     pipes[2];
    int     status = 0;
    ssize_t n;
    pid_t   pid;

    CHECK_EQ(pipe(pipes), 0);
    if ((pid = fork()) == 0) {
        (void)dup2(pipes[1], STDERR_FILENO);
        _exit(host_main(h, flag == NULL ? 1 : 2, argv));
    }
    (void)close(pipes[1]);
    n = read(pipes[0], said, 511);
    said[n > 0 ? n : 0] = '\0';
    (void)close(pipes[0]);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
refused(host h, const char *why)
{
    char said[512];

    if (h.roads == NULL)
        h.roads = no_roads;
    if (h.messages == NULL)
        h.messages = no_messages;
    CHECK_EQ(status_of(&h, NULL, said), 2);
    if (strstr(said, why) == NULL)
        fail_msg("%s: not in: %s", why, said);
}

static void
kinds_that_cannot_be_are_refused(void **state)
{
    (void)state;
    refused((host){ (host_kind[]){ { 0 } } }, "no kinds");
    refused((host){ (host_kind[]){ { &front, 1 }, { 0 } } }, "kind 1, \"front\"");
    refused((host){ (host_kind[]){ { &pump, 0 }, { 0 } } }, "kind 12, \"pump\"");
    refused((host){ (host_kind[]){ { &pump, 1 }, { &same, 1 }, { 0 } } }, "there twice");
}

static void
messages_and_roads_that_cannot_be_are_refused(void **state)
{
    const host_kind both[] = { { &pump, 1 }, { &fan, 1 }, { 0 } };

    (void)state;
    refused((host){ both, .messages = (host_message[]){ { MSG_READINGS, "x", 0, 0, 0 }, { 0 } } }, "message 16");
    refused((host){ both, .messages = (host_message[]){ { MSG_OWN, "x y", 0, 0, 0 }, { 0 } } }, "\"x y\"");
    refused((host){ both, (host_road[]){ { KIND_OWN, KIND_FRONT }, { 0 } } }, "no such kinds");
    refused((host){ both, (host_road[]){ { KIND_OWN, KIND_OWN + 1, .kib = 5 }, { 0 } } }, "power of two");
    refused((host){ both, (host_road[]){ { KIND_OWN, KIND_OWN + 1 }, { KIND_OWN + 1, KIND_OWN }, { 0 } } },
            "pump -> fan -> pump");
}

static void
settings_that_cannot_be_are_refused(void **state)
{
    const host_kind one[] = { { &pump, 1 }, { 0 } };
    host            h = { one, no_roads, no_messages };
    char            said[512];

    (void)state;
    CHECK_EQ(status_of(&h, "--no-such-flag", said), 2);
    CHECK(strstr(said, "no-such-flag") != NULL);
    CHECK_EQ(status_of(&h, "--data=/nowhere/at/all", said), 1);
    CHECK(strstr(said, "/nowhere/at/all") != NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kinds_that_cannot_be_are_refused),
        TEST(messages_and_roads_that_cannot_be_are_refused),
        TEST(settings_that_cannot_be_are_refused),
    };

    return cmocka_run_group_tests_name("actors/host", tests, NULL, NULL);
}
