/* ak.h - the one page an actor's author reads: the kernel as an actor sees it.
 *
 * An actor is single-threaded, owns its state, and knows the world only through these calls.  Whether it
 * runs as a thread or as a process of its own is a row of the topology; its code is the same.  There is no
 * blocking receive: the kernel calls the handler.  A batch is the unit of everything:
 *
 *     drain what is there -> handlers -> flush() -> publish staged sends -> acknowledge input
 *
 * What a handler stages is seen by nobody before the publish; what it did not acknowledge is delivered again
 * to its successor (m->flags & AK_AGAIN).  Delivery is at least once; an effect is made single by storing
 * "applied up to m->pos_end of (ak_generation_of, m->from)" with it.
 *
 * Not on this page: an event loop or descriptors of one's own (ak_loop.h), looking at the node (ak_node.h).
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
    const void *body;   /* borrowed until the handler returns; 64-byte aligned */
} ak_msg;

typedef enum ak_verdict {
    AK_DONE, /* handled, or failed in a way already answered: acknowledge after flush() */
    AK_HOLD, /* outcome comes later: pins the lane's acknowledgement until ak_release(), or until the
              * message's deadline (60 s without one) is over: its asker is then told MSG_FAIL */
    AK_WAIT, /* downstream is full: pause this lane, offer the same message again when room returns */
    AK_BAD,  /* can never be accepted: a dead letter; the asker gets MSG_FAIL */
} ak_verdict;

typedef ak_verdict ak_on_fn(ak *k, void *self, const ak_msg *m);

enum { AK_READ = 1 };    /* ak_on.flags: the handler does not depend on flush(): its messages are
                          * acknowledged and published at the end of the step even while one is under way */
enum { AK_PENDING = 1 }; /* of flush(): will end later with ak_flushed() */

typedef struct ak_on {
    uint16_t  type;
    uint16_t  flags;
    ak_on_fn *fn;
} ak_on;

typedef struct ak_kind {
    const char  *name;
    size_t       self_size; /* zeroed; `self` of every call */
    uint16_t     number;    /* enum kind_number */
    uint16_t     helpers;   /* threads for ak_help(), 0..8 */
    bool         ordered;   /* keeps "applied up to pos_end" of its lanes: never AK_HOLD */
    bool         holds;     /* may answer AK_HOLD: never ordered, or a later DONE would jump over the held one */
    const ak_on *on;        /* ended by { 0 } */
    /* Messages arrive only after it.  Negative, here and below: the actor dies and is restarted. */
    int (*init)(ak *k, void *self);
    /* The commit of a batch: once a step in which a handler without AK_READ ran, never while one is under
     * way.  E_OK, or AK_PENDING: until ak_flushed() the batch stays unacknowledged, the next one gathers, and
     * what must not be seen before the commit is sent from where ak_flushed() is called, not by handlers. */
    int (*flush)(ak *k, void *self);
    void (*stop)(ak *k, void *self); /* after the drain of a clean stop */
    int (*run)(ak *k, void *self);   /* a loop of its own, see ak_loop.h; NULL: the kernel's */
} ak_kind;

/* ---- sending.  All of it is staged until the end of the step (or ak_publish()). ---- */

/* A note.  E_OK; E_FULL: no room (answer AK_WAIT, or drop); E_GONE: no such edge in the topology.  A SHED
 * edge that is full drops the note, counts it, and says E_OK. */
NODISCARD int ak_send(ak *k, addr to, uint16_t type, const void *body, uint32_t len);
/* On a LATEST edge without room the newest note of each key waits; ak_send() answers E_FULL there meanwhile. */
NODISCARD int ak_send_latest(ak *k, addr to, uint16_t type, uint64_t key, const void *body, uint32_t len);

/* An ask.  ctx comes back with the reply (or its parts), MSG_FAIL, or, when within_ns have passed, MSG_LATE:
 * exactly one of them ends it.  Returns corr, or 0 when the lane or the room kept for the reply is full.
 * Streamed: for an answer in parts, of which `window` bytes may be under way (>= the type's reply_max). */
NODISCARD uint64_t ak_ask(ak *k, addr to, uint16_t type, const void *body, uint32_t len,
                          uint64_t within_ns, void *ctx);
NODISCARD uint64_t ak_ask_stream(ak *k, addr to, uint16_t type, const void *body, uint32_t len,
                                 uint64_t within_ns, void *ctx, uint32_t window);
void ak_credit(ak *k, uint64_t corr, uint32_t bytes); /* that many more bytes of parts may come */
void ak_cancel(ak *k, uint64_t corr); /* no answer is wanted any longer; ctx is never seen again */

/* Ends an ask.  `m` may be a copy kept after its handler returned (its body is not looked at).  Always fits:
 * the asker kept room for it.  A reply to an asker that has died since is dropped. */
void ak_reply(ak *k, const ak_msg *m, uint16_t type, const void *body, uint32_t len);
void ak_fail(ak *k, const ak_msg *m, int rc); /* the same with MSG_FAIL */
/* A part; end with ak_reply().  E_AGAIN: the window is used up, MSG_CREDIT (from, corr of the ask) will come.
 * E_GONE: the asker cancelled or died. */
NODISCARD int ak_reply_part(ak *k, const ak_msg *m, uint16_t type, const void *body, uint32_t len);

/* Built in place in the lane, 64-byte aligned; NULL when full.  One open reservation an edge, and no send on
 * it, before it is committed (len <= room) or discarded. */
NODISCARD void *ak_reserve(ak *k, addr to, uint16_t type, uint32_t room);
NODISCARD void *ak_ask_reserve(ak *k, addr to, uint16_t type, uint32_t room, uint64_t within_ns,
                               void *ctx, uint64_t *corr);
void            ak_commit(ak *k, void *body, uint32_t len);
void            ak_discard(ak *k, void *body);

void     ak_publish(ak *k);               /* what is staged, now */
void     ak_trace(ak *k, uint64_t trace); /* what is staged from here on carries it (a front: one a request) */
void     ak_mark(ak *k, uint64_t trace, uint64_t began_ns); /* `haltless trace` shows: that took from then to now */
uint32_t ak_body_max(const ak *k, addr to); /* longest body this edge can carry; 0: no such edge */

/* ---- ends of what was put off ---- */
void ak_release(ak *k, uint32_t lane, uint64_t pos); /* of an AK_HOLD */

/* When that actor dies: MSG_DOWN from it (body: its address; corr: the epoch that died), in each of its lives, and at
 * once when it is down now.  ak_link: this actor dies along.  E_GONE: no such actor. */
NODISCARD int ak_monitor(ak *k, addr who);
NODISCARD int ak_link(ak *k, addr who);
void          ak_unmonitor(ak *k, addr who); /* ends a link too */
void ak_flushed(ak *k, int rc); /* of AK_PENDING: the batch is acknowledged, or (rc < 0) the actor dies */

/* ---- time, chance, self ---- */
uint64_t    ak_now_ns(const ak *k);  /* monotonic, read once a step */
int64_t     ak_wall_us(const ak *k); /* microseconds since the epoch, read once a step */
uint64_t    ak_random(ak *k);
uint64_t    ak_timer(ak *k, uint64_t after_ns, void *ctx); /* MSG_TIMER with ctx; an id for ak_timer_cancel */
void        ak_timer_cancel(ak *k, uint64_t id);
addr        ak_self(const ak *k);
uint16_t    ak_epoch(const ak *k);                /* incarnation of this actor */
uint16_t    ak_parts(const ak *k, uint16_t kind); /* how many of that kind the topology has */
uint16_t    ak_parts_here(const ak *k, uint16_t kind); /* on this node */
bool        ak_is_far(const ak *k, addr who); /* on another node */
const uuid *ak_generation(const ak *k); /* of this node's lane files, */
const uuid *ak_generation_of(const ak *k, const ak_msg *m); /* of the lane m came on: positions compare within one */

/* ---- what it may use: settings (look anew each time: SIGHUP changes them), mapped tables, its block of
 * counters, the absolute path of its durable data ---- */
const struct options *ak_options(const ak *k);
struct board         *ak_board(const ak *k);
struct counters      *ak_counters(const ak *k);
const char           *ak_data_dir(const ak *k);

/* ---- slow work: `work` runs in a helper thread of this actor, `done` in the actor, during a step.  In order
 * of submission when the kind has one helper.  E_FULL: 1 024 jobs wait already. ---- */
typedef void ak_work_fn(void *job);
typedef void ak_done_fn(ak *k, void *self, void *job);
NODISCARD int ak_help(ak *k, ak_work_fn *work, ak_done_fn *done, void *job);

/* ---- around what may wait for the disk for seconds: standing still there is no hang.  They nest. ---- */
void ak_io_begin(ak *k);
void ak_io_end(ak *k);

#endif
