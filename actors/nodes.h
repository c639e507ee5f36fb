/* nodes.h - a topology over several nodes, read from the settings [node].
 *
 *   home       the node with fronts, registry, alert, worker, query; knows every other node
 *   the rest   partitions: ingest, and a reader beside each; know their home only
 *
 *   node.peers = "b 10.0.0.2:7400 KEY 0-3; c 10.0.0.3:7400 KEY 4,5"      at home
 *   node.peers = "a 10.0.0.1:7400 KEY"                                   elsewhere
 */
#ifndef HALTLESS_ACTORS_NODES_H
#define HALTLESS_ACTORS_NODES_H

#include "actors/options.h"
#include "transport/trunk.h"

typedef struct nodes {
    bool       many; /* false: one node, nothing else is set */
    bool       is_home;
    uint64_t   own; /* bit p: partition p is here */
    uint16_t   parts; /* the highest partition, plus 1 */
    uint32_t   peers;
    trunk_peer peer[TRUNK_PEERS_MAX];
    uint64_t   peer_parts[TRUNK_PEERS_MAX];
    char       listen[128]; /* "tcp://..." */
} nodes;

/* E_CONFIG: one line says which setting is wrong. */
NODISCARD int nodes_read(nodes *n, const options *o);
/* "0-3,5" of a set of partitions. */
void nodes_parts_text(uint64_t set, char *out, size_t room);

#endif
