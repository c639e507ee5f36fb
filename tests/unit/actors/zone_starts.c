/* Not a test of its own: prints the starts of a zone's buckets for tests/unit/actors/zone_starts.py.
 *
 * In:  name unit n from_us to_us   a line each (unit: number of enum interval_unit)
 * Out: the starts of all buckets from the one that holds `from` up to `to`, in a line; "-": no such zone */
#include "actors/aggregate.h"
#include "proto/err.h"

#include <inttypes.h>
#include <stdio.h>

static void
print_starts(every e, int64_t from, int64_t to)
{
    int64_t at = bucket_start(e, from);

    for (uint32_t i = 0; at < to && i < 100000; i++) {
        int64_t end = bucket_end(e, at);

        printf("%" PRId64 " ", at);
        if (end <= at || bucket_start(e, at) != at || bucket_start(e, end - 1) != at ||
            bucket_start(e, at + (end - at) / 2) != at) {
            printf("bad"); /* a bucket must hold what lies in it */
            break;
        }
        at = end;
    }
    printf("\n");
}

int
main(void)
{
    char    name[65];
    uint32_t unit, n;
    int64_t from, to;

    while (scanf("%64s %" SCNu32 " %" SCNu32 " %" SCNd64 " %" SCNd64, name, &unit, &n, &from, &to) == 5) {
        zone *z;

        if (zone_open(view_str(name), &z) < 0) {
            printf("-\n");
            err_clear();
            continue;
        }
        print_starts((every){ (uint8_t)unit, n, z }, from, to);
        zone_close(&z);
    }
    return 0;
}
