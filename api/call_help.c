/* call_help.c - what a request has done by a helper thread of its front, because it would hold the loop for too long. */
#include "api/front.h"
#include "proto/err.h"

static void
work(void *job)
{
    help *h = job;

    h->work(h);
    err_clear(); /* of that thread */
}

static void
done(ak *k, void *self, void *job)
{
    help *h = job;
    call *c = h->c;

    (void)k;
    (void)self;
    c->helped = false;
    h->done(h, c->x != NULL && !c->answered);
    call_free_if_over(c);
}

bool
call_help(help *h)
{
    call *c = h->c;

    if (ak_help(c->f->k, work, done, h) < 0) {
        call_unavailable(c, KIND_FRONT, E_FULL);
        return false;
    }
    c->helped = true;
    return true;
}
