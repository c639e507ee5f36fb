/* sim.h - a whole node in one thread, on a clock of its own: what the simulator's files share.
 *
 *   core.c      tasks (an actor, a helper), virtual time, the event heap, clocks, bells, threads
 *   disk.c      files that tear, fail and lose what was not synced; reads along in the journal
 *   memrocks.c  RocksDB's C interface over ordered memory
 *   web.c       HTTP without sockets: api/http.h for the front, requests for the clients
 *   node.c      plan, lanes, board; actors started, killed, started again; power cuts
 *   faults.c    what goes wrong, when
 *   clients.c   who sends and asks; the naive model; the oracles
 *   alerts.c    what a rule should have led to, against what the registry tells
 *   main.c      seeds, hashes, counts
 *
 * Everything that happens is ordered by (virtual ns, number of the event) and every choice comes from one seed, so a
 * seed is a run.  A task runs until it blocks or until world_pause() finds that another one's time has come; it is
 * killed by never being resumed.  One process runs one seed (main.c forks), so nothing of it has to be given back.
 */
#ifndef HALTLESS_TESTS_SIM_SIM_H
#define HALTLESS_TESTS_SIM_SIM_H

#include "proto/base.h"
#include "proto/envelope.h"
#include "proto/world.h"

#define US  UINT64_C(1000)
#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

/* ---- what goes wrong: kind, what it is ---- */
#define FAULTS(X)                                                                                  \
    X(FAULT_KILL, "kill", "an actor's process killed at any point")                                \
    X(FAULT_KILL_COMMIT, "kill_commit", "ingest killed between commit and acknowledgement")        \
    X(FAULT_POWER, "power_cut", "the node loses power: memory gone, unsynced writes lost or torn") \
    X(FAULT_BELL_DROP, "bell_drop", "a bell that is never heard")                                  \
    X(FAULT_BELL_DELAY, "bell_delay", "a bell heard late")                                         \
    X(FAULT_STALL, "stall", "an actor stands still: what it would pass on is late")                \
    X(FAULT_FILL, "lane_full", "a lane found full")                                                \
    X(FAULT_SLOW, "slow", "an actor 1000 times slower")                                            \
    X(FAULT_CLOCK, "clock_jump", "the wall clock jumps")                                           \
    X(FAULT_WRITE, "write_fail", "a write that fails")                                             \
    X(FAULT_TORN, "write_torn", "a write that fails half done")                                    \
    X(FAULT_SYNC, "sync_fail", "a sync that fails")                                                \
    X(FAULT_STORE, "store_fail", "RocksDB of a partition refuses a write or a sync")               \
    X(FAULT_LOST, "lost_write", "a write not synced that a power cut undoes")                      \
    X(FAULT_CUT_TAIL, "lost_batch", "RocksDB batches not synced that a power cut undoes")          \
    X(FAULT_LEAVE, "client_leaves", "a client that does not wait for its answer")
enum fault {
#define X(FAULT, name, what) FAULT,
    FAULTS(X)
#undef X
        FAULT_COUNT
};

/* ---- what must hold: kind, what it says ---- */
#define ORACLES(X)                                                                                 \
    X(ORACLE_DURABLE, "durable", "an accepted reading lies in a durable block")                    \
    X(ORACLE_ONCE, "once", "a reading lies in one block")                                          \
    X(ORACLE_ORDER, "order", "blocks keep the order of each lane")                                 \
    X(ORACLE_READ, "readable", "an accepted reading is read back, and nothing that was not sent")  \
    X(ORACLE_QUERY, "query", "aggregates equal the naive model's")                                 \
    X(ORACLE_ALERT, "alert", "an alert opens and closes once a crossing")                          \
    X(ORACLE_WAKE, "wake", "nobody sleeps while a lane of his holds something unannounced")        \
    X(ORACLE_DRAIN, "drain", "after the last fault everything is answered, every lane empties")    \
    X(ORACLE_COUNT, "counters", "the actors' counters agree with what the clients saw")
enum oracle {
#define X(ORACLE, name, what) ORACLE,
    ORACLES(X)
#undef X
        ORACLE_KINDS
};

typedef struct tally {
    uint64_t faults[FAULT_COUNT];
    uint64_t oracles[ORACLE_KINDS];
    uint64_t messages, requests, accepted, virtual_ns, switches, hash;
    uint64_t generations; /* power cuts and the first start */
    uint64_t starts;      /* of actors */
} tally;
extern tally the_tally;

/* Ends this seed: prints what broke and leaves the process with status 3. */
_Noreturn void sim_fail(enum oracle which, const char *fmt, ...) PRINTF_LIKE(2, 3);
void           sim_saw(enum oracle which, uint64_t times); /* evaluated, and it held */
void           sim_fault(enum fault which);                /* it happened */
extern bool    sim_talks;                                  /* --verbose */
void           sim_say(const char *fmt, ...) PRINTF_LIKE(1, 2);
void           sim_mix(uint64_t what); /* into the hash of the run */

/* ---- core.c ---- */
typedef struct task task;
typedef void sim_fn(void *arg);

void     sim_open(uint64_t seed);
uint64_t sim_seed(void);
uint64_t sim_now(void);
uint64_t sim_random(void);
uint64_t sim_below(uint64_t n); /* 0 .. n-1 */
bool     sim_one_in(uint64_t n);
void     sim_after(uint64_t ns, sim_fn *fn, void *arg); /* called between tasks */
bool     sim_turn(void);                                /* one event; false: there are none */
void     sim_jump_wall(int64_t us);

/* group: what is killed together; who: an actor's address. */
task *task_start(sim_fn *fn, void *arg, uint32_t group, addr who);
task *task_running(void); /* NULL: between tasks */
addr  task_who(const task *t);
bool  task_ended(const task *t);
void  task_sleep(uint64_t ns);           /* the running one */
void  group_kill(uint32_t group);        /* not from a task: none of it is ever resumed */
void  group_kill_at(uint32_t group, uint32_t points, sim_fn *then, void *arg); /* at its next such pause */
void  group_slow(uint32_t group, uint32_t times);
void  group_stall(uint32_t group, uint64_t until_ns);
void  bell_faults(uint32_t drop_ppm, uint32_t delay_ppm);
/* Something came to a socket of that actor. */
void  bell_knock(addr who);
/* The running actor sleeps until a bell, a poke, or the time is over. */
void  bell_sleep(uint64_t ns);
bool  bell_is_due(addr who); /* one is on its way, or was lost on purpose */

/* ---- disk.c ---- */
typedef struct disk_rates { /* of a million */
    uint32_t fail, torn, sync;
} disk_rates;
void disk_open(bool direct);
void disk_set(disk_rates r);
void disk_settle(void); /* processes were killed: what they had under way */
void disk_cut(void);    /* power */
bool disk_holds(uint64_t id, bool *durable); /* a reading, by its value */
/* Values of readings, in the order of each journal. */
uint32_t disk_doubtful(void); /* blocks that are not durable at the end */
void disk_walk(void (*fn)(void *ctx, uint64_t value), void *ctx);
void disk_judge(void);                       /* ORACLE_ORDER, over all blocks */
/* For core.c's world. */
extern const world disk_calls;

/* ---- web.c ---- */
typedef struct web_request web_request;
typedef void web_done_fn(web_request *r);
struct web_request {
    /* the client's */
    char         method[8];
    char         path[160];
    char         query[256];
    char        *body; /* owned; freed with it */
    size_t       body_len;
    const char  *key; /* X-API-Key, or NULL */
    const char  *token;
    web_done_fn *done; /* once: answered, or status 0: the connection broke */
    void        *client;
    /* the answer */
    uint16_t     status;
    char        *answer;
    size_t       answer_len;
    /* web.c's */
    void        *flow;
};
bool web_send(uint16_t front_number, web_request *r); /* false: connection refused */
void web_leave(web_request *r);                /* done() is never called */
void web_free(web_request *r);
void web_lost(uint16_t front_number); /* its process died */

/* ---- node.c ---- */
void     node_start(const char *scratch); /* an empty directory of shared memory */
uint64_t node_unjudged(void); /* readings that the alert actor says it missed */
uint64_t node_forced_trims(void); /* segments of journals given up for room though they were held */
uint64_t node_full(void);     /* lanes found full */
uint64_t node_readings(void); /* accepted, by the actors' counters, since the last power cut */
bool     node_is_up(void);
uint32_t node_groups(void);
uint32_t node_group_of(addr who);
bool     node_kills(uint32_t group); /* now, between tasks */
void     node_power_cut(void);
uint64_t node_messages(void); /* handled so far */
uint64_t node_count(addr who, uint32_t counter);
bool     node_has_died(void); /* some of it, at some time */
bool     node_is_quiet(void); /* every lane empty, everybody asleep */
void     node_check_sleep(addr who, bool overslept);
uint16_t node_parts(void);
uint16_t node_fronts(void);
bool     node_alerts_are_even(void); /* the alert actor knows of nothing that it has yet to judge or to tell */

/* ---- faults.c ---- */
void faults_begin(void);
void faults_end(void);
bool faults_have(enum fault which); /* in this seed */
void faults_committed(addr who);     /* a block of that partition is durable, just now */

/* ---- clients.c ---- */
void clients_begin(void);
bool clients_ready(void); /* tenant, key, machines and rules are there */
void clients_stop(void);  /* no new requests */
bool clients_idle(void);
void clients_judge(void); /* the last questions; then clients_idle() again */
void clients_power_cut(void);
/* Whose reading is that? */
bool clients_know(uint64_t id, uint32_t *machine, uint32_t *metric, uint32_t *at);

/* ---- alerts.c ---- */
void alerts_rule(char *out, size_t room, const char *machine);
void alerts_told(double value, bool open);
void alerts_judge(void);

#endif
