#include "tools/reach.h"
#include "actors/registry_control.h"
#include "proto/crypto.h"
#include "proto/reg_ops.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>

/* A server of one connection: answers what it is asked with what it was told. */
typedef struct server {
    reg_control *control;
    pthread_t    thread;
    int          connection;
    uint32_t     asked;
    reg_ask      ask;
    uint16_t     status;
    int          rc;
} server;

static int
on_ask(void *ctx, const reg_ask *ask, view params, uint16_t *status, pack *out)
{
    server *s = ctx;

    s->asked++;
    s->ask = *ask;
    *status = s->status;
    msgpack_sbuffer_write(&out->buffer, (const char *)params.at, params.len);
    return s->rc;
}

static void *
serve_one(void *ctx)
{
    server       *s = ctx;
    struct pollfd p = { .fd = reg_control_listener(s->control), .events = POLLIN };

    if (poll(&p, 1, 10000) != 1 || (p.fd = s->connection = reg_control_accept(s->control)) < 0)
        return NULL;
    while (poll(&p, 1, 10000) == 1 && reg_control_read(s->control, p.fd))
        ;
    reg_control_drop(s->control, p.fd);
    return NULL;
}

static const char *
dir_make(const char *name)
{
    const char *dir = scratch_file(name);

    CHECK_EQ(mkdir(dir, 0700), 0);
    return dir;
}

static void
server_start(server *s, const char *dir)
{
    CHECK_OK(reg_control_open(&s->control, dir, on_ask, s));
    CHECK_EQ(pthread_create(&s->thread, NULL, serve_one, s), 0);
}

static void
server_stop(server *s)
{
    pthread_join(s->thread, NULL);
    reg_control_close(&s->control);
}

static void
a_running_server_is_asked(void **state)
{
    const char *dir = dir_make("asked");
    server      s = { .status = 201 };
    pack        reply;
    uint16_t    status = 0;

    (void)state;
    server_start(&s, dir);
    pack_init(&reply);
    CHECK_OK(reach_registry(dir, REG_KEY_CREATE, VIEW_LIT("\x81\xa1x\x07"), &status, &reply));
    server_stop(&s);
    CHECK_EQ(status, 201);
    CHECK_EQ(s.asked, 1);
    CHECK_EQ(s.ask.op, REG_KEY_CREATE);
    CHECK_EQ(s.ask.role, ROLE_SYSTEM);
    CHECK(view_eq(pack_view(&reply), VIEW_LIT("\x81\xa1x\x07")));
    pack_fini(&reply);
}

static void
a_refusal_of_the_server_is_its_status_and_detail(void **state)
{
    const char *dir = dir_make("refused");
    server      s = { .rc = E_NOSPACE };
    pack        reply;
    pack_doc    d;
    uint16_t    status = 0;

    (void)state;
    server_start(&s, dir);
    pack_init(&reply);
    CHECK_OK(reach_registry(dir, REG_KEY_CREATE, VIEW_LIT("\x80"), &status, &reply));
    server_stop(&s);
    CHECK_EQ(status, 503);
    CHECK_OK(pack_open(&d, pack_view(&reply)));
    CHECK_EQ(pack_root(&d)->type, MSGPACK_OBJECT_STR);
    pack_doc_close(&d);
    pack_fini(&reply);
}

/* One operation with the members given; the reply's key or "". */
static uint16_t
ask(const char *dir, uint16_t op, const char *const (*members)[2], char key[API_KEY_TEXT_LEN + 1])
{
    pack     p, reply;
    pack_doc d;
    view     text = { 0 };
    uint16_t status = 0;
    uint32_t n = 0;

    while (members[n][0] != NULL)
        n++;
    pack_init(&p);
    pack_init(&reply);
    pack_map(&p, n);
    for (uint32_t i = 0; i < n; i++)
        pack_name_str(&p, members[i][0], view_str(members[i][1]));
    CHECK_OK(reach_registry(dir, op, pack_view(&p), &status, &reply));
    CHECK_OK(pack_open(&d, pack_view(&reply)));
    (void)pack_get_str(pack_root(&d), "key", &text);
    snprintf(key, API_KEY_TEXT_LEN + 1, "%.*s", (int)text.len, (const char *)text.at);
    pack_doc_close(&d);
    pack_fini(&p);
    pack_fini(&reply);
    return status;
}

static void
without_a_server_the_store_itself_is_opened(void **state)
{
    static const char *const tenant[][2] = { { "email", "a@b.example" },
                                             { "full_name", "A" },
                                             { "password_hash", "x" },
                                             { "tenant_name", "Plant" },
                                             { NULL, NULL } };
    static const char *const key[][2] = { { "name", "shell" }, { NULL, NULL } };
    const char              *dir = dir_make("alone");
    char                     text[API_KEY_TEXT_LEN + 1];

    (void)state;
    CHECK_EQ(ask(dir, REG_KEY_CREATE, key, text), 404); /* there is no tenant yet */
    CHECK_EQ(ask(dir, REG_REGISTER, tenant, text), 201);
    CHECK_EQ(ask(dir, REG_REGISTER, tenant, text), 409); /* the first one is on the disk */
    CHECK_EQ(ask(dir, REG_KEY_CREATE, key, text), 201);
    assert_memory_equal(text, "hk_", 3);
    CHECK_EQ(strlen(text), API_KEY_TEXT_LEN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_running_server_is_asked),
        TEST(a_refusal_of_the_server_is_its_status_and_detail),
        TEST(without_a_server_the_store_itself_is_opened),
    };

    return crypto_start() < 0 || cmocka_run_group_tests_name("tools/reach", tests, NULL, NULL);
}
