/* rundir.h - the run directory: everything the processes of one node share.
 *
 *   node                   this struct: topology, generation, directories, listener's descriptor
 *   options                the settings (options.h)
 *   alive                  every process of the node holds a shared file lock on it
 *   lane.FROM.P.TO.P       one per edge (lane.h)
 *   state.KIND.P           one per actor (seat.h), beside those of wire, counters and trail
 *   faults.GROUP           one per process, faults.node the supervisor's (faults.h)
 *   board/                 (board.h)
 *
 * The supervisor makes it, 0700; the others only open it.  The next supervisor takes it over when it can (sup_attach.c).
 * It is a cache of work in progress: losing it
 * loses nothing that anybody was promised.
 */
#ifndef HALTLESS_ACTORS_RUNDIR_H
#define HALTLESS_ACTORS_RUNDIR_H

#include "actors/node.h"
#include "proto/own.h"

enum { RUNDIR_PATH_MAX = 88, DATA_PATH_MAX = 4096 };

typedef struct rundir {
    uint64_t magic; /* with the size of this struct: another build's file is refused */
    uuid     generation;
    uint32_t epoch_base; /* of its actors: where there are other nodes, no life of this one is like another */
    int32_t  listen_fd; /* inherited by number; -1: none */
    uint32_t loopback;
    uint64_t machines;  /* the board has room for */
    char     boot[40];  /* of the machine, */
    char     build[48]; /* and of the program: lanes outlive neither */
    char     path[RUNDIR_PATH_MAX];
    char     data_dir[DATA_PATH_MAX];
    own_names names;
    plan     plan;
} rundir;

/* Fills magic and generation, writes everything into the existing, empty directory r->path. */
NODISCARD int rundir_make(rundir *r);
/* Only the file `node`, into a directory that is taken over. */
NODISCARD int rundir_rewrite(rundir *r);
NODISCARD int rundir_read(rundir *r, const char *path);
/* Where the run directory of a data directory (absolute) is; wish: another place, "" for none. */
NODISCARD int rundir_name(char out[RUNDIR_PATH_MAX], const char *wish, const char *data_dir);
/* Removes the directory and what is in it. */
void rundir_remove(const char *path);
/* Takes the lock of a living process (shared), or of a supervisor that wants to be alone (exclusive; waits
 * up to wait_ms).  Returns the descriptor, >= 0, or a negative code. */
NODISCARD int rundir_alive(const char *path, bool exclusive, uint32_t wait_ms);

enum { RUNDIR_NAME_MAX = 128 };
void rundir_lane_path(const rundir *r, const edge_plan *e, char out[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX]);

#endif
