/* http.h - HTTP/1.1 (and 2, where it is switched on), plain or in TLS, over H2O's event loop, behind a face that knows nothing of H2O.
 *
 *   listener --accept--> connection --head, body--> exchange --on_request()--> its owner
 *                                                      ^  answer, or stream
 *                                                      +-- gone(): the client left, or all was sent
 *
 * One loop, one thread.  An exchange (one request and its answer) belongs to H2O: it is gone when
 * gone() is called, and not a moment later.  What bounds it: connections, bytes of all bodies,
 * seconds for a request to arrive, seconds an answer may stay unread.
 */
#ifndef HALTLESS_API_HTTP_H
#define HALTLESS_API_HTTP_H

#include "proto/base.h"

typedef struct http http;

typedef struct exchange {
    view  method;
    view  path;  /* decoded, normalized, no query */
    view  query; /* behind the '?', raw */
    view  body;
    bool  is_head;     /* HEAD: the answer's body is left out, its length is not */
    bool  has_body;    /* the request had one, be it empty */
    bool  body_padded; /* 16 bytes behind the body may be read */
    bool  answered;
    http *at;
    void *raw; /* H2O's request: for ws.c alone */

    /* The owner's. */
    void *owner;
    void (*gone)(void *owner);
    void (*drained)(void *owner); /* once after http_stream() said false: more may come */
} exchange;

typedef struct http_config {
    int      listener; /* borrowed: a duplicate is used; -1: none yet */
    uint32_t connections;
    uint64_t request_timeout_ms;
    const char *cert; /* PEM files: TLS alone is spoken; NULL: plain */
    const char *key;
    bool        http2;
    uint64_t body_bytes;   /* of one request */
    uint64_t bodies_bytes; /* of all that are arriving */
    void    *ctx;
    void (*on_request)(void *ctx, exchange *x);
} http_config;

NODISCARD int http_open(http **h, const http_config *config);
/* New connections get these; on failure the ones before stay. */
NODISCARD int http_load_tls(http *h, const char *cert, const char *key);
void          http_close(http **h); /* drops what is left */
/* One turn: waits at most wait_ns (not at all when something was sent since the last turn), handles
 * what came. */
void http_turn(http *h, uint64_t wait_ns);
/* CPU time of this thread from the end of the wait of the turn before to the beginning of this one's: what all
 * clients had to wait for. */
uint64_t http_turn_cpu_ns(const http *h);
/* Wakes http_turn() while fd is readable; never reads from it. */
NODISCARD int http_watch(http *h, int fd);
void          http_stop_accepting(http *h);
/* Something was written outside of http_turn(): the next one must not sleep. */
void     http_touch(http *h);
bool     http_is_touched(const http *h);
uint32_t http_connections(const http *h);

/* ---- the request ---- */
view http_header(const exchange *x, const char *lower_case_name); /* the first; empty: none */
/* Every one of that name: starts with *at = 0. False: no more. */
bool   http_next_header(const exchange *x, const char *lower_case_name, size_t *at, view *value);
size_t http_address(const exchange *x, char out[64]); /* of the client, text; 0: unknown */
const char      *
http_upgrade_key(const exchange *x); /* a WebSocket handshake: its 24-byte key; NULL: none */
bool http_wants_upgrade(const exchange *x);

/* ---- the answer: exactly one ---- */
void http_add_header(exchange *x, const char *name, view value);        /* both copied */
void http_add_static(exchange *x, const char *name, const char *value); /* both for ever */
void http_answer(exchange *x, uint16_t status, const char *content_type,
                 view body); /* copied; no type: no body */
void http_answer_static(exchange *x, uint16_t status, const char *content_type,
                        view body); /* which is there for ever; in pieces */
/* The same for a long one: takes *bytes (of malloc), of which [from, from + len) is sent, in pieces. */
void http_answer_taken(exchange *x, uint16_t status, const char *content_type, char **bytes, size_t from, size_t len);
void http_refuse(exchange *x, uint16_t status, const char *content_type,
                 view body); /* and closes */
void http_stream_begin(exchange *x, uint16_t status, const char *content_type);
bool http_stream(exchange *x,
                 view      bytes); /* copies; false: the client is slow, wait for drained() */
void http_stream_end(exchange *x);
void http_stream_abort(exchange *x);

const char *http_reason(uint16_t status);

#endif
