/* part.c - one partition: its life, and what it is asked.
 *
 *   part_open --part_load.c: the database --part_replay.c: the journal--> heads
 *   body --part_stage.c--> journal block, written --part_show.c--> heads --part_seal.c--> chunks
 */
#include "storage/part_inner.h"

#include <stdlib.h>

#include "proto/err.h"
#include "proto/log.h"
#include "storage/patience.h"

int
part_open(part **out, const part_config *config, const part_events *events, journal_report *report)
{
    part *p = calloc(1, sizeof *p);
    int   rc;

    *out = NULL;
    *report = (journal_report){ 0 };
    ASSERT(p != NULL);
    p->config = *config;
    p->config.dir = NULL; /* borrowed for the call */
    p->events = events != NULL ? *events : (part_events){ 0 };
    p->next_lsn = 1;
    p->newest_us = INT64_MIN;
    p->hold_lsn = UINT64_MAX;
    p->retain_day = INT32_MIN;
    p->map = series_new();
    p->heads = heads_new();
    rc = fs_path(p->dir, "%s/part.%u", config->dir, config->number);
    if (rc == E_OK)
        rc = part_log_look(p);
    if (rc == E_OK)
        rc = part_db_own(&p->db, p->dir, config->cache_bytes);
    if (rc == E_OK) {
        p->rocks = part_db_rocks(p->db);
        if (part_db_is_read_only(p->db)) /* a full disk; part_tend() mends that */
            p->broken = E_NOSPACE;
        else
            part_touch_log(p);
        part_written_load(p);
        rc = part_load(p, report);
    }
    if (rc < 0) {
        part_abandon(&p);
        return err(rc, "partition %u", config->number);
    }
    patience_renew(p->dir);
    *out = p;
    return E_OK;
}

void
part_abandon(part **pp)
{
    part *p = *pp;

    if (p == NULL)
        return;
    journal_close(&p->journal);
    part_db_disown(&p->db);
    series_free(&p->map);
    heads_free(&p->heads);
    free(p->unstored.series);
    free(p->named);
    free(p->stamps);
    free(p->carry);
    free(p->sorted);
    free(p->spare_rows);
    free(p->chunk);
    chunk_scratch_free(&p->scratch);
    free(p->erasures);
    free(p->merges);
    free(p->gathered);
    part_retain_free(p);
    part_kept_free(p);
    free(p);
    *pp = NULL;
}

/* What is not sealed is in the journal, and what is sealed in RocksDB's log: that one is synced, so that the two
 * agree also after a power cut that follows. */
void
part_close(part **pp)
{
    part *p = *pp;
    char *text = NULL;

    if (p == NULL)
        return;
    if (p->broken == E_OK)
        rocksdb_flush_wal(p->rocks->db, 1, &text);
    if (rocks_result(text, "close the partition") < 0) {
        log_warn("part.close", "dir=%s error=%s", p->dir, log_quote(view_str(err_text())));
        err_clear();
    }
    part_abandon(pp);
}

/* ---- questions ---- */

head_view
part_head(const part *p, uint32_t number)
{
    const head *d;

    if (number == 0 || number > series_count(p->map) || series_at(p->map, number)->head == 0)
        return (head_view){ 0 };
    d = heads_at(p->heads, series_at(p->map, number)->head);
    return (head_view){ d->rows, d->count, d->changes, d->first_lsn };
}

void
part_head_soon(const part *p, uint32_t number)
{
    if (number > 0 && number <= series_count(p->map))
        series_prefetch(p->map, number);
}

void
part_head_next(const part *p, uint32_t number)
{
    uint32_t at = number > 0 && number <= series_count(p->map) ? series_at(p->map, number)->head : 0;

    if (at != 0)
        heads_prefetch(p->heads, at);
}

head_view
part_head_by_time(part *p, uint32_t number)
{
    head_view h = part_head(p, number);
    uint32_t  at = h.count > 0 ? series_at(p->map, number)->head : 0;

    if (at == 0 || heads_is_ordered(p->heads, at))
        return h;
    const head_row *rows = part_ordered(p, h.rows, &h.count);

    heads_replace(p->heads, at, rows, h.count);
    return part_head(p, number);
}

int64_t
part_newest_us(const part *p)
{
    return p->newest_us;
}

uint64_t
part_sealed_seq(const part *p)
{
    return p->sealed_seq;
}

uint64_t
part_next_lsn(const part *p)
{
    return p->next_lsn;
}

uint64_t
part_oldest_unstored(const part *p)
{
    const unstored *u = &p->unstored;
    uint64_t        erased = part_erase_unstored(p);
    uint64_t        defined = u->first < u->end ? series_at(p->map, u->series[u->first])->defined_lsn : 0;

    return defined != 0 && (erased == 0 || defined < erased) ? defined : erased;
}

void
part_stat(const part *p, part_stats *out)
{
    uint64_t chunks = 0, bytes = 0;

    if (p->rocks->db != NULL) {
        (void)rocksdb_property_int_cf(p->rocks->db, p->rocks->cf[PART_CHUNKS],
                                      "rocksdb.estimate-num-keys", &chunks);
        (void)rocksdb_property_int_cf(p->rocks->db, p->rocks->cf[PART_CHUNKS],
                                      "rocksdb.live-sst-files-size", &bytes);
    }
    *out = (part_stats){ .series = series_count(p->map),
                         .head_rows = heads_rows(p->heads),
                         .head_bytes = heads_bytes(p->heads),
                         .chunks = chunks,
                         .chunk_bytes = bytes,
                         .journal_bytes = journal_written_bytes(p->journal),
                         .journal_syncs = journal_syncs(p->journal),
                         .journal_used = journal_used_bytes(p->journal),
                         .replayed_rows = p->replayed_rows,
                         .merged_chunks = p->merged_chunks,
                         .erasures = p->erasure_count,
                         .merges_waiting = p->merge_end - p->merge_first,
                         .retained_readings = p->retained_readings };
}
