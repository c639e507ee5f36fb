/* retention.c - /settings/retention: how long readings are kept, per tenant and pattern of metrics.
 *
 *   PUT   registry: allowed, audited  -->  every partition: stored, durable  -->  200
 *   GET   partition 0 says the rules; a preview asks every partition what they would take
 *
 * The partitions keep the rules, because they carry them out.  A PUT that failed half-way is sent again.
 */
#include "actors/kinds.h"
#include "api/front.h"
#include "proto/err.h"

#include <stdlib.h>

enum { RULES_MAX = 64, RULES_LEN_MAX = 24 << 10, WITHIN_MS = 5000, BODY_MAX = 64 << 10 };

typedef struct retention_job {
    uint32_t op;
    uint16_t part; /* that is asked */
    bool     complete;
    uint64_t readings, rollup_readings;
    uint32_t len;
    uint8_t  rules[RULES_LEN_MAX];
} retention_job;

/* ---- answering ---- */

static void
write_rules(json_out *j, view bytes)
{
    json_name(j, VIEW_LIT("policies"));
    json_open(j, '[');
    while (bytes.len >= sizeof(retain_row)) {
        retain_row r;

        memcpy(&r, bytes.at, sizeof r);
        if (r.pattern_len > bytes.len - sizeof r)
            break;
        json_open(j, '{');
        json_name_string(j, "metric_pattern", view_of(bytes.at + sizeof r, r.pattern_len));
        if (r.raw_days > 0)
            json_name_int(j, "raw_days", r.raw_days);
        else
            json_name_null(j, "raw_days");
        if (r.rollup_days > 0)
            json_name_int(j, "rollup_days", r.rollup_days);
        else
            json_name_null(j, "rollup_days");
        json_close(j, '}');
        bytes = view_of(bytes.at + sizeof r + r.pattern_len, bytes.len - sizeof r - r.pattern_len);
    }
    json_close(j, ']');
}

static void
answer(call *c, const retention_job *r, view rules)
{
    json_out *j = call_json(c);

    json_open(j, '{');
    write_rules(j, rules);
    json_name(j, VIEW_LIT("preview"));
    if (r->op == RETENTION_GET) {
        json_null(j);
    } else {
        json_open(j, '{');
        json_name_int(j, "readings", (int64_t)r->readings);
        json_name_int(j, "rollup_readings", (int64_t)r->rollup_readings);
        json_name_bool(j, "complete", r->complete);
        json_close(j, '}');
    }
    json_close(j, '}');
    call_send_json(c, 200);
}

/* ---- asking the partitions, one after the other ---- */

static void ask_partition(call *c, retention_job *r);

static void
retained_by(call *c, const ak_msg *reply)
{
    retention_job *r = call_kept(c);
    retained       head = { .rc = E_BAD };
    view           rules;

    if (reply->len >= sizeof head)
        memcpy(&head, reply->body, sizeof head);
    if (head.rc == E_OK && head.len > reply->len - sizeof head)
        head.rc = E_BAD;
    if (head.rc < 0) {
        call_unavailable(c, KIND_INGEST, head.rc);
        return;
    }
    rules = r->op == RETENTION_PREVIEW ? view_of(r->rules, r->len)
                                       : view_of((const uint8_t *)reply->body + sizeof head, head.len);
    r->readings += head.readings;
    r->rollup_readings += head.rollup_readings;
    r->complete = r->complete && head.complete;
    if (r->op != RETENTION_GET && ++r->part < board_parts(c->f->board))
        ask_partition(c, r);
    else
        answer(c, r, rules);
}

static void
ask_partition(call *c, retention_job *r)
{
    retention_ask head = { .tenant = c->who.tenant, .op = r->op, .len = r->len };
    uint8_t      *body = call_alloc(c, sizeof head + r->len);

    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, r->rules, r->len);
    call_ask(c, addr_of(KIND_INGEST, r->part), MSG_RETENTION, body, (uint32_t)(sizeof head + r->len), retained_by);
}

static retention_job *
new_job(call *c, uint32_t op)
{
    retention_job *r = call_alloc(c, sizeof *r);

    r->op = op;
    r->complete = true;
    call_keep(c, r, NULL);
    return r;
}

static void
get_retention(call *c)
{
    ask_partition(c, new_job(c, RETENTION_GET));
}

/* ---- setting ---- */

static uint32_t
days_of(const cJSON *item, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(item, name);

    return cJSON_IsNumber(n) ? (uint32_t)n->valuedouble : 0;
}

/* False: answered. */
static bool
take_rules(call *c, retention_job *r)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(call_body(c), "policies"))
    {
        const cJSON *pattern = cJSON_GetObjectItemCaseSensitive(item, "metric_pattern");
        retain_row   row = { .raw_days = days_of(item, "raw_days"), .rollup_days = days_of(item, "rollup_days") };
        size_t       len = strlen(pattern->valuestring);

        row.pattern_len = (uint32_t)len;
        if (row.rollup_days != 0 && (row.raw_days == 0 || row.rollup_days < row.raw_days)) {
            call_fail_field(c, "body", "policies", "Rollups are kept at least as long as raw readings.", "value_error");
            return false;
        }
        if (r->len + sizeof row + len > sizeof r->rules) {
            call_fail_field(c, "body", "policies", "Too long.", "value_error");
            return false;
        }
        memcpy(r->rules + r->len, &row, sizeof row);
        memcpy(r->rules + r->len + sizeof row, pattern->valuestring, len);
        r->len += (uint32_t)(sizeof row + len);
    }
    return true;
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
        ask_partition(c, call_kept(c));
}

static void
put_retention(call *c)
{
    bool           preview = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(call_query(c), "preview"));
    retention_job *r = new_job(c, preview ? RETENTION_PREVIEW : RETENTION_SET);
    char          *text;
    pack           p;

    if (!take_rules(c, r))
        return;
    if (preview) {
        ask_partition(c, r);
        return;
    }
    text = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(call_body(c), "policies"));
    ASSERT(text != NULL);
    pack_init(&p);
    pack_map(&p, 1);
    pack_name_str(&p, "details", view_str(text));
    call_registry(c, REG_RETENTION_SET, pack_view(&p), audited);
    pack_fini(&p);
    cJSON_free(text);
}

/* ---- rows ---- */

static const field policy_fields[] = {
    { "metric_pattern", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, "'*' is any characters, '?' one" },
    { "raw_days", FIELD_INTEGER, FIELD_NULL, 1, 36500, NULL, NULL, "readings are kept so long; null: for ever" },
    { "rollup_days", FIELD_INTEGER, FIELD_NULL, 1, 36500, NULL, NULL,
      "their hours are kept so long, at least raw_days; null: for ever" },
    { 0 },
};
static const field policy_item[] = { { "policy", FIELD_OBJECT, 0, 0, 0, NULL, policy_fields, NULL }, { 0 } };
static const field put_fields[] = {
    { "policies", FIELD_ARRAY, FIELD_REQUIRED, 0, RULES_MAX, NULL, policy_item,
      "the first whose pattern fits a metric counts; none: for ever" },
    { 0 },
};
static const schema put_schema = { "Retention", put_fields };
static const field preview_fields[] = {
    { "preview", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, "say what would go, and change nothing" },
    { 0 },
};
static const schema preview_schema = { "RetentionPreview", preview_fields };

extern const route retention_routes[];

const route retention_routes[] = {
    { GET, 200, WHO_ADMIN, 0, WITHIN_MS, "/settings/retention", NULL, NULL, get_retention, 0,
      "How long readings are kept" },
    { PUT, 200, WHO_ADMIN, BODY_MAX, WITHIN_MS, "/settings/retention", &preview_schema, &put_schema, put_retention, 0,
      "Set how long readings are kept, or see what that would take" },
    { 0 },
};
