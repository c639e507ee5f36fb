/* ingest.c - the writer of one partition.
 *
 *   front --READINGS--> stage --+                      +--> rows shown, STORED to each front
 *   front --READINGS--> stage --+--> one block, synced --+
 *   front --READINGS--> stage    (by the helper; meanwhile the next batch gathers)
 *
 * The block carries how far each lane is applied, so a message that is delivered again is answered
 * again and applied once.  Nothing of a batch is seen by anyone before it is durable.  When a block
 * cannot be written, even on fresh segments, its askers are told so and it is forgotten; the next
 * batch tries anew.  Sealing goes on here while the helper waits for the disk; the sync before the
 * journal is trimmed is a second helper's.
 */
#include "actors/ingest_internal.h"

#include "actors/ak_node.h"
#include "actors/kinds.h"
#include "actors/options.h"
#include "proto/err.h"
#include "proto/log.h"
#include "storage/reserve.h"

#include <inttypes.h>
#include <stdlib.h>

enum { WRITE_ATTEMPTS = 3, IDLE_TENDS = 4, SAVE_EVERY_S = 10, BUSY_MERGES = 2, IDLE_MERGES = 16, IDLE_MERGE = 2, IDLE_SETTLE = 3 };
#define TEND_NS   (20ull * 1000000)
#define REPLAY_NS 100000ull /* between two pieces of it: messages have their turn */
#define REPLAY_BYTES (256ull << 10)
#define KEPT_MAX  (64ull << 20) /* written and not shown */
#define MERGE_NS  (3ull * 1000000)
#define SECOND_NS 1000000000ull

/* ---- handlers ---- */

static ask *
remember(ingest *in, const ak_msg *m, int rc)
{
    ask *a = &in->gathering->asks[in->gathering->count++];

    *a = (ask){ .m = *m, .rc = rc };
    a->m.body = NULL;
    return a;
}

static ak_verdict
on_readings(ak *k, void *self, const ak_msg *m)
{
    ingest      *in = self;
    part_source  source = { .generation = *ak_generation_of(k, m), .from = m->from, .pos_end = m->pos_end };
    view         body = view_of(m->body, m->len);
    readings_head head;
    uint64_t     lsn = 0;
    uint32_t     rejected = 0;
    ask         *a;
    int          rc;

    if (in->gathering->count == ASKS_MAX)
        return AK_WAIT;
    if (part_check(body) < 0) {
        err_clear();
        return AK_BAD;
    }
    if (m->pos_end <= part_applied(in->part, &source.generation, m->from)) { /* before a crash of ours */
        remember(in, m, E_OK);
        return AK_DONE;
    }
    memcpy(&head, m->body, sizeof head);
    rc = part_stage(in->part, body, &source, &lsn, &rejected);
    if (rc == E_FULL)
        return AK_WAIT;
    a = remember(in, m, rc < 0 ? rc : rejected > 0 ? E_LIMIT : E_OK);
    a->lsn = lsn;
    a->rows = rc < 0 ? 0 : head.rows - rejected;
    return AK_DONE;
}

static ak_verdict
on_erase(ak *k, void *self, const ak_msg *m)
{
    ingest     *in = self;
    part_source source = { .generation = *ak_generation_of(k, m), .from = m->from, .pos_end = m->pos_end };
    erase_ask   a;
    uint32_t   *series;
    uint64_t    lsn = 0;
    int         rc;

    if (in->gathering->count == ASKS_MAX)
        return AK_WAIT;
    memcpy(&a, m->body, sizeof a);
    if (a.series_count == 0 || a.series_count > (m->len - sizeof a) / sizeof *series || a.from_us >= a.to_us)
        return AK_BAD;
    if (m->pos_end <= part_applied(in->part, &source.generation, m->from)) { /* before a crash of ours */
        remember(in, m, E_OK);
        return AK_DONE;
    }
    series = malloc(a.series_count * sizeof *series);
    ASSERT(series != NULL);
    memcpy(series, (const uint8_t *)m->body + sizeof a, a.series_count * sizeof *series);
    rc = part_stage_erase(in->part, &(part_erased){ series, a.series_count, a.from_us, a.to_us }, &source, &lsn);
    free(series);
    if (rc == E_FULL)
        return AK_WAIT;
    remember(in, m, rc)->lsn = lsn;
    err_clear();
    return AK_DONE;
}

/* A block goes to the disk for it, be it without a row. */
static ak_verdict
on_probe(ak *k, void *self, const ak_msg *m)
{
    ingest       *in = self;
    part_source   source = { .generation = *ak_generation_of(k, m), .from = m->from, .pos_end = m->pos_end };
    readings_head nothing = { .arrived_us = ak_wall_us(k) };
    uint64_t      lsn = 0;
    uint32_t      rejected = 0;
    int           rc;

    if (in->gathering->count == ASKS_MAX)
        return AK_WAIT;
    rc = part_stage(in->part, view_of(&nothing, sizeof nothing), &source, &lsn, &rejected);
    if (rc == E_FULL)
        return AK_WAIT;
    remember(in, m, rc);
    return AK_DONE;
}

/* ---- commit ---- */

static void
answer(ingest *in, int write_rc)
{
    batch   *b = in->flying;
    uint64_t rows = 0;

    for (uint32_t i = 0; i < b->count; i++) {
        const ask *a = &b->asks[i];
        int32_t    rc = write_rc < 0 ? write_rc : a->rc;

        if (a->m.type == MSG_PROBE) {
            ak_reply(in->k, &a->m, MSG_PROBED, &rc, sizeof rc);
        } else {
            stored s = { .rc = rc, .durability = in->durability, .lsn = a->lsn };

            ak_reply(in->k, &a->m, MSG_STORED, &s, sizeof s);
            rows += write_rc < 0 ? 0 : a->rows;
        }
    }
    count_add(ak_counters(in->k), COUNT_READINGS, rows);
    b->count = 0;
}

static void
judge_tend(ingest *in, int rc)
{
    if (rc < 0 && !in->tend_failed)
        log_error("ingest.tend", "rc=%d text=%s", rc, log_quote(view_str(err_text())));
    if (rc == E_OK && in->tend_failed)
        log_info("ingest.tend", "rc=0");
    in->tend_failed = rc < 0;
    in->gone |= rc == E_GONE;
    err_clear();
}

static void write_done(ak *k, void *self, void *job);

static void
write_block(void *job)
{
    ingest *in = job;

    in->write_rc = part_write(in->part);
    if (in->write_rc < 0) {
        strncpy(in->write_text, err_text(), sizeof in->write_text - 1);
        err_clear();
    }
}

static int
start_write(ingest *in)
{
    int rc;

    in->writing = true;
    rc = ak_help(in->k, write_block, write_done, in);
    if (rc < 0)
        in->writing = false;
    return rc;
}

static void sync_done(ak *k, void *self, void *job);

static void
sync_sealed(void *job)
{
    part_sync(job);
}

/* Trims that the budget forced are counted at once: who finds readings that were not judged looks there for the reason. */
static int
end_sync(ingest *in)
{
    uint64_t before = part_forced_trims(in->part);
    int      rc = part_end_sync(in->part);

    count_add(ak_counters(in->k), COUNT_FORCED_TRIMS, part_forced_trims(in->part) - before);
    return rc;
}

static int
start_sync(ingest *in)
{
    if (!part_begin_sync(in->part))
        return E_OK;
    if (ak_help(in->k, sync_sealed, sync_done, in->part) == E_OK)
        return E_OK;
    part_sync(in->part); /* no helper to be had */
    return end_sync(in);
}

/* True: there is more to do. */
static bool
tend(ingest *in, int pieces)
{
    bool more = true;
    int  rc = E_OK;

    ak_io_begin(in->k);
    for (int i = 0; i < pieces && more; i++)
        more = part_tend(in->part, &rc) && rc == E_OK;
    if (rc == E_OK)
        rc = start_sync(in); /* without a free helper it syncs here */
    ak_io_end(in->k);
    judge_tend(in, rc);
    return more || rc < 0;
}

/* True: there is more to merge. */
static bool
merge(ingest *in, int pieces)
{
    bool more = true;
    int  rc = E_OK;

    ak_io_begin(in->k);
    for (int i = 0; i < pieces && more; i++)
        more = part_merge(in->part, &rc);
    ak_io_end(in->k);
    if (rc < 0)
        judge_tend(in, rc);
    return more;
}

static void
compact_done(ak *k, void *self, void *job)
{
    (void)k;
    (void)self;
    part_end_compact(job);
}

static void
compact(void *job)
{
    part_compact(job);
}

/* Nobody has written for a while. */
static void
settle(ingest *in)
{
    ak_io_begin(in->k);
    part_settle(in->part);
    ak_io_end(in->k);
    if (!part_begin_compact(in->part))
        return;
    if (ak_help(in->k, compact, compact_done, in->part) < 0)
        part_end_compact(in->part); /* no helper to be had: some other time */
}

static void
sync_done(ak *k, void *self, void *job)
{
    ingest *in = self;
    int     rc = end_sync(in);

    (void)k;
    (void)job;
    if (rc < 0)
        judge_tend(in, rc);
}

/* The block could not be written: once more on a fresh segment, or its askers hear of it. */
static bool
try_again(ingest *in)
{
    count_add(ak_counters(in->k), COUNT_JOURNAL_FAILED, 1);
    if (!in->failing || in->attempts > 0)
        log_error("ingest.write", "rc=%d attempt=%u text=%s", in->write_rc, in->attempts + 1,
                  log_quote(view_str(in->write_text)));
    if (++in->attempts >= WRITE_ATTEMPTS || in->failing)
        return false;
    return start_write(in) == E_OK;
}

static void
replay(ingest *in, uint64_t bytes)
{
    int rc;

    ak_io_begin(in->k);
    rc = ingest__replay(in, bytes);
    ak_io_end(in->k);
    if (rc < 0) { /* the next incarnation tries again */
        judge_tend(in, rc);
        in->gone = true;
    }
}

/* A commit of one request goes on, to the alert actor and the fronts, under its trace. */
static void
show(ingest *in)
{
    ak_trace(in->k, in->flying->count == 1 ? in->flying->asks[0].m.trace : 0);
    ingest__show(in);
    ak_trace(in->k, 0);
    if (part_kept_bytes(in->part) > KEPT_MAX) /* then the rest of the replay has to be now */
        replay(in, UINT64_MAX);
}

static void
write_done(ak *k, void *self, void *job)
{
    ingest *in = self;

    (void)job;
    in->writing = false;
    if (in->write_rc < 0 && try_again(in))
        return;
    if (in->write_rc < 0) {
        part_forget(in->part);
        in->failing = true;
    } else {
        if (in->failing)
            log_info("ingest.write", "rc=0 recovered=true");
        in->failing = false;
        show(in);
    }
    answer(in, in->write_rc < 0 ? (in->write_rc == E_NOSPACE ? E_NOSPACE : E_IO) : E_OK);
    ak_flushed(k, E_OK);
}

static int
flush(ak *k, void *self)
{
    ingest *in = self;
    batch  *b = in->gathering;
    int     rc;

    ASSERT(in->flying->count == 0 && !in->writing);
    if (in->gone) /* the next incarnation reads the journal */
        return err(E_GONE, "what was sealed is not all there");
    in->gathering = in->flying;
    in->flying = b;
    if (!part_has_staged(in->part)) { /* all of it came again */
        answer(in, E_OK);
        return E_OK;
    }
    part_stamp(in->part, board_rules_seq(ak_board(k))); /* the rules that judge its rows */
    part_end_block(in->part, ak_wall_us(k));
    in->attempts = 0;
    rc = start_write(in);
    if (rc < 0)
        return err(rc, "hand a block to the helper");
    ak_publish(k); /* the answers to the batch before do not wait for this: */
    if (!in->replaying)
        (void)tend(in, 1);
    return AK_PENDING;
}

/* ---- time ---- */

static void
count_since(ingest *in, enum counter which, uint64_t now, uint64_t *before)
{
    if (now > *before)
        count_add(ak_counters(in->k), which, now - *before);
    *before = now;
}

static void
every_second(ingest *in)
{
    counters  *c = ak_counters(in->k);
    part_stats s;

    part_stat(in->part, &s);
    count_set(c, COUNT_SERIES, s.series);
    count_set(c, COUNT_HEAD_BYTES, s.head_bytes);
    count_since(in, COUNT_CHUNKS, s.chunks, &in->last.chunks);
    count_since(in, COUNT_CHUNK_BYTES, s.chunk_bytes, &in->last.chunk_bytes);
    count_since(in, COUNT_JOURNAL_BYTES, s.journal_bytes, &in->last.journal_bytes);
    count_since(in, COUNT_JOURNAL_SYNCS, s.journal_syncs, &in->last.journal_syncs);
    ak_io_begin(in->k);
    part_refuse(in->part, reserve_tend(ak_data_dir(in->k), ak_options(in->k)->storage_reserve_mb << 20));
    ak_io_end(in->k);
    if (++in->seconds % SAVE_EVERY_S == 0 && in->arrivals_changed)
        ingest__save_arrivals(in);
    if (in->seconds % SAVE_EVERY_S == 0) {
        ak_io_begin(in->k);
        part_note_written(in->part);
        ak_io_end(in->k);
    }
}

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    ingest *in = self;
    bool    busy, more;

    if (m->ctx == &in->seconds) {
        every_second(in);
        if (!in->replaying)
            ingest__retain_second(in);
        ingest__watch_second(in);
        ak_timer(k, SECOND_NS, &in->seconds);
        return AK_DONE;
    }
    if (in->replaying) {
        replay(in, REPLAY_BYTES);
        ak_timer(k, REPLAY_NS, &in->tending);
        return AK_DONE;
    }
    busy = tend(in, IDLE_TENDS) || in->commit != in->tended;
    ingest__watch_tend(in);
    more = merge(in, busy ? BUSY_MERGES : IDLE_MERGES);
    more = ingest__retain(in, busy) || more;
    in->idle = busy ? 0 : in->idle + !more;
    if (in->idle == IDLE_MERGE && !more && part_merge_rest(in->part))
        more = true;
    if (in->idle == IDLE_SETTLE)
        settle(in);
    in->tended = in->commit;
    /* An idle server hardly wakes. */
    ak_timer(k, busy ? TEND_NS : more ? MERGE_NS : SECOND_NS, &in->tending);
    return AK_DONE;
}

/* ---- life ---- */

static void
stop(ak *k, void *self)
{
    ingest *in = self;

    (void)k;
    if (in->arrivals_changed)
        ingest__save_arrivals(in);
    ingest__close_watch(in);
    if (in->part != NULL) {
        part_note_written(in->part);
        part_close(&in->part);
    }
    ingest__close_heads(in);
    ingest__close_shows(in);
    for (int i = 0; i < 2; i++)
        free(in->batches[i].asks);
}

static int
init(ak *k, void *self)
{
    ingest *in = self;
    int     rc = E_NOMEM;

    in->k = k;
    in->number = addr_part(ak_self(k));
    in->durability = ak_options(k)->storage_durability;
    in->gathering = &in->batches[0];
    in->flying = &in->batches[1];
    for (int i = 0; i < 2; i++)
        if ((in->batches[i].asks = calloc(ASKS_MAX, sizeof(ask))) == NULL)
            goto out;
    if ((rc = ingest__open_shows(in)) < 0 || (rc = ingest__open(in)) < 0)
        goto out;
    ak_timer(k, SECOND_NS, &in->seconds);
    ak_timer(k, in->replaying ? REPLAY_NS : TEND_NS, &in->tending);
    return E_OK;
out:
    stop(k, self); /* the next incarnation finds the partition unlocked */
    return rc;
}

static const ak_on on[] = {
    { MSG_READINGS, 0, on_readings },
    { MSG_ERASE, 0, on_erase },
    { MSG_PROBE, 0, on_probe },
    { MSG_HEADS, AK_READ, ingest__on_heads },
    { MSG_RETENTION, AK_READ, ingest__on_retention },
    { MSG_CATCH_UP, AK_READ, ingest__on_catch_up },
    { MSG_JUDGED, AK_READ, ingest__on_judged },
    { MSG_CREDIT, AK_READ, ingest__on_credit },
    { MSG_CANCEL, AK_READ, ingest__on_cancel },
    { MSG_TIMER, AK_READ, on_timer },
    { 0 },
};

const ak_kind ingest_kind = {
    .name = "ingest",
    .self_size = sizeof(ingest),
    .number = KIND_INGEST,
    .ordered = true,
    .helpers = 4, /* blocks; syncs before a trim; compaction; reading the journal for the alert actor */
    .on = on,
    .init = init,
    .flush = flush,
    .stop = stop,
};
