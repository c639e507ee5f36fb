/* kinds.h - every actor kind; api/ is reached at link time only. */
#ifndef HALTLESS_ACTORS_KINDS_H
#define HALTLESS_ACTORS_KINDS_H

#include "actors/ak.h"

extern const ak_kind front_kind;
extern const ak_kind ingest_kind;
extern const ak_kind query_kind;
extern const ak_kind alert_kind;
extern const ak_kind registry_kind;
extern const ak_kind worker_kind;
extern const ak_kind link_kind;
extern const ak_kind reader_kind;
extern const ak_kind notifier_kind;

/* NULL: there is none. */
const ak_kind *kind_of(uint16_t number);

#endif
