#include "tests/unit/check.h"
#include "tools/commands.h"

#include <stdlib.h>

static void
taken_flags_leave_the_rest_in_order(void **state)
{
    char *argv[] = { "x", "a", "--one", "1", "b", "--two=2", "--three", "c", NULL };
    int   argc = 8;
    bool  bad = false;

    (void)state;
    assert_string_equal(args_take(&argc, argv, "--two", &bad), "2");
    assert_string_equal(args_take(&argc, argv, "--one", &bad), "1");
    CHECK(args_take(&argc, argv, "--on", &bad) == NULL);
    CHECK(args_take_switch(&argc, argv, "--three"));
    CHECK(!args_take_switch(&argc, argv, "--three"));
    CHECK(!bad);
    CHECK_EQ(argc, 4);
    assert_string_equal(argv[1], "a");
    assert_string_equal(argv[2], "b");
    assert_string_equal(argv[3], "c");
    CHECK(argv[4] == NULL);
}

static void
a_flag_without_its_value_is_said(void **state)
{
    char *argv[] = { "x", "--one", NULL };
    int   argc = 2;
    bool  bad = false;

    (void)state;
    CHECK(args_take(&argc, argv, "--one", &bad) == NULL);
    CHECK(bad);
}

static void
the_configuration_file_is_a_flag_else_a_variable(void **state)
{
    char *argv[] = { "x", "--config=a.toml", NULL };
    int   argc = 2;
    bool  bad = false;

    (void)state;
    setenv("HALTLESS_CONFIG", "b.toml", 1);
    assert_string_equal(args_take_config(&argc, argv, &bad), "a.toml");
    assert_string_equal(args_take_config(&argc, argv, &bad), "b.toml");
    unsetenv("HALTLESS_CONFIG");
    CHECK(args_take_config(&argc, argv, &bad) == NULL);
    CHECK_EQ(argc, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(taken_flags_leave_the_rest_in_order),
        TEST(a_flag_without_its_value_is_said),
        TEST(the_configuration_file_is_a_flag_else_a_variable),
    };

    return cmocka_run_group_tests_name("tools/args", tests, NULL, NULL);
}
