#include "tests/unit/storage/scratch.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "storage/fs.h"
#include "proto/err.h"
#include "proto/world.h"
#include "storage/journal.h"
#include "storage/patience.h"

/* ---- a disk that fails on order: the calls of the journal come through here ---- */

enum trouble { FINE, FAILS, HALF_WRITTEN, WRITTEN_BUT_FAILS };

static enum trouble trouble;
static int          trouble_errno = EIO;
static int          sync_fails; /* so many calls */

typedef ssize_t pwrite_fn(int, const void *, size_t, off_t);

static ssize_t
disk_write(int fd, const void *at, size_t len, off_t offset)
{
    static pwrite_fn *real;
    enum trouble      now = trouble;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    if (now == FINE)
        return real(fd, at, len, offset);
    trouble = FINE;
    if (now == HALF_WRITTEN)
        (void)!real(fd, at, len / 2 / 4096 * 4096, offset);
    if (now == WRITTEN_BUT_FAILS)
        (void)!real(fd, at, len, offset);
    errno = trouble_errno;
    return -1;
}

ssize_t pwrite64(int fd, const void *at, size_t len, off64_t offset);
ssize_t
pwrite64(int fd, const void *at, size_t len, off64_t offset)
{
    return disk_write(fd, at, len, offset);
}

int
fdatasync(int fd)
{
    static int (*real)(int);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    if (sync_fails > 0) {
        sync_fails--;
        errno = EIO;
        return -1;
    }
    return real(fd);
}

/* ---- blocks whose content follows from their lsn ---- */

enum { BLOCKS_MAX = 4096 };

typedef struct seen {
    uint32_t count;
    uint64_t lsn[BLOCKS_MAX];
    uint64_t last_lsn;
    uint64_t mark;
    bool     strange;
} seen;

static const uuid generation = { { 7 } };

static uint64_t
word_of(uint64_t lsn, uint64_t i)
{
    return (lsn * 1000003 + i) * 0x9e3779b97f4a7c15ull;
}

static int
on_block(void *ctx, const journal_block *b)
{
    seen *s = ctx;

    if (b->first_lsn <= s->last_lsn || b->payload.len % 8 != 0 || s->count == BLOCKS_MAX)
        s->strange = true;
    for (uint64_t i = 0; i < b->payload.len / 8; i++)
        if (load_u64(b->payload.at + 8 * i) != word_of(b->first_lsn, i))
            s->strange = true;
    s->last_lsn = b->first_lsn + b->rows - 1;
    if (b->mark_count == 1 && uuid_eq(&b->generation, &generation))
        s->mark = b->marks[0].pos;
    if (s->count < BLOCKS_MAX)
        s->lsn[s->count++] = b->first_lsn;
    return 0;
}

typedef struct rig {
    const char    *dir;
    journal       *j;
    journal_config config;
    journal_report report;
    seen           seen;
    uint64_t       lsn; /* of the next block */
} rig;

static rig
rig_new(const char *dir)
{
    return (rig){
        .dir = dir,
        .config = { .budget_bytes = 4 << 20, .segment_bytes = 256 << 10, .durability = JOURNAL_OS },
        .lsn = 1
    };
}

static void
rig_open(rig *r, uint64_t after_lsn)
{
    r->seen = (seen){ 0 };
    CHECK_OK(journal_open(&r->j, r->dir, &r->config, after_lsn, on_block, &r->seen, &r->report));
    CHECK(!r->seen.strange);
    CHECK_EQ(r->report.blocks, r->seen.count);
    r->lsn = max_u64(r->lsn, r->seen.last_lsn + 1);
}

static void
rig_reopen(rig *r, uint64_t after_lsn)
{
    journal_close(&r->j);
    rig_open(r, after_lsn);
}

static void
build(rig *r, uint32_t words)
{
    uint8_t *at;

    journal_begin(r->j);
    at = journal_append(r->j, words * 8);
    assert_non_null(at);
    for (uint32_t i = 0; i < words; i++) {
        uint64_t w = word_of(r->lsn, i);
        memcpy(at + 8 * i, &w, 8);
    }
    journal_mark_applied(r->j, 1, r->lsn * 10);
    journal_end(r->j, r->lsn, 10, &generation, 0);
}

static void
put(rig *r, uint32_t words)
{
    build(r, words);
    CHECK_OK(journal_write(r->j));
    journal_drop(r->j);
    r->lsn += 10;
}

/* Blocks 1, 11, 21, ... up to before `lsn`, each once. */
static void
check_whole(const rig *r, uint64_t lsn)
{
    CHECK_EQ(r->seen.count, (lsn - 1) / 10);
    for (uint32_t i = 0; i < r->seen.count; i++)
        CHECK_EQ(r->seen.lsn[i], 1 + 10 * i);
}

static void
what_was_written_comes_back_in_order(void **state)
{
    static const enum journal_durability modes[] = { JOURNAL_FSYNC, JOURNAL_OS };

    for (int m = 0; m < 4; m++) {
        char dir[FS_PATH_MAX];
        rig  r;

        CHECK_OK(fs_path(dir, "%s/%d", (char *)*state, m));
        r = rig_new(dir);
        r.config.durability = modes[m / 2];
        r.config.buffered = m % 2 != 0;
        rig_open(&r, 0);
        CHECK_EQ(r.seen.count, 0);
        for (uint32_t i = 0; i < 200; i++)
            put(&r, 1 + i * 7);
        rig_reopen(&r, 0);
        check_whole(&r, r.lsn);
        CHECK_EQ(r.report.torn_bytes, 0);
        CHECK_EQ(r.report.damaged, 0);
        CHECK_EQ(r.seen.mark, (r.lsn - 10) * 10);
        put(&r, 5);
        rig_reopen(&r, 1001); /* what is not needed any longer is not replayed */
        CHECK_EQ(r.seen.lsn[0], 1001);
        CHECK_EQ(r.seen.last_lsn, r.lsn - 1);
        journal_close(&r.j);
    }
}

static void
one_block_is_built_while_another_is_in_flight(void **state)
{
    rig r = rig_new(*state);

    rig_open(&r, 0);
    build(&r, 10);
    uint64_t first = r.lsn;
    r.lsn += 10;
    journal_begin(r.j);
    CHECK(journal_is_empty(r.j));
    uint8_t *at = journal_append(r.j, 24);
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t w = word_of(r.lsn, i);
        memcpy(at + 8 * i, &w, 8);
    }
    CHECK_EQ(journal_building_len(r.j), 24);
    CHECK_EQ(journal_ended(r.j)->first_lsn, first);
    CHECK_OK(journal_write(r.j));
    journal_drop(r.j);
    CHECK(journal_ended(r.j) == NULL);
    journal_end(r.j, r.lsn, 10, &generation, 0);
    CHECK_OK(journal_write(r.j));
    journal_drop(r.j);
    rig_reopen(&r, 0);
    check_whole(&r, 21);
    journal_close(&r.j);
}

static void
a_block_has_a_bound(void **state)
{
    rig r = rig_new(*state);

    r.config.durability = JOURNAL_MEMORY;
    rig_open(&r, 0);
    journal_begin(r.j);
    for (int i = 0; i < 4; i++)
        CHECK(journal_append(r.j, 1 << 20) != NULL);
    CHECK(journal_append(r.j, 1) == NULL);
    journal_give_back(r.j, 1 << 20);
    CHECK(journal_append(r.j, 1) != NULL);
    journal_close(&r.j);
}

static void
the_largest_block_comes_back(void **state)
{
    rig r = rig_new(*state);

    rig_open(&r, 0);
    put(&r, 3);
    put(&r, JOURNAL_BLOCK_MAX / 8); /* longer than a segment */
    put(&r, 3);
    rig_reopen(&r, 0);
    check_whole(&r, r.lsn);
    journal_close(&r.j);
}

/* ---- failing writes ---- */

static void
a_failed_write_is_repeated_elsewhere_and_counts_once(void **state)
{
    static const enum trouble kinds[] = { FAILS, HALF_WRITTEN, WRITTEN_BUT_FAILS };

    for (int m = 0; m < 6; m++) {
        char dir[FS_PATH_MAX];
        rig  r;

        CHECK_OK(fs_path(dir, "%s/%d", (char *)*state, m));
        r = rig_new(dir);
        r.config.durability = JOURNAL_FSYNC;
        r.config.buffered = m >= 3;
        rig_open(&r, 0);
        for (int i = 0; i < 40; i++) {
            build(&r, 2000);
            if (i % 5 == 2) {
                trouble = kinds[m % 3];
                CHECK_EQ(journal_write(r.j), E_IO);
            }
            if (i % 10 == 7) { /* and again */
                trouble = kinds[(m + 1) % 3];
                CHECK_EQ(journal_write(r.j), E_IO);
            }
            CHECK_OK(journal_write(r.j));
            journal_drop(r.j);
            r.lsn += 10;
        }
        rig_reopen(&r, 0);
        check_whole(&r, r.lsn);
        CHECK_EQ(r.report.damaged, 0);
        journal_close(&r.j);
    }
    err_clear();
}

static void
a_failed_sync_is_a_failed_write(void **state)
{
    rig r = rig_new(*state);

    r.config.durability = JOURNAL_FSYNC;
    r.config.buffered = true;
    rig_open(&r, 0);
    put(&r, 100);
    build(&r, 100);
    sync_fails = 2;
    CHECK_EQ(journal_write(r.j), E_IO);
    CHECK_EQ(journal_write(r.j), E_IO);
    CHECK_OK(journal_write(r.j));
    journal_drop(r.j);
    r.lsn += 10;
    rig_reopen(&r, 0);
    check_whole(&r, 21);
    journal_close(&r.j);
    err_clear();
}

static void
remove_segment(const rig *r, uint64_t file)
{
    char path[FS_PATH_MAX];

    CHECK_OK(fs_path(path, "%s/journal/%08llu.seg", r->dir, (unsigned long long)file));
    CHECK_EQ(unlink(path), 0);
}

/* Its writer may have been killed before the sync.  When that fails now, it is written once more, elsewhere. */
static void
the_newest_block_is_made_durable_at_the_next_start(void **state)
{
    rig r = rig_new(*state);

    r.config.durability = JOURNAL_FSYNC;
    r.config.buffered = true;
    rig_open(&r, 0);
    for (int i = 0; i < 3; i++)
        put(&r, 100);
    journal_close(&r.j);
    sync_fails = 1;
    rig_open(&r, 0);
    CHECK_EQ(sync_fails, 0);
    check_whole(&r, r.lsn);
    rig_reopen(&r, 0);
    check_whole(&r, r.lsn);
    CHECK_EQ(r.report.damaged, 0);
    journal_close(&r.j);
    remove_segment(&r, 1);
    rig_open(&r, 0);
    CHECK_EQ(r.seen.count, 1);
    CHECK_EQ(r.seen.lsn[0], 21);
    put(&r, 100);
    rig_reopen(&r, 0);
    CHECK_EQ(r.seen.count, 2);
    journal_close(&r.j);
    err_clear();
}

static void
a_full_disk_has_its_own_code(void **state)
{
    rig r = rig_new(*state);

    rig_open(&r, 0);
    build(&r, 10);
    trouble = FAILS;
    trouble_errno = ENOSPC;
    CHECK_EQ(journal_write(r.j), E_NOSPACE);
    trouble_errno = EIO;
    CHECK_OK(journal_write(r.j));
    journal_close(&r.j);
    err_clear();
}

static void
a_dropped_block_makes_no_hole_and_does_not_hide_its_successor(void **state)
{
    rig r = rig_new(*state);

    rig_open(&r, 0);
    put(&r, 100);
    build(&r, 100);
    trouble = WRITTEN_BUT_FAILS; /* it is on the disk, sound, and was refused */
    CHECK_EQ(journal_write(r.j), E_IO);
    journal_drop(r.j);
    r.lsn += 10;
    put(&r, 50);
    rig_reopen(&r, 0);
    CHECK_EQ(r.report.damaged, 0);
    CHECK_EQ(r.seen.count, 2);
    CHECK_EQ(r.seen.lsn[1], 21);
    journal_close(&r.j);
    err_clear();
}

/* ---- trimming ---- */

static uint64_t
bytes_on_disk(const char *dir)
{
    char           path[FS_PATH_MAX];
    struct dirent *e;
    struct stat    st;
    uint64_t       sum = 0;

    CHECK_OK(fs_path(path, "%s/journal", dir));
    DIR *d = opendir(path);
    assert_non_null(d);
    while ((e = readdir(d)) != NULL)
        if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_size;
    closedir(d);
    return sum;
}

static void
segments_are_recycled_within_the_budget(void **state)
{
    rig r = rig_new(*state);

    rig_open(&r, 0);
    for (int i = 0; i < 3000; i++) { /* 36 MB through 4 */
        put(&r, 1500);
        if (journal_used_bytes(r.j) > 3 << 20) {
            uint64_t lsn = journal_trimmable(r.j, r.lsn - 500);
            journal_trim(r.j, lsn);
            CHECK(journal_oldest_lsn(r.j) > lsn);
        }
        CHECK(journal_used_bytes(r.j) <= 4 << 20);
    }
    CHECK(bytes_on_disk(*state) <= (4 << 20) + (1 << 20));
    uint64_t oldest = journal_oldest_lsn(r.j);
    rig_reopen(&r, oldest - 1);
    CHECK_EQ(r.seen.lsn[0], oldest);
    CHECK_EQ(r.seen.count, (r.lsn - oldest) / 10);
    CHECK_EQ(r.report.damaged, 0);
    put(&r, 10);
    CHECK_EQ(journal_trimmable(r.j, oldest - 1), 0);
    journal_close(&r.j);
}

static void
the_newest_block_is_never_trimmed(void **state)
{
    rig r = rig_new(*state);

    rig_open(&r, 0);
    for (int i = 0; i < 100; i++)
        put(&r, 1000);
    for (int i = 0; i < 3; i++) {
        journal_trim(r.j, journal_trimmable(r.j, UINT64_MAX));
        uint64_t after = journal_oldest_lsn(r.j) - 1;
        rig_reopen(&r, after);
        CHECK(r.seen.count > 0);
        CHECK_EQ(r.seen.last_lsn, r.lsn - 1);
        CHECK_EQ(r.seen.mark, (r.lsn - 10) * 10);
    }
    journal_close(&r.j);
}

static void
beyond_the_budget_writing_stops_and_goes_on_after_a_trim(void **state)
{
    rig r = rig_new(*state);
    int rc = 0;

    rig_open(&r, 0);
    for (int i = 0; i < 1000 && rc == 0; i++) {
        build(&r, 3000);
        rc = journal_write(r.j);
        if (rc == 0) {
            journal_drop(r.j);
            r.lsn += 10;
        }
    }
    CHECK_EQ(rc, E_NOSPACE);
    CHECK(bytes_on_disk(*state) < 8 << 20);
    journal_trim(r.j, journal_trimmable(r.j, r.lsn));
    CHECK_OK(journal_write(r.j));
    journal_close(&r.j);
    err_clear();
}

static void
in_memory_nothing_reaches_the_disk(void **state)
{
    rig r = rig_new(*state);

    r.config.durability = JOURNAL_MEMORY;
    rig_open(&r, 0);
    for (int i = 0; i < 100; i++)
        put(&r, 100);
    CHECK_EQ(journal_used_bytes(r.j), 0);
    CHECK(bytes_on_disk(*state) < 4096);
    journal_close(&r.j);
}

/* ---- damage ---- */

/* The file with the block that begins with `lsn`, and where in it; by looking at every page. */
static int
find_block(const char *dir, uint64_t lsn, off_t *offset)
{
    char           path[FS_PATH_MAX];
    struct dirent *e;

    CHECK_OK(fs_path(path, "%s/journal", dir));
    DIR *d = opendir(path);
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        uint8_t page[4096];
        int     fd = openat(dirfd(d), e->d_name, O_RDWR);

        for (*offset = 0; fd >= 0 && pread(fd, page, sizeof page, *offset) == sizeof page;
             *offset += 4096)
            if (load_u64(page + 16) == lsn && memcmp(page, "HTLJ", 4) == 0) {
                closedir(d);
                return fd;
            }
        if (fd >= 0)
            close(fd);
    }
    closedir(d);
    fail_msg("no block with lsn %lu", (unsigned long)lsn);
    return -1;
}

static void
damage_block(const char *dir, uint64_t lsn, off_t at)
{
    off_t   offset;
    int     fd = find_block(dir, lsn, &offset);
    uint8_t byte;

    CHECK_EQ(pread(fd, &byte, 1, offset + at), 1);
    byte ^= 0x40;
    CHECK_EQ(pwrite(fd, &byte, 1, offset + at), 1);
    close(fd);
}

static void
a_torn_tail_is_cut(void **state)
{
    rig r = rig_new(*state);

    rig_open(&r, 0);
    for (int i = 0; i < 10; i++)
        put(&r, 1000);
    journal_close(&r.j);
    damage_block(*state, 91, 5000);
    rig_open(&r, 0);
    check_whole(&r, 91);
    CHECK(r.report.torn_bytes > 8000);
    CHECK_EQ(r.report.damaged, 0);
    r.lsn = 91; /* its number is free again */
    put(&r, 10);
    rig_reopen(&r, 0);
    check_whole(&r, 101);
    CHECK_EQ(r.report.damaged, 0);
    journal_close(&r.j);
}

static void
a_damaged_block_is_set_aside_and_the_later_ones_are_replayed(void **state)
{
    static const off_t where[] = {
        0, 8, 13, 100, 3000, 9000
    }; /* magic, length, crc, spare, payload */

    for (size_t w = 0; w < COUNT_OF(where); w++)
        for (uint64_t victim = 1; victim <= 201; victim += 40) {
            char dir[FS_PATH_MAX], aside[FS_PATH_MAX];
            rig  r;

            CHECK_OK(fs_path(dir, "%s/%zu-%lu", (char *)*state, w, (unsigned long)victim));
            r = rig_new(dir);
            rig_open(&r, 0);
            for (int i = 0; i < 100; i++) /* over several segments */
                put(&r, 1500);
            journal_close(&r.j);
            damage_block(dir, victim, where[w]);
            rig_open(&r, 0);
            CHECK_EQ(r.report.damaged, 1);
            CHECK_EQ(r.seen.count, 99);
            CHECK_EQ(r.seen.last_lsn, 1000);
            for (uint32_t i = 0; i < r.seen.count; i++)
                CHECK(r.seen.lsn[i] != victim);
            CHECK_OK(fs_path(aside, "%s/damaged", dir));
            CHECK(!fs_is_empty_dir(aside));
            journal_close(&r.j);
        }
}

static void
a_torn_first_block_of_a_recycled_segment_brings_nothing_old_back(void **state)
{
    rig r = rig_new(*state);

    rig_open(&r, 0);
    for (int i = 0; i < 2000; i++) {
        put(&r, 1500);
        if (journal_used_bytes(r.j) > 1 << 20)
            journal_trim(r.j, journal_trimmable(r.j, r.lsn));
    }
    uint64_t oldest = journal_oldest_lsn(r.j);
    journal_close(&r.j);
    /* The newest segment's blocks are torn from its first one on. */
    for (uint64_t lsn = r.lsn - 10;; lsn -= 10) {
        off_t offset;
        int   fd = find_block(*state, lsn, &offset);

        close(fd);
        damage_block(*state, lsn, 300);
        if (offset == 0)
            break;
    }
    rig_open(&r, oldest - 1);
    for (uint32_t i = 0; i < r.seen.count; i++)
        CHECK(r.seen.lsn[i] >= oldest);
    CHECK_EQ(r.report.damaged, 0);
    CHECK(r.report.torn_bytes > 0);
    journal_close(&r.j);
}

static void
blocks_of_another_journal_are_not_ours(void **state)
{
    char from[FS_PATH_MAX], to[FS_PATH_MAX], a[FS_PATH_MAX], b[FS_PATH_MAX];
    rig  r, other;

    CHECK_OK(fs_path(a, "%s/a", (char *)*state));
    CHECK_OK(fs_path(b, "%s/b", (char *)*state));
    r = rig_new(a);
    rig_open(&r, 0);
    for (int i = 0; i < 10; i++)
        put(&r, 10);
    journal_close(&r.j);
    other = rig_new(b);
    rig_open(&other, 0);
    put(&other, 5);
    journal_close(&other.j);
    CHECK_OK(fs_path(from, "%s/a/journal/00000001.seg", (char *)*state));
    CHECK_OK(fs_path(to, "%s/b/journal/00000009.seg", (char *)*state));
    CHECK_OK(fs_rename(from, to));
    rig_open(&other, 0);
    CHECK_EQ(other.seen.count, 1);
    journal_close(&other.j);
}

/* Random damage anywhere: what was not touched is there, what was touched is not taken for anything else. */
static void
random_damage_loses_only_what_it_hits(void **state)
{
    uint64_t random = 42;

    for (int round = 0; round < 60; round++) {
        char dir[FS_PATH_MAX];
        bool hit[40] = { false };
        rig  r;

        CHECK_OK(fs_path(dir, "%s/%d", (char *)*state, round));
        r = rig_new(dir);
        rig_open(&r, 0);
        for (uint32_t i = 0; i < 40; i++)
            put(&r, 1 + (uint32_t)(word_of((uint64_t)round, i) % 3000));
        journal_close(&r.j);
        for (int k = 0; k < 1 + round % 4; k++) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            uint64_t block = (random >> 33) % 40;
            uint64_t words = 1 + word_of((uint64_t)round, block) % 3000;

            if (hit[block])
                continue;
            /* The spare part of the head counts as little as the padding: but it is under the checksum. */
            damage_block(dir, 1 + 10 * block, (off_t)((random >> 20) % (128 + 8 * words)));
            hit[block] = true;
        }
        rig_open(&r, 0);
        uint32_t at = 0;
        for (uint64_t block = 0; block < 40; block++)
            if (!hit[block])
                CHECK_EQ(r.seen.lsn[at++], 1 + 10 * block);
        CHECK_EQ(r.seen.count, at);
        journal_close(&r.j);
        scratch_remove(dir);
    }
}

static void
what_was_acknowledged_survives_a_kill(void **state)
{
    _Atomic uint64_t *acked =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(acked != MAP_FAILED);
    for (int round = 0; round < 15; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            rig r = rig_new(*state);

            r.config.durability = JOURNAL_FSYNC;
            rig_open(&r, 0);
            for (uint64_t i = 0; i < 100000; i++) {
                if (journal_used_bytes(r.j) > 3 << 20)
                    pause(); /* enough: wait for the end */
                put(&r, 1 + (uint32_t)(i * 37 % 900));
                *acked = r.lsn - 1;
            }
            _exit(0);
        }
        uint64_t before = *acked;
        while (*acked < before + 200 + 10 * (uint64_t)round) {
            int status;
            CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
        }
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        rig r = rig_new(*state);
        rig_open(&r, 0);
        CHECK(r.seen.last_lsn >= *acked);
        check_whole(&r, r.lsn);
        CHECK_EQ(r.report.damaged, 0);
        *acked = r.seen.last_lsn;
        journal_close(&r.j);
        if (bytes_on_disk(*state) > 2 << 20)
            break;
    }
    munmap(acked, 4096);
}

/* ---- a disk that does not read ---- */

static uint64_t refusals; /* how many reads of byte refused_at still fail */
static int64_t  later_us; /* the clock is ahead */
enum { REFUSED_AT = 9000 };

static ssize_t
refusing_pread(int fd, void *out, size_t len, off_t at)
{
    if (refusals > 0 && at <= REFUSED_AT && at + (off_t)len > REFUSED_AT) {
        refusals--;
        errno = EIO;
        return -1;
    }
    return world_linux.pread(fd, out, len, at);
}

static int64_t
later(void)
{
    return world_linux.wall_us() + later_us;
}

static void
a_disk_that_does_not_read_just_now_is_no_damage(void **state)
{
    world w = world_linux;
    rig   r = rig_new(*state);

    w.pread = refusing_pread;
    w.wall_us = later;
    rig_open(&r, 0);
    for (uint32_t i = 0; i < 40; i++)
        put(&r, 100);
    journal_close(&r.j);
    world_set(&w);
    refusals = 1; /* a hiccup is not even noticed */
    rig_open(&r, 0);
    check_whole(&r, r.lsn);
    journal_close(&r.j);
    refusals = UINT64_MAX;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(journal_open(&r.j, r.dir, &r.config, 0, on_block, &r.seen, &r.report), E_IO);
        err_clear();
        later_us += 2000000;
    }
    refusals = 0;
    rig_open(&r, 0);
    check_whole(&r, r.lsn);
    CHECK_EQ(r.report.damaged, 0);
    journal_close(&r.j);
    world_set(&world_linux);
}

static void
a_place_that_stays_unreadable_counts_as_damaged_in_the_end(void **state)
{
    world w = world_linux;
    rig   r = rig_new(*state);

    w.pread = refusing_pread;
    w.wall_us = later;
    rig_open(&r, 0);
    for (uint32_t i = 0; i < 40; i++)
        put(&r, 100);
    journal_close(&r.j);
    world_set(&w);
    refusals = UINT64_MAX;
    CHECK_EQ(journal_open(&r.j, r.dir, &r.config, 0, on_block, &r.seen, &r.report), E_IO);
    err_clear();
    later_us += (int64_t)PATIENCE_S * 1000000;
    r.seen = (seen){ 0 };
    CHECK_OK(journal_open(&r.j, r.dir, &r.config, 0, on_block, &r.seen, &r.report));
    CHECK(r.report.damaged > 0);
    CHECK(r.seen.count >= 30 && r.seen.count < 40);
    journal_close(&r.j);
    refusals = 0;
    world_set(&world_linux);
}

/* Block 11 kills whoever replays it, by `signal`, while it is there to be killed. */
static int
on_deadly_block(void *ctx, const journal_block *b)
{
    if (b->first_lsn == 11)
        (void)raise(*(const int *)ctx);
    return 0;
}

/* A life that opens the journal; how it ended. */
static int
life(rig *r, int number)
{
    journal_report report;
    journal       *j;
    int            status = 0;
    pid_t          pid = fork();

    if (pid == 0) {
        (void)signal(number, SIG_DFL);
        _exit(journal_open(&j, r->dir, &r->config, 0, on_deadly_block, &number, &report) == 0 && report.damaged == 1 ? 0 : 1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static void
a_block_whose_replay_dies_twice_of_a_fault_is_set_aside(void **state)
{
    rig    r = rig_new(*state);
    crumb *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(c != MAP_FAILED);
    rig_open(&r, 0);
    for (int i = 0; i < 4; i++)
        put(&r, 100);
    journal_close(&r.j);
    r.config.crumb = c;
    for (int i = 0; i < 5; i++) /* killed from outside, as often as you like: nobody's doing */
        CHECK(WIFSIGNALED(life(&r, SIGKILL)));
    for (int i = 0; i < CRUMB_DEATHS_MAX; i++) {
        CHECK(WIFSIGNALED(life(&r, SIGABRT)));
        crumb_note_death(c);
    }
    CHECK_EQ(life(&r, SIGABRT), 0); /* the third one leaves it out, */
    memset(c, 0, sizeof *c);
    CHECK_EQ(life(&r, SIGABRT), 0); /* and so does whoever comes later */
    rig_open(&r, 0);
    CHECK_EQ(r.seen.count, 3);
    CHECK(r.seen.lsn[0] == 1 && r.seen.lsn[1] == 21 && r.seen.lsn[2] == 31);
    CHECK_EQ(r.report.damaged, 1);
    put(&r, 100); /* and it goes on */
    journal_close(&r.j);
    (void)munmap(c, sizeof *c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_SCRATCH(what_was_written_comes_back_in_order),
        TEST_IN_SCRATCH(one_block_is_built_while_another_is_in_flight),
        TEST_IN_SCRATCH(a_block_has_a_bound),
        TEST_IN_SCRATCH(the_largest_block_comes_back),
        TEST_IN_SCRATCH(a_failed_write_is_repeated_elsewhere_and_counts_once),
        TEST_IN_SCRATCH(a_failed_sync_is_a_failed_write),
        TEST_IN_SCRATCH(the_newest_block_is_made_durable_at_the_next_start),
        TEST_IN_SCRATCH(a_full_disk_has_its_own_code),
        TEST_IN_SCRATCH(a_dropped_block_makes_no_hole_and_does_not_hide_its_successor),
        TEST_IN_SCRATCH(segments_are_recycled_within_the_budget),
        TEST_IN_SCRATCH(the_newest_block_is_never_trimmed),
        TEST_IN_SCRATCH(beyond_the_budget_writing_stops_and_goes_on_after_a_trim),
        TEST_IN_SCRATCH(in_memory_nothing_reaches_the_disk),
        TEST_IN_SCRATCH(a_torn_tail_is_cut),
        TEST_IN_SCRATCH(a_damaged_block_is_set_aside_and_the_later_ones_are_replayed),
        TEST_IN_SCRATCH(a_torn_first_block_of_a_recycled_segment_brings_nothing_old_back),
        TEST_IN_SCRATCH(blocks_of_another_journal_are_not_ours),
        TEST_IN_SCRATCH(random_damage_loses_only_what_it_hits),
        TEST_IN_SCRATCH(what_was_acknowledged_survives_a_kill),
        TEST_IN_SCRATCH(a_block_whose_replay_dies_twice_of_a_fault_is_set_aside),
        TEST_IN_SCRATCH(a_disk_that_does_not_read_just_now_is_no_damage),
        TEST_IN_SCRATCH(a_place_that_stays_unreadable_counts_as_damaged_in_the_end),
    };

    return cmocka_run_group_tests_name("storage/journal", tests, NULL, NULL);
}
