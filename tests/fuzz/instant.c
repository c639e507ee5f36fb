/* instant.c - what is read as an instant is written as one, and comes back. */
#include "tests/fuzz/fuzz.h"

#include "proto/instant.h"

const view fuzz_seeds[] = {
    VIEW_LIT("2026-02-27T10:30:00Z"),          VIEW_LIT("2024-02-29t23:59:60.123456789+23:59"),
    VIEW_LIT("0001-01-01 00:00:00.5-00:00"),   VIEW_LIT("9999-12-31T23:59:59.999999z"),
    VIEW_LIT("1969-12-31T23:59:59.000001-12:30"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("Z"), VIEW_LIT("+00:00"), VIEW_LIT("-23:59"), VIEW_LIT(".0"), VIEW_LIT(":60"),
    VIEW_LIT("T"), VIEW_LIT("-02-29"), VIEW_LIT("0000"),   VIEW_LIT("9"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

static void
check_comes_back(int64_t us)
{
    char    text[INSTANT_TEXT_MAX];
    int64_t back;
    size_t  len = instant_format(us, text);

    ASSERT(len >= 20 && len <= 27 && text[len - 1] == 'Z');
    ASSERT(instant_parse(view_of(text, len), &back));
    ASSERT(back == us || !instant_has_second(us / 1000000 - (us % 1000000 < 0)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    int64_t us;

    if (instant_parse(view_of(data, len), &us)) {
        ASSERT(len >= 20 && len <= 35);
        check_comes_back(us);
    }
    if (len >= sizeof us) {
        memcpy(&us, data, sizeof us);
        check_comes_back(us);
    }
    return 0;
}
