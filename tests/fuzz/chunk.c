/* chunk.c - rows come back bit for bit from the codec; arbitrary columns under a good checksum stay within bounds. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "proto/err.h"
#include "proto/hash.h"
#include "storage/chunk.h"

const view fuzz_seeds[] = {
    VIEW_LIT("\x00\x01\x00\x00\x00\x00\x00\xf0\x3f\x02\x00\x00\x00\x00\x00\x00\x40"),
    VIEW_LIT("\x01\x02\x01\x02\x03\x80\x01\x00\x05\x01\x01\x01\x01"),
    VIEW_LIT("\x01\x01\x02\x00\x04\x02\x00\x02\x18\x11\x80\x08\x26\x01\x02"),
    VIEW_LIT(
        "\x01\x00\x00\x00\x02\x02\x11\x11\x11\x11\x11\x11\x11\x11\x22\x22\x22\x22\x22\x22\x22\x22"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    VIEW_LIT("\x80"),
    VIEW_LIT("\x00\xff\xff\x03"),
    VIEW_LIT("\x08"),
    VIEW_LIT("\x00\x00\x00\x00\x00\x00\x00\x80"),
    VIEW_LIT("\x18"),
    VIEW_LIT("\x7f"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

static int64_t times[CHUNK_ROWS_MAX];
static double  values[CHUNK_ROWS_MAX];

static chunk_scratch *scratch; /* of the whole run */

/* {step u8, value f64} a row. */
static void
check_round_trip(const uint8_t *data, size_t len)
{
    static head_row rows[CHUNK_ROWS_MAX];
    static uint8_t  out[CHUNK_BYTES_MAX];
    uint32_t        count = 0;
    int64_t         time = 0;
    chunk_info      s;
    size_t          size;

    if (scratch == NULL)
        scratch = chunk_scratch_new();
    for (; len >= 9 && count < CHUNK_ROWS_MAX; data += 9, len -= 9) {
        time += 1 + (int64_t)data[0] * data[0] * data[0];
        rows[count].time_us = time;
        memcpy(&rows[count++].value, data + 1, 8);
    }
    if (count == 0)
        return;
    size = chunk_encode(out, rows, count, count % 2, scratch);
    ASSERT(chunk_read(view_of(out, size), &s) == 0 &&
           chunk_decode(view_of(out, size), scratch, times, values) == 0);
    for (uint32_t i = 0; i < count; i++)
        ASSERT(times[i] == rows[i].time_us && memcmp(&values[i], &rows[i].value, 8) == 0);
}

/* {unit, codec, decimals, count, columns}: a chunk that only its columns can betray. */
static void
check_columns(const uint8_t *data, size_t len)
{
    size_t     size = CHUNK_HEAD + len - 4;
    uint8_t   *chunk = malloc(size); /* its own, so that a read behind it is seen */
    uint32_t   count = data[3] == 255 ? CHUNK_ROWS_MAX : data[3] == 254 ? UINT32_MAX : data[3];
    uint32_t   whole = data[2] >= 128 ? data[2] * 64 : 0;
    chunk_info s;
    uint32_t   crc;

    if (scratch == NULL)
        scratch = chunk_scratch_new();

    ASSERT(chunk != NULL);
    memset(chunk, 0, CHUNK_HEAD);
    chunk[0] = CHUNK_VERSION;
    chunk[1] = data[0] % 16;
    chunk[2] = data[1] % 5;
    chunk[3] = data[2] % 8;
    memcpy(chunk + 8, &count, sizeof count);
    memcpy(chunk + 12, &whole, sizeof whole);
    memcpy(chunk + CHUNK_HEAD, data + 4, len - 4);
    crc = crc32c(0, chunk, size);
    memcpy(chunk + 4, &crc, sizeof crc);
    if (chunk_read(view_of(chunk, size), &s) == 0) {
        ASSERT(s.count > 0 && s.count <= CHUNK_ROWS_MAX);
        (void)!chunk_decode(view_of(chunk, size), scratch, times, values);
    }
    free(chunk);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    chunk_info s;

    if (len > 0 && data[0] % 2 == 0)
        check_round_trip(data + 1, len - 1);
    else if (len >= 5)
        check_columns(data + 1, len - 1);
    ASSERT(len < CHUNK_HEAD || chunk_read(view_of(data, len), &s) < 0 || s.count > 0);
    err_clear();
    return 0;
}
