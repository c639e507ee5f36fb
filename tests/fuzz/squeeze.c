/* squeeze.c - no input inflates past its room. */
#include "tests/fuzz/fuzz.h"

#include "proto/err.h"
#include "proto/squeeze.h"

/* "hello, ..." thrice, and 1000 times "a" */
const view fuzz_seeds[] = {
    VIEW_LIT("\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\xd7\x51\xc8\x40\xa2\x00"
             "\x9f\xa1\xca\x09\x13\x00\x00\x00"),
    VIEW_LIT("\x28\xb5\x2f\xfd\x04\x58\x6d\x00\x00\x38\x68\x65\x6c\x6c\x6f\x2c\x20\x01\x00\x1a\x8b"
             "\x11\x12\x98\x03\x7b"),
    VIEW_LIT("\x28\xb5\x2f\xfd\x00\x58\x29\x00\x00\x68\x65\x6c\x6c\x6f"),
    VIEW_LIT("\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x4c\x1c\x05\xa3\x60\x14\x0c\x77\x00\x00"
             "\x03\xda\x38\x9a\xe8\x03\x00\x00"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\x1f\x8b\x08"),     VIEW_LIT("\x28\xb5\x2f\xfd"),
    VIEW_LIT("\xff\xff\xff\xff"), VIEW_LIT("\x50\x2a\x4d\x18"),
    VIEW_LIT("\x00\x00\x00\x00"), VIEW_LIT("\xe0\xff\xff\xff\xff\xff\xff\xff\x7f"),
    VIEW_LIT("\x03\x00"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    enum { ROOM = 64 };
    uint8_t out[ROOM + 8];
    size_t  n;

    for (squeeze_kind kind = SQUEEZE_GZIP; kind <= SQUEEZE_ZSTD; kind++) {
        int rc;

        memset(out, 0xee, sizeof out);
        rc = squeeze_inflate(kind, view_of(data, len), out, ROOM, &n);
        ASSERT(rc == E_OK || rc == E_BAD || rc == E_LIMIT || rc == E_NOMEM);
        ASSERT(n <= ROOM);
        for (size_t i = ROOM; i < sizeof out; i++)
            ASSERT(out[i] == 0xee);
    }
    return 0;
}
