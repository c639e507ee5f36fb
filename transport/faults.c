/* faults.c - see faults.h. */
#include "transport/faults.h"

#include "transport/pages.h"

#include <dirent.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FAULTS_VERSION = 1 };
#define FAULTS_MAGIC UINT64_C(0x746c7561666c7461) /* "atlfault" */

typedef struct faults_constant {
    uint64_t magic;
    uint32_t version;
    uint32_t rows;
} faults_constant;

typedef struct faults_row {
    _Atomic uint64_t count; /* 0: not published */
    _Atomic int64_t  last_us;
    int64_t          first_us;
    uint64_t         warning;
    char             event[FAULT_EVENT_MAX];
    char             place[FAULT_PLACE_MAX];
    char             actor[FAULT_ACTOR_MAX];
    char             text[FAULT_TEXT_MAX];
} faults_row;

_Static_assert(sizeof(faults_row) == 384, "as drawn");

typedef struct faults_body {
    _Atomic uint64_t used;
    _Atomic uint64_t lost;
    alignas(128) faults_row row[FAULTS_ROWS];
} faults_body;

#define BODY_LEN round_up(sizeof(faults_body), PAGE_LEN)

struct faults {
    faults_body    *b;
    pthread_mutex_t lock;
};

static int
make(const char *path)
{
    faults_constant c = { FAULTS_MAGIC, FAULTS_VERSION, FAULTS_ROWS };
    int             fd = -1;
    int             rc = pages_make(path, PAGE_LEN + BODY_LEN, PAGE_LEN + BODY_LEN, &fd);

    if (rc < 0)
        return rc;
    if (pwrite(fd, &c, sizeof c, 0) != (ssize_t)sizeof c)
        rc = err(E_IO, "write");
    return pages_land(path, &fd, rc);
}

static int
map(faults *f, const char *path, bool writer)
{
    faults_constant c;
    uint64_t        len = 0;
    int             fd = -1;
    int             rc = pages_open(path, writer, &fd, &len);

    if (rc < 0)
        return rc;
    if (len != PAGE_LEN + BODY_LEN || pread(fd, &c, sizeof c, 0) != (ssize_t)sizeof c ||
        c.magic != FAULTS_MAGIC || c.version != FAULTS_VERSION || c.rows != FAULTS_ROWS)
        rc = err(E_BAD, "not a log of faults of this version");
    else if ((f->b = pages_map(fd, PAGE_LEN, BODY_LEN, writer)) == NULL)
        rc = err(E_NOMEM, "map");
    (void)close(fd);
    return rc;
}

int
faults_open(faults **out, const char *dir, const char *name, bool writer)
{
    faults *f = calloc(1, sizeof *f);
    char    path[PAGES_PATH_MAX];
    int     rc;

    *out = NULL;
    if (f == NULL)
        return err(E_NOMEM, "faults");
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)snprintf(path, sizeof path, "%s/faults.%s", dir, name);
    rc = map(f, path, writer);
    if (rc < 0 && writer) {
        err_clear();
        rc = make(path);
        rc = rc < 0 ? rc : map(f, path, writer);
    }
    if (rc < 0) {
        faults_close(&f);
        return err(rc, "%s", path);
    }
    *out = f;
    return E_OK;
}

void
faults_close(faults **fp)
{
    faults *f = *fp;

    if (f == NULL)
        return;
    *fp = NULL;
    pages_unmap(f->b, BODY_LEN);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
}

/* ---- writing ---- */

static void
fill(char *to, size_t room, const char *from)
{
    size_t len = strnlen(from, room - 1);

    memcpy(to, from, len);
    memset(to + len, 0, room - len);
}

static bool
is_of(const faults_row *r, const fault *what)
{
    return strncmp(r->place, what->place, FAULT_PLACE_MAX) == 0 &&
           strncmp(r->event, what->event, FAULT_EVENT_MAX) == 0 &&
           strncmp(r->actor, what->actor, FAULT_ACTOR_MAX) == 0;
}

static void
put(faults_row *r, const fault *what)
{
    fill(r->event, sizeof r->event, what->event);
    fill(r->place, sizeof r->place, what->place);
    fill(r->actor, sizeof r->actor, what->actor);
    fill(r->text, sizeof r->text, what->text);
    r->first_us = what->first_us;
    r->warning = what->warning;
    atomic_store_explicit(&r->last_us, what->first_us, memory_order_relaxed);
    atomic_store_explicit(&r->count, 1, memory_order_release);
}

static void
note(faults_body *b, const fault *what)
{
    uint32_t used = (uint32_t)min_u64(atomic_load(&b->used), FAULTS_ROWS);

    for (uint32_t i = 0; i < used; i++) {
        faults_row *r = &b->row[i];

        if (atomic_load(&r->count) == 0 || !is_of(r, what))
            continue;
        atomic_store_explicit(&r->last_us, what->first_us, memory_order_relaxed);
        atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed);
        return;
    }
    if (used == FAULTS_ROWS) {
        atomic_fetch_add_explicit(&b->lost, 1, memory_order_relaxed);
        return;
    }
    put(&b->row[used], what);
    atomic_store(&b->used, used + 1);
}

void
faults_note(faults *f, const fault *what)
{
    (void)pthread_mutex_lock(&f->lock);
    note(f->b, what);
    (void)pthread_mutex_unlock(&f->lock);
}

/* ---- reading ---- */

uint32_t
faults_count(const faults *f)
{
    return (uint32_t)min_u64(atomic_load(&f->b->used), FAULTS_ROWS);
}

/* What is shown on a terminal says nothing to it. */
static void
fill_plain(char *to, size_t room, const char *from)
{
    fill(to, room, from);
    for (; *to != '\0'; to++)
        if ((uint8_t)*to < 0x20 || *to == 0x7f)
            *to = ' ';
}

bool
faults_read(const faults *f, uint32_t i, fault *out)
{
    const faults_row *r = &f->b->row[i];
    uint64_t          count = i < FAULTS_ROWS ? atomic_load(&r->count) : 0;

    if (count == 0)
        return false;
    *out = (fault){ .count = count,
                    .first_us = r->first_us,
                    .last_us = atomic_load_explicit(&r->last_us, memory_order_relaxed),
                    .warning = r->warning != 0 };
    fill_plain(out->event, sizeof out->event, r->event);
    fill_plain(out->place, sizeof out->place, r->place);
    fill_plain(out->actor, sizeof out->actor, r->actor);
    fill_plain(out->text, sizeof out->text, r->text);
    return true;
}

uint64_t
faults_lost(const faults *f)
{
    return atomic_load(&f->b->lost);
}

static void
each_of(const char *dir, const char *name, faults_fn *fn, void *ctx)
{
    faults *f;
    fault   row;

    if (faults_open(&f, dir, name, false) < 0) {
        err_clear();
        return;
    }
    for (uint32_t i = 0; i < faults_count(f); i++)
        if (faults_read(f, i, &row))
            fn(ctx, name, &row);
    faults_close(&f);
}

void
faults_each(const char *dir, faults_fn *fn, void *ctx)
{
    static const char prefix[] = "faults.";
    DIR              *d = opendir(dir);
    struct dirent    *e;

    while (d != NULL && (e = readdir(d)) != NULL)
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0)
            each_of(dir, e->d_name + strlen(prefix), fn, ctx);
    if (d != NULL)
        (void)closedir(d);
}
