/* kernel_crash.c - how long an actor's death is noticed: from kill -9 to the first message that its successor handles.
 *
 * A server of its own, each actor a process.  The victim is stopped, a request is made so that a message lies in its
 * lane, then it is killed; the clock runs until the successor's counter says that a message was handled.  The request
 * itself must be answered as if nothing had happened.
 *
 *   crash/standby   the query actor, with a process that waits to take a place
 *   crash/cold      the same without: fork, exec, libraries
 *   crash/ingest    the ingest actor with its store, from standby
 */
#include "bench/kernel.h"
#include "bench/target.h"

#include "actors/rundir.h"
#include "actors/seat.h"
#include "proto/err.h"
#include "transport/count.h"
#include "transport/lane.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KILLS_MAX = 40, ANSWER_MAX = 65536, STANDBY_MS = 400 };
static const uint64_t PATIENCE_NS = 10000000000ull;
static const struct timespec LOOK = { 0, 20000 };

typedef struct crash_case {
    const char *name;
    uint16_t    kind;
    uint32_t    kills;
    bool        standby;
} crash_case;

typedef struct scene {
    target    t;
    char      run[RUNDIR_PATH_MAX];
    char      id[1][37];
    addr      victim;
    seat     *seat;
    counters *counters;
    uint64_t  ns[KILLS_MAX];
    uint32_t  kills;
} scene;

static void
nap_ms(long ms)
{
    (void)nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* ---- one request, asked now and answered later ---- */

static int
ask(const scene *s, int *fd)
{
    char        text[2048];
    int         len;
    const char *body = "{\"readings\":[{\"machine_identifier\":\"CNC-00000\",\"timestamp\":\"2026-04-04T10:30:00Z\","
                       "\"metric_name\":\"m\",\"value\":1,\"unit\":\"\"}]}";

    if (addr_kind(s->victim) == KIND_INGEST)
        len = snprintf(text, sizeof text,
                       "POST /api/v1/ingest HTTP/1.1\r\nHost: b\r\nX-API-Key: %s\r\nContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       s->t.key, strlen(body), body);
    else
        len = snprintf(text, sizeof text,
                       "GET /api/v1/machines/%s/readings?metric=m HTTP/1.1\r\nHost: b\r\n%s\r\n",
                       s->id[0], s->t.admin.auth);
    if ((*fd = client_connect(s->t.admin.host, s->t.admin.port)) < 0)
        return *fd;
    return send(*fd, text, (size_t)len, MSG_NOSIGNAL) == len ? E_OK : err(E_IO, "ask");
}

static int
hear(int fd)
{
    char    text[ANSWER_MAX];
    size_t  got = 0, chunk_at = 0;
    ssize_t n;
    int     status = 0;
    view    body;

    while ((n = recv(fd, text + got, sizeof text - got, 0)) > 0) {
        got += (size_t)n;
        if (client_answer_len(view_of(text, got), &status, &body, &chunk_at) != 0)
            break;
    }
    (void)close(fd);
    return status == 200 || status == 207 ? E_OK : err(E_BAD, "answered with %d", status);
}

/* ---- one death ---- */

/* Something lies in the lane that leads to the victim. */
static bool
has_message(const scene *s)
{
    const edge_plan edge = { .from = addr_of(KIND_FRONT, 0), .to = s->victim };
    rundir         *r = calloc(1, sizeof *r);
    char            path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];
    uint64_t        bytes = 0;
    uint64_t        most = 0;

    if (r == NULL)
        return false;
    memcpy(r->path, s->run, sizeof r->path);
    rundir_lane_path(r, &edge, path);
    free(r);
    return lane_depth(path, &bytes, &most) == E_OK && bytes > 0;
}

static int
kill_once(scene *s)
{
    pid_t    pid = atomic_load(&s->seat->pid);
    uint64_t before;
    uint64_t from;
    int      fd = -1;
    int      rc;

    (void)kill(pid, SIGSTOP);
    nap_ms(1);
    before = count_get(s->counters, COUNT_MESSAGES);
    rc = ask(s, &fd);
    from = bench_now_ns();
    while (rc == E_OK && !has_message(s))
        if (bench_now_ns() - from > PATIENCE_NS)
            rc = err(E_LATE, "no message came to the victim");
    from = bench_now_ns();
    (void)kill(pid, SIGKILL);
    while (rc == E_OK && count_get(s->counters, COUNT_MESSAGES) == before) {
        if (bench_now_ns() - from > PATIENCE_NS)
            rc = err(E_LATE, "no successor handled it");
        (void)nanosleep(&LOOK, NULL); /* spinning would take a core from what is measured */
    }
    s->ns[s->kills] = bench_now_ns() - from;
    if (rc < 0) {
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    s->kills++;
    return hear(fd);
}

/* ---- a case ---- */

static int
find_victim(scene *s, uint16_t kind)
{
    char data[sizeof s->t.dir + 8];
    char full[PATH_MAX];
    int  rc;

    s->victim = addr_of(kind, 0);
    (void)snprintf(data, sizeof data, "%s/data", s->t.dir);
    if (realpath(data, full) == NULL || (rc = rundir_name(s->run, "", full)) < 0)
        return err(E_IO, "run directory");
    if ((rc = seat_open(&s->seat, s->run, s->victim, false)) < 0)
        return rc;
    return counters_open(&s->counters, s->run, s->victim, false);
}

static int
run(scene *s, const crash_case *c)
{
    char          *flags[] = { (char[]){ "--processes" },
                               (char[]){ "--ingest-count" },
                               (char[]){ "1" },
                               (char[]){ "--front-count" },
                               (char[]){ "1" },
                               (char[]){ "--limits-rate-free" },
                               (char[]){ "0" },
                               c->standby ? (char[]){ "--standby=true" } : (char[]){ "--standby=false" } };
    target_options o = { .email = "bench@example.com",
                         .password = "correct horse 1",
                         .core = -1,
                         .flags = flags,
                         .flag_count = COUNT_OF(flags) };
    int            rc = target_open(&s->t, &o);

    if (rc == E_OK)
        rc = target_machines(&s->t, 1, s->id);
    if (rc == E_OK)
        rc = find_victim(s, c->kind);
    for (uint32_t i = 0; rc == E_OK && i < c->kills; i++) {
        nap_ms(STANDBY_MS); /* the next one is there, and what is measured is not a loop of crashes */
        rc = kill_once(s);
    }
    return rc;
}

static int
one(const kernel_bench *b, const crash_case *c)
{
    scene *s = calloc(1, sizeof *s);
    int    rc;

    if (s == NULL)
        return 1;
    rc = run(s, c);
    if (rc < 0)
        (void)fprintf(stderr, "bench: %s: %s\n", c->name, err_text());
    else
        kernel_times(b, c->name, s->ns, s->kills);
    err_clear();
    if (s->counters != NULL)
        counters_close(&s->counters);
    seat_close(&s->seat);
    target_close(&s->t);
    free(s);
    return rc < 0;
}

int
kernel_crashes(const kernel_bench *b)
{
    static const crash_case cases[] = {
        { "crash/standby", KIND_QUERY, 30, true },
        { "crash/cold", KIND_QUERY, 15, false },
        { "crash/ingest", KIND_INGEST, 15, true },
    };
    int failed = 0;

    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (kernel_wants(b, cases[i].name))
            failed += one(b, &cases[i]);
    return failed;
}
