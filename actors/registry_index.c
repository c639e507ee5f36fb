/* registry_index.c - what the registry keeps its records in: pointers in order, pointers by hash, owned text.
 *
 * Out of memory ends the actor: the registry's memory is bounded by the board's capacities, and its state is on
 * the disk.
 */
#include "actors/registry_internal.h"

#include <stdlib.h>

#define REMOVED ((void *)(uintptr_t)1) /* a slot that a walk must not stop at */

/* ---- lists ---- */
static void
list_reserve(reg_list *l, uint32_t room)
{
    if (room <= l->room)
        return;
    uint32_t want = l->room == 0 ? 8 : l->room;
    while (want < room)
        want *= 2;
    l->at = realloc(l->at, want * sizeof *l->at);
    ASSERT(l->at != NULL);
    l->room = want;
}

void
reg_list_add(reg_list *l, void *record)
{
    list_reserve(l, l->count + 1);
    l->at[l->count++] = record;
}

void
reg_list_remove(reg_list *l, const void *record)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->at[i] == record) {
            memmove(&l->at[i], &l->at[i + 1], (l->count - i - 1) * sizeof *l->at);
            l->count--;
            return;
        }
}

void
reg_list_fini(reg_list *l)
{
    free(l->at);
    *l = (reg_list){ 0 };
}

void *
reg_numbered(const reg_list *l, uint64_t no)
{
    return no == 0 || no > l->count ? NULL : l->at[no - 1];
}

void
reg_set_numbered(reg_list *l, uint64_t no, void *record)
{
    ASSERT(no > 0 && no <= UINT32_MAX / 2);
    list_reserve(l, (uint32_t)no);
    while (l->count < no)
        l->at[l->count++] = NULL;
    l->at[no - 1] = record;
}

/* ---- indexes: open addressing, linear ---- */
static void
index_enter(reg_index *x, uint64_t hash, void *record)
{
    uint32_t i = (uint32_t)hash & (x->room - 1);

    while (x->slot[i].record != NULL)
        i = (i + 1) & (x->room - 1);
    x->slot[i] = (reg_slot){ hash, record };
    x->used++;
}

static void
index_grow(reg_index *x)
{
    reg_index old = *x;
    uint32_t  live = 0;

    for (uint32_t i = 0; i < old.room; i++)
        live += old.slot[i].record != NULL && old.slot[i].record != REMOVED;
    x->room = 64;
    while (x->room < live * 4)
        x->room *= 2;
    x->slot = calloc(x->room, sizeof *x->slot);
    ASSERT(x->slot != NULL);
    x->used = 0;
    for (uint32_t i = 0; i < old.room; i++)
        if (old.slot[i].record != NULL && old.slot[i].record != REMOVED)
            index_enter(x, old.slot[i].hash, old.slot[i].record);
    free(old.slot);
}

void
reg_index_put(reg_index *x, uint64_t hash, void *record)
{
    if (x->used + 1 > x->room / 4 * 3)
        index_grow(x);
    index_enter(x, hash, record);
}

void *
reg_index_next(const reg_index *x, uint64_t hash, uint32_t *at)
{
    for (; *at < x->room; ++*at) {
        const reg_slot *s = &x->slot[((uint32_t)hash + *at) & (x->room - 1)];

        if (s->record == NULL)
            return NULL;
        if (s->hash == hash && s->record != REMOVED) {
            ++*at;
            return s->record;
        }
    }
    return NULL;
}

void
reg_index_remove(reg_index *x, uint64_t hash, const void *record)
{
    for (uint32_t i = 0; i < x->room; i++) {
        reg_slot *s = &x->slot[((uint32_t)hash + i) & (x->room - 1)];

        if (s->record == NULL)
            return;
        if (s->hash == hash && s->record == record) {
            s->record = REMOVED;
            return;
        }
    }
}

void
reg_index_fini(reg_index *x)
{
    free(x->slot);
    *x = (reg_index){ 0 };
}

/* ---- owned text ---- */
void
reg_text_set(view *text, view to)
{
    uint8_t *copy = NULL;

    if (to.at != NULL) {
        copy = malloc(to.len + 1);
        ASSERT(copy != NULL);
        memcpy(copy, to.at, to.len);
        copy[to.len] = '\0';
    }
    free((void *)(uintptr_t)text->at);
    *text = view_of(copy, copy == NULL ? 0 : to.len);
}

void
reg_text_fini(view *text)
{
    free((void *)(uintptr_t)text->at);
    *text = (view){ 0 };
}
