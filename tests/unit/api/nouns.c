/* The rows of the registry's nouns: what a route asks for, what its schema allows, and what the registry knows agree. */
#include "tests/unit/check.h"

#include "api/route.h"

#include <stdio.h>

extern const route account_routes[], alerts_routes[], channels_routes[], escalations_routes[], groups_routes[],
    keys_routes[], machines_routes[], rules_routes[], users_routes[];

static const route *const nouns[] = { account_routes,  alerts_routes, channels_routes, escalations_routes, groups_routes, keys_routes,
                                      machines_routes, rules_routes,  users_routes };

typedef void row_fn(const route *row);

static void
each_row(row_fn *fn)
{
    for (size_t i = 0; i < COUNT_OF(nouns); i++)
        for (const route *row = nouns[i]; row->method != 0; row++)
            fn(row);
}

static void
check_role(const route *row)
{
    const reg_op_row *op = reg_op_row_of(row->op);

    if (op == NULL)
        fail_msg("%s: no operation %u", row->path, row->op);
    /* Log-in and refresh name nobody yet; everywhere else the route asks at least what the operation does. */
    if (WHO_ROLE(row->who) < op->least_role)
        fail_msg("%s: role %u, but %s wants %u", row->path, WHO_ROLE(row->who), op->name, op->least_role);
}

static void
a_route_asks_at_least_the_role_of_its_operation(void **state)
{
    (void)state;
    each_row(check_role);
}

static void
check_shape(const route *row)
{
    bool writes = row->method != GET;

    if (row->fn == NULL || row->brief == NULL || row->within_ms == 0)
        fail_msg("%s: half a row", row->path);
    if (row->body != NULL && (row->body_max == 0 || !writes))
        fail_msg("%s: a body that cannot come", row->path);
    if (row->method == DELETE_ && row->status != 204)
        fail_msg("%s: DELETE answers %u", row->path, row->status);
    if (writes && (row->who >> 8) != 0)
        fail_msg("%s: a key's scope opens a write", row->path);
}

static void
rows_are_whole_and_keys_only_read(void **state)
{
    (void)state;
    each_row(check_shape);
}

/* Fields whose words the registry knows too. */
static const struct {
    const char        *name;
    const char *const *words;
    int                from;
} known[] = {
    { "protocol", protocol_words, 0 }, { "severity", severity_words, 0 }, { "operator", compare_words, 0 },
    { "role", role_words, 1 },
};

static void
check_words(const char *schema_name, const field *f, const char *const *words)
{
    char   all[256] = "";
    size_t n = 0;

    for (; *words != NULL; words++)
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", n == 0 ? "" : "|", *words);
    if (f->type != FIELD_ENUM || f->words == NULL || strcmp(f->words, all) != 0)
        fail_msg("%s.%s: \"%s\", but the registry knows \"%s\"", schema_name, f->name, f->words, all);
}

static void
check_schema(const schema *s)
{
    for (const field *f = s == NULL ? NULL : s->fields; f != NULL && f->type != FIELD_END; f++) {
        if (f->type == FIELD_ENUM && f->words == NULL)
            fail_msg("%s.%s: an enum of nothing", s->name, f->name);
        for (size_t i = 0; i < COUNT_OF(known); i++)
            if (strcmp(f->name, known[i].name) == 0)
                check_words(s->name, f, known[i].words + known[i].from);
    }
}

static void
check_schemas(const route *row)
{
    check_schema(row->query);
    check_schema(row->body);
}

static void
words_of_schemas_are_the_registrys(void **state)
{
    (void)state;
    each_row(check_schemas);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_route_asks_at_least_the_role_of_its_operation),
        TEST(rows_are_whole_and_keys_only_read),
        TEST(words_of_schemas_are_the_registrys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
