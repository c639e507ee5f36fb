/* cmd_verify.c - `haltless verify` and `haltless stats`: all data looked through, in an image, while the server runs or not.
 *
 *   image (storage/image.h) ─▶ each partition opened as after a crash ─▶ every chunk, summary, series (part_check.h)
 *                           └▶ the registry opened, every record read
 */
#include "proto/err.h"
#include "proto/json.h"
#include "proto/pack.h"
#include "storage/part_check.h"
#include "storage/regstore.h"
#include "tools/account.h"
#include "tools/backup.h"
#include "tools/commands.h"
#include "tools/picture.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PARTS_MAX = 256, MACHINES_MAX = 1 << 24 };

typedef struct request {
    const char *name; /* of the command */
    const char *dir;  /* data or backup */
    bool        rows;
    bool        json;
} request;

typedef struct findings {
    uint32_t     files, files_damaged; /* of a backup */
    uint64_t     registry_records;
    char       (*machines)[64]; /* owned: their identifiers by number */
    uint32_t     machine_count;
    uint16_t     parts[PARTS_MAX];
    part_checked part[PARTS_MAX];
    uint32_t     part_count;
} findings;

static void
on_progress(void *ctx, uint64_t done, uint64_t of)
{
    progress_show(ctx, done, of);
}

static int
count_record(void *ctx, view key, view value)
{
    findings *f = ctx;

    (void)key;
    (void)value;
    f->registry_records++;
    return 0;
}

static int
note_machine(void *ctx, view key, view value)
{
    findings *f = ctx;
    pack_doc  doc;
    view      identifier;
    uint32_t  no = key.len == 4 ? load_be32(key.at) : 0;

    f->registry_records++;
    if (no == 0 || no > MACHINES_MAX || pack_open(&doc, value) < 0) {
        err_clear();
        return 0;
    }
    if (no >= f->machine_count) {
        uint32_t count = no * 2 + 64;

        f->machines = realloc(f->machines, count * sizeof *f->machines);
        ASSERT(f->machines != NULL);
        memset(f->machines + f->machine_count, 0, (count - f->machine_count) * sizeof *f->machines);
        f->machine_count = count;
    }
    if (pack_get_str(pack_root(&doc), "identifier", &identifier))
        memcpy(f->machines[no], identifier.at, min_u64(identifier.len, sizeof f->machines[no] - 1));
    pack_doc_close(&doc);
    return 0;
}

/* Reading is checking: RocksDB judges each block by its checksum, the store each value by its version. */
static int
check_registry(const char *dir, findings *f)
{
    regstore *s;
    int       rc = regstore_open(&s, dir);

    if (rc < 0)
        return rc;
    for (int i = 0; i < REG_FAMILY_COUNT && rc == E_OK; i++)
        rc = regstore_scan(s, (enum reg_family)i, (view){ 0 }, (view){ 0 }, false,
                           i == REG_MACHINES ? note_machine : count_record, f);
    regstore_close(&s);
    return rc;
}

static int
look_through(const request *r, findings *f)
{
    char     manifest[PATH_MAX];
    picture  pic;
    int      rc = E_OK;

    snprintf(manifest, sizeof manifest, "%s/MANIFEST", r->dir);
    if (access(manifest, F_OK) == 0)
        rc = backup_verify(r->dir, r->json, &f->files, &f->files_damaged);
    if (rc < 0 || (rc = picture_take(&pic, r->dir)) < 0)
        return rc;
    rc = check_registry(pic.path, f);
    f->part_count = picture_parts(pic.path, f->parts, PARTS_MAX);
    for (uint32_t i = 0; i < f->part_count && rc == E_OK; i++) {
        char     what[32];
        progress p = { .what = what, .quiet = r->json };

        snprintf(what, sizeof what, "partition %u", f->parts[i]);
        rc = part_check_image(pic.path, f->parts[i], r->rows, &f->part[i], on_progress, &p);
        progress_end(&p);
    }
    picture_drop(&pic);
    return rc;
}

/* ---- verify ---- */

static const struct {
    const char *name, *words;
    size_t      at;
} faults[] = {
#define ROW(member, words) { #member, words, offsetof(part_fault_counts, member) }
    ROW(blocks, "damaged blocks of the journal"),
    ROW(chunks, "damaged chunks"),
    ROW(rollups, "rollups that are not what their rows say"),
    ROW(summaries, "chunks without a rollup"),
    ROW(series, "series that are none"),
    ROW(latest, "latest readings that are not the latest"),
#undef ROW
};

static uint64_t
fault_of(const part_checked *c, size_t i)
{
    uint64_t n;

    memcpy(&n, (const uint8_t *)&c->faults + faults[i].at, sizeof n);
    return n;
}

static void
part_json(json_out *j, uint16_t number, const part_checked *c)
{
    json_open(j, '{');
    json_name_int(j, "part", number);
    json_name_int(j, "series", (int64_t)c->series);
    json_name_int(j, "chunks", (int64_t)c->chunks);
    json_name_int(j, "readings_sealed", (int64_t)c->readings);
    json_name_int(j, "readings_unsealed", (int64_t)c->head_readings);
    json_name_int(j, "journal_blocks", (int64_t)c->journal_blocks);
    json_name_int(j, "torn_bytes", (int64_t)c->torn_bytes);
    json_name_int(j, "chunk_bytes", (int64_t)c->chunk_bytes);
    json_name_int(j, "rollup_bytes", (int64_t)c->rollup_bytes);
    json_name_int(j, "table_bytes", (int64_t)c->table_bytes);
}

static void
verify_json(const findings *f, uint64_t count)
{
    json_out j = { 0 };

    json_open(&j, '{');
    json_name_bool(&j, "sound", count == 0);
    json_name_int(&j, "faults", (int64_t)count);
    json_name_int(&j, "backup_files", f->files);
    json_name_int(&j, "backup_files_damaged", f->files_damaged);
    json_name_int(&j, "registry_records", (int64_t)f->registry_records);
    json_name(&j, VIEW_LIT("partitions"));
    json_open(&j, '[');
    for (uint32_t i = 0; i < f->part_count; i++) {
        part_json(&j, f->parts[i], &f->part[i]);
        for (size_t k = 0; k < COUNT_OF(faults); k++) {
            char name[48];

            snprintf(name, sizeof name, "fault_%s", faults[k].name);
            json_name_int(&j, name, (int64_t)fault_of(&f->part[i], k));
        }
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    printf("%.*s\n", (int)j.len, j.at);
    json_out_free(&j);
}

static void
verify_text(const findings *f, uint64_t count)
{
    if (f->files > 0)
        printf("backup       %u files, %u damaged\n", f->files, f->files_damaged);
    printf("registry     %" PRIu64 " records\n", f->registry_records);
    for (uint32_t i = 0; i < f->part_count; i++) {
        const part_checked *c = &f->part[i];

        printf("partition %-2u %" PRIu64 " series, %" PRIu64 " readings in %" PRIu64 " chunks, %" PRIu64
               " unsealed in %" PRIu64 " blocks of the journal\n",
               f->parts[i], c->series, c->readings, c->chunks, c->head_readings, c->journal_blocks);
        for (size_t k = 0; k < COUNT_OF(faults); k++)
            if (fault_of(c, k) > 0)
                printf("             %" PRIu64 " %s\n", fault_of(c, k), faults[k].words);
    }
    printf("%s\n", count == 0 ? "sound" : "DAMAGED: see the lines above");
}

static int
verify(const request *r, findings *f)
{
    int      rc = look_through(r, f);
    uint64_t count = f->files_damaged;

    if (rc < 0)
        return command_failed(r->name);
    for (uint32_t i = 0; i < f->part_count; i++)
        count += f->part[i].fault_count;
    (r->json ? verify_json : verify_text)(f, count);
    return count == 0 ? EXIT_FINE : EXIT_FAILED;
}

/* ---- stats ---- */

/* Bytes of the table files, shared out by what was put in; the readings that are sealed. */
static double
bytes_a_reading(const part_checked *c, const metric_use *u)
{
    double put = (double)(c->chunk_bytes + c->rollup_bytes);
    double mine = (double)(u->chunk_bytes + u->rollup_bytes);

    return u->readings == 0 || put == 0 ? 0 : mine / (double)u->readings;
}

static const char *
machine_name(const findings *f, uint32_t no)
{
    return no < f->machine_count && f->machines[no][0] != '\0' ? f->machines[no] : "?";
}

static void
growers_json(json_out *j, const findings *f, const char *name, const grower *g, uint32_t count)
{
    json_name(j, view_str(name));
    json_open(j, '[');
    for (uint32_t i = 0; i < count; i++) {
        json_open(j, '{');
        json_name_int(j, "tenant", g[i].tenant);
        json_name_string(j, "machine_identifier", view_str(machine_name(f, g[i].machine)));
        if (g[i].metric[0] != '\0')
            json_name_string(j, "metric_name", view_str(g[i].metric));
        else
            json_name_int(j, "series", (int64_t)g[i].series);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void
growers_text(const findings *f, const part_checked *c)
{
    printf("  machines with the most series:");
    for (uint32_t i = 0; i < c->most_count; i++)
        printf("%s %s (%" PRIu64 ")", i > 0 ? "," : "", machine_name(f, c->most[i].machine), c->most[i].series);
    printf("\n  series made last:");
    for (uint32_t i = 0; i < c->newest_count; i++)
        printf("%s %s/%s", i > 0 ? "," : "", machine_name(f, c->newest[i].machine), c->newest[i].metric);
    putchar('\n');
}

static double
ratio(uint64_t a, uint64_t b)
{
    return b == 0 ? 0 : (double)a / (double)b;
}

/* Bytes written for a byte of readings: a time and a value. */
static double
amplification(const part_written *w)
{
    return ratio(w->journal + w->log + w->flushed + w->merged, 16 * w->readings);
}

static void
written_json(json_out *j, const part_written *w)
{
    json_name(j, VIEW_LIT("written"));
    json_open(j, '{');
    json_name_int(j, "readings", (int64_t)w->readings);
    json_name_int(j, "journal_bytes", (int64_t)w->journal);
    json_name_int(j, "log_bytes", (int64_t)w->log);
    json_name_int(j, "flushed_bytes", (int64_t)w->flushed);
    json_name_int(j, "merged_bytes", (int64_t)w->merged);
    json_name_number(j, "amplification", amplification(w));
    json_close(j, '}');
}

static void
stats_json(const findings *f)
{
    for (uint32_t i = 0; i < f->part_count; i++) {
        const part_checked *c = &f->part[i];
        json_out            j = { 0 };

        part_json(&j, f->parts[i], c);
        written_json(&j, &c->written);
        json_name(&j, VIEW_LIT("metrics"));
        json_open(&j, '[');
        for (uint32_t m = 0; m < c->metric_count; m++) {
            const metric_use *u = &c->metrics[m];

            json_open(&j, '{');
            json_name_string(&j, "metric_name", view_str(u->name));
            json_name_int(&j, "series", (int64_t)u->series);
            json_name_int(&j, "readings", (int64_t)u->readings);
            json_name_int(&j, "readings_unsealed", (int64_t)u->head_readings);
            json_name_int(&j, "chunks", (int64_t)u->chunks);
            json_name_int(&j, "chunk_bytes", (int64_t)u->chunk_bytes);
            json_name_int(&j, "rollup_bytes", (int64_t)u->rollup_bytes);
            json_name_number(&j, "bytes_per_reading", bytes_a_reading(c, u));
            json_close(&j, '}');
        }
        json_close(&j, ']');
        growers_json(&j, f, "machines_with_most_series", c->most, c->most_count);
        growers_json(&j, f, "newest_series", c->newest, c->newest_count);
        json_close(&j, '}');
        printf("%.*s\n", (int)j.len, j.at);
        json_out_free(&j);
    }
}

static void
stats_text(const findings *f)
{
    for (uint32_t i = 0; i < f->part_count; i++) {
        const part_checked *c = &f->part[i];

        printf("partition %u: %" PRIu64 " series, %" PRIu64 " readings sealed, %" PRIu64 " unsealed\n", f->parts[i],
               c->series, c->readings, c->head_readings);
        printf("  table files %.1f MB, %.3f bytes a reading; chunks %.1f readings, %.0f bytes each; rollups %.3f bytes"
               " a reading\n",
               (double)c->table_bytes / 1e6, ratio(c->table_bytes, c->readings), ratio(c->readings, c->chunks),
               ratio(c->chunk_bytes, c->chunks), ratio(c->rollup_bytes, c->readings));
        printf("  written to the disk: %.2f times the readings accepted, at 16 bytes each; journal %.1f MB, RocksDB's log %.1f MB, "
               "table files first %.1f MB, merged again %.1f MB\n",
               amplification(&c->written), (double)c->written.journal / 1e6, (double)c->written.log / 1e6,
               (double)c->written.flushed / 1e6, (double)c->written.merged / 1e6);
        printf("  %-32s %10s %12s %10s %10s %12s\n", "metric", "series", "readings", "unsealed", "a chunk", "bytes a reading");
        for (uint32_t m = 0; m < c->metric_count; m++) {
            const metric_use *u = &c->metrics[m];

            printf("  %-32.32s %10" PRIu64 " %12" PRIu64 " %10" PRIu64 " %10.1f %12.3f\n", u->name, u->series,
                   u->readings, u->head_readings, ratio(u->readings, u->chunks), bytes_a_reading(c, u));
        }
        growers_text(f, c);
    }
}

static int
stats(const request *r, findings *f)
{
    if (look_through(r, f) < 0)
        return command_failed(r->name);
    (r->json ? stats_json : stats_text)(f);
    return EXIT_FINE;
}

/* ---- both ---- */

static const char verify_usage[] =
    "haltless verify [BACKUP] [--json] [settings] - reads all data and says whether it is sound\n\n"
    "  BACKUP      a backup, instead of the data directory: its files against the manifest, then as below\n"
    "  --json      one JSON object\n"
    "  --data DIR  the server's data directory; the server may run\n\n"
    "Every checksum (journal, chunks, rollups, RocksDB's blocks, registry) and every invariant: times of a chunk in order\n"
    "and in their day, a rollup says what its rows do, series have one number, the latest reading is the latest, what is\n"
    "unsealed replays.  Exit status 0: sound; 1: not.\n";

static const char stats_usage[] =
    "haltless stats [--json] [settings] - what the stored bytes go to, metric by metric\n\n"
    "  --json      one JSON object a partition\n"
    "  --data DIR  the server's data directory; the server may run\n\n"
    "Bytes a reading of a metric are those of its chunks, their keys and rollups; those of the table files count RocksDB's\n"
    "indexes, series and what waits to be compacted as well.  At the end: which machines have the most series and which series\n"
    "came last, for when a tenant's budget of series (limits.series_per_tenant) runs out.\n";

static int
begin(int argc, char **argv, request *r, int (*run)(const request *, findings *))
{
    bool        bad = false;
    const char *config = args_take_config(&argc, argv, &bad);
    char       *data;
    findings   *f;
    int         used = 1, status;

    r->json = args_take_switch(&argc, argv, "--json");
    if (bad)
        return command_misused(r->name, "--config needs a file");
    if (r->rows && argc > 1 && argv[1][0] != '-') {
        r->dir = argv[1];
        used = 2;
    }
    if ((data = account_data_dir(argc - used, argv + used, config)) == NULL)
        return command_failed(r->name);
    if (r->dir == NULL)
        r->dir = data;
    f = calloc(1, sizeof *f);
    ASSERT(f != NULL);
    status = run(r, f);
    for (uint32_t i = 0; i < f->part_count; i++)
        part_checked_free(&f->part[i]);
    free(f->machines);
    free(f);
    free(data);
    return status;
}

int
cmd_verify(int argc, char **argv)
{
    request r = { .name = "verify", .rows = true };

    return args_help(argc, argv, verify_usage, true) ? EXIT_FINE : begin(argc, argv, &r, verify);
}

int
cmd_stats(int argc, char **argv)
{
    request r = { .name = "stats" };

    return args_help(argc, argv, stats_usage, true) ? EXIT_FINE : begin(argc, argv, &r, stats);
}
