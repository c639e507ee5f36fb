/* node.h - a node: plan, shared memory, supervisor, and the processes that host actors.
 *
 *   haltless serve          supervisor (this process) -> forks and execs one `haltless actor` per group
 *   haltless actor RUN GROUP   hosts the slots of one group as threads
 *
 * The plan is made from the options: slots (kind, part, group, core) and edges (from, to, carrier, lane bytes,
 * policy).  Default: one group holds every actor as a thread; mode "process" gives a slot a group of its own.
 */
#ifndef HALTLESS_ACTORS_NODE_H
#define HALTLESS_ACTORS_NODE_H

#include "actors/options.h"
#include "proto/envelope.h"
#include "transport/wire.h"

enum { SLOTS_MAX = 256, EDGES_MAX = 1024, FARS_MAX = 256 };
enum edge_policy {
    EDGE_WAIT,  /* asks and notes; full: the sender waits */
    EDGE_SHED,  /* notes, and perhaps replies: a note is dropped when full, or when half of a lane
                 * that carries replies too is taken (the other half is theirs) */
    EDGE_LATEST, /* as SHED, but of what ak_send_latest() could not send the newest of each key waits for room */
    EDGE_REPLY, /* replies only */
};

struct ak_kind;
struct sup;

/* In the order of the words of the options. */
enum plan_restart { RESTART_PERMANENT, RESTART_TRANSIENT, RESTART_TEMPORARY };
enum plan_strategy { STRATEGY_ONE_FOR_ONE, STRATEGY_REST_FOR_ONE, STRATEGY_ONE_FOR_ALL };

typedef struct slot_plan {
    addr               who;
    int32_t            group; /* slots of one group share a process */
    int32_t            core;  /* -1: not pinned */
    enum plan_restart  restart;
    enum plan_strategy strategy;
} slot_plan;

/* Where the two ends of an edge are.  The lane is where its producer is; a consumer on another node has
 * a private copy (wire.h). */
enum edge_side { EDGE_HERE, EDGE_GOES_OUT, EDGE_COMES_IN };

/* An actor on another node. */
typedef struct far_plan {
    addr     who;
    uint32_t peer; /* of node.peers: 0, 1, ... */
} far_plan;

typedef struct edge_plan {
    addr             from;
    addr             to;
    carrier          carrier;
    enum edge_policy policy;
    uint64_t         capacity; /* bytes of the lane */
    enum edge_side   side;
} edge_plan;

typedef struct plan {
    uint32_t  slots;
    uint32_t  edges;
    uint32_t  groups;
    uint32_t  fars;
    uint32_t  peers;
    uint16_t  parts[KIND_MAX]; /* actors of each kind, on all nodes */
    slot_plan slot[SLOTS_MAX]; /* those on this one */
    far_plan  far[FARS_MAX];
    edge_plan edge[EDGES_MAX];
} plan;

/* partitions: what the data directory already has (0: new).  E_CONFIG: a cycle of asks or WAIT edges, too many lanes,
 * lanes over 32 MiB: the chain prints it. */
NODISCARD int plan_make(plan *p, const options *o, uint16_t partitions);

/* Where an actor is: a peer's number, PLAN_HERE, or PLAN_NOWHERE. */
enum { PLAN_HERE = -1, PLAN_NOWHERE = -2 };
int plan_place(const plan *p, addr who);

/* What runs on a node: haltless itself (serve.c), or a program of one's own (host.h). */
typedef struct node_app {
    const uint16_t *order; /* its kinds: servants before those who ask them; they stop the other way round */
    uint32_t        kinds;
    const struct ak_kind *(*kind_of)(uint16_t number); /* NULL: there is none */
    /* Before any process starts: the directories, the listener, the plan, the run directory. */
    int (*open)(struct sup *s);
} node_app;

/* The supervisor; config_file and argv are read again on SIGHUP.  Until SIGTERM or SIGINT; the exit status. */
int node_run(const node_app *app, options *o, const char *config_file, int argc, char **argv);
/* The process of one group; argv: RUN_DIR GROUP. */
int node_host(const node_app *app, int argc, char **argv);

/* haltless: runs until SIGTERM/SIGINT.  Returns the exit status. */
int node_serve(options *o, const char *config_file, int argc, char **argv);
/* The order in which kinds start: servants before those who ask them.  They stop the other way round. */
enum { NODE_KINDS = 9 };
extern const uint16_t node_start_order[NODE_KINDS];

/* One group; argv after "actor". */
int node_actor(int argc, char **argv);

#endif
