#include "tests/unit/check.h"

#include "proto/readings.h"

#include <stdlib.h>

enum { PADDING = 16, ITEMS_MAX = 64 };

static readings_decoder d;
static uint8_t         *body; /* exactly as long as promised, so that a sanitizer sees every step behind it */
static reading          items[ITEMS_MAX];
static int              item_count;

static void
begin(view text, uint8_t padding)
{
    free(body);
    body = malloc(text.len + PADDING);
    CHECK(body != NULL);
    memcpy(body, text.at, text.len);
    memset(body + text.len, padding, PADDING);
    readings_json_start(&d, view_of(body, text.len));
}

static enum readings_next
drain(void)
{
    reading            r;
    enum readings_next got;

    for (item_count = 0; (got = readings_json_next(&d, &r)) > READINGS_END;) {
        if (got == READINGS_PAUSE)
            continue;
        if (item_count < ITEMS_MAX)
            items[item_count] = r;
        item_count++;
    }
    CHECK_EQ(readings_json_next(&d, &r), got); /* the last result repeats */
    return got;
}

static bool
is_same(const reading *a, const reading *b)
{
    return a->error == b->error && view_eq(a->machine, b->machine) && a->metric.len == b->metric.len &&
           a->unit.len == b->unit.len && view_eq(a->member, b->member) && a->time_us == b->time_us && a->value == b->value;
}

/* The same again with stops between any two bytes. */
static void
check_windows(enum readings_next end, void (*start)(readings_decoder *d, view body), view text)
{
    static const uint32_t windows[] = { 1, 2, 3, 7, 16, 40, 1000 };
    static reading        first[ITEMS_MAX];
    int                   count = item_count;

    memcpy(first, items, sizeof first);
    for (size_t i = 0; i < COUNT_OF(windows); i++) {
        start(&d, text);
        d.window = windows[i];
        CHECK_EQ(drain(), end);
        CHECK_EQ(item_count, count);
        for (int n = 0; n < count && n < ITEMS_MAX; n++)
            CHECK(is_same(&first[n], &items[n]) || items[n].machine.len > 300); /* a view of scratch is gone */
    }
    start(&d, text);
    CHECK_EQ(drain(), end);
}

static enum readings_next
decode(const char *text)
{
    enum readings_next got;

    begin(view_str(text), '"');
    got = drain();
    check_windows(got, readings_json_start, view_of(body, strlen(text)));
    return got;
}

/* The body's only reading. */
static reading
only(const char *members)
{
    static char text[300000];

    snprintf(text, sizeof text, "{\"readings\":[%s]}", members);
    if (decode(text) != READINGS_END || item_count != 1)
        fail_msg("%.100s: %d items", text, item_count);
    return items[0];
}

#define MACHINE "\"machine_identifier\":\"CNC-001\""
#define TIME "\"timestamp\":\"2026-02-27T10:30:00Z\""
#define METRIC "\"metric_name\":\"temperature\""
#define VALUE "\"value\":72.5"
#define UNIT "\"unit\":\"celsius\""
#define GOOD "{" MACHINE "," TIME "," METRIC "," VALUE "," UNIT "}"

static void
check_good(const reading *r)
{
    CHECK_EQ(r->error, READING_OK);
    CHECK_VIEW(r->machine, "CNC-001");
    CHECK_VIEW(r->metric, "temperature");
    CHECK_VIEW(r->unit, "celsius");
    CHECK(r->time_us == 1772188200000000);
    CHECK(r->value == 72.5);
}

static void
a_good_body_gives_its_readings(void **state)
{
    (void)state;
    CHECK_EQ(decode("{\"readings\":[" GOOD "," GOOD "]}"), READINGS_END);
    CHECK_EQ(item_count, 2);
    check_good(&items[0]);
    check_good(&items[1]);
    CHECK_EQ(readings_offset(&d), strlen("{\"readings\":[" GOOD "," GOOD "]}"));
    CHECK_EQ(decode(" \n{ \"a\" : [1,{\"b\":null}] , \"readings\" : [ " GOOD " , \r\n\t" GOOD
                    " ] , \"z\":\"\xc2\xb5\" } \n"),
             READINGS_END);
    CHECK_EQ(item_count, 2);
    CHECK_EQ(decode("{\"readings\":[]}"), READINGS_END);
    CHECK_EQ(item_count, 0);
}

static void
members_come_in_any_order_and_shape(void **state)
{
    static const char *const m[] = { MACHINE, TIME, METRIC, VALUE, UNIT, "\"raw_tag\":\"ns=2;s=T1\"",
                                     "\"extra\":{\"value\":[1,\"x\",{}]}" };
    enum { N = COUNT_OF(m) };

    (void)state;
    for (int turn = 0; turn < N; turn++)
        for (int step = 1; step < N; step++) {
            char text[1000] = "{";

            for (int i = 0; i < N; i++) {
                strcat(text, i > 0 ? " , " : " ");
                strcat(text, m[(turn + i * step) % N]);
            }
            reading r = only(strcat(text, "\n}"));

            check_good(&r);
        }
}

static void
each_fault_has_its_code(void **state)
{
    static const struct {
        const char        *text;
        enum reading_error error;
    } cases[] = {
        { "42", READING_NOT_OBJECT },
        { "null", READING_NOT_OBJECT },
        { "[]", READING_NOT_OBJECT },
        { "\"{}\"", READING_NOT_OBJECT },
        { "{}", READING_MACHINE_MISSING },
        { "{" TIME "," METRIC "," VALUE "," UNIT "}", READING_MACHINE_MISSING },
        { "{\"machine_identifier\":null," TIME "," METRIC "," VALUE "," UNIT "}", READING_MACHINE_TYPE },
        { "{\"machine_identifier\":17," TIME "," METRIC "," VALUE "," UNIT "}", READING_MACHINE_TYPE },
        { "{" MACHINE "," METRIC "," VALUE "," UNIT "}", READING_TIME_MISSING },
        { "{" MACHINE ",\"timestamp\":1772188200," METRIC "," VALUE "," UNIT "}", READING_TIME_TYPE },
        { "{" MACHINE ",\"timestamp\":\"\"," METRIC "," VALUE "," UNIT "}", READING_TIME_FORMAT },
        { "{" MACHINE ",\"timestamp\":\"2026-02-30T10:30:00Z\"," METRIC "," VALUE "," UNIT "}",
          READING_TIME_FORMAT },
        { "{" MACHINE "," TIME "," VALUE "," UNIT "}", READING_METRIC_MISSING },
        { "{" MACHINE "," TIME ",\"metric_name\":true," VALUE "," UNIT "}", READING_METRIC_TYPE },
        { "{" MACHINE "," TIME ",\"metric_name\":\"\"," VALUE "," UNIT "}", READING_METRIC_LEN },
        { "{" MACHINE "," TIME "," METRIC "," UNIT "}", READING_VALUE_MISSING },
        { "{" MACHINE "," TIME "," METRIC ",\"value\":NaN," UNIT "}", READING_VALUE_FINITE },
        { "{" MACHINE "," TIME "," METRIC ",\"value\":Infinity," UNIT "}", READING_VALUE_FINITE },
        { "{" MACHINE "," TIME "," METRIC ",\"value\":-Infinity," UNIT "}", READING_VALUE_FINITE },
        { "{" MACHINE "," TIME "," METRIC ",\"value\":1e999," UNIT "}", READING_VALUE_FINITE },
        { "{" MACHINE "," TIME "," METRIC ",\"value\":-1e999," UNIT "}", READING_VALUE_FINITE },
        { "{" MACHINE "," TIME "," METRIC ",\"value\":\"72.5\"," UNIT "}", READING_VALUE_TYPE },
        { "{" MACHINE "," TIME "," METRIC ",\"value\":null," UNIT "}", READING_VALUE_TYPE },
        { "{" MACHINE "," TIME "," METRIC ",\"value\":true," UNIT "}", READING_VALUE_TYPE },
        { "{" MACHINE "," TIME "," METRIC ",\"value\":{\"a\":1}," UNIT "}", READING_VALUE_TYPE },
        { "{" MACHINE "," TIME "," METRIC ",\"value\":[[]]," UNIT "}", READING_VALUE_TYPE },
        { "{" MACHINE "," TIME "," METRIC "," VALUE "}", READING_UNIT_MISSING },
        { "{" MACHINE "," TIME "," METRIC "," VALUE ",\"unit\":null}", READING_UNIT_TYPE },
        { "{" MACHINE "," TIME "," METRIC "," VALUE "," UNIT ",\"raw_tag\":5}", READING_TAG_TYPE },
        { "{" MACHINE "," TIME "," METRIC "," VALUE "," UNIT "," VALUE "}", READING_DUPLICATE },
        { "{" MACHINE "," TIME "," METRIC "," VALUE "," UNIT ",\"x\":1,\"x\":2}", READING_OK },
        { "{" MACHINE "," TIME "," METRIC "," VALUE ",\"unit\":\"\"}", READING_OK },
        { "{" MACHINE "," TIME "," METRIC "," VALUE "," UNIT ",\"raw_tag\":\"\"}", READING_OK },
        { "{\"machine_identifier\":\"\"," TIME "," METRIC "," VALUE "," UNIT "}", READING_OK },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        reading r = only(cases[i].text);

        if (r.error != cases[i].error)
            fail_msg("%s: error %d, not %d", cases[i].text, r.error, cases[i].error);
    }
}

static void
the_first_field_in_the_tables_order_is_told(void **state)
{
    (void)state;
    CHECK_EQ(only("{\"unit\":1,\"value\":1,\"metric_name\":1,\"timestamp\":1}").error, READING_MACHINE_MISSING);
    CHECK_EQ(only("{\"unit\":1,\"value\":\"1\",\"metric_name\":\"\",\"timestamp\":\"x\"," MACHINE "}").error,
             READING_TIME_FORMAT);
    CHECK_EQ(only("{\"unit\":1,\"value\":\"1\",\"metric_name\":\"\"," TIME "," MACHINE "}").error,
             READING_METRIC_LEN);
    CHECK_EQ(only("{\"unit\":1,\"value\":\"1\"," METRIC "," TIME "," MACHINE "}").error, READING_VALUE_TYPE);
    CHECK_EQ(only("{\"raw_tag\":1,\"unit\":1," VALUE "," METRIC "," TIME "," MACHINE "}").error,
             READING_UNIT_TYPE);
    CHECK_EQ(only("{\"unit\":1,\"unit\":2}").error, READING_DUPLICATE);
}

static void
what_is_good_is_filled_in_beside_a_fault(void **state)
{
    reading r = only("{" UNIT ",\"value\":\"x\"," METRIC "," TIME "," MACHINE "}");

    (void)state;
    CHECK_EQ(r.error, READING_VALUE_TYPE);
    CHECK_VIEW(r.machine, "CNC-001");
    CHECK_VIEW(r.metric, "temperature");
    CHECK_VIEW(r.unit, "celsius");
    CHECK(r.time_us == 1772188200000000);
    r = only("{" MACHINE "," MACHINE "," TIME "}");
    CHECK_EQ(r.error, READING_DUPLICATE);
    CHECK_VIEW(r.member, "machine_identifier");
    CHECK_VIEW(r.machine, "CNC-001");
    CHECK(r.time_us == 1772188200000000);
}

typedef struct long_text {
    size_t len;
    char   at[200000];
} long_text;

static void
add(long_text *t, const char *s)
{
    CHECK(strlen(s) < sizeof t->at - t->len);
    memcpy(t->at + t->len, s, strlen(s) + 1);
    t->len += strlen(s);
}

/* {..., "<member>":"<count times piece>"} with everything else good */
static enum reading_error
with_long(const char *member, const char *piece, int count)
{
    static long_text t;

    t.len = 0;
    add(&t, "{" MACHINE "," TIME "," VALUE);
    if (strcmp(member, "metric_name") != 0)
        add(&t, "," METRIC);
    if (strcmp(member, "unit") != 0)
        add(&t, "," UNIT);
    add(&t, ",\"");
    add(&t, member);
    add(&t, "\":\"");
    for (int i = 0; i < count; i++)
        add(&t, piece);
    add(&t, "\"}");
    return only(t.at).error;
}

static void
lengths_are_counted_in_characters(void **state)
{
    static const char *const pieces[] = { "a", "\xc2\xb5", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\\n",
                                          "\\u00b5", "\\ud83d\\ude00" };
    static const struct {
        const char        *member;
        int                max;
        enum reading_error error;
    } rules[] = {
        { "metric_name", 255, READING_METRIC_LEN },
        { "unit", 64, READING_UNIT_LEN },
        { "raw_tag", 255, READING_TAG_LEN },
    };

    (void)state;
    for (size_t p = 0; p < COUNT_OF(pieces); p++)
        for (size_t r = 0; r < COUNT_OF(rules); r++) {
            CHECK_EQ(with_long(rules[r].member, pieces[p], rules[r].max), READING_OK);
            CHECK_EQ(with_long(rules[r].member, pieces[p], rules[r].max + 1), rules[r].error);
            CHECK_EQ(with_long(rules[r].member, pieces[p], 10000), rules[r].error);
        }
}

static void
escapes_are_undone(void **state)
{
    reading r = only("{\"m\\u0061chine_identifier\":\"A\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20aC\\uD83D\\uDE00z\","
                     "\"\\u0074imestamp\":\"2026-02-27T10:30:00\\u005a\",\"metric_name\":\"\\u0000\","
                     "\"unit\":\"\xc2\xb0\\u0043\",\"\\u0076alue\":72.5}");

    (void)state;
    CHECK_EQ(r.error, READING_OK);
    CHECK_VIEW(r.machine, "A\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    CHECK_VIEW(r.unit, "\xc2\xb0" "C");
    CHECK(view_eq(r.metric, view_of("\0", 1)));
    CHECK(r.time_us == 1772188200000000);
    CHECK(r.value == 72.5);
    r = only("{" MACHINE ",\"machine_\\u0069dentifier\":\"B\"}");
    CHECK_EQ(r.error, READING_DUPLICATE);
    CHECK_VIEW(r.member, "machine_identifier");
}

/* Whatever stops a step of 16 or 32 bytes, wherever it stands. */
static void
strings_end_where_their_quote_is(void **state)
{
    static const struct {
        const char *written;
        const char *meant;
    } pieces[] = { { "x", "x" }, { "\\\"", "\"" }, { "\xe2\x82\xac", "\xe2\x82\xac" },
                   { "\x7f", "\x7f" } };
    static long_text written;
    static long_text meant;

    (void)state;
    for (int before = 0; before < 70; before++)
        for (int behind = 0; behind < 70; behind += 1 + behind / 4)
            for (size_t p = 0; p < COUNT_OF(pieces); p++) {
                written.len = meant.len = 0;
                add(&written, "{\"machine_identifier\":\"");
                for (int i = 0; i < before + behind; i++) {
                    add(&written, i == before ? pieces[p].written : "a");
                    add(&meant, i == before ? pieces[p].meant : "a");
                }
                add(&written, "\"," METRIC "}");
                reading r = only(written.at);

                CHECK(view_eq(r.machine, view_of(meant.at, meant.len)));
                CHECK_VIEW(r.metric, "temperature");
            }
}

static void
a_machine_that_is_cut_matches_no_shorter_one(void **state)
{
    static long_text t;
    reading     r;

    (void)state;
    t.len = 0;
    add(&t, "{\"machine_identifier\":\"A\\n");
    for (int i = 0; i < 20000; i++)
        add(&t, "\xe2\x82\xac");
    add(&t, "\"}");
    r = only(t.at);
    CHECK_EQ(r.machine.len, 2 + 3 * 426); /* whole characters */
    CHECK_EQ(r.error, READING_TIME_MISSING);
}

static void
broken_syntax_ends_the_body(void **state)
{
    static const char *const cases[] = {
        "", " ", "{", "}", "x", "nul", "{\"readings\"", "{\"readings\":", "{\"readings\":[", "{\"readings\":[{",
        "{\"readings\":[{}", "{\"readings\":[{}]", "{\"readings\":[{}]}x", "{\"readings\":[{}]}}",
        "{\"readings\":[{}],}", "{\"readings\":[{},]}", "{\"readings\":[,{}]}", "{\"readings\":[{}{}]}",
        "{\"readings\":[{} {}]}", "{\"readings\":[{\"value\"}]}", "{\"readings\":[{\"value\":}]}",
        "{\"readings\":[{\"value\":1,}]}", "{\"readings\":[{,\"value\":1}]}", "{\"readings\":[{\"value\" 1}]}",
        "{\"readings\":[{\"value\":01}]}", "{\"readings\":[{\"value\":1.}]}", "{\"readings\":[{\"value\":.5}]}",
        "{\"readings\":[{\"value\":+5}]}", "{\"readings\":[{\"value\":1e}]}", "{\"readings\":[{\"value\":-}]}",
        "{\"readings\":[{\"value\":nan}]}", "{\"readings\":[{\"value\":NaNx}]}", "{\"readings\":[{\"value\":+Infinity}]}",
        "{\"readings\":[{\"unit\":NaN}]}", "{\"readings\":[{\"x\":Infinity}]}", "{\"readings\":[NaN]}",
        "{\"readings\":[{\"value\":[NaN]}]}", "{\"x\":NaN,\"readings\":[]}",
        "{\"readings\":[{\"value\":tru}]}", "{\"readings\":[{\"value\":truex}]}", "{\"readings\":[{value:1}]}",
        "{\"readings\":[{'value':1}]}", "{\"readings\":[{\"x\":[1,]}]}", "{\"readings\":[{\"x\":[1}]}",
        "{\"readings\":[{\"x\":{\"a\":1]}}]}", "{\"readings\":[{\"x\":{\"a\"}}]}", "{\"readings\":[{\"x\":{1:2}}]}",
        "{\"readings\":[{\"unit\":\"a\nb\"}]}", "{\"readings\":[{\"unit\":\"a\x01\"}]}",
        "{\"readings\":[{\"unit\":\"\\x\"}]}", "{\"readings\":[{\"unit\":\"\\u12g4\"}]}",
        "{\"readings\":[{\"unit\":\"\\ud83d\"}]}", "{\"readings\":[{\"unit\":\"\\ude00\"}]}",
        "{\"readings\":[{\"unit\":\"\\ud83d\\u0041\"}]}", "{\"readings\":[{\"unit\":\"\\ud83dx\"}]}",
        "{\"readings\":[{\"unit\":\"\xff\"}]}", "{\"readings\":[{\"unit\":\"\xc0\x80\"}]}",
        "{\"readings\":[{\"unit\":\"\xed\xa0\x80\"}]}", "{\"readings\":[{\"unit\":\"\xf4\x90\x80\x80\"}]}",
        "{\"readings\":[{\"unit\":\"\xe0\x80\x80\"}]}", "{\"readings\":[{\"unit\":\"\xc2\"}]}",
        "{\"readings\":[{\"unit\":\"\x80\"}]}", "{\"readings\":[{\"x\":\"\xff\"}]}", "{\"readings\":[{\"\xff\":1}]}",
        "{\"\xff\":1,\"readings\":[]}", "{\"readings\":[],\"readings\":[]}", "{\"readings\":1,\"readings\":[]}",
        "\xef\xbb\xbf{\"readings\":[]}", "{\"readings\":[]}\xff", "{\"readings\":[] \"a\":1}",
        "{\"a\":1 \"readings\":[]}", "{\"a\",\"readings\":[]}", "{\"a\":tru,\"readings\":[]}", "[1,2", "\"abc",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (decode(cases[i]) != READINGS_SYNTAX)
            fail_msg("%s", cases[i]);
}

static void
every_cut_of_a_body_is_broken_whatever_lies_behind(void **state)
{
    static const char text[] = "{ \"a\":[{\"b\":-1.5e3}] ,\"readings\":[" GOOD ", {" MACHINE
                               ",\"unit\":\"\xe2\x82\xac\\u00e9\\\"\",\"value\":-Infinity,\"x\":[[],{}]}, 12 ]"
                               ",\"z\":true}";
    static const uint8_t padding[] = { 0, '"', '}', ']', ' ', '0', '\\', 0xff, ',' };

    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++)
        for (size_t i = 0; i < sizeof padding; i++) {
            begin(view_of(text, len), padding[i]);
            CHECK_EQ(drain(), READINGS_SYNTAX);
        }
    begin(view_of(text, sizeof text - 1), '"');
    CHECK_EQ(drain(), READINGS_END);
    CHECK_EQ(item_count, 3);
}

static void
a_body_of_another_shape_says_which(void **state)
{
    static const struct {
        const char *text;
        const char *type;
    } cases[] = {
        { "{}", "missing" },
        { "{\"reading\":[]}", "missing" },
        { "{\"x\":{\"readings\":[]}}", "missing" },
        { "{\"readings\":null}", "array_type" },
        { "{\"readings\":{\"a\":[]},\"x\":1}", "array_type" },
        { "{\"readings\":\"[]\"}", "array_type" },
        { "[]", "object_type" },
        { " [{\"readings\":[]}] ", "object_type" },
        { "null", "object_type" },
        { "\"x\"", "object_type" },
        { "12", "object_type" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_EQ(decode(cases[i].text), READINGS_SCHEMA);
        assert_string_equal(readings_schema_type(&d), cases[i].type);
    }
}

static enum readings_next
nested(int depth, const char *open, const char *close)
{
    static long_text t;

    t.len = 0;
    add(&t, "{\"readings\":[{\"x\":");
    for (int i = 0; i < depth; i++)
        add(&t, open);
    for (int i = 0; i < depth; i++)
        add(&t, close);
    add(&t, "}]}");
    return decode(t.at);
}

static void
nesting_is_bounded(void **state)
{
    (void)state;
    CHECK_EQ(nested(64, "[", "]"), READINGS_END);
    CHECK_EQ(nested(65, "[", "]"), READINGS_SYNTAX);
    CHECK_EQ(nested(63, "{\"a\":", "}"), READINGS_SYNTAX); /* no value inside */
    CHECK_EQ(nested(32, "{\"a\":[", "]}"), READINGS_END); /* 64 levels */
    CHECK_EQ(nested(33, "{\"a\":[", "]}"), READINGS_SYNTAX);
    CHECK_EQ(nested(1, "[1,[2],{\"a\":[]},", "{\"b\":{}}]"), READINGS_END);
    CHECK_EQ(nested(5000, "[", "]"), READINGS_SYNTAX);
}

static void
lines_are_readings(void **state)
{
    static const char text[] = "\n" GOOD "\n\r\n{\"value\":1}\r\n 12 \n" GOOD;

    (void)state;
    begin(view_of(text, sizeof text - 1), '{');
    readings_ndjson_start(&d, view_of(body, sizeof text - 1));
    CHECK_EQ(drain(), READINGS_END);
    CHECK_EQ(item_count, 4);
    check_good(&items[0]);
    CHECK_EQ(items[1].error, READING_MACHINE_MISSING);
    CHECK_EQ(items[2].error, READING_NOT_OBJECT);
    check_good(&items[3]);
    readings_ndjson_start(&d, view_of(body, 0));
    CHECK_EQ(drain(), READINGS_END);
}

static void
two_readings_in_a_line_are_broken(void **state)
{
    static const char text[] = "{} {}\n";

    (void)state;
    begin(view_of(text, sizeof text - 1), '\n');
    readings_ndjson_start(&d, view_of(body, sizeof text - 1));
    CHECK_EQ(drain(), READINGS_SYNTAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_body_gives_its_readings),
        TEST(members_come_in_any_order_and_shape),
        TEST(each_fault_has_its_code),
        TEST(the_first_field_in_the_tables_order_is_told),
        TEST(what_is_good_is_filled_in_beside_a_fault),
        TEST(lengths_are_counted_in_characters),
        TEST(escapes_are_undone),
        TEST(strings_end_where_their_quote_is),
        TEST(a_machine_that_is_cut_matches_no_shorter_one),
        TEST(broken_syntax_ends_the_body),
        TEST(every_cut_of_a_body_is_broken_whatever_lies_behind),
        TEST(a_body_of_another_shape_says_which),
        TEST(nesting_is_bounded),
        TEST(lines_are_readings),
        TEST(two_readings_in_a_line_are_broken),
    };
    int failed = cmocka_run_group_tests_name("proto/readings_json", tests, NULL, NULL);

    free(body);
    return failed;
}
