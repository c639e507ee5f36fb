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
    uint64_t         tick_ms;
    uint64_t         budget_ms;
    h2o_linklist_t   flows;
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

/* ---- http_exchange.c ---- */
void http_exchange_setup(http *h, h2o_hostconf_t *host); /* everything goes to one handler */

#endif
