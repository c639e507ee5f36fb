/* part_seal.c - heads become chunks, the journal is trimmed behind them; a bounded piece a call.
 *
 *   ripe heads, and under pressure the oldest ones
 *     -> one write batch: chunks, the series' definitions not stored yet, latest with "sealed up to lsn"
 *     -> heads dropped
 *   journal segments that nothing unsealed is in
 *     -> RocksDB's log synced (20 ms, perhaps: a helper may do that), "trimmed" noted, segments recycled
 *
 * The batch is not synced: losing it loses nothing while the journal still has the rows, and a row that is in both is
 * told by its series' sealed lsn, which is in the batch too.
 *
 * A head is sealed whole, so that chunks of a series have disjoint ranges of lsn; of rows with equal times the last
 * accepted one stays.
 */
#include "storage/part_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/log.h"
#include "storage/chunk.h"

enum {
    SEAL_HEADS = 64, /* a call: about a millisecond */
    SEAL_ROWS = 32768,
    STORE_SERIES = 256,
};

typedef struct sealing {
    part                 *p;
    rocksdb_writebatch_t *batch;
    uint32_t              at[SEAL_HEADS];
    uint32_t              count;
    uint64_t              rows, chunks, bytes;
    uint32_t              stored; /* definitions */
    uint32_t              erasures;
} sealing;

/* ---- order ---- */

static bool
is_in_order(const head_row *rows, uint32_t count)
{
    bool good = true;

    for (uint32_t i = 1; i < count; i++)
        good &= rows[i - 1].time_us < rows[i].time_us;
    return good;
}

static void
merge(head_row *out, const head_row *a, uint32_t a_count, const head_row *b, uint32_t b_count)
{
    while (a_count > 0 && b_count > 0) {
        if (b->time_us < a->time_us) {
            *out++ = *b++;
            b_count--;
        } else {
            *out++ = *a++;
            a_count--;
        }
    }
    memcpy(out, a, a_count * sizeof *a);
    memcpy(out + a_count, b, b_count * sizeof *b);
}

/* Stable; the result is in the one or the other buffer. */
static head_row *
merge_sort(head_row *rows, head_row *spare, uint32_t count)
{
    for (uint32_t width = 1; width < count; width *= 2) {
        for (uint32_t i = 0; i < count; i += 2 * width) {
            uint32_t a = (uint32_t)min_u64(width, count - i);
            uint32_t b = (uint32_t)min_u64(width, count - i - a);

            merge(spare + i, rows + i, a, rows + i + a, b);
        }
        head_row *other = rows;
        rows = spare;
        spare = other;
    }
    return rows;
}

const head_row *
part_ordered(part *p, const head_row *in, uint32_t *count)
{
    head_row *rows;
    uint32_t  kept = 0;

    if (is_in_order(in, *count))
        return in;
    if (*count > p->sorted_room) {
        p->sorted_room = *count;
        p->sorted = realloc(p->sorted, p->sorted_room * sizeof *p->sorted);
        p->spare_rows = realloc(p->spare_rows, p->sorted_room * sizeof *p->spare_rows);
        ASSERT(p->sorted != NULL && p->spare_rows != NULL);
    }
    memcpy(p->sorted, in, *count * sizeof *in);
    rows = merge_sort(p->sorted, p->spare_rows, *count);
    for (uint32_t i = 0; i < *count; i++) {
        if (kept > 0 && rows[kept - 1].time_us == rows[i].time_us)
            kept--;
        rows[kept++] = rows[i];
    }
    *count = kept;
    return rows;
}

/* ---- one head ---- */

static void
put_in(part *p, rocksdb_writebatch_t *batch, enum part_family family, const uint8_t key[KEY_CHUNK_LEN], size_t len)
{
    rocksdb_writebatch_put_cf(batch, p->rocks->cf[family], (const char *)key, KEY_CHUNK_LEN, (const char *)p->chunk,
                              len);
}

void
part_put_rollup(part *p, rocksdb_writebatch_t *batch, const chunk_key *k, const rollup *r)
{
    uint8_t key[KEY_CHUNK_LEN], value[ROLLUP_BYTES_MAX];
    size_t  len = rollup_encode(value, r);

    key_put_chunk(key, *k);
    rocksdb_writebatch_put_cf(batch, p->rocks->cf[PART_ROLLUPS], (const char *)key, sizeof key, (const char *)value,
                              len);
}

size_t
part_put_chunk(part *p, rocksdb_writebatch_t *batch, const chunk_key *k, const head_row *rows, uint32_t count,
               bool squeeze)
{
    uint8_t key[KEY_CHUNK_LEN];
    rollup  r;
    size_t  len, rollup_len;

    if (p->chunk == NULL) {
        p->chunk = malloc(CHUNK_BYTES_MAX);
        p->scratch = chunk_scratch_new();
        ASSERT(p->chunk != NULL);
    }
    key_put_chunk(key, *k);
    len = chunk_encode(p->chunk, rows, count, squeeze, p->scratch);
    put_in(p, batch, PART_CHUNKS, key, len);
    rollup_make(&r, rows, count, false, chunk_decimals_of(p->scratch));
    rollup_len = rollup_encode(p->chunk, &r);
    put_in(p, batch, PART_ROLLUPS, key, rollup_len);
    return len + rollup_len;
}

static void
put_chunk(sealing *s, uint32_t number, uint64_t lsn, const head_row *rows, uint32_t count)
{
    chunk_key k = { .day = key_day(rows->time_us), .series = number, .first_us = rows->time_us, .lsn = lsn };

    s->bytes += part_put_chunk(s->p, s->batch, &k, rows, count, false);
    s->chunks++;
    part_merge_note(s->p, number, &(chunk_summary){ .count = count, .first_us = rows->time_us });
}

void
part_put_latest(part *p, rocksdb_writebatch_t *batch, uint32_t number, uint64_t sealed_lsn)
{
    const series *r = series_at(p->map, number);
    latest_value  v = { .version = KEY_VALUE_VERSION,
                        .time_us = r->latest_us,
                        .value = r->latest,
                        .lsn = r->latest_lsn,
                        .sealed_lsn = sealed_lsn };
    uint8_t       key[4];

    store_be32(key, number);
    rocksdb_writebatch_put_cf(batch, p->rocks->cf[PART_LATEST], (const char *)key, sizeof key, (const char *)&v,
                              sizeof v);
}

static void
seal_head(sealing *s, uint32_t at)
{
    const head     *d = heads_at(s->p->heads, at);
    uint32_t        count = d->count;
    const head_row *rows = part_ordered(s->p, d->rows, &count);

    for (uint32_t from = 0, to; from < count; from = to) {
        int32_t day = key_day(rows[from].time_us);

        for (to = from + 1;
             to < count && to - from < CHUNK_ROWS_MAX && key_day(rows[to].time_us) == day;)
            to++;
        put_chunk(s, d->series, d->last_lsn, rows + from, to - from);
    }
    part_put_latest(s->p, s->batch, d->series, d->last_lsn);
    s->at[s->count++] = at;
    s->rows += d->count;
}

/* ---- definitions ---- */

static void
put_series(sealing *s, uint32_t number)
{
    part         *p = s->p;
    const series *r = series_at(p->map, number);
    view          metric = series_metric(p->map, number);
    view          unit = series_unit(p->map, number);
    series_value  v = { .version = KEY_VALUE_VERSION,
                        .machine = r->machine,
                        .tenant = r->tenant,
                        .metric_len = (uint16_t)metric.len,
                        .unit_len = (uint16_t)unit.len,
                        .defined_lsn = r->defined_lsn };
    uint8_t       key[4];
    const char   *keys[1] = { (const char *)key };
    size_t        key_lens[1] = { sizeof key };
    const char   *values[3] = { (const char *)&v, (const char *)metric.at, (const char *)unit.at };
    size_t        value_lens[3] = { sizeof v, metric.len, unit.len };

    store_be32(key, number);
    rocksdb_writebatch_putv_cf(s->batch, p->rocks->cf[PART_SERIES], 1, keys, key_lens, 3, values,
                               value_lens);
}

static void
store_series(sealing *s)
{
    const unstored *u = &s->p->unstored;

    for (uint32_t i = u->first; i < u->end && s->stored < STORE_SERIES; i++, s->stored++)
        put_series(s, u->series[i]);
}

/* ---- which ---- */

static bool
is_journal_pressed(const part *p)
{
    return journal_used_bytes(p->journal) > p->config.journal_bytes / 4 * 3;
}

static bool
is_pressed(const part *p)
{
    return heads_bytes(p->heads) > p->config.heads_bytes / 8 * 7 || is_journal_pressed(p);
}

static bool
has_room(const sealing *s)
{
    return s->count < SEAL_HEADS && s->rows < SEAL_ROWS;
}

static void
seal_some(sealing *s)
{
    const heads *h = s->p->heads;

    for (uint32_t at = heads_ripest(h); at != 0 && has_room(s); at = heads_riper(h, at))
        seal_head(s, at);
    if (!is_pressed(s->p))
        return;
    for (uint32_t at = heads_oldest(h); at != 0 && has_room(s); at = heads_younger(h, at))
        if (heads_at(h, at)->count < heads_at(h, at)->ripe_at) /* else it had its turn above */
            seal_head(s, at);
}

/* ---- the batch is written ---- */

static void
drop_sealed(sealing *s)
{
    part *p = s->p;

    for (uint32_t i = 0; i < s->count; i++) {
        const head *d = heads_at(p->heads, s->at[i]);
        series     *r = series_at(p->map, d->series);

        r->sealed_lsn = d->last_lsn;
        r->head = 0;
        part_changed(p, d->series);
        heads_drop(p->heads, s->at[i]);
    }
    for (uint32_t i = 0; i < s->stored; i++)
        series_at(p->map, p->unstored.series[p->unstored.first++])->unstored = 0;
    if (p->unstored.first == p->unstored.end)
        p->unstored.first = p->unstored.end = 0;
    part_erase_stored(p, s->erasures);
    p->sealed_rows += s->rows;
    p->sealed_chunks += s->chunks;
    p->sealed_bytes += s->bytes;
    p->sealed_seq = rocksdb_get_latest_sequence_number(p->rocks->db);
}

static int
seal(part *p)
{
    sealing s = { .p = p };
    char   *text = NULL;
    int     rc = part_db_space(p->dir);

    if (rc < 0)
        return rc;
    s.batch = rocksdb_writebatch_create();
    s.erasures = part_erase_store(p, s.batch); /* first: what a seal says of its series is newer */
    seal_some(&s);
    store_series(&s);
    if (rocksdb_writebatch_count(s.batch) > 0) {
        rocksdb_write(p->rocks->db, p->rocks->write, s.batch, &text);
        rc = rocks_result(text, "seal");
        if (rc == E_OK)
            drop_sealed(&s);
        else
            part_break(p, rc);
    }
    rocksdb_writebatch_destroy(s.batch);
    return rc;
}

/* ---- trimming ---- */

/* Every row up to it is in a chunk, every definition in the database. */
static uint64_t
sealed_up_to(const part *p)
{
    uint64_t lsn = p->shown_lsn;
    uint64_t definition = part_oldest_unstored(p);

    if (heads_oldest(p->heads) != 0)
        lsn = min_u64(lsn, heads_at(p->heads, heads_oldest(p->heads))->first_lsn - 1);
    return definition > 0 ? min_u64(lsn, definition - 1) : lsn;
}

bool
part_is_held(part *p)
{
    return journal_used_bytes(p->journal) > p->config.journal_bytes / 2 &&
           journal_trimmable(p->journal, UINT64_MAX) > p->hold_lsn;
}

/* The hold ends where the budget does: then the oldest segment goes, one a time. */
static uint64_t
may_go(const part *p)
{
    uint64_t sealed = sealed_up_to(p);

    if (p->hold_lsn >= sealed)
        return sealed;
    if (!is_journal_pressed(p))
        return p->hold_lsn;
    return min_u64(sealed, max_u64(p->hold_lsn, journal_oldest_end(p->journal)));
}

bool
part_begin_sync(part *p)
{
    if (p->syncing || p->replaying || p->broken < 0)
        return false;
    p->sync_lsn = journal_trimmable(p->journal, may_go(p));
    p->syncing = p->sync_lsn > 0 && part_db_space(p->dir) == E_OK;
    err_clear();
    return p->syncing;
}

void
part_sync(part *p)
{
    meta_value v = { .version = KEY_VALUE_VERSION, .lsn = p->sync_lsn };
    char      *text = NULL;

    /* The note comes behind the sync: where it is read, all that is sealed up to it is there (part_log.h).  Lost, it only
     * makes the next start read more. */
    rocksdb_flush_wal(p->rocks->db, 1, &text);
    p->sync_rc = rocks_result(text, "sync RocksDB's log");
    if (p->sync_rc == E_OK) {
        rocksdb_put_cf(p->rocks->db, p->rocks->write, p->rocks->cf[PART_META], "trimmed", 7,
                       (const char *)&v, sizeof v, &text);
        p->sync_rc = rocks_result(text, "note what the journal is trimmed to");
    }
    if (p->sync_rc == E_OK)
        return;
    snprintf(p->sync_text, sizeof p->sync_text, "%s", err_text());
    err_clear();
}

int
part_end_sync(part *p)
{
    ASSERT(p->syncing);
    p->syncing = false;
    if (p->sync_rc < 0) {
        err(p->sync_rc, "%s", p->sync_text);
        part_break(p, p->sync_rc);
        return err(p->sync_rc, "sync what is sealed");
    }
    journal_trim(p->journal, p->sync_lsn);
    p->trimmed_lsn = max_u64(p->trimmed_lsn, p->sync_lsn);
    if (p->sync_lsn > p->hold_lsn) {
        p->forced_trims++;
        log_warn("part.forced_trim", "dir=%s lsn=%" PRIu64 " held_from=%" PRIu64 " why=\"the journal's budget\"", p->dir,
                 p->sync_lsn, p->hold_lsn + 1);
    }
    return E_OK;
}

static int
trim(part *p)
{
    if (p->config.sync_apart || !part_begin_sync(p))
        return E_OK;
    part_sync(p);
    return part_end_sync(p);
}

bool
part_tend(part *p, int *rc)
{
    *rc = p->broken < 0 && !p->replaying ? part_mend(p) : E_OK;
    if (*rc < 0 || p->replaying || p->syncing) /* RocksDB's assert: no sync of a log that a write has failed on meanwhile */
        return false;
    if (heads_ripest(p->heads) != 0 || p->unstored.first < p->unstored.end || part_erase_unstored(p) != 0 ||
        is_pressed(p))
        *rc = seal(p);
    if (*rc == E_OK)
        *rc = trim(p);
    if (*rc < 0)
        return false;
    return heads_ripest(p->heads) != 0 || (is_pressed(p) && heads_oldest(p->heads) != 0) ||
           p->unstored.first < p->unstored.end || part_erase_unstored(p) != 0;
}
