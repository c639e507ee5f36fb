/* rollup.c - arbitrary figures under a good checksum are refused, or sound. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "proto/err.h"
#include "proto/hash.h"
#include "storage/rollup.h"

const view fuzz_seeds[] = {
    VIEW_LIT("\x02\x02\x00\x04\x00\x03\x02\x04\x01\x03\x00\x00\x00\x00\x00\x00\x00\x00"),
    VIEW_LIT("\x0a\x01\x01\x04\x00\x03\x02\x04\x01\x03\x00\x00\x00\x00\x00\x00\x00\x00"
             "\x04\x00\x03\x02\x04\x01\x03\x00\x00\x00\x00\x00\x00\x00\x00"),
    VIEW_LIT("\x07\x00\x00\x01\x00\x00"
             "\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\xf0\x3f"
             "\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\x00\x00"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    VIEW_LIT("\x80"),
    VIEW_LIT("\x18"),
    VIEW_LIT("\x00\x00\x00\x00\x00\x00\xf0\x7f"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    chunk_key k = { .day = 0, .series = 1, .first_us = 1000000, .gen = 2, .lsn = 3 };
    rollup    r;
    size_t    size = 8 + len;
    uint8_t  *value;
    uint32_t  crc;

    (void)!rollup_read(&r, &k, view_of(data, len));
    err_clear();
    if (len < 3)
        return 0;
    size = 8 + len - 3;
    value = calloc(1, size); /* its own, so that a read behind it is seen */
    ASSERT(value != NULL);
    value[0] = ROLLUP_VERSION;
    value[1] = data[0] % 17;
    value[2] = data[1] % 4;
    value[3] = data[2] % 26;
    memcpy(value + 8, data + 3, len - 3);
    crc = crc32c(0, value, size);
    memcpy(value + 4, &crc, sizeof crc);
    if (rollup_read(&r, &k, view_of(value, size)) == 0) {
        ASSERT(r.whole.first_us >= k.first_us && r.whole.last_us >= r.whole.first_us);
        ASSERT(r.whole.lsn == 3 && r.whole.gen == 2 && r.hours <= ROLLUP_HOURS_MAX);
    }
    err_clear();
    free(value);
    return 0;
}
