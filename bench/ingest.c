/* ingest.c - `haltless bench ingest`: readings pushed over HTTP, as fast as the server acknowledges them.
 *
 * Bodies are built before the clock starts; a few kept-alive connections each send the next body as soon as the last
 * was answered (closed loop).  Afterwards it reads back the number of readings and 10 000 random ones bit for bit.
 */
#include "bench/bench.h"

#include "bench/generate.h"
#include "bench/client.h"
#include "bench/out.h"
#include "bench/target.h"
#include "proto/err.h"
#include "proto/instant.h"
#include "proto/num.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 512, ANSWER_ROOM = 1 << 20, CHECKS = 10000 };

typedef struct settings {
    target_options target;
    uint64_t     readings;
    uint64_t     seed;
    uint32_t     machines;
    uint32_t     per_body;
    uint32_t     connections;
    int          client_core;
    enum variant variant;
    bool         json;
} settings;

typedef struct connection {
    int      fd;
    uint32_t body;  /* which one is under way; UINT32_MAX: none */
    size_t   sent;  /* of head and body */
    size_t   head_len;
    char     head[512];
    char    *in; /* owned, ANSWER_ROOM */
    size_t   in_len;
    uint64_t began_ns;
} connection;

typedef struct run {
    const settings  *set;
    const generated *g;
    target          *t;
    int              epoll;
    uint32_t         next_body;
    uint32_t         answered;
    uint64_t         accepted;
    uint64_t         refused; /* answers that were no 207 with every reading accepted; each is sent again */
    uint64_t        *latency_ns; /* owned, one a body */
    connection       c[CONNECTIONS_MAX];
} run;

/* ---- one connection ---- */

static void
next_request(run *r, connection *c)
{
    if (c->body == UINT32_MAX) {
        if (r->next_body == r->g->bodies)
            return;
        c->body = r->next_body++;
    }
    c->head_len = (size_t)snprintf(c->head, sizeof c->head,
                                   "POST /api/v1/ingest HTTP/1.1\r\nHost: %s\r\nX-API-Key: %s\r\n"
                                   "Content-Type: application/json\r\nContent-Length: %llu\r\n\r\n",
                                   r->t->where, r->t->key,
                                   (unsigned long long)(r->g->body_at[c->body + 1] - r->g->body_at[c->body]));
    c->sent = 0;
    c->in_len = 0;
    c->began_ns = bench_now_ns();
}

/* Sends what the socket takes.  False: the connection broke. */
static bool
push(run *r, connection *c)
{
    const char *body = r->g->text + r->g->body_at[c->body];
    size_t      body_len = (size_t)(r->g->body_at[c->body + 1] - r->g->body_at[c->body]);

    while (c->sent < c->head_len + body_len) {
        struct iovec  v[2] = { { c->head + min_u64(c->sent, c->head_len), c->head_len - min_u64(c->sent, c->head_len) },
                               { (char *)(uintptr_t)body, body_len } };
        struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
        ssize_t       n;

        if (c->sent > c->head_len) {
            v[1].iov_base = (char *)(uintptr_t)body + (c->sent - c->head_len);
            v[1].iov_len = body_len - (c->sent - c->head_len);
        }
        n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN;
        c->sent += (size_t)n;
    }
    return true;
}

/* All accepted?  The answer starts {"accepted_count":N,... */
static bool
all_accepted(const run *r, const connection *c, int status, view body)
{
    static const char mark[] = "\"accepted_count\":";
    uint64_t          first = (uint64_t)c->body * r->g->per_body;
    uint64_t          want = min_u64(r->g->per_body, r->g->readings - first);
    const char       *at = status == 207 ? memmem(body.at, body.len, mark, sizeof mark - 1) : NULL;

    return at != NULL && strtoull(at + sizeof mark - 1, NULL, 10) == want;
}

/* Takes what came.  False: the connection broke. */
static bool
pull(run *r, connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, ANSWER_ROOM - c->in_len, MSG_DONTWAIT);
    int     status = 0;
    view    body = view_of(NULL, 0);
    int64_t len;

    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    c->in_len += (size_t)n;
    len = client_answer_len(view_of(c->in, c->in_len), &status, &body);
    if (len < 0)
        return false;
    if (len == 0)
        return c->in_len < ANSWER_ROOM;
    if (all_accepted(r, c, status, body)) {
        r->latency_ns[r->answered++] = bench_now_ns() - c->began_ns;
        r->accepted += min_u64(r->g->per_body, r->g->readings - (uint64_t)c->body * r->g->per_body);
        c->body = UINT32_MAX;
    } else if (r->refused++ == 0) {
        fprintf(stderr, "bench: first refusal: %.*s\n", (int)min_u64(c->in_len, 600), c->in);
    }
    next_request(r, c);
    return true;
}

static int
reconnect(run *r, connection *c)
{
    struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
    client        address;
    int                rc = client_open(&address, r->t->where);

    if (c->fd >= 0)
        close(c->fd);
    c->fd = rc < 0 ? rc : client_connect(address.host, address.port);
    if (c->fd < 0)
        return c->fd;
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0)
        return err_errno(errno, "epoll");
    next_request(r, c);
    return E_OK;
}

static int
turn(run *r, connection *c)
{
    for (;;) { /* edge-triggered: until nothing moves */
        size_t   sent = c->sent, got = c->in_len;
        uint32_t body = c->body;
        bool     fine = c->body == UINT32_MAX || (push(r, c) && pull(r, c));

        if (!fine) {
            r->refused++;
            return r->refused < 10000 ? reconnect(r, c) : err(E_GONE, "connections keep breaking");
        }
        if (c->body == UINT32_MAX || (c->sent == sent && c->in_len == got && c->body == body))
            return E_OK;
    }
}

static int
drive(run *r)
{
    struct epoll_event events[64];
    int                rc = E_OK;

    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < r->set->connections && rc == E_OK; i++) {
        r->c[i].fd = -1;
        r->c[i].body = UINT32_MAX;
        r->c[i].in = malloc(ANSWER_ROOM);
        rc = r->c[i].in == NULL ? E_NOMEM : reconnect(r, &r->c[i]);
    }
    while (rc == E_OK && r->answered < r->g->bodies) {
        int n = epoll_wait(r->epoll, events, (int)COUNT_OF(events), 30000);

        if (n == 0)
            rc = err(E_LATE, "no answer for 30 s");
        for (int i = 0; i < n && rc == E_OK; i++)
            rc = turn(r, events[i].data.ptr);
    }
    return rc;
}

static void
run_close(run *r)
{
    for (uint32_t i = 0; i < r->set->connections; i++) {
        if (r->c[i].fd > 0)
            close(r->c[i].fd);
        free(r->c[i].in);
    }
    if (r->epoll > 0)
        close(r->epoll);
    free(r->latency_ns);
}

/* ---- reading back ---- */

static double
series_sum(const cJSON *answer)
{
    double       n = 0;
    const cJSON *s, *p;

    cJSON_ArrayForEach(s, cJSON_GetObjectItemCaseSensitive(answer, "series"))
        cJSON_ArrayForEach(p, cJSON_GetObjectItemCaseSensitive(s, "data"))
            n += cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(p, "value"));
    return n;
}

static uint64_t
stored_count(target *t)
{
    cJSON   *answer = NULL;
    uint64_t n = 0;

    if (client_json(&t->admin, "POST", "/api/v1/readings/query",
                  "{\"start\":\"2026-01-01T00:00:00Z\",\"end\":\"2036-01-01T00:00:00Z\",\"interval\":\"1mo\","
                  "\"aggregation\":\"count\",\"group_by\":\"all\"}",
                  &answer) == 200)
        n = (uint64_t)series_sum(answer);
    cJSON_Delete(answer);
    return n;
}

/* Readings whose time has the same millisecond neighbours under jitter are still one a time and series. */
static bool
one_is_there(target *t, const generated *g, uint64_t i, char (*ids)[37])
{
    char        from[INSTANT_TEXT_MAX], until[INSTANT_TEXT_MAX], path[512];
    const char *unit;
    int64_t     us = generate_time_us(g, i);
    size_t      a = instant_format(us, from), b = instant_format(us + 1, until);
    client_answer answer;
    const char *value;
    double      got = 0;
    uint64_t    got_bits, want_bits;

    snprintf(path, sizeof path, "/api/v1/machines/%s/readings?metric=%s&start=%.*s&end=%.*s",
             ids[i / GENERATE_METRICS % g->machines], generate_metric((uint32_t)(i % GENERATE_METRICS), &unit), (int)a,
             from, (int)b, until);
    if (client_call(&t->admin, "GET", path, view_of(NULL, 0), &answer) < 0 || answer.status != 200)
        return false;
    value = memmem(answer.body.at, answer.body.len, "\"value\":", 8);
    if (value == NULL ||
        num_parse(view_of(value + 8, (size_t)((const char *)answer.body.at + answer.body.len - value) - 8), &got) == 0)
        return false;
    memcpy(&got_bits, &got, sizeof got);
    memcpy(&want_bits, &g->values[i], sizeof got);
    return got_bits == want_bits;
}

static uint64_t
wrong_readings(target *t, const generated *g, char (*ids)[37], uint32_t checks)
{
    uint64_t wrong = 0, s = g->seed;

    for (uint32_t i = 0; i < checks; i++) {
        s = s * 6364136223846793005ULL + 1442695040888963407ULL;
        wrong += !one_is_there(t, g, (s >> 20) % g->readings, ids);
    }
    return wrong;
}

/* ---- the whole ---- */

static int
report(run *r, const bench_out *o, double seconds, double cpu, char (*ids)[37])
{
    static const struct {
        const char *metric;
        double      q;
    } quantiles[] = { { "latency p50", 0.5 }, { "latency p99", 0.99 }, { "latency p99.9", 0.999 }, { "latency max", 1 } };
    static const char *const variants[] = { "walk", "jitter", "random" };
    char     what[96];
    uint64_t stored, wrong;

    snprintf(what, sizeof what, "%s/%um/%ur/%uc", variants[r->g->variant], r->g->machines, r->g->per_body,
             r->set->connections);
    bench_row(o, what, "throughput", (double)r->accepted / seconds, "readings/s");
    bench_sort(r->latency_ns, r->answered);
    for (size_t i = 0; i < COUNT_OF(quantiles); i++)
        bench_row(o, what, quantiles[i].metric,
                  (double)bench_quantile(r->latency_ns, r->answered, quantiles[i].q) / 1e6, "ms");
    bench_row(o, what, "failures", (double)r->refused, "requests");
    if (cpu >= 0)
        bench_row(o, what, "server cpu", cpu / ((double)r->accepted / 1e6), "s/M readings");
    if (r->t->dir[0] != '\0') {
        bench_row(o, what, "disk, with journal", (double)target_disk_bytes(r->t, NULL) / (double)r->accepted, "bytes/reading");
        bench_row(o, what, "disk, sealed", (double)target_disk_bytes(r->t, "/db/") / (double)r->accepted, "bytes/reading");
    }
    stored = stored_count(r->t);
    wrong = wrong_readings(r->t, r->g, ids, CHECKS);
    bench_row(o, what, "stored", (double)stored, "readings");
    bench_row(o, what, "checked", CHECKS, "readings");
    bench_row(o, what, "wrong", (double)wrong, "readings");
    if (stored != r->g->readings || wrong > 0) {
        fprintf(stderr, "bench: CHECK FAILED: %llu readings stored of %llu, %llu of %d read back wrong\n",
                (unsigned long long)stored, (unsigned long long)r->g->readings, (unsigned long long)wrong, CHECKS);
        return 1;
    }
    return 0;
}

static int
measure(const settings *s, const generated *g, target *t, char (*ids)[37], const bench_out *o)
{
    run     *r = calloc(1, sizeof *r);
    double   cpu = target_cpu_seconds(t), seconds;
    uint64_t began;
    int      status = 1;

    ASSERT(r != NULL);
    r->set = s;
    r->g = g;
    r->t = t;
    r->latency_ns = calloc(g->bodies, sizeof *r->latency_ns);
    began = bench_now_ns();
    if (r->latency_ns == NULL || drive(r) < 0) {
        fprintf(stderr, "bench: %s\n", err_text());
    } else {
        seconds = (double)(bench_now_ns() - began) / 1e9;
        status = report(r, o, seconds, cpu < 0 ? -1 : target_cpu_seconds(t) - cpu, ids);
    }
    run_close(r);
    free(r);
    return status;
}

static int
bench(const settings *s, int argc, char **argv)
{
    bench_out o = { .to = stdout, .json = s->json, .bench = "ingest" };
    generated g;
    target    t;
    char(*ids)[37] = calloc(s->machines, sizeof *ids);
    int       status = 1;

    memset(&t, 0, sizeof t);
    t.admin.fd = -1;
    memset(&g, 0, sizeof g);
    if (ids == NULL || generate(&g, s->variant, s->seed, s->machines, s->readings, s->per_body) < 0 ||
        target_open(&t, &s->target) < 0 || target_machines(&t, s->machines, ids) < 0) {
        fprintf(stderr, "bench: %s\n", err_text());
    } else {
        bench_pin(s->client_core);
        bench_env(&o, t.dir[0] != '\0' ? t.dir : NULL, t.dir[0] != '\0' ? "fsync" : "as the server says", t.topology,
                  argc, argv);
        status = measure(s, &g, &t, ids, &o);
    }
    target_close(&t);
    generate_free(&g);
    free(ids);
    return status;
}

static const char help[] =
    "haltless bench ingest - readings pushed over HTTP as fast as the server acknowledges them\n"
    "\n"
    "  haltless bench ingest [options] [-- flags for the server it starts]\n"
    "\n"
    "  --url HOST:PORT      drive a running server (default: one of its own in a temporary directory)\n"
    "  --email, --password  its tenant (registered when unknown)\n"
    "  --readings N         how many in all (default 5000000)\n"
    "  --machines N         machines, 5 metrics each (default 1000)\n"
    "  --per-request N      readings a request (default 1000)\n"
    "  --connections N      kept-alive connections (default 8)\n"
    "  --variant WORD       walk, jitter or random (default walk)\n"
    "  --seed N             of the data (default 1)\n"
    "  --dir DIR            where the temporary directory is made (default /tmp)\n"
    "  --server-core N      pin the server to a core\n"
    "  --client-core N      pin the client to a core\n"
    "  --json               one object a line\n";

enum option_key { O_URL = 256, O_EMAIL, O_PASSWORD, O_READINGS, O_MACHINES, O_PER, O_CONNECTIONS, O_VARIANT, O_SEED, O_DIR,
                  O_SERVER, O_CLIENT, O_JSON, O_HELP };

static const struct option flags[] = {
    { "url", 1, NULL, O_URL },           { "email", 1, NULL, O_EMAIL },
    { "password", 1, NULL, O_PASSWORD }, { "readings", 1, NULL, O_READINGS },
    { "machines", 1, NULL, O_MACHINES }, { "per-request", 1, NULL, O_PER },
    { "connections", 1, NULL, O_CONNECTIONS }, { "variant", 1, NULL, O_VARIANT },
    { "seed", 1, NULL, O_SEED },         { "dir", 1, NULL, O_DIR },
    { "server-core", 1, NULL, O_SERVER }, { "client-core", 1, NULL, O_CLIENT },
    { "json", 0, NULL, O_JSON },         { "help", 0, NULL, O_HELP },
    { NULL, 0, NULL, 0 },
};

static int
variant_of(const char *word)
{
    static const char *const words[] = { "walk", "jitter", "random" };

    for (int i = 0; i < (int)COUNT_OF(words); i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

/* One flag; false when its value is unusable. */
static bool
take(settings *s, int key, const char *value)
{
    int v;

    switch (key) {
    case O_URL:         s->target.url = value; return true;
    case O_EMAIL:       s->target.email = value; return true;
    case O_PASSWORD:    s->target.password = value; return true;
    case O_DIR:         s->target.dir = value; return true;
    case O_SERVER:      s->target.core = atoi(value); return true;
    case O_CLIENT:      s->client_core = atoi(value); return true;
    case O_JSON:        s->json = true; return true;
    case O_SEED:        s->seed = strtoull(value, NULL, 10); return true;
    case O_READINGS:    s->readings = strtoull(value, NULL, 10); return s->readings > 0;
    case O_MACHINES:    s->machines = (uint32_t)strtoul(value, NULL, 10); return s->machines > 0 && s->machines <= 100000;
    case O_PER:         s->per_body = (uint32_t)strtoul(value, NULL, 10); return s->per_body > 0 && s->per_body <= 100000;
    case O_CONNECTIONS: s->connections = (uint32_t)strtoul(value, NULL, 10);
                        return s->connections > 0 && s->connections <= CONNECTIONS_MAX;
    case O_VARIANT:     v = variant_of(value); s->variant = v < 0 ? VARIANT_WALK : (enum variant)v; return v >= 0;
    default:            return false;
    }
}

int
bench_ingest(int argc, char **argv)
{
    settings s = { .target = { .email = "bench@example.com", .password = "bench-haltless-1", .core = -1 },
                   .readings = 5000000, .seed = 1, .machines = 1000, .per_body = 1000, .connections = 8,
                   .client_core = -1 };
    int      key;

    optind = 1;
    while ((key = getopt_long(argc, argv, "+", flags, NULL)) != -1) {
        if (key == O_HELP) {
            fputs(help, stdout);
            return 0;
        }
        if (!take(&s, key, optarg)) {
            fputs("see haltless bench ingest --help\n", stderr);
            return 2;
        }
    }
    s.target.flags = argv + optind;
    s.target.flag_count = argc - optind;
    return bench(&s, argc, argv);
}
