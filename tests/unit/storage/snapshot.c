#include "tests/unit/check.h"

#include "storage/snapshot.h"

#include <stdlib.h>
#include <unistd.h>

static char path[] = "/tmp/haltless-snapshot-XXXXXX";

static snapshot
load(uint32_t kind, uint32_t size)
{
    snapshot s = { .kind = kind, .record_size = size };

    snapshot_load(path, &s);
    return s;
}

static void
what_was_saved_is_loaded(void **state)
{
    uint64_t records[] = { 1, 2, 3 };
    snapshot s = { .kind = 7, .record_size = 8, .count = 3, .records = records };

    (void)state;
    CHECK_OK(snapshot_save(path, &s));
    s = load(7, 8);
    CHECK_EQ(s.count, 3);
    CHECK(memcmp(s.records, records, sizeof records) == 0);
    free(s.records);
}

static void
another_kind_or_shape_reads_as_empty(void **state)
{
    (void)state;
    CHECK(load(8, 8).records == NULL);
    CHECK(load(7, 4).records == NULL);
    CHECK_EQ(load(7, 4).count, 0);
}

static void
a_damaged_or_cut_file_reads_as_empty(void **state)
{
    FILE *f = fopen(path, "r+");

    (void)state;
    fseek(f, -1, SEEK_END);
    fputc('x', f);
    fclose(f);
    CHECK(load(7, 8).records == NULL);
    CHECK_EQ(truncate(path, 20), 0);
    CHECK(load(7, 8).records == NULL);
    CHECK_EQ(unlink(path), 0);
    CHECK(load(7, 8).records == NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_saved_is_loaded),
        TEST(another_kind_or_shape_reads_as_empty),
        TEST(a_damaged_or_cut_file_reads_as_empty),
    };

    (void)close(mkstemp(path));
    return cmocka_run_group_tests_name("storage/snapshot", tests, NULL, NULL);
}
