#include "proto/log.h"
#include "proto/json.h"
#include "tests/unit/check.h"

#include <fcntl.h>
#include <unistd.h>

/* stderr goes to a pipe while `fn` runs; what came is returned. */
static int kept, ends[2];

static void
capture_begin(void)
{
    CHECK_EQ(pipe2(ends, O_NONBLOCK), 0);
    kept = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
}

static const char *
capture_end(void)
{
    static char text[8192];
    ssize_t     n;

    dup2(kept, STDERR_FILENO);
    close(kept);
    n = read(ends[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    close(ends[1]);
    return text;
}

static void
a_line_has_time_level_event_actor_and_pairs(void **state)
{
    const char *line;

    (void)state;
    log_setup(LOG_INFO, LOG_LOGFMT);
    log_actor("ingest.0");
    capture_begin();
    log_info("lane.reset", "lane=%u why=%s", 3, log_quote(VIEW_LIT("a \"b\"\n")));
    line = capture_end();
    CHECK(strncmp(line, "ts=2", 4) == 0);
    CHECK(strstr(line,
                 "Z level=info event=lane.reset actor=ingest.0 lane=3 why=\"a \\\"b\\\"\\n\"\n") !=
          NULL);
}

static void
json_lines_are_json_with_numbers_as_numbers(void **state)
{
    cJSON      *tree;
    const char *line;

    (void)state;
    log_setup(LOG_INFO, LOG_JSON);
    log_actor("ingest.0");
    capture_begin();
    log_warn("x.y", "n=%d f=%s big=1.5 t=true q=%s w=a b c=%s", 5, "0x1",
             log_quote(VIEW_LIT("a \"b\"=1\n\xff")), "");
    line = capture_end();
    tree = json_parse(view_str(line));
    if (tree == NULL)
        fail_msg("not JSON: %s", line);
#define TEXT_OF(name) cJSON_GetStringValue(cJSON_GetObjectItem(tree, name))
    assert_string_equal(TEXT_OF("level"), "warn");
    assert_string_equal(TEXT_OF("event"), "x.y");
    assert_string_equal(TEXT_OF("actor"), "ingest.0");
    CHECK_EQ(cJSON_GetObjectItem(tree, "n")->valueint, 5);
    assert_string_equal(TEXT_OF("f"), "0x1");
    CHECK(cJSON_IsNumber(cJSON_GetObjectItem(tree, "big")));
    CHECK(cJSON_IsTrue(cJSON_GetObjectItem(tree, "t")));
    assert_string_equal(TEXT_OF("q"), "a \"b\"=1\n\xef\xbf\xbd");
    assert_string_equal(TEXT_OF("w"), "a b");
    assert_string_equal(TEXT_OF("c"), "");
    cJSON_Delete(tree);
}

static void
quotes_that_are_not_json_make_json_all_the_same(void **state)
{
    cJSON *tree;

    (void)state;
    log_setup(LOG_INFO, LOG_JSON);
    capture_begin();
    log_info("x", "why=\"%s\" path=\"%s\" n=%d", "a \"b\" c", "C:\\q", 7);
    tree = json_parse(view_str(capture_end()));
    CHECK(tree != NULL);
    CHECK_EQ(cJSON_GetObjectItem(tree, "n")->valueint, 7);
    cJSON_Delete(tree);
}

static void
what_is_below_the_level_is_not_written(void **state)
{
    (void)state;
    log_setup(LOG_WARN, LOG_LOGFMT);
    capture_begin();
    log_info("quiet", "n=%d", 1);
    assert_string_equal(capture_end(), "");
    CHECK(log_wants(LOG_ERROR) && log_wants(LOG_WARN) && !log_wants(LOG_INFO));
}

static void
a_text_cannot_forge_a_line(void **state)
{
    const char *line;

    (void)state;
    log_setup(LOG_INFO, LOG_LOGFMT);
    capture_begin();
    log_info("x", "why=%s", "a\nlevel=error event=forged");
    line = capture_end();
    CHECK(strchr(line, '\n') == line + strlen(line) - 1);
}

static void
a_long_line_is_cut_and_still_one_line(void **state)
{
    static char long_text[5000];
    const char *line;

    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    for (int format = LOG_LOGFMT; format <= LOG_JSON; format++) {
        log_setup(LOG_INFO, (enum log_format)format);
        capture_begin();
        log_info("x", "a=%s", long_text);
        line = capture_end();
        CHECK(strlen(line) <= 2048);
        CHECK(strchr(line, '\n') == line + strlen(line) - 1);
    }
    CHECK(strlen(log_quote(view_str(long_text))) < 520);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_has_time_level_event_actor_and_pairs),
        TEST(json_lines_are_json_with_numbers_as_numbers),
        TEST(quotes_that_are_not_json_make_json_all_the_same),
        TEST(what_is_below_the_level_is_not_written),
        TEST(a_text_cannot_forge_a_line),
        TEST(a_long_line_is_cut_and_still_one_line),
    };

    return cmocka_run_group_tests_name("proto/log", tests, NULL, NULL);
}
