/* rig.h - actors on real lanes inside one test process, as threads or stepped by hand.
 *
 *     static const edge_plan edges[] = {{ FRONT0, INGEST0, CARRIER_RING, EDGE_WAIT, 65536 },
 *                                       { INGEST0, FRONT0, CARRIER_RING, EDGE_REPLY, 65536 }, { 0 }};
 *     rig *r = rig_new(edges, NULL);
 *     rig_thread(r, &ingest_kind, 0);              runs until rig_free()
 *     ak *k = rig_hand(r, &toy_kind, 0);           the test calls ak_step(k, 64) itself
 *     ...
 *     rig_kill(r, k);                              as kill -9: nothing flushed, published or acknowledged
 *     k = rig_hand(r, &toy_kind, 0);               the next incarnation
 *     rig_free(&r);                                threads stop cleanly, in the order of rig_thread()
 *
 * Failures fail the test.  The run directory is a fresh one under /dev/shm, the data directory one under
 * $TMPDIR; both are removed by rig_free().
 */
#ifndef HALTLESS_TESTS_UNIT_ACTORS_RIG_H
#define HALTLESS_TESTS_UNIT_ACTORS_RIG_H

#include "actors/ak_loop.h"
#include "actors/node.h"

typedef struct rig rig;

typedef struct rig_with {
    const options *options;  /* borrowed; NULL: none */
    const char    *data_dir; /* NULL: made and removed */
    bool           board;    /* make a (small) board too */
} rig_with;

rig        *rig_new(const edge_plan *edges, const rig_with *with); /* edges end with { 0 } */
void        rig_free(rig **r);
void        rig_thread(rig *r, const ak_kind *kind, uint16_t part); /* returns when init() is done */
ak         *rig_thread_ak(rig *r, const ak_kind *kind, uint16_t part); /* the same; to look at, not to call */
void        rig_options(rig *r, const options *o); /* borrowed; for all of them, from now on */
void        rig_stop(rig *r, const ak_kind *kind, uint16_t part);   /* a thread: clean stop */
ak         *rig_hand(rig *r, const ak_kind *kind, uint16_t part);
void       *rig_self(ak *k); /* the actor's own state */
void        rig_kill(rig *r, ak *k);
const char *rig_data_dir(const rig *r);
const char *rig_run_dir(const rig *r);

#endif
