#include "tests/unit/check.h"

#include "proto/readings.h"

#include <math.h>
#include <stdlib.h>

enum { ITEMS_MAX = 16 };

/* Bodies are written in pieces: literals of bytes, and the heads that carry a length. */
static struct {
    size_t  len;
    uint8_t at[100000];
} body;

static readings_decoder d;
static reading          items[ITEMS_MAX];
static int              item_count;

static void
raw(const void *from, size_t len)
{
    CHECK(len <= sizeof body.at - body.len);
    memcpy(body.at + body.len, from, len);
    body.len += len;
}

#define RAW(bytes) raw("" bytes, sizeof(bytes) - 1)

static void
str(const char *s)
{
    size_t        len = strlen(s);
    const uint8_t head[] = { 0xda, (uint8_t)(len >> 8), (uint8_t)len };
    const uint8_t fix = (uint8_t)(0xa0 | len);

    if (len < 32)
        raw(&fix, 1);
    else
        raw(head, sizeof head);
    raw(s, len);
}

static void
big(uint8_t head, uint64_t v, size_t bytes)
{
    raw(&head, 1);
    for (size_t i = bytes; i-- > 0;)
        raw(&(uint8_t){ (uint8_t)(v >> (8 * i)) }, 1);
}

static void
number(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    big(0xcb, bits, 8);
}

/* The outer object with an array of `count` readings to come. */
static void
begin(uint32_t count)
{
    body.len = 0;
    RAW("\x81");
    str("readings");
    big(0xdc, count, 2);
}

enum { NO_MACHINE = 1, NO_TIME = 2, NO_METRIC = 4, NO_VALUE = 8, NO_UNIT = 16 };

/* A good reading without some members, and with `extra` to come. */
static void
good_but(uint32_t without, uint32_t extra)
{
    uint32_t count = 5 - (uint32_t)__builtin_popcount(without) + extra;

    raw(&(uint8_t){ (uint8_t)(0x80 | count) }, 1);
    if ((without & NO_MACHINE) == 0) {
        str("machine_identifier");
        str("CNC-001");
    }
    if ((without & NO_TIME) == 0) {
        str("timestamp");
        str("2026-02-27T10:30:00Z");
    }
    if ((without & NO_METRIC) == 0) {
        str("metric_name");
        str("temperature");
    }
    if ((without & NO_VALUE) == 0) {
        str("value");
        number(72.5);
    }
    if ((without & NO_UNIT) == 0) {
        str("unit");
        str("celsius");
    }
}

static enum readings_next
decode_bytes(const uint8_t *at, size_t len)
{
    static const uint32_t windows[] = { 1, 2, 3, 7, 16, 40, READINGS_WINDOW };
    reading            r;
    enum readings_next got = READINGS_END, first = READINGS_END;
    enum reading_error error = READING_OK;
    int                count = 0;
    uint8_t           *exact = malloc(len > 0 ? len : 1); /* nothing readable behind it */

    CHECK(exact != NULL);
    memcpy(exact, at, len);
    for (size_t i = 0; i < COUNT_OF(windows); i++) { /* stops between any two values change nothing */
        readings_msgpack_start(&d, view_of(exact, len));
        d.window = windows[i];
        for (item_count = 0; (got = readings_msgpack_next(&d, &r)) > READINGS_END;) {
            if (got == READINGS_PAUSE)
                continue;
            if (item_count < ITEMS_MAX)
                items[item_count] = r;
            item_count++;
        }
        CHECK_EQ(readings_msgpack_next(&d, &r), got);
        if (i == 0) {
            first = got;
            count = item_count;
            error = count > 0 ? items[0].error : READING_OK;
        }
        CHECK_EQ(got, first);
        CHECK_EQ(item_count, count);
        CHECK(count == 0 || items[0].error == error);
    }
    free(exact);
    return got;
}

static enum readings_next
decode(void)
{
    return decode_bytes(body.at, body.len);
}

static enum reading_error
only(void)
{
    CHECK_EQ(decode(), READINGS_END);
    CHECK_EQ(item_count, 1);
    return items[0].error;
}

static void
a_good_body_gives_its_readings(void **state)
{
    reading r;

    (void)state;
    begin(2);
    good_but(0, 0);
    good_but(0, 1);
    str("raw_tag");
    str("ns=2");
    readings_msgpack_start(&d, view_of(body.at, body.len));
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(readings_msgpack_next(&d, &r), READINGS_ITEM);
        CHECK_EQ(r.error, READING_OK);
        CHECK_VIEW(r.machine, "CNC-001");
        CHECK_VIEW(r.metric, "temperature");
        CHECK_VIEW(r.unit, "celsius");
        CHECK(r.time_us == 1772188200000000);
        CHECK(r.value == 72.5);
    }
    CHECK_EQ(readings_msgpack_next(&d, &r), READINGS_END);
    CHECK_EQ(readings_offset(&d), body.len);
}

static void
each_missing_or_mistyped_field_has_its_code(void **state)
{
    static const struct {
        uint32_t           without;
        const char        *name;
        enum reading_error missing;
        enum reading_error nil;
    } cases[] = {
        { NO_MACHINE, "machine_identifier", READING_MACHINE_MISSING, READING_MACHINE_TYPE },
        { NO_TIME, "timestamp", READING_TIME_MISSING, READING_TIME_TYPE },
        { NO_METRIC, "metric_name", READING_METRIC_MISSING, READING_METRIC_TYPE },
        { NO_VALUE, "value", READING_VALUE_MISSING, READING_VALUE_TYPE },
        { NO_UNIT, "unit", READING_UNIT_MISSING, READING_UNIT_TYPE },
        { 0, "raw_tag", READING_OK, READING_TAG_TYPE },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        begin(1);
        good_but(cases[i].without, 0);
        CHECK_EQ(only(), cases[i].missing);
        begin(1);
        good_but(cases[i].without, 1);
        str(cases[i].name);
        RAW("\xc0");
        CHECK_EQ(only(), cases[i].nil);
        begin(1);
        good_but(cases[i].without, 1);
        str(cases[i].name);
        RAW("\x92\x81\x01\x90\xc3"); /* [{1: []}, true] */
        CHECK_EQ(only(), cases[i].nil);
    }
}

static void
what_is_no_map_is_no_reading(void **state)
{
    (void)state;
    begin(4);
    RAW("\x05\xc0\x91\x01");
    good_but(0, 0);
    CHECK_EQ(decode(), READINGS_END);
    CHECK_EQ(item_count, 4);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(items[i].error, READING_NOT_OBJECT);
    CHECK_EQ(items[3].error, READING_OK);
}

static void
a_member_twice_is_told_by_name(void **state)
{
    (void)state;
    begin(1);
    good_but(0, 1);
    str("unit");
    str("kelvin");
    CHECK_EQ(only(), READING_DUPLICATE);
    CHECK_VIEW(items[0].member, "unit");
    begin(1);
    good_but(0, 3);
    str("x");
    RAW("\x01");
    str("x");
    RAW("\xd9\x01\xff"); /* nobody looks into what nobody asked for */
    RAW("\x07\x08");     /* a name that is no string */
    CHECK_EQ(only(), READING_OK);
}

static double
value_of(const char *bytes, size_t len)
{
    begin(1);
    good_but(NO_VALUE, 1);
    str("value");
    raw(bytes, len);
    CHECK_EQ(only(), READING_OK);
    return items[0].value;
}

#define VALUE_OF(bytes) value_of(bytes, sizeof(bytes) - 1)

static void
every_number_is_a_value(void **state)
{
    (void)state;
    CHECK(VALUE_OF("\x00") == 0);
    CHECK(VALUE_OF("\x7f") == 127);
    CHECK(VALUE_OF("\xe0") == -32);
    CHECK(VALUE_OF("\xff") == -1);
    CHECK(VALUE_OF("\xcc\xff") == 255);
    CHECK(VALUE_OF("\xcd\xff\xff") == 65535);
    CHECK(VALUE_OF("\xce\xff\xff\xff\xff") == 4294967295.0);
    CHECK(VALUE_OF("\xcf\x00\x20\x00\x00\x00\x00\x00\x00") == 9007199254740992.0);
    CHECK(VALUE_OF("\xcf\xff\xff\xff\xff\xff\xff\xff\xff") == 18446744073709551616.0);
    CHECK(VALUE_OF("\xd0\x80") == -128);
    CHECK(VALUE_OF("\xd1\x80\x00") == -32768);
    CHECK(VALUE_OF("\xd2\x80\x00\x00\x00") == -2147483648.0);
    CHECK(VALUE_OF("\xd3\x80\x00\x00\x00\x00\x00\x00\x00") == -9223372036854775808.0);
    CHECK(VALUE_OF("\xd3\x00\x00\x00\x00\x00\x00\x00\x05") == 5);
    CHECK(VALUE_OF("\xca\x42\x91\x00\x00") == 72.5);
    CHECK(VALUE_OF("\xcb\x40\x52\x20\x00\x00\x00\x00\x00") == 72.5);
}

static void
a_value_must_be_finite(void **state)
{
    static const double cases[] = { (double)NAN, (double)INFINITY, (double)-INFINITY };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        begin(1);
        good_but(NO_VALUE, 1);
        str("value");
        number(cases[i]);
        CHECK_EQ(only(), READING_VALUE_FINITE);
    }
    begin(1);
    good_but(NO_VALUE, 1);
    str("value");
    RAW("\xca\x7f\x80\x00\x00");
    CHECK_EQ(only(), READING_VALUE_FINITE);
}

static enum reading_error
time_error(const char *bytes, size_t len)
{
    begin(1);
    good_but(NO_TIME, 1);
    str("timestamp");
    raw(bytes, len);
    return only();
}

#define TIME_ERROR(bytes) time_error(bytes, sizeof(bytes) - 1)

static void
the_timestamp_extension_is_a_timestamp(void **state)
{
    (void)state;
    CHECK_EQ(TIME_ERROR("\xd6\xff\x69\xa1\x72\x28"), READING_OK);
    CHECK(items[0].time_us == 0x69a17228 * INT64_C(1000000));
    /* 500 000 999 ns << 34 | 0x69a17228 */
    uint64_t wide = UINT64_C(500000999) << 34 | 0x69a17228;

    begin(1);
    good_but(NO_TIME, 1);
    str("timestamp");
    RAW("\xd7\xff");
    for (int i = 7; i >= 0; i--)
        raw(&(uint8_t){ (uint8_t)(wide >> (8 * i)) }, 1);
    CHECK_EQ(only(), READING_OK);
    CHECK(items[0].time_us == 0x69a17228 * INT64_C(1000000) + 500000);
    CHECK_EQ(TIME_ERROR("\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xff\xff\xff\xff\xff"), READING_OK);
    CHECK(items[0].time_us == -1);
    CHECK_EQ(TIME_ERROR("\xc7\x0c\xff\x3b\x9a\xca\x00\xff\xff\xff\xff\xff\xff\xff\xff"), READING_TIME_FORMAT);
    CHECK_EQ(TIME_ERROR("\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), READING_TIME_FORMAT);
    CHECK_EQ(TIME_ERROR("\xd7\xff\xff\xff\xff\xff\x00\x00\x00\x00"), READING_TIME_FORMAT);
    CHECK_EQ(TIME_ERROR("\xd5\xff\x00\x00"), READING_TIME_FORMAT);
    CHECK_EQ(TIME_ERROR("\xd6\x01\x69\xa1\x72\x28"), READING_TIME_TYPE);
    CHECK_EQ(TIME_ERROR("\xce\x69\xa1\x72\x28"), READING_TIME_TYPE);
    CHECK_EQ(TIME_ERROR("\xa3now"), READING_TIME_FORMAT);
}

static enum reading_error
with_repeated(const char *name, uint32_t without, const char *piece, int count)
{
    static char text[2000];
    size_t      len = 0;

    for (int i = 0; i < count; i++) {
        memcpy(text + len, piece, strlen(piece));
        len += strlen(piece);
    }
    text[len] = '\0';
    begin(1);
    good_but(without, 1);
    str(name);
    str(text);
    return only();
}

static void
lengths_are_counted_in_characters(void **state)
{
    static const char *const pieces[] = { "a", "\xc2\xb5", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        CHECK_EQ(with_repeated("metric_name", NO_METRIC, pieces[i], 0), READING_METRIC_LEN);
        CHECK_EQ(with_repeated("metric_name", NO_METRIC, pieces[i], 255), READING_OK);
        CHECK_EQ(with_repeated("metric_name", NO_METRIC, pieces[i], 256), READING_METRIC_LEN);
        CHECK_EQ(with_repeated("unit", NO_UNIT, pieces[i], 64), READING_OK);
        CHECK_EQ(with_repeated("unit", NO_UNIT, pieces[i], 65), READING_UNIT_LEN);
        CHECK_EQ(with_repeated("raw_tag", 0, pieces[i], 255), READING_OK);
        CHECK_EQ(with_repeated("raw_tag", 0, pieces[i], 256), READING_TAG_LEN);
    }
}

static void
a_body_of_another_shape_says_which(void **state)
{
    static const struct {
        const char *bytes;
        size_t      len;
        const char *type;
    } cases[] = {
        { "\x80", 1, "missing" },
        { "\x81\xa1r\x90", 4, "missing" },
        { "\x81\xa8readings\xc0", 11, "array_type" },
        { "\x82\xa8readings\x81\x01\x90\x01\x02", 14 + 1, "array_type" },
        { "\x90", 1, "object_type" },
        { "\x91\x81\xa1x\x01", 5, "object_type" },
        { "\xc0", 1, "object_type" },
        { "\x05", 1, "object_type" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_EQ(decode_bytes((const uint8_t *)cases[i].bytes, cases[i].len), READINGS_SCHEMA);
        assert_string_equal(readings_schema_type(&d), cases[i].type);
    }
}

static void
outer_members_may_stand_around(void **state)
{
    (void)state;
    body.len = 0;
    RAW("\x83\x01\x93\x01\x02\x81\x03\x04");
    str("readings");
    RAW("\x91");
    good_but(0, 0);
    RAW("\xa1z\xc4\x02\x00\x00");
    CHECK_EQ(decode(), READINGS_END);
    CHECK_EQ(item_count, 1);
    CHECK_EQ(items[0].error, READING_OK);
}

static void
every_cut_of_a_body_is_broken(void **state)
{
    (void)state;
    body.len = 0;
    RAW("\x82\xa1y\xc7\x01\x05\x00");
    str("readings");
    RAW("\x92");
    good_but(0, 2);
    str("x");
    RAW("\xdd\x00\x00\x00\x02\xd9\x03" "abc\xdf\x00\x00\x00\x01\x01\xca\x00\x00\x00\x00");
    str("raw_tag");
    RAW("\xdb\x00\x00\x00\x02\xc2\xb5");
    good_but(NO_UNIT, 0);
    CHECK_EQ(decode(), READINGS_END);
    CHECK_EQ(item_count, 2);
    CHECK_EQ(items[0].error, READING_OK);
    for (size_t len = 0; len < body.len; len++)
        CHECK_EQ(decode_bytes(body.at, len), READINGS_SYNTAX);
    RAW("\x00");
    CHECK_EQ(decode(), READINGS_SYNTAX);
}

static void
lying_lengths_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t      len;
    } cases[] = {
        { "\xdd\x10\x00\x00\x00", 5 },
        { "\xdf\xff\xff\xff\xff", 5 },
        { "\xdf\x80\x00\x00\x00", 5 },
        { "\xdb\xff\xff\xff\xff", 5 },
        { "\xc6\xff\xff\xff\xff", 5 },
        { "\xc9\xff\xff\xff\xff\xff", 6 },
        { "\x81\xa8readings\xdd\xff\xff\xff\xff", 15 },
        { "\x81\xa8readings\xdc\x00\x02\xc0", 14 },
        { "\x81\xa8readings\x91\xdf\x7f\xff\xff\xff", 16 },
        { "\x81\xa8readings\x91\x81\xa1x\xdd\x00\xff\xff\xff", 19 },
        { "\x81\xa8readings\x91\xc1", 12 },
        { "\x82\xa8readings\x90\xa8readings\x90", 21 },
        { "\x81\xa8readings\x91\x81\xa4unit\xa1\xff", 19 },
        { "\x81\xa8readings\x91\x81\xa4unit\xa3\xed\xa0\x80", 21 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (decode_bytes((const uint8_t *)cases[i].bytes, cases[i].len) != READINGS_SYNTAX)
            fail_msg("case %zu", i);
}

static void
nesting_costs_nothing(void **state)
{
    (void)state;
    body.len = 0;
    RAW("\x82\xa1x");
    for (int i = 0; i < 90000; i++)
        RAW("\x91");
    RAW("\x00");
    str("readings");
    RAW("\x90");
    CHECK_EQ(decode(), READINGS_END);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_body_gives_its_readings),
        TEST(each_missing_or_mistyped_field_has_its_code),
        TEST(what_is_no_map_is_no_reading),
        TEST(a_member_twice_is_told_by_name),
        TEST(every_number_is_a_value),
        TEST(a_value_must_be_finite),
        TEST(the_timestamp_extension_is_a_timestamp),
        TEST(lengths_are_counted_in_characters),
        TEST(a_body_of_another_shape_says_which),
        TEST(outer_members_may_stand_around),
        TEST(every_cut_of_a_body_is_broken),
        TEST(lying_lengths_are_refused),
        TEST(nesting_costs_nothing),
    };

    return cmocka_run_group_tests_name("proto/readings_msgpack", tests, NULL, NULL);
}
