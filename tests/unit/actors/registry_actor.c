/* The registry as an actor: board, events, redelivery, commands over its socket. */
#include "tests/unit/actors/rig.h"
#include "tests/unit/check.h"

#include "actors/kinds.h"
#include "actors/options.h"
#include "proto/secrets.h"
#include "proto/pack.h"
#include "proto/reg_ops.h"
#include "transport/board.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LANE = 262144, STEPS_MAX = 20000 };

static const addr front0 = (uint64_t)KIND_FRONT << 32;
static const addr registry0 = (uint64_t)KIND_REGISTRY << 32;

/* ---- a front that writes down what it hears ---- */
typedef struct listener {
    uint32_t answers;
    uint32_t fails;
    uint32_t events;
    int32_t  rc; /* of the last MSG_FAIL or MSG_PROBED */
    uint16_t status;
    uint32_t len;
    uint8_t  value[65536];
    char     event[8192];
    uint64_t event_seq;
} listener;

static ak_verdict
hear_answer(ak *k, void *self, const ak_msg *m)
{
    listener *l = self;
    reg_done  head;

    (void)k;
    memcpy(&head, m->body, sizeof head);
    l->status = head.status;
    l->len = m->len - (uint32_t)sizeof head;
    memcpy(l->value, (const uint8_t *)m->body + sizeof head, l->len);
    l->answers++;
    return AK_DONE;
}

static ak_verdict
hear_word(ak *k, void *self, const ak_msg *m)
{
    listener *l = self;

    (void)k;
    memcpy(&l->rc, m->body, sizeof l->rc);
    if (m->type == MSG_FAIL)
        l->fails++;
    else
        l->answers++;
    return AK_DONE;
}

static ak_verdict
hear_event(ak *k, void *self, const ak_msg *m)
{
    listener  *l = self;
    event_head head;

    (void)k;
    memcpy(&head, m->body, sizeof head);
    l->event_seq = head.seq;
    snprintf(l->event, sizeof l->event, "%.*s", (int)(m->len - sizeof head), (const char *)m->body + sizeof head);
    l->events++;
    return AK_DONE;
}

static const ak_on listener_on[] = {
    { MSG_REG_DONE, 0, hear_answer }, { MSG_FAIL, 0, hear_word }, { MSG_PROBED, 0, hear_word },
    { MSG_EVENT, 0, hear_event },     { 0 },
};
static const ak_kind listener_kind = {
    .name = "front", .number = KIND_FRONT, .self_size = sizeof(listener), .on = listener_on
};

/* ---- the scene ---- */
typedef struct scene {
    rig      *r;
    ak       *front;
    ak       *registry;
    listener *heard;
    options   options;
    reg_ask   ask;
    pack_doc  doc;
    bool      opened_doc;
} scene;

static scene the_scene;

static int
setup(void **state)
{
    static const edge_plan edges[] = {
        { front0, registry0, CARRIER_RING, EDGE_WAIT, LANE },
        { registry0, front0, CARRIER_RING, EDGE_SHED, LANE },
        { 0 },
    };
    scene *s = &the_scene;

    *s = (scene){ .ask = { .role = ROLE_ADMIN, .tenant = 1, .user = 1 } };
    CHECK_OK(options_load(&s->options, NULL, 0, NULL));
    s->options.auth_registration = REGISTRATION_OPEN;
    s->r = rig_new(edges, &(rig_with){ .options = &s->options, .board = true });
    s->front = rig_hand(s->r, &listener_kind, 0);
    s->registry = rig_hand(s->r, &registry_kind, 0);
    s->heard = rig_self(s->front);
    *state = s;
    return 0;
}

static int
teardown(void **state)
{
    scene *s = *state;

    if (s->opened_doc)
        pack_doc_close(&s->doc);
    if (s->registry != NULL)
        registry_kind.stop(s->registry, rig_self(s->registry));
    rig_free(&s->r);
    options_free(&s->options);
    return 0;
}

static void
send_ask(scene *s, uint16_t op, const char *json)
{
    cJSON   *params = cJSON_Parse(json);
    uint8_t  body[4096];
    pack     p;

    assert_non_null(params);
    s->ask.op = op;
    pack_init(&p);
    pack_json(&p, params);
    memcpy(body, &s->ask, sizeof s->ask);
    memcpy(body + sizeof s->ask, pack_view(&p).at, pack_view(&p).len);
    CHECK(ak_ask(s->front, registry0, MSG_REG, body, (uint32_t)(sizeof s->ask + pack_view(&p).len), 60000000000ull,
                 NULL) != 0);
    ak_publish(s->front);
    pack_fini(&p);
    cJSON_Delete(params);
}

/* Asks, and steps both until the answer is there.  Its status. */
static uint16_t
ask(scene *s, uint16_t op, const char *json)
{
    uint32_t before = s->heard->answers + s->heard->fails;

    send_ask(s, op, json);
    for (int i = 0; i < STEPS_MAX && s->heard->answers + s->heard->fails == before; i++) {
        if (ak_step(s->registry, 64) + ak_step(s->front, 64) == 0)
            usleep(50);
    }
    CHECK_EQ(s->heard->answers + s->heard->fails, before + 1);
    if (s->opened_doc)
        pack_doc_close(&s->doc);
    s->opened_doc = pack_open(&s->doc, view_of(s->heard->value, s->heard->len)) == E_OK;
    CHECK(s->opened_doc);
    return s->heard->status;
}

static view
text(const scene *s, const char *name)
{
    view v = { 0 };

    (void)pack_get_str(pack_root(&s->doc), name, &v);
    return v;
}

#define REGISTER                                                                                   \
    "{\"email\":\"a@example.com\",\"full_name\":\"Ada\",\"tenant_name\":\"Works\",\"password_hash\":\"$x\"}"
#define MACHINE(identifier) "{\"name\":\"N\",\"machine_identifier\":\"" identifier "\",\"protocol\":\"json\"}"

/* ---- claims ---- */
static void
a_fact_is_on_the_board_when_its_answer_leaves(void **state)
{
    scene        *s = *state;
    board        *b = ak_board(s->front);
    secrets       keys;
    uint8_t       hash[DIGEST_LEN];
    board_user    user;
    board_key     key;
    board_machine machine;
    uuid          id;
    uint64_t      seq = board_registry_seq(b);

    CHECK_EQ(ask(s, REG_REGISTER, REGISTER), 201);
    CHECK(uuid_parse(text(s, "user_id"), &id));
    CHECK_EQ(board_find_user(b, &id, &user), 1);
    CHECK_EQ(user.role, ROLE_ADMIN);
    CHECK(board_registry_seq(b) > seq);

    CHECK_EQ(ask(s, REG_KEY_CREATE, "{\"name\":\"edge\"}"), 201);
    CHECK_OK(secrets_load(&keys, rig_data_dir(s->r)));
    crypto_keyed_hash(keys.keys, text(s, "key"), hash);
    CHECK_EQ(board_find_key(b, hash, &key), 1);
    CHECK(key.flags & BOARD_LIVE);

    CHECK_EQ(ask(s, REG_MACHINE_CREATE, MACHINE("CNC-1")), 201);
    CHECK(uuid_parse(text(s, "id"), &id));
    CHECK_EQ(board_find_machine(b, 1, VIEW_LIT("CNC-1"), &machine), 1);
    CHECK_EQ(board_find_machine_id(b, &id, &machine), 1);
    CHECK_VIEW(board_string(b, BOARD_MACHINES, 0, machine.name), "N");
    char params[80];
    char hex[UUID_TEXT_LEN];
    uuid_format(&id, hex);
    snprintf(params, sizeof params, "{\"id\":\"%.36s\"}", hex);
    CHECK_EQ(ask(s, REG_MACHINE_DELETE, params), 204);
    CHECK_EQ(board_find_machine(b, 1, VIEW_LIT("CNC-1"), &machine), 0);

    CHECK_EQ(ask(s, REG_LOGOUT, "{\"jti\":\"00000000-0000-4000-8000-000000000001\",\"exp\":99999999999}"), 204);
    CHECK(uuid_parse(VIEW_LIT("00000000-0000-4000-8000-000000000001"), &id));
    CHECK(board_is_blocked(b, &id));
}

static void
an_alert_is_counted_on_the_board_and_told_to_the_front(void **state)
{
    scene        *s = *state;
    board        *b = ak_board(s->front);
    board_machine machine;
    uint64_t      rules_seq;

    CHECK_EQ(ask(s, REG_REGISTER, REGISTER), 201);
    CHECK_EQ(ask(s, REG_MACHINE_CREATE, MACHINE("M")), 201);
    rules_seq = board_rules_seq(b);
    CHECK_EQ(ask(s, REG_RULE_CREATE,
                 "{\"metric_name\":\"t\",\"operator\":\"gt\",\"threshold\":90,\"severity\":\"critical\"}"),
             201);
    CHECK(board_rules_seq(b) > rules_seq);
    s->ask = (reg_ask){ .role = ROLE_SYSTEM };
    CHECK_EQ(ask(s, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":1}"), 201);
    CHECK_EQ(board_find_machine(b, 1, VIEW_LIT("M"), &machine), 1);
    CHECK_EQ(machine.open_critical, 1);
    CHECK_EQ(s->heard->events, 1);
    CHECK_EQ(s->heard->event_seq, 1);
    CHECK(strstr(s->heard->event, "\"type\":\"alert\"") != NULL);
}

/* Commits, and dies before anybody is told and before the message is acknowledged. */
static int
commit_and_die(ak *k, void *self)
{
    int rc = registry_kind.flush(k, self);

    registry_kind.stop(k, self);
    return rc < 0 ? rc : E_GONE;
}

static void
a_write_that_comes_again_is_not_done_twice(void **state)
{
    scene  *s = *state;
    ak_kind dies = registry_kind;

    CHECK_EQ(ask(s, REG_REGISTER, REGISTER), 201);
    registry_kind.stop(s->registry, rig_self(s->registry));
    rig_kill(s->r, s->registry);
    dies.flush = commit_and_die;
    s->registry = rig_hand(s->r, &dies, 0);
    send_ask(s, REG_KEY_CREATE, "{\"name\":\"edge\"}");
    for (int i = 0; i < 100; i++)
        ak_step(s->registry, 64);
    rig_kill(s->r, s->registry);

    uint32_t fails = s->heard->fails;
    s->registry = rig_hand(s->r, &registry_kind, 0);
    for (int i = 0; i < STEPS_MAX && s->heard->fails == fails; i++)
        if (ak_step(s->registry, 64) + ak_step(s->front, 64) == 0)
            usleep(50);
    CHECK_EQ(s->heard->fails, fails + 1);
    CHECK_EQ(s->heard->rc, E_AGAIN);
    CHECK_EQ(ask(s, REG_KEY_LIST, "{}"), 200);
    int64_t total = 0;
    CHECK(pack_get_int(pack_root(&s->doc), "total", &total));
    CHECK_EQ(total, 1);
    CHECK_EQ(ask(s, REG_KEY_CREATE, "{\"name\":\"second\"}"), 201);
}

static void
a_probe_writes_durably(void **state)
{
    scene *s = *state;

    CHECK(ak_ask(s->front, registry0, MSG_PROBE, NULL, 0, 60000000000ull, NULL) != 0);
    ak_publish(s->front);
    s->heard->rc = 1;
    for (int i = 0; i < STEPS_MAX && s->heard->answers == 0; i++)
        if (ak_step(s->registry, 64) + ak_step(s->front, 64) == 0)
            usleep(50);
    CHECK_EQ(s->heard->rc, E_OK);
}

/* ---- commands ---- */
static int
connect_control(const scene *s)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct stat        st;
    int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "%s/control.sock", rig_data_dir(s->r));
    CHECK_EQ(stat(a.sun_path, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
    CHECK_EQ(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* One byte at a time when `slowly`. */
static void
send_command(scene *s, int fd, const uint8_t *body, uint32_t len, bool slowly)
{
    uint8_t request[512];

    memcpy(request, &len, sizeof len);
    memcpy(request + sizeof len, body, len);
    for (uint32_t at = 0; at < sizeof len + len;) {
        uint32_t n = slowly ? 1 : (uint32_t)sizeof len + len;
        CHECK_EQ(write(fd, request + at, n), n);
        at += n;
        ak_step(s->registry, 64);
    }
}

static void
commands_are_run_over_the_socket(void **state)
{
    scene   *s = *state;
    cJSON   *params = cJSON_Parse("{\"name\":\"shell\"}");
    uint8_t  body[256];
    uint8_t  reply[4096];
    reg_ask  head = { .op = REG_KEY_CREATE, .role = ROLE_SYSTEM };
    reg_done done;
    pack     p;

    CHECK_EQ(ask(s, REG_REGISTER, REGISTER), 201);
    pack_init(&p);
    pack_json(&p, params);
    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, pack_view(&p).at, pack_view(&p).len);
    for (int slowly = 0; slowly < 2; slowly++) {
        int fd = connect_control(s);
        send_command(s, fd, body, (uint32_t)(sizeof head + pack_view(&p).len), slowly == 1);
        ssize_t n = -1;
        for (int i = 0; i < STEPS_MAX && n < 0; i++) {
            ak_step(s->registry, 64);
            n = recv(fd, reply, sizeof reply, MSG_DONTWAIT);
        }
        CHECK(n > (ssize_t)(4 + sizeof done));
        CHECK_EQ(load_u32(reply), n - 4);
        memcpy(&done, reply + 4, sizeof done);
        CHECK_EQ(done.status, 201);
        close(fd);
    }
    /* A length that cannot be ends the connection, nothing else. */
    int fd = connect_control(s);
    CHECK_EQ(write(fd, "\xff\xff\xff\xff", 4), 4);
    ssize_t n = -1;
    for (int i = 0; i < STEPS_MAX && n < 0; i++) {
        ak_step(s->registry, 64);
        n = recv(fd, reply, sizeof reply, MSG_DONTWAIT);
    }
    CHECK_EQ(n, 0);
    close(fd);
    CHECK_EQ(ask(s, REG_KEY_LIST, "{}"), 200);
    int64_t total = 0;
    CHECK(pack_get_int(pack_root(&s->doc), "total", &total));
    CHECK_EQ(total, 2);
    pack_fini(&p);
    cJSON_Delete(params);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_fact_is_on_the_board_when_its_answer_leaves),
        CASE(an_alert_is_counted_on_the_board_and_told_to_the_front),
        CASE(a_write_that_comes_again_is_not_done_twice),
        CASE(a_probe_writes_durably),
        CASE(commands_are_run_over_the_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
