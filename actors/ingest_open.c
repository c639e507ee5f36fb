/* ingest_open.c - opening a partition: it takes readings once it knows its series and what was applied of the lanes;
 * what the journal holds beyond the chunks is replayed by and by.
 *
 *   init:   database, journal's index, definitions | a first piece; that is all after a clean stop
 *           the board says "filling", writes are taken: durable, answered, kept
 *   timer:  piece by piece; queries and the board's readers wait, or hear 503
 *           then newest readings go to the board, the kept blocks are shown, "filling" ends
 */
#include "actors/ingest_internal.h"

#include "actors/ak_node.h"
#include "actors/kinds.h"
#include "actors/options.h"
#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"
#include "storage/reserve.h"

#include <inttypes.h>

#define FIRST_BYTES (16ull << 10)

static int
open_part(ingest *in)
{
    const options *o = ak_options(in->k);
    uint64_t       parts = max_u64(ak_parts_here(in->k, KIND_INGEST), 1);
    part_events    events = ingest__events(in);
    journal_report report = { 0 };
    part_config    config = {
           .dir = ak_data_dir(in->k),
           .number = in->number,
           .journal_bytes = (o->storage_journal_mb << 20) / parts,
           .heads_bytes = (o->storage_heads_mb << 20) / parts,
           .cache_bytes = (o->storage_cache_mb << 20) / parts,
           .series_per_tenant = o->limits_series_per_tenant,
           .durability = (enum journal_durability)o->storage_durability,
           .crumb = ak_crumb(in->k),
           .sync_apart = true,
           .replay_apart = true,
    };
    int rc = part_open(&in->part, &config, &events, &report);

    return rc < 0 ? err(rc, "partition %u", in->number) : E_OK;
}

static uint64_t
ms_since(uint64_t ns)
{
    return (the_world->now_ns() - ns) / 1000000;
}

/* All that was durable is in the heads, or chunks. */
static int
through(ingest *in)
{
    const journal_report *r = part_reported(in->part);
    int                   rc;

    in->replaying = false;
    in->retaining = true;
    rc = ingest__arrivals(in);
    ingest__open_watch(in);
    ingest__show_kept(in);
    board_say_filling(ak_board(in->k), false);
    part_stat(in->part, &in->last);
    log_info("ingest.replayed", "rows=%" PRIu64 " blocks=%" PRIu64 " bytes=%" PRIu64 " torn_bytes=%" PRIu64
             " damaged=%u ms=%" PRIu64, in->last.replayed_rows, r->blocks, r->bytes, r->torn_bytes, r->damaged,
             ms_since(in->replay_ns));
    return rc;
}

int
ingest__replay(ingest *in, uint64_t bytes)
{
    bool more;
    int  rc = part_replay(in->part, bytes, &more);

    return rc < 0 || more ? rc : through(in);
}

int
ingest__open(ingest *in)
{
    bool copied = board_is_copied(ak_board(in->k));
    int  rc;

    in->opened_ns = the_world->now_ns();
    rc = open_part(in);
    if (rc < 0)
        return rc;
    part_refuse(in->part, reserve_is_spent(ak_data_dir(in->k)));
    in->replaying = true;
    in->replay_ns = the_world->now_ns();
    part_stat(in->part, &in->last);
    log_info("ingest.open", "series=%" PRIu64 " ms=%" PRIu64, in->last.series, ms_since(in->opened_ns));
    /* A copy of the board on another node says nothing of what it lacks. */
    rc = ingest__replay(in, copied ? UINT64_MAX : FIRST_BYTES);
    if (rc < 0 || !in->replaying)
        return rc;
    board_say_filling(ak_board(in->k), true);
    return ingest__arrivals(in);
}
