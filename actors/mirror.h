/* mirror.h - what actors of one node know of another without asking: the board and the seats, copied.
 *
 *   home ──▶ away    machines, rules, what the fronts watch; which life each actor is in
 *   away ──▶ home    series, latest values and arrivals of its partitions; which life each actor is in
 *
 * Keys, users and tokens stay at home.  Each table says what was put since a given time (table.h), so a copy
 * is brought up to date by asking for what is newer than it, and a fresh one by asking for everything: there
 * is no other kind of resynchronisation.
 */
#ifndef HALTLESS_ACTORS_MIRROR_H
#define HALTLESS_ACTORS_MIRROR_H

#include "actors/nodes.h"
#include "actors/rundir.h"

typedef struct mirror mirror;

/* Says a word to the peer; false: not now. */
typedef bool mirror_say_fn(void *ctx, uint32_t peer, view word);

NODISCARD int mirror_open(mirror **m, const rundir *run, const nodes *n, mirror_say_fn *say, void *ctx);
void          mirror_close(mirror **m);
void          mirror_begin(mirror *m, uint32_t peer); /* it knows nothing */
bool          mirror_say(mirror *m, uint32_t peer);   /* true: it knows everything */
bool          mirror_hear(mirror *m, uint32_t peer, view word); /* false: malformed, or not its to say */
void          mirror_away(mirror *m, uint32_t peer);  /* its actors cannot be reached, */
void          mirror_back(mirror *m, uint32_t peer);  /* and can again, those that were heard of */

#endif
