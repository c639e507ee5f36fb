#include "proto/json.h"
#include "proto/crypto.h"
#include "tests/unit/check.h"

#include <math.h>

#define WROTE(j, text)                                                                             \
    do {                                                                                           \
        CHECK(!(j)->failed);                                                                       \
        CHECK_VIEW(view_of((j)->at, (j)->len), text);                                              \
    } while (0)

static void
commas_come_by_themselves(void **state)
{
    json_out j = { 0 };

    (void)state;
    json_open(&j, '{');
    json_name_int(&j, "a", -1);
    json_name(&j, VIEW_LIT("b"));
    json_open(&j, '[');
    json_bool(&j, true);
    json_null(&j);
    json_open(&j, '{');
    json_close(&j, '}');
    json_uint(&j, UINT64_MAX);
    json_close(&j, ']');
    json_name_number(&j, "c", 72.5);
    json_name_number(&j, "d", NAN);
    json_name_time(&j, "e", INT64_MIN);
    json_name_time(&j, "f", 1500000);
    json_raw(&j, VIEW_LIT("7")); /* not checked: the caller's word */
    json_close(&j, '}');
    WROTE(&j,
          "{\"a\":-1,\"b\":[true,null,{},18446744073709551615],\"c\":72.5,\"d\":null,\"e\":null,"
          "\"f\":\"1970-01-01T00:00:01.500Z\",7}");
    json_reset(&j);
    json_string(&j, VIEW_LIT("x"));
    WROTE(&j, "\"x\"");
    json_out_free(&j);
}

static void
strings_are_escaped_and_broken_utf8_is_replaced(void **state)
{
    json_out j = { 0 };

    (void)state;
    json_string(&j, VIEW_LIT("a\"\\\n\r\t\x01\x7f\xc3\xa9\xf0\x9f\x98\x80"));
    WROTE(&j, "\"a\\\"\\\\\\n\\r\\t\\u0001\x7f\xc3\xa9\xf0\x9f\x98\x80\"");
    json_reset(&j);
    json_string(&j, VIEW_LIT("\xff.\xc3(\xed\xa0\x80\xf0\x9f"));
    WROTE(&j, "\"\xef\xbf\xbd.\xef\xbf\xbd("
              "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    json_out_free(&j);
}

static void
over_its_bound_it_fails_and_stays_failed(void **state)
{
    json_out j = { .max = 8 };

    (void)state;
    json_string(&j, VIEW_LIT("123456"));
    CHECK(!j.failed);
    json_null(&j);
    CHECK(j.failed && j.len == 8);
    json_string(&j, VIEW_LIT(""));
    CHECK(j.failed && j.len == 8);
    json_out_free(&j);
}

static void
json_is_read_strictly(void **state)
{
    static const char *const good[] = {
        "{}",
        " [ ] ",
        "0",
        "-0",
        "-1.5e+10",
        "\"\\u00e9\\ud83d\\ude00\\/\"",
        "null",
        "\t[1,\n2,{\"a\":[{}]}]\r\n",
        "{\"a\":1,\"a\":2}",
    };
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "[,]",
        "{\"a\"}",
        "{a:1}",
        "{'a':1}",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "-",
        "0x10",
        "NaN",
        "Infinity",
        "-Infinity",
        "tru",
        "nulll",
        "true false",
        "[1 2]",
        "[1]]",
        "\"a",
        "\"\n\"",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\u0000\"",
        "\"\xff\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\xef\xbb\xbf{}",
        "{} x",
        "[1}",
        "{\"a\":1]",
        "/**/1",
        "1\v",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        cJSON *tree = json_parse(view_str(good[i]));

        if (tree == NULL)
            fail_msg("refused: %s", good[i]);
        cJSON_Delete(tree);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (json_parse(view_str(bad[i])) != NULL)
            fail_msg("taken: %s", bad[i]);
    CHECK(json_parse(view_of("{}\0", 3)) == NULL);
}

static void
the_text_may_end_anywhere_in_memory(void **state)
{
    const char *text = "{\"a\":[1,2.5,\"x\\u00e9\",true,null]}";

    (void)state;
    for (size_t len = 0; len < strlen(text); len++) {
        char  *exact = test_malloc(len + (len == 0));
        cJSON *tree;

        memcpy(exact, text, len);
        tree = json_parse(view_of(exact, len));
        CHECK(tree == NULL);
        test_free(exact);
    }
}

static void
nesting_and_nodes_are_bounded(void **state)
{
    static char big[2 * 100000 + 2];
    char        deep[66];
    cJSON      *tree;

    (void)state;
    memset(deep, '[', 33);
    memset(deep + 33, ']', 33);
    CHECK(json_parse(view_of(deep, 66)) == NULL);
    tree = json_parse(view_of(deep + 1, 64));
    CHECK(tree != NULL);
    cJSON_Delete(tree);
    big[0] = '[';
    for (size_t i = 0; i < 100000; i++)
        memcpy(big + 1 + 2 * i, "1,", 2);
    big[2 * 100000] = ']'; /* over the last comma: 100 000 items and the array */
    CHECK(json_parse(view_of(big, 2 * 100000 + 1)) == NULL);
    big[2 * 99999] = ']';
    tree = json_parse(view_of(big, 2 * 99999 + 1));
    CHECK(tree != NULL && cJSON_GetArraySize(tree) == 99999);
    cJSON_Delete(tree);
}

/* Strings are looked at 16 bytes a step: a character that is not plain is found wherever it stands. */
static void
what_is_not_plain_is_found_at_every_place_of_every_length(void **state)
{
    static const struct {
        uint8_t     c;
        const char *text;
    } cases[] = { { '"', "\\\"" },      { '\\', "\\\\" },     { 0, "\\u0000" }, { 31, "\\u001f" },
                  { 0xff, "\xef\xbf\xbd" }, { 0x80, "\xef\xbf\xbd" }, { 127, "\x7f" },   { ' ', " " } };
    uint8_t  in[50];
    char     expected[128];
    json_out j = { 0 };

    (void)state;
    for (size_t k = 0; k < COUNT_OF(cases); k++)
        for (size_t len = 1; len <= sizeof in; len++)
            for (size_t at = 0; at < len; at++) {
                memset(in, 'x', sizeof in);
                in[at] = cases[k].c;
                snprintf(expected, sizeof expected, "\"%.*s%s%.*s\"", (int)at, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                         cases[k].text, (int)(len - at - 1), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
                json_reset(&j);
                json_string(&j, view_of(in, len));
                CHECK_VIEW(view_of(j.at, j.len), expected);
            }
    json_out_free(&j);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_plain_is_found_at_every_place_of_every_length),
        TEST(commas_come_by_themselves),
        TEST(strings_are_escaped_and_broken_utf8_is_replaced),
        TEST(over_its_bound_it_fails_and_stays_failed),
        TEST(json_is_read_strictly),
        TEST(the_text_may_end_anywhere_in_memory),
        TEST(nesting_and_nodes_are_bounded),
    };

    return cmocka_run_group_tests_name("proto/json", tests, NULL, NULL);
}
