/* num.h - doubles and integers to text and back, exact, independent of the locale. */
#ifndef HALTLESS_PROTO_NUM_H
#define HALTLESS_PROTO_NUM_H

#include "proto/base.h"

enum { NUM_TEXT_MAX = 32 };

/* The shortest decimal that reads back the same double, as JSON writes numbers (72.5, 1e+300, -0 as -0).
 * v is finite.  Returns the length; not NUL-terminated. */
size_t num_format(double v, char out[NUM_TEXT_MAX]);
/* A JSON number at the start of s.  Returns its length; 0: not a number.  *v is correctly rounded; infinite when
 * the number is beyond a double. */
size_t num_parse(view s, double *v);
size_t num_format_u64(uint64_t v, char out[NUM_TEXT_MAX]);
size_t num_format_i64(int64_t v, char out[NUM_TEXT_MAX]);

#endif
