/* routes.c - the list of the nouns' route tables, and the matcher built from it at start.
 *
 * Rows are grouped into endpoints (one path pattern, a row for each method) and sorted by number of
 * segments; among those with as many segments a literal comes before a parameter, segment by
 * segment from the left, so the first that fits is the most specific one.  A start fails when two
 * rows are the same, or when two patterns fit the same path and neither is the more specific.
 */
#include "api/front.h"
#include "proto/err.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SEGMENTS_MAX = 8, ENDPOINTS_MAX = 256 };

extern const route account_routes[], alerts_routes[], channels_routes[], describe_routes[], docs_routes[], erase_routes[], escalations_routes[], fleet_routes[],
    groups_routes[], ingest_routes[], keys_routes[], machines_routes[], ops_routes[], readings_routes[], retention_routes[],
    rules_routes[], users_routes[], ws_routes[];

const route *const all_routes[] = {
    account_routes, alerts_routes,   fleet_routes, ingest_routes, keys_routes, machines_routes,
    describe_routes, docs_routes, erase_routes, groups_routes, ops_routes,     readings_routes, retention_routes, rules_routes, users_routes,  ws_routes,
    channels_routes, escalations_routes, NULL,
};

static const char *const methods[METHODS] = { "", "GET", "POST", "PUT", "PATCH", "DELETE" };

typedef struct segment {
    view text; /* of a literal, or the parameter's name */
    bool is_param;
} segment;

typedef struct endpoint {
    const route *rows[METHODS];
    const char  *pattern;
    bool         outside;
    uint32_t     count;
    segment      segments[SEGMENTS_MAX];
} endpoint;

static endpoint endpoints[ENDPOINTS_MAX];
static uint32_t endpoint_count;
static int      build_rc;

/* Splits "/a/{b}" into segments; -1: too many, or no leading slash. */
static int
split(view path, view out[SEGMENTS_MAX])
{
    int    n = 0;
    size_t at = 1;

    if (path.len == 0 || path.at[0] != '/')
        return -1;
    for (;;) {
        const uint8_t *slash = at < path.len ? memchr(path.at + at, '/', path.len - at) : NULL;
        size_t         end = slash == NULL ? path.len : (size_t)(slash - path.at);

        if (n == SEGMENTS_MAX)
            return -1;
        out[n++] = view_of(path.at + at, end - at);
        if (slash == NULL)
            return n;
        at = end + 1;
    }
}

static int
endpoint_parse(endpoint *e, const char *pattern)
{
    view parts[SEGMENTS_MAX];
    int  n;

    e->pattern = pattern;
    e->outside = pattern[0] == '!';
    n = split(view_str(pattern + (e->outside ? 1 : 0)), parts);
    if (n < 0)
        return err(E_RANGE, "route %s", pattern);
    e->count = (uint32_t)n;
    for (int i = 0; i < n; i++) {
        view p = parts[i];

        e->segments[i] = (segment){ p, false };
        if (p.len > 2 && p.at[0] == '{' && p.at[p.len - 1] == '}')
            e->segments[i] = (segment){ view_of(p.at + 1, p.len - 2), true };
    }
    return E_OK;
}

static int
add_row(const route *r)
{
    endpoint *e = NULL;
    int       rc;

    if (r->method == 0 || r->method >= METHODS || r->fn == NULL)
        return err(E_RANGE, "route %s: no method or no handler", r->path);
    for (uint32_t i = 0; i < endpoint_count; i++)
        if (strcmp(endpoints[i].pattern, r->path) == 0)
            e = &endpoints[i];
    if (e == NULL) {
        if (endpoint_count == ENDPOINTS_MAX)
            return err(E_FULL, "route %s", r->path);
        e = &endpoints[endpoint_count++];
        if ((rc = endpoint_parse(e, r->path)) < 0)
            return rc;
    }
    if (e->rows[r->method] != NULL)
        return err(E_EXISTS, "route %s %s", methods[r->method], r->path);
    e->rows[r->method] = r;
    return E_OK;
}

static int
compare_endpoints(const void *va, const void *vb)
{
    const endpoint *a = va, *b = vb;

    if (a->outside != b->outside)
        return a->outside ? 1 : -1;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->segments[i].is_param != b->segments[i].is_param)
            return a->segments[i].is_param ? 1 : -1;
    return strcmp(a->pattern, b->pattern);
}

/* Do both fit some path, without one being at least as specific in every segment? */
static bool
is_ambiguous(const endpoint *a, const endpoint *b)
{
    bool a_wins = false, b_wins = false;

    if (a->outside != b->outside || a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const segment *x = &a->segments[i], *y = &b->segments[i];

        if (!x->is_param && !y->is_param && !view_eq(x->text, y->text))
            return false;
        a_wins |= !x->is_param && y->is_param;
        b_wins |= x->is_param && !y->is_param;
    }
    return a_wins == b_wins;
}

static void
build(void)
{
    for (const route *const *list = all_routes; *list != NULL && build_rc == E_OK; list++)
        for (const route *r = *list; r->method != 0 && build_rc == E_OK; r++)
            build_rc = add_row(r);
    qsort(endpoints, endpoint_count, sizeof endpoints[0], compare_endpoints);
    for (uint32_t i = 0; i < endpoint_count; i++)
        for (uint32_t j = i + 1; j < endpoint_count && build_rc == E_OK; j++)
            if (is_ambiguous(&endpoints[i], &endpoints[j]))
                build_rc = err(E_EXISTS, "routes %s and %s fit the same path", endpoints[i].pattern,
                               endpoints[j].pattern);
}

int
routes_build(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, build);
    return build_rc;
}

static bool
fits(const endpoint *e, const view *parts)
{
    for (uint32_t i = 0; i < e->count; i++) {
        const segment *s = &e->segments[i];

        if (s->is_param ? parts[i].len == 0 : !view_eq(s->text, parts[i]))
            return false;
    }
    return true;
}

static void
list_allowed(const endpoint *e, char *out, size_t room)
{
    size_t n = 0;

    for (int m = 1; m < METHODS; m++)
        if (e->rows[m] != NULL)
            n +=
                (size_t)snprintf(out + n, room - n, "%s%s, ", methods[m], m == GET ? ", HEAD" : "");
    snprintf(out + n, room - n, "OPTIONS");
}

void
routes_find(bool outside, view path, view method, routes_match *out)
{
    view            parts[SEGMENTS_MAX];
    int             n = split(path, parts);
    const endpoint *e = NULL;

    out->row = NULL;
    out->allow[0] = '\0';
    out->param_count = 0;
    for (uint32_t i = 0; i < endpoint_count && n > 0 && e == NULL; i++)
        if (endpoints[i].outside == outside && endpoints[i].count == (uint32_t)n &&
            fits(&endpoints[i], parts))
            e = &endpoints[i];
    if (e == NULL)
        return;
    for (int m = 1; m < METHODS; m++)
        if (view_eq(view_str(methods[m]), method))
            out->row = e->rows[m];
    if (out->row == NULL) {
        list_allowed(e, out->allow, sizeof out->allow);
        return;
    }
    for (uint32_t i = 0; i < e->count && out->param_count < PARAMS_MAX; i++) {
        if (!e->segments[i].is_param)
            continue;
        out->names[out->param_count] = e->segments[i].text;
        out->params[out->param_count++] = parts[i];
    }
}
