/* stir.c - see stir.h. */
#include "bench/stir.h"

#include "bench/viewers.h"
#include "proto/err.h"
#include "proto/instant.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { METRICS = 5, READING_MAX = 200 };
static const char head[] = "{\"readings\":[";

static size_t
begin_body(stir *s)
{
    memcpy(s->body, head, sizeof head - 1);
    return sizeof head - 1;
}

static size_t
write_reading(stir *s, size_t at, uint32_t machine, const char *metric, double value)
{
    char    when[INSTANT_TEXT_MAX + 1];
    int64_t us = (int64_t)time(NULL) * 1000000 + (int64_t)(s->sent++ % 1000000);

    when[instant_format(us, when)] = '\0';
    return at + (size_t)snprintf(s->body + at, READING_MAX,
                                 "%s{\"machine_identifier\":\"CNC-%05u\",\"timestamp\":\"%s\",\"metric_name\":\"%s\",\"value\":%.3f,"
                                 "\"unit\":\"ms\"}",
                                 s->body[at - 1] == '[' ? "" : ",", machine, when, metric, value);
}

static int
push_body(stir *s, size_t at)
{
    client_answer a = { 0 };
    int           rc;

    at += (size_t)snprintf(s->body + at, 4, "]}");
    rc = client_call(&s->source, "POST", "/api/v1/ingest", view_of(s->body, at), &a);
    if (rc < 0 || a.status != 207)
        return err(rc < 0 ? rc : E_BAD, "push the tenant's readings (status %d)", a.status);
    return E_OK;
}

int
stir_events(stir *s, uint64_t count)
{
    size_t at = begin_body(s);

    ASSERT(count > 0 && count <= STIR_EVENTS_MAX);
    for (uint64_t i = 0; i < count; i++) {
        char metric[16];

        (void)snprintf(metric, sizeof metric, "metric%" PRIu64, s->sent / s->machines % METRICS);
        at = write_reading(s, at, (uint32_t)(s->sent % s->machines), metric, viewers_clock_ms());
    }
    return push_body(s, at);
}

int
stir_alarm(stir *s)
{
    uint32_t machine = (uint32_t)(s->raised++ % s->machines);
    int      rc = push_body(s, write_reading(s, begin_body(s), machine, "alarm", viewers_clock_ms()));

    return rc < 0 ? rc : push_body(s, write_reading(s, begin_body(s), machine, "alarm", -1));
}

static int
make_rule(target *t)
{
    cJSON *answer = NULL;
    int    status = client_json(&t->admin, "POST", "/api/v1/alert-rules",
                                "{\"name\":\"bench\",\"metric_name\":\"alarm\",\"operator\":\"gt\",\"threshold\":0,\"severity\":\"info\"}",
                                &answer);

    cJSON_Delete(answer);
    return status == 201 ? E_OK : err(E_BAD, "make the rule (status %d)", status);
}

int
stir_open(stir *s, target *t, uint32_t machines)
{
    static const char bearer[] = "Authorization: Bearer ";
    char            (*ids)[37] = calloc(machines, sizeof *ids);
    const char       *token = t->admin.auth + sizeof bearer - 1;
    int               rc;

    s->machines = machines;
    s->body = malloc((STIR_EVENTS_MAX + 1) * READING_MAX);
    ASSERT(ids != NULL && s->body != NULL);
    rc = target_machines(t, machines, ids);
    free(ids);
    if (rc < 0 || (rc = make_rule(t)) < 0 || (rc = client_open(&s->source, t->where)) < 0)
        return rc;
    (void)snprintf(s->source.auth, sizeof s->source.auth, "X-API-Key: %s\r\n", t->key);
    (void)snprintf(s->token, sizeof s->token, "%.*s", (int)strcspn(token, "\r"), token);
    return E_OK;
}

void
stir_close(stir *s)
{
    client_close(&s->source);
    free(s->body);
    s->body = NULL;
}
