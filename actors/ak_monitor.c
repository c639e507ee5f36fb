/* ak_monitor.c - an actor hears of another one's death, or dies of it.
 *
 * Who died is known from its seat: the supervisor wrote "down" there, or another epoch.  When to look, the supervisor
 * tells each process in a control word (ak_deaths_look); a word that was lost costs the second until the next sweep.
 */
#include "actors/ak_internal.h"

#include "proto/err.h"

#include <stdlib.h>

enum { MONITORS_MAX = 1024 };

static ak_monitored *
monitor_of(ak *k, addr who)
{
    for (uint32_t i = 0; i < k->monitors; i++)
        if (k->monitor[i].who == who)
            return &k->monitor[i];
    return NULL;
}

static int
watch(ak *k, addr who, bool linked)
{
    ak_monitored *m = monitor_of(k, who);
    int           rc;

    if (m == NULL) {
        if (k->monitors == MONITORS_MAX)
            return E_LIMIT;
        if (k->monitors % 16 == 0) {
            m = realloc(k->monitor, (k->monitors + 16) * sizeof *m);
            ASSERT(m != NULL);
            k->monitor = m;
        }
        m = &k->monitor[k->monitors];
        *m = (ak_monitored){ .who = who };
        if ((rc = seat_open(&m->seat, k->host->run->path, who, false)) < 0) {
            err_clear();
            return rc == E_NOTFOUND ? E_GONE : rc;
        }
        m->epoch = atomic_load(&m->seat->epoch);
        k->monitors++;
    }
    m->linked = m->linked || linked;
    atomic_store(&k->deaths_due, true); /* it may be down already */
    wire_poke(k->wire);
    return E_OK;
}

int
ak_monitor(ak *k, addr who)
{
    return watch(k, who, false);
}

int
ak_link(ak *k, addr who)
{
    return watch(k, who, true);
}

void
ak_unmonitor(ak *k, addr who)
{
    ak_monitored *m = monitor_of(k, who);

    if (m == NULL)
        return;
    seat_close(&m->seat);
    *m = k->monitor[--k->monitors];
}

void
ak_deaths_look(ak *k)
{
    atomic_store(&k->deaths_due, true);
    wire_poke(k->wire);
}

/* The epoch that died and was not told yet; 0: none.  A role goes on to be watched in its next life. */
static uint32_t
death_of(ak_monitored *m)
{
    uint32_t epoch = atomic_load(&m->seat->epoch);
    uint32_t died = 0;

    if (epoch != m->epoch && m->told != m->epoch)
        died = m->epoch;
    else if (atomic_load(&m->seat->state) == SEAT_DOWN && epoch != 0 && m->told != epoch)
        died = epoch;
    m->epoch = epoch;
    if (died != 0)
        m->told = died;
    return died;
}

static void
tell(ak *k, addr who, uint32_t epoch)
{
    ak_msg m = { .type = MSG_DOWN,
                 .from = who,
                 .corr = epoch,
                 .lane = AK_NO_LANE,
                 .len = sizeof who,
                 .body = &who };

    (void)ak__call(k, &m);
}

void
ak__deaths_run(ak *k)
{
    for (uint32_t i = 0; i < k->monitors && k->dead == 0; i++) {
        ak_monitored *m = &k->monitor[i];
        addr          who = m->who;
        uint32_t      died = death_of(m);

        if (died == 0)
            continue;
        if (m->linked)
            ak__die(k, err(E_GONE, "linked to %s.%u, which died", kind_name(addr_kind(who)), addr_part(who)));
        else
            tell(k, who, died);
    }
}

void
ak__monitors_close(ak *k)
{
    for (uint32_t i = 0; i < k->monitors; i++)
        seat_close(&k->monitor[i].seat);
    free(k->monitor);
    k->monitor = NULL;
    k->monitors = 0;
}
