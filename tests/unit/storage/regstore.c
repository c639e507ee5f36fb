#include "tests/unit/storage/scratch.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "storage/fs.h"
#include "storage/regstore.h"

static void
put(regstore *s, const char *key, const char *value)
{
    regstore_put(s, REG_MACHINES, view_str(key), view_str(value));
}

static void
check_get(regstore *s, const char *key, const char *want)
{
    uint8_t *value;
    size_t   len;
    int      rc = regstore_get(s, REG_MACHINES, view_str(key), &value, &len);

    if (want == NULL) {
        CHECK_EQ(rc, E_NOTFOUND);
        return;
    }
    CHECK_OK(rc);
    CHECK_VIEW(view_of(value, len), want);
    regstore_free(value);
}

static void
what_was_committed_is_there_after_a_reopen(void **state)
{
    regstore *s;

    CHECK_OK(regstore_open(&s, *state));
    put(s, "a", "1");
    put(s, "b", "");
    CHECK_OK(regstore_commit(s, true));
    put(s, "c", "never committed");
    regstore_close(&s);
    CHECK(s == NULL);
    CHECK_OK(regstore_open(&s, *state));
    check_get(s, "a", "1");
    check_get(s, "b", "");
    check_get(s, "c", NULL);
    regstore_close(&s);
}

static void
a_batch_is_unseen_until_its_commit_and_gone_when_abandoned(void **state)
{
    regstore *s;

    CHECK_OK(regstore_open(&s, *state));
    put(s, "a", "1");
    check_get(s, "a", NULL);
    regstore_abandon(s);
    CHECK_OK(regstore_commit(s, true));
    check_get(s, "a", NULL);
    put(s, "a", "2");
    CHECK_OK(regstore_commit(s, false));
    check_get(s, "a", "2");
    regstore_delete(s, REG_MACHINES, view_str("a"));
    CHECK_OK(regstore_commit(s, true));
    check_get(s, "a", NULL);
    regstore_close(&s);
}

static void
families_are_apart(void **state)
{
    regstore *s;
    uint8_t  *value;
    size_t    len;

    CHECK_OK(regstore_open(&s, *state));
    put(s, "a", "machine");
    CHECK_OK(regstore_commit(s, false));
    CHECK_EQ(regstore_get(s, REG_USERS, view_str("a"), &value, &len), E_NOTFOUND);
    CHECK(value == NULL);
    regstore_close(&s);
}

typedef struct seen {
    char   text[64];
    size_t stop_after;
} seen;

static int
note(void *ctx, view key, view value)
{
    seen *n = ctx;

    CHECK(view_eq(key, value));
    strncat(n->text, (const char *)key.at, key.len);
    return n->stop_after > 0 && strlen(n->text) >= n->stop_after ? 7 : 0;
}

static void
a_scan_keeps_to_its_range_both_ways(void **state)
{
    static const struct {
        const char *from, *until;
        bool        backwards;
        const char *want;
    } cases[] = {
        { "", "", false, "abcde" }, { "", "", true, "edcba" },  { "b", "d", false, "bc" },
        { "b", "d", true, "cb" },   { "bb", "dd", true, "dc" }, { "bb", "dd", false, "cd" },
        { "c", "", true, "edc" },   { "", "c", true, "ba" },    { "x", "", false, "" },
        { "x", "z", true, "" },     { "b", "b", false, "" },    { "b", "b", true, "" },
    };
    regstore *s;

    CHECK_OK(regstore_open(&s, *state));
    for (const char *k = "abcde"; *k != '\0'; k++)
        regstore_put(s, REG_MACHINES, view_of(k, 1), view_of(k, 1));
    CHECK_OK(regstore_commit(s, false));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        seen n = { .stop_after = 0 };

        CHECK_OK(regstore_scan(s, REG_MACHINES, view_str(cases[i].from), view_str(cases[i].until),
                               cases[i].backwards, note, &n));
        assert_string_equal(n.text, cases[i].want);
    }
    seen n = { .stop_after = 2 };
    CHECK_EQ(regstore_scan(s, REG_MACHINES, view_str(""), view_str(""), false, note, &n), 7);
    assert_string_equal(n.text, "ab");
    regstore_close(&s);
}

static void
a_second_opener_is_told_that_it_is_locked(void **state)
{
    regstore *s, *other;
    int       status;

    CHECK_OK(regstore_open(&s, *state));
    CHECK_EQ(regstore_open(&other, *state), E_LOCKED);
    CHECK(other == NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(regstore_open(&other, *state) == E_LOCKED ? 0 : 1);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    regstore_close(&s);
}

static void
write_text(const char *dir, const char *name, const char *text)
{
    char path[FS_PATH_MAX];

    CHECK_OK(fs_path(path, "%s/%s", dir, name));
    CHECK_OK(fs_write_file(path, view_str(text)));
}

static void
a_newer_format_is_refused(void **state)
{
    regstore *s;

    CHECK_OK(regstore_open(&s, *state));
    regstore_close(&s);
    write_text(*state, "registry/FORMAT", "haltless registry\nreader 2\nwriter 3\n");
    err_clear();
    CHECK_EQ(regstore_open(&s, *state), E_NEWER);
    CHECK(strstr(err_text(), "version 3") != NULL);
    write_text(*state, "FORMAT", "haltless data\nreader 9\nwriter 9\n");
    CHECK_EQ(data_dir_lock(*state), E_NEWER);
    write_text(*state, "FORMAT", "haltless data\nreader 1\nwriter 1\n"); /* before the chunks of today */
    err_clear();
    CHECK_EQ(data_dir_lock(*state), E_OLDER);
    CHECK(strstr(err_text(), "another data directory") != NULL);
}

static void
a_lost_current_file_is_repaired_and_nothing_is_missing(void **state)
{
    regstore *s;
    char      path[FS_PATH_MAX];

    CHECK_OK(regstore_open(&s, *state));
    for (int i = 0; i < 100; i++) {
        char key[16];

        snprintf(key, sizeof key, "machine-%03d", i);
        put(s, key, key);
    }
    CHECK_OK(regstore_commit(s, true));
    regstore_close(&s);
    CHECK_OK(fs_path(path, "%s/registry/db/CURRENT", (char *)*state));
    CHECK_EQ(unlink(path), 0);
    CHECK_OK(regstore_open(&s, *state));
    check_get(s, "machine-000", "machine-000");
    check_get(s, "machine-099", "machine-099");
    put(s, "later", "still writes");
    CHECK_OK(regstore_commit(s, true));
    regstore_close(&s);
    CHECK_OK(regstore_open(&s, *state));
    check_get(s, "later", "still writes");
    regstore_close(&s);
}

static void
the_data_directory_has_one_owner_who_is_named(void **state)
{
    char dir[FS_PATH_MAX], want[64];
    int  fd, status;

    CHECK_OK(fs_path(dir, "%s/deep/data", (char *)*state));
    CHECK_OK(fd = data_dir_lock(dir));
    snprintf(want, sizeof want, "process %d", (int)getpid());
    pid_t pid = fork();
    if (pid == 0) {
        err_clear();
        _exit(data_dir_lock(dir) == E_LOCKED && strstr(err_text(), want) != NULL ? 0 : 1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(fd);
    CHECK_OK(fd = data_dir_lock(dir));
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_SCRATCH(what_was_committed_is_there_after_a_reopen),
        TEST_IN_SCRATCH(a_batch_is_unseen_until_its_commit_and_gone_when_abandoned),
        TEST_IN_SCRATCH(families_are_apart),
        TEST_IN_SCRATCH(a_scan_keeps_to_its_range_both_ways),
        TEST_IN_SCRATCH(a_second_opener_is_told_that_it_is_locked),
        TEST_IN_SCRATCH(a_newer_format_is_refused),
        TEST_IN_SCRATCH(a_lost_current_file_is_repaired_and_nothing_is_missing),
        TEST_IN_SCRATCH(the_data_directory_has_one_owner_who_is_named),
    };

    return cmocka_run_group_tests_name("storage/regstore", tests, NULL, NULL);
}
