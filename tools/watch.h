/* watch.h - a node seen from outside: its run directory, mapped read-only, running or dead.
 *
 *   plan ─▶ actors (seat, counters, trail)           rates are of two looks
 *        ├▶ lanes  (head, tail, records between)
 *        └▶ faults of each process
 *
 * Each value is whole, the set is no snapshot.  What cannot be opened is NULL and left out; what a file
 * says is judged before it is used.
 */
#ifndef HALTLESS_TOOLS_WATCH_H
#define HALTLESS_TOOLS_WATCH_H

#include "actors/rundir.h"
#include "actors/seat.h"
#include "transport/count.h"
#include "transport/faults.h"
#include "transport/lane.h"
#include "transport/trail.h"

#include <stdio.h>

typedef struct watch_actor {
    addr      who;
    int32_t   group;
    seat     *seat;
    counters *counters;
    trail    *trail;
    bool      lives; /* its process does */
    uint64_t  messages, steps;
    double    messages_s, steps_s;
    uint64_t  depth; /* messages in its lanes in */
    uint64_t  most;  /* bytes: the high water of the fullest of them */
    uint64_t  faults;
    hist      total[HISTOGRAMS];
    hist      recent[HISTOGRAMS]; /* since the look before */
} watch_actor;

typedef struct watch_lane {
    const edge_plan *edge;
    lane            *lane;
    bool             sound;
    bool             cut;      /* there are more messages than were counted */
    uint64_t         bytes;    /* unacknowledged */
    uint64_t         messages; /* of them, pads left out */
    uint64_t         most;
    uint64_t         tail;
    double           bytes_s;
    count_edge       refused; /* by its producer */
} watch_lane;

typedef struct watch_fault {
    char  process[16]; /* "node": the supervisor; or the number of a group */
    fault fault;
} watch_fault;
enum { WATCH_FAULTS_MAX = 512 };

typedef struct watch {
    rundir      run;
    watch_actor actor[SLOTS_MAX];
    watch_lane  lane[EDGES_MAX];
    watch_fault fault[WATCH_FAULTS_MAX]; /* the latest first */
    uint32_t    faults;
    uint64_t    at_ns; /* of the last look; 0: none yet */
    uint32_t    living;
} watch;

/* The run directory that settings (argv[0] is the first), variables and the file say. */
NODISCARD int watch_dir(char out[RUNDIR_PATH_MAX], int argc, char **argv, const char *config);

NODISCARD int watch_open(watch **w, const char *dir);
void          watch_close(watch **w);
void          watch_look(watch *w);
/* Is there still the same node in that directory? */
bool          watch_is_current(const watch *w);

const char *watch_state(const watch_actor *a); /* "run"; "dead" when its process is gone */
enum { WATCH_NAME_MAX = 24 };
const char *watch_name(addr who, char out[WATCH_NAME_MAX]); /* "ingest.0" */
bool        watch_parse(const char *name, addr *who);
const char *watch_type(uint16_t type, char out[WATCH_NAME_MAX]); /* "readings" */
uint64_t    watch_now_ns(void);                                 /* as sent_ns is measured */

/* The snapshot as one JSON object, on one line. */
void watch_json(const watch *w, FILE *out);

#endif
