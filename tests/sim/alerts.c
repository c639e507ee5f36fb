/* alerts.c - what the rule on M0's pressure should have led to, and what the registry says it did.
 *
 *   journal, read along ─rows of that series, in order─▶ above, below? ─▶ crossings      the model
 *   GET /alerts, page by page ────────────────────────▶ opened by, closed?              the server
 *
 * Whoever dies, is slow, sheds, or loses power: every crossing has its alert, and no alert is without one.  Where the server
 * says that it gave readings up unjudged because the journal's budget was at its end, no alert is there twice, and that is
 * all; so it is where a block was refused and yet lies on the disk, for whether its readings were ever seen depends on
 * who died when.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

enum { ALERTS_MAX = 8192 };
#define HIGH (UINT64_C(1) << 40)

typedef struct told { /* an alert as the registry tells it */
    uint64_t value;
    bool     open;
} told;

static struct {
    told     told[ALERTS_MAX];
    uint32_t count;
    uint64_t opened[ALERTS_MAX]; /* the model's: by which readings */
    uint32_t crossings;
    uint64_t newest_at; /* slot + 1 of the newest one judged */
    bool     is_open;
} alerts;

void
alerts_rule(char *out, size_t room, const char *machine)
{
    (void)snprintf(out, room,
                   "{\"name\":\"high\",\"metric_name\":\"pressure\",\"operator\":\"gt\",\"threshold\":%llu,"
                   "\"severity\":\"critical\",\"machine_id\":\"%s\"}",
                   (unsigned long long)HIGH / 2, machine);
}

void
alerts_told(double value, bool open)
{
    ASSERT(alerts.count < ALERTS_MAX);
    alerts.told[alerts.count++] = (told){ (uint64_t)value, open };
}

/* As rule_judge() does it: an older reading is passed over. */
static void
cross(void *ctx, uint64_t raw)
{
    uint32_t machine, metric, at;

    (void)ctx;
    if (!clients_know(raw & (HIGH - 1), &machine, &metric, &at) || machine != 0 || metric != 1 ||
        at + 1 < alerts.newest_at)
        return;
    alerts.newest_at = at + 1;
    if (!alerts.is_open && raw >= HIGH) {
        ASSERT(alerts.crossings < ALERTS_MAX);
        alerts.opened[alerts.crossings++] = raw;
    }
    alerts.is_open = raw >= HIGH;
}

static int
by_value(const void *a, const void *b)
{
    uint64_t x = ((const told *)a)->value, y = ((const told *)b)->value;

    return (x > y) - (x < y);
}

static int
by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void
judge_each(void)
{
    for (uint32_t i = 0; i < alerts.count; i++) {
        const told *t = &alerts.told[i];
        uint32_t    machine, metric, at;

        if (i > 0 && t->value == t[-1].value)
            sim_fail(ORACLE_ALERT, "reading %llx has opened two alerts", (unsigned long long)t->value);
        if (t->value < HIGH || !clients_know(t->value & (HIGH - 1), &machine, &metric, &at) ||
            machine != 0 || metric != 1)
            sim_fail(ORACLE_ALERT, "reading %llx has opened an alert", (unsigned long long)t->value);
    }
}

static void
judge_all(void)
{
    uint32_t open = 0;

    qsort(alerts.opened, alerts.crossings, sizeof *alerts.opened, by_number);
    for (uint32_t i = 0; i < alerts.crossings || i < alerts.count; i++) {
        if (i == alerts.count || (i < alerts.crossings && alerts.opened[i] < alerts.told[i].value))
            sim_fail(ORACLE_ALERT, "reading %llx has opened none", (unsigned long long)alerts.opened[i]);
        if (i == alerts.crossings || alerts.opened[i] != alerts.told[i].value)
            sim_fail(ORACLE_ALERT, "reading %llx has opened one without a crossing",
                     (unsigned long long)alerts.told[i].value);
        open += alerts.told[i].open;
    }
    if (open != alerts.is_open)
        sim_fail(ORACLE_ALERT, "%u open, the last reading says %u", open, alerts.is_open);
}

void
alerts_judge(void)
{
    qsort(alerts.told, alerts.count, sizeof *alerts.told, by_value);
    judge_each();
    if ((node_unjudged() > 0 && node_forced_trims() > 0) || disk_doubtful() > 0)
        return;
    disk_walk(cross, NULL);
    judge_all();
    sim_saw(ORACLE_ALERT, alerts.count);
}
