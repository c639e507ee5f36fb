/* world.h - the one door to everything outside: clocks, chance, threads, bells, files.
 *
 *   kernel, stores, actors ──▶ the_world ──▶ Linux           (world.c; bells are ZeroMQ's, transport/wire.c)
 *                                      └──▶ the simulator    (tests/sim: virtual time, seeded, with faults)
 *
 * Set before the first thread starts, and never again.  What is shared memory by nature (lanes, seats, the board) and
 * what is a socket by nature (HTTP, mail) stays outside of it; RocksDB has a door of its own, its C interface, which
 * the simulator implements too (tests/sim/memrocks.c).
 *
 * Answers are POSIX's: -1 and errno.
 */
#ifndef HALTLESS_PROTO_WORLD_H
#define HALTLESS_PROTO_WORLD_H

#include "proto/base.h"

#include <pthread.h>
#include <sys/types.h>

/* What wakes one actor from its sleep, where that is not ZeroMQ.  All calls but poke() come from its own thread. */
typedef struct world_bells {
    void *(*open)(uint64_t owner, uint64_t epoch);
    void (*close)(void *bell);
    bool (*ring)(uint64_t whom, uint64_t epoch); /* of that life; false: try again later */
    uint64_t (*heard)(void *bell);               /* rings since the last look */
    void (*wait)(void *bell, uint64_t ns);       /* for a ring or a poke; ns may be UINT64_MAX */
    void (*poke)(void *bell);                    /* from any thread of the process */
} world_bells;

typedef void world_name_fn(void *ctx, const char *name);
typedef struct world_file {
    uint64_t device, inode, len;
} world_file;

typedef struct world {
    const char *name;

    uint64_t (*now_ns)(void);  /* monotonic */
    int64_t (*wall_us)(void);  /* since the epoch */
    int (*chance)(void *out, size_t len); /* random bytes; 0, or -1 and errno */

    /* Threads that help an actor.  0 or an errno, as pthread_create(). */
    int (*thread_start)(pthread_t *t, void *(*fn)(void *), void *arg, const char *title);
    void (*thread_join)(pthread_t t);
    void (*wait)(pthread_cond_t *c, pthread_mutex_t *m);
    void (*wake)(pthread_cond_t *c, bool all);

    const world_bells *bells; /* NULL: ZeroMQ */

    /* Where an actor may be interrupted, or killed; NULL: nobody asks. */
    void (*pause)(void);

    /* Durable files.  open(): mode 0600, close-on-exec. */
    int (*open)(const char *path, int flags);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *out, size_t len);
    ssize_t (*write)(int fd, const void *in, size_t len);
    ssize_t (*pread)(int fd, void *out, size_t len, off_t at);
    ssize_t (*pwrite)(int fd, const void *in, size_t len, off_t at);
    int (*sync)(int fd);     /* fsync(), of a directory too */
    int (*datasync)(int fd); /* fdatasync() */
    int (*about)(int fd, world_file *out);
    int (*look)(const char *path, world_file *out);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*make_dir)(const char *path);                             /* 0700 */
    int (*list)(const char *path, world_name_fn *fn, void *ctx);   /* without "." and ".." */
    int (*space)(const char *path, uint64_t *bytes);               /* free to us */
} world;

extern const world  world_linux;
extern const world *the_world; /* world_linux, until world_set() */

void world_set(const world *w);

static inline void
world_pause(void)
{
    if (UNLIKELY(the_world->pause != NULL))
        the_world->pause();
}

#endif
