/* clients.c - who sends readings and asks for them, and what they know: the naive model and the oracles.
 *
 *   slot of a series = one time       accepted: the value that the last 207 was for
 *                                     maybe:    values sent since whose answer was no 207, or has not come
 *
 * A slot reads back as its accepted value or one of the maybes; as nothing only when nothing was accepted.  Every
 * value is sent once, so whatever comes back is known.  A machine's readings go through one front, one request at a
 * time: of two for one slot the later one wins.
 */
#include "tests/sim/sim.h"

#include "proto/instant.h"
#include "proto/rows.h"
#include "transport/count.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MACHINES = 12, /* as many clients */
    METRICS = 2,
    SLOTS_MAX = 4096,
    MAYBES = 6,
    FRONTS_MAX = 8,
    READINGS_MAX = 12, /* of one request */
    LOOKED_MAX = 256,  /* slots of a raw query on the way */
};
#define T0   INT64_C(1766361600) /* seconds: 2025-12-22 */
#define STEP 7                   /* seconds between slots */
#define HIGH ((double)(UINT64_C(1) << 40))

typedef struct slot {
    double  accepted; /* 0: none */
    double  maybe[MAYBES];
    uint8_t maybes;
    bool    busy; /* in the request under way */
} slot;

typedef struct series {
    slot     slots[SLOTS_MAX];
    uint32_t used;
} series;

typedef struct sent {
    uint32_t metric, at;
    double   value;
} sent;

enum errand { SET_UP, PUSH, LOOK, JUDGE_RAW, JUDGE_SUMS, JUDGE_ALERTS };

typedef struct origin { /* of a reading */
    uint8_t  machine, metric;
    uint16_t at;
} origin;

typedef struct client {
    uint32_t     no;
    uint16_t     front;
    char         id[40]; /* of its machine */
    series       of[METRICS];
    web_request *r;
    enum errand  errand;
    uint32_t     metric; /* of a query */
    sent         sent[READINGS_MAX];
    uint32_t     sent_count;
    uint32_t     look_from, look_count;
    double       look_accepted[LOOKED_MAX]; /* as it was when the query left */
    uint32_t     judged;                    /* steps of the last judgement */
    uint32_t     page;                      /* of the alerts; 0: seen all */
    uint64_t     left_at;
    bool         idle;
} client;

static struct {
    client   client[MACHINES];
    char     token[2048], key[128];
    uint32_t set_up; /* machines that are there */
    bool     ready, stopped, judging;
    uint32_t counters[FRONTS_MAX]; /* of readings, by front */
    origin  *origins[FRONTS_MAX];  /* by number */
    uint32_t origin_room[FRONTS_MAX];
    bool     ruled;
    uint64_t accepted_since_cut, sent_since_cut;
} all;

static const char *const metrics[METRICS] = { "temperature", "pressure" };

static void next(void *arg);

/* ---- requests ---- */

static void on_answer(web_request *r);

static web_request *
request(client *c, const char *method, const char *path)
{
    web_request *r = calloc(1, sizeof *r);

    ASSERT(r != NULL);
    (void)snprintf(r->method, sizeof r->method, "%s", method);
    (void)snprintf(r->path, sizeof r->path, "/api/v1%s", path);
    r->done = on_answer;
    r->client = c;
    c->r = r;
    c->idle = false;
    return r;
}

static void
body(web_request *r, const char *text)
{
    r->body = strdup(text);
    ASSERT(r->body != NULL);
    r->body_len = strlen(text);
}

/* Nobody listens: the front is being started.  Readings are given up, so that their order stays that of the lane. */
static void
send_it(void *arg)
{
    web_request *r = arg;
    client      *c = r->client;

    if (c->r != r)
        return;
    the_tally.requests++;
    if (web_send(c->front, r))
        return;
    if (c->errand == PUSH)
        on_answer(r);
    else
        sim_after(MS + sim_below(3 * MS), send_it, r);
}

static void
later(client *c, uint64_t ns)
{
    sim_after(ns, next, c);
}

/* ---- setting up ---- */

static void
set_up(client *c)
{
    web_request *r;
    char         text[512];

    c->errand = SET_UP;
    if (all.token[0] == '\0') {
        r = request(c, "POST", "/auth/register");
        body(r, "{\"email\":\"sim@example.com\",\"password\":\"correct horse 1\","
                "\"full_name\":\"Sim\",\"tenant_name\":\"Works\"}");
    } else if (all.key[0] == '\0') {
        r = request(c, "POST", "/settings/api-keys");
        body(r, "{\"name\":\"a key\",\"scopes\":[\"ingest\",\"read:sensors\",\"read:alerts\"]}");
    } else if (all.set_up == MACHINES) {
        r = request(c, "POST", "/alert-rules");
        alerts_rule(text, sizeof text, all.client[0].id);
        body(r, text);
    } else {
        r = request(c, "POST", "/machines");
        (void)snprintf(text, sizeof text,
                       "{\"name\":\"M%u\",\"machine_identifier\":\"M%u\",\"protocol\":\"json\"}",
                       all.set_up, all.set_up);
        body(r, text);
    }
    r->token = all.token[0] != '\0' ? all.token : NULL;
    send_it(r);
}

static void
copy_member(const cJSON *j, const char *name, char *out, size_t room)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(j, name);

    ASSERT(cJSON_IsString(v) && strlen(v->valuestring) < room);
    (void)snprintf(out, room, "%s", v->valuestring);
}

static void
on_set_up(client *c, const web_request *r)
{
    cJSON *j = cJSON_Parse(r->answer);

    if (r->status != 201) {
        sim_say("set up: %u %s", r->status, r->answer);
        later(c, 5 * MS);
    } else if (all.token[0] == '\0') {
        copy_member(j, "access_token", all.token, sizeof all.token);
    } else if (all.key[0] == '\0') {
        copy_member(j, "key", all.key, sizeof all.key);
    } else if (all.set_up == MACHINES) {
        all.ruled = true;
    } else {
        copy_member(j, "id", all.client[all.set_up].id, sizeof all.client[0].id);
        all.set_up++;
    }
    cJSON_Delete(j);
    if (r->status != 201)
        return;
    all.ready = all.ruled;
    for (uint32_t i = 1; all.ready && i < MACHINES; i++)
        later(&all.client[i], sim_below(MS));
    later(c, 0);
}

/* ---- pushing ---- */

static void
note_origin(const client *c, uint32_t number, uint32_t metric, uint32_t at)
{
    uint32_t room = all.origin_room[c->front];

    if (number >= room) {
        room = 2 * number + 32768;
        all.origins[c->front] = realloc(all.origins[c->front], room * sizeof(origin));
        ASSERT(all.origins[c->front] != NULL);
        all.origin_room[c->front] = room;
    }
    all.origins[c->front][number] = (origin){ (uint8_t)c->no, (uint8_t)metric, (uint16_t)at };
}

bool
clients_know(uint64_t id, uint32_t *machine, uint32_t *metric, uint32_t *at)
{
    uint32_t number = (uint32_t)id, f = (uint32_t)(id >> 32) - 1;
    origin   o;

    if (f >= FRONTS_MAX || number == 0 || number > all.counters[f])
        return false;
    o = all.origins[f][number];
    *machine = o.machine;
    *metric = o.metric;
    *at = o.at;
    return true;
}

static void
add_reading(client *c, char *text, size_t room, size_t *len)
{
    sent    *s = &c->sent[c->sent_count];
    series  *of;
    slot    *t;
    uint64_t id = (uint64_t)(c->front + 1u) << 32 | (all.counters[c->front] + 1);
    char     when[INSTANT_TEXT_MAX];
    size_t   n;

    s->metric = (uint32_t)sim_below(METRICS);
    of = &c->of[s->metric];
    s->at = of->used;
    if (of->used > 8 && (sim_one_in(12) || of->used == SLOTS_MAX))
        s->at = (uint32_t)sim_below(of->used); /* late, or once more */
    t = &of->slots[s->at];
    if (t->busy || t->maybes == MAYBES)
        return;
    if (s->at == of->used)
        of->used++;
    all.counters[c->front]++;
    note_origin(c, all.counters[c->front], s->metric, s->at);
    s->value = (double)id + (sim_one_in(2) ? HIGH : 0);
    t->busy = true;
    t->maybe[t->maybes++] = s->value;
    n = instant_format((T0 + (int64_t)s->at * STEP) * 1000000, when);
    *len += (size_t)snprintf(text + *len, room - *len,
                             "%s{\"machine_identifier\":\"M%u\",\"timestamp\":\"%.*s\",\"metric_name\":\"%s\","
                             "\"value\":%.0f,\"unit\":\"u\"}",
                             c->sent_count > 0 ? "," : "", c->no, (int)n, when, metrics[s->metric],
                             s->value);
    c->sent_count++;
}

static void
push(client *c)
{
    char         text[READINGS_MAX * 200 + 64];
    size_t       len = (size_t)snprintf(text, sizeof text, "{\"readings\":[");
    uint32_t     want = 1 + (uint32_t)sim_below(sim_one_in(4) ? READINGS_MAX : 4);
    web_request *r;

    c->errand = PUSH;
    c->sent_count = 0;
    for (uint32_t i = 0; i < want; i++)
        add_reading(c, text, sizeof text, &len);
    if (c->sent_count == 0) {
        later(c, 100 * US);
        return;
    }
    (void)snprintf(text + len, sizeof text - len, "]}");
    all.sent_since_cut += c->sent_count;
    sim_say("M%u pushes %u: %.60s ... %s", c->no, c->sent_count, text, text + len - 40);
    r = request(c, "POST", "/ingest");
    r->key = all.key;
    body(r, text);
    send_it(r);
}

static void
settle(client *c, bool accepted)
{
    for (uint32_t i = 0; i < c->sent_count; i++) {
        const sent *s = &c->sent[i];
        slot       *t = &c->of[s->metric].slots[s->at];
        bool        durable = false;

        t->busy = false;
        if (!accepted)
            continue;
        if (!disk_holds((uint64_t)s->value & ((UINT64_C(1) << 40) - 1), &durable) || !durable)
            sim_fail(ORACLE_DURABLE, "M%u: a 207 for %.0f, which is in no durable block", c->no,
                     s->value);
        sim_saw(ORACLE_DURABLE, 1);
        t->accepted = s->value;
        t->maybes = 0;
        the_tally.accepted++;
        all.accepted_since_cut++;
    }
}

static void
on_pushed(client *c, const web_request *r)
{
    cJSON       *j = r->status == 207 ? cJSON_Parse(r->answer) : NULL;
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(j, "accepted_count");
    bool         good = cJSON_IsNumber(n) && (uint32_t)n->valuedouble == c->sent_count;

    if (r->status == 207 && !good)
        sim_fail(ORACLE_DURABLE, "M%u: %u readings sent, answer %s", c->no, c->sent_count, r->answer);
    if (r->status != 207 && r->status != 503 && r->status != 507 && r->status != 0)
        sim_fail(ORACLE_DURABLE, "M%u: %u %s", c->no, r->status, r->answer);
    sim_say("M%u: pushed, %u", c->no, r->status);
    settle(c, good);
    cJSON_Delete(j);
    later(c, good ? sim_below(300 * US) : MS + sim_below(5 * MS));
}

/* ---- looking ---- */

static void
look(client *c, uint32_t metric, uint32_t from, uint32_t count)
{
    web_request *r;
    char         path[80], start[INSTANT_TEXT_MAX], end[INSTANT_TEXT_MAX];
    size_t       s, e;

    c->metric = metric;
    c->look_from = from;
    c->look_count = (uint32_t)min_u64(min_u64(count, LOOKED_MAX), c->of[metric].used - from);
    for (uint32_t i = 0; i < c->look_count; i++)
        c->look_accepted[i] = c->of[metric].slots[from + i].accepted;
    s = instant_format((T0 + (int64_t)from * STEP) * 1000000, start);
    e = instant_format((T0 + (int64_t)(from + c->look_count) * STEP) * 1000000, end);
    (void)snprintf(path, sizeof path, "/machines/%s/readings", c->id);
    r = request(c, "GET", path);
    r->key = all.key;
    (void)snprintf(r->query, sizeof r->query, "metric=%s&start=%.*s&end=%.*s&limit=1000",
                   metrics[metric], (int)s, start, (int)e, end);
    send_it(r);
}

static bool
may_be(const client *c, const slot *t, uint32_t i, double value)
{
    bool yes = value == t->accepted || value == c->look_accepted[i];

    for (uint32_t m = 0; m < t->maybes; m++)
        yes = yes || value == t->maybe[m];
    return yes && value != 0;
}

/* The points of the one series of an answer, ascending; NULL: there are none. */
static const cJSON *
points_of(const cJSON *j)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(j, "series");
    const cJSON *of = list != NULL ? cJSON_GetArrayItem(list, 0) : j;

    return cJSON_GetObjectItemCaseSensitive(of, "data");
}

static int64_t
time_of(const cJSON *point)
{
    const cJSON *t = cJSON_GetObjectItemCaseSensitive(point, "timestamp");
    int64_t      us = 0;

    ASSERT(cJSON_IsString(t) && instant_parse(view_str(t->valuestring), &us));
    return us;
}

static double
number(const cJSON *point, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(point, name);

    ASSERT(cJSON_IsNumber(v));
    return v->valuedouble;
}

/* Judges a raw answer; when `settled`, what it says is the truth from now on. */
static void
judge_raw(client *c, const cJSON *j, bool settled)
{
    const cJSON *p = points_of(j);
    uint32_t     i = 0;

    p = p != NULL ? p->child : NULL;
    for (; i < c->look_count; i++) {
        slot   *t = &c->of[c->metric].slots[c->look_from + i];
        int64_t at = (T0 + (int64_t)(c->look_from + i) * STEP) * 1000000;
        double  value = 0;

        if (p != NULL && time_of(p) == at) {
            value = number(p, "value");
            if (!may_be(c, t, i, value))
                sim_fail(ORACLE_READ, "M%u %s slot %u reads %.0f, accepted %.0f (then %.0f), %u maybes",
                         c->no, metrics[c->metric], c->look_from + i, value, t->accepted,
                         c->look_accepted[i], t->maybes);
            p = p->next;
        } else if (c->look_accepted[i] != 0) {
            sim_fail(ORACLE_READ, "M%u %s slot %u: accepted %.0f is not there", c->no,
                     metrics[c->metric], c->look_from + i, c->look_accepted[i]);
        }
        if (!settled)
            continue;
        t->accepted = value;
        t->maybes = 0;
    }
    if (p != NULL)
        sim_fail(ORACLE_READ, "M%u %s: a point that nobody asked for", c->no, metrics[c->metric]);
    sim_saw(ORACLE_READ, c->look_count);
}

static void
on_looked(client *c, const web_request *r)
{
    cJSON *j = cJSON_Parse(r->answer);

    sim_say("M%u %s: %.1000s", c->no, r->query, r->answer);
    if (r->status == 200 && j != NULL)
        judge_raw(c, j, false);
    else if (r->status != 503 && r->status != 0)
        sim_fail(ORACLE_READ, "M%u: %u %s", c->no, r->status, r->answer);
    cJSON_Delete(j);
    later(c, sim_below(MS));
}

/* ---- the last judgement ---- */

enum { SUM_SLOTS = 900 }; /* of an hour and three quarters */

static void
ask_sums(client *c)
{
    static const char *const kinds[] = { "avg", "min", "max", "sum", "count" };
    web_request             *r;
    char                     path[80], end[INSTANT_TEXT_MAX];
    size_t                   e;

    (void)snprintf(path, sizeof path, "/machines/%s/readings", c->id);
    r = request(c, "GET", path);
    r->key = all.key;
    e = instant_format((T0 + (int64_t)SLOTS_MAX * STEP) * 1000000, end);
    (void)snprintf(r->query, sizeof r->query,
                   "metric=%s&start=2025-12-22T00:00:00Z&end=%.*s&interval=%s&"
                   "aggregation=%s&limit=1000",
                   metrics[c->metric], (int)e, end, sim_one_in(2) ? "1h" : "5m",
                   kinds[c->judged % COUNT_OF(kinds)]);
    send_it(r);
}

/* A number that was one of ours loses nothing on its way; a mean may round. */
static bool
same(double a, double b)
{
    double d = a > b ? a - b : b - a;

    return d <= 1e-9 * (a > 0 ? a : -a);
}

static double
expected(const client *c, const char *query, int64_t from_us, bool hours)
{
    double   sum = 0, least = 0, most = 0;
    uint32_t n = 0;
    int64_t  until = from_us + (hours ? 3600 : 300) * INT64_C(1000000);

    for (uint32_t i = 0; i < c->of[c->metric].used; i++) {
        int64_t at = (T0 + (int64_t)i * STEP) * 1000000;
        double  v = c->of[c->metric].slots[i].accepted;

        if (at < from_us || at >= until || v == 0)
            continue;
        sum += v;
        least = n == 0 || v < least ? v : least;
        most = n == 0 || v > most ? v : most;
        n++;
    }
    if (strstr(query, "=avg") != NULL)
        return n > 0 ? sum / n : 0;
    return strstr(query, "=min") != NULL   ? least
           : strstr(query, "=max") != NULL ? most
           : strstr(query, "=sum") != NULL ? sum
                                           : n;
}

static uint32_t
buckets(const client *c, bool hours)
{
    int64_t  last = -1;
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->of[c->metric].used; i++) {
        int64_t b = (T0 + (int64_t)i * STEP) / (hours ? 3600 : 300);

        if (c->of[c->metric].slots[i].accepted == 0 || b == last)
            continue;
        last = b;
        n++;
    }
    return n;
}

static void
judge_sums(const client *c, const web_request *r, const cJSON *j)
{
    const cJSON *list = points_of(j), *p;
    bool         hours = strstr(r->query, "=1h") != NULL;
    uint32_t     n = 0;

    cJSON_ArrayForEach(p, list)
    {
        double want = expected(c, r->query, time_of(p), hours), is = number(p, "value");

        if (!same(want, is))
            sim_fail(ORACLE_QUERY, "M%u %s: %.17g where the model says %.17g", c->no, r->query, is, want);
        n++;
    }
    if (n != buckets(c, hours))
        sim_fail(ORACLE_QUERY, "M%u %s: %u buckets where the model has %u", c->no, r->query, n,
                 buckets(c, hours));
    sim_saw(ORACLE_QUERY, n);
}

static void
ask_alerts(client *c)
{
    web_request *r = request(c, "GET", "/alerts");

    c->errand = JUDGE_ALERTS;
    r->key = all.key;
    (void)snprintf(r->query, sizeof r->query, "page=%u&page_size=100", c->page);
    send_it(r);
}

/* The last page is the one that is not full. */
static void
take_alerts(client *c, const cJSON *j)
{
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(j, "items"), *a;
    uint32_t     n = 0;

    cJSON_ArrayForEach(a, items)
    {
        const cJSON *status = cJSON_GetObjectItemCaseSensitive(a, "status");

        ASSERT(cJSON_IsString(status));
        alerts_told(number(a, "metric_value"), strcmp(status->valuestring, "open") == 0);
        n++;
    }
    c->page = n < 100 ? 0 : c->page + 1;
    if (c->page == 0)
        alerts_judge();
}

/* First every slot as it is, then sums over what is known by then. */
static void
judge_next(client *c)
{
    if (c->metric < METRICS && c->errand == JUDGE_RAW) {
        uint32_t from = c->look_from + c->look_count;

        if (from < c->of[c->metric].used) {
            look(c, c->metric, from, LOOKED_MAX);
            return;
        }
        c->look_from = c->look_count = 0;
        if (++c->metric < METRICS) {
            later(c, 0);
            return;
        }
        c->errand = JUDGE_SUMS;
        c->metric = 0;
        c->judged = (uint32_t)sim_below(5);
    }
    if (c->metric < METRICS)
        ask_sums(c);
    else if (c->no == 0 && c->page > 0)
        ask_alerts(c);
    else
        c->idle = true;
}

static void
on_judged(client *c, const web_request *r)
{
    cJSON *j = cJSON_Parse(r->answer);

    if (r->status != 200 || j == NULL)
        sim_fail(ORACLE_DRAIN, "M%u: %u %s, although nothing goes wrong any longer", c->no,
                 r->status, r->answer);
    if (c->errand == JUDGE_RAW) {
        judge_raw(c, j, true);
    } else if (c->errand == JUDGE_ALERTS) {
        take_alerts(c, j);
    } else {
        judge_sums(c, r, j);
        c->judged++;
        c->metric++;
    }
    cJSON_Delete(j);
    later(c, 0);
}

/* ---- what is next ---- */

static void
on_answer(web_request *r)
{
    client *c = r->client;

    c->r = NULL;
    sim_mix(r->status ^ (uint64_t)c->no << 32 ^ (uint64_t)r->answer_len << 40);
    switch (c->errand) {
    case SET_UP:
        on_set_up(c, r);
        break;
    case PUSH:
        on_pushed(c, r);
        break;
    case LOOK:
        on_looked(c, r);
        break;
    default:
        on_judged(c, r);
        break;
    }
    web_free(r);
}

/* The client goes while its request is under way. */
static void
leave(void *arg)
{
    client *c = arg;

    if (c->r == NULL || c->errand != PUSH || c->left_at != c->r->body_len)
        return;
    sim_fault(FAULT_LEAVE);
    web_leave(c->r);
    c->r = NULL; /* the queue may still have it: not freed */
    settle(c, false);
    later(c, sim_below(MS));
}

static void
next(void *arg)
{
    client *c = arg;

    if (all.judging) {
        judge_next(c);
    } else if (!all.ready) {
        set_up(c);
    } else if (all.stopped) {
        c->idle = true;
    } else if (sim_one_in(40) && c->of[0].used > 0) {
        uint32_t used = c->of[0].used;

        c->errand = LOOK;
        look(c, 0, (uint32_t)sim_below(used), 1 + (uint32_t)sim_below(60));
    } else {
        push(c);
        if (c->r != NULL && faults_have(FAULT_LEAVE) && sim_one_in(300)) {
            c->left_at = c->r->body_len;
            sim_after(sim_below(MS), leave, c);
        }
    }
}

void
clients_begin(void)
{
    for (uint32_t i = 0; i < MACHINES; i++) {
        all.client[i].no = i;
        all.client[i].front = (uint16_t)(i % node_fronts());
    }
    later(&all.client[0], 0);
}

bool
clients_ready(void)
{
    return all.ready;
}

void
clients_stop(void)
{
    all.stopped = true;
}

bool
clients_idle(void)
{
    for (uint32_t i = 0; i < MACHINES; i++)
        if (!all.client[i].idle)
            return false;
    return true;
}

void
clients_judge(void)
{
    uint64_t counted = node_readings();

    /* No more than what was sent; and where nobody was killed before he could count, no less than what was answered. */
    if ((counted < all.accepted_since_cut && !node_has_died()) || counted > all.sent_since_cut)
        sim_fail(ORACLE_COUNT, "%llu readings counted, %llu accepted, %llu sent",
                 (unsigned long long)counted, (unsigned long long)all.accepted_since_cut,
                 (unsigned long long)all.sent_since_cut);
    sim_saw(ORACLE_COUNT, 1);
    all.judging = true;
    for (uint32_t i = 0; i < MACHINES; i++) {
        client *c = &all.client[i];

        c->idle = false;
        c->errand = JUDGE_RAW;
        c->page = 1;
        c->metric = c->look_from = c->look_count = 0;
        later(c, 0);
    }
}

void
clients_power_cut(void)
{
    all.accepted_since_cut = all.sent_since_cut = 0;
}
