#include "tests/unit/storage/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "storage/fs.h"
#include "storage/part.h"
#include "tests/unit/storage/body.h"

static const uuid lanes = { { 1, 2, 3 } };
static const uuid other_lanes = { { 9 } };

typedef struct told {
    uint32_t series_calls;
    uint32_t last_series;
    char     metric[64], unit[64];
    uint32_t latest_calls;
    double   latest[8]; /* by series number */
} told;

static int
on_series(void *ctx, uint32_t series, uint32_t machine, uint32_t tenant, view metric, view unit)
{
    told *t = ctx;

    (void)machine;
    (void)tenant;
    t->series_calls++;
    t->last_series = series;
    snprintf(t->metric, sizeof t->metric, "%.*s", (int)metric.len, (const char *)metric.at);
    snprintf(t->unit, sizeof t->unit, "%.*s", (int)unit.len, (const char *)unit.at);
    return 0;
}

static void
on_latest(void *ctx, uint32_t series, int64_t time_us, double value, uint64_t lsn)
{
    told *t = ctx;

    (void)time_us;
    CHECK(lsn > 0);
    t->latest_calls++;
    if (series < COUNT_OF(t->latest))
        t->latest[series] = value;
}

static part_config
config_in(const char *dir)
{
    return (part_config){ .dir = dir,
                          .journal_bytes = 8 << 20,
                          .heads_bytes = 8 << 20,
                          .cache_bytes = 1 << 20,
                          .durability = JOURNAL_FSYNC };
}

static part *
open_in(const char *dir, told *t)
{
    part_config    config = config_in(dir);
    part_events    events = { t, on_series, on_latest };
    journal_report report;
    part          *p;

    *t = (told){ 0 };
    CHECK_OK(part_open(&p, &config, &events, &report));
    CHECK_EQ(report.damaged, 0);
    return p;
}

static uint32_t
stage(part *p, body *b, uint64_t pos)
{
    part_source source = { lanes, addr_of(3, 1), pos };
    uint64_t    lsn;
    uint32_t    rejected;

    CHECK_OK(part_check(body_view(b)));
    CHECK_OK(part_stage(p, body_view(b), &source, &lsn, &rejected));
    return rejected;
}

static void
commit(part *p)
{
    part_end_block(p, 0);
    CHECK_OK(part_write(p));
    part_show(p, NULL, NULL);
}

/* One new series with `count` rows, 1 s apart. */
static void
put_new(part *p, body *b, uint32_t machine, const char *metric, uint32_t count)
{
    uint32_t name;

    body_clear(b);
    name = body_name(b, machine, 0, metric, "C");
    for (uint32_t i = 0; i < count; i++)
        body_row(b, name, ROW_NEW, i * 1000000ll, i);
    CHECK_EQ(stage(p, b, 100), 0);
    commit(p);
}

static void
rows_are_seen_after_the_write_and_not_before(void **state)
{
    told  t;
    part *p = open_in(*state, &t);
    body  b = body_new(7);

    body_row(&b, body_name(&b, 1, 0, "temperature", "C"), ROW_NEW, 5, 1.5);
    CHECK_EQ(stage(p, &b, 64), 0);
    CHECK_EQ(part_head(p, 1).count, 0);
    CHECK_EQ(t.series_calls, 0);
    part_end_block(p, 0);
    CHECK_OK(part_write(p));
    CHECK_EQ(part_head(p, 1).count, 0);
    part_show(p, NULL, NULL);
    CHECK_EQ(part_head(p, 1).count, 1);
    CHECK(part_head(p, 1).rows[0].value == 1.5);
    CHECK_EQ(t.series_calls, 1);
    assert_string_equal(t.metric, "temperature");
    CHECK_EQ(part_applied(p, &lanes, addr_of(3, 1)), 64);
    body_free(&b);
    part_close(&p);
}

static void
what_was_written_is_there_after_a_crash(void **state)
{
    told  t;
    part *p = open_in(*state, &t);
    body  b = body_new(7);

    put_new(p, &b, 1, "a", 10);
    put_new(p, &b, 1, "b", 20);
    body_clear(&b);
    body_row(&b, 1, 0, 77, -3);
    stage(p, &b, 500);
    commit(p);
    part_abandon(&p);

    p = open_in(*state, &t);
    CHECK_EQ(t.series_calls, 2);
    CHECK_EQ(t.latest_calls, 2);
    CHECK_EQ(part_head(p, 1).count, 11);
    CHECK_EQ(part_head(p, 2).count, 20);
    CHECK(part_head(p, 1).rows[10].value == -3);
    CHECK_EQ(part_applied(p, &lanes, addr_of(3, 1)), 500);
    CHECK_EQ(part_applied(p, &other_lanes, addr_of(3, 1)), 0);
    CHECK_EQ(part_applied(p, &lanes, addr_of(3, 2)), 0);
    CHECK_EQ(part_next_lsn(p), 32);
    body_free(&b);
    part_close(&p);
}

typedef struct shown {
    uint32_t rows;
    uint64_t first_lsn, last_lsn;
} shown;

static void
note_row(void *ctx, uint32_t series, const head_row *row, uint64_t lsn)
{
    shown *s = ctx;

    (void)series;
    (void)row;
    s->first_lsn = s->rows++ == 0 ? lsn : s->first_lsn;
    s->last_lsn = lsn;
}

static part *
open_apart(const char *dir, told *t)
{
    part_config    config = config_in(dir);
    part_events    events = { t, on_series, on_latest };
    journal_report report;
    part          *p;

    config.replay_apart = true;
    *t = (told){ 0 };
    CHECK_OK(part_open(&p, &config, &events, &report));
    return p;
}

static void
it_takes_readings_before_the_replay_is_through(void **state)
{
    told  t;
    part *p = open_in(*state, &t);
    body  b = body_new(7);
    shown seen = { 0 };
    bool  more;
    int   rc;

    put_new(p, &b, 1, "a", 10);
    put_new(p, &b, 1, "b", 20);
    part_abandon(&p);

    p = open_apart(*state, &t);
    CHECK(part_is_replaying(p));
    CHECK_EQ(t.series_calls, 2); /* names are known, and what was applied */
    CHECK_EQ(part_applied(p, &lanes, addr_of(3, 1)), 100);
    CHECK_EQ(part_head(p, 1).count, 0);
    body_clear(&b);
    body_row(&b, 1, 0, 10 * 1000000ll, 5);                                /* a later time than any, */
    body_row(&b, body_name(&b, 1, 0, "c", "C"), ROW_NEW, 0, 1);           /* a new series, */
    body_row(&b, body_name(&b, 1, 0, "b", "C"), ROW_NEW, 3 * 1000000ll, 8); /* the same time once more */
    CHECK_EQ(stage(p, &b, 200), 0);
    commit(p);
    CHECK_EQ(t.last_series, 3);
    CHECK_EQ(part_applied(p, &lanes, addr_of(3, 1)), 200);
    CHECK_EQ(part_head(p, 1).count, 0);
    CHECK(!part_tend(p, &rc) && rc == E_OK && !part_begin_sync(p));
    CHECK_OK(part_replay(p, 1, &more)); /* a block */
    CHECK(more);
    CHECK_EQ(part_head(p, 1).count, 10);
    CHECK_EQ(part_head(p, 2).count, 0);
    CHECK_OK(part_replay(p, UINT64_MAX, &more));
    CHECK(!more && !part_is_replaying(p));
    CHECK_EQ(part_head(p, 2).count, 20);
    CHECK(part_kept_bytes(p) > 0 && part_show_kept(p, note_row, &seen) && !part_show_kept(p, note_row, &seen));
    CHECK_EQ(part_kept_bytes(p), 0);
    CHECK_EQ(seen.rows, 3);
    CHECK_EQ(seen.first_lsn, 31);
    CHECK_EQ(part_head(p, 1).count, 11);
    CHECK_EQ(part_head_by_time(p, 2).count, 20);
    CHECK(part_head_by_time(p, 2).rows[3].value == 8);
    part_abandon(&p);

    p = open_in(*state, &t); /* and the same from the journal */
    CHECK_EQ(t.series_calls, 3);
    CHECK_EQ(part_head(p, 1).count, 11);
    CHECK_EQ(part_head(p, 3).count, 1);
    CHECK(t.latest[1] == 5 && t.latest[2] == 19);
    body_free(&b);
    part_close(&p);
}

/* Killed while it replays, again and again, with readings taken each time. */
static void
a_replay_that_never_ends_loses_nothing(void **state)
{
    told  t;
    part *p = open_in(*state, &t);
    body  b = body_new(7);
    bool  more;

    put_new(p, &b, 1, "a", 100);
    part_abandon(&p);
    for (uint32_t i = 0; i < 5; i++) {
        p = open_apart(*state, &t);
        body_clear(&b);
        body_row(&b, 1, 0, (1000 + i) * 1000000ll, i);
        CHECK_EQ(stage(p, &b, 200 + i), 0);
        commit(p);
        CHECK_OK(part_replay(p, 1, &more));
        part_abandon(&p);
    }
    p = open_in(*state, &t);
    CHECK_EQ(part_head(p, 1).count, 105);
    CHECK_EQ(part_applied(p, &lanes, addr_of(3, 1)), 204);
    CHECK_EQ(part_next_lsn(p), 106);
    body_free(&b);
    part_close(&p);
}

static part_written
written_in(const char *dir)
{
    part_written w;
    char         path[FS_PATH_MAX], text[256];
    size_t       len;

    CHECK_OK(fs_path(path, "%s/part.0/written", dir));
    CHECK_OK(fs_read_file(path, text, sizeof text, &len));
    CHECK_EQ(sscanf(text, "readings=%lu journal=%lu log=%lu flushed=%lu merged=%lu", &w.readings, &w.journal, &w.log,
                    &w.flushed, &w.merged), 5);
    return w;
}

static void
what_was_written_is_counted_over_all_lives(void **state)
{
    told         t;
    part        *p = open_in(*state, &t);
    body         b = body_new(7);
    part_written w, once_more;
    int          rc;

    put_new(p, &b, 1, "a", 1000);
    CHECK(part_tend(p, &rc) || rc == E_OK);
    part_settle(p);
    part_note_written(p);
    w = written_in(*state);
    CHECK_EQ(w.readings, 1000);
    CHECK(w.journal >= 1000 * sizeof(reading_row));
    CHECK(w.log > 500);
    part_note_written(p); /* nothing came since, but what is flushed by itself */
    once_more = written_in(*state);
    CHECK(once_more.readings == w.readings && once_more.journal == w.journal && once_more.log == w.log);
    part_close(&p);

    p = open_in(*state, &t);
    body_clear(&b);
    body_row(&b, 1, 0, 2000 * 1000000ll, 1);
    stage(p, &b, 200);
    commit(p);
    part_note_written(p);
    once_more = written_in(*state);
    CHECK_EQ(once_more.readings, 1001);
    CHECK(once_more.journal > w.journal && once_more.log >= w.log && once_more.flushed >= w.flushed);
    part_close(&p);
    body_free(&b);
}

/* One bit of the block that begins with that lsn, behind its head and two rows. */
static void
flip_in_block(const char *dir, uint64_t lsn)
{
    char           path[FS_PATH_MAX];
    struct dirent *e;
    DIR           *d;
    uint32_t       flipped = 0;

    CHECK_OK(fs_path(path, "%s/part.0/journal", dir));
    d = opendir(path);
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        uint8_t head[32], byte;
        int     fd;

        if (strstr(e->d_name, ".seg") == NULL)
            continue;
        CHECK_OK(fs_path(path, "%s/part.0/journal/%s", dir, e->d_name));
        fd = open(path, O_RDWR);
        for (off_t at = 0; pread(fd, head, sizeof head, at) == sizeof head; at += 4096) {
            if (load_u32(head) != 0x4a4c5448 || load_u64(head + 16) != lsn)
                continue;
            CHECK_EQ(pread(fd, &byte, 1, at + 128 + 8 + 2 * 24 + 16), 1);
            byte ^= 1;
            CHECK_EQ(pwrite(fd, &byte, 1, at + 128 + 8 + 2 * 24 + 16), 1);
            flipped++;
        }
        close(fd);
    }
    closedir(d);
    CHECK_EQ(flipped, 1);
}

static void
what_damage_may_have_cost_is_told_with_metric_and_times(void **state)
{
    part_config    config = config_in(*state);
    journal_report report;
    told           t;
    part          *p = open_in(*state, &t);
    body           b = body_new(7);
    char           path[FS_PATH_MAX], text[2048];
    struct dirent *e;
    DIR           *d;
    uint32_t       reports = 0;

    put_new(p, &b, 1, "pressure", 1);
    put_new(p, &b, 2, "flow", 1);
    body_clear(&b);
    for (uint32_t i = 0; i < 10; i++)
        body_row(&b, 1, 0, (1775260800ll + i) * 1000000, i);
    stage(p, &b, 200);
    part_end_block(p, 1775260900ll * 1000000);
    CHECK_OK(part_write(p));
    part_show(p, NULL, NULL);
    put_new(p, &b, 2, "flow", 1);
    part_abandon(&p);
    flip_in_block(*state, 3);

    CHECK_OK(part_open(&p, &config, NULL, &report));
    CHECK_EQ(report.damaged, 1);
    CHECK_EQ(part_head(p, 1).count, 1);
    part_close(&p);
    CHECK_OK(fs_path(path, "%s/part.0/damaged", (char *)*state));
    d = opendir(path);
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        size_t len;

        if (strstr(e->d_name, ".txt") == NULL)
            continue;
        CHECK_OK(fs_path(path, "%s/part.0/damaged/%s", (char *)*state, e->d_name));
        CHECK_OK(fs_read_file(path, text, sizeof text, &len));
        text[len] = '\0';
        reports++;
    }
    closedir(d);
    CHECK_EQ(reports, 1);
    assert_non_null(strstr(text, "readings_at_most=10 "));
    assert_non_null(strstr(text, "machine=1 "));
    assert_non_null(strstr(text, "metric=\"pressure\" readings=10 from=2026-04-04T00:00:00Z until=2026-04-04T00:00:09Z"));
    assert_null(strstr(text, "flow"));
    body_free(&b);
}

static void
a_series_two_fronts_made_at_once_is_one(void **state)
{
    told  t;
    part *p = open_in(*state, &t);
    body  b = body_new(7);

    put_new(p, &b, 1, "a", 1);
    put_new(p, &b, 1, "a", 1);
    put_new(p, &b, 2, "a", 1);
    CHECK_EQ(part_head(p, 1).count, 2);
    CHECK_EQ(part_head(p, 2).count, 1);
    CHECK_EQ(t.series_calls, 2);
    body_free(&b);
    part_close(&p);
}

static void
a_changed_unit_is_told_and_survives(void **state)
{
    told  t;
    part *p = open_in(*state, &t);
    body  b = body_new(7);

    put_new(p, &b, 1, "a", 1);
    body_clear(&b);
    body_name(&b, 1, 1, "a", "K");
    body_row(&b, 1, 0, 9, 9);
    stage(p, &b, 1);
    body_clear(&b);
    body_name(&b, 1, 1, "a", "F"); /* twice in one block: the later one counts */
    stage(p, &b, 2);
    commit(p);
    assert_string_equal(t.unit, "F");
    part_abandon(&p);
    p = open_in(*state, &t);
    assert_string_equal(t.unit, "F");
    body_free(&b);
    part_close(&p);
}

static void
rows_over_the_series_budget_are_dropped_and_counted(void **state)
{
    part_config    config = config_in(*state);
    journal_report report;
    part          *p;
    body           b = body_new(7);

    config.series_per_tenant = 2;
    CHECK_OK(part_open(&p, &config, NULL, &report));
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t name = body_name(&b, 1 + i, 0, "m", "");
        body_row(&b, name, ROW_NEW, 1, i);
        body_row(&b, name, ROW_NEW, 2, i);
    }
    CHECK_EQ(stage(p, &b, 1), 4);
    commit(p);
    CHECK_EQ(part_next_lsn(p), 5);
    CHECK_EQ(part_head(p, 2).count, 2);
    CHECK_EQ(part_head(p, 3).count, 0);
    b.head.tenant = 8; /* another tenant has a budget of its own */
    put_new(p, &b, 9, "m", 1);
    CHECK_EQ(part_head(p, 3).count, 1);
    body_free(&b);
    part_close(&p);
}

static void
a_forgotten_block_leaves_no_rows_but_its_series_work(void **state)
{
    told  t;
    part *p = open_in(*state, &t);
    body  b = body_new(7);

    body_row(&b, body_name(&b, 1, 0, "a", "C"), ROW_NEW, 5, 1);
    stage(p, &b, 64);
    part_end_block(p, 0);
    body_clear(&b); /* staged while the other is in flight, and needs its series */
    body_row(&b, body_name(&b, 1, 0, "a", "C"), ROW_NEW, 6, 2);
    stage(p, &b, 128);
    part_forget(p);
    commit(p);
    CHECK_EQ(part_head(p, 1).count, 1);
    CHECK_EQ(t.series_calls, 1);
    part_abandon(&p);
    p = open_in(*state, &t);
    CHECK_EQ(part_head(p, 1).count, 1);
    CHECK(part_head(p, 1).rows[0].value == 2);
    assert_string_equal(t.metric, "a");

    body_clear(&b); /* and where nothing was in the making */
    body_row(&b, body_name(&b, 1, 0, "b", "C"), ROW_NEW, 5, 1);
    stage(p, &b, 200);
    part_end_block(p, 0);
    part_forget(p);
    CHECK(!part_has_staged(p));
    body_clear(&b);
    body_row(&b, body_name(&b, 1, 0, "b", "C"), ROW_NEW, 6, 2);
    stage(p, &b, 300);
    commit(p);
    part_abandon(&p);
    p = open_in(*state, &t);
    CHECK_EQ(part_head(p, 2).count, 1);
    assert_string_equal(t.metric, "b");
    body_free(&b);
    part_close(&p);
}

static void
tend_all(part *p)
{
    int rc, calls = 0;

    while (part_tend(p, &rc)) {
        CHECK_OK(rc);
        CHECK(++calls < 10000);
    }
    CHECK_OK(rc);
}

static void
a_ripe_head_is_sealed_and_not_replayed(void **state)
{
    told       t;
    part      *p = open_in(*state, &t);
    body       b = body_new(7);
    part_stats s;

    put_new(p, &b, 1, "a", 700);
    put_new(p, &b, 1, "b", 10);
    tend_all(p);
    CHECK_EQ(part_head(p, 1).count, 0);
    CHECK_EQ(part_head(p, 2).count, 10);
    part_abandon(&p);
    p = open_in(*state, &t);
    CHECK_EQ(part_head(p, 1).count, 0);
    CHECK_EQ(part_head(p, 2).count, 10);
    CHECK_EQ(t.series_calls, 2);
    CHECK(t.latest[1] == 699);
    part_stat(p, &s);
    CHECK_EQ(s.chunks, 1);
    body_free(&b);
    part_close(&p);
}

static void
the_journal_and_the_heads_stay_within_their_budgets(void **state)
{
    told       t;
    part      *p = open_in(*state, &t);
    body       b = body_new(7);
    part_stats s;

    for (uint32_t i = 0; i < 2000; i++)
        body_row(&b, body_name(&b, 1 + i, 0, "m", "C"), ROW_NEW, 0, 0);
    stage(p, &b, 1);
    commit(p);
    for (uint32_t round = 1; round < 800; round++) { /* 38 MB of rows through a journal of 8 */
        body_clear(&b);
        for (uint32_t i = 0; i < 2000; i++)
            body_row(&b, 1 + i, 0, round * 1000000ll, round);
        stage(p, &b, round);
        commit(p);
        tend_all(p);
        part_stat(p, &s);
        CHECK(s.journal_used <= 8 << 20);
        CHECK(s.head_bytes <= 8 << 20);
    }
    part_abandon(&p);
    p = open_in(*state, &t);
    CHECK_EQ(t.series_calls, 2000);
    CHECK_EQ(part_applied(p, &lanes, addr_of(3, 1)), 799);
    CHECK_EQ(part_next_lsn(p), 1600001);
    part_stat(p, &s);
    CHECK(s.replayed_rows < 700000);
    body_free(&b);
    part_close(&p);
}

static void
malformed_bodies_are_refused(void **state)
{
    body          b = body_new(7);
    view          v;
    readings_head h;

    (void)state;
    body_row(&b, body_name(&b, 1, 0, "a", "C"), ROW_NEW, 5, 1);
    v = body_view(&b);
    CHECK_OK(part_check(v));
    for (size_t len = 0; len < v.len; len++)
        CHECK_EQ(part_check(view_of(v.at, len)), E_BAD);
    memcpy(&h, v.at, sizeof h);
    h.rows = UINT32_MAX;
    memcpy(b.at, &h, sizeof h);
    CHECK_EQ(part_check(v), E_BAD);
    v = body_view(&b);
    b.at[sizeof h] = 1; /* the index of a name that is not there */
    CHECK_EQ(part_check(v), E_BAD);
    body_clear(&b);
    body_row(&b, 0, 0, 5, 1); /* series 0 is none */
    CHECK_EQ(part_check(body_view(&b)), E_BAD);
    body_free(&b);
}

static void
a_number_nobody_gave_is_rejected_by_itself(void **state)
{
    told  t;
    part *p = open_in(*state, &t);
    body  b = body_new(7);

    put_new(p, &b, 1, "a", 1);
    body_clear(&b);
    body_row(&b, 1, 0, 5, 1);
    body_row(&b, 4000000, 0, 5, 1);
    CHECK_EQ(stage(p, &b, 2), 1);
    commit(p);
    CHECK_EQ(part_head(p, 1).count, 2);
    body_free(&b);
    part_close(&p);
}

static void
one_owner_a_process_and_one_a_machine(void **state)
{
    told           t;
    part          *p = open_in(*state, &t), *other;
    part_config    config = config_in(*state);
    journal_report report;
    int            status;

    CHECK_EQ(part_open(&other, &config, NULL, &report), E_LOCKED);
    pid_t pid = fork();
    if (pid == 0)
        _exit(part_open(&other, &config, NULL, &report) == E_LOCKED ? 0 : 1);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    /* The child shares the parent's table, in which the part has an owner. */
    CHECK_EQ(status, 0);
    part_close(&p);
}

/* ---- two threads, as the ingest actor has them ---- */

static void *
write_block(void *ctx)
{
    return part_write(ctx) == E_OK ? ctx : NULL;
}

static void
a_helper_writes_while_the_owner_stages_and_tends(void **state)
{
    told  t;
    part *p = open_in(*state, &t);
    body  b = body_new(7);

    for (uint32_t i = 0; i < 500; i++)
        body_row(&b, body_name(&b, 1 + i, 0, "m", "C"), ROW_NEW, 0, 0);
    stage(p, &b, 1);
    for (uint32_t round = 2; round <= 500; round++) { /* twice around the journal */
        pthread_t helper;
        void     *written;
        int       rc;

        part_end_block(p, 0);
        CHECK_EQ(pthread_create(&helper, NULL, write_block, p), 0);
        body_clear(&b);
        for (uint32_t i = 0; i < 1500; i++)
            body_row(&b, 1 + i % 500, 0, round * 1000000ll + i, i);
        stage(p, &b, round);
        (void)part_tend(p, &rc);
        CHECK_OK(rc);
        CHECK_EQ(pthread_join(helper, &written), 0);
        assert_non_null(written);
        part_show(p, NULL, NULL);
    }
    commit(p);
    part_abandon(&p);
    p = open_in(*state, &t);
    CHECK_EQ(part_next_lsn(p), 500 + 499 * 1500 + 1);
    CHECK_EQ(part_applied(p, &lanes, addr_of(3, 1)), 500);
    body_free(&b);
    part_close(&p);
}

/* ---- a database that will not open ---- */

static void
remove_in_db(const char *dir, const char *name)
{
    char path[FS_PATH_MAX];

    CHECK_OK(fs_path(path, "%s/part.0/db/%s", dir, name));
    CHECK_EQ(unlink(path), 0);
}

static void
write_in_db(const char *dir, const char *name, const char *text)
{
    char path[FS_PATH_MAX];

    CHECK_OK(fs_path(path, "%s/part.0/db/%s", dir, name));
    CHECK_OK(fs_write_file(path, view_str(text)));
}

static void
a_mangled_current_file_costs_nothing(void **state)
{
    told  t;
    part *p = open_in(*state, &t);
    body  b = body_new(7);

    put_new(p, &b, 1, "a", 700);
    put_new(p, &b, 1, "b", 10);
    tend_all(p);
    part_close(&p);
    remove_in_db(*state, "CURRENT");
    p = open_in(*state, &t);
    CHECK_EQ(t.series_calls, 2);
    CHECK(t.latest[1] == 699);
    CHECK_EQ(part_head(p, 1).count, 0);
    part_close(&p);
    write_in_db(*state, "CURRENT", "MANIFEST-999999\n");
    p = open_in(*state, &t);
    CHECK_EQ(t.series_calls, 2);
    body_free(&b);
    part_close(&p);
}

/* ---- a log with a hole, as a power cut may leave one ---- */

enum { HOLE_SERIES = 3, HOLE_ROWS = 660, HOLE_ROUNDS = 24, HOLE_TRIALS = 12 };

/* The log of the database: its path, and how long it is. */
static uint64_t
the_log(const char *dir, char path[FS_PATH_MAX])
{
    char           db[FS_PATH_MAX];
    struct dirent *e;
    struct stat    st = { 0 };
    DIR           *d;

    CHECK_OK(fs_path(db, "%s/part.0/db", dir));
    d = opendir(db);
    assert_non_null(d);
    while ((e = readdir(d)) != NULL)
        if (strlen(e->d_name) > 4 && strcmp(e->d_name + strlen(e->d_name) - 4, ".log") == 0)
            CHECK_OK(fs_path(path, "%s/%s", db, e->d_name));
    closedir(d);
    CHECK_EQ(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

/* A round of rows of each series, sealed: one write of the log. */
static void
put_round(part *p, body *b, uint32_t round)
{
    int rc = E_OK;

    for (uint32_t s = 1; s <= HOLE_SERIES; s++) {
        body_clear(b);
        if (round == 0)
            (void)body_name(b, s, 0, "m", "C");
        for (uint32_t i = 0; i < HOLE_ROWS; i++) {
            uint32_t n = round * HOLE_ROWS + i;

            body_row(b, round == 0 ? 0 : s, round == 0 ? ROW_NEW : 0, n * 1000000ll, n * 7919 % 1009 + s);
        }
        CHECK_EQ(stage(p, b, 100 + round * 100 + s), 0);
        commit(p);
    }
    while (part_tend(p, &rc))
        CHECK_OK(rc);
    CHECK_EQ(part_head(p, 1).count, 0);
}

/* Every row is in a head or in a chunk. */
static void
check_rounds(const part_config *config, const char *dir)
{
    part_config    c = *config;
    journal_report report;
    part          *p;
    part_reader   *r;
    static bool    seen[HOLE_ROUNDS * HOLE_ROWS];

    c.dir = dir;
    CHECK_OK(part_open(&p, &c, NULL, &report));
    CHECK_OK(part_reader_open(&r, dir, 0, true, NULL, 1 << 20));
    for (uint32_t s = 1; s <= HOLE_SERIES; s++) {
        static int64_t times[CHUNK_ROWS_MAX];
        static double  values[CHUNK_ROWS_MAX];
        chunk_cursor  *cursor;
        chunk_summary  sum;
        head_view      h = part_head(p, s);

        memset(seen, 0, sizeof seen);
        for (uint32_t i = 0; i < h.count; i++)
            seen[h.rows[i].time_us / 1000000] = true;
        CHECK_OK(chunk_cursor_open(&cursor, r, s, INT64_MIN, INT64_MAX));
        while (chunk_cursor_next(cursor, &sum) == 1) {
            CHECK_OK(chunk_cursor_rows(cursor, times, values));
            for (uint32_t i = 0; i < sum.count; i++)
                seen[times[i] / 1000000] = true;
        }
        chunk_cursor_close(&cursor);
        for (uint32_t i = 0; i < COUNT_OF(seen); i++)
            CHECK(seen[i]);
    }
    part_reader_close(&r);
    part_abandon(&p);
}

static void
copy_dir(const char *from, const char *to)
{
    char command[3 * FS_PATH_MAX];

    CHECK(snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s'", to, from, to) < (int)sizeof command);
    CHECK_EQ(system(command), 0);
}

static void
what_lost_pieces_of_the_log_had_sealed_is_replayed(void **state)
{
    static uint8_t zeros[1 << 20];
    char           dir[FS_PATH_MAX], copy[FS_PATH_MAX], path[FS_PATH_MAX];
    uint64_t       at[HOLE_ROUNDS + 1], seed = 20260404;
    part_config    config;
    journal_report report;
    part          *p;
    body           b = body_new(7);

    CHECK_OK(fs_path(dir, "%s/a", (char *)*state));
    CHECK_OK(fs_path(copy, "%s/b", (char *)*state));
    config = config_in(dir);
    config.sync_apart = true; /* nobody syncs: nothing is trimmed */
    CHECK_OK(part_open(&p, &config, NULL, &report));
    at[0] = the_log(dir, path);
    for (uint32_t i = 0; i < HOLE_ROUNDS; i++) {
        put_round(p, &b, i);
        at[i + 1] = the_log(dir, path);
        CHECK(at[i + 1] > at[i]);
    }
    part_abandon(&p);
    for (uint32_t trial = 0; trial < HOLE_TRIALS; trial++) {
        int fd;

        copy_dir(dir, copy);
        CHECK_EQ(the_log(copy, path), at[HOLE_ROUNDS]);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        for (uint32_t i = 0; i < HOLE_ROUNDS; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            if (seed >> 62 != 0)
                continue;
            CHECK(pwrite(fd, zeros, at[i + 1] - at[i], (off_t)at[i]) > 0);
        }
        close(fd);
        check_rounds(&config, copy);
        check_rounds(&config, copy); /* nor does the next crash lose it */
    }
    body_free(&b);
}

static void
beyond_repair_it_starts_with_what_the_journal_has(void **state)
{
    told     t;
    part    *p = open_in(*state, &t);
    body     b = body_new(7);
    char     path[FS_PATH_MAX];
    uint64_t next;

    put_new(p, &b, 1, "a", 700);
    tend_all(p);
    put_new(p, &b, 1, "b", 10);
    next = part_next_lsn(p);
    part_close(&p);
    CHECK_OK(fs_path(path, "%s/part.0/db", (char *)*state));
    scratch_remove(path);
    CHECK_OK(fs_make_dir(path));
    write_in_db(*state, "CURRENT", "nonsense");
    write_in_db(*state, "MANIFEST-000004", "more of it");
    p = open_in(*state, &t);
    /* The journal was not trimmed yet, so all of it is there again. */
    CHECK_EQ(t.series_calls, 2);
    CHECK_EQ(part_head(p, 1).count, 700);
    CHECK_EQ(part_head(p, 2).count, 10);
    CHECK_EQ(part_next_lsn(p), next);
    put_new(p, &b, 1, "c", 10);
    part_close(&p);
    p = open_in(*state, &t);
    CHECK_EQ(t.series_calls, 3);
    body_free(&b);
    part_close(&p);
}

static void
a_newer_format_is_refused_in_one_line(void **state)
{
    told           t;
    part          *p = open_in(*state, &t);
    part_config    config = config_in(*state);
    journal_report report;
    char           path[FS_PATH_MAX];

    part_close(&p);
    CHECK_OK(fs_path(path, "%s/part.0/FORMAT", (char *)*state));
    CHECK_OK(fs_write_file(path, view_str("haltless part\nreader 3\nwriter 3\n")));
    err_clear();
    CHECK_EQ(part_open(&p, &config, NULL, &report), E_NEWER);
    CHECK(p == NULL && strchr(err_text(), '\n') == NULL && strstr(err_text(), "version 3") != NULL);
    err_clear();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_SCRATCH(rows_are_seen_after_the_write_and_not_before),
        TEST_IN_SCRATCH(what_was_written_is_there_after_a_crash),
        TEST_IN_SCRATCH(it_takes_readings_before_the_replay_is_through),
        TEST_IN_SCRATCH(a_replay_that_never_ends_loses_nothing),
        TEST_IN_SCRATCH(what_was_written_is_counted_over_all_lives),
        TEST_IN_SCRATCH(what_damage_may_have_cost_is_told_with_metric_and_times),
        TEST_IN_SCRATCH(a_series_two_fronts_made_at_once_is_one),
        TEST_IN_SCRATCH(a_changed_unit_is_told_and_survives),
        TEST_IN_SCRATCH(rows_over_the_series_budget_are_dropped_and_counted),
        TEST_IN_SCRATCH(a_forgotten_block_leaves_no_rows_but_its_series_work),
        TEST_IN_SCRATCH(a_ripe_head_is_sealed_and_not_replayed),
        TEST_IN_SCRATCH(the_journal_and_the_heads_stay_within_their_budgets),
        TEST(malformed_bodies_are_refused),
        TEST_IN_SCRATCH(a_number_nobody_gave_is_rejected_by_itself),
        TEST_IN_SCRATCH(one_owner_a_process_and_one_a_machine),
        TEST_IN_SCRATCH(a_helper_writes_while_the_owner_stages_and_tends),
        TEST_IN_SCRATCH(a_mangled_current_file_costs_nothing),
        TEST_IN_SCRATCH(what_lost_pieces_of_the_log_had_sealed_is_replayed),
        TEST_IN_SCRATCH(beyond_repair_it_starts_with_what_the_journal_has),
        TEST_IN_SCRATCH(a_newer_format_is_refused_in_one_line),
    };

    return cmocka_run_group_tests_name("storage/part", tests, NULL, NULL);
}
