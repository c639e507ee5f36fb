/* The forms of an answer: what each writes, and that a wrong count is never a whole text. */
#include "tests/unit/check.h"

#include "api/points.h"

#include <math.h>
#include <stdlib.h>

static const uuid machine = { { 1, 2, 3 } };

static points_out *
begin(const char *accept, const char *interval)
{
    points_out *p = malloc(sizeof *p);

    points_init(p, view_str(accept));
    p->interval = view_str(interval);
    p->aggregation = VIEW_LIT("avg");
    p->zone = VIEW_LIT("UTC");
    return p;
}

static void
expect_text(points_out *p, const char *text)
{
    CHECK(points_end(p));
    CHECK(view_eq(view_of(p->text.at, p->text.len), view_str(text)));
    points_free(p);
    free(p);
}

static void
csv_quotes_what_must_be_and_carries_the_cursor_in_the_last_line(void **state)
{
    points_out *p = begin("text/csv", "1s");

    (void)state;
    CHECK(points_series(p, 2, NULL, VIEW_LIT("a,\"b\""), VIEW_LIT("m\n"), 2));
    CHECK(points_add(p, &(result_point){ .time_us = 0, .value = 1.5, .count = 2, .min = 1, .max = 2 }));
    CHECK(points_add(p, &(result_point){ .time_us = 1000000, .value = (double)NAN, .min = (double)NAN, .max = (double)NAN }));
    CHECK(points_close(p, VIEW_LIT("AQ")));
    CHECK(points_series(p, 2, &machine, VIEW_LIT("x"), (view){ 0 }, 0));
    CHECK(points_close(p, VIEW_LIT("AZ")));
    expect_text(p, "machine_id,metric_name,unit,timestamp,value,count,min,max,next_cursor\r\n"
                   ",\"a,\"\"b\"\"\",\"m\n\",1970-01-01T00:00:00Z,1.5,2,1,2,\r\n"
                   ",\"a,\"\"b\"\"\",\"m\n\",1970-01-01T00:00:01Z,,0,,,AQ\r\n"
                   "01020300-0000-0000-0000-000000000000,x,,,,,,,AZ\r\n");
}

static void
lines_end_with_the_cursor_of_a_series_that_is_cut(void **state)
{
    points_out *p = begin("application/x-ndjson", "");

    (void)state;
    CHECK(points_series(p, 1, NULL, VIEW_LIT("x\n"), VIEW_LIT("m"), 1));
    CHECK(points_add(p, &(result_point){ .time_us = 0, .value = 1 }));
    CHECK(points_close(p, VIEW_LIT("AQ")));
    expect_text(p, "{\"machine_id\":null,\"metric_name\":\"x\\n\",\"unit\":\"m\",\"timestamp\":\"1970-01-01T00:00:00Z\","
                   "\"value\":1}\n{\"machine_id\":null,\"metric_name\":\"x\\n\",\"unit\":\"m\",\"next_cursor\":\"AQ\"}\n");
}

static void
packed_is_sound_however_it_is_taken_away(void **state)
{
    points_out *p = begin("application/msgpack", "1s");
    uint8_t     all[4096];
    size_t      len = 0;

    (void)state;
    for (uint32_t s = 0; s < 2; s++) {
        CHECK(points_series(p, 2, &machine, VIEW_LIT("x"), (view){ 0 }, 3));
        for (uint32_t i = 0; i < 3; i++) {
            CHECK(points_add(p, &(result_point){ .time_us = i, .value = i, .count = 1 }));
            memcpy(all + len, p->text.at, p->text.len);
            len += p->text.len;
            points_taken(p);
        }
        CHECK(points_close(p, (view){ 0 }));
    }
    CHECK(points_end(p));
    memcpy(all + len, p->text.at, p->text.len);
    CHECK(pack_is_sound(view_of(all, len + p->text.len)));
    points_free(p);
    free(p);
}

static void
more_or_less_than_announced_is_told(void **state)
{
    const result_point point = { 0 };
    points_out        *p = begin("application/msgpack", "1s");

    (void)state;
    CHECK(points_series(p, 1, &machine, VIEW_LIT("x"), (view){ 0 }, 1));
    CHECK(!points_series(p, 1, &machine, VIEW_LIT("y"), (view){ 0 }, 1)); /* x is open */
    CHECK(!points_close(p, (view){ 0 }));
    CHECK(points_add(p, &point));
    CHECK(!points_add(p, &point));
    CHECK(points_close(p, (view){ 0 }));
    CHECK(!points_add(p, &point));
    CHECK(!points_series(p, 1, &machine, VIEW_LIT("y"), (view){ 0 }, 1));
    points_free(p);
    points_init(p, (view){ 0 });
    CHECK(points_series(p, 2, &machine, VIEW_LIT("x"), (view){ 0 }, 0));
    CHECK(points_close(p, (view){ 0 }));
    CHECK(!points_end(p)); /* one is missing */
    points_free(p);
    free(p);
}

static void
the_first_known_form_in_accept_is_taken(void **state)
{
    static const struct {
        const char *accept, *type;
    } cases[] = {
        { "", "application/json" },
        { "*/*", "application/json" },
        { "image/png,,;, \tText/CSV;q=1", "text/csv; charset=utf-8; header=present" },
        { "application/x-ndjson, text/csv", "application/x-ndjson" },
        { "application/json, text/csv", "application/json" },
        { "application/msgpackx", "application/json" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        points_out p;

        points_init(&p, view_str(cases[i].accept));
        CHECK(strcmp(points_media_type(&p), cases[i].type) == 0);
        points_free(&p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(csv_quotes_what_must_be_and_carries_the_cursor_in_the_last_line),
        TEST(lines_end_with_the_cursor_of_a_series_that_is_cut),
        TEST(packed_is_sound_however_it_is_taken_away),
        TEST(more_or_less_than_announced_is_told),
        TEST(the_first_known_form_in_accept_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
