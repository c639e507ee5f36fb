// num_short.cc - the shortest digits of a double, by the standard library's Ryu (U. Adams, PLDI 2018).
#include "proto/num_short.h"

#include <charconv>

size_t
num_shortest(double v, char out[NUM_SHORTEST_MAX])
{
    std::to_chars_result r = std::to_chars(out, out + NUM_SHORTEST_MAX, v, std::chars_format::scientific);

    return static_cast<size_t>(r.ptr - out);
}
