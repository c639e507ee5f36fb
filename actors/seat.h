/* seat.h - what is known of one actor outside of it: one small file in the run directory.
 *
 *   line of the supervisor   epoch, pid, restarts, last exit, careful   writes: the supervisor
 *   lines of the actor       ready, state, what it handles now, error   writes: the actor's thread
 *   cursors                  read position of each inbound lane         writes: the actor's thread
 *   suspects                 messages it died of, and how often         writes: whoever reaped it; forgets: the actor
 *
 * Survives the actor: its successor learns from the cursors which messages were read before
 * (AK_AGAIN), peers learn from the epoch that it was started anew, `top` sees what killed it.
 *
 * Poison.  A fault signal (SEGV, ABRT, BUS, FPE, ILL) in the actor's thread charges the message it was busy with, when
 * that is exactly one, and makes the next life careful (ak_careful.c).  With SEAT_DEATHS_MAX deaths to its name
 * a message is buried.
 */
#ifndef HALTLESS_ACTORS_SEAT_H
#define HALTLESS_ACTORS_SEAT_H

#include "proto/crumb.h"
#include "proto/envelope.h"

#include <stdatomic.h>

enum { SEAT_LANES = 192, SEAT_ERROR_MAX = 480, SEAT_SUSPECTS = 8, SEAT_DEATHS_MAX = 3 };
enum seat_state { SEAT_DOWN, SEAT_STARTING, SEAT_RUN, SEAT_IO, SEAT_PARKED, SEAT_STOPPED };

typedef struct seat_suspect {
    _Atomic uint64_t from; /* addr: whose lane */
    _Atomic uint64_t pos;
    _Atomic uint32_t deaths; /* 0: free */
    _Atomic int32_t  signal; /* of the last one */
} seat_suspect;

typedef struct seat {
    _Alignas(128) _Atomic uint32_t magic; /* written last */
    _Atomic uint32_t epoch;               /* incarnation, from 1 */
    _Atomic int32_t  pid;
    _Atomic uint32_t restarts;
    _Atomic int32_t  last_exit; /* wait status of the last death */
    _Atomic uint32_t down;      /* it died too often: whoever asks it is refused until it is ready again */
    _Atomic uint32_t careful;   /* the epoch that is to take one message at a time */

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
    _Atomic uint32_t at_exact; /* a death now is the doing of exactly that message */
    _Atomic uint32_t soothed;  /* the epoch that was careful and is past what its predecessor had read */
    _Atomic uint32_t crashed;  /* the epoch in whose thread a fault signal was caught, */
    _Atomic int32_t  crash_signal; /* and which */

    _Alignas(128) char error[SEAT_ERROR_MAX]; /* valid when failed == epoch and the actor is dead */

    _Alignas(128) crumb start; /* what init() is busy with */
    _Alignas(128) seat_suspect suspect[SEAT_SUSPECTS];

    _Alignas(128) _Atomic uint64_t read[SEAT_LANES];
} seat;

NODISCARD int seat_create(const char *run_dir, addr who); /* keeps what is there */
NODISCARD int seat_open(seat **s, const char *run_dir, addr who, bool writer);
void          seat_close(seat **s);
/* The actor leaves its last words. */
void seat_fail(seat *s, int rc, const char *text);

/* Of a process that died: is it a signal that its own code raised? */
bool seat_is_fault(int signal);
/* Whoever reaped the process of this actor, before its next life. */
enum seat_guilt {
    SEAT_INNOCENT, /* another actor's thread, or no fault at all */
    SEAT_PERHAPS,  /* a fault in none of the actors' threads: nothing is charged, but it goes carefully */
    SEAT_GUILTY,
};
void seat_judge(seat *s, int signal, enum seat_guilt guilt);
/* Did the fault handler see it in one of this actor's threads? */
bool seat_has_crashed(const seat *s);
/* The row of that message, or NULL. */
seat_suspect *seat_suspect_of(seat *s, addr from, uint64_t pos);

#endif
