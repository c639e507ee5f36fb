/* ak_help.c - helper threads of one actor: slow work off its thread, the end of it back on it.
 *
 *   ak_help ──▶ waiting (FIFO) ──▶ helper: work(job) ──▶ finished ──▶ wire_poke ──▶ step: done(job)
 *
 * At most AK_JOBS_MAX jobs are anywhere between ak_help() and done().  A helper touches nothing but the
 * job and the two lists.
 */
#include "actors/ak_internal.h"

#include "actors/crash.h"
#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct job {
    struct job *next;
    ak_work_fn *work;
    ak_done_fn *done;
    void       *job;
} job;

typedef struct job_list {
    job  *first;
    job **end;
} job_list;

struct ak_crew {
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    job_list        waiting;
    job_list        finished;
    bool            stop;
    wire           *wire;
    seat           *seat;
    const char     *name;
    uint32_t        under_way; /* the actor's own */
    uint32_t        threads;
    pthread_t       thread[AK_HELPERS_MAX];
};

static void
list_init(job_list *l)
{
    l->first = NULL;
    l->end = &l->first;
}

static void
list_add(job_list *l, job *j)
{
    j->next = NULL;
    *l->end = j;
    l->end = &j->next;
}

static job *
list_take(job_list *l)
{
    job *j = l->first;

    if (j == NULL)
        return NULL;
    l->first = j->next;
    if (l->first == NULL)
        l->end = &l->first;
    return j;
}

static void *
helper_main(void *arg)
{
    ak_crew *c = arg;
    job     *j;

    log_actor(c->name);
    crash_enter_helper(c->name, c->seat); /* its faults are the actor's */
    (void)pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        if ((j = list_take(&c->waiting)) == NULL) {
            the_world->wait(&c->wake, &c->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&c->lock);
        j->work(j->job);
        (void)pthread_mutex_lock(&c->lock);
        list_add(&c->finished, j);
        wire_poke(c->wire);
    }
    (void)pthread_mutex_unlock(&c->lock);
    crash_leave();
    return NULL;
}

/* Helpers take no signals: those are the main thread's.  Faults are their own. */
static int
crew_start(ak_crew *c, uint32_t threads, const char *name)
{
    sigset_t all;
    sigset_t old;
    char     title[32];
    int      failed = 0;

    (void)sigfillset(&all);
    (void)sigdelset(&all, SIGSEGV);
    (void)sigdelset(&all, SIGABRT);
    (void)sigdelset(&all, SIGBUS);
    (void)sigdelset(&all, SIGFPE);
    (void)sigdelset(&all, SIGILL);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    while (c->threads < threads && failed == 0) {
        (void)snprintf(title, sizeof title, "%.13s/h", name);
        failed = the_world->thread_start(&c->thread[c->threads], helper_main, c, title);
        c->threads += failed == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed == 0 ? E_OK : err_errno(failed, "helper thread");
}

int
ak__crew_open(ak *k)
{
    ak_crew *c;

    if (k->kind->helpers == 0)
        return E_OK;
    ASSERT(k->kind->helpers <= AK_HELPERS_MAX);
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return err(E_NOMEM, "helper threads");
    k->crew = c;
    c->wire = k->wire;
    c->seat = k->seat;
    c->name = k->name;
    list_init(&c->waiting);
    list_init(&c->finished);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->wake, NULL);
    return crew_start(c, k->kind->helpers, k->name);
}

void
ak__crew_close(ak *k)
{
    ak_crew *c = k->crew;
    job     *j;

    if (c == NULL)
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->stop = true;
    the_world->wake(&c->wake, true);
    (void)pthread_mutex_unlock(&c->lock);
    for (uint32_t i = 0; i < c->threads; i++)
        the_world->thread_join(c->thread[i]);
    while ((j = list_take(&c->waiting)) != NULL || (j = list_take(&c->finished)) != NULL)
        free(j);
    (void)pthread_cond_destroy(&c->wake);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
    k->crew = NULL;
}

int
ak_help(ak *k, ak_work_fn *work, ak_done_fn *done, void *arg)
{
    ak_crew *c = k->crew;
    job     *j;

    ASSERT(c != NULL); /* ak_kind.helpers is 0 */
    if (c->under_way == AK_JOBS_MAX)
        return E_FULL;
    j = malloc(sizeof *j);
    if (j == NULL)
        return E_FULL;
    *j = (job){ .work = work, .done = done, .job = arg };
    c->under_way++;
    (void)pthread_mutex_lock(&c->lock);
    list_add(&c->waiting, j);
    the_world->wake(&c->wake, false);
    (void)pthread_mutex_unlock(&c->lock);
    return E_OK;
}

/* Takes the whole list under the lock once, calls the ends without it. */
uint32_t
ak__crew_reap(ak *k)
{
    ak_crew *c = k->crew;
    job     *j;
    job     *next;
    uint32_t n = 0;

    if (c == NULL || c->under_way == 0)
        return 0;
    (void)pthread_mutex_lock(&c->lock);
    j = c->finished.first;
    list_init(&c->finished);
    (void)pthread_mutex_unlock(&c->lock);
    for (; j != NULL; j = next, n++) {
        next = j->next;
        c->under_way--;
        if (k->dead == 0)
            j->done(k, k->self, j->job);
        free(j);
    }
    return n;
}

bool
ak__crew_idle(const ak *k)
{
    return k->crew == NULL || k->crew->under_way == 0;
}
