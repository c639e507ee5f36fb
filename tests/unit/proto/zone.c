/* Zones: names, files of every kind, midnights that are skipped or come twice, and times far off. */
#include "tests/unit/check.h"

#include "proto/err.h"
#include "proto/zone.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY INT64_C(86400)

/* A version 2 file: two types (+1:00, +2:00), `times` changes to type 1, 0, 1, ... */
typedef struct file {
    uint8_t at[1024];
    size_t  len;
} file;

static void
add(file *f, const void *at, size_t len)
{
    CHECK(f->len + len <= sizeof f->at);
    memcpy(f->at + f->len, at, len);
    f->len += len;
}

static void
add_head(file *f, uint32_t leaps, uint32_t times, uint32_t types)
{
    uint32_t n[6] = { 0, 0, leaps, times, types, 4 };

    add(f, "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    for (size_t i = 0; i < COUNT_OF(n); i++) {
        store_be32(&n[i], n[i]);
        add(f, &n[i], 4);
    }
}

static file
make(const int64_t *times, uint32_t count, const char *rule)
{
    file    f = { .len = 0 };
    uint8_t be[8];

    add_head(&f, 0, 0, 1);
    add(&f, "\0\0\0\0\0\0LMT", 10);
    add_head(&f, 0, count, 2);
    for (uint32_t i = 0; i < count; i++) {
        store_be64(be, (uint64_t)times[i]);
        add(&f, be, 8);
    }
    for (uint32_t i = 0; i < count; i++)
        add(&f, i % 2 == 0 ? "\1" : "\0", 1);
    add(&f, "\0\0\x0e\x10\0\0\0\0\x1c\x20\1\0CET", 16);
    add(&f, "\n", 1);
    add(&f, rule, strlen(rule));
    add(&f, "\n", 1);
    return f;
}

static zone *
open_file(const file *f)
{
    zone *z;

    CHECK_OK(zone_parse(view_of(f->at, f->len), &z));
    return z;
}

static void
expect_refused(const file *f)
{
    zone *z;

    CHECK_EQ(zone_parse(view_of(f->at, f->len), &z), E_BAD);
    CHECK(z == NULL);
    err_clear();
}

static void
a_name_cannot_lead_out_of_the_directory(void **state)
{
    static const char *const good[] = { "UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+5", "EST5EDT" };
    static const char *const evil[] = { "", "/", "/etc/localtime", "..", "../x", "Europe/", "Europe//Berlin",
                                        "a.b", "Europe/Ber lin", "Europe\\Berlin", "a%00b" };
    char                     wide[66];
    zone                    *z;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++)
        CHECK(zone_name_is_valid(view_str(good[i])));
    for (size_t i = 0; i < COUNT_OF(evil); i++) {
        CHECK(!zone_name_is_valid(view_str(evil[i])));
        CHECK_EQ(zone_open(view_str(evil[i]), &z), E_NOTFOUND);
    }
    CHECK(!zone_name_is_valid(view_of("UTC\0x", 5)));
    memset(wide, 'a', sizeof wide);
    CHECK(zone_name_is_valid(view_of(wide, 64)));
    CHECK(!zone_name_is_valid(view_of(wide, 65)));
    err_clear();
}

static void
zones_of_the_system_open_again_and_again(void **state)
{
    zone *a, *b;

    (void)state;
    CHECK_OK(zone_open(VIEW_LIT("Europe/Berlin"), &a));
    CHECK_OK(zone_open(VIEW_LIT("Europe/Berlin"), &b));
    CHECK(a == b);
    zone_close(&b);
    CHECK(b == NULL);
    CHECK_EQ(zone_offset(a, 1774746000 - 1), 3600); /* 2026-03-29T01:00:00Z */
    CHECK_EQ(zone_offset(a, 1774746000), 7200);
    /* More names than are kept: those in use stay whole. */
    for (int32_t h = -14; h <= 12; h++)
        for (int32_t round = 0; round < 3; round++) {
            static const char *const names[] = { "Etc/GMT%+d", "Etc/GMT%+d", "Etc/../GMT%+d" };
            char                     name[32];
            zone                    *z;

            (void)snprintf(name, sizeof name, names[round], h);
            if (round == 2) {
                CHECK_EQ(zone_open(view_str(name), &z), E_NOTFOUND);
                continue;
            }
            CHECK_OK(zone_open(view_str(name), &z));
            CHECK_EQ(zone_offset(z, 0), -3600 * h);
            zone_close(&z);
        }
    CHECK_EQ(zone_offset(a, 1774746000), 7200);
    zone_close(&a);
    CHECK_EQ(zone_open(VIEW_LIT("Europe"), &a), E_BAD); /* a directory */
    CHECK_EQ(zone_open(VIEW_LIT("Europe/Nowhere"), &a), E_NOTFOUND);
    CHECK_EQ(zone_open(VIEW_LIT("UTC/x"), &a), E_NOTFOUND);
    err_clear();
}

static void
a_midnight_that_is_skipped_is_the_first_second_behind(void **state)
{
    /* At local 23:30 (+1) clocks go to 00:30 (+2). */
    int64_t at = 100 * DAY - 1800 - 3600;
    file    f = make(&at, 1, "");
    zone   *z = open_file(&f);

    (void)state;
    CHECK_EQ(zone_first(z, 100 * DAY), at);
    CHECK_EQ(zone_first(z, 99 * DAY), 99 * DAY - 3600);
    CHECK_EQ(zone_first(z, 101 * DAY), 101 * DAY - 7200);
    zone_close(&z);
}

static void
a_midnight_that_comes_twice_is_the_first(void **state)
{
    /* Summer until local 00:10 (+2), which is then 23:10 (+1). */
    int64_t at[] = { 50 * DAY, 100 * DAY + 600 - 7200 };
    file    f = make(at, 2, "");
    zone   *z = open_file(&f);

    (void)state;
    CHECK_EQ(zone_first(z, 100 * DAY), 100 * DAY - 7200);
    CHECK_EQ(zone_first(z, 101 * DAY), 101 * DAY - 3600);
    zone_close(&z);
}

static void
the_rule_goes_on_behind_the_table_for_ever(void **state)
{
    int64_t        last = 1774746000; /* 2026-03-29T01:00:00Z */
    file           f = make(&last, 1, "CET-1CEST,M3.5.0,M10.5.0/3");
    zone          *z = open_file(&f);
    const int64_t  cycle = 146097 * DAY;

    (void)state;
    for (int64_t k = 0; k < 19; k++) {
        int64_t summer = last + k * cycle, winter = 1792890000 + k * cycle; /* 2026-10-25T01:00:00Z */

        CHECK_EQ(zone_offset(z, summer - 1), 3600);
        CHECK_EQ(zone_offset(z, summer), 7200);
        CHECK_EQ(zone_offset(z, winter - 1), 7200);
        CHECK_EQ(zone_offset(z, winter), 3600);
        CHECK_EQ(zone_first(z, winter), winter - 7200); /* local 01:00, before the hour that comes twice */
    }
    zone_close(&z);
}

static void
summer_all_the_year_is_summer_every_second(void **state)
{
    file  f = make(NULL, 0, "XXX3EDT4,0/0,J365/23");
    zone *z = open_file(&f);

    (void)state;
    /* Summer here is an hour behind: it ends at 23:00 of its last day, when it begins again. */
    for (int64_t t = 1735689600 + 4 * 3600; t < 1735689600 + 3 * 366 * DAY; t += 1800)
        CHECK_EQ(zone_offset(z, t), -4 * 3600);
    zone_close(&z);
}

static void
what_is_malformed_is_refused(void **state)
{
    static const char *const rules[] = { "C-1", "CET", "CET-25", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0",
                                         "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "<CET-1", "CET-1:60",
                                         "CET-1CEST,J0,J5", "CET-1CEST,366,5", "CET-1CEST,1/168,5", "CET-1x", "CET-1CEST,1,5," };
    int64_t                  up[] = { 5, 4 };
    file                     f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        f = make(NULL, 0, rules[i]);
        expect_refused(&f);
    }
    f = make(up, 2, "");
    expect_refused(&f); /* times fall */
    f = make(up, 1, "CET-1CEST,M3.5.0,M10.5.0/3");
    for (size_t len = f.len; len-- > 0;) {
        file cut = f;

        cut.len = len;
        expect_refused(&cut);
    }
    file index = f;
    index.at[44 + 10 + 44 + 8] = 2; /* a type that is not there */
    expect_refused(&index);
    file leaps = f;
    leaps.at[44 + 10 + 31] = 1;
    expect_refused(&leaps);
    file wide = f;
    wide.at[44 + 10 + 44 + 9] = 1; /* an offset of half a year */
    expect_refused(&wide);
    file old = f;
    old.at[4] = 0;
    expect_refused(&old);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_cannot_lead_out_of_the_directory),
        TEST(zones_of_the_system_open_again_and_again),
        TEST(a_midnight_that_is_skipped_is_the_first_second_behind),
        TEST(a_midnight_that_comes_twice_is_the_first),
        TEST(the_rule_goes_on_behind_the_table_for_ever),
        TEST(summer_all_the_year_is_summer_every_second),
        TEST(what_is_malformed_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
