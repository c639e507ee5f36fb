/* plan.h - the table a topology is made from; for plan.c, the node, and tests. */
#ifndef HALTLESS_ACTORS_PLAN_H
#define HALTLESS_ACTORS_PLAN_H

#include "actors/node.h"
#include "actors/nodes.h"

enum plan_where { ANYWHERE, SAME_NODE, SAME_PART };

/* Two kinds that talk: each part of one with each part of the other. */
typedef struct plan_road {
    uint16_t         from;
    uint16_t         to;
    uint64_t         there; /* bytes of the lane from -> to */
    uint64_t         there_least;
    enum edge_policy policy; /* EDGE_WAIT: `from` may wait for `to` */
    uint64_t         back;   /* of the lane to -> from; 0: none */
    uint64_t         back_least;
    enum edge_policy back_policy;
    enum plan_where  where;
} plan_road;

extern const plan_road plan_roads[]; /* ends with { 0 } */

/* E_CONFIG when kinds wait for each other in a circle; the chain prints it. */
NODISCARD int plan_check_roads(const plan_road *roads);
/* One line for each other node. */
void plan_describe_peers(const nodes *n, char *out, size_t room);
/* "front:1 ingest:1 ... processes:1 lanes:12 zmq:0" */
void plan_describe(const plan *p, char *out, size_t room);

#endif
