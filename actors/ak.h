/* ak.h - the one page an actor's author reads: the kernel as an actor sees it.
 *
 * An actor is single-threaded, owns its state, and knows the world only through these calls.
 * Whether it runs as a thread or as a process of its own is a row of the topology; its code is
 * the same.  Two shapes of message: a note (ak_send) and an ask that owes a reply (ak_ask,
 * ak_reply).  There is no blocking receive: the kernel calls the handler.
 *
 * A batch is the unit of everything:
 *
 *     drain what is there -> handlers -> flush() -> publish staged sends -> acknowledge input
 *
 * What a handler stages is seen by nobody before the publish; what it did not acknowledge is
 * delivered again to its successor (m->flags & AK_AGAIN).  Delivery is at least once; an effect
 * is made single by storing "applied up to m->pos_end of (generation, m->from)" with it.
 */
#ifndef HALTLESS_ACTORS_AK_H
#define HALTLESS_ACTORS_AK_H

#include "proto/base.h"
#include "proto/envelope.h"
#include "proto/messages.h"

typedef struct ak ak; /* one actor's view of the kernel; never shared between threads */

enum { AK_AGAIN = 1 << 15 }; /* in ak_msg.flags beside ENV_*: its predecessor had read this one */

typedef struct ak_msg {
    addr        from;
    uint64_t    corr;
    uint64_t    deadline_ns; /* monotonic; 0 = none */
    uint64_t    sent_ns;
    uint64_t    trace;
    uint64_t    pos;     /* byte position of the record in its lane: grows for ever */
    uint64_t    pos_end; /* of the byte behind it */
    void       *ctx;     /* MSG_TIMER, MSG_LATE, replies: what ak_ask / ak_timer was given */
    uint32_t    lane;    /* which inbound lane; stable for the life of this actor's incarnation */
    uint32_t    len;
    uint16_t    type;
    uint16_t    flags;
    uint32_t    window; /* an ask for an answer in parts: bytes that may be under way; else 0 */
    const void *body; /* borrowed until the handler returns; 64-byte aligned */
} ak_msg;

typedef enum ak_verdict {
    AK_DONE, /* handled, or failed in a way already answered: acknowledge after flush() */
    AK_HOLD, /* outcome comes later: pins the lane's acknowledgement until ak_release() */
    AK_WAIT, /* downstream is full: pause this lane, offer the same message again when room returns */
    AK_BAD,  /* can never be accepted: counted, logged, the asker gets MSG_FAIL */
} ak_verdict;

typedef ak_verdict ak_on_fn(ak *k, void *self, const ak_msg *m);

enum { AK_READ = 1 }; /* ak_on.flags: does not depend on flush(); acknowledged and published at the
                       * end of the step even while a flush is under way */

typedef struct ak_on {
    uint16_t  type;
    uint16_t  flags;
    ak_on_fn *fn;
} ak_on;

enum { AK_PENDING = 1 }; /* flush(): will end later with ak_flushed() */

typedef struct ak_kind {
    const char  *name;
    size_t       self_size; /* zeroed; `self` of every call */
    uint16_t     number;    /* enum kind_number */
    uint16_t     helpers;   /* threads for ak_help(), 0..8 */
    const ak_on *on;        /* ended by { 0 } */

    /* 0 or a negative code: the actor dies and is restarted.  Messages arrive only afterwards. */
    int (*init)(ak *k, void *self);

    /* The commit of a batch; called once per step in which a handler without AK_READ ran, never
     * while one is under way.  E_OK: done.  AK_PENDING: ak_flushed() ends it; messages of this
     * batch stay unacknowledged until then, the next batch gathers meanwhile.  Whatever must not
     * be seen before the commit is then sent from the place that calls ak_flushed(), not staged
     * in the handlers.  Negative: the actor dies, nothing of the batch is acknowledged. */
    int (*flush)(ak *k, void *self);

    /* After the drain of a clean stop; may be NULL. */
    void (*stop)(ak *k, void *self);

    /* An event loop of its own (front: H2O).  NULL: the kernel's.  Returns when ak_stopping(). */
    int (*run)(ak *k, void *self);
} ak_kind;

/* ---- sending.  All of it is staged until the end of the step (or ak_publish()). ---- */

/* E_OK; E_FULL: the lane has no room (answer AK_WAIT, or drop); E_GONE: no such edge in the topology.
 * On a SHED edge a full lane drops the message, counts it, and returns E_OK. */
NODISCARD int ak_send(ak *k, addr to, uint16_t type, const void *body, uint32_t len);

/* An ask.  ctx comes back in ak_msg.ctx with the reply (or its parts), MSG_FAIL, or MSG_LATE when
 * within_ns have passed: exactly one of them ends the ask.  Returns corr (never 0), or 0 when the
 * lane or the reply room is full. */
NODISCARD uint64_t ak_ask(ak *k, addr to, uint16_t type, const void *body, uint32_t len,
                          uint64_t within_ns, void *ctx);

/* As ak_ask, for an answer in parts: window bytes of parts may be under way (>= reply_max). */
NODISCARD uint64_t ak_ask_stream(ak *k, addr to, uint16_t type, const void *body, uint32_t len,
                                 uint64_t within_ns, void *ctx, uint32_t window);

/* Built in place in the lane: at most one open reservation an edge; no send on that edge before it is
 * committed (len <= room) or discarded.  NULL when full.  64-byte aligned. */
NODISCARD void *ak_reserve(ak *k, addr to, uint16_t type, uint32_t room);
NODISCARD void *ak_ask_reserve(ak *k, addr to, uint16_t type, uint32_t room, uint64_t within_ns,
                               void *ctx, uint64_t *corr);
void            ak_commit(ak *k, void *body, uint32_t len);
void            ak_discard(ak *k, void *body);

/* The trace id that everything staged from here on carries (a front: one a request). */
void ak_trace(ak *k, uint64_t trace);

/* Ends an ask.  `m` may be a copy kept after its handler returned (body is not looked at).  Room was
 * reserved by the asker; a reply to an asker that has died since is dropped. */
void ak_reply(ak *k, const ak_msg *m, uint16_t type, const void *body, uint32_t len);
void ak_fail(ak *k, const ak_msg *m, int rc); /* the same with MSG_FAIL */

/* One part of a streamed reply.  E_AGAIN: the window is used up; MSG_CREDIT (from, corr of the ask)
 * will come.  E_GONE: the asker cancelled or died.  End with ak_reply. */
NODISCARD int ak_reply_part(ak *k, const ak_msg *m, uint16_t type, const void *body, uint32_t len);

/* The asker: `bytes` more of parts may come. / No answer is wanted any longer; ctx is never seen again. */
void ak_credit(ak *k, uint64_t corr, uint32_t bytes);
void ak_cancel(ak *k, uint64_t corr);

/* Ends an AK_HOLD. */
void ak_release(ak *k, uint32_t lane, uint64_t pos);

/* Ends a flush() that answered AK_PENDING: the batch is acknowledged (rc == E_OK) or the actor dies. */
void ak_flushed(ak *k, int rc);

/* ---- time, chance, self ---- */
uint64_t ak_now_ns(const ak *k);  /* monotonic, read once a step */
int64_t  ak_wall_us(const ak *k); /* microseconds since the epoch, read once a step */
uint64_t ak_random(ak *k);
addr     ak_self(const ak *k);
uint16_t ak_parts(const ak *k, uint16_t kind);     /* how many of that kind the topology has */
const uuid *ak_generation(const ak *k);            /* of the lane files: positions are only comparable within one */
bool     ak_same_process(const ak *k, addr other); /* is that actor a thread of this process? */
uint16_t ak_epoch(const ak *k);                    /* incarnation of this actor */

/* MSG_TIMER with ctx after after_ns; returns an id for ak_timer_cancel. */
uint64_t ak_timer(ak *k, uint64_t after_ns, void *ctx);
void     ak_timer_cancel(ak *k, uint64_t id);

/* ---- slow work: `work` runs in a helper thread of this actor, `done` in the actor, during a step.
 * In order of submission when the kind has one helper.  E_FULL: 1 024 jobs wait already. ---- */
typedef void ak_work_fn(void *job);
typedef void ak_done_fn(ak *k, void *self, void *job);
NODISCARD int ak_help(ak *k, ak_work_fn *work, ak_done_fn *done, void *job);

/* ---- a place that may wait for the disk for seconds, in the actor's own thread: between the two, standing still is
 * no hang.  They nest. ---- */
void ak_io_begin(ak *k);
void ak_io_end(ak *k);

/* ---- foreign file descriptors, for actors on the kernel's loop: `fn` is called in a step while fd is
 * readable (level-triggered).  fn == NULL forgets it. ---- */
typedef void ak_fd_fn(ak *k, void *self, int fd);
NODISCARD int ak_watch_fd(ak *k, int fd, ak_fd_fn *fn);

/* ---- for an event loop of one's own (ak_kind.run):
 *
 *     while (!ak_stopping(k)) {
 *         ak_step(k, 256);
 *         uint64_t wait = ak_park(k);        0: there is work, do not sleep
 *         loop_run(loop, wait);              ak_fds() are in the loop's poll set
 *         ak_unpark(k);
 *     }
 */
enum { AK_FDS_MAX = 16 };
uint32_t ak_step(ak *k, uint32_t budget); /* messages handled */
uint64_t ak_park(ak *k);                  /* ns it may sleep; says "asleep" to the peers unless 0 */
void     ak_unpark(ak *k);
uint32_t ak_fds(ak *k, int fds[AK_FDS_MAX]); /* readable = call ak_step; never read from them */
bool     ak_stopping(const ak *k);           /* drain and return from run() */
void     ak_publish(ak *k);                  /* publish what is staged now, before the end of the step */

/* ---- things of the node ---- */
const struct options *ak_options(const ak *k); /* look it up anew each time: SIGHUP puts another one there */
struct board         *ak_board(const ak *k);
struct counters      *ak_counters(const ak *k); /* this actor's block */
const char           *ak_data_dir(const ak *k); /* absolute */
const char           *ak_run_dir(const ak *k);  /* shared memory: counters of the others, slot files */
int                   ak_listen_fd(const ak *k);   /* the listener, shared by all fronts: dup() it; -1: none */
bool                  ak_is_loopback(const ak *k); /* does it listen on the loopback only? */
/* What is known of any actor of the node from outside of it: for /metrics and /readyz. */
typedef struct ak_about {
    int32_t  pid;
    uint32_t restarts;
    bool     ready; /* its init() is done, and it has not died since as far as the supervisor knows */
} ak_about;
bool ak_look(const ak *k, addr who, ak_about *out); /* false: no such actor */
/* Lane `i` (0, 1, ...) of the node.  False: there are no more. */
typedef struct ak_lane_about {
    addr     from;
    addr     to;
    uint64_t bytes; /* published and not acknowledged; UINT64_MAX: its file cannot be read */
} ak_lane_about;
bool ak_lane_look(const ak *k, uint32_t i, ak_lane_about *out);
uint32_t              ak_body_max(const ak *k, addr to); /* longest body this edge can carry; 0: no such edge */

#endif
