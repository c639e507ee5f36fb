#include "actors/options.h"
#include "proto/log.h"
#include "tests/unit/check.h"
#include "transport/wire.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char file[64];

static int
start(void **state)
{
    int fd;

    (void)state;
    strcpy(file, "/tmp/haltless-options-XXXXXX");
    fd = mkstemp(file);
    return fd < 0 ? -1 : close(fd);
}

static int
end(void **state)
{
    (void)state;
    return unlink(file);
}

static const char *
file_with(const char *text)
{
    FILE *f = fopen(file, "w");

    CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
    return file;
}

/* The chain of a load that must fail. */
static const char *
failure_of(const char *toml, int argc, char **argv)
{
    options o;

    err_clear();
    CHECK_EQ(options_load(&o, toml != NULL ? file_with(toml) : NULL, argc, argv), E_CONFIG);
    return err_text();
}

#define CHECK_SAYS(text, part)                                                                     \
    do {                                                                                           \
        const char *said_ = (text);                                                                \
        if (strstr(said_, part) == NULL)                                                           \
            fail_msg("\"%s\" does not say \"%s\"", said_, part);                                   \
    } while (0)
#define FLAGS(...)                                                                                 \
    (char *[])                                                                                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void
without_anything_there_are_the_defaults(void **state)
{
    options o;

    (void)state;
    CHECK_OK(options_load(&o, NULL, 0, NULL));
    assert_string_equal(o.server_listen, "127.0.0.1:8080");
    CHECK_EQ(o.storage_journal_mb, 256);
    CHECK(!o.server_processes);
    CHECK_EQ(o.storage_durability, DURABILITY_FSYNC);
    CHECK_EQ(o.auth_registration, REGISTRATION_AUTO);
    CHECK_EQ(o.log_level, LOG_INFO);
    CHECK_EQ(o.front_carrier, CARRIER_RING);
    options_free(&o);
}

static void
flag_beats_variable_beats_file_beats_default(void **state)
{
    options o;

    (void)state;
    file_with("[storage]\njournal_mb = 100\nheads_mb = 101\ncache_mb = 102\n[server]\ndata = "
              "\"from file\"\n");
    setenv("HALTLESS_STORAGE_HEADS_MB", "201", 1);
    setenv("HALTLESS_STORAGE_CACHE_MB", "202", 1);
    setenv("HALTLESS_LISTEN", "0.0.0.0:1", 1);
    CHECK_OK(options_load(&o, file, 1, FLAGS("--storage-cache-mb=302")));
    CHECK_EQ(o.storage_journal_mb, 100);
    CHECK_EQ(o.storage_heads_mb, 201);
    CHECK_EQ(o.storage_cache_mb, 302);
    assert_string_equal(o.server_data, "from file");
    assert_string_equal(o.server_listen, "0.0.0.0:1");
    options_free(&o);
    unsetenv("HALTLESS_STORAGE_HEADS_MB");
    unsetenv("HALTLESS_STORAGE_CACHE_MB");
    unsetenv("HALTLESS_LISTEN");
}

static void
flags_take_their_value_either_way(void **state)
{
    options o;

    (void)state;
    CHECK_OK(
        options_load(&o, NULL, 9,
                     FLAGS("--storage-journal-mb", "64", "--data=d", "--processes", "--front-mode",
                           "process", "--listen", "[::1]:80", "--log-format=json")));
    CHECK_EQ(o.storage_journal_mb, 64);
    assert_string_equal(o.server_data, "d");
    assert_string_equal(o.server_listen, "[::1]:80");
    CHECK(o.server_processes);
    CHECK_EQ(o.front_mode, MODE_PROCESS);
    CHECK_EQ(o.log_format, LOG_JSON);
    options_free(&o);
    CHECK_OK(options_load(&o, NULL, 2, FLAGS("--processes", "false")));
    CHECK(!o.server_processes);
    options_free(&o);
}

static void
numbers_take_suffixes(void **state)
{
    options o;

    (void)state;
    CHECK_OK(options_load(&o, file_with("[limits]\nbody_bytes = \"64k\"\nmachines = 0x1000\n"), 2,
                          FLAGS("--limits-series-per-tenant", "2M")));
    CHECK_EQ(o.limits_body_bytes, 65536);
    CHECK_EQ(o.limits_machines, 4096);
    CHECK_EQ(o.limits_series_per_tenant, 2097152);
    options_free(&o);
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("--limits-body-bytes=64kk")), "whole number");
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("--limits-body-bytes=k")), "whole number");
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("--limits-body-bytes=-1")), "whole number");
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("--limits-body-bytes=99999999999999999999")),
               "whole number");
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("--limits-body-bytes=17179869184G")), "whole number");
}

static void
a_mistake_in_the_file_names_file_and_line(void **state)
{
    char want[256];

    (void)state;
    snprintf(want, sizeof want,
             "%s:3: unknown setting storage.jurnal_mb (did you mean storage.journal_mb?)", file);
    CHECK_SAYS(failure_of("[storage]\n\njurnal_mb = 5\n", 0, NULL), want);
    snprintf(want, sizeof want, "%s:1: unknown setting stray", file);
    CHECK_SAYS(failure_of("stray = 5\n", 0, NULL), want);
    snprintf(want, sizeof want, "%s:2: storage.journal_mb: must be 16 to 65536, not 5", file);
    CHECK_SAYS(failure_of("[storage]\njournal_mb = 5\n", 0, NULL), want);
    snprintf(want, sizeof want, "%s:2: storage.journal_mb must be a whole number", file);
    CHECK_SAYS(failure_of("[storage]\njournal_mb = 64.0\n", 0, NULL), want);
    snprintf(want, sizeof want,
             "%s:2: storage.durability: must be one of fsync, os, memory, not \"disk\"", file);
    CHECK_SAYS(failure_of("[storage]\ndurability = \"disk\"\n", 0, NULL), want);
    snprintf(want, sizeof want, "%s:2: server.processes must be true or false", file);
    CHECK_SAYS(failure_of("[server]\nprocesses = \"yes\"\n", 0, NULL), want);
    snprintf(want, sizeof want, "%s: line 2", file);
    CHECK_SAYS(failure_of("[server]\nlisten = \n", 0, NULL), want);
    snprintf(want, sizeof want, "%s: line 3", file);
    CHECK_SAYS(failure_of("[server]\nlisten = \"a:1\"\nlisten = \"a:2\"\n", 0, NULL), want);
    snprintf(want, sizeof want, "%s:2: unknown setting server.listen.0", file);
    CHECK_SAYS(failure_of("[server]\nlisten = [\"a:1\"]\n", 0, NULL), want);
}

static void
a_mistake_elsewhere_names_flag_or_variable(void **state)
{
    (void)state;
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("--nonsense=1")), "unknown flag --nonsense");
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("stray")), "unknown flag stray");
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("--")), "unknown flag --");
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("--data")), "a value must follow");
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("--query-count=17")),
               "flag --query-count: must be 1 to 16");
    CHECK_SAYS(failure_of(NULL, 1, FLAGS("--data=")), "flag --data: must have 1 to 4000 bytes");
    setenv("HALTLESS_QUERY_COUNT", "x", 1);
    CHECK_SAYS(failure_of(NULL, 0, NULL), "variable HALTLESS_QUERY_COUNT");
    unsetenv("HALTLESS_QUERY_COUNT");
}

static void
a_missing_file_is_said(void **state)
{
    options o;

    (void)state;
    err_clear();
    CHECK_EQ(options_load(&o, "/nonexistent/haltless.toml", 0, NULL), E_NOTFOUND);
    CHECK_SAYS(err_text(), "/nonexistent/haltless.toml");
}

static void
a_child_reads_what_its_parent_saved(void **state)
{
    options     o, back;
    char       *a = NULL, *b = NULL;
    size_t      a_len, b_len;
    FILE       *out;
    struct stat st;

    (void)state;
    CHECK_OK(options_load(&o, NULL, 4,
                          FLAGS("--data=a \"b\"\\\n\xc3\xa9", "--query-count=7", "--processes",
                                "--alert-carrier=zmq")));
    CHECK_EQ(unlink(file), 0);
    CHECK_OK(options_save(&o, file));
    CHECK(stat(file, &st) == 0 && (st.st_mode & 0777) == 0600);
    setenv("HALTLESS_QUERY_COUNT", "3", 1); /* said already when the parent loaded */
    CHECK_OK(options_read(&back, file));
    unsetenv("HALTLESS_QUERY_COUNT");
    out = open_memstream(&a, &a_len);
    options_dump(&o, out);
    fclose(out);
    out = open_memstream(&b, &b_len);
    options_dump(&back, out);
    fclose(out);
    assert_string_equal(a, b);
    CHECK_EQ(back.query_count, 7);
    free(a);
    free(b);
    options_free(&o);
    options_free(&back);
}

static void
reload_takes_what_may_change_and_names_the_rest(void **state)
{
    options o, fresh;
    char   *ignored = NULL;

    (void)state;
    CHECK_OK(options_load(&o, NULL, 0, NULL));
    CHECK_OK(options_load(&fresh, NULL, 4,
                          FLAGS("--log-level=debug", "--http-cors-origins=https://a",
                                "--query-count=2", "--data=x")));
    CHECK_OK(options_reload(&o, &fresh, &ignored));
    options_free(&fresh);
    CHECK_EQ(o.log_level, LOG_DEBUG);
    assert_string_equal(o.http_cors_origins, "https://a");
    CHECK_EQ(o.query_count, 1);
    assert_string_equal(ignored, "server.data, query.count");
    free(ignored);
    options_free(&o);
}

static void
help_names_flag_variable_and_key_of_every_setting(void **state)
{
    static const char *const parts[] = { "--listen TEXT",
                                         "HALTLESS_LISTEN",
                                         "server.listen",
                                         "--storage-journal-mb N",
                                         "HALTLESS_STORAGE_JOURNAL_MB",
                                         "default 256, 16 to 65536",
                                         "one of fsync, os, memory",
                                         "SIGHUP applies it" };
    char                    *text = NULL;
    size_t                   len;
    FILE                    *out = open_memstream(&text, &len);

    (void)state;
    options_help(out);
    fclose(out);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        CHECK_SAYS(text, parts[i]);
    free(text);
}

static void
the_example_with_every_comment_taken_off_is_the_defaults(void **state)
{
    char   *text = NULL, *dump = NULL, *bare;
    size_t  len, at = 0;
    options o;
    FILE   *out = open_memstream(&text, &len);

    (void)state;
    CHECK_OK(options_example(out));
    fclose(out);
    CHECK((bare = calloc(1, len + 1)) != NULL);
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
        const char *from = line[0] == '#' && line[1] != ' ' ? line + 1 : line;
        size_t      n = strcspn(from, "\n") + 1;

        memcpy(bare + at, from, n);
        at += n;
    }
    CHECK_OK(options_read(&o, file_with(bare)));
    free(text);
    out = open_memstream(&text, &len);
    options_dump(&o, out);
    fclose(out);
    options_free(&o);
    CHECK_OK(options_load(&o, NULL, 0, NULL));
    out = open_memstream(&dump, &len);
    options_dump(&o, out);
    fclose(out);
    assert_string_equal(text, dump);
    options_free(&o);
    free(text);
    free(dump);
    free(bare);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_anything_there_are_the_defaults),
        TEST(flag_beats_variable_beats_file_beats_default),
        TEST(flags_take_their_value_either_way),
        TEST(numbers_take_suffixes),
        TEST(a_mistake_in_the_file_names_file_and_line),
        TEST(a_mistake_elsewhere_names_flag_or_variable),
        TEST(a_missing_file_is_said),
        TEST(a_child_reads_what_its_parent_saved),
        TEST(reload_takes_what_may_change_and_names_the_rest),
        TEST(help_names_flag_variable_and_key_of_every_setting),
        TEST(the_example_with_every_comment_taken_off_is_the_defaults),
    };

    return cmocka_run_group_tests_name("actors/options", tests, start, end);
}
