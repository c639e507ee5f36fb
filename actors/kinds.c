/* kinds.c - the number of a kind, in addresses and topology, to its code. */
#include "actors/kinds.h"

static const ak_kind *const kinds[] = {
    &front_kind,  &ingest_kind, &query_kind,  &alert_kind,    &registry_kind,
    &worker_kind, &link_kind,   &reader_kind, &notifier_kind,
};

const ak_kind *
kind_of(uint16_t number)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (kinds[i]->number == number)
            return kinds[i];
    return NULL;
}
