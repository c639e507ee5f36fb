#include "proto/schema.h"
#include "tests/unit/check.h"

static const field condition_rows[] = {
    { "metric", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, "" },
    { "operator", FIELD_ENUM, FIELD_REQUIRED, 0, 0, "gt|lt", NULL, "" },
    { 0 },
};
static const field condition = { "", FIELD_OBJECT, 0, 0, 0, NULL, condition_rows, "" };
static const field word = { "", FIELD_STRING, 0, 0, 5, NULL, NULL, "" };
static const field rows[] = {
    { "email", FIELD_EMAIL, FIELD_REQUIRED, 0, 0, NULL, NULL, "" },
    { "name", FIELD_STRING, 0, 2, 4, NULL, NULL, "" },
    { "count", FIELD_INTEGER, 0, 1, 100, NULL, NULL, "" },
    { "ratio", FIELD_NUMBER, FIELD_NULL, 0, 0, NULL, NULL, "" },
    { "on", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, "" },
    { "id", FIELD_UUID, 0, 0, 0, NULL, NULL, "" },
    { "at", FIELD_TIME, 0, 0, 0, NULL, NULL, "" },
    { "conditions", FIELD_ARRAY, 0, 0, 3, NULL, &condition, "" },
    { "any", FIELD_ANY, 0, 0, 0, NULL, NULL, "" },
    { "bag", FIELD_OBJECT, 0, 0, 0, NULL, NULL, "" },
    { "words", FIELD_ARRAY, 0, 0, 10, NULL, &word, "" },
    { 0 },
};
static const schema body = { "Body", rows };

/* The faults of a body as text. */
static const char *
faults_of(const char *text)
{
    static char out[4096];
    json_out    j = { 0 };
    cJSON      *tree = json_parse(view_str(text));
    uint32_t    n;

    CHECK(tree != NULL);
    json_open(&j, '[');
    n = schema_check(&body, tree, &j);
    json_close(&j, ']');
    CHECK(!j.failed && (n == 0) == (j.len == 2));
    snprintf(out, sizeof out, "%.*s", (int)j.len, j.at);
    json_out_free(&j);
    cJSON_Delete(tree);
    return out;
}

#define FAULT(loc, msg, type)    "{\"loc\":" loc ",\"msg\":\"" msg "\",\"type\":\"" type "\"}"
#define CHECK_FAULTS(body, want) assert_string_equal(faults_of(body), "[" want "]")

static void
a_good_body_has_no_faults(void **state)
{
    (void)state;
    CHECK_FAULTS("{\"email\":\"a.b+c@plant.example.com\",\"name\":"
                 "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\",\"count\":100,"
                 "\"ratio\":null,\"on\":false,\"id\":\"00000000-0000-4000-8000-000000000000\","
                 "\"at\":\"2026-01-01T00:00:00+02:00\",\"conditions\":[{\"metric\":\"x\","
                 "\"operator\":\"lt\"}],"
                 "\"any\":null,\"bag\":{\"x\":1},\"unknown\":[]}", );
}

static void
each_fault_says_where_and_what(void **state)
{
    (void)state;
    CHECK_FAULTS("{}", FAULT("[\"body\",\"email\"]", "Field required", "missing"));
    CHECK_FAULTS("[]", FAULT("[\"body\"]", "Must be an object", "object_type"));
    CHECK_FAULTS("{\"email\":5}", FAULT("[\"body\",\"email\"]", "Must be a string", "string_type"));
    CHECK_FAULTS("{\"email\":null}",
                 FAULT("[\"body\",\"email\"]", "Must be a string", "string_type"));
    CHECK_FAULTS(
        "{\"email\":\"a@b.c\",\"name\":\"x\",\"count\":1.5,\"ratio\":\"1\",\"on\":1,\"id\":\"1\","
        "\"at\":\"today\",\"bag\":[]}",
        FAULT("[\"body\",\"name\"]", "Must have 2 to 4 characters", "value_error") "," FAULT(
            "[\"body\",\"count\"]", "Must be an integer",
            "integer_type") "," FAULT("[\"body\",\"ratio\"]", "Must be a number",
                                      "number_type") "," FAULT("[\"body\",\"on\"]",
                                                               "Must be true or false",
                                                               "boolean_type") "," FAULT("[\"body\""
                                                                                         ",\"id\"]",
                                                                                         "Must be "
                                                                                         "a UUID",
                                                                                         "value_"
                                                                                         "error") "," FAULT("[\"body\",\"at\"]",
                                                                                                            "Must be an RFC 3339 date and time",
                                                                                                            "value_error") "," FAULT("[\"body\",\"bag\"]",
                                                                                                                                     "Must be an object",
                                                                                                                                     "object_type"));
    CHECK_FAULTS(
        "{\"email\":\"a@b.c\",\"count\":0,\"ratio\":1e999}",
        FAULT("[\"body\",\"count\"]", "Must be between 1 and 100",
              "value_error") "," FAULT("[\"body\",\"ratio\"]", "Must be finite", "value_error"));
}

static void
faults_inside_arrays_carry_their_index(void **state)
{
    (void)state;
    CHECK_FAULTS(
        "{\"email\":\"a@b.c\",\"conditions\":[{\"metric\":\"x\",\"operator\":\"lt\"},{\"operator\":"
        "\"eq\"},7]}",
        FAULT("[\"body\",\"conditions\",1,\"metric\"]", "Field required", "missing") "," FAULT(
            "[\"body\",\"conditions\",1,\"operator\"]", "Must be one of: gt, lt",
            "value_error") "," FAULT("[\"body\",\"conditions\",2]", "Must be an object",
                                     "object_type"));
    CHECK_FAULTS("{\"email\":\"a@b.c\",\"conditions\":{}}",
                 FAULT("[\"body\",\"conditions\"]", "Must be an array", "array_type"));
    CHECK_FAULTS(
        "{\"email\":\"a@b.c\",\"words\":[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]}",
        FAULT("[\"body\",\"words\"]", "Must have at most 10 items", "value_error"));
}

static void
odd_addresses_are_refused(void **state)
{
    static const char *const bad[] = { "",        "x",        "@b.c",       "a@",      "a@b",
                                       "a@b..c",  "a@.b.c",   "a b@c.d",    "a@b@c.d", ".a@b.c",
                                       "a.@b.c",  "a..b@c.d", "a@-b.c",     "a@b-.c",  "a@b.c.",
                                       "a@b,c.d", "<a@b.c>",  "a@[1.2.3.4]" };
    char                     text[128];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        snprintf(text, sizeof text, "{\"email\":\"%s\"}", bad[i]);
        assert_string_equal(
            faults_of(text),
            "[" FAULT("[\"body\",\"email\"]", "Must be a valid e-mail address", "value_error") "]");
    }
}

static void
faults_are_counted_beyond_those_written(void **state)
{
    static const field  many_rows[] = { { "words", FIELD_ARRAY, 0, 0, 0, NULL, &word, "" }, { 0 } };
    static const schema many = { "Many", many_rows };
    json_out            text = { 0 }, j = { 0 };
    cJSON              *tree;

    (void)state;
    json_open(&text, '{');
    json_name(&text, VIEW_LIT("words"));
    json_open(&text, '[');
    for (int i = 0; i < 1000; i++)
        json_int(&text, i);
    json_close(&text, ']');
    json_close(&text, '}');
    tree = json_parse(view_of(text.at, text.len));
    json_open(&j, '[');
    CHECK_EQ(schema_check(&many, tree, &j), 1000);
    json_close(&j, ']');
    cJSON *list = json_parse(view_of(j.at, j.len));
    CHECK_EQ(cJSON_GetArraySize(list), 100);
    cJSON_Delete(list);
    cJSON_Delete(tree);
    json_out_free(&text);
    json_out_free(&j);
}

/* The object of a query string as text, or its faults when there are some; NULL: malformed. */
static const char *
query_of(const char *text)
{
    static char out[1024];
    json_out    j = { 0 };
    uint32_t    n = 0;
    cJSON      *tree;

    json_open(&j, '[');
    tree = schema_query(&body, view_str(text), &j, &n);
    json_close(&j, ']');
    if (tree == NULL) {
        json_out_free(&j);
        return NULL;
    }
    char *printed = cJSON_PrintUnformatted(tree);
    snprintf(out, sizeof out, "%.*s", n > 0 ? (int)j.len : (int)strlen(printed),
             n > 0 ? j.at : printed);
    cJSON_free(printed);
    cJSON_Delete(tree);
    json_out_free(&j);
    return out;
}

static void
a_query_string_takes_the_types_of_the_rows(void **state)
{
    (void)state;
    assert_string_equal(
        query_of("email=a%40b.c&count=7&ratio=-1.5&on=true&&name=a+b&other=%20"),
        "{\"email\":\"a@b.c\",\"count\":7,\"ratio\":-1.5,\"on\":true,\"name\":\"a b\"}");
    assert_string_equal(query_of("email=a@b.c&at=2026-01-01T00:00:00+02:00"),
                        "{\"email\":\"a@b.c\",\"at\":\"2026-01-01T00:00:00+02:00\"}");
    assert_string_equal(query_of("count=1&email=a@b.c&count=2"),
                        "{\"email\":\"a@b.c\",\"count\":2}");
    assert_string_equal(query_of("email=a@b.c&words=a,b&words=c%2Cd"),
                        "{\"email\":\"a@b.c\",\"words\":[\"a\",\"b\",\"c,d\"]}");
}

static void
faults_of_a_query_say_query(void **state)
{
    (void)state;
    assert_string_equal(
        query_of("count=x&email=a@b.c"),
        "[" FAULT("[\"query\",\"count\"]", "Must be an integer", "integer_type") "]");
    assert_string_equal(query_of(""),
                        "[" FAULT("[\"query\",\"email\"]", "Field required", "missing") "]");
}

static void
a_malformed_encoding_is_refused(void **state)
{
    static const char *const bad[] = { "email=%",   "email=%4", "email=%zz", "email=%00",
                                       "email=%ff", "%ff=1",    "words=a,%" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(query_of(bad[i]) == NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_body_has_no_faults),
        TEST(each_fault_says_where_and_what),
        TEST(faults_inside_arrays_carry_their_index),
        TEST(odd_addresses_are_refused),
        TEST(faults_are_counted_beyond_those_written),
        TEST(a_query_string_takes_the_types_of_the_rows),
        TEST(faults_of_a_query_say_query),
        TEST(a_malformed_encoding_is_refused),
    };

    return cmocka_run_group_tests_name("proto/schema", tests, NULL, NULL);
}
