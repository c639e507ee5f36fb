#include "tests/unit/check.h"

#include "transport/control.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static char run_dir[64];

/* The next word within two seconds. */
static bool
hear(control *c, control_word *w)
{
    for (int i = 0; i < 200; i++) {
        struct pollfd p = { .fd = control_fd(c), .events = POLLIN };

        if (control_next(c, w))
            return true;
        (void)poll(&p, 1, 10);
    }
    return false;
}

static void
a_group_speaks_and_is_told(void **state)
{
    control     *sup = NULL, *group = NULL;
    control_word w;

    (void)state;
    CHECK_OK(control_bind(&sup, run_dir));
    CHECK_EQ(control_tell(sup, 3, CONTROL_STOP), E_NOTFOUND);
    CHECK_OK(control_connect(&group, run_dir, 3));
    CHECK_OK(control_say(group, CONTROL_FAILED, "disk on fire"));
    CHECK(hear(sup, &w));
    CHECK_EQ(w.verb, CONTROL_FAILED);
    CHECK_EQ(w.group, 3);
    CHECK_EQ(w.pid, getpid());
    assert_string_equal(w.text, "disk on fire");
    CHECK_OK(control_tell(sup, 3, CONTROL_RELOAD));
    CHECK(hear(group, &w));
    CHECK_EQ(w.verb, CONTROL_RELOAD);
    control_close(&group);
    control_close(&sup);
}

static void
a_restarted_group_takes_its_name_over(void **state)
{
    control     *sup = NULL, *first = NULL, *second = NULL;
    control_word w;

    (void)state;
    CHECK_OK(control_bind(&sup, run_dir));
    CHECK_OK(control_connect(&first, run_dir, 1));
    CHECK_OK(control_say(first, CONTROL_READY, NULL));
    CHECK(hear(sup, &w));
    CHECK_OK(control_connect(&second, run_dir, 1));
    CHECK_OK(control_say(second, CONTROL_READY, NULL));
    CHECK(hear(sup, &w));
    CHECK_OK(control_tell(sup, 1, CONTROL_STOP));
    CHECK(hear(second, &w));
    CHECK_EQ(w.verb, CONTROL_STOP);
    control_close(&first);
    control_close(&second);
    control_close(&sup);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_group_speaks_and_is_told),
        TEST(a_restarted_group_takes_its_name_over),
    };
    char command[96];
    int  failed;

    snprintf(run_dir, sizeof run_dir, "/tmp/haltless-control.XXXXXX");
    if (mkdtemp(run_dir) == NULL)
        return 1;
    failed = cmocka_run_group_tests_name("transport/control", tests, NULL, NULL);
    snprintf(command, sizeof command, "%s/control", run_dir);
    (void)unlink(command);
    (void)rmdir(run_dir);
    return failed;
}
