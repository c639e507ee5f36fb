/* rule_conditions.c - packed conditions: what reads, packs to the same bytes; nothing is read past the end. */
#include "tests/fuzz/fuzz.h"

#include "actors/rules.h"

#include <stdlib.h>

/* op gt, 90, "t"; then op lt, 5, "flow" */
const view fuzz_seeds[] = {
    VIEW_LIT("\x00\x00\x01\x00\x00\x00\x00\x00\x00\x80\x56\x40t"),
    VIEW_LIT("\x00\x00\x01\x00\x00\x00\x00\x00\x00\x80\x56\x40t\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x14\x40"
             "flow"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\x05\x00\x00\x00"), VIEW_LIT("\x06"), VIEW_LIT("\xff\xff"), VIEW_LIT("\x00\x00\xfc\x03"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    rule_condition c[RULE_CONDITIONS_MAX];
    uint8_t       *copy = malloc(len + 1); /* exactly as long: a sanitizer sees one byte too many */
    uint8_t       *again = malloc(len + 12);
    uint32_t       count;

    ASSERT(copy != NULL && again != NULL);
    memcpy(copy, data, len);
    count = rule_conditions_read(view_of(copy, len), c);
    ASSERT(count <= RULE_CONDITIONS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(c[i].op <= CMP_NE && c[i].metric.at >= copy && c[i].metric.at + c[i].metric.len <= copy + len);
        copy[c[i].metric.at - copy - 11] = 0; /* the byte that says nothing */
    }
    if (count > 0) {
        ASSERT(rule_conditions_pack(c, count, again) == len);
        for (size_t i = 0, at = 0; i < count; at += 12 + c[i++].metric.len)
            ASSERT(memcmp(again + at + 12, c[i].metric.at, c[i].metric.len) == 0);
    }
    free(copy);
    free(again);
    return 0;
}
