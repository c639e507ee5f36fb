/* erase.c - DELETE /machines/{id}/readings: noted in the audit log, then told to the machine's partition.
 *
 *   front --READINGS_DELETE--> registry: allowed, audited
 *   front --ERASE-----------> ingest.p:  durable, gone from heads, chunks, rollups and latest  --> 204
 *
 * A delete that failed on the way may be noted and not done; sending it again is harmless.
 */
#include "actors/kinds.h"
#include "api/front.h"
#include "proto/err.h"
#include "proto/instant.h"

#include <stdio.h>
#include <stdlib.h>

enum { METRICS_MAX = 100, ASK_SERIES_MAX = 16000, ERASE_MS = 10000 };

typedef struct erase_job {
    board_machine machine;
    int64_t       from_us, to_us;
    uint32_t     *series; /* owned */
    uint32_t      count, told;
} erase_job;

static void
drop(void *kept)
{
    erase_job *e = kept;

    free(e->series);
}

static view
string_member(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(item) ? view_str(item->valuestring) : (view){ 0 };
}

static bool
is_named(const cJSON *metrics, view metric)
{
    const cJSON *item;

    if (!cJSON_IsArray(metrics))
        return true; /* none named: all */
    cJSON_ArrayForEach(item, metrics)
    {
        if (view_eq(view_str(item->valuestring), metric))
            return true;
    }
    return false;
}

static void
collect_series(erase_job *e, const board *b, const cJSON *metrics)
{
    uint16_t part = e->machine.part;
    uint32_t most = table_count(board_table(b, BOARD_SERIES, part));
    uint32_t s = board_machine_first_series(b, part, e->machine.no);
    uint32_t room = 0;

    for (uint32_t i = 0; s != 0 && i < most; i++, s = board_next_series(b, part, s)) {
        board_series r;

        if (!table_read(board_table(b, BOARD_SERIES, part), s, &r) ||
            !is_named(metrics, board_string(b, BOARD_SERIES, part, r.metric)))
            continue;
        if (e->count == room) {
            room = room == 0 ? 64 : room * 2;
            e->series = realloc(e->series, room * sizeof *e->series);
            ASSERT(e->series != NULL);
        }
        e->series[e->count++] = s;
    }
}

static void tell_partition(call *c, erase_job *e);

static void
stored_by(call *c, const ak_msg *reply)
{
    erase_job *e = call_kept(c);
    stored     s = { .rc = E_BAD };

    if (reply->len >= sizeof s)
        memcpy(&s, reply->body, sizeof s);
    if (s.rc == E_LIMIT)
        call_fail(c, 503, "Too many deletions are under way; retry.");
    else if (s.rc < 0)
        call_unavailable(c, KIND_INGEST, s.rc);
    else
        tell_partition(c, e);
}

/* The next of its series; a machine rarely has more than fit one message. */
static void
tell_partition(call *c, erase_job *e)
{
    uint32_t   n = e->count - e->told < ASK_SERIES_MAX ? e->count - e->told : ASK_SERIES_MAX;
    erase_ask  head = { .from_us = e->from_us, .to_us = e->to_us, .series_count = n, .tenant = c->who.tenant };
    uint8_t   *body;
    size_t     len = sizeof head + n * sizeof *e->series;

    if (n == 0) {
        call_send_empty(c, 204);
        return;
    }
    body = call_alloc(c, len);
    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, e->series + e->told, n * sizeof *e->series);
    e->told += n;
    call_ask(c, addr_of(KIND_INGEST, e->machine.part), MSG_ERASE, body, (uint32_t)len, stored_by);
}

static void
audited(call *c, const ak_msg *reply)
{
    reg_done head;
    view     value;

    if (!call_reg_reply(c, reply, &head, &value))
        return;
    if (head.status >= 400)
        route_registry_answer(c, reply);
    else
        tell_partition(c, call_kept(c));
}

static void
ask_audit(call *c, const erase_job *e, const cJSON *metrics)
{
    const cJSON *item;
    char         text[1024];
    size_t       len = instant_format(e->from_us, text);
    pack         p;

    text[len++] = '/';
    len += instant_format(e->to_us, text + len);
    cJSON_ArrayForEach(item, metrics)
    {
        int n = snprintf(text + len, sizeof text - len, " %s", item->valuestring);

        if (n < 0 || (size_t)n >= sizeof text - len)
            break; /* cut: the entry is bounded */
        len += (size_t)n;
    }
    pack_init(&p);
    pack_map(&p, 2);
    pack_name_uuid(&p, "id", &e->machine.id);
    pack_name_str(&p, "details", view_of(text, len));
    call_registry(c, REG_READINGS_DELETE, pack_view(&p), audited);
    pack_fini(&p);
}

static bool
take_time(call *c, const char *name, int64_t *out)
{
    view text = string_member(call_query(c), name);

    if (instant_parse(text, out))
        return true;
    call_fail_field(c, "query", name, "Time is not RFC 3339.", "value_error");
    return false;
}

static void
delete_readings(call *c)
{
    const cJSON *metrics = cJSON_GetObjectItemCaseSensitive(call_query(c), "metric");
    erase_job   *e = call_alloc(c, sizeof *e);
    uuid         id;

    call_keep(c, e, drop);
    if (!call_param_uuid(c, "id", &id) || board_find_machine_id(c->f->board, &id, &e->machine) == 0 ||
        e->machine.tenant != c->who.tenant || !(e->machine.flags & BOARD_LIVE) ||
        e->machine.part >= board_parts(c->f->board)) {
        call_fail(c, 404, "Machine not found.");
        return;
    }
    if (!take_time(c, "start", &e->from_us) || !take_time(c, "end", &e->to_us))
        return;
    if (e->from_us >= e->to_us) {
        call_fail_field(c, "query", "end", "Start must be before end.", "value_error");
        return;
    }
    collect_series(e, c->f->board, metrics);
    ask_audit(c, e, metrics);
}

/* ---- rows ---- */

static const field metric_item[] = {
    { "metric", FIELD_STRING, 0, 1, 255, NULL, NULL, "name of a metric" },
    { 0 },
};
static const field erase_fields[] = {
    { "metric", FIELD_ARRAY, 0, 1, METRICS_MAX, NULL, metric_item, "names; none: all of the machine" },
    { "start", FIELD_TIME, FIELD_REQUIRED, 0, 0, NULL, NULL, "first instant that goes" },
    { "end", FIELD_TIME, FIELD_REQUIRED, 0, 0, NULL, NULL, "first instant that stays" },
    { 0 },
};
static const schema erase_schema = { "ReadingsDelete", erase_fields };

extern const route erase_routes[];

const route erase_routes[] = {
    { DELETE_, 204, WHO_ADMIN, 0, ERASE_MS, "/machines/{id}/readings", &erase_schema, NULL, delete_readings, 0,
      "Delete readings of a time range; what is accepted later in it stays" },
    { 0 },
};
