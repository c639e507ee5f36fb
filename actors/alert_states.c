/* alert_states.c - what is known of each rule on each machine: a hash table. */
#include "actors/alert_internal.h"

#include "proto/hash.h"

#include <stdlib.h>

static uint32_t
slot_of(const alert_states *t, uint32_t rule, uint32_t machine)
{
    uint32_t pair[2] = { rule, machine };

    return (uint32_t)hash64(0, pair, sizeof pair) & (t->slots_room - 1);
}

static void
enter(alert_states *t, uint32_t index)
{
    uint32_t at = slot_of(t, t->at[index].rule, t->at[index].machine);

    while (t->slots[at] != 0)
        at = (at + 1) & (t->slots_room - 1);
    t->slots[at] = index + 1;
}

static void
index_anew(alert_states *t)
{
    memset(t->slots, 0, t->slots_room * sizeof *t->slots);
    for (uint32_t i = 0; i < t->count; i++)
        enter(t, i);
}

static void
grow(alert_states *t)
{
    t->room = t->room == 0 ? 1024 : t->room * 2;
    t->at = realloc(t->at, t->room * sizeof *t->at);
    t->slots_room = t->room * 2;
    t->slots = realloc(t->slots, t->slots_room * sizeof *t->slots);
    ASSERT(t->at != NULL && t->slots != NULL);
    index_anew(t);
}

alert_state *
alert__state_find(alert *a, uint32_t rule, uint32_t machine)
{
    alert_states *t = &a->states;

    if (t->slots_room == 0)
        return NULL;
    for (uint32_t at = slot_of(t, rule, machine); t->slots[at] != 0; at = (at + 1) & (t->slots_room - 1)) {
        alert_state *s = &t->at[t->slots[at] - 1];

        if (s->rule == rule && s->machine == machine)
            return s;
    }
    return NULL;
}

alert_state *
alert__state(alert *a, uint32_t rule, uint32_t machine)
{
    alert_states *t = &a->states;
    alert_state  *s = alert__state_find(a, rule, machine);

    if (s != NULL)
        return s;
    if (t->count == STATES_MAX)
        return NULL;
    if (t->count == t->room)
        grow(t);
    s = &t->at[t->count];
    *s = (alert_state){ .rule = rule, .machine = machine };
    enter(t, t->count++);
    return s;
}

/* Alerts of a rule that is deleted or switched off are closed by the registry; if it comes back, it starts anew. */
void
alert__states_prune(alert *a)
{
    alert_states *t = &a->states;
    uint32_t      max = table_count(board_table(ak_board(a->k), BOARD_RULES, 0));
    uint8_t      *live = calloc(max + 1u, 1);
    uint32_t      kept = 0;

    ASSERT(live != NULL);
    for (uint32_t i = 0; i < alert__rules(a)->count; i++)
        if (alert__rules(a)->rules[i].rule.no <= max)
            live[alert__rules(a)->rules[i].rule.no] = 1;
    for (uint32_t i = 0; i < t->count; i++)
        if ((t->at[i].rule <= max && live[t->at[i].rule]) || t->at[i].flying > 0)
            t->at[kept++] = t->at[i];
    free(live);
    if (kept == t->count)
        return;
    t->count = kept;
    t->changed = true;
    index_anew(t);
}

bool
alert__is_done(alert_state *s, uint64_t pos)
{
    if (pos <= s->done_pos)
        return true;
    if (s->done_pos != 0 && s->s.open != s->done_open) {
        s->s.open = s->done_open;
        s->s.holding = false;
    }
    s->done_pos = 0;
    return false;
}

void
alert__states_free(alert *a)
{
    free(a->states.at);
    free(a->states.slots);
    memset(&a->states, 0, sizeof a->states);
}
