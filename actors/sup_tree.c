/* sup_tree.c - the tree of a node has two levels, the supervisor and its processes; these are its rules.
 *
 *   restart    permanent   always          transient   unless it ended with 0          temporary   never
 *   strategy   one-for-one    it alone
 *              one-for-all    every process of that strategy is recalled, and all start anew, servants first
 *              rest-for-one   those of that strategy that start after it
 *   intensity  more than `server.restarts` deaths of its own doing within `server.restarts_within_s`: it stays down,
 *              whoever asks it hears so at once, and it is tried every 5 s
 *
 * A process that hosts several kinds has the strictest rule of them.  Decisions only: nothing here touches a process.
 */
#include "actors/sup_internal.h"

#include <sys/wait.h>

void
sup__tree_join(child *c, const slot_plan *p)
{
    c->restart = (enum plan_restart)min_u64(c->restart, p->restart);
    c->strategy = (enum plan_strategy)max_u64(c->strategy, p->strategy);
}

bool
sup__tree_restarts(const child *c, int status)
{
    if (c->restart == RESTART_TRANSIENT)
        return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return c->restart == RESTART_PERMANENT;
}

static bool
is_team(const child *a, const child *b)
{
    return a != b && a->strategy == b->strategy && a->strategy != STRATEGY_ONE_FOR_ONE;
}

static bool
starts_after(const child *a, const child *b)
{
    return a->rank != b->rank ? a->rank > b->rank : a->group > b->group;
}

bool
sup__tree_takes_along(const child *dead, const child *other)
{
    if (!is_team(dead, other))
        return false;
    return dead->strategy == STRATEGY_ONE_FOR_ALL || starts_after(other, dead);
}

/* Not before those of its team that were recalled are gone, and its servants among them are ready. */
bool
sup__tree_may_start(const sup *s, const child *c)
{
    for (uint32_t i = 0; i < s->children; i++) {
        const child *o = &s->child[i];

        if (!is_team(c, o) || o->retired || o->down)
            continue;
        if (o->recalled && o->pid != 0)
            return false;
        if (o->rank < c->rank && !o->ready)
            return false;
    }
    return true;
}

bool
sup__tree_is_over(child *c, uint64_t now, uint32_t most, uint64_t within_ns)
{
    uint32_t n = 0;

    c->death_ns[c->death_at++ % DEATHS_KEPT] = now;
    for (uint32_t i = 0; i < DEATHS_KEPT; i++)
        n += c->death_ns[i] != 0 && now - c->death_ns[i] <= within_ns;
    return n > most;
}
