/* client.h - a small blocking HTTP/1.1 client for loopback: the benches' and the demo's control calls. */
#ifndef HALTLESS_BENCH_CLIENT_H
#define HALTLESS_BENCH_CLIENT_H

#include "proto/base.h"

#include <cjson/cJSON.h>

typedef struct client {
    char     host[64];
    uint16_t port;
    int      fd; /* -1: not connected */
    char     auth[1024]; /* header lines for every call, each ended by \r\n; may be empty */
    char    *in; /* owned */
    size_t   in_len;
    size_t   in_room;
    size_t   chunk_at; /* of the answer that is coming in: where its first incomplete chunk begins, behind the head */
} client;

/* "127.0.0.1:8080" or "http://127.0.0.1:8080"; E_BAD. Connects at the first call. */
NODISCARD int client_open(client *c, const char *where);
void client_close(client *c);
int  client_connect(const char *host, uint16_t port); /* a connected TCP_NODELAY socket, or a negative code */

typedef struct client_answer {
    int  status;
    view body; /* in the client's buffer, until the next call */
} client_answer;

/* One request, one answer; connects anew once when a kept-alive connection was closed meanwhile. */
NODISCARD int client_call(client *c, const char *method, const char *path, view body, client_answer *a);
/* The same with JSON in (NULL: none) and out (*out: caller deletes; NULL when the body is empty or no JSON). */
NODISCARD int client_json(client *c, const char *method, const char *path, const char *body, cJSON **out);

/* Where the answer at the start of `in` ends: its length, 0 while incomplete, or E_BAD.  Needs Content-Length or chunks.
 * *chunk_at: 0 before the first call for an answer; kept, it lets a long one be looked through once. */
int64_t client_answer_len(view in, int *status, view *body, size_t *chunk_at);

/* Waits until GET /readyz answers 200. */
NODISCARD int client_wait_ready(client *c, uint32_t within_ms);
/* A port of 127.0.0.1 that was free just now. */
uint16_t client_free_port(void);

#endif
