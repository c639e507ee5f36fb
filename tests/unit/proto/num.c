#include "tests/unit/check.h"

#include "proto/num.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

static uint64_t
next_random(uint64_t *seed) /* xorshift64* */
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(2685821657736338717);
}

static bool
same(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* The number is all of the text, and what strtod makes of it. */
static void
check_reads_as_strtod(const char *text)
{
    double got = NAN;
    size_t len = num_parse(view_str(text), &got);

    if (len != strlen(text) || !same(got, strtod(text, NULL)))
        fail_msg("%.60s: length %zu, %.17g not %.17g", text, len, got, strtod(text, NULL));
}

static void
numbers_are_rounded_as_strtod_does(void **state)
{
    static const char *const cases[] = {
        "0", "-0", "0.0", "-0.0e5", "1", "-1", "72.5", "0.1", "1e22", "1e23", "1E+23", "123e-5",
        "9007199254740993", "9007199254740992.9999999", "18446744073709551616", "18446744073709551615",
        "1844674407370955161600000000000", "8.41e21", "9.5e21", "5e-324", "2.4703282292062327e-324",
        "2.4703282292062328e-324", "2.2250738585072014e-308", "2.2250738585072011e-308",
        "1.7976931348623157e308", "1.7976931348623159e308", "1e308", "1e309", "-1e999", "1e-999",
        "1e999999999999999999999", "1e-999999999999999999999", "0e999999999999",
        "0.000000000000000000000000000000000000000000001", "72.49999999999999", "72.499999999999995",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124",
        "1.00000000000000011102230246251565404236316680908203126",
        "6929495644600919.5", "3.518437208883201171875e13", "62.5364939768271845828e27",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_reads_as_strtod(cases[i]);
}

static void
a_digit_behind_a_million_zeros_still_counts(void **state)
{
    enum { ZEROS = 1000000 };
    char  *text = malloc(ZEROS + 100);
    double got = 0;

    (void)state;
    CHECK(text != NULL);
    size_t head = (size_t)sprintf(text, "1.00000000000000011102230246251565404236316680908203125");

    memset(text + head, '0', ZEROS); /* half-way, a tie goes to even: 1 */
    CHECK_EQ(num_parse(view_of(text, head + ZEROS), &got), head + ZEROS);
    CHECK(got == 1.0);
    text[head + ZEROS - 1] = '1';
    CHECK_EQ(num_parse(view_of(text, head + ZEROS), &got), head + ZEROS);
    CHECK(got == 1.0 + DBL_EPSILON);
    head = (size_t)sprintf(text, "0.");
    memset(text + head, '0', ZEROS);
    size_t len = head + ZEROS + (size_t)sprintf(text + head + ZEROS, "15e%d", ZEROS + 2);

    CHECK_EQ(num_parse(view_of(text, len), &got), len);
    CHECK(got == 15.0);
    free(text);
}

static void
what_is_no_json_number_is_refused(void **state)
{
    static const char *const cases[] = { "", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "-.5", "e5",
                                         "NaN", "Infinity", "-Infinity", "x", "--1", " 1" };
    double v;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (num_parse(view_str(cases[i]), &v) != 0)
            fail_msg("%s", cases[i]);
    CHECK_EQ(num_parse(view_str("01"), &v), 1);
    CHECK_EQ(num_parse(view_str("12,13"), &v), 2);
    CHECK_EQ(num_parse(view_str("0x10"), &v), 1);
    CHECK_EQ(num_parse(view_of("123", 2), &v), 2); /* never looks behind the end */
    CHECK(v == 12);
    CHECK_EQ(num_parse(view_of("1.5", 2), &v), 0);
}

static void
random_texts_read_as_strtod_reads_them(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        char     text[64];
        uint64_t r = next_random(&seed);
        int      n = snprintf(text, sizeof text, "%s%llu", (r & 1) != 0 ? "-" : "",
                              (unsigned long long)(next_random(&seed) >> (r >> 1 & 63)));

        if ((r & 128) != 0)
            n += snprintf(text + n, sizeof text - (size_t)n, ".%0*llu", (int)(r >> 8 & 15),
                          (unsigned long long)(next_random(&seed) >> (r >> 12 & 63)));
        if ((r & 256) != 0)
            snprintf(text + n, sizeof text - (size_t)n, "e%d", (int)(r >> 20 & 63) - 32);
        check_reads_as_strtod(text);
    }
}

static bool
formats_as(double v, const char *want)
{
    char   out[NUM_TEXT_MAX];
    size_t len = num_format(v, out);

    if (!view_eq(view_of(out, len), view_str(want)))
        fail_msg("%.*s, not %s", (int)len, out, want);
    return true;
}

static void
numbers_are_written_as_javascript_does(void **state)
{
    (void)state;
    CHECK(formats_as(0, "0"));
    CHECK(formats_as(-0.0, "-0"));
    CHECK(formats_as(72.5, "72.5"));
    CHECK(formats_as(-72.05, "-72.05"));
    CHECK(formats_as(100, "100"));
    CHECK(formats_as(0.1, "0.1"));
    CHECK(formats_as(0.1 + 0.2, "0.30000000000000004"));
    CHECK(formats_as(1.0 / 3, "0.3333333333333333"));
    CHECK(formats_as(123456789012345678.0, "123456789012345680"));
    CHECK(formats_as(9007199254740993.0, "9007199254740992"));
    CHECK(formats_as(999999999999999, "999999999999999"));
    CHECK(formats_as(1e15, "1000000000000000"));
    CHECK(formats_as(1e20, "100000000000000000000"));
    CHECK(formats_as(1e21, "1e+21"));
    CHECK(formats_as(1.5e300, "1.5e+300"));
    CHECK(formats_as(1e-6, "0.000001"));
    CHECK(formats_as(1.25e-6, "0.00000125"));
    CHECK(formats_as(1e-7, "1e-7"));
    CHECK(formats_as(1.5e-9, "1.5e-9"));
    CHECK(formats_as(5e-324, "5e-324"));
    CHECK(formats_as(DBL_MAX, "1.7976931348623157e+308"));
    CHECK(formats_as(-DBL_MAX, "-1.7976931348623157e+308"));
    CHECK(formats_as(DBL_MIN, "2.2250738585072014e-308"));
    CHECK(formats_as(ldexp(1, -44), "5.684341886080802e-14"));
    CHECK(formats_as(9.5367431640625e-7, "9.5367431640625e-7"));
    CHECK(formats_as(9007199254740991.0, "9007199254740991"));
}

/* Reads back the same, here and with strtod, and no text with fewer digits does. */
static void
check_round_trip(double v)
{
    char   out[NUM_TEXT_MAX + 1];
    size_t len = num_format(v, out);
    double back = NAN;
    int    digits = 0;
    char   shorter[64];

    CHECK(len < NUM_TEXT_MAX);
    out[len] = '\0';
    if (num_parse(view_of(out, len), &back) != len || !same(back, v) || !same(strtod(out, NULL), v))
        fail_msg("%s is not %.17g", out, v);
    for (const char *p = out; *p != '\0' && *p != 'e'; p++)
        digits += *p >= (digits > 0 ? '0' : '1') && *p <= '9';
    if (digits > 1 && digits <= 17 && strpbrk(out, "e.") != NULL) {
        snprintf(shorter, sizeof shorter, "%.*e", digits - 2, v);
        if (same(strtod(shorter, NULL), v))
            fail_msg("%s would do for %s", shorter, out);
    }
}

static void
random_doubles_come_back_from_the_shortest_text(void **state)
{
    uint64_t seed = 99;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t r = next_random(&seed);
        double   v;

        memcpy(&v, &r, sizeof v);
        if (isfinite(v))
            check_round_trip(v);
        check_round_trip((double)(int64_t)(r >> 30) / 1000.0);
        check_round_trip((double)(int64_t)(r >> 11) / 4503599627.0);
    }
}

static void
every_power_of_two_comes_back(void **state)
{
    (void)state;
    for (int e = -1074; e <= 1023; e++) {
        check_round_trip(ldexp(1, e));
        check_round_trip(-nextafter(ldexp(1, e), INFINITY));
        check_round_trip(nextafter(ldexp(1, e), 0));
    }
}

static void
every_power_of_ten_and_its_neighbours_come_back(void **state)
{
    (void)state;
    for (int e = -320; e <= 308; e++) {
        char text[16];

        snprintf(text, sizeof text, "1e%d", e);
        double v = strtod(text, NULL);

        for (double near = v, step = 0; step < 20; step++, near = nextafter(near, 0))
            check_round_trip(near);
        for (double near = v, step = 0; step < 20; step++, near = nextafter(near, INFINITY))
            check_round_trip(near);
    }
}

static void
integers_are_written_whole(void **state)
{
    char out[NUM_TEXT_MAX];

    (void)state;
    CHECK_VIEW(view_of(out, num_format_u64(0, out)), "0");
    CHECK_VIEW(view_of(out, num_format_u64(UINT64_MAX, out)), "18446744073709551615");
    CHECK_VIEW(view_of(out, num_format_i64(INT64_MIN, out)), "-9223372036854775808");
    CHECK_VIEW(view_of(out, num_format_i64(INT64_MAX, out)), "9223372036854775807");
    CHECK_VIEW(view_of(out, num_format_i64(-1, out)), "-1");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(numbers_are_rounded_as_strtod_does),
        TEST(a_digit_behind_a_million_zeros_still_counts),
        TEST(what_is_no_json_number_is_refused),
        TEST(random_texts_read_as_strtod_reads_them),
        TEST(numbers_are_written_as_javascript_does),
        TEST(random_doubles_come_back_from_the_shortest_text),
        TEST(every_power_of_two_comes_back),
        TEST(every_power_of_ten_and_its_neighbours_come_back),
        TEST(integers_are_written_whole),
    };

    return cmocka_run_group_tests_name("proto/num", tests, NULL, NULL);
}
