/* lane.h - the one queue of this system: a single-producer single-consumer byte ring.
 *
 * One file per lane, in shared memory, three separately mapped parts:
 *
 *   offset 0      constant page   magic, abi, capacity, from, to, generation   (read-only to all)
 *   4096          producer page   tail, starved                  writes: the producer only
 *   8192          consumer page   head, seen, most                    writes: the consumer only
 *   12288         data            capacity bytes, mapped twice back to back: no wrap branch
 *
 * A peer's page is mapped read-only.  A record is a 64-byte envelope and its body, rounded up to
 * 64 bytes.  Positions are 64-bit byte counts that never wrap; index = pos & (capacity - 1).
 *
 *          head              read              tail            staged
 *   ........|acknowledged-by..|seen, unacked....|published......|not yet seen by anybody
 *
 * `head` (shared) moves only after the effect is durable; `read` and `staged` are private.  Kill the
 * consumer anywhere: its successor starts at head.  Kill the producer anywhere: what it did not
 * publish does not exist.
 *
 * A lane of the `zmq` carrier is the same thing: the producer's side is its retransmission buffer,
 * the consumer's a private copy filled by the wire (lane_make_private).
 */
#ifndef HALTLESS_TRANSPORT_LANE_H
#define HALTLESS_TRANSPORT_LANE_H

#include "proto/envelope.h"
#include "proto/err.h"

#include <stdatomic.h>

enum { LANE_PAGE = 4096, LANE_CAPACITY_MIN = 4096 };

typedef struct lane lane;

/* Supervisor: makes the file (posix_fallocate, so that a full /dev/shm is an error here and no SIGBUS
 * later).  capacity: a power of two >= 4096.  Replaces an existing file. */
NODISCARD int lane_create(const char *path, uint64_t capacity, addr from, addr to, const uuid *generation);

enum lane_role { LANE_PRODUCER, LANE_CONSUMER, LANE_WATCHER /* tools: everything read-only */ };

/* Maps and validates.  The producer goes on at tail, the consumer at head.  E_BAD: not a lane of this abi. */
NODISCARD int lane_open(lane **l, const char *path, enum lane_role role);

/* A lane in private memory, both roles in one object: the receiving end of a zmq edge, and tests.
 * Starts at position `at` (a multiple of 64). */
NODISCARD int lane_make_private(lane **l, uint64_t capacity, addr from, addr to, uint64_t at);
void lane_close(lane **l);

/* The wire of a zmq edge: a private lane with everything acknowledged goes on elsewhere; the producer of an
 * open lane becomes the writer of its head too, and moves it as the far side says (false: it cannot be so). */
void lane_restart(lane *l, uint64_t at, uint64_t seen, const uuid *generation);
NODISCARD int lane_take_consumer(lane *l);
bool lane_confirm(lane *l, uint64_t pos);

addr        lane_from(const lane *l);
addr        lane_to(const lane *l);
uint64_t    lane_capacity(const lane *l);
const uuid *lane_generation(const lane *l);

/* ---- producer ---- */

/* Room for a body of `len` behind what is staged, or NULL.  The envelope is at body - 64 and is the
 * caller's to fill; nothing is staged until lane_stage(). */
static inline void *lane_reserve(lane *l, uint32_t len);
/* Stages the record whose envelope lies at the staged position; env.len is final now (<= reserved). */
static inline void lane_stage(lane *l, const envelope *e);
/* Stages a whole record; E_FULL. */
NODISCARD static inline int lane_put(lane *l, const envelope *e, const void *body);
/* Makes everything staged visible (seq_cst store of tail).  True when there was something. */
bool  lane_publish(lane *l);
/* Forgets everything staged and not published. */
void  lane_unstage(lane *l);
uint64_t lane_staged_len(const lane *l);
/* Room for a record of that many bytes, envelope included?  Reloads head only when it seems not. */
static inline bool lane_fits(lane *l, uint64_t need);
uint64_t lane_room(lane *l);           /* bytes, envelope included; reloads head */
void  lane_starve(lane *l, bool want); /* "ring my bell when head moves"; look at lane_room() again after it */

/* ---- consumer ---- */

/* The next record, or NULL when there is none.  *e is the validated copy of its envelope; the body
 * stays the peer's to scribble on, the caller bounds every read by e->len.  Pads are skipped.
 * E_BAD in *rc: the record cannot be one (the lane is then quarantined: lane_peek returns NULL for ever). */
static inline const void *lane_peek(lane *l, envelope *e, uint64_t *pos, uint64_t *pos_end, int *rc);
static inline void lane_advance(lane *l, uint64_t pos_end);      /* private read cursor */
void        lane_rewind(lane *l, uint64_t pos);           /* offer it again; head <= pos <= read */
/* Shared head := pos (release; monotone).  True when the producer asked to be woken for it. */
bool        lane_ack(lane *l, uint64_t pos);
uint64_t    lane_read_pos(const lane *l);
/* How far this incarnation's predecessor had read: a record that begins below it is delivered again. */
uint64_t    lane_seen_before(const lane *l);
/* Is there anything behind the read cursor?  seq_cst: the second look of the park protocol. */
static inline bool lane_has_more(const lane *l);

/* ---- both, and watchers ---- */
uint64_t lane_head(const lane *l);
uint64_t lane_tail(const lane *l);
uint64_t lane_most(const lane *l); /* the most bytes that ever lay unacknowledged when the consumer looked */

/* Bytes unacknowledged in the lane of that file, and lane_most(), without mapping it. */
NODISCARD int lane_depth(const char *path, uint64_t *bytes, uint64_t *most);

/* A watcher's look at a lane that others work on.  Believes nothing: whatever the file holds, *head and *tail
 * are whole records apart, at most the capacity.  False: they cannot be so. */
bool lane_span(const lane *l, uint64_t *head, uint64_t *tail);
/* The record at pos: 1 and a copy of its envelope; 0: not published yet; E_GONE: written over, or about to be;
 * E_BAD: no record.  Pads are records here. */
int  lane_look(const lane *l, uint64_t pos, envelope *e, uint64_t *pos_end);

/* ---- the wire: raw bytes of whole published records, and their arrival on the other side ---- */
view lane_bytes(const lane *l, uint64_t from, uint64_t until); /* contiguous thanks to the double map */
NODISCARD int lane_receive(lane *l, uint64_t at, view bytes);  /* private lane: appends and publishes; E_FULL, E_BAD */

#include "transport/lane_hot.h"

#endif
