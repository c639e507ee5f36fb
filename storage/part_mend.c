/* part_mend.c - a partition whose RocksDB refused a write, back to where it seals again.
 *
 *   part_break --> broken, open to read only: rows still go into journal and heads, within their budgets
 *                    | every now and then: is there space?  then close and open it anew
 *                    |                             |-- fails: open to read only, later again
 *                    v                             v
 *                  mended <---- every series is sealed as far as this memory says
 *
 * Read only at once, because a RocksDB left in that state tries to recover by itself.  RocksDB 7.8 as Debian builds it
 * ends the process by an assert of its own when a log file that a write failed on, and that was never synced before, is
 * closed or synced.  So nothing is written to it while the disk is nearly full: part_db_space().
 *
 * What opens has in table files, synced, all that it has.  Where a failed sync has cost sealed rows (or a batch that
 * was reported failed is there), only the journal knows them: E_GONE, and the owner has to start anew.
 */
#include <inttypes.h>

#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"
#include "storage/part_inner.h"

#define MEND_WAIT_NS     (250ull * 1000000)
#define MEND_WAIT_MAX_NS (4000ull * 1000000)

void
part_break(part *p, int rc)
{
    ASSERT(rc < 0);
    p->broken = rc;
    p->mend_wait_ns = MEND_WAIT_NS;
    p->mend_at_ns = the_world->now_ns() + p->mend_wait_ns;
    if (err_text()[0] != '\0') /* the caller's, while we log ours */
        log_error("part.broken", "dir=%s error=%s", p->dir, log_quote(view_str(err_text())));
    err_clear();
    if (part_db_reopen(p->db, p->dir, p->config.cache_bytes, false) < 0)
        log_error("part.unreadable", "dir=%s error=%s", p->dir, log_quote(view_str(err_text())));
    err_clear();
}

/* Is `latest` in the database, as far as it says what is sealed, what this memory says? */
static int
compare_sealed(part *p)
{
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(p->rocks->db, p->rocks->read, p->rocks->cf[PART_LATEST]);
    uint64_t known = 0, same = 0, other = 0;
    char    *text = NULL;
    int      rc;

    for (uint32_t i = 1; i <= series_count(p->map); i++)
        known += series_at(p->map, i)->sealed_lsn > 0;
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        latest_value v;
        size_t       key_len, len;
        const char  *key = rocksdb_iter_key(it, &key_len);
        const char  *value = rocksdb_iter_value(it, &len);
        uint32_t     number = key_len == 4 ? load_be32((const uint8_t *)key) : 0;

        if (number == 0 || number > series_count(p->map) || len != sizeof v)
            continue;
        memcpy(&v, value, sizeof v);
        if (v.sealed_lsn == 0) /* written for a delete */
            continue;
        if (v.sealed_lsn == series_at(p->map, number)->sealed_lsn)
            same++;
        else
            other++;
    }
    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    rc = rocks_result(text, "compare what is sealed");
    if (rc == E_OK && (other > 0 || same != known))
        rc = err(E_GONE,
                 "of %" PRIu64 " series %" PRIu64 " are sealed as was thought, %" PRIu64 " are not",
                 known, same, other);
    return rc;
}

void
part_touch_log(part *p)
{
    char *text = NULL;

    rocksdb_flush_wal(p->rocks->db, 1, &text);
    rocksdb_free(text);
}

static int
open_anew(part *p)
{
    int rc = part_db_space(p->dir);

    if (rc < 0)
        return rc;
    rc = part_db_reopen(p->db, p->dir, p->config.cache_bytes, true);
    return rc < 0 ? rc : compare_sealed(p);
}

int
part_mend(part *p)
{
    int rc = E_OK;

    if (p->syncing || the_world->now_ns() < p->mend_at_ns)
        return err(p->broken, "partition %u seals nothing until its database takes writes again", p->config.number);
    rc = open_anew(p);
    if (rc < 0) {
        /* Space may come back at any time; a fault that lasts is not to be hammered at. */
        if (rc != E_NOSPACE)
            p->mend_wait_ns = min_u64(2 * p->mend_wait_ns, MEND_WAIT_MAX_NS);
        p->mend_at_ns = the_world->now_ns() + p->mend_wait_ns;
        return err(rc, "mend partition %u", p->config.number);
    }
    part_touch_log(p);
    p->broken = E_OK;
    p->sealed_seq = rocksdb_get_latest_sequence_number(p->rocks->db);
    part_changed_all(p);
    log_info("part.mended", "dir=%s", p->dir);
    return E_OK;
}
