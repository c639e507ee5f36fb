/* crash.h - a process that dies of a fault says on stderr who died and of what it was busy with.
 *
 *   ts=... level=error event=crash signal=SEGV actor=ingest.0 from=front.0 type=16 pos=4096 build=... commit=...
 *     #0 on_crash+123 at ./haltless(+0x1234)[0x55...]
 *     #3 on_readings+69 at ./haltless(+0x4d2f5)[0x55...]
 *
 * The seat of the actor whose thread it was says so too: its supervisor learns which of several actors it was.
 * Signals SEGV, ABRT, BUS, FPE, ILL; each then does what it always did, core file and exit status included.
 * Nothing under AddressSanitizer and ThreadSanitizer, which report themselves.
 */
#ifndef HALTLESS_ACTORS_CRASH_H
#define HALTLESS_ACTORS_CRASH_H

#include "actors/seat.h"

/* Once a process, before its threads; commit is borrowed for ever, or NULL. */
void crash_install(const char *commit);
/* This thread is that actor's from now on, with a stack of its own for the handler.  Borrowed until crash_leave(). */
void crash_enter(const char *actor, seat *s);
/* The same for a helper thread of that actor: what the actor's thread handles meanwhile is not to blame. */
void crash_enter_helper(const char *actor, seat *s);
void crash_leave(void);
/* In hex; "" when the linker gave none. */
const char *crash_build(void);

#endif
