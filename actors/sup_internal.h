/* sup_internal.h - the supervisor's own state; for sup*.c.
 *
 *   sup.c          serve: prepare, the loop, reload, stop in order
 *   sup_child.c    a group's process: started, dead, started again
 *   sup_run.c      the run directory
 *   sup_hang.c     actors that make no step
 *   sup_listen.c   the listener; the word to the service manager
 */
#ifndef HALTLESS_ACTORS_SUP_INTERNAL_H
#define HALTLESS_ACTORS_SUP_INTERNAL_H

#include "actors/rundir.h"
#include "actors/seat.h"
#include "transport/control.h"

#include <sys/types.h>

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
} child;

typedef struct sup {
    const node_app *app;
    options    *o;
    const char *config_file;
    int         argc;
    char      **argv;
    rundir      run;
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
    uint32_t    rank; /* groups up to it are started */
    uint64_t    rank_ns;
    bool        announced; /* server.ready */
    bool        stop;
    int         fatal; /* negative: the first start failed for good */
    char        why[SEAT_ERROR_MAX]; /* its error chain */
    char        listen[128]; /* as bound */
} sup;

uint64_t sup__clock_ns(void);

/* sup_run.c */
NODISCARD int sup__run_begin(sup *s); /* s->run.plan and .path are made: an empty directory of ours */
NODISCARD int sup__run_end(sup *s);   /* whatever else was wanted in it is there: it is a node's now */
void          sup__run_remove(sup *s);

/* sup_listen.c */
NODISCARD int sup__listen(sup *s);
void          sup__notify(const char *word); /* "READY=1" */

/* sup_hang.c */
void sup__hangs_look(sup *s, uint64_t now);

/* sup_child.c */
void sup__children_make(sup *s);
void sup__child_start(sup *s, child *c);
void sup__child_ended(sup *s, child *c); /* its pidfd is readable */
void sup__child_look(sup *s, child *c);  /* has it become ready? */

#endif
