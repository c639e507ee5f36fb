/* The matcher, over the rows the server has. */
#include "tests/unit/check.h"

#include "api/front.h"

static routes_match
find(bool outside, const char *path, const char *method)
{
    routes_match m;

    routes_find(outside, view_str(path), view_str(method), &m);
    return m;
}

static void
every_row_finds_itself(void **state)
{
    static const char *const words[METHODS] = { "", "GET", "POST", "PUT", "PATCH", "DELETE" };

    (void)state;
    for (const route *const *list = all_routes; *list != NULL; list++)
        for (const route *r = *list; r->method != 0; r++) {
            bool         outside = r->path[0] == '!';
            char         path[256];
            size_t       n = 0;
            routes_match m;

            for (const char *p = r->path + outside; *p != '\0' && n < sizeof path - 1; p++) {
                if (*p == '{')
                    while (*p != '}')
                        p++;
                path[n++] = *p == '}' ? '7' : *p;
            }
            path[n] = '\0';
            m = find(outside, path, words[r->method]);
            if (m.row != r)
                fail_msg("%s %s does not find its row", words[r->method], path);
        }
}

static void
a_parameter_is_one_segment_and_never_empty(void **state)
{
    routes_match m = find(false, "/machines/abc/readings/latest", "GET");

    (void)state;
    CHECK(m.row != NULL);
    CHECK_EQ(m.param_count, 1);
    CHECK_VIEW(m.names[0], "id");
    CHECK_VIEW(m.params[0], "abc");
    CHECK(find(false, "/machines//readings/latest", "GET").row == NULL);
    CHECK(find(false, "/machines/a/b/readings/latest", "GET").row == NULL);
}

static void
a_literal_wins_over_a_parameter(void **state)
{
    routes_match m = find(false, "/alerts/stats", "GET");

    (void)state;
    CHECK(m.row != NULL);
    CHECK(strcmp(m.row->path, "/alerts/stats") == 0);
}

static void
another_method_is_told_which_there_are(void **state)
{
    routes_match m = find(false, "/machines", "PUT");

    (void)state;
    CHECK(m.row == NULL);
    CHECK(strcmp(m.allow, "GET, HEAD, POST, OPTIONS") == 0);
}

static void
what_is_not_there_is_not_found(void **state)
{
    static const char *const paths[] = { "", "/", "machines", "/machine", "/machines/", "/ingest/XX",
                                         "/a/b/c/d/e/f/g/h/i/j/k", "/healthz" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        routes_match m = find(false, paths[i], "GET");

        CHECK(m.row == NULL);
        CHECK_EQ(m.allow[0], '\0');
    }
    CHECK(find(true, "/healthz", "GET").row != NULL);
    CHECK(find(true, "/machines", "GET").row == NULL);
}

static int
build(void **state)
{
    (void)state;
    CHECK_OK(routes_build());
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_row_finds_itself),
        TEST(a_parameter_is_one_segment_and_never_empty),
        TEST(a_literal_wins_over_a_parameter),
        TEST(another_method_is_told_which_there_are),
        TEST(what_is_not_there_is_not_found),
    };

    return cmocka_run_group_tests(tests, build, NULL);
}
