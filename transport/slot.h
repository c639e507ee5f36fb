/* slot.h - one page an actor: is it asleep, and which life of it is this?  Written by the actor,
 * read by its peers.
 *
 *   offset 0     magic, abi, who      written once by the supervisor
 *   128          parked               even: awake, odd: asleep; grows with every change, over
 * restarts too 256          epoch                which life: part of its endpoints' names, so none
 * is ever met twice
 */
#ifndef HALTLESS_TRANSPORT_SLOT_H
#define HALTLESS_TRANSPORT_SLOT_H

#include "proto/envelope.h"

typedef struct slot slot;

NODISCARD int slot_create(const char *dir, addr who);
/* The owner's opening ends its predecessor's sleep. */
NODISCARD int slot_open(slot **s, const char *dir, addr who, bool owner);
void          slot_close(slot **s);

uint64_t slot_parked(const slot *s); /* seq_cst */
/* A peer's look after its store: the word to remember once the bell was rung, or 0: it is awake, or was rung for. */
uint64_t slot_asks(const slot *s, uint64_t rung);
void     slot_park(slot *s);         /* owner; seq_cst; nothing when asleep already */
void     slot_unpark(slot *s);
const volatile void *slot_word(const slot *s); /* where parked is: for tests that watch it */
uint64_t slot_epoch(const slot *s);
void     slot_new_epoch(slot *s, uint64_t epoch);

#endif
