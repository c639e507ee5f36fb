/* The worker: passwords are hashed and verified, and who would wait too long is refused. */
#include "tests/unit/actors/rig.h"
#include "tests/unit/check.h"

#include "actors/kinds.h"
#include "proto/crypto.h"
#include "proto/rows.h"

#include <unistd.h>

enum { LANE = 1048576, STEPS_MAX = 200000, ASKS_MAX = 128 };

static const addr front0 = (uint64_t)KIND_FRONT << 32;
static const addr worker0 = (uint64_t)KIND_WORKER << 32;

typedef struct listener {
    uint32_t  answers;
    uint32_t  fails;
    int32_t   fail_rc;
    work_done last;
    char      hash[PASSWORD_HASH_MAX];
} listener;

static ak_verdict
hear(ak *k, void *self, const ak_msg *m)
{
    listener *l = self;

    (void)k;
    if (m->type == MSG_FAIL) {
        memcpy(&l->fail_rc, m->body, sizeof l->fail_rc);
        l->fails++;
        return AK_DONE;
    }
    memcpy(&l->last, m->body, sizeof l->last);
    memset(l->hash, 0, sizeof l->hash);
    memcpy(l->hash, (const uint8_t *)m->body + sizeof l->last, m->len - sizeof l->last);
    l->answers++;
    return AK_DONE;
}

static const ak_on listener_on[] = { { MSG_WORK_DONE, 0, hear }, { MSG_FAIL, 0, hear }, { 0 } };
static const ak_kind listener_kind = {
    .name = "front", .number = KIND_FRONT, .self_size = sizeof(listener), .on = listener_on
};

typedef struct scene {
    rig      *r;
    ak       *front;
    ak       *worker;
    listener *heard;
} scene;

static scene the_scene;

static int
setup(void **state)
{
    static const edge_plan edges[] = {
        { front0, worker0, CARRIER_RING, EDGE_WAIT, LANE },
        { worker0, front0, CARRIER_RING, EDGE_REPLY, LANE },
        { 0 },
    };
    scene *s = &the_scene;

    s->r = rig_new(edges, NULL);
    s->front = rig_hand(s->r, &listener_kind, 0);
    s->worker = rig_hand(s->r, &worker_kind, 0);
    s->heard = rig_self(s->front);
    *state = s;
    return 0;
}

static int
teardown(void **state)
{
    rig_free(&((scene *)*state)->r);
    return 0;
}

static void
send_work(scene *s, uint16_t op, const char *password, const char *hash)
{
    uint8_t  body[2048];
    work_ask head = { op, (uint16_t)strlen(password), (uint32_t)strlen(hash) };
    uint32_t len = (uint32_t)sizeof head;

    memcpy(body, &head, sizeof head);
    memcpy(body + len, password, head.password_len);
    len += head.password_len;
    memcpy(body + len, hash, head.hash_len);
    CHECK(ak_ask(s->front, worker0, MSG_WORK, body, len + head.hash_len, 60000000000ull, NULL) != 0);
    ak_publish(s->front);
}

static void
step_until(scene *s, uint32_t outcomes)
{
    for (int i = 0; i < STEPS_MAX && s->heard->answers + s->heard->fails < outcomes; i++)
        if (ak_step(s->worker, 256) + ak_step(s->front, 256) == 0)
            usleep(100);
    CHECK_EQ(s->heard->answers + s->heard->fails, outcomes);
}

static void
a_hash_verifies_its_password_and_no_other(void **state)
{
    scene *s = *state;
    char   hash[PASSWORD_HASH_MAX];

    send_work(s, WORK_HASH_PASSWORD, "correct horse 1", "");
    step_until(s, 1);
    CHECK_EQ(s->heard->last.rc, E_OK);
    CHECK_EQ(s->heard->last.hash_len, strlen(s->heard->hash));
    memcpy(hash, s->heard->hash, sizeof hash);
    CHECK(strncmp(hash, "$argon2id$", 10) == 0);
    send_work(s, WORK_VERIFY_PASSWORD, "correct horse 1", hash);
    step_until(s, 2);
    CHECK_EQ(s->heard->last.rc, E_OK);
    send_work(s, WORK_VERIFY_PASSWORD, "correct horse 2", hash);
    step_until(s, 3);
    CHECK_EQ(s->heard->last.rc, E_PERM);
    send_work(s, WORK_VERIFY_PASSWORD, "correct horse 1", ""); /* nobody's account */
    step_until(s, 4);
    CHECK_EQ(s->heard->last.rc, E_PERM);
}

static void
a_crowd_is_refused_beyond_the_bound_and_served_below(void **state)
{
    scene *s = *state;

    for (int i = 0; i < 80; i++)
        send_work(s, WORK_VERIFY_PASSWORD, "correct horse 1", "");
    step_until(s, 80);
    CHECK_EQ(s->heard->answers, 66);
    CHECK_EQ(s->heard->fails, 14);
    CHECK_EQ(s->heard->fail_rc, E_LIMIT);
}

static void
what_was_under_way_is_done_by_the_successor(void **state)
{
    scene *s = *state;

    for (int i = 0; i < 4; i++)
        send_work(s, WORK_VERIFY_PASSWORD, "correct horse 1", "");
    ak_step(s->worker, 256);
    rig_kill(s->r, s->worker);
    s->worker = rig_hand(s->r, &worker_kind, 0);
    step_until(s, 4);
    CHECK_EQ(s->heard->answers, 4);
}

static void
malformed_work_is_refused(void **state)
{
    scene   *s = *state;
    uint8_t  body[64] = { 0 };
    work_ask cases[] = { { 9, 4, 0 }, { WORK_HASH_PASSWORD, 0, 0 }, { WORK_VERIFY_PASSWORD, 4, 0xffffffff },
                         { WORK_VERIFY_PASSWORD, 60000, 0 } };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        memcpy(body, &cases[i], sizeof cases[i]);
        CHECK(ak_ask(s->front, worker0, MSG_WORK, body, 12, 60000000000ull, NULL) != 0);
    }
    ak_publish(s->front);
    step_until(s, COUNT_OF(cases));
    CHECK_EQ(s->heard->fails, COUNT_OF(cases));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_hash_verifies_its_password_and_no_other),
        CASE(a_crowd_is_refused_beyond_the_bound_and_served_below),
        CASE(what_was_under_way_is_done_by_the_successor),
        CASE(malformed_work_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
