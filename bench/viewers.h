/* viewers.h - WebSocket clients of the live view, thousands in one thread: what each was sent, and how late.
 *
 * Readings that are to be timed carry the moment of their sending as their value (viewers_clock_ms); an alert has it as its
 * metric_value.  Every client counts its own alerts and holds the `seq`s against each other.
 */
#ifndef HALTLESS_BENCH_VIEWERS_H
#define HALTLESS_BENCH_VIEWERS_H

#include "proto/base.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct viewer viewer;

/* Between two calls of viewers_take(). */
typedef struct viewers_counts {
    uint64_t  updates, alerts, others; /* frames */
    uint64_t  bytes;
    uint64_t *update_ns; /* owned: latencies, a sample */
    uint64_t *alert_ns;
    size_t    update_count, alert_count;
} viewers_counts;

typedef struct viewers {
    const char *where; /* HOST:PORT */
    const char *token;
    uint32_t    clients;

    pthread_t       thread;
    pthread_mutex_t lock;
    atomic_bool     stop;
    int             epoll;
    viewer        *all; /* owned */
    uint32_t        opening, live, closed;
    uint32_t        next; /* to be opened */
    uint16_t        close_code; /* of the first that was closed */
    bool            running;
    uint64_t        deaf_until_ns; /* 0: it is not */
    viewers_counts    now;
} viewers;

/* Raises the limit of open files, before the server is started that inherits it; E_FULL says what to do. */
NODISCARD int viewers_files(uint32_t clients);
/* Connects all of them and waits until each was let in. */
NODISCARD int viewers_open(viewers *w);
void viewers_close(viewers *w);
double viewers_clock_ms(void); /* to be carried as a value */

void viewers_take(viewers *w, viewers_counts *out); /* what was counted since the last time; the caller frees its lists */
void viewers_counts_free(viewers_counts *c);
/* The first client stops reading for so long, then looks what it was told; the code it was closed with, 0: it was not. */
void     viewers_deafen(viewers *w, double seconds);
uint16_t viewers_deaf_code(viewers *w);

typedef struct viewers_check {
    uint64_t opened_least, opened_most; /* alerts, of each client */
    uint64_t closed_least, closed_most;
    uint64_t missed, twice; /* seqs, of all clients */
    uint32_t gone;          /* clients that were closed */
    uint16_t code;          /* of one of those */
} viewers_check;

/* All but the first `but`. */
void viewers_check_all(viewers *w, uint32_t but, viewers_check *out);

#endif
