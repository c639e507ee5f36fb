/* describe.c - /openapi.json: the API description, from the rows the router runs on (describe.h).
 *
 *   route rows ----> paths: methods, parameters, bodies, who may, what can go wrong
 *   schemas -------> components/schemas
 *   descriptions --> bodies of answers
 *
 * Made at the start, once a process; every answer is the same bytes.
 */
#include "api/describe.h"

#include "api/etag.h"
#include "api/front.h"
#include "api/registry.h"
#include "proto/err.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>

enum { COMPONENTS_MAX = 256, ID_MAX = 160, OPERATIONS_MAX = 512 };

static const char *const verbs[METHODS] = { "", "get", "post", "put", "patch", "delete" };
static const char        role_names[][10] = { "", "viewer", "operator", "admin" };

typedef struct maker {
    json_out     *j;
    const schema *components[COMPONENTS_MAX];
    uint32_t      component_count;
} maker;

static json_out document;
static int      build_rc;
static route_fn get_openapi;

/* ---- small writers ---- */
static void
text(json_out *j, const char *name, const char *value)
{
    json_name_string(j, name, view_str(value));
}

static void
open_name(json_out *j, const char *name, char bracket)
{
    json_name(j, view_str(name));
    json_open(j, bracket);
}

static void
reference(json_out *j, const char *kind, const char *name)
{
    char at[ID_MAX];

    snprintf(at, sizeof at, "#/components/%s/%s", kind, name);
    json_open(j, '{');
    text(j, "$ref", at);
    json_close(j, '}');
}

/* ---- schemas ---- */
static int
add_component(maker *m, const schema *s)
{
    for (uint32_t i = 0; s != NULL && i < m->component_count; i++)
        if (strcmp(m->components[i]->name, s->name) == 0)
            return m->components[i]->fields == s->fields
                       ? E_OK
                       : err(E_EXISTS, "two schemas named %s", s->name);
    if (s == NULL)
        return E_OK;
    if (m->component_count == COMPONENTS_MAX)
        return err(E_FULL, "schema %s", s->name);
    m->components[m->component_count++] = s;
    return E_OK;
}

static const schema *
component_of(const maker *m, const field *fields)
{
    for (uint32_t i = 0; fields != NULL && i < m->component_count; i++)
        if (m->components[i]->fields == fields)
            return m->components[i];
    return NULL;
}

static const struct {
    const char *type; /* NULL: any */
    const char *format;
    const char *min;
    const char *max;
} shapes[] = {
    [FIELD_STRING] = { "string", NULL, "minLength", "maxLength" },
    [FIELD_NUMBER] = { "number", NULL, "minimum", "maximum" },
    [FIELD_INTEGER] = { "integer", NULL, "minimum", "maximum" },
    [FIELD_BOOLEAN] = { "boolean", NULL, NULL, NULL },
    [FIELD_UUID] = { "string", "uuid", NULL, NULL },
    [FIELD_TIME] = { "string", "date-time", NULL, NULL },
    [FIELD_EMAIL] = { "string", "email", NULL, NULL },
    [FIELD_ENUM] = { "string", NULL, NULL, NULL },
    [FIELD_ARRAY] = { "array", NULL, "minItems", "maxItems" },
    [FIELD_OBJECT] = { "object", NULL, NULL, NULL },
    [FIELD_ANY] = { NULL, NULL, NULL, NULL },
};

static void
put_type(json_out *j, const field *f)
{
    const char *type = shapes[f->type].type;

    if (type == NULL)
        return;
    if (!(f->flags & FIELD_NULL)) {
        text(j, "type", type);
        return;
    }
    open_name(j, "type", '[');
    json_string(j, view_str(type));
    json_string(j, VIEW_LIT("null"));
    json_close(j, ']');
}

/* As schema.c reads them: numbers have both bounds or none, lengths and counts each on its own. */
static void
put_bounds(json_out *j, const field *f)
{
    bool is_number = f->type == FIELD_NUMBER || f->type == FIELD_INTEGER;

    if (shapes[f->type].min == NULL || (is_number && f->min >= f->max))
        return;
    if (is_number || f->min > 0)
        json_name_number(j, shapes[f->type].min, f->min);
    if (is_number || f->max > 0)
        json_name_number(j, shapes[f->type].max, f->max);
}

static void
put_words(json_out *j, const field *f)
{
    const char *at = f->words;

    if (f->type != FIELD_ENUM || at == NULL)
        return;
    open_name(j, "enum", '[');
    for (;;) {
        size_t len = strcspn(at, "|");

        json_string(j, view_of(at, len));
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    if (f->flags & FIELD_NULL)
        json_null(j);
    json_close(j, ']');
}

static void put_field(const maker *m, const field *f, bool brief);

static void
put_members(const maker *m, const field *fields)
{
    uint32_t required = 0;

    open_name(m->j, "properties", '{');
    for (const field *f = fields; f->type != FIELD_END; f++) {
        json_name(m->j, view_str(f->name));
        put_field(m, f, true);
        required += (f->flags & FIELD_REQUIRED) != 0;
    }
    json_close(m->j, '}');
    if (required == 0)
        return;
    open_name(m->j, "required", '[');
    for (const field *f = fields; f->type != FIELD_END; f++)
        if (f->flags & FIELD_REQUIRED)
            json_string(m->j, view_str(f->name));
    json_close(m->j, ']');
}

/* The tables are ours and nest as deep as they are written. */
static void
put_field(const maker *m, const field *f, bool brief)
{
    const schema *known = f->type == FIELD_OBJECT ? component_of(m, f->of) : NULL;

    if (known != NULL) {
        reference(m->j, "schemas", known->name);
        return;
    }
    json_open(m->j, '{');
    put_type(m->j, f);
    if (shapes[f->type].format != NULL)
        text(m->j, "format", shapes[f->type].format);
    put_bounds(m->j, f);
    put_words(m->j, f);
    if (brief && f->brief != NULL)
        text(m->j, "description", f->brief);
    if (f->type == FIELD_OBJECT && f->of != NULL) {
        put_members(m, f->of);
    } else if (f->type == FIELD_OBJECT) { /* else those who make types of it take it for one that is always empty */
        json_name(m->j, VIEW_LIT("additionalProperties"));
        json_bool(m->j, true);
    }
    if (f->type == FIELD_ARRAY) {
        json_name(m->j, VIEW_LIT("items"));
        if (f->of != NULL)
            put_field(m, f->of, true);
        else
            json_raw(m->j, VIEW_LIT("{}")); /* anything */
    }
    json_close(m->j, '}');
}

/* ---- one operation ---- */
static bool
is_outside(const route *r)
{
    return r->path[0] == '!';
}

static void
full_path(const route *r, char out[ID_MAX])
{
    snprintf(out, ID_MAX, "%s%s", is_outside(r) ? "" : "/api/v1", r->path + is_outside(r));
}

static const description *
description_of(const route *r)
{
    static const description none = { 0 };

    for (const description *d = descriptions; d->method != 0; d++)
        if (d->method == r->method && strcmp(d->path, r->path) == 0)
            return d;
    return &none;
}

/* GET "/machines/{id}/readings" -> get_machines_by_id_readings */
static void
put_operation_id(json_out *j, const route *r)
{
    char   id[ID_MAX];
    size_t n = (size_t)snprintf(id, sizeof id, "%s", verbs[r->method]);

    for (const char *p = r->path + is_outside(r); *p != '\0' && n < sizeof id - 8; p++)
        if (*p == '{')
            n += (size_t)snprintf(id + n, sizeof id - n, "by_");
        else if (*p != '}')
            id[n++] = isalnum((unsigned char)*p) ? *p : '_';
    json_name_string(j, "operationId", view_of(id, n));
}

static void
put_tags(json_out *j, const route *r)
{
    const char *first = r->path + 1;

    open_name(j, "tags", '[');
    if (is_outside(r))
        json_string(j, VIEW_LIT("operations"));
    else if (strstr(r->path, "/readings") != NULL)
        json_string(j, VIEW_LIT("readings"));
    else
        json_string(j, view_of(first, strcspn(first, "/")));
    json_close(j, ']');
}

static void
put_parameter(const maker *m, const field *f, const char *in)
{
    json_open(m->j, '{');
    json_name_string(m->j, "name", view_str(f->name));
    text(m->j, "in", in);
    if (f->flags & FIELD_REQUIRED)
        json_name_bool(m->j, "required", true);
    if (f->brief != NULL)
        text(m->j, "description", f->brief);
    json_name(m->j, VIEW_LIT("schema"));
    put_field(m, f, false);
    json_close(m->j, '}');
}

static void
put_parameters(const maker *m, const route *r)
{
    bool has_query = r->query != NULL && r->query->fields[0].type != FIELD_END;

    if (strchr(r->path, '{') == NULL && !has_query)
        return;
    open_name(m->j, "parameters", '[');
    for (const char *p = strchr(r->path, '{'); p != NULL; p = strchr(p + 1, '{')) {
        char  name[64];
        field f = { name, FIELD_UUID, FIELD_REQUIRED, 0, 0, NULL, NULL, NULL };

        snprintf(name, sizeof name, "%.*s", (int)strcspn(p + 1, "}"), p + 1);
        put_parameter(m, &f, "path");
    }
    for (const field *f = r->query == NULL ? NULL : r->query->fields;
         f != NULL && f->type != FIELD_END; f++)
        put_parameter(m, f, "query");
    json_close(m->j, ']');
}

static void
put_content(json_out *j, const schema *s, const char *media_types)
{
    open_name(j, "content", '{');
    for (const char *at = media_types;;) {
        size_t len = strcspn(at, "|");

        json_name(j, view_of(at, len));
        json_open(j, '{');
        json_name(j, VIEW_LIT("schema"));
        reference(j, "schemas", s->name);
        json_close(j, '}');
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    json_close(j, '}');
}

static void
put_request(json_out *j, const route *r, const description *d)
{
    const schema *s = r->body != NULL ? r->body : d->request;

    if (s == NULL)
        return;
    open_name(j, "requestBody", '{');
    json_name_bool(j, "required", true);
    put_content(j, s, d->media_types != NULL ? d->media_types : "application/json");
    json_close(j, '}');
}

static void
put_demand(json_out *j, const char *scheme, const char *role)
{
    json_open(j, '{');
    open_name(j, scheme, '[');
    if (role != NULL)
        json_string(j, view_str(role));
    json_close(j, ']');
    json_close(j, '}');
}

/* One of these; none: open. */
static void
put_security(json_out *j, const route *r)
{
    uint32_t role = WHO_ROLE(r->who);

    open_name(j, "security", '[');
    if (r->op == REG_REFRESH)
        put_demand(j, "refreshCookie", NULL);
    if (role >= WHO_VIEWER && role <= WHO_ADMIN)
        put_demand(j, "bearer", role_names[role]);
    for (int i = 0; scope_words[i] != NULL; i++)
        if (r->who >> 8 & (1u << i))
            put_demand(j, "apiKey", scope_words[i]);
    json_close(j, ']');
}

/* ---- answers ---- */
enum trait {
    WITH_CREDENTIALS = 1,
    WITH_LIMIT = 2, /* of requests */
    WITH_BODY = 4,
    WITH_FIELDS = 8, /* of a body or a query */
    WITH_NAME = 16,  /* a parameter of the path, or a member that names another thing */
    WITH_WRITE = 32,
    WITH_ASK = 64,
    WITH_NEW = 128, /* what there is must not be there twice */
};

static uint32_t
traits_of(const route *r)
{
    const reg_op_row *op = r->op == 0 ? NULL : reg_op_row_of(r->op);
    bool              is_ingest = WHO_ROLE(r->who) == WHO_NOBODY;
    uint32_t          t = 0;

    t |= WHO_ROLE(r->who) != WHO_OPEN || r->op == REG_REFRESH || r->op == REG_SESSION
             ? WITH_CREDENTIALS
             : 0;
    t |= WHO_ROLE(r->who) != WHO_OPEN || r->method != GET ? WITH_LIMIT : 0;
    t |= r->body_max > 0 ? WITH_BODY : 0;
    t |= r->body != NULL || r->query != NULL || is_ingest ? WITH_FIELDS : 0;
    t |= strchr(r->path, '{') != NULL || (r->body != NULL && WHO_ROLE(r->who) != WHO_OPEN)
             ? WITH_NAME
             : 0;
    t |= (op != NULL && op->writes) || is_ingest ? WITH_WRITE : 0;
    t |= r->op != 0 || r->within_ms != 0 || r->body_max != 0 ? WITH_ASK : 0;
    t |= r->body != NULL && op != NULL && op->writes ? WITH_NEW : 0;
    return t;
}

/* clang-format off */
static const struct {
    uint16_t    status;
    uint32_t    traits; /* any of them */
    const char *name;
    const char *brief;
} faults[] = {
    { 400, WITH_BODY | WITH_FIELDS | WITH_WRITE, "BadRequest", "Malformed, or against a rule" },
    { 401, WITH_CREDENTIALS, "Unauthorized",      "No valid credentials" },
    { 402, WITH_CREDENTIALS, "PaymentRequired",   "The tenant's subscription is not active" },
    { 403, WITH_CREDENTIALS, "Forbidden",         "The role or the key's scopes do not allow this" },
    { 404, WITH_NAME,        "NotFound",          "No such thing in this tenant" },
    { 409, WITH_NEW,         "Conflict",          "It exists already" },
    { 413, WITH_BODY,        "TooLarge",          "The body is too large" },
    { 415, WITH_BODY,        "UnsupportedType",   "This content type or encoding is not taken" },
    { 422, WITH_FIELDS,      "Unprocessable",     "Members break the schema" },
    { 429, WITH_LIMIT,       "TooManyRequests",   "A rate limit; its name is in the detail" },
    { 503, WITH_ASK,         "Unavailable",       "A part of the server is restarting; retry" },
    { 507, WITH_WRITE,       "StorageFull",       "The storage is full" },
};
/* clang-format on */

static const char *
status_text(uint16_t status, char out[8])
{
    snprintf(out, 8, "%u", status);
    return out;
}

static void
put_answers(json_out *j, const route *r, const description *d)
{
    uint32_t traits = traits_of(r);
    char     status[8];

    open_name(j, "responses", '{');
    open_name(j, status_text(r->status, status), '{');
    text(j, "description", r->brief);
    if (d->answer != NULL)
        put_content(j, d->answer, "application/json");
    json_close(j, '}');
    if (r->fn == registry_get || r->fn == get_openapi) {
        json_name(j, VIEW_LIT("304"));
        reference(j, "responses", "NotModified");
    }
    for (size_t i = 0; i < COUNT_OF(faults); i++)
        if (faults[i].traits & traits) {
            json_name(j, view_str(status_text(faults[i].status, status)));
            reference(j, "responses", faults[i].name);
        }
    json_close(j, '}');
}

static void
put_operation(const maker *m, const route *r)
{
    const description *d = description_of(r);

    open_name(m->j, verbs[r->method], '{');
    text(m->j, "summary", r->brief);
    put_operation_id(m->j, r);
    put_tags(m->j, r);
    put_parameters(m, r);
    put_request(m->j, r, d);
    put_answers(m->j, r, d);
    put_security(m->j, r);
    json_close(m->j, '}');
}

/* ---- the document ---- */
typedef struct rows {
    const route *at[OPERATIONS_MAX];
    uint32_t     count;
} rows;

static int
gather(maker *m, rows *all)
{
    int rc = E_OK;

    for (const route *const *list = all_routes; *list != NULL && rc == E_OK; list++)
        for (const route *r = *list; r->method != 0 && rc == E_OK; r++) {
            if (all->count == OPERATIONS_MAX)
                return err(E_FULL, "operation %s", r->path);
            all->at[all->count++] = r;
            rc = add_component(m, r->body);
        }
    for (const description *d = descriptions; d->method != 0 && rc == E_OK; d++)
        if ((rc = add_component(m, d->answer)) == E_OK)
            rc = add_component(m, d->request);
    for (const schema *const *s = described_objects; *s != NULL && rc == E_OK; s++)
        rc = add_component(m, *s);
    return rc;
}

/* Rows of one path may be apart: the first of them writes them all. */
static void
put_paths(const maker *m, const rows *all)
{
    open_name(m->j, "paths", '{');
    for (uint32_t i = 0; i < all->count; i++) {
        char     path[ID_MAX];
        uint32_t before = 0;

        while (strcmp(all->at[before]->path, all->at[i]->path) != 0)
            before++;
        if (before < i)
            continue;
        full_path(all->at[i], path);
        open_name(m->j, path, '{');
        for (uint32_t k = i; k < all->count; k++)
            if (strcmp(all->at[k]->path, all->at[i]->path) == 0)
                put_operation(m, all->at[k]);
        json_close(m->j, '}');
    }
    json_close(m->j, '}');
}

static void
put_fault_schemas(json_out *j)
{
    static const char error[] =
        "{\"type\":\"object\",\"properties\":{\"detail\":{\"type\":\"string\"}},"
        "\"required\":[\"detail\"]}";
    static const char item[] = "{\"type\":\"object\",\"properties\":{\"loc\":{\"type\":\"array\","
                               "\"items\":{\"type\":[\"string\",\"integer\"]},"
                               "\"description\":\"body or query, then the way to the "
                               "member\"},\"msg\":{\"type\":\"string\"},"
                               "\"type\":{\"type\":\"string\",\"enum\":[\"missing\",\"string_"
                               "type\",\"number_type\",\"integer_type\","
                               "\"boolean_type\",\"array_type\",\"object_type\",\"value_error\"]}},"
                               "\"required\":[\"loc\",\"msg\",\"type\"]}";
    static const char items[] = "{\"type\":\"object\",\"properties\":{\"detail\":{\"oneOf\":[{"
                                "\"type\":\"string\"},{\"type\":\"array\","
                                "\"items\":{\"$ref\":\"#/components/schemas/"
                                "ValidationItem\"}}]}},\"required\":[\"detail\"]}";

    json_name(j, VIEW_LIT("Error"));
    json_raw(j, view_str(error));
    json_name(j, VIEW_LIT("ValidationItem"));
    json_raw(j, view_str(item));
    json_name(j, VIEW_LIT("ValidationError"));
    json_raw(j, view_str(items));
}

static void
put_fault_answers(json_out *j)
{
    static const schema error = { "Error", NULL }, items = { "ValidationError", NULL };

    open_name(j, "responses", '{');
    open_name(j, "NotModified", '{');
    text(j, "description", "If-None-Match names the bytes there are");
    json_close(j, '}');
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        uint16_t s = faults[i].status;

        open_name(j, faults[i].name, '{');
        text(j, "description", faults[i].brief);
        if (s == 429 || s == 503) {
            json_name(j, VIEW_LIT("headers"));
            json_raw(j, VIEW_LIT("{\"Retry-After\":{\"description\":\"Seconds\",\"schema\":{"
                                 "\"type\":\"integer\"}}}"));
        }
        put_content(j, s == 422 ? &items : &error, "application/json");
        json_close(j, '}');
    }
    json_close(j, '}');
}

static void
put_schemes(json_out *j)
{
    static const char bearer[] =
        "{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"JWT\",\"description\":"
        "\"The access token of a log-in; the operation names the least role: viewer, operator "
        "or admin\"}";
    static const char cookie[] =
        "{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"refresh_token\",\"description\":"
        "\"Set by log-in, replaced at each use\"}";
    char brief[256] = "An API key; the operation names the scope it needs, of:";

    for (int i = 0; scope_words[i] != NULL; i++) {
        size_t n = strlen(brief);
        snprintf(brief + n, sizeof brief - n, "%s %s", i == 0 ? "" : ",", scope_words[i]);
    }
    open_name(j, "securitySchemes", '{');
    json_name(j, VIEW_LIT("bearer"));
    json_raw(j, view_str(bearer));
    json_name(j, VIEW_LIT("refreshCookie"));
    json_raw(j, view_str(cookie));
    open_name(j, "apiKey", '{');
    text(j, "type", "apiKey");
    text(j, "in", "header");
    text(j, "name", "X-API-Key");
    text(j, "description", brief);
    json_close(j, '}');
    json_close(j, '}');
}

static void
put_components(const maker *m)
{
    open_name(m->j, "components", '{');
    open_name(m->j, "schemas", '{');
    for (uint32_t i = 0; i < m->component_count; i++) {
        open_name(m->j, m->components[i]->name, '{');
        text(m->j, "type", "object");
        put_members(m, m->components[i]->fields);
        json_close(m->j, '}');
    }
    put_fault_schemas(m->j);
    json_close(m->j, '}');
    put_fault_answers(m->j);
    put_schemes(m->j);
    json_close(m->j, '}');
}

static void
build(void)
{
    static rows all;
    maker       m = { .j = &document };

    if ((build_rc = gather(&m, &all)) < 0)
        return;
    json_open(m.j, '{');
    text(m.j, "openapi", "3.1.0");
    open_name(m.j, "info", '{');
    text(m.j, "title", "haltless");
    text(m.j, "version", HALTLESS_VERSION);
    text(m.j, "description",
         "A server that watches machines: readings in, latest values, aggregates and alerts out.");
    json_close(m.j, '}');
    json_name(m.j, VIEW_LIT("servers"));
    json_raw(m.j, VIEW_LIT("[{\"url\":\"/\"}]"));
    put_paths(&m, &all);
    put_components(&m);
    json_close(m.j, '}');
    build_rc = document.failed ? err(E_NOMEM, "API description") : E_OK;
}

int
describe_build(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, build);
    return build_rc;
}

view
describe_document(void)
{
    return view_of(document.at, document.len);
}

static void
get_openapi(call *c)
{
    etag_send_static(c, "application/json", describe_document());
}

extern const route describe_routes[];

const route describe_routes[] = {
    { GET, 200, WHO_OPEN, 0, 0, "!/openapi.json", NULL, NULL, get_openapi, 0,
      "This description (OpenAPI 3.1)" },
    { 0 },
};
