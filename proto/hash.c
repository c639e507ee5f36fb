/* hash.c - CRC-32C and XXH3.
 *
 * CRC-32C has two ways to the same number:
 *   table     8 bytes a step through 8 tables ("slicing")
 *   sse4.2    the crc32 instruction.  It takes 3 cycles but one can start each cycle, so long
 *             runs go as three neighbouring lanes at once, joined by shifting a crc over LANE
 *             zero bytes (4 look-ups):
 *
 *             | lane a, LANE bytes | lane b, LANE bytes | lane c, LANE bytes |
 *             crc = shift(shift(a) ^ b) ^ c
 *
 * The tables are filled once, at the first call.
 */
#include "proto/hash.h"

#include <nmmintrin.h>
#include <pthread.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define POLYNOMIAL 0x82f63b78u /* Castagnoli, reflected */

enum { LANE = 1024 };

static uint32_t       slices[8][256];
static uint32_t       over_lane[4][256]; /* a crc byte, moved over LANE zero bytes */
static bool           has_sse42;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t
crc_table(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t w = load_u64(p) ^ crc;

        crc = slices[7][w & 0xff] ^ slices[6][w >> 8 & 0xff] ^ slices[5][w >> 16 & 0xff] ^
              slices[4][w >> 24 & 0xff] ^ slices[3][w >> 32 & 0xff] ^ slices[2][w >> 40 & 0xff] ^
              slices[1][w >> 48 & 0xff] ^ slices[0][w >> 56];
    }
    for (; len > 0; p++, len--)
        crc = slices[0][(crc ^ *p) & 0xff] ^ crc >> 8;
    return crc;
}

static void
fill_slices(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? POLYNOMIAL : 0);
        slices[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int s = 1; s < 8; s++)
            slices[s][i] = slices[0][slices[s - 1][i] & 0xff] ^ slices[s - 1][i] >> 8;
}

static void
fill_once(void)
{
    static const uint8_t zeros[LANE];

    fill_slices();
    for (uint32_t byte = 0; byte < 4; byte++)
        for (uint32_t i = 0; i < 256; i++)
            over_lane[byte][i] = crc_table(i << (8 * byte), zeros, LANE);
    has_sse42 = __builtin_cpu_supports("sse4.2") != 0;
}

static inline uint32_t
shift_lane(uint32_t crc)
{
    return over_lane[0][crc & 0xff] ^ over_lane[1][crc >> 8 & 0xff] ^
           over_lane[2][crc >> 16 & 0xff] ^ over_lane[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t
three_lanes(uint32_t crc, const uint8_t *p)
{
    uint64_t a = crc;
    uint64_t b = 0;
    uint64_t c = 0;

    for (size_t i = 0; i < LANE; i += 8) {
        a = _mm_crc32_u64(a, load_u64(p + i));
        b = _mm_crc32_u64(b, load_u64(p + LANE + i));
        c = _mm_crc32_u64(c, load_u64(p + (size_t)LANE * 2 + i));
    }
    return shift_lane(shift_lane((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t
crc_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= (size_t)LANE * 3; p += (size_t)LANE * 3, len -= (size_t)LANE * 3)
        crc = three_lanes(crc, p);
    uint64_t wide = crc;

    for (; len >= 8; p += 8, len -= 8)
        wide = _mm_crc32_u64(wide, load_u64(p));
    crc = (uint32_t)wide;
    for (; len > 0; p++, len--)
        crc = _mm_crc32_u8(crc, *p);
    return crc;
}

uint32_t
crc32c(uint32_t crc, const void *data, size_t len)
{
    pthread_once(&once, fill_once);
    return ~(has_sse42 ? crc_sse42(~crc, data, len) : crc_table(~crc, data, len));
}

uint32_t
crc32c_table(uint32_t crc, const void *data, size_t len)
{
    pthread_once(&once, fill_once);
    return ~crc_table(~crc, data, len);
}

uint64_t
hash64(uint64_t seed, const void *data, size_t len)
{
    return XXH3_64bits_withSeed(data, len, seed);
}
