/* ak_careful.c - after a crash: one message at a time, until the one that kills is known; then it is buried.
 *
 *   life 1   a batch of many; SIGSEGV                       the message whose handler ran is charged, if it was one
 *   life 2   careful: one message, its commit, the next     dies: exactly one message is charged
 *   life 3   careful                                        dies: the third death to its name
 *   life 4   buries it, fails its ask, acknowledges it, goes on; past what life 1 had read it is itself again
 *
 * A message is out from the moment it is taken until its lane is acknowledged behind it: a crash of its commit, of a
 * helper's job or, while it is held, of the handler of an answer is its doing too.  Answers, credit and cancels pass
 * while one is out, or a held message would wait for them for ever; a lane where they lie behind another message would
 * stand still, so after PATIENCE_NS the next one is taken all the same.
 */
#include "actors/ak_internal.h"

#include "actors/ak_node.h"
#include "actors/crash.h"
#include "proto/err.h"
#include "proto/log.h"

#include <inttypes.h>
#include <stdio.h>

static const uint64_t PATIENCE_NS = 250000000;
static const uint64_t GRAVE_RETRY_NS = 1000000000;
enum { REFUSED_KEPT_A_SECOND = 4 };
static const uint64_t SECOND_NS = 1000000000;

void
ak__careful_open(ak *k)
{
    seat *s = k->seat;

    k->careful = atomic_load(&s->careful) != 0 && atomic_load(&s->careful) == atomic_load(&s->epoch);
    k->wary = k->careful;
    for (uint32_t i = 0; i < SEAT_SUSPECTS; i++)
        k->wary = k->wary || atomic_load(&s->suspect[i].deaths) != 0;
    if (k->careful && atomic_load(&s->ready) + 1 != atomic_load(&s->epoch)) /* it was not ready yet */
        crumb_note_death(&s->start);
    atomic_store(&s->start.at, 0);
    if (k->careful)
        log_warn("actor.careful", "why=crash");
}

struct crumb *
ak_crumb(const ak *k)
{
    return &k->seat->start;
}

static bool
passes(const envelope *e)
{
    return (e->flags & ENV_REPLY) != 0 || e->type == MSG_CREDIT || e->type == MSG_CANCEL;
}

bool
ak__careful_takes(ak *k, const envelope *e)
{
    return !k->careful || k->out_in == NULL || passes(e) || k->now_ns - k->out_at_ns > PATIENCE_NS;
}

/* From here on a crash is this message's doing. */
void
ak__careful_took(ak *k, ak_in *in, const ak_msg *m)
{
    if (!k->careful || (m->flags & ENV_REPLY) != 0 || m->type == MSG_CREDIT || m->type == MSG_CANCEL)
        return;
    k->out_in = in;
    k->out_pos = m->pos;
    k->out_at_ns = k->now_ns;
}

/* It was not taken after all. */
void
ak__careful_put_back(ak *k, const ak_in *in, uint64_t pos)
{
    if (k->out_in == in && k->out_pos == pos)
        k->out_in = NULL;
}

/* Suspects that are acknowledged are none any longer. */
static void
forgive(ak *k)
{
    bool any = false;

    for (uint32_t i = 0; i < SEAT_SUSPECTS; i++) {
        seat_suspect *p = &k->seat->suspect[i];
        const ak_in  *in;

        if (atomic_load(&p->deaths) == 0)
            continue;
        in = ak__in_from(k, atomic_load(&p->from));
        if (in == NULL || in->acked > atomic_load(&p->pos))
            atomic_store(&p->deaths, 0);
        else
            any = true;
    }
    k->wary = k->careful || any;
}

static bool
is_past(const ak *k)
{
    for (uint32_t i = 0; i < k->ins; i++)
        if (!k->in[i].bad && lane_read_pos(k->in[i].lane) < k->in[i].again_until)
            return false;
    return k->out_in == NULL;
}

/* After each acknowledgement while it is wary. */
void
ak__careful_look(ak *k)
{
    if (k->out_in != NULL && k->out_in->acked > k->out_pos) {
        k->out_in = NULL;
        atomic_store_explicit(&k->seat->at_type, 0, memory_order_relaxed);
    }
    if (k->careful && is_past(k)) {
        k->careful = false;
        atomic_store(&k->seat->soothed, atomic_load(&k->seat->epoch));
        log_info("actor.careful_over", "epoch=%u", k->epoch);
    }
    forgive(k);
}

/* ---- burial ---- */

static void
fill(const ak *k, const ak_msg *m, dead_letter *l)
{
    *l = (dead_letter){ .env = { .len = m->len,
                                 .type = m->type,
                                 .flags = m->flags & (uint16_t)~AK_AGAIN,
                                 .spare = m->window,
                                 .from = m->from,
                                 .to = k->me,
                                 .corr = m->corr,
                                 .deadline_ns = m->deadline_ns,
                                 .sent_ns = m->sent_ns,
                                 .trace = m->trace },
                        .body = view_of(m->body, m->len),
                        .actor = k->me,
                        .pos = m->pos,
                        .generation = *ak_generation(k),
                        .wall_us = ak_wall_us(k) };
    (void)snprintf(l->build, sizeof l->build, "%s", crash_build());
}

static int
bury(ak *k, const dead_letter *l)
{
    char     id[DEAD_ID_MAX] = "";
    uint32_t dropped = 0;
    int      rc = E_OK;

    if (k->host->bury != NULL) {
        ak_io_begin(k);
        rc = k->host->bury(k->host->run->data_dir, l, id, &dropped);
        ak_io_end(k);
    }
    if (rc < 0)
        return rc;
    count_add(k->counters, COUNT_DEAD, 1);
    if (dropped > 0)
        count_add(k->counters, COUNT_DEAD_DROPPED, dropped);
    log_error("message.buried", "letter=%s type=%u len=%u reason=%s", id, l->env.type, l->env.len,
              log_quote(view_str(l->reason)));
    return E_OK;
}

/* Durable before its lane is acknowledged: as long as it cannot be written, its lane waits and the others go on. */
static ak_verdict
bury_poison(ak *k, const ak_msg *m, const seat_suspect *p)
{
    dead_letter l;

    if (k->now_ns < k->grave_at_ns)
        return AK_WAIT;
    fill(k, m, &l);
    l.signal = atomic_load(&p->signal);
    l.attempts = atomic_load(&p->deaths);
    (void)snprintf(l.reason, sizeof l.reason, "killed %s %u times, the last by SIG%s", k->name, l.attempts,
                   sigabbrev_np(l.signal));
    if (bury(k, &l) < 0) {
        log_error("message.not_buried", "reason=%s", log_quote(view_str(err_text())));
        err_clear();
        k->grave_at_ns = k->now_ns + GRAVE_RETRY_NS;
        return AK_WAIT;
    }
    ak_fail(k, m, E_BAD);
    return AK_DONE;
}

/* True: it was the third death of somebody; *v is what becomes of it. */
bool
ak__careful_buries(ak *k, const ak_msg *m, ak_verdict *v)
{
    const seat_suspect *p = seat_suspect_of(k->seat, m->from, m->pos);

    if (p == NULL || atomic_load(&p->deaths) < SEAT_DEATHS_MAX)
        return false;
    *v = bury_poison(k, m, p);
    return true;
}

/* What was refused is kept too, but never at the cost of the rest: a few a second, and not when it cannot be written. */
void
ak__bury_refused(ak *k, const ak_msg *m, const char *why)
{
    dead_letter l;

    if (m->lane == AK_NO_LANE || m->len > DEAD_BODY_MAX)
        return;
    if (k->now_ns - k->refused_at_ns > SECOND_NS) {
        k->refused_at_ns = k->now_ns;
        k->refused = 0;
    }
    if (k->refused++ >= REFUSED_KEPT_A_SECOND)
        return;
    fill(k, m, &l);
    (void)snprintf(l.reason, sizeof l.reason, "%s", why);
    if (bury(k, &l) < 0)
        err_clear();
}
