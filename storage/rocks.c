/* rocks.c - opening a RocksDB so that a damaged one never keeps the server from starting.
 *
 *   open -> fine
 *        -> busy, forbidden, full, out of descriptors: the caller's trouble, nothing is touched
 *        -> damaged: DIR/repair-T = hard links of DIR/db; point CURRENT at its newest manifest; opens?
 *           else RocksDB's repair on it (which loses the log of families without a table file); opens?
 *              yes: DIR/db -> DIR/quarantine-T, DIR/repair-T -> DIR/db
 *              no:  DIR/db -> DIR/quarantine-T, and an empty DIR/db where the caller allows it
 *
 * Debian's build keeps RocksDB's asserts: every column family handle is destroyed before the database.
 */
#include "storage/rocks.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/log.h"
#include "storage/fs.h"
#include "storage/patience.h"

/* What RocksDB says, and what we call it.  First match wins; everything else is damage or E_IO. */
static const struct {
    const char *says;
    int         code;
} texts[] = {
    { "lock hold by current process", E_LOCKED },
    { "While lock file", E_LOCKED },
    { "No space left", E_NOSPACE },
    { "NoSpace", E_NOSPACE },
    { "Disk quota exceeded", E_NOSPACE },
    { "Permission denied", E_PERM },
    { "Read-only file system", E_PERM },
    { "Too many open files", E_LIMIT },
    { "Cannot allocate memory", E_NOMEM },
    { "Corruption", E_BAD },
};

int
rocks_result(char *text, const char *what)
{
    int rc = E_IO;

    if (text == NULL)
        return E_OK;
    for (size_t i = COUNT_OF(texts); i-- > 0;)
        if (strstr(text, texts[i].says) != NULL)
            rc = texts[i].code;
    rc = err(rc, "%s: %s", what, text);
    rocksdb_free(text);
    return rc;
}

static void
set_database_options(rocksdb_options_t *o, const rocks_config *c)
{
    rocksdb_options_set_create_missing_column_families(o, 1);
    rocksdb_options_set_max_open_files(
        o, -1); /* a secondary must not lose files that were compacted away */
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_db_write_buffer_size(o, c->write_buffer_bytes);
    rocksdb_options_set_max_total_wal_size(o, 4 * c->write_buffer_bytes);
    rocksdb_options_set_wal_bytes_per_sync(
        o, 512 << 10); /* so that the sync before a trim finds little to do */
    rocksdb_options_set_keep_log_file_num(o, 3);
    rocksdb_options_set_info_log_level(o, 2); /* warnings */
    rocksdb_options_enable_statistics(o); /* part_written.c */
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    rocksdb_options_set_max_manifest_file_size(o, 4 << 20);
    /* A torn tail is what a crash leaves; anything else in the log is damage, and wants the repair. */
    rocksdb_options_set_wal_recovery_mode(o, rocksdb_tolerate_corrupted_tail_records_recovery);
}

/* Writes come in bounded pieces from an actor's own thread: RocksDB must not stall them, so its brakes are far out. */
static void
set_family_options(rocksdb_options_t *o, const rocks_config *c, const rocks_family *f)
{
    rocksdb_options_set_write_buffer_size(o, c->write_buffer_bytes / 2);
    rocksdb_options_set_max_write_buffer_number(o, 6);
    rocksdb_options_set_level0_file_num_compaction_trigger(o, 6);
    rocksdb_options_set_level0_slowdown_writes_trigger(o, 60);
    rocksdb_options_set_level0_stop_writes_trigger(o, 120);
    rocksdb_options_set_soft_pending_compaction_bytes_limit(o, 256ull << 30);
    rocksdb_options_set_hard_pending_compaction_bytes_limit(o, 1024ull << 30);
    rocksdb_options_set_compression(o, f->zstd ? rocksdb_zstd_compression : rocksdb_no_compression);
}

static void
make_options(rocks *r, const rocks_config *c)
{
    ASSERT(c->family_count > 0 && c->family_count <= ROCKS_FAMILIES_MAX);
    r->cache = rocksdb_cache_create_lru(c->cache_bytes);
    r->write = rocksdb_writeoptions_create();
    r->write_synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(r->write_synced, 1);
    r->read = rocksdb_readoptions_create();
    for (uint32_t i = 0; i < c->family_count; i++) {
        r->options[i] = rocksdb_options_create();
        r->table[i] = rocksdb_block_based_options_create();
        rocksdb_block_based_options_set_block_cache(r->table[i], r->cache);
        rocksdb_block_based_options_set_block_size(r->table[i], c->families[i].block_bytes);
        rocksdb_options_set_block_based_table_factory(r->options[i], r->table[i]);
        set_database_options(r->options[i], c);
        set_family_options(r->options[i], c, &c->families[i]);
    }
    r->family_count = c->family_count;
}

void
rocks_close(rocks *r)
{
    for (uint32_t i = 0; i < r->family_count; i++)
        if (r->cf[i] != NULL)
            rocksdb_column_family_handle_destroy(r->cf[i]);
    if (r->db != NULL)
        rocksdb_close(r->db);
    for (uint32_t i = 0; i < r->family_count; i++) {
        rocksdb_options_destroy(r->options[i]);
        rocksdb_block_based_options_destroy(r->table[i]);
    }
    if (r->cache != NULL) {
        rocksdb_cache_destroy(r->cache);
        rocksdb_writeoptions_destroy(r->write);
        rocksdb_writeoptions_destroy(r->write_synced);
        rocksdb_readoptions_destroy(r->read);
    }
    *r = (rocks){ 0 };
}

typedef struct opening {
    rocks              *r;
    const rocks_config *config;
    char                db[FS_PATH_MAX];
    char                copy[FS_PATH_MAX];
    char                aside[FS_PATH_MAX];
    bool                repaired; /* by RocksDB: a new CURRENT alone changes no data */
} opening;

bool
rocks_is_refusal(int rc)
{
    return rc == E_IO && strstr(err_text(), "Input/output error") != NULL;
}

static int
open_plain(opening *o, const char *path, const char *scratch)
{
    const rocks_config      *c = o->config;
    const char              *names[ROCKS_FAMILIES_MAX];
    const rocksdb_options_t *options[ROCKS_FAMILIES_MAX];
    char                    *text = NULL;
    rocks                   *r = o->r;

    for (uint32_t i = 0; i < c->family_count; i++) {
        names[i] = c->families[i].name;
        options[i] = r->options[i];
    }
    /* Only in a place where nothing is: a lost CURRENT file is damage, not a new database. */
    rocksdb_options_set_create_if_missing(r->options[0], fs_is_empty_dir(path));
    if (scratch == NULL)
        r->db = rocksdb_open_column_families(r->options[0], path, (int)c->family_count, names,
                                             options, r->cf, &text);
    else
        r->db = rocksdb_open_as_secondary_column_families(
            r->options[0], path, scratch, (int)c->family_count, names, options, r->cf, &text);
    return rocks_result(text, path);
}

static bool
is_damage(int rc)
{
    return rc == E_BAD || rc == E_IO;
}

static int
set_aside(opening *o)
{
    int rc = fs_fresh_name(o->aside, o->config->dir, "quarantine");

    if (rc == E_OK)
        rc = fs_rename(o->db, o->aside);
    if (rc == E_OK)
        log_warn("rocks.aside", "what=%s moved_to=%s", o->config->what, o->aside);
    return rc;
}

/* The name of the newest manifest in the copy goes into its CURRENT: all that a lost or mangled CURRENT needs. */
static int
point_at_newest_manifest(const char *dir)
{
    char           path[FS_PATH_MAX];
    char           line[64];
    uint64_t       newest = 0, number;
    struct dirent *e;
    DIR           *d = opendir(dir);
    int            rc = fs_path(path, "%s/CURRENT", dir);

    if (d == NULL)
        return err_errno(errno, "open directory %s", dir);
    while ((e = readdir(d)) != NULL)
        if (sscanf(e->d_name, "MANIFEST-%" SCNu64, &number) == 1 && number > newest)
            newest = number;
    closedir(d);
    if (rc < 0 || newest == 0)
        return rc < 0 ? rc : err(E_NOTFOUND, "no manifest in %s", dir);
    snprintf(line, sizeof line, "MANIFEST-%06" PRIu64 "\n", newest);
    return fs_write_file(path, view_str(line));
}

static int
mend_copy(opening *o)
{
    char *text = NULL;
    int   rc = point_at_newest_manifest(o->copy);

    if (rc == E_OK && open_plain(o, o->copy, NULL) == E_OK)
        return E_OK;
    log_warn("rocks.repairing", "what=%s dir=%s error=%s", o->config->what, o->copy,
             log_quote(view_str(err_text())));
    err_clear();
    o->repaired = true;
    rocksdb_repair_db(o->r->options[0], o->copy, &text);
    rc = rocks_result(text, "repair");
    return rc < 0 ? rc : open_plain(o, o->copy, NULL);
}

/* On success the repaired copy has taken the place of the damaged one, which lies aside. */
static int
open_repaired(opening *o)
{
    int rc = fs_fresh_name(o->copy, o->config->dir, "repair");

    if (rc == E_OK)
        rc = fs_link_dir(o->db, o->copy);
    if (rc == E_OK && (rc = mend_copy(o)) == E_OK) {
        rocks_close(o->r); /* it opens; now under its right name */
        make_options(o->r, o->config);
        rc = set_aside(o);
        if (rc == E_OK)
            rc = fs_rename(o->copy, o->db);
        if (rc == E_OK)
            return open_plain(o, o->db, NULL);
    }
    fs_remove_dir(o->copy);
    return rc;
}

static int
rescue(opening *o, int rc)
{
    const char *what = o->config->what;

    log_warn("rocks.damaged", "what=%s dir=%s error=%s", what, o->db,
             log_quote(view_str(err_text())));
    err_clear();
    rc = open_repaired(o);
    if (rc == E_OK) {
        o->r->repaired = o->repaired;
        log_warn("rocks.repaired", "what=%s dir=%s", what, o->db);
        return E_OK;
    }
    log_error("rocks.beyond_repair", "what=%s dir=%s error=%s", what, o->db,
              log_quote(view_str(err_text())));
    if (!o->config->start_empty || !is_damage(rc))
        return rc;
    err_clear();
    if (!fs_is_empty_dir(o->db) && (rc = set_aside(o)) < 0)
        return rc;
    log_error("rocks.empty", "what=%s dir=%s", what, o->db);
    return open_plain(o, o->db, NULL);
}

int
rocks_open(rocks *r, const rocks_config *config)
{
    opening *o = calloc(1, sizeof *o);
    int      rc;

    ASSERT(o != NULL);
    *o = (opening){ .r = r, .config = config };
    *r = (rocks){ 0 };
    make_options(r, config);
    rc = fs_path(o->db, "%s/db", config->dir);
    if (rc == E_OK)
        rc = fs_make_dir(config->dir);
    if (rc == E_OK)
        rc = fs_check_format(config->dir, config->what);
    if (rc == E_OK)
        rc = open_plain(o, o->db, NULL);
    if (is_damage(rc) && (!rocks_is_refusal(rc) || patience_is_over(config->dir)))
        rc = rescue(o, rc);
    if (rc < 0) {
        rocks_close(r);
        rc = err(rc, "open %s", config->what);
    }
    free(o);
    return rc;
}

static int
open_to_read(opening *o)
{
    const rocks_config      *c = o->config;
    const char              *names[ROCKS_FAMILIES_MAX];
    const rocksdb_options_t *options[ROCKS_FAMILIES_MAX];
    char                    *text = NULL;

    for (uint32_t i = 0; i < c->family_count; i++) {
        names[i] = c->families[i].name;
        options[i] = o->r->options[i];
    }
    o->r->db = rocksdb_open_for_read_only_column_families(
        o->r->options[0], o->db, (int)c->family_count, names, options, o->r->cf, 0, &text);
    return rocks_result(text, "open to read");
}

static void
begin_anew(opening *o)
{
    rocks_close(o->r);
    make_options(o->r, o->config);
}

int
rocks_reopen(rocks *r, const rocks_config *config, bool to_write)
{
    opening *o = calloc(1, sizeof *o);
    char     why[512];
    int      rc;

    ASSERT(o != NULL);
    *o = (opening){ .r = r, .config = config };
    begin_anew(o);
    rc = fs_path(o->db, "%s/db", config->dir);
    if (rc == E_OK && !to_write) {
        rc = open_to_read(o);
    } else if (rc == E_OK && (rc = open_plain(o, o->db, NULL)) < 0) {
        snprintf(why, sizeof why, "%s", err_text());
        err_clear();
        begin_anew(o);
        if (open_to_read(o) < 0)
            err_clear();
        rc = err(rc, "%s", why);
    }
    free(o);
    return rc < 0 ? err(rc, "open %s anew", config->what) : E_OK;
}

int
rocks_open_secondary(rocks *r, const rocks_config *config, const char *scratch)
{
    opening *o = calloc(1, sizeof *o);
    int      rc;

    ASSERT(o != NULL);
    *o = (opening){ .r = r, .config = config };
    *r = (rocks){ 0 };
    make_options(r, config);
    rc = fs_path(o->db, "%s/db", config->dir);
    if (rc == E_OK)
        rc = fs_make_dir(scratch);
    if (rc == E_OK)
        rc = open_plain(o, o->db, scratch);
    if (rc < 0) {
        rocks_close(r);
        rc = err(rc, "follow %s", config->what);
    }
    free(o);
    return rc;
}
