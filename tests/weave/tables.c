/* tables.c - a record of the board, put and read, and its writer killed anywhere: all schedules of a few turns.
 *
 * table.c is the real one, compiled with atomic.h: each word of a record is a point.  The reader never waits, never sees
 * half of a record, never an older one after a newer; and a successor's records are seen like its predecessor's.
 */
#include "tests/weave/weave.h"

#include "proto/err.h"
#include "transport/table.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORDS = 3, VERSIONS = 3, READS = 3, CAPACITY = 4, HASH = 7 };

static char     path[] = "/dev/shm/haltless-weave-table-XXXXXX";
static uint8_t *file, *fresh;
static size_t   file_len;
static table   *first, *writer, *reader;
static bool     in_place; /* the mutant: words are changed where they are read */

static void
put(uint64_t version)
{
    uint64_t record[WORDS] = { version, version, version };

    if (in_place && table_count(writer) > 0) {
        for (size_t i = 0; i < WORDS; i++)
            table_word_store(writer, 1, i * 8, version);
        return;
    }
    if (table_put(writer, 1, HASH, record) != 1)
        weave_fail("a record was not put");
}

static void
write_all(void)
{
    for (uint64_t v = 1; v <= VERSIONS; v++)
        put(v);
}

/* It goes on from what is there. */
static void
write_again(void)
{
    uint64_t record[WORDS] = { 0 };

    if (table_open(&writer, path, true) < 0)
        weave_fail(err_text());
    (void)table_read(writer, 1, record);
    for (uint64_t v = record[0] + 1; v <= VERSIONS + 1; v++)
        put(v);
}

static bool
is_it(const table *t, const void *record, const void *key)
{
    const uint64_t *r = record;

    (void)t, (void)key;
    if (r[0] != r[1] || r[1] != r[2])
        weave_fail("half of a record was found");
    return true;
}

static void
read_all(void)
{
    uint64_t last = 0;

    for (int i = 0; i < READS; i++) {
        uint64_t r[WORDS] = { 0 };
        uint64_t out[WORDS];

        if (!table_read(reader, 1, r) && last != 0)
            weave_fail("a record is gone");
        if (r[0] != r[1] || r[1] != r[2])
            weave_fail("half of a record was read");
        if (r[0] < last)
            weave_fail("an older record came after a newer one");
        last = r[0];
        (void)table_find(reader, HASH, is_it, NULL, out);
    }
}

static void
check(void)
{
    uint64_t r[WORDS] = { 0 };

    if (!table_read(reader, 1, r) || r[0] < VERSIONS || r[0] != r[2])
        weave_fail("the last record is not there");
    if (table_find(reader, HASH, is_it, NULL, r) != 1)
        weave_fail("the record is not in the index");
}

static void
reset(void)
{
    if (writer != first)
        table_close(&writer);
    writer = first;
    memcpy(file, fresh, file_len);
}

static const weave_scene scene = {
    "a record is put and read", reset, { write_all, read_all }, check, { write_again, NULL }
};

static void
open_all(void)
{
    struct stat st;
    int         fd = mkstemp(path);
    int         rc = table_create(path, WORDS * 8, CAPACITY, 4096);

    ASSERT(fd >= 0);
    (void)close(fd);
    if (rc == E_OK)
        rc = table_open(&first, path, true);
    if (rc == E_OK)
        rc = table_open(&reader, path, false);
    if (rc < 0) {
        (void)fprintf(stderr, "weave: %s\n", err_text());
        exit(2);
    }
    writer = first;
    put(1); /* what is used is backed from here on */
    fd = open(path, O_RDWR);
    ASSERT(fd >= 0 && fstat(fd, &st) == 0);
    file_len = (size_t)st.st_size;
    file = mmap(NULL, file_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    fresh = malloc(file_len);
    ASSERT(file != MAP_FAILED && fresh != NULL);
    (void)close(fd);
    memcpy(fresh, file, file_len);
}

int
main(int argc, char **argv)
{
    uint32_t     budget = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 3;
    weave_result r;
    int          wrong = 0;

    open_all();
    r = weave_explore(&scene, budget);
    (void)printf("%s, %u turns: %llu runs, %s\n", scene.name, budget, (unsigned long long)r.runs,
                 r.failed == NULL ? "all sound" : r.failed);
    wrong += r.failed != NULL;
    in_place = true;
    r = weave_explore(&scene, budget);
    (void)printf("words changed in place: %s after %llu runs\n", r.failed == NULL ? "NOT FOUND" : "found",
                 (unsigned long long)r.runs);
    wrong += r.failed == NULL;
    (void)unlink(path);
    return wrong == 0 ? 0 : 1;
}
