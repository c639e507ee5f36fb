/* worker.c - the worker actor: argon2id away from every event loop.
 *
 * Two passwords at a time (each takes 19 MiB and some 20 ms); WAITING_MAX more wait, the rest is refused at once.
 * A job is copied out of the lane, pins its message (AK_HOLD) and is wiped when it is answered; a successor gets what
 * was not answered again.
 */
#include "actors/kinds.h"
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/rows.h"

#include <stdlib.h>

enum { AT_ONCE = 2, WAITING_MAX = 64, PASSWORD_MAX = 1024 };

typedef struct job {
    ak_msg   m;
    uint16_t op;
    uint16_t password_len;
    int32_t  rc;
    char     hash[PASSWORD_HASH_MAX];
    uint8_t  password[PASSWORD_MAX];
} job;

typedef struct worker {
    uint32_t under_way;
    char     dummy[PASSWORD_HASH_MAX]; /* what the passwords of unknown accounts are compared with */
} worker;

static void
job_free(job *j)
{
    explicit_bzero(j, sizeof *j);
    free(j);
}

/* In a helper thread. */
static void
work(void *arg)
{
    job *j = arg;
    view password = view_of(j->password, j->password_len);

    if (j->op == WORK_HASH_PASSWORD)
        j->rc = password_hash(password, j->hash);
    else
        j->rc = password_matches(password, j->hash) ? E_OK : E_PERM;
}

static void
done(ak *k, void *self, void *arg)
{
    worker   *w = self;
    job      *j = arg;
    uint8_t   body[sizeof(work_done) + PASSWORD_HASH_MAX];
    work_done head = { .rc = j->rc };

    if (j->op == WORK_HASH_PASSWORD && j->rc == E_OK)
        head.hash_len = (uint32_t)strnlen(j->hash, sizeof j->hash);
    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, j->hash, head.hash_len);
    ak_reply(k, &j->m, MSG_WORK_DONE, body, (uint32_t)sizeof head + head.hash_len);
    ak_release(k, j->m.lane, j->m.pos);
    w->under_way--;
    job_free(j);
}

/* The job of a message, or NULL when it is none.  Lengths are judged on a copy: the peer may still write. */
static job *
job_of(const worker *w, const ak_msg *m)
{
    work_ask head;

    if (m->len < sizeof head)
        return NULL;
    memcpy(&head, m->body, sizeof head);
    if (head.op > WORK_VERIFY_PASSWORD || head.password_len == 0 || head.password_len > PASSWORD_MAX ||
        head.hash_len >= PASSWORD_HASH_MAX || m->len != sizeof head + head.password_len + head.hash_len)
        return NULL;
    job *j = calloc(1, sizeof *j);
    ASSERT(j != NULL);
    j->m = *m;
    j->op = head.op;
    j->password_len = head.password_len;
    memcpy(j->password, (const uint8_t *)m->body + sizeof head, head.password_len);
    if (head.op == WORK_VERIFY_PASSWORD && head.hash_len == 0)
        memcpy(j->hash, w->dummy, sizeof j->hash);
    else
        memcpy(j->hash, (const uint8_t *)m->body + sizeof head + head.password_len, head.hash_len);
    return j;
}

static ak_verdict
on_work(ak *k, void *self, const ak_msg *m)
{
    worker *w = self;

    if (w->under_way >= AT_ONCE + WAITING_MAX) {
        ak_fail(k, m, E_LIMIT);
        return AK_DONE;
    }
    job *j = job_of(w, m);
    if (j == NULL)
        return AK_BAD;
    if (ak_help(k, work, done, j) < 0) {
        err_clear();
        job_free(j);
        ak_fail(k, m, E_LIMIT);
        return AK_DONE;
    }
    w->under_way++;
    return AK_HOLD;
}

static int
worker_init(ak *k, void *self)
{
    worker *w = self;
    uint8_t nobody[SECRET_LEN];

    (void)k;
    int rc = crypto_start();
    if (rc < 0)
        return rc;
    crypto_random(nobody, sizeof nobody);
    return password_hash(view_of(nobody, sizeof nobody), w->dummy);
}

static const ak_on worker_on[] = {
    { MSG_WORK, AK_READ, on_work },
    { 0 },
};

const ak_kind worker_kind = {
    .name = "worker",
    .self_size = sizeof(worker),
    .number = KIND_WORKER,
    .helpers = AT_ONCE,
    .on = worker_on,
    .init = worker_init,
};
