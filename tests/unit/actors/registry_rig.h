/* registry_rig.h - a registry in a directory of its own, without a kernel or a board: what its unit tests share. */
#ifndef HALTLESS_TESTS_REGISTRY_RIG_H
#define HALTLESS_TESTS_REGISTRY_RIG_H

#include "tests/unit/check.h"

#include "actors/registry_internal.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#define UNUSED __attribute__((unused)) /* a test that needs less of it is fine */

/* ---- a registry in a directory of its own ---- */
typedef struct rig {
    char     dir[64];
    registry r;
    reg_ask  ask; /* who asks by default: the admin of the first tenant */
    pack     out;
    pack_doc doc;
    bool     opened_doc;
    uint16_t status;
} rig;

static UNUSED int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static UNUSED int
setup(void **state)
{
    rig *g = calloc(1, sizeof *g);

    snprintf(g->dir, sizeof g->dir, "/tmp/haltless-registry-XXXXXX");
    if (mkdtemp(g->dir) == NULL || crypto_start() < 0)
        return -1;
    g->r.now_us = INT64_C(1700000000000000);
    g->r.registration_first = g->r.registration_open = true;
    g->ask = (reg_ask){ .role = ROLE_ADMIN, .tenant = 1, .user = 1 };
    pack_init(&g->out);
    CHECK_OK(reg_open(&g->r, g->dir, NULL));
    *state = g;
    return 0;
}

static UNUSED void
forget(rig *g)
{
    if (g->opened_doc)
        pack_doc_close(&g->doc);
    g->opened_doc = false;
    pack_reset(&g->out);
}

static UNUSED int
teardown(void **state)
{
    rig *g = *state;

    forget(g);
    pack_fini(&g->out);
    reg_close(&g->r);
    nftw(g->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(g);
    return 0;
}

/* Runs an operation with parameters given as JSON, commits, and returns its status. */
static UNUSED uint16_t
ask(rig *g, uint16_t op, const char *json)
{
    cJSON  *params = cJSON_Parse(json);
    reg_ask head = g->ask;
    pack    p;

    assert_non_null(params);
    forget(g);
    head.op = op;
    pack_init(&p);
    pack_json(&p, params);
    g->status = reg_run(&g->r, &head, pack_view(&p), &g->out);
    CHECK_OK(reg_commit(&g->r));
    CHECK(pack_is_sound(pack_view(&g->out)));
    CHECK_OK(pack_open(&g->doc, pack_view(&g->out)));
    g->opened_doc = true;
    pack_fini(&p);
    cJSON_Delete(params);
    return g->status;
}

static UNUSED uint16_t
ask_f(rig *g, uint16_t op, const char *fmt, ...) PRINTF_LIKE(3, 4);

static UNUSED uint16_t
ask_f(rig *g, uint16_t op, const char *fmt, ...)
{
    char    json[2048];
    va_list args;

    va_start(args, fmt);
    vsnprintf(json, sizeof json, fmt, args);
    va_end(args);
    return ask(g, op, json);
}

static UNUSED const msgpack_object *
root(const rig *g)
{
    return pack_root(&g->doc);
}

/* A member of the last answer, as a string of a small ring. */
static UNUSED const char *
text_in(const msgpack_object *map, const char *name)
{
    static char     ring[8][1024];
    static uint32_t at;
    view            v = { 0 };
    char           *out = ring[at++ % 8];

    if (!pack_get_str(map, name, &v))
        return "(none)";
    snprintf(out, sizeof ring[0], "%.*s", (int)v.len, (const char *)v.at);
    return out;
}

static UNUSED const char *
text(const rig *g, const char *name)
{
    return text_in(root(g), name);
}

static UNUSED int64_t
number(const rig *g, const char *name)
{
    int64_t v = -1;

    return pack_get_int(root(g), name, &v) ? v : -1;
}

static UNUSED const msgpack_object *
items(const rig *g)
{
    const msgpack_object *o = pack_get(root(g), "items");

    assert_non_null(o);
    assert_int_equal(o->type, MSGPACK_OBJECT_ARRAY);
    return o;
}

static UNUSED void
expect_detail(const rig *g, uint16_t status, const char *detail)
{
    CHECK_EQ(g->status, status);
    assert_int_equal(root(g)->type, MSGPACK_OBJECT_STR);
    CHECK_VIEW(view_of(root(g)->via.str.ptr, root(g)->via.str.size), detail);
}

static UNUSED void
reopen(rig *g)
{
    forget(g);
    reg_close(&g->r);
    CHECK_OK(reg_open(&g->r, g->dir, NULL));
}

#define HASH "\"password_hash\":\"$argon2id$x\""
#define REGISTER(email, tenant)                                                                    \
    "{\"email\":\"" email "\",\"full_name\":\"Ada\",\"tenant_name\":\"" tenant "\"," HASH "}"

static UNUSED void
register_ada(rig *g)
{
    CHECK_EQ(ask(g, REG_REGISTER, REGISTER("Ada@Example.com", "Works")), 201);
}

static UNUSED void
make_hot_rule(rig *g, const char *more)
{
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, "{\"name\":\"Press\",\"machine_identifier\":\"M\",\"protocol\":\"json\"}"), 201);
    CHECK_EQ(ask_f(g, REG_RULE_CREATE,
                   "{\"name\":\"hot\",\"metric_name\":\"temperature\",\"operator\":\"gt\",\"threshold\":90,"
                   "\"severity\":\"critical\"%s}",
                   more),
             201);
}

static UNUSED uint16_t
system_ask(rig *g, uint16_t op, const char *json)
{
    reg_ask  before = g->ask;
    uint16_t status;

    g->ask = (reg_ask){ .role = ROLE_SYSTEM };
    status = ask(g, op, json);
    g->ask = before;
    return status;
}

#endif
