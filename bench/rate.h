/* rate.h - questions over a few kept-alive connections, each asks the next one as soon as the last was answered.
 *
 * One thread, one epoll: how many a second a server answers when it is never left without one.
 */
#ifndef HALTLESS_BENCH_RATE_H
#define HALTLESS_BENCH_RATE_H

#include "proto/base.h"

enum { RATE_CONNECTIONS_MAX = 64 };

typedef struct question {
    const char *method;
    char        path[512];
    char        body[512];
} question;

typedef struct rate {
    const char *where; /* HOST:PORT */
    const char *auth;  /* header lines of every request, each ended by \r\n */
    uint32_t    connections;
    double      seconds;  /* to go on for; at least one answer is waited for */
    uint64_t    pause_ns; /* meanwhile() is called so often; 0: never */
    void       *ctx;
    void (*ask)(void *ctx, question *q);
    bool (*judge)(void *ctx, int status, view body);
    int  (*meanwhile)(void *ctx);

    uint64_t  answered;
    double    took; /* seconds */
} rate;

NODISCARD int rate_run(rate *r);

#endif
