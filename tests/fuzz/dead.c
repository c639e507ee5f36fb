/* dead.c - a damaged dead letter is refused, and one that is taken is whole.
 *
 * The input edits a good letter, 3 bytes each: {at u16, value u8}; a first byte that is odd gives it a good checksum
 * again, the second cuts that many bytes off.
 */
#include "tests/fuzz/fuzz.h"

#include "proto/err.h"
#include "proto/hash.h"
#include "storage/dead.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const view fuzz_seeds[] = {
    VIEW_LIT("\x00\x00"),
    VIEW_LIT("\x01\x00\x00\x01\x05"),
    VIEW_LIT("\x01\x09\x00\x01\x08"),
    VIEW_LIT("\x01\x00\x0c\x00\x02\x50\x00\xff"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);
const view   fuzz_words[] = { VIEW_LIT("\x00\x01\xff"), VIEW_LIT("\x00\x00\x00"), VIEW_LIT("\x03\x01\x7f") };
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

enum { BODY = 40, HEAD = 320, CRC_AT = 8 };

static uint8_t good[HEAD + BODY];

static void
make_good(void)
{
    char        dir[] = "fuzz-dead.XXXXXX";
    uint8_t     body[BODY] = { 1, 2, 3 };
    dead_letter l = { .env = { .len = BODY, .type = 16, .from = addr_of(1, 0) },
                      .body = view_of(body, BODY),
                      .actor = addr_of(2, 0),
                      .reason = "test" };
    dead_letter back;
    uint8_t    *file;
    char        id[DEAD_ID_MAX];
    uint32_t    dropped;

    ASSERT(mkdtemp(dir) != NULL);
    ASSERT(dead_write(dir, &l, id, &dropped) == E_OK);
    ASSERT(dead_read(dir, id, &back, &file) == E_OK && back.body.len == BODY);
    memcpy(good, file, sizeof good);
    free(file);
    ASSERT(dead_drop(dir, id) == E_OK);
    (void)snprintf(id, sizeof id, "%s/dead", dir);
    (void)rmdir(id);
    (void)rmdir(dir);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t     file[sizeof good];
    size_t      n = sizeof file;
    dead_letter l;
    uint32_t    crc;

    if (good[0] == 0)
        make_good();
    memcpy(file, good, sizeof file);
    for (size_t i = 2; i + 3 <= len; i += 3)
        file[(data[i] * 256u + data[i + 1]) % sizeof file] = data[i + 2];
    if (len >= 2)
        n -= min_u64(data[1], n);
    if (len >= 1 && data[0] % 2 == 1 && n > HEAD) {
        crc = crc32c(0, file + CRC_AT + 4, n - CRC_AT - 4);
        memcpy(file + CRC_AT, &crc, sizeof crc);
    }
    if (dead_parse(view_of(file, n), &l) == E_OK) {
        ASSERT(l.body.at == file + HEAD && l.body.len == n - HEAD && l.env.len == l.body.len);
        ASSERT(memchr(l.reason, 0, sizeof l.reason) != NULL && memchr(l.build, 0, sizeof l.build) != NULL);
    }
    err_clear();
    return 0;
}
