/* seat.h - what is known of one actor outside of it: one small file in the run directory.
 *
 *   line of the supervisor   epoch, pid, restarts, last exit            writes: the supervisor
 *   lines of the actor       ready, state, what it handles now, error   writes: the actor's thread
 *   cursors                  read position of each inbound lane         writes: the actor's thread
 *
 * Survives the actor: its successor learns from the cursors which messages were read before
 * (AK_AGAIN), peers learn from the epoch that it was started anew, `top` sees what killed it.
 */
#ifndef HALTLESS_ACTORS_SEAT_H
#define HALTLESS_ACTORS_SEAT_H

#include "proto/envelope.h"

#include <stdatomic.h>

enum { SEAT_LANES = 192, SEAT_ERROR_MAX = 480 };
enum seat_state { SEAT_DOWN, SEAT_STARTING, SEAT_RUN, SEAT_IO, SEAT_PARKED, SEAT_STOPPED };

typedef struct seat {
    _Alignas(128) _Atomic uint32_t magic; /* written last */
    _Atomic uint32_t epoch;               /* incarnation, from 1 */
    _Atomic int32_t  pid;
    _Atomic uint32_t restarts;
    _Atomic int32_t  last_exit; /* wait status of the last death */

    _Alignas(128) _Atomic uint32_t state; /* enum seat_state */
    _Atomic uint32_t ready;               /* the epoch whose init() succeeded */
    _Atomic uint64_t tick;                /* steps */
    _Atomic uint64_t now_ns;              /* of the last step */
    _Atomic uint32_t at_lane;             /* what is, or was, being handled */
    _Atomic uint32_t at_type;
    _Atomic uint64_t at_pos;
    _Atomic uint64_t at_from; /* addr */
    _Atomic uint32_t failed; /* the epoch that rc and error are about */
    _Atomic int32_t  rc;
    _Atomic int32_t  tid; /* of the actor's thread */

    _Alignas(128) char error[SEAT_ERROR_MAX]; /* valid when failed == epoch and the actor is dead */

    _Alignas(128) _Atomic uint64_t read[SEAT_LANES];
} seat;

NODISCARD int seat_create(const char *run_dir, addr who); /* keeps what is there */
NODISCARD int seat_open(seat **s, const char *run_dir, addr who, bool writer);
void          seat_close(seat **s);
/* The actor leaves its last words. */
void seat_fail(seat *s, int rc, const char *text);

#endif
