/* retain.h - how long a partition keeps what: rules of a tenant by the names of metrics.
 *
 * The first rule of its tenant whose pattern fits a series' metric says; none: it is kept for ever.
 */
#ifndef HALTLESS_STORAGE_RETAIN_H
#define HALTLESS_STORAGE_RETAIN_H

#include "proto/base.h"
#include "proto/rows.h"

enum { RETAIN_RULES_MAX = 64, RETAIN_DAYS_MAX = 36500 };

typedef struct retain_rule {
    view     pattern; /* '*' is any run of characters, '?' one */
    uint32_t raw_days;    /* 0: for ever */
    uint32_t rollup_days; /* 0: for ever; else at least raw_days */
} retain_rule;

/* The bytes of a message and of the store: retain_row, pattern, one behind the other.  E_BAD. */
NODISCARD int retain_read(view bytes, retain_rule out[RETAIN_RULES_MAX], uint32_t *count);
bool          retain_matches(view pattern, view metric);
const retain_rule *retain_rule_of(const retain_rule *rules, uint32_t count, view metric); /* NULL: none */

#endif
