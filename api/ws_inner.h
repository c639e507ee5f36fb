/* ws_inner.h - what the files of the live view share; nobody else's business.
 *
 *   ws.c           upgrade, life, what clients say, time
 *   ws_audience.c  the live clients of a tenant: what is told them, and in which turn
 *   ws_client.c    one client: what it is sent, and how it is closed
 *   ws_filter.c    which frames it asked for
 *   ws_frame.c     frames: built, and (wslay) read
 *   ws_log.c       frames of a tenant in order, each once, for all of its clients
 *   ws_missed.c    events that have to be asked for
 *
 *   feed ──▶ pending rows ──▶ updates  [ frame | frame | ... ]      cursors of clients
 *   event ───────────────────▶ events  [ frame | frame | ... ]         ▲    ▲  ▲
 */
#ifndef HALTLESS_API_WS_INNER_H
#define HALTLESS_API_WS_INNER_H

#include "api/front.h"

#include <h2o.h>
#include <h2o/websocket.h>

enum {
    WS_BLOCK_BYTES = 16 << 10,
    WS_BLOCK_FRAMES = 128,
    WS_UPDATE_BLOCKS = 256, /* 4 MiB of a tenant's sensor_updates */
    WS_EVENT_BLOCKS = 64,   /* 1 MiB of its events: who is behind more is closed */
    WS_EVENT_BLOCKS_KEPT = 4, /* for who comes back, when nobody is behind */
    WS_CONFLATE = 64 << 10, /* who is behind more gets the newest of each series alone */
    WS_WRITE_MAX = 64 << 10, /* frames of one write */
    WS_PIECES = 16,          /* blocks of one write */
    WS_OWN_MAX = 256 << 10,  /* pongs and the like that one client leaves unread */
    WS_MESSAGE_MAX = 65536,
    WS_FILTER_MAX = 1000,
    WS_PENDING = 2048, /* readings that wait to be told one by one; over it the newest of each series */
    WS_ASKS = 64,
    WS_PART_BIT = 32,
};

enum ws_close {
    WS_CLOSE_BYE = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_SLOW = 1013,
    WS_CLOSE_TOKEN = 4001,
    WS_CLOSE_LATE = 4002,
    WS_CLOSE_STRANGERS = 4003,
    WS_CLOSE_FULL = 4004,
};

enum ws_type { WS_SENSOR = 1, WS_ALERT = 2, WS_STATUS = 4, WS_HEARTBEAT = 8, WS_TYPES_ALL = 15 };

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* ---- ws_frame.c ---- */

typedef struct ws_bytes {
    uint8_t *at; /* owned */
    size_t   len;
    size_t   room;
} ws_bytes;

void ws_bytes_add(ws_bytes *b, const void *at, size_t len);
void ws_bytes_fini(ws_bytes *b);

enum { WS_HEAD_MAX = 10 };
/* The head of a whole text frame, as a server sends it: FIN, text, length, no mask.  Its length. */
size_t ws_frame_head(uint8_t head[WS_HEAD_MAX], size_t len);
void   ws_frame_add(ws_bytes *b, view text);
/* What of wslay is ours to say: bounds; where its own frames (pongs, closings) go. */
void ws_frame_setup(wslay_event_context_ptr ctx, struct wslay_event_callbacks callbacks,
                    wslay_event_send_callback to);

/* ---- ws_log.c ---- */

typedef struct ws_frame {
    uint32_t at; /* in its block */
    uint32_t len;
    uint32_t type; /* enum ws_type */
    uint32_t machine;
    uint64_t metric; /* hash, of a sensor_update */
    uint64_t seq;    /* of an event; 0: none */
    bool     stale;  /* a newer one of the same series follows */
} ws_frame;

/* Frames [first, first + count).  Lives while it is in a log, or a write of it is under way. */
typedef struct ws_block {
    uint64_t first;
    uint64_t base; /* bytes of the log before it */
    uint32_t count;
    uint32_t used;
    uint32_t refs;
    ws_frame frames[WS_BLOCK_FRAMES];
    uint8_t  bytes[WS_BLOCK_BYTES];
} ws_block;

typedef struct ws_log {
    ws_block **ring; /* owned: room for `most` */
    uint32_t   most;
    uint64_t   first_block; /* numbers of blocks; the ring's slot is number % most */
    uint64_t   end_block;
    uint64_t   first; /* the oldest frame that is kept */
    uint64_t   end;
    uint64_t   bytes; /* ever */
} ws_log;

void      ws_log_init(ws_log *l, uint32_t most);
void      ws_log_fini(ws_log *l);
void      ws_log_add(ws_log *l, const ws_frame *f, view text); /* at and len are its own */
ws_block *ws_log_block(const ws_log *l, uint64_t frame);       /* NULL: not kept */
uint64_t  ws_log_behind(const ws_log *l, uint64_t frame);      /* bytes from that frame on */
/* Lets go of blocks that end before that frame, but for the last `keep`. */
void ws_log_trim(ws_log *l, uint64_t frame, uint32_t keep);
void ws_block_release(ws_block *b);

/* ---- ws_filter.c ---- */

typedef struct ws_filter {
    uint32_t *machines; /* owned, sorted numbers; NULL: all */
    uint32_t  machine_count;
    uint64_t *metrics; /* owned, sorted hashes; NULL: all */
    uint32_t  metric_count;
    uint32_t  types;
    uint32_t  min_interval_ms;
    bool      plain; /* everything, at once */
} ws_filter;

void     ws_filter_init(ws_filter *f);
void     ws_filter_fini(ws_filter *f);
uint64_t ws_metric_hash(view metric);
bool     ws_filter_wants(const ws_filter *f, uint32_t type, uint32_t machine, uint64_t metric);
/* NULL: it holds from now on; else what is wrong, and nothing has changed. */
const char *ws_filter_read(ws_filter *f, const board *b, uint32_t tenant, const cJSON *subscribe);

/* ---- clients and audiences ---- */

typedef struct ws_client   ws_client;
typedef struct ws_audience ws_audience;

enum ws_state { WS_STRANGER, WS_LIVE, WS_CLOSING };

struct ws_client {
    ws                   *w;
    h2o_websocket_conn_t *conn;
    ws_client            *next; /* all, or all strangers */
    ws_client            *prev;
    ws_client            *next_live; /* of its tenant */
    ws_client            *prev_live;
    ws_client            *next_due; /* has something to write */
    ws_audience          *audience;
    caller                who;
    enum ws_state         state;
    bool                  due;
    bool                  writing;
    bool                  doomed;   /* let go in the next turn */
    bool                  failed;   /* broke the protocol: H2O and wslay are done with it */
    bool                  more;     /* a write was cut short, or it was busy when its turn came */
    bool                  more_updates; /* ... to be sent updates too */
    bool                  resuming; /* events wait until those before it joined are there */
    bool                  asking;   /* for those */
    bool                  told;     /* an event, since it joined */
    uint64_t              since_ns; /* of the state */
    uint64_t              heard_ns;
    uint64_t              pinged_ns;
    uint64_t              wrote_ns;  /* when the write under way began */
    uint64_t              swept_ns;  /* when its updates were sent last */
    size_t                dregs;     /* bytes heard since it failed */
    ws_bytes              own;       /* what it alone is sent */
    ws_bytes              way_out;
    ws_block             *held[WS_PIECES]; /* of the write under way */
    uint32_t              held_count;
    uint64_t              next_update; /* cursors in its audience's logs */
    uint64_t              next_event;
    uint64_t              sweep_until; /* catching up with updates that are not kept; 0: not */
    uint32_t              sweep_at;
    uint64_t              joined_seq; /* events behind it come by themselves */
    uint64_t              resume_seq; /* of `resuming`: told up to there */
    ws_filter             filter;
    uint8_t               address_len;
    char                  address[64];
};

/* A series that somebody of the tenant is told of. */
typedef struct ws_series {
    uint64_t key;        /* part << 32 | series */
    uint64_t last_frame; /* of its newest reading in updates, + 1; 0: none yet */
    int64_t  last_us;    /* time of that reading */
    uint64_t pending;    /* number of its last row that waits, + 1 */
} ws_series;

typedef struct ws_row {
    uint32_t series; /* in the audience's */
    int64_t  time_us;
    double   value;
} ws_row;

struct ws_audience {
    ws          *w;
    ws_audience *next;
    ws_client   *first;
    ws_client   *turn; /* whose turn it is in the pass; NULL: none is under way */
    uint32_t     tenant;
    uint32_t     count;
    ws_log       updates;
    ws_log       events;
    ws_row      *pending; /* a ring: room is a power of two */
    uint64_t     pending_first; /* numbers of rows */
    uint64_t     pending_end;
    uint64_t     pending_room;
    ws_series   *series;
    uint32_t     series_count;
    uint32_t     series_room;
    uint32_t    *slots; /* of series, + 1; open addressing */
    uint32_t     slots_room;
    uint64_t     last_seq; /* of its events */
    uint64_t     seen_seq; /* what the board said at the last look */
    bool         repairing;
    bool         urgent;   /* an event was said since the pass began */
    bool         updating; /* the pass under way tells of updates too */
    uint64_t     held_ns;  /* when a client with min_interval_ms is owed updates; 0 */
    uint64_t     began_ns; /* the last pass */
    uint64_t     cost_ns;  /* of it */
    uint64_t     spent_ns; /* of the one under way */
    uint64_t     sent;     /* bytes of the one under way */
    uint64_t     updates_ns; /* no updates before then */
};

/* Asks of ours, told from those of calls by their address. */
typedef struct ws_ask {
    bool       used;
    uint32_t   tenant;
    uint64_t   until;
    ws_client *client; /* NULL: for the audience, or its client is gone */
    bool       repairs;
} ws_ask;

struct ws {
    front        *f;
    ws_client    *first;     /* all but strangers */
    ws_client    *strangers;
    ws_client    *due;
    ws_audience  *audiences;
    ws_audience **by_tenant;
    uint32_t      tenants; /* numbers below */
    uint32_t      count;
    uint64_t      heartbeat_ns;
    uint64_t      registry_seq;
    uint64_t      alarm_ns; /* when the timer fires; 0: none is set */
    front_timer   alarm;
    bool          expiring; /* a token does, before the next tick */
    ws_ask        asks[WS_ASKS];
    json_out      json;
};

/* ---- ws_audience.c ---- */
ws_audience *ws_audience_of(const ws *w, uint32_t tenant); /* NULL: nobody is there */
/* False: there are as many as may be. */
bool ws_audience_join(ws_client *c);
uint64_t ws_board_seq(const ws *w, uint32_t tenant); /* of the tenant's last event */
void ws_audience_leave(ws_client *c);
void ws_audience_event(ws_audience *a, const ws_frame *f, view text);
/* The passes: until `until_ns`. */
void ws_audience_turns(ws *w, uint64_t until_ns);
void ws_audience_tick(ws_audience *a);
void ws_audience_sent(ws_audience *a, uint64_t bytes);
/* A frame of that series as it is now; false: it, or its machine, is not known. */
bool ws_update_build(ws *w, uint64_t key, const ws_row *r, ws_frame *f);
void ws_alarm(ws *w, uint64_t at_ns); /* a turn no later than then */

/* ---- ws_client.c ---- */
void ws_client_due(ws_client *c); /* it has something to write, or wslay has */
void ws_client_serve(ws_client *c, uint64_t now, bool updates);
void ws_client_say(ws_client *c, view text); /* a frame for it alone */
void ws_client_close(ws_client *c, enum ws_close code, const char *why);
/* H2O gives it up: when that is for a breach of the protocol it is told so first; false: free it. */
bool ws_client_fail(ws_client *c);
void ws_client_free(ws_client *c);
ws_client *ws_client_new(ws *w, view address);
void ws_client_upgrade(ws_client *c, h2o_req_t *req, const char *key, h2o_websocket_msg_callback heard);
void ws_client_live(ws_client *c); /* no stranger any longer */
void ws_clients_due(ws *w, uint64_t until_ns);

/* ---- ws_missed.c ---- */
void ws_resume(ws_client *c, uint64_t seq);
void ws_resume_more(ws_client *c); /* what it was told is on its way */
void ws_repair(ws_audience *a);
void ws_missed_forget(ws_client *c);

#endif
