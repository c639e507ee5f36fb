#include "tests/unit/check.h"

#include "proto/instant.h"

#include <time.h>

static bool
parses_to(const char *text, int64_t want)
{
    int64_t us = -1;

    return instant_parse(view_str(text), &us) && us == want;
}

static bool
is_refused(const char *text)
{
    int64_t us;

    return !instant_parse(view_str(text), &us);
}

static void
every_form_of_rfc_3339_is_read(void **state)
{
    static const struct {
        const char *text;
        int64_t     us;
    } cases[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "2026-02-27T10:30:00Z", 1772188200000000 },
        { "2026-02-27T10:30:00.1Z", 1772188200100000 },
        { "2026-02-27T10:30:00.123456Z", 1772188200123456 },
        { "2026-02-27T10:30:00.123456999Z", 1772188200123456 },
        { "2026-02-27t10:30:00z", 1772188200000000 },
        { "2026-02-27 10:30:00Z", 1772188200000000 },
        { "2026-02-27T12:30:00+02:00", 1772188200000000 },
        { "2026-02-27T05:00:00.5-05:30", 1772188200500000 },
        { "2026-02-28T10:29:00+23:59", 1772188200000000 },
        { "1969-12-31T23:59:59.999999Z", -1 },
        { "1969-12-31T23:59:59Z", -1000000 },
        { "0001-01-01T00:00:00Z", -62135596800000000 },
        { "9999-12-31T23:59:59.999999Z", 253402300799999999 },
        { "2024-02-29T00:00:00Z", 1709164800000000 },
        { "2000-02-29T00:00:00Z", 951782400000000 },
        { "2016-12-31T23:59:60Z", 1483228800000000 },
        { "2016-12-31T23:59:60.9Z", 1483228800000000 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (!parses_to(cases[i].text, cases[i].us))
            fail_msg("%s", cases[i].text);
}

static void
what_is_not_rfc_3339_is_refused(void **state)
{
    static const char *const cases[] = {
        "", "2026", "2026-02-27", "2026-02-27T10:30Z", "2026-02-27T10:30:00", "2026-02-27T10:30:00Zx",
        "2026-02-30T10:30:00Z", "2025-02-29T10:30:00Z", "1900-02-29T10:30:00Z", "2026-04-31T10:30:00Z",
        "2026-00-27T10:30:00Z", "2026-13-27T10:30:00Z", "2026-02-00T10:30:00Z", "0000-01-01T00:00:00Z",
        "2026-02-27T24:00:00Z", "2026-02-27T10:60:00Z", "2026-02-27T10:30:61Z", "2026-02-27T10:30:00.Z",
        "2026-02-27T10:30:00.1234567890Z", "2026-02-27T10:30:00,5Z", "2026-02-27T10:30:00+24:00",
        "2026-02-27T10:30:00+02:60", "2026-02-27T10:30:00+0200", "2026-02-27T10:30:00+02",
        "2026-02-27T10:30:00 Z", " 2026-02-27T10:30:00Z", "2026/02/27T10:30:00Z", "2026-02-27T10.30.00Z",
        "2026-02-27_10:30:00Z", "+026-02-27T10:30:00Z", "2026-2-27T10:30:00Z", "20260227T103000Z    ",
        "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:00-00:01", "9999-12-31T23:59:60Z",
        "2026-02-27T10:30:0:Z", "2026-02-2/T10:30:00Z", "1772188200000000000000",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (!is_refused(cases[i]))
            fail_msg("%s", cases[i]);
}

static bool
formats_as(int64_t us, const char *want)
{
    char   out[INSTANT_TEXT_MAX];
    size_t len = instant_format(us, out);

    return view_eq(view_of(out, len), view_str(want));
}

static void
the_fewest_fraction_digits_are_written(void **state)
{
    (void)state;
    CHECK(formats_as(0, "1970-01-01T00:00:00Z"));
    CHECK(formats_as(1772188200000000, "2026-02-27T10:30:00Z"));
    CHECK(formats_as(1772188200120000, "2026-02-27T10:30:00.120Z"));
    CHECK(formats_as(1772188200120001, "2026-02-27T10:30:00.120001Z"));
    CHECK(formats_as(1772188200000001, "2026-02-27T10:30:00.000001Z"));
    CHECK(formats_as(-1, "1969-12-31T23:59:59.999999Z"));
    CHECK(formats_as(INT64_MIN, "0001-01-01T00:00:00Z"));
    CHECK(formats_as(INT64_MAX, "9999-12-31T23:59:59.999999Z"));
}

static uint64_t
next_random(uint64_t *seed) /* xorshift64* */
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(2685821657736338717);
}

static void
random_instants_agree_with_the_c_library(void **state)
{
    uint64_t seed = 42;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        time_t    at = (time_t)(next_random(&seed) % UINT64_C(315537897600)) - 62135596800;
        struct tm tm;
        char      want[64];
        char      got[INSTANT_TEXT_MAX];
        int64_t   us = 0;

        CHECK(gmtime_r(&at, &tm) != NULL);
        snprintf(want, sizeof want, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        size_t len = instant_format((int64_t)at * 1000000, got);

        CHECK_VIEW(view_of(got, len), want);
        CHECK(instant_parse(view_of(got, len), &us));
        CHECK(us == (int64_t)at * 1000000);
    }
}

static void
every_microsecond_comes_back(void **state)
{
    uint64_t seed = 7;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        int64_t us = (int64_t)(next_random(&seed) % UINT64_C(315537897600000000)) - 62135596800000000;
        char    text[INSTANT_TEXT_MAX];
        int64_t back = 0;

        CHECK(instant_parse(view_of(text, instant_format(us, text)), &back));
        CHECK(back == us);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_form_of_rfc_3339_is_read),
        TEST(what_is_not_rfc_3339_is_refused),
        TEST(the_fewest_fraction_digits_are_written),
        TEST(random_instants_agree_with_the_c_library),
        TEST(every_microsecond_comes_back),
    };

    return cmocka_run_group_tests_name("proto/instant", tests, NULL, NULL);
}
