#include "tests/unit/check.h"

#include <errno.h>

static void
context_is_read_outermost_first(void **state)
{
    (void)state;
    err_clear();
    CHECK_EQ(err(err(E_LOCKED, "lock %s", "f"), "open data"), E_LOCKED);
    assert_string_equal(err_text(), "open data: lock f: locked by another process");
}

static void
an_errno_becomes_the_nearest_code(void **state)
{
    (void)state;
    err_clear();
    CHECK_EQ(err_errno(ENOSPC, "write"), E_NOSPACE);
    assert_string_equal(err_text(), "write: No space left on device");
}

static void
a_long_chain_is_cut_not_overrun(void **state)
{
    (void)state;
    err_clear();
    for (int i = 0; i < 200; i++)
        (void)err(E_IO, "a context of some length %d", i);
    CHECK(strlen(err_text()) < ERR_TEXT_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(context_is_read_outermost_first),
        TEST(an_errno_becomes_the_nearest_code),
        TEST(a_long_chain_is_cut_not_overrun),
    };

    return cmocka_run_group_tests_name("proto/err", tests, NULL, NULL);
}
