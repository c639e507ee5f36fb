/* http_inner.h - what the files of http.h share: http.c (loop, budgets), http_conn.c (connections), http_exchange.c
 * (requests and answers), tls.c.  Nobody else's business. */
#ifndef HALTLESS_API_HTTP_INNER_H
#define HALTLESS_API_HTTP_INNER_H

#include "api/http.h"

#include <h2o.h>
#include <time.h>

enum {
    LINGERERS_MAX = 64,
    STREAMS_MAX = 32, /* HTTP/2: of one connection */
    BODY_PAD = 16,
    HEAD_MAX = 65536, /* H2O itself takes some 400 KiB */
};

/* A connection: what H2O does not keep of it. */
typedef struct conn {
    http          *h;
    h2o_socket_t  *sock;
    h2o_linklist_t link;      /* of all */
    uint64_t       since_ms;  /* it is idle, or a request is arriving, since then */
    uint32_t       requests;  /* being answered */
    uint32_t       resets;    /* requests that were taken back unanswered ... */
    uint64_t       resets_ms; /* ... since then */
    uint64_t       turn;      /* of its last request, and ... */
    uint32_t       of_turn;   /* ... how many that turn brought */
    int            linger_fd; /* a duplicate that outlives H2O's close; -1 */
    bool           arriving;  /* since_ms: of a request */
    bool           doomed;    /* it takes requests back faster than anybody would */
    bool           multiplexed; /* HTTP/2: H2O's own timers hold */
    bool           upgraded;  /* a WebSocket: ws.c's */
    bool           has_room;  /* http_bulk.c's, from here on: its long body */
    bool           resting;   /* other long bodies are being read */
    h2o_linklist_t bulk;      /* of those with long bodies */
    h2o_linklist_t unwatched; /* of those whose callback is H2O's */
    h2o_socket_cb  reader;    /* H2O's callback, behind ours */
    bool          *closed;    /* while it runs: set when it closes the connection */
} conn;

typedef struct lingerer {
    h2o_socket_t *sock;
    uint64_t      until_ms;
    uint64_t      bytes;
} lingerer;

typedef struct handler { /* H2O's handler and filter objects, with the way back to us */
    h2o_handler_t super;
    http         *h;
} handler;

typedef struct filter {
    h2o_filter_t super;
    http        *h;
} filter;

typedef struct buffer {
    char  *at;
    size_t len;
    size_t room;
} buffer;

typedef struct flow { /* an exchange, with its private side */
    exchange        x;
    conn           *conn;
    h2o_generator_t generator;
    h2o_linklist_t  link;
    uint64_t        progress_ms; /* when the last send began */
    bool            sending;
    bool            streaming;
    bool            ended;
    bool            aborted;
    bool            slow;
    bool            stopped; /* the client took it back */
    buffer          filling;
    buffer          under_way;
    bool            in_pieces; /* a long answer, one a turn, */
    view            left;      /* of which this is to come */
    char           *taken;     /* its memory, when it is ours */
    h2o_linklist_t  due; /* among those whose next piece may be sent */
} flow;

struct http {
    http_config      config;
    h2o_globalconf_t global;
    h2o_context_t    context;
    h2o_evloop_t    *loop;
    h2o_accept_ctx_t accept;
    h2o_socket_t    *listener;
    bool             paused;
    bool             in_turn;
    bool             touched;
    uint32_t         connections;
    uint64_t         turns;
    uint64_t         cpu_ns;      /* of the thread, before the last wait */
    uint64_t         turn_cpu_ns; /* between the last two */
    uint64_t         tick_ms;
    uint64_t         budget_ms;
    h2o_linklist_t   flows;
    h2o_linklist_t   due;
    h2o_linklist_t   bulk;
    h2o_linklist_t   unwatched;
    h2o_buffer_prototype_t rooms[2]; /* for long bodies */
    h2o_linklist_t   conns;
    h2o_linklist_t  *next_conn; /* where the sweep goes on */
    uint64_t         pass_bytes;     /* of inputs, in the sweep's pass under way, ... */
    uint64_t         arriving_bytes; /* ... and in the last whole one */
    SSL_CTX         *tls;       /* NULL: plain */
    h2o_socket_t    *watched[16];
    uint32_t         watches;
    lingerer         lingerers[LINGERERS_MAX];
};

static inline uint64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline uint64_t
thread_cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static inline view
view_of_iovec(h2o_iovec_t v)
{
    return view_of(v.base, v.len);
}

static inline h2o_req_t *
req_of(const exchange *x)
{
    return x->raw;
}

/* ---- http_conn.c ---- */
NODISCARD int http_conn_listen(http *h, int fd);
void          http_conn_resume(http *h); /* accepts again when it had to pause */
conn         *http_conn_of(h2o_req_t *req);
/* It will be closed with input unread: without this its answer would be lost to a reset. */
void http_conn_linger(h2o_req_t *req);
void http_conn_hang_up(h2o_socket_t *sock); /* H2O finds out in the next turn */
void http_conn_sweep(http *h, uint64_t now); /* some of them: slow ones are closed */
void http_conn_drop_lingerers(http *h, uint64_t now);

/* ---- http_bulk.c ---- */
void http_bulk_open(http *h);
void http_bulk_close(http *h);
void http_bulk_listen(int fd);
void http_bulk_watch(conn *c);  /* accepted, or ready for its next request */
void http_bulk_ends(conn *c);   /* its request has arrived */
void http_bulk_forget(conn *c); /* it is closed */
void http_bulk_turn(http *h);   /* before H2O looks for what can be read */

/* ---- http_exchange.c ---- */
void http_exchange_push(http *h); /* the next pieces of long answers */
void http_exchange_setup(http *h, h2o_hostconf_t *host); /* everything goes to one handler */

#endif
