/* target.h - the server that a bench drives: one that runs already, or one of its own in a temporary directory. */
#ifndef HALTLESS_BENCH_TARGET_H
#define HALTLESS_BENCH_TARGET_H

#include "bench/client.h"

#include <sys/types.h>

enum { TARGET_FLAGS_MAX = 64, TARGET_PIDS_MAX = 256 };

typedef struct target {
    char  where[96]; /* "127.0.0.1:8080" */
    char  dir[128];  /* data directory of an own server; empty: a running one */
    pid_t pid;       /* of the own server's supervisor; 0 */
    client admin; /* speaks with the admin's token */
    char  key[64];   /* an API key with the default scopes */
    char  topology[256]; /* as /metrics tells it: "front x1 ingest x1 ... in 1 process" */
} target;

typedef struct target_options {
    const char *url;      /* NULL: start one */
    const char *email;    /* of the tenant; registered when unknown */
    const char *password;
    const char *dir;      /* parent of the temporary directory; NULL: /tmp */
    int         core;     /* to pin the own server to; -1 */
    int         flag_count;
    char      **flags;    /* more for `haltless serve` */
} target_options;

/* Ready, logged in, with a key. */
NODISCARD int target_open(target *t, const target_options *o);
/* Stops an own server (SIGTERM) and removes its directory. */
void target_close(target *t);
/* An own server: stopped so that its data stay; all its processes killed at once, as a crash would; started on what
 * is there (o->flags may be others), without waiting for it; then ready, with the tenant's token again. */
void target_stop(target *t);
void target_kill(target *t);
NODISCARD int target_start(target *t, const target_options *o);
NODISCARD int target_resume(target *t, const target_options *o);

/* Makes machines CNC-00000.. that are not there yet; ids[i]: 37 bytes each, the UUID of machine i. */
NODISCARD int target_machines(target *t, uint32_t count, char (*ids)[37]);

/* Clock ticks in seconds of every process of the server, user and system, as /proc says; -1 when it cannot be read. */
double target_cpu_seconds(target *t);
/* Proportional set size of all of them; -1. */
double target_pss_bytes(target *t);
/* Bytes on disk below the own server's data directory; `only` limits to paths that contain it (NULL: all). */
uint64_t target_disk_bytes(const target *t, const char *only);

#endif
