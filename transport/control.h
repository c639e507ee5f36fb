/* control.h - the supervisor's line to the processes it started: rare words, over CZMQ.
 *
 * ROUTER ipc://RUN/control in the supervisor, a DEALER in each process that hosts a group of actors.
 *
 *   group -> supervisor    "ready"  every actor of the group is initialised
 *                          "failed" one could not be; text says why, for the log and the exit message
 *   supervisor -> group    "stop"   end as for SIGTERM
 *                          "reload" the options file in RUN has changed
 *                          "death"  an actor of another process died: its seat says which
 *   tool -> supervisor -> group   "replay"  text: the dead letter that its actor is to take once more
 *
 * A word lost with a dying process is no loss: pidfd decides death, and SIGTERM stops as well.  Never on a data path.
 * Not usable across fork: the supervisor's children exec.
 */
#ifndef HALTLESS_TRANSPORT_CONTROL_H
#define HALTLESS_TRANSPORT_CONTROL_H

#include "proto/base.h"

typedef struct control control;

enum control_verb { CONTROL_READY = 1, CONTROL_FAILED, CONTROL_STOP, CONTROL_RELOAD, CONTROL_REPLAY, CONTROL_DEATH };
enum { CONTROL_TEXT_MAX = 1024, CONTROL_TOOL = 1 << 30 /* and a pid: the name of a command */ };

typedef struct control_word {
    enum control_verb verb;
    uint32_t          group;
    int64_t           pid;
    char              text[CONTROL_TEXT_MAX]; /* NUL-terminated */
} control_word;

NODISCARD int control_bind(control **c, const char *run_dir);
NODISCARD int control_connect(control **c, const char *run_dir, uint32_t group);
void control_close(control **c);

/* Readable: call control_next until it is false (edge-triggered, as every ZeroMQ descriptor). */
int  control_fd(const control *c);
bool control_next(control *c, control_word *out); /* malformed words are dropped */

/* A group says a word of its own; text may be NULL. */
NODISCARD int control_say(control *c, enum control_verb verb, const char *text);
/* The supervisor tells a group that has spoken before; E_NOTFOUND otherwise. */
NODISCARD int control_tell(control *c, uint32_t group, enum control_verb verb);
NODISCARD int control_tell_text(control *c, uint32_t group, enum control_verb verb, const char *text);

#endif
