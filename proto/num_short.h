/* num_short.h - the fewest digits that read back the same double; of those, the ones nearest to it. */
#ifndef HALTLESS_PROTO_NUM_SHORT_H
#define HALTLESS_PROTO_NUM_SHORT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { NUM_SHORTEST_MAX = 32 };

/* "D[.DDD]e+XX" of a finite v > 0; its length. */
size_t num_shortest(double v, char out[NUM_SHORTEST_MAX]);

#ifdef __cplusplus
}
#endif

#endif
