/* trunk.h - the sockets of a node towards other nodes: tcp with CURVE, and the frames that pass.
 *
 *   this node                                                        the other one
 *   actor's road ─DEALER▶ ROUTER ┐                             ┌▶ DEALER ─▶ the gate of an actor
 *                                ├▶ PUSH ══tcp, CURVE══▶ PULL ─┤
 *   actor's gate ◀─DEALER ───────┘                             └▶ ROUTER ─▶ the road of an actor
 *   (and the same the other way round: a connection each way, each end visits the other)
 *
 * Frames are those of road.h and are passed on as they are.  A link keeps nothing of them: what is under
 * way is held by the producer's lane until the far consumer is done with it, positions number it, and
 * the far gate drops repeats.  So a frame that is lost here, with the link, with a connection or with a
 * host, is asked for again.
 *
 * Between two links everything is numbered in sessions: [OPEN card] [WORD | ROAD]...  Words are what the
 * links themselves have to tell (what the board of one is on the board of the other).  Words that are said
 * before a frame arrive before it: a session that lost anything is over, and the sender begins
 * another with everything that must be known.
 *
 *   OPEN  session, 0, card    PING  session, next number (once a second)
 *   WORD  session, no, body   SEEN  session, bytes of words taken: room for more
 *   ROAD  session, no, frame  NEED  session: that one is broken, begin another
 */
#ifndef HALTLESS_TRANSPORT_TRUNK_H
#define HALTLESS_TRANSPORT_TRUNK_H

#include "proto/envelope.h"
#include "transport/trust.h"

enum { TRUNK_PEERS_MAX = 16, TRUNK_NAME_MAX = 32, TRUNK_WORD_MAX = 65536, TRUNK_HERE = -1, TRUNK_NOBODY = -2 };
enum { TRUNK_TICK_MS = 100 };

typedef struct trunk trunk;

typedef struct trunk_peer {
    char    name[TRUNK_NAME_MAX];
    char    endpoint[128]; /* "tcp://host:port" */
    uint8_t key[TRUST_KEY_LEN];
} trunk_peer;

typedef struct trunk_calls {
    void *ctx;
    /* Where an actor lives: a peer's number, TRUNK_HERE (*same_process: a thread of ours), TRUNK_NOBODY. */
    int (*whose)(void *ctx, addr who, bool *same_process);
    /* A peer introduces itself.  False: its frames and words are not wanted. */
    bool (*meet)(void *ctx, uint32_t peer, view card);
    void (*heard)(void *ctx, uint32_t peer, view word);
    /* A session towards it begins: say everything again. */
    void (*begin)(void *ctx, uint32_t peer);
    /* Says what is new with trunk_say().  True: there is nothing left to say. */
    bool (*say)(void *ctx, uint32_t peer);
} trunk_calls;

typedef struct trunk_spec {
    void             *zmq_ctx;
    const char       *run_dir;
    addr              self;
    uint64_t          epoch; /* of the road's endpoint */
    bool              ipc;   /* some actors live in other processes */
    const char       *listen; /* "tcp://10.0.0.1:7400" */
    const trust_pair *own;
    const trunk_peer  *peers;
    uint32_t          peer_count;
    view              card;
    trunk_calls        calls;
} trunk_spec;

typedef struct trunk_counts {
    uint64_t frames_out, frames_in, frames_dropped;
    uint64_t words_out, words_in;
    uint64_t bytes_out, bytes_in;
    uint64_t sessions; /* begun by us */
    uint64_t refused;  /* visitors that are not on the list */
    uint64_t bad;      /* from peers: malformed, or not theirs to say */
} trunk_counts;

NODISCARD int trunk_open(trunk **l, const trunk_spec *spec);
void          trunk_close(trunk **l);
int           trunk_fd(const trunk *l); /* readable: trunk_pump() */
/* Moves what there is.  True: there is more; call again soon. */
bool trunk_pump(trunk *l);
/* Every TRUNK_TICK_MS while a peer is away, else once a second.  True: some peer is away. */
bool trunk_tick(trunk *l);
/* False: no room now (say() is called again), or no session. */
bool trunk_say(trunk *l, uint32_t peer, view word);
/* Heard from of late, and in agreement both ways. */
bool               trunk_is_up(const trunk *l, uint32_t peer);
const trunk_counts *trunk_count(const trunk *l);

#endif
