/* ingest_retain.c - how long readings are kept: the rules, asked for and set; and the rounds in which what is over goes.
 *
 * The horizon is never the wall clock alone: it is at most a day ahead of the newest reading, and a wall clock that has
 * jumped by more than a day against the monotonic one stops the rounds until it is back.
 */
#include "actors/ingest_internal.h"

#include "proto/err.h"
#include "proto/log.h"

#include <inttypes.h>
#include <stdlib.h>

enum { ROUND_EVERY_S = 3600, BUSY_PIECES = 1, IDLE_PIECES = 16 };
#define DAY_US ((int64_t)86400 * 1000000)

static int64_t
horizon(ingest *in)
{
    int64_t wall = ak_wall_us(in->k);
    int64_t mono = (int64_t)(ak_now_ns(in->k) / 1000);
    int64_t newest = part_newest_us(in->part);
    int64_t jump;

    if (in->wall_at_us == 0) {
        in->wall_at_us = wall;
        in->mono_at_us = mono;
    }
    jump = (wall - in->wall_at_us) - (mono - in->mono_at_us);
    if (jump > DAY_US || jump < -DAY_US) {
        if (!in->clock_jumped)
            log_warn("ingest.retention", "stopped=true clock_jumped_s=%" PRId64, jump / 1000000);
        in->clock_jumped = true;
        return INT64_MIN;
    }
    in->clock_jumped = false;
    if (newest == INT64_MIN)
        return INT64_MIN;
    return newest + DAY_US < wall ? newest + DAY_US : wall;
}

void
ingest__retain_second(ingest *in)
{
    if (in->seconds % ROUND_EVERY_S == 1)
        in->retaining = true;
    (void)horizon(in); /* the clocks are compared from the start on */
}

bool
ingest__retain(ingest *in, bool busy)
{
    int64_t until = in->retaining ? horizon(in) : INT64_MIN;
    bool    more = until != INT64_MIN;
    int     rc = E_OK;

    if (!more)
        return false;
    ak_io_begin(in->k);
    for (int i = 0; i < (busy ? BUSY_PIECES : IDLE_PIECES) && more; i++)
        more = part_retain(in->part, until, &rc);
    ak_io_end(in->k);
    if (rc < 0) {
        log_warn("ingest.retention", "rc=%d text=%s", rc, log_quote(view_str(err_text())));
        err_clear();
    }
    in->retaining = more;
    return more;
}

static int
do_ask(ingest *in, const retention_ask *a, view rules, retained *out)
{
    retain_preview p = { .complete = true };
    int64_t        until = horizon(in);
    int            rc = in->replaying && a->op != RETENTION_GET ? E_AGAIN : E_OK;

    if (rc < 0) /* what is unsealed is not all there */
        return rc;
    if (a->op != RETENTION_GET && until != INT64_MIN) {
        rc = part_retain_preview(in->part, a->tenant, rules, until, &p);
        out->readings = p.readings;
        out->rollup_readings = p.rollup_readings;
    }
    out->complete = p.complete;
    if (rc == E_OK && a->op == RETENTION_SET)
        rc = part_retain_set(in->part, a->tenant, rules);
    if (rc == E_OK && a->op == RETENTION_SET)
        in->retaining = true;
    return rc;
}

ak_verdict
ingest__on_retention(ak *k, void *self, const ak_msg *m)
{
    ingest       *in = self;
    retention_ask a;
    retained      head = { 0 };
    uint8_t      *body;
    view          rules;

    memcpy(&a, m->body, sizeof a);
    if (a.len > m->len - sizeof a || a.op > RETENTION_SET)
        return AK_BAD;
    body = malloc(m->len + 1u); /* a copy: the asker's memory may change */
    ASSERT(body != NULL);
    memcpy(body, (const uint8_t *)m->body + sizeof a, a.len);
    ak_io_begin(k);
    head.rc = do_ask(in, &a, view_of(body, a.len), &head);
    ak_io_end(k);
    free(body);
    err_clear();
    rules = part_retain_rules(in->part, a.tenant);
    head.len = (uint32_t)rules.len;
    body = malloc(sizeof head + rules.len);
    ASSERT(body != NULL);
    memcpy(body, &head, sizeof head);
    if (rules.len > 0)
        memcpy(body + sizeof head, rules.at, rules.len);
    ak_reply(k, m, MSG_RETAINED, body, (uint32_t)(sizeof head + rules.len));
    free(body);
    return AK_DONE;
}
