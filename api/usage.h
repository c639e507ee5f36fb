/* usage.h - when API keys were used: gathered by a front, told to the registry once a minute for a key.
 *
 * What is not told yet is lost with the front: a minute of a date.
 */
#ifndef HALTLESS_API_USAGE_H
#define HALTLESS_API_USAGE_H

#include "actors/ak.h"

typedef struct usage usage;

usage *usage_new(void);
void   usage_free(usage *u);
void   usage_note(usage *u, uint32_t key, int64_t at_us); /* once a request: no more than a look at a slot */
void   usage_tick(usage *u, ak *k);                       /* once a second: tells what is due */

#endif
