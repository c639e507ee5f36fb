#include "transport/table.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

typedef struct row {
    uint64_t     key;
    uint64_t     a;
    uint64_t     b;
    table_string name;
    uint32_t     odd; /* 4 bytes of a word */
} row;

static uint64_t
hash_of(uint64_t key)
{
    uint64_t z = key * UINT64_C(0x9e3779b97f4a7c15) + 1;

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (z ^ (z >> 27)) | 1;
}

static bool
is_key(const table *t, const void *record, const void *key)
{
    uint64_t k;

    (void)t;
    memcpy(&k, key, sizeof k);
    return ((const row *)record)->key == k;
}

static uint32_t
find(const table *t, uint64_t key, row *out)
{
    return table_find(t, hash_of(key), is_key, &key, out);
}

static const char *
fresh(uint32_t capacity, uint64_t heap_max)
{
    const char *path = scratch_file("table");

    CHECK_OK(table_create(path, sizeof(row), capacity, heap_max));
    return path;
}

static table *
opened(const char *path, bool writer)
{
    table *t;

    CHECK_OK(table_open(&t, path, writer));
    return t;
}

static void
what_was_put_is_read_and_found(void **state)
{
    const char *path = fresh(10000, 4096);
    table      *w = opened(path, true);
    table      *r = opened(path, false);
    row         got;

    (void)state;
    CHECK_EQ(table_count(r), 0);
    CHECK_EQ(find(r, 1, &got), 0);
    CHECK(!table_read(r, 1, &got));
    CHECK(table_peek(r, 1) == NULL);
    for (uint64_t i = 1; i <= 5000; i++) { /* beyond the first index area */
        row rec = { i, i * 2, i * 3, 0, (uint32_t)i };

        CHECK_EQ(table_put(w, 0, hash_of(i), &rec), (int64_t)i);
        CHECK_EQ(find(r, i, &got), i);
    }
    for (uint64_t i = 1; i <= 5000; i++) {
        CHECK_EQ(find(r, i, &got), i);
        CHECK(got.a == i * 2 && got.b == i * 3 && got.odd == i);
        CHECK_EQ(((const row *)table_peek(r, (uint32_t)i))->key, i);
    }
    CHECK_EQ(find(r, 5001, &got), 0);
    CHECK_EQ(table_count(r), 5000);
    table_close(&w);
    table_close(&r);
}

static void
a_number_may_be_put_anywhere_and_again(void **state)
{
    const char *path = fresh(1000, 64);
    table      *w = opened(path, true);
    row         rec = { 7, 1, 1, 0, 0 };
    row         got;

    (void)state;
    CHECK_EQ(table_put(w, 700, hash_of(7), &rec), 700);
    CHECK(!table_read(w, 699, &got));
    rec.a = 2;
    CHECK_EQ(table_put(w, 700, hash_of(7), &rec), 700);
    CHECK_EQ(find(w, 7, &got), 700);
    CHECK_EQ(got.a, 2);
    table_word_store(w, 700, offsetof(row, b), 99);
    CHECK_EQ(table_word(w, 700, offsetof(row, b)), 99);
    CHECK(table_read(w, 700, &got));
    CHECK_EQ(got.b, 99);
    CHECK_EQ(table_word(w, 5, 0), 0);
    table_close(&w);
}

static void
a_successor_of_the_writer_goes_on(void **state)
{
    const char *path = fresh(1000, 4096);
    table      *w = opened(path, true);
    row         rec = { 1, 0, 0, 0, 0 };
    row         got;

    (void)state;
    rec.name = table_put_string(w, view_str("bearing"));
    CHECK_EQ(table_put(w, 0, hash_of(1), &rec), 1);
    table_close(&w);
    w = opened(path, true);
    rec.key = 2;
    rec.name = table_put_string(w, view_str("motor"));
    CHECK_EQ(table_put(w, 0, hash_of(2), &rec), 2);
    CHECK_EQ(find(w, 1, &got), 1);
    CHECK_VIEW(table_string_view(w, got.name), "bearing");
    CHECK_EQ(find(w, 2, &got), 2);
    CHECK_VIEW(table_string_view(w, got.name), "motor");
    table_close(&w);
}

static void
many_records_of_one_hash_are_all_found(void **state)
{
    const char *path = fresh(10000, 64);
    table      *w = opened(path, true);
    uint32_t    seen = 0;
    uint32_t    no;
    bool        met[3001] = { 0 };
    table_probe p;

    (void)state;
    for (uint64_t i = 1; i <= 3000; i++) {
        row rec = { i, 0, 0, 0, 0 };

        CHECK_EQ(table_put(w, 0, UINT64_C(0xabcdef0000000000), &rec), (int64_t)i);
    }
    for (uint64_t i = 1; i <= 3000; i += 100)
        CHECK_EQ(table_find(w, UINT64_C(0xabcdef0000000000), is_key, &i, NULL), i);
    p = table_begin(w, UINT64_C(0xabcdef0000000000));
    while ((no = table_next(w, &p)) != 0) {
        CHECK(!met[no]);
        met[no] = true;
        seen++;
    }
    CHECK_EQ(seen, 3000);
    table_close(&w);
}

static void
one_record_is_found_under_two_hashes(void **state)
{
    const char *path = fresh(10, 64);
    table      *w = opened(path, true);
    row         rec = { 5, 0, 0, 0, 0 };
    uint64_t    key = 5;

    (void)state;
    CHECK_EQ(table_put(w, 3, hash_of(50), &rec), 3);
    CHECK_EQ(table_put(w, 3, hash_of(60), &rec), 3);
    CHECK_EQ(table_find(w, hash_of(50), is_key, &key, NULL), 3);
    CHECK_EQ(table_find(w, hash_of(60), is_key, &key, NULL), 3);
    table_close(&w);
}

static void
a_full_table_refuses_and_still_changes_what_it_has(void **state)
{
    const char *path = fresh(3, 64);
    table      *w = opened(path, true);
    row         rec = { 0, 0, 0, 0, 0 };
    row         got;

    (void)state;
    for (rec.key = 1; rec.key <= 3; rec.key++)
        CHECK_EQ(table_put(w, 0, hash_of(rec.key), &rec), (int64_t)rec.key);
    CHECK_EQ(table_put(w, 0, hash_of(4), &rec), E_FULL);
    CHECK_EQ(table_put(w, 4, hash_of(4), &rec), E_FULL);
    rec = (row){ 2, 22, 0, 0, 0 };
    CHECK_EQ(table_put(w, 2, hash_of(2), &rec), 2);
    CHECK_EQ(find(w, 2, &got), 2);
    CHECK_EQ(got.a, 22);
    /* the index fills up with new hashes of old records, to seven eighths of its last area */
    for (uint64_t i = 0; i < 10000; i++)
        if (table_put(w, 1, hash_of(1000 + i), &rec) < 0) {
            CHECK(i > 3000);
            CHECK_EQ(table_put(w, 2, hash_of(2), &rec), 2);
            table_close(&w);
            return;
        }
    fail_msg("an index without an end");
}

static void
a_full_heap_says_so_and_keeps_its_strings(void **state)
{
    const char  *path = fresh(10, 64);
    table       *w = opened(path, true);
    table_string s = table_put_string(w, view_str("0123456789"));

    (void)state;
    CHECK_EQ(table_put_string(w, view_str("")), 0);
    CHECK_EQ(table_string_view(w, 0).len, 0);
    CHECK_EQ(table_put_string(w, view_str("0123456789")), s); /* kept once */
    CHECK(table_put_string(w, view_str("abcdefghij0123456789abcde")) != UINT32_MAX);
    CHECK_EQ(table_put_string(w, view_str("one more that is too long")), UINT32_MAX);
    CHECK_VIEW(table_string_view(w, s), "0123456789");
    CHECK_EQ(table_string_view(w, 60).len, 0); /* nothing was ever there */
    CHECK_EQ(table_string_view(w, UINT32_MAX - 3).len, 0);
    table_close(&w);
}

static void
memory_is_taken_as_it_is_used(void **state)
{
    const char *path = fresh(1000000, 1000000);
    table      *w = opened(path, true);
    row         rec = { 1, 0, 0, 0, 0 };
    struct stat st;

    (void)state;
    CHECK_EQ(stat(path, &st), 0);
    CHECK(st.st_size > 100000000);
    CHECK_EQ(st.st_blocks * 512, 8192);
    CHECK_EQ(table_put(w, 0, hash_of(1), &rec), 1);
    CHECK_EQ(stat(path, &st), 0);
    CHECK(st.st_blocks * 512 < 512 * 1024);
    table_close(&w);
}

/* ---- many readers, one writer ---- */

enum { HOT = 16, ROUNDS = 200000, GROWN = 20000 };

typedef struct shared {
    const char      *path;
    _Atomic bool     stop;
    _Atomic uint64_t entered;
} shared;

static void *
read_hot(void *arg)
{
    shared *s = arg;
    table  *r = opened(s->path, false);
    row     got;

    while (!atomic_load(&s->stop))
        for (uint32_t no = 1; no <= HOT; no++)
            if (table_read(r, no, &got) && (got.a != got.b || got.odd != (uint32_t)got.a))
                fail_msg("torn: %llu %llu", (unsigned long long)got.a, (unsigned long long)got.b);
    table_close(&r);
    return NULL;
}

static void
no_reader_sees_half_a_record(void **state)
{
    shared    s = { .path = fresh(HOT, 64) };
    table    *w = opened(s.path, true);
    pthread_t readers[2];

    (void)state;
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&readers[i], NULL, read_hot, &s), 0);
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        row rec = { 0, i, i, 0, (uint32_t)i };

        CHECK(table_put(w, 1 + (uint32_t)(i % HOT), 0, &rec) > 0);
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_join(readers[i], NULL), 0);
    table_close(&w);
}

static void *
find_entered(void *arg)
{
    shared  *s = arg;
    table   *r = opened(s->path, false);
    uint64_t seed = 1;

    while (!atomic_load(&s->stop)) {
        uint64_t n = atomic_load(&s->entered);
        uint64_t key;

        if (n == 0) {
            (void)sched_yield();
            continue;
        }
        key = 1 + hash_of(seed++) % n;
        if (find(r, key, NULL) != key)
            fail_msg("%llu of %llu is not found", (unsigned long long)key, (unsigned long long)n);
    }
    table_close(&r);
    return NULL;
}

static void
a_growing_index_hides_nothing(void **state)
{
    shared    s = { .path = fresh(GROWN, 64) };
    table    *w = opened(s.path, true);
    pthread_t reader;

    (void)state;
    CHECK_EQ(pthread_create(&reader, NULL, find_entered, &s), 0);
    for (uint64_t i = 1; i <= GROWN; i++) {
        row rec = { i, 0, 0, 0, 0 };

        CHECK_EQ(table_put(w, 0, hash_of(i), &rec), (int64_t)i);
        atomic_store(&s.entered, i);
    }
    atomic_store(&s.stop, true);
    CHECK_EQ(pthread_join(reader, NULL), 0);
    table_close(&w);
}

/* ---- no room: in a file system of 1 MiB of its own, where the machine allows to make one ---- */

static bool
may_mount(void)
{
    uid_t uid = getuid();
    FILE *f;

    if (unshare(CLONE_NEWNS) == 0)
        return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || (f = fopen("/proc/self/uid_map", "w")) == NULL)
        return false;
    (void)fprintf(f, "0 %u 1\n", uid);
    return fclose(f) == 0;
}

static int
fill_a_small_file_system(const char *dir)
{
    char   path[128];
    table *w;
    table *r;
    row    got;

    if (!may_mount() || mount("none", dir, "tmpfs", 0, "size=1m,mode=0700") < 0)
        return 77;
    (void)snprintf(path, sizeof path, "%s/t", dir);
    if (table_create(path, sizeof(row), 1000000, 1000000) < 0 || table_open(&w, path, true) < 0 ||
        table_open(&r, path, false) < 0)
        return 1;
    for (uint64_t i = 1;; i++) {
        row     rec = { i, i, 0, 0, 0 };
        int64_t rc = table_put(w, 0, hash_of(i), &rec);

        if (rc == E_NOSPACE) { /* and all that went before is there */
            for (uint64_t j = 1; j < i; j++)
                if (find(r, j, &got) != j)
                    return 2;
            return i > 1000 && find(r, i, &got) == 0 ? 0 : 3;
        }
        if (rc != (int64_t)i)
            return 4;
    }
}

static void
no_memory_is_an_error_in_the_writer_and_none_in_a_reader(void **state)
{
    const char *dir = scratch_file("small");
    int         status = 0;
    pid_t       pid;

    (void)state;
    CHECK_EQ(mkdir(dir, 0700), 0);
    pid = fork();
    if (pid == 0)
        _exit(fill_a_small_file_system(dir));
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    CHECK_EQ(status, 0);
}

static void
what_is_no_table_is_refused(void **state)
{
    const char *path = fresh(10, 64);
    table      *t;

    (void)state;
    CHECK_EQ(table_create(path, TABLE_RECORD_MAX + 1, 10, 0), E_RANGE);
    CHECK_EQ(truncate(path, 8192), 0);
    CHECK_EQ(table_open(&t, path, false), E_BAD);
    CHECK_EQ(truncate(path, 0), 0);
    CHECK_EQ(table_open(&t, path, true), E_BAD);
    CHECK(t == NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_is_read_and_found),
        TEST(a_number_may_be_put_anywhere_and_again),
        TEST(a_successor_of_the_writer_goes_on),
        TEST(many_records_of_one_hash_are_all_found),
        TEST(one_record_is_found_under_two_hashes),
        TEST(a_full_table_refuses_and_still_changes_what_it_has),
        TEST(a_full_heap_says_so_and_keeps_its_strings),
        TEST(memory_is_taken_as_it_is_used),
        TEST(no_reader_sees_half_a_record),
        TEST(a_growing_index_hides_nothing),
        TEST(no_memory_is_an_error_in_the_writer_and_none_in_a_reader),
        TEST(what_is_no_table_is_refused),
    };

    return cmocka_run_group_tests_name("transport/table", tests, NULL, NULL);
}
