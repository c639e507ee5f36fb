/* sup_internal.h - the supervisor's own state; for sup*.c.
 *
 *   sup.c          serve: prepare, the loop, reload, stop in order
 *   sup_tree.c     who is started anew when one dies, and how often
 *   sup_child.c    a group's process: started, dead, started again
 *   sup_run.c      the run directory
 *   sup_standby.c  the process that waits to be one
 *   sup_attach.c   the run directory of one that was killed
 *   sup_hang.c     actors that make no step
 *   sup_listen.c   the listener; the word to the service manager
 */
#ifndef HALTLESS_ACTORS_SUP_INTERNAL_H
#define HALTLESS_ACTORS_SUP_INTERNAL_H

#include "actors/rundir.h"
#include "actors/seat.h"
#include "transport/control.h"

#include <sys/types.h>

enum { DEATHS_KEPT = 32, STOP_CHILD_MS = 5000 };

typedef struct child {
    int32_t  group;
    uint32_t rank;  /* place of its last kind in node_start_order */
    pid_t    pid;   /* 0: not running */
    int      pidfd; /* -1 */
    bool     fronts; /* hosts one: inherits the listener */
    bool     ready;
    bool     aborted; /* it hung */
    uint32_t deaths;     /* in a row, each soon after its start, by its own doing */
    uint32_t kills;      /* the same by SIGKILL: somebody else's doing */
    uint64_t started_ns;
    uint64_t again_ns; /* when to start it; 0: not waiting */
    char     names[160]; /* "front.0,ingest.0,..." */
    enum plan_restart  restart;
    enum plan_strategy strategy;
    bool     recalled;    /* told to end because one of its team died */
    uint64_t recall_ns;   /* killed then */
    bool     retired;     /* ended, and is not to come back */
    bool     down;        /* over the intensity */
    uint64_t death_ns[DEATHS_KEPT]; /* of its own doing, a ring */
    uint32_t death_at;
} child;

typedef struct standby {
    pid_t    pid;   /* 0: none */
    int      pidfd; /* -1 */
    int      line;  /* socket: a byte when it waits; then the group it is to be */
    bool     ready;
    uint64_t make_ns;
} standby;

typedef struct sup {
    const node_app *app;
    options    *o;
    const char *config_file;
    int         argc;
    char      **argv;
    rundir      run;
    bool        found;
    bool        leftover; /* the run directory of an earlier server is there, */
    bool        attached; /* and is ours now, as it is */
    int         lock_fd;
    int         signals;
    control    *control;
    seat       *seat[SLOTS_MAX];
    struct {
        uint64_t tick;
        uint32_t looks; /* at which it was the same */
    } still[SLOTS_MAX];
    uint64_t    hang_look_ns; /* the next one */
    child       child[SLOTS_MAX + 1];
    uint32_t    children;
    standby     standby;
    uint32_t    rank; /* groups up to it are started */
    uint64_t    rank_ns;
    bool        announced; /* server.ready */
    bool        stop;
    int         fatal; /* negative: the first start failed for good */
    char        why[SEAT_ERROR_MAX]; /* its error chain */
    char        listen[128]; /* as bound */
} sup;

uint64_t sup__clock_ns(void);

/* sup_run.c.  s->run.path is given. */
NODISCARD int sup__run_find(sup *s); /* waits until nobody of an earlier server is in it; sup__run_begin() does, if nobody did */
/* s->run.plan is made: s->attached, everything is there as it was; else an empty directory of ours. */
NODISCARD int sup__run_begin(sup *s);
NODISCARD int sup__run_end(sup *s);   /* whatever else was wanted in it is there: it is a node's now */
void          sup__run_remove(sup *s);

/* sup_listen.c */
NODISCARD int sup__listen(sup *s);
void          sup__notify(const char *word); /* "READY=1" */

/* sup_hang.c */
void sup__hangs_look(sup *s, uint64_t now);

/* sup_attach.c */
void sup__run_identify(rundir *r);
bool sup__run_attach(sup *s); /* false: it is to be made anew */

/* sup_standby.c */
void sup__standby_tend(sup *s, uint64_t now);
void sup__standby_hear(sup *s);
void sup__standby_ended(sup *s); /* its pidfd is readable */
bool sup__standby_take(sup *s, child *c);
void sup__standby_end(sup *s);

/* sup_tree.c */
void sup__tree_join(child *c, const slot_plan *p);
bool sup__tree_restarts(const child *c, int status);
bool sup__tree_takes_along(const child *dead, const child *other);
bool sup__tree_may_start(const sup *s, const child *c);
/* Notes a death; true: one too many. */
bool sup__tree_is_over(child *c, uint64_t now, uint32_t most, uint64_t within_ns);

/* sup_child.c */
void sup__children_make(sup *s);
void sup__child_start(sup *s, child *c);
void sup__child_ended(sup *s, child *c); /* its pidfd is readable */
void sup__child_look(sup *s, child *c);  /* has it become ready? */

#endif
