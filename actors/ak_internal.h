/* ak_internal.h - the kernel's own view of an actor; for ak*.c and whoever hosts actors.
 *
 *   ak.c        step, batch, verdicts
 *   ak_open.c   an actor's lanes, wire, counters, seat: opened and closed
 *   ak_run.c    park, the loop, foreign descriptors
 *   ak_send.c   staging: notes, in-place bodies, replies, their backlog
 *   ak_latest.c the newest of each key, until there is room
 *   ak_ask.c    asks outstanding: reply room, deadlines, parts, credit, cancel; the replier's streams
 *   ak_timer.c  one heap for timers and deadlines
 *   ak_help.c   helper threads
 *   ak_careful.c   after a crash: one message at a time; dead letters
 *   ak_replay.c    a dead letter handed over once more
 *   ak_monitor.c   deaths of others
 *
 * Reply room.  An asker reserves, in the lane that leads back, room for the longest answer (or the
 * window of a streamed one) and does not ask when there is none, so ak_reply() always fits.  An ask
 * that is late or cancelled keeps its room as a ghost until its answer really came or the replier was
 * started anew.  What can still come unreserved (answers to an asker that was restarted a moment ago,
 * answers of a restarted replier) waits in the replier's backlog of that edge, which is bounded by the
 * lane's capacity; beyond it answers are dropped and the asker's deadline ends the ask.
 */
#ifndef HALTLESS_ACTORS_AK_INTERNAL_H
#define HALTLESS_ACTORS_AK_INTERNAL_H

#include "actors/ak_loop.h"
#include "actors/ak_node.h"
#include "actors/rundir.h"
#include "actors/seat.h"
#include "storage/dead.h"
#include "transport/board.h"
#include "transport/count.h"
#include "transport/trail.h"
#include "transport/wire.h"

/* What the actors of one process share. */
typedef struct ak_host {
    const rundir                    *run;
    void                            *zmq;
    _Atomic(const struct options *) options;
    /* Keeps a dead letter, durably (dead_write).  NULL: they are counted only. */
    int (*bury)(const char *data_dir, const dead_letter *l, char id[DEAD_ID_MAX], uint32_t *dropped);
    /* Reads one, and forgets it (dead_read, dead_drop).  NULL: nothing is replayed. */
    int (*exhume)(const char *data_dir, const char *id, dead_letter *l, uint8_t **file);
    int (*drop)(const char *data_dir, const char *id);
} ak_host;

enum {
    AK_NO_LANE = UINT32_MAX,
    AK_FDS_WATCHED = 32,
    AK_JOBS_MAX = 1024,
    AK_HELPERS_MAX = 8,
    AK_ASKS_MAX = 65535,
    AK_BODY_ALIGN = 64,
    AK_CONTROL_LANE = 128 * 1024, /* a lane as small as that carries control */
};

typedef struct ak_hold {
    uint64_t pos;
    uint64_t corr; /* of its ask; 0: a note */
    uint64_t deadline_ns;
    uint16_t type;
    uint16_t flags;
    bool     released;
    bool     expired; /* the actor's ak_release() is still to come */
} ak_hold;

/* An inbound lane.  Its acknowledgement is the least of: the read cursor; the first message of the
 * batch that gathers, of the batch that flushes; the first one held. */
typedef struct ak_in {
    lane    *lane;
    addr     from;
    int      edge; /* of the wire */
    carrier  carrier;
    uint64_t capacity;
    uint64_t again_until; /* what the predecessor had read */
    uint64_t acked;
    uint64_t gather_from; /* first message of the batch that gathers; valid when gathers */
    uint64_t flush_from;
    bool     gathers;
    bool     flushes;
    int64_t  credit; /* of its turns: bytes */
    bool     cut;    /* the step's budget ended within its turn */
    bool     paused; /* AK_WAIT, until the next step */
    bool     bad;    /* quarantined */
    bool     far;    /* its producer is on another node, and may begin anew at other positions: */
    uuid     generation;
    ak_hold *held;   /* a growing queue */
    uint32_t held_first;
    uint32_t held_count;
    uint32_t held_room;
    uint32_t cursor; /* index in seat.read[] */
    uint64_t owed;       /* record bytes that answers on this lane may still take */
    uint64_t owed_limit; /* of owed + read and unacknowledged */
} ak_in;

typedef struct ak_late_reply {
    struct ak_late_reply *next;
    envelope              e;
    _Alignas(8) uint8_t   body[];
} ak_late_reply;

typedef struct ak_latest ak_latest; /* ak_latest.c */

typedef struct ak_out {
    lane            *lane;
    addr             to;
    int              edge;
    enum edge_policy policy;
    uint64_t         capacity;
    uint64_t         shed_below; /* a note needs that much room besides its own */
    ak_in           *back;       /* the lane that answers come back on, or NULL */
    seat            *peer;       /* read-only */
    bool             far; /* its consumer is on another node */
    bool             staged;
    bool             starving; /* lane_starve(true) is in force */
    uint64_t         want;     /* room somebody was refused; 0: nobody */
    void            *open;     /* body of the open reservation */
    envelope         open_env;
    uint32_t         open_room;
    ak_late_reply   *late; /* replies that found no room, in order */
    ak_late_reply  **late_end;
    uint64_t         late_bytes;
    ak_latest       *latest; /* LATEST: what waits for room, by key */
} ak_out;

typedef struct ak_ask_entry {
    uint64_t corr; /* 0: free */
    void    *ctx;
    ak_out  *out;
    uint64_t reserved;
    uint64_t timer;
    uint64_t deadline_ns;
    uint32_t peer_epoch;
    uint32_t window;
    uint64_t part_body;   /* bytes of parts that came and are not credited yet: bodies, */
    uint64_t part_record; /* and the records they took */
    uint64_t credit_due;  /* to be sent */
    uint32_t next_free;
    uint16_t type;
    bool     ghost;      /* late or cancelled: ctx is forgotten */
    bool     ending;     /* its last handler runs */
    bool     cancel_due; /* to be sent */
    bool     missed;     /* the node that would answer was away at the last look */
} ak_ask_entry;

typedef struct ak_stream {
    addr     from;
    uint64_t corr;
    uint64_t credit;
    uint64_t deadline_ns;
    bool     blocked;   /* E_AGAIN was answered for want of lane room */
    bool     cancelled;
} ak_stream;

typedef struct ak_due {
    uint64_t at_ns;
    uint64_t id;   /* 0: free */
    uint64_t corr; /* of an ask's deadline; 0: a timer */
    void    *ctx;
    uint32_t heap_at;
    uint32_t next_free;
} ak_due;

typedef struct ak_dues {
    ak_due   *due;
    uint32_t *heap; /* indices of due[], earliest first */
    uint32_t  heap_count;
    uint32_t  room;
    uint32_t  used;
    uint32_t  free; /* index + 1 */
    uint64_t  seq;
} ak_dues;

typedef struct ak_monitored {
    addr     who;
    seat    *seat; /* read-only */
    uint32_t epoch;
    uint32_t told; /* the last epoch whose death was told */
    bool     linked;
} ak_monitored;

typedef struct ak_crew ak_crew; /* ak_help.c */

struct ak {
    const ak_kind *kind;
    ak_host       *host;
    void          *self;
    addr           me;
    uint16_t       epoch;
    uint16_t       spare;
    char           name[32];
    seat          *seat;
    wire          *wire;
    counters      *counters;
    trail         *trail;
    board         *board;
    atomic_bool    stop; /* set from another thread */

    ak_in   *in; /* small lanes first */
    uint32_t ins;
    uint32_t controls; /* the first of them: lanes of control */
    uint32_t turn[2];  /* whose turn is next: of those, of the others */
    ak_out  *out;
    uint32_t outs;
    ak_out **out_of[KIND_MAX]; /* by part */
    ak_on    on[MSG_MAX];

    bool     touched; /* the handler just called was without AK_READ, and took its message */
    bool     in_step;
    bool     parked;
    bool     gathers; /* a handler without AK_READ ran since the last flush() */
    bool     pending; /* a flush() is under way */
    bool     ended;   /* ak_flushed() came in this step */
    int      dead;    /* negative: the actor dies */
    uint32_t io;      /* depth of ak_io_begin() */
    uint64_t flush_at_ns;
    uint64_t parked_at_ns;
    uint64_t bells_at_park;
    uint32_t spin_misses; /* spins in vain since the last that paid */
    uint32_t spin_skipped;
    uint64_t now_ns;
    int64_t  wall_us; /* 0: not read in this step */
    uint64_t sweep_at_ns;
    uint64_t bad_logged_ns;
    uint64_t trace;
    uint64_t random;
    uint32_t waiting; /* lanes paused in the last step */
    uint32_t untimed;      /* handlers until one is timed again */
    uint64_t timed_at_ns;  /* the step in which one was */
    uint64_t commit_until; /* of the trail: what the batch under way, */
    uint64_t commit_done;  /* and the one before it, are about */
    uint8_t  place[MSG_MAX]; /* of a type in the counters, + 1; 0: not looked up */
    uint64_t same_sent_ns; /* the messages taken last, */
    uint64_t same_sent;    /* not in the histogram yet */
    uint16_t same_type;
    bool     uncounted; /* the bench: no counters of messages, to see what they cost */

    bool     careful; /* one message at a time */
    bool     wary;    /* that, or some message is a suspect */
    ak_in   *out_in;  /* careful: the message that is out */
    uint64_t out_pos;
    uint64_t out_at_ns;
    uint64_t grave_at_ns;   /* a letter could not be written: tried again then */
    uint64_t refused_at_ns; /* this second's, */
    uint32_t refused;       /* so many */
    uint32_t expired;       /* holds that ended by their deadline, whose ak_release() is still to come */
    _Atomic(struct ak_replay_job *) replay;
    ak_monitored *monitor;
    uint32_t      monitors;
    atomic_bool   deaths_due; /* somebody died: look at the seats; set from another thread */

    ak_dues       dues;
    ak_ask_entry *ask;
    uint32_t      ask_room;
    uint32_t      ask_free; /* index + 1 */
    uint32_t      asks;     /* living ones and ghosts */
    uint32_t      ghosts;
    uint32_t      notes_due; /* entries with credit_due or cancel_due */
    uint32_t      ask_seq;
    ak_stream    *stream;
    uint32_t      streams;
    uint32_t      stream_room;

    struct {
        int       fd;
        ak_fd_fn *fn;
    } watch[AK_FDS_WATCHED];
    uint32_t watches;
    ak_crew *crew;
};

/* ---- hosting ---- */
NODISCARD int ak_open(ak **k, const ak_kind *kind, uint16_t part, ak_host *host); /* and init() */
int           ak_run(ak *k); /* the loop, until stopped (E_OK, after stop()) or dead (negative) */
void          ak_stop(ak *k); /* from any thread */
void          ak_deaths_look(ak *k); /* from any thread: an actor of the node died */
/* From any thread: the dead letter `id` is handled once more; what became of it is then in RUN/replayed.ID.  E_AGAIN:
 * another one is under way. */
NODISCARD int ak_replay(ak *k, const char *id);
NODISCARD int ak_replay_answer(const rundir *r, const char *id, int rc);
void          ak_close(ak **k); /* as kill -9 to the lanes: nothing is flushed, published, acknowledged */

/* ---- between the files ---- */
uint64_t ak__clock_ns(void);
/* Fresh when the actor has a loop of its own. */
static inline uint64_t
ak__now(ak *k)
{
    if (!k->in_step)
        k->now_ns = ak__clock_ns();
    return k->now_ns;
}

void     ak__die(ak *k, int rc);
static inline ak_out *
ak__out(const ak *k, addr to)
{
    uint16_t kind = addr_kind(to);
    uint16_t part = addr_part(to);

    if (kind >= KIND_MAX || k->out_of[kind] == NULL || part >= k->host->run->plan.parts[kind])
        return NULL;
    return k->out_of[kind][part];
}

ak_in   *ak__in_from(ak *k, addr from);
/* Calls the handler of m->type, if there is one.  AK_DONE when not. */
ak_verdict ak__call(ak *k, const ak_msg *m);
void       ak__count_full(ak *k, const ak_out *o); /* a send was refused, */
void       ak__count_shed(ak *k, const ak_out *o); /* or dropped */
void       ak__call_local(ak *k, uint16_t type, addr from, uint64_t corr, void *ctx); /* no body */

bool       ak__in_waits(const ak_in *in); /* is there a message it could take now? */
uint32_t   ak__watches_run(ak *k);

/* ak_send.c */
bool ak__fits(ak *k, ak_out *o, uint64_t record);

static inline envelope
ak__envelope(ak *k, const ak_out *o, uint16_t type, uint16_t flags)
{
    return (envelope){ .type = type,
                       .flags = flags,
                       .from = k->me,
                       .to = o->to,
                       .sent_ns = ak__now(k),
                       .trace = k->trace };
}

/* False: no room now. */
static inline bool
ak__stage(ak *k, ak_out *o, const envelope *e, const void *body)
{
    if (UNLIKELY(o->open != NULL || lane_put(o->lane, e, body) < 0)) {
        (void)ak__fits(k, o, envelope_record_len(e->len));
        return false;
    }
    o->staged = true;
    return true;
}

/* A note of that many bytes need not be shed. */
static inline bool
ak__sheds_not(const ak_out *o, uint32_t len)
{
    return o->open == NULL && lane_fits(o->lane, envelope_record_len(len) + o->shed_below);
}

uint32_t ak__rooms(ak *k); /* backlogs, starved lanes, owed notes: what can go on */
bool     ak__room_now(ak *k);
bool     ak__room_seen(const ak *k); /* the same look, telling nobody that it waits */
void     ak__publish(ak *k);
void     ak__outs_free(ak *k);

bool     ak__asker_is_gone(const ak *k, const ak_msg *m);

/* ak_latest.c */
bool     ak__latest_waits(const ak_out *o);
uint32_t ak__latest_send(ak *k, ak_out *o);
void     ak__latest_free(ak_out *o);

/* ak_ask.c */
uint64_t   ak__ask_new(ak *k, ak_out *o, uint16_t type, uint64_t within_ns, uint32_t window);
void       ak__ask_undo(ak *k, uint64_t corr);
void       ak__ask_ctx(ak *k, uint64_t corr, void *ctx);
uint64_t   ak__ask_deadline(ak *k, uint64_t corr);
void       ak__ask_late(ak *k, uint64_t corr);
ak_verdict ak__ask_answer(ak *k, ak_in *in, ak_msg *m);
void       ak__asks_sweep(ak *k);
void       ak__asks_give_up(ak *k);
void       ak__asks_of_the_down_fail(ak *k);
bool       ak__is_down(const ak_out *o); /* and stays so for a while: the supervisor gave it a rest */
void       ak__asks_send_due(ak *k);
void       ak__streams_sweep(ak *k);
void       ak__stream_end(ak *k, const ak_msg *m);
ak_verdict ak__stream_credit(ak *k, const ak_msg *m);
ak_verdict ak__stream_cancel(ak *k, const ak_msg *m);
uint32_t   ak__streams_wake(ak *k, const ak_out *o);

/* ak_careful.c */
void ak__careful_open(ak *k);
bool ak__careful_takes(ak *k, const envelope *e); /* may this message be taken now? */
void ak__careful_took(ak *k, ak_in *in, const ak_msg *m);
void ak__careful_put_back(ak *k, const ak_in *in, uint64_t pos);
bool ak__careful_buries(ak *k, const ak_msg *m, ak_verdict *v);
void ak__careful_look(ak *k);
void ak__bury_refused(ak *k, const ak_msg *m, const char *why);

/* ak_replay.c */
void       ak__replay_run(ak *k);
void       ak__replay_look(ak *k);
void       ak__replay_close(ak *k);
ak_verdict ak__judge_local(ak *k, ak_msg *m); /* a message of no lane */

/* ak_monitor.c */
void ak__deaths_run(ak *k);
void ak__monitors_close(ak *k);

/* ak_timer.c */
uint64_t ak__due_add(ak *k, uint64_t at_ns, uint64_t corr, void *ctx);
void     ak__due_cancel(ak *k, uint64_t id);
uint64_t ak__due_next(const ak *k); /* ns of the clock; UINT64_MAX: none */
uint32_t ak__dues_run(ak *k);

/* ak_help.c */
NODISCARD int ak__crew_open(ak *k);
void          ak__crew_close(ak *k); /* waits for jobs that run */
uint32_t      ak__crew_reap(ak *k);
bool          ak__crew_idle(const ak *k);

#endif
