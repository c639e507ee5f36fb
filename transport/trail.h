/* trail.h - what an actor did for which request, lately: a ring in shared memory, one writer.
 *
 *   offset 0     constant page    magic, abi, who, records
 *   4096         next             how many there ever were            writes: the actor
 *   8192         record[records]  64 bytes each: number n lies at n % records
 *
 * Only what carries a trace is written down: a front gives each HTTP request one, and the kernel hands it on
 * with every message.  A record is there before its handler runs, so what a dead actor was busy with is
 * the one that is not done.  A reader takes a record for good only if its number was the same before and after.
 */
#ifndef HALTLESS_TRANSPORT_TRAIL_H
#define HALTLESS_TRANSPORT_TRAIL_H

#include "proto/envelope.h"

typedef struct trail trail;

enum trail_flags {
    TRAIL_COMMITS = 1 << 0, /* part of a batch: flushed_ns says when that was committed */
    TRAIL_AGAIN = 1 << 1,   /* delivered again after a crash */
    TRAIL_WAIT = 1 << 2,    /* refused for want of room downstream, and offered again later */
};

typedef struct trail_step {
    uint64_t trace;
    addr     from;
    uint64_t sent_ns;    /* when it was staged; monotonic, as all times here */
    uint64_t at_ns;      /* when the handler began */
    uint64_t done_ns;    /* 0: it has not returned */
    uint64_t flushed_ns; /* 0: no commit, or not yet */
    uint32_t len;
    uint16_t type; /* 0: no message but a span of the actor's own (ak_mark) */
    uint16_t flags;
} trail_step;

NODISCARD int trail_create(const char *dir, addr who, uint32_t records); /* keeps what is there */
NODISCARD int trail_open(trail **t, const char *dir, addr who, bool writer);
void          trail_close(trail **t);

/* The trace of a request of that name: 16 lower-case hex digits are its own, others are hashed.  Never 0. */
uint64_t trail_id(view request);

/* ---- the writer ---- */
uint64_t trail_add(trail *t, const trail_step *s); /* its number */
void     trail_done(trail *t, uint64_t number, uint64_t ns, uint16_t flags);
uint64_t trail_next(const trail *t); /* the number the next one gets */
/* Those of [from, until) that take part in a commit were committed now. */
void trail_flushed(trail *t, uint64_t from, uint64_t until, uint64_t ns);

/* ---- readers ---- */
/* The first number that may still be there; trail_next() is behind the last. */
uint64_t trail_first(const trail *t);
bool     trail_read(const trail *t, uint64_t number, trail_step *s); /* false: written over */

#endif
