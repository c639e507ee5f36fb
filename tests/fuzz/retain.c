/* retain.c - rules of retention from a message: sound ones point into it, and matching ends. */
#include "tests/fuzz/fuzz.h"

#include "proto/err.h"
#include "storage/retain.h"

const view fuzz_seeds[] = {
    VIEW_LIT("\x03\x00\x00\x00\x09\x00\x00\x00\x05\x00\x00\x00temp*"),
    VIEW_LIT("\x03\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00*\x05\x00\x00\x00\x05\x00\x00\x00\x03\x00\x00\x00" "a*b"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("*"),
    VIEW_LIT("?"),
    VIEW_LIT("\xff\xff\xff\xff"),
    VIEW_LIT("\x00\x00\x00\x00"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    retain_rule rules[RETAIN_RULES_MAX];
    uint32_t    count;

    if (retain_read(view_of(data, len), rules, &count) == 0) {
        for (uint32_t i = 0; i < count; i++) {
            ASSERT(rules[i].pattern.at >= data && rules[i].pattern.at + rules[i].pattern.len <= data + len);
            ASSERT(retain_matches(VIEW_LIT("*"), rules[i].pattern));
            (void)retain_matches(rules[i].pattern, view_of(data, len < 256 ? len : 256));
        }
    }
    err_clear();
    return 0;
}
