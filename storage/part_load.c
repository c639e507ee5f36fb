/* part_load.c - at open: what the database holds of a partition, then what the journal holds beyond it. */
#include "storage/part_inner.h"

#include <inttypes.h>

#include "proto/err.h"
#include "proto/log.h"
#include "storage/patience.h"

typedef int load_fn(part *p, view key, view value);

static int
load_series(part *p, view key, view value)
{
    series_value v;
    series_name  name;
    uint32_t     number;

    if (key.len != 4 || value.len < sizeof v)
        return E_BAD;
    number = load_be32(key.at);
    memcpy(&v, value.at, sizeof v);
    if (v.version != KEY_VALUE_VERSION)
        return err(E_NEWER, "a series of version %u", v.version);
    if (sizeof v + v.metric_len + v.unit_len != value.len || number == 0 || v.machine == 0 ||
        !series_reserve(p->map, number))
        return E_BAD;
    name = (series_name){ .machine = v.machine,
                          .tenant = v.tenant,
                          .metric = view_of(value.at + sizeof v, v.metric_len),
                          .unit = view_of(value.at + sizeof v + v.metric_len, v.unit_len) };
    if (series_at(p->map, number)->machine != 0 ||
        series_find(p->map, name.machine, name.metric) != 0)
        return E_BAD;
    series_add(p->map, number, &name);
    series_at(p->map, number)->defined_lsn = v.defined_lsn;
    p->next_lsn = max_u64(p->next_lsn, v.defined_lsn + 1);
    part_tell_series(p, number);
    return E_OK;
}

static int
load_latest(part *p, view key, view value)
{
    latest_value v;
    series      *s;

    if (key.len != 4 || value.len != sizeof v)
        return E_BAD;
    memcpy(&v, value.at, sizeof v);
    if (v.version != KEY_VALUE_VERSION)
        return err(E_NEWER, "a latest reading of version %u", v.version);
    if (load_be32(key.at) == 0 || !series_reserve(p->map, load_be32(key.at)))
        return E_BAD;
    s = series_at(p->map, load_be32(key.at));
    s->latest_us = v.time_us;
    p->newest_us = v.lsn != 0 && v.time_us > p->newest_us ? v.time_us : p->newest_us;
    s->latest = v.value;
    s->latest_lsn = v.lsn;
    s->sealed_lsn = v.sealed_lsn;
    p->next_lsn = max_u64(p->next_lsn, max_u64(v.lsn, v.sealed_lsn) + 1);
    return E_OK;
}

static int
load_erased(part *p, view key, view value)
{
    erased_value v;

    if (key.len != KEY_ERASED_LEN || value.len != sizeof v)
        return E_BAD;
    memcpy(&v, value.at, sizeof v);
    if (v.version != KEY_VALUE_VERSION)
        return err(E_NEWER, "a delete of version %u", v.version);
    if (load_be32(key.at + 8) == 0 || v.from_us >= v.to_us || p->erasure_count == ERASURES_MAX)
        return E_BAD;
    part_erase_loaded(p, &(erasure){ .series = load_be32(key.at + 8),
                                     .stored = true,
                                     .from_us = v.from_us,
                                     .to_us = v.to_us,
                                     .lsn = load_be64(key.at) });
    p->next_lsn = max_u64(p->next_lsn, load_be64(key.at) + 1);
    return E_OK;
}

/* Of `meta`, what is not read by its name. */
static int
load_meta(part *p, view key, view value)
{
    if (key.len != 14 || memcmp(key.at, "retention/", 10) != 0)
        return E_OK;
    return part_retain_loaded(p, load_be32(key.at + 10), value);
}

/* Each record of a family; a bad one is skipped and counted. */
static int
load_family(part *p, enum part_family family, load_fn *fn)
{
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(p->rocks->db, p->rocks->read, p->rocks->cf[family]);
    char    *text = NULL;
    uint64_t bad = 0;
    int      rc = E_OK, read_rc;

    for (rocksdb_iter_seek_to_first(it); rc == E_OK && rocksdb_iter_valid(it);
         rocksdb_iter_next(it)) {
        size_t      key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len);
        const char *value = rocksdb_iter_value(it, &value_len);

        rc = fn(p, view_of(key, key_len), view_of(value, value_len));
        bad += rc == E_BAD;
        rc = rc == E_BAD ? E_OK : rc;
    }
    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    read_rc = rocks_result(text, "load");
    if (read_rc < 0 && rocks_is_refusal(read_rc) && !patience_is_over(p->dir))
        rc = rc < 0 ? rc : read_rc;
    else if (read_rc < 0) {
        /* What could be read is kept; the rest comes from the journal, or is lost. */
        log_error("part.load", "dir=%s error=%s", p->dir, log_quote(view_str(err_text())));
        err_clear();
    }
    if (bad > 0)
        log_error("part.load", "dir=%s bad_records=%" PRIu64, p->dir, bad);
    return rc;
}

static int
load_trimmed(part *p, uint64_t *lsn)
{
    char      *text = NULL;
    size_t     len;
    meta_value v;
    char *got = rocksdb_get_cf(p->rocks->db, p->rocks->read, p->rocks->cf[PART_META], "trimmed", 7,
                               &len, &text);

    *lsn = 0;
    if (text != NULL)
        return rocks_result(text, "read what the journal was trimmed to");
    if (got != NULL && len == sizeof v) {
        memcpy(&v, got, sizeof v);
        *lsn = v.version == KEY_VALUE_VERSION ? v.lsn : 0;
    }
    rocksdb_free(got);
    p->next_lsn = max_u64(p->next_lsn, *lsn + 1);
    return E_OK;
}

int
part_load(part *p, journal_report *report)
{
    journal_config config = { .budget_bytes = p->config.journal_bytes,
                              .durability = p->config.durability,
                              .crumb = p->config.crumb,
                              .peek = part_replay_peek,
                              .early = part_replay_early,
                              .gap = part_damage_gap,
                              .replay_apart = true };
    uint64_t       trimmed;
    bool           more = !p->config.replay_apart;
    int            rc = load_trimmed(p, &trimmed);

    if (rc == E_OK)
        rc = load_family(p, PART_SERIES, load_series);
    if (rc == E_OK)
        rc = load_family(p, PART_LATEST, load_latest);
    if (rc == E_OK && (p->in_doubt || p->rocks->repaired))
        rc = part_log_doubt(p, trimmed);
    if (rc == E_OK)
        rc = load_family(p, PART_ERASED, load_erased);
    if (rc == E_OK)
        rc = load_family(p, PART_META, load_meta);
    p->shown_lsn = p->trimmed_lsn = p->early_lsn = p->replayed_lsn = trimmed;
    if (rc == E_OK)
        rc = journal_open(&p->journal, p->dir, &config, trimmed, part_replay_block, p, report);
    if (rc < 0)
        return rc;
    p->replaying = true;
    p->opened_lsn = p->next_lsn - 1;
    p->sealed_seq = rocksdb_get_latest_sequence_number(p->rocks->db);
    if (p->config.replay_apart)
        part_tell_latest(p);
    while (rc == E_OK && more)
        rc = part_replay(p, UINT64_MAX, &more);
    *report = *part_reported(p);
    return rc;
}
