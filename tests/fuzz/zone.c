/* zone.c - whatever a TZif file says, local time can be asked of it and midnights come in order. */
#include "tests/fuzz/fuzz.h"

#include "proto/zone.h"

#include "proto/err.h"

/* version 2, an empty v1 block, n times, m types, 4 name bytes */
#define COUNTS(leaps, times, types) "\0\0\0\0" "\0\0\0\0" "\0\0\0" leaps "\0\0\0" times "\0\0\0" types "\0\0\0\4"
#define RESERVED "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define HEAD(times, types) "TZif2" RESERVED COUNTS("\0", times, types)
#define V1 HEAD("\0", "\1") "\0\0\0\0\0\0" "LMT\0"
#define TWO_TYPES "\0\0\x0e\x10\0\0" "\0\0\x1c\x20\1\0" "CET\0"

const view fuzz_seeds[] = {
    VIEW_LIT(V1 HEAD("\0", "\2") TWO_TYPES "\nCET-1CEST,M3.5.0,M10.5.0/3\n"),
    VIEW_LIT(V1 HEAD("\1", "\2") "\0\0\0\0\x40\0\0\0" "\1" TWO_TYPES "\n<+0330>-3:30<+0430>,J79/24,J263/24\n"),
    VIEW_LIT(V1 HEAD("\1", "\2") "\xf8\0\0\0\0\0\0\0" "\0" TWO_TYPES "\nXXX3EDT4,0/0,J365/23\n"),
    VIEW_LIT(V1 HEAD("\1", "\2") "\0\0\0\0\0\0\0\1" "\1" TWO_TYPES "\n\n"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("TZif2"), VIEW_LIT("TZif3"), VIEW_LIT("M3.5.0"), VIEW_LIT("J365/25"), VIEW_LIT(",0/-167"),
    VIEW_LIT("<-03>"), VIEW_LIT("\0\0\0\1"), VIEW_LIT("\xff\xff\xff\xff"), VIEW_LIT("/167:59:59"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const int64_t from[] = { -62135596800, -2208988800, 0, 1262304000, 4102444800, 253000000000 };
    zone *z;

    if (zone_parse(view_of(data, len), &z) < 0) {
        err_clear();
        ASSERT(z == NULL);
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(from); i++) {
        int64_t before = INT64_MIN;

        for (int64_t local = from[i]; local < from[i] + 40 * 86400; local += 21600) {
            int64_t at = zone_first(z, local);

            ASSERT(at >= before);
            ASSERT(at + zone_offset(z, at) >= local);
            ASSERT(at - 1 + zone_offset(z, at - 1) < local);
            before = at;
        }
    }
    zone_close(&z);
    return 0;
}
