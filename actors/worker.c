/* worker.c - the worker actor: argon2id away from every event loop.
 *
 * Two passwords at a time (each takes 19 MiB and some 20 ms); WAITING_MAX more wait, the rest is refused at once.
 * A job is copied out of the lane into one of a fixed number of places, pins its message (AK_HOLD) and is wiped when it
 * is answered; a successor gets what was not answered again.
 */
#include "actors/kinds.h"
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/rows.h"

enum { AT_ONCE = 2, WAITING_MAX = 64, JOBS = AT_ONCE + WAITING_MAX, PASSWORD_MAX = 1024 };

typedef struct job {
    bool     used;
    ak_msg   m;
    uint16_t op;
    uint16_t password_len;
    int32_t  rc;
    char     hash[PASSWORD_HASH_MAX];
    uint8_t  password[PASSWORD_MAX];
} job;

typedef struct worker {
    char dummy[PASSWORD_HASH_MAX]; /* what the passwords of unknown accounts are compared with */
    job  jobs[JOBS];
} worker;

static job *
free_place(worker *w)
{
    for (uint32_t i = 0; i < JOBS; i++)
        if (!w->jobs[i].used)
            return &w->jobs[i];
    return NULL;
}

static void
job_wipe(job *j)
{
    explicit_bzero(j, sizeof *j);
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
    job      *j = arg;
    uint8_t   body[sizeof(work_done) + PASSWORD_HASH_MAX];
    work_done head = { .rc = j->rc };

    (void)self;
    if (j->op == WORK_HASH_PASSWORD && j->rc == E_OK)
        head.hash_len = (uint32_t)strnlen(j->hash, sizeof j->hash);
    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, j->hash, head.hash_len);
    ak_reply(k, &j->m, MSG_WORK_DONE, body, (uint32_t)sizeof head + head.hash_len);
    ak_release(k, j->m.lane, j->m.pos);
    job_wipe(j);
}

/* Lengths are judged on a copy: the peer may still write.  False: not a piece of work. */
static bool
job_take(const worker *w, const ak_msg *m, job *j)
{
    work_ask head;

    if (m->len < sizeof head)
        return false;
    memcpy(&head, m->body, sizeof head);
    if (head.op > WORK_VERIFY_PASSWORD || head.password_len == 0 || head.password_len > PASSWORD_MAX ||
        head.hash_len >= PASSWORD_HASH_MAX || m->len != sizeof head + head.password_len + head.hash_len)
        return false;
    *j = (job){ .used = true, .m = *m, .op = head.op, .password_len = head.password_len };
    memcpy(j->password, (const uint8_t *)m->body + sizeof head, head.password_len);
    if (head.op == WORK_VERIFY_PASSWORD && head.hash_len == 0)
        memcpy(j->hash, w->dummy, sizeof j->hash);
    else
        memcpy(j->hash, (const uint8_t *)m->body + sizeof head + head.password_len, head.hash_len);
    return true;
}

static ak_verdict
on_work(ak *k, void *self, const ak_msg *m)
{
    worker *w = self;
    job    *j = free_place(w);

    if (j == NULL) {
        ak_fail(k, m, E_LIMIT);
        return AK_DONE;
    }
    if (!job_take(w, m, j))
        return AK_BAD;
    if (ak_help(k, work, done, j) == E_OK)
        return AK_HOLD;
    err_clear();
    job_wipe(j);
    ak_fail(k, m, E_LIMIT);
    return AK_DONE;
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
    .holds = true,
    .self_size = sizeof(worker),
    .number = KIND_WORKER,
    .helpers = AT_ONCE,
    .on = worker_on,
    .init = worker_init,
};
