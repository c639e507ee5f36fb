/* check.h - a few macros over cmocka: both values are printed, error chains too. */
#ifndef HALTLESS_TESTS_UNIT_CHECK_H
#define HALTLESS_TESTS_UNIT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* after the four above, as cmocka wants it */
#include <cmocka.h>

#include "proto/base.h"
#include "proto/err.h"

#define CHECK(x) assert_true(x)
#define CHECK_EQ(a, b) assert_int_equal((a), (b))
#define CHECK_OK(x)                                                                                \
    do {                                                                                           \
        int check_rc_ = (int)(x);                                                                  \
        if (check_rc_ < 0)                                                                         \
            fail_msg("%s: %s", #x, err_text());                                                    \
    } while (0)
#define CHECK_VIEW(v, text)                                                                        \
    do {                                                                                           \
        view check_v_ = (v);                                                                       \
        if (!view_eq(check_v_, view_str(text)))                                                    \
            fail_msg("%s is \"%.*s\", not \"%s\"", #v, (int)check_v_.len, (const char *)check_v_.at, text); \
    } while (0)

#define TEST(fn) cmocka_unit_test(fn)

#endif
