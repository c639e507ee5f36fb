/* part_written.c - what was written to the disk for the readings of a partition, over all its lives: DIR/written.
 *
 * RocksDB counts from its opening on, the journal too; what is more than at the last look is added.  A crash loses what
 * came since the file was written.
 */
#include "storage/part_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"

static const char format[] = "readings=%" SCNu64 " journal=%" SCNu64 " log=%" SCNu64 " flushed=%" SCNu64 " merged=%" SCNu64;

void
part_written_load(part *p)
{
    part_written *w = &p->written;
    char          path[FS_PATH_MAX], text[256];
    size_t        len;

    if (fs_path(path, "%s/written", p->dir) < 0 || fs_read_file(path, text, sizeof text, &len) < 0 ||
        sscanf(text, format, &w->readings, &w->journal, &w->log, &w->flushed, &w->merged) != 5)
        *w = (part_written){ 0 };
    err_clear();
}

/* "rocksdb.flush.write.bytes COUNT : 123" */
static uint64_t
ticker(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    at = at != NULL ? strstr(at, " COUNT : ") : NULL;
    return at != NULL ? strtoull(at + 9, NULL, 10) : 0;
}

/* A counter that began anew is smaller than it was. */
static void
add(uint64_t *sum, uint64_t *last, uint64_t now)
{
    *sum += now >= *last ? now - *last : now;
    *last = now;
}

void
part_note_written(part *p)
{
    part_written *w = &p->written, *last = &p->written_last;
    uint64_t      before = w->readings;
    char          path[FS_PATH_MAX], out[256];
    char         *text = p->rocks->db != NULL ? rocksdb_options_statistics_get_string(p->rocks->options[0]) : NULL;

    if (text != NULL) {
        add(&w->log, &last->log, ticker(text, "rocksdb.wal.bytes "));
        add(&w->flushed, &last->flushed, ticker(text, "rocksdb.flush.write.bytes "));
        add(&w->merged, &last->merged, ticker(text, "rocksdb.compact.write.bytes "));
        rocksdb_free(text);
    }
    add(&w->journal, &last->journal, journal_written_bytes(p->journal));
    add(&w->readings, &last->readings, p->shown_rows);
    if (w->readings == before && w->merged + w->flushed == p->written_saved)
        return;
    p->written_saved = w->merged + w->flushed;
    snprintf(out, sizeof out, "readings=%" PRIu64 " journal=%" PRIu64 " log=%" PRIu64 " flushed=%" PRIu64 " merged=%" PRIu64 "\n",
             w->readings, w->journal, w->log, w->flushed, w->merged);
    if (fs_path(path, "%s/written", p->dir) < 0 || fs_write_file(path, view_str(out)) < 0)
        err_clear(); /* figures, nothing more */
}
