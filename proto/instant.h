/* instant.h - RFC 3339 in and out, microseconds since the epoch in between. */
#ifndef HALTLESS_PROTO_INSTANT_H
#define HALTLESS_PROTO_INSTANT_H

#include "proto/base.h"

enum { INSTANT_TEXT_MAX = 32 };

/* Any offset, 0 to 9 fraction digits (finer than a microsecond is cut), 'T' or 't' or a space between date and
 * time, 'Z' or 'z'; second 60 counts as the next second's start.  False: not RFC 3339. Years 0001..9999. */
NODISCARD bool instant_parse(view s, int64_t *us);
/* Whether this second since the epoch lies in the years 0001..9999. */
bool instant_has_second(int64_t second);
/* UTC with Z and the fewest fraction digits of 0, 3, 6 that lose nothing.  Returns the length; not NUL-terminated. */
size_t instant_format(int64_t us, char out[INSTANT_TEXT_MAX]);

#endif
