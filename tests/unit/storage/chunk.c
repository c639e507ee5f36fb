#include "tests/unit/check.h"

#include <math.h>
#include <stdlib.h>

#include "storage/chunk.h"
#include "storage/keys.h"
#include "storage/rollup.h"

static uint64_t seed = 88172645463325252ull;

static uint64_t
next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static double
random_bits(void)
{
    uint64_t bits = next_random();
    double   v;

    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint8_t  encoded[CHUNK_BYTES_MAX];
static head_row rows[CHUNK_ROWS_MAX];
static int64_t  times[CHUNK_ROWS_MAX];
static double   values[CHUNK_ROWS_MAX];

static chunk_scratch *scratch;

/* Bit for bit, squeezed and not; the encoded length of the latter. */
static size_t
check_round_trip(uint32_t count)
{
    size_t     len = 0;
    chunk_info info;

    for (int squeeze = 1; squeeze >= 0; squeeze--) {
        len = chunk_encode(encoded, rows, count, squeeze, scratch);
        CHECK_OK(chunk_read(view_of(encoded, len), &info));
        CHECK_OK(chunk_decode(view_of(encoded, len), scratch, times, values));
        CHECK_EQ(info.count, count);
        CHECK_EQ(info.first_us, rows[0].time_us);
        for (uint32_t i = 0; i < count; i++) {
            CHECK_EQ(times[i], rows[i].time_us);
            CHECK_EQ(memcmp(&values[i], &rows[i].value, 8), 0);
        }
    }
    return len;
}

enum rhythm { REGULAR, JITTER_MS, JITTER_US, GAPS, RHYTHMS };

static void
fill_times(enum rhythm r, uint32_t count, int64_t from)
{
    int64_t t = from;

    for (uint32_t i = 0; i < count; i++) {
        rows[i].time_us = t;
        switch (r) {
        case REGULAR:
            t += 10000000;
            break;
        case JITTER_MS:
            t += 1000000 + (int64_t)(next_random() % 7) * 1000 - 3000;
            break;
        case JITTER_US:
            t += 1 + (int64_t)(next_random() % 20000000);
            break;
        default:
            t += next_random() % 50 == 0 ? 600000000 : 1000000;
        }
    }
}

enum shape { WALK, WHOLE, CONSTANT, NOISE, ZEROS, SHAPES };

static void
fill_values(enum shape s, uint32_t count, int decimals)
{
    int64_t n = 7000;
    double  power = 1;

    for (int i = 0; i < decimals; i++)
        power *= 10;

    for (uint32_t i = 0; i < count; i++) {
        n += (int64_t)(next_random() % 41) - 20;
        rows[i].value = s == WALK       ? (double)n / power
                        : s == WHOLE    ? (double)n
                        : s == CONSTANT ? 70.12
                        : s == NOISE    ? random_bits()
                        : i % 2         ? -0.0
                                        : 0.0;
    }
}

static void
every_shape_comes_back_bit_for_bit(void **state)
{
    static const uint32_t counts[] = { 1, 2, 3, 100, 512, CHUNK_ROWS_MAX };

    (void)state;
    for (int r = 0; r < RHYTHMS; r++)
        for (int s = 0; s < SHAPES; s++)
            for (size_t c = 0; c < COUNT_OF(counts); c++)
                for (int decimals = 0; decimals <= 7; decimals++) {
                    fill_times((enum rhythm)r, counts[c], -5000000000000 + 12345678 * decimals);
                    fill_values((enum shape)s, counts[c], decimals);
                    check_round_trip(counts[c]);
                }
}

static void
awkward_doubles_come_back_bit_for_bit(void **state)
{
    static const double awkward[] = {
        0.0,
        -0.0,
        5e-324,
        -5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        -1.7976931348623157e308,
        0x1p53,
        0x1p53 + 2,
        -0x1p53,
        0x1p52 + 0.5,
        9007199254740991,
        9007199254.740991,
        0.1,
        0.3,
        1e-6,
        1e-7,
        1e22,
        1e23,
        123456.789012,
        4503599627370497.5,
        INFINITY,
        -INFINITY,
        NAN,
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(awkward); i++)
        for (size_t k = 0; k < COUNT_OF(awkward); k++) {
            rows[0] = (head_row){ INT64_MIN + 1, awkward[i] };
            rows[1] = (head_row){ INT64_MIN + 2, awkward[k] };
            check_round_trip(2);
            rows[0].time_us = INT64_MAX - 1;
            rows[1].time_us = INT64_MAX;
            check_round_trip(2);
        }
}

static void
what_machines_send_is_small(void **state)
{
    (void)state;
    fill_times(REGULAR, 512, 0);
    fill_values(WALK, 512, 2);
    CHECK(check_round_trip(512) <= CHUNK_HEAD + 16 + 512);
    fill_values(CONSTANT, 512, 2);
    CHECK(check_round_trip(512) <= CHUNK_HEAD + 16);
    fill_times(JITTER_MS, 512, 0);
    CHECK(check_round_trip(512) <= CHUNK_HEAD + 16 + 512);
    fill_values(NOISE, 512, 2);
    CHECK(check_round_trip(512) <= CHUNK_HEAD + 16 + 9 * 512);
}

static void
a_rollup_is_that_of_the_rows(void **state)
{
    static const double some[] = { 3, -1, 5, 1 };
    uint8_t             out[ROLLUP_BYTES_MAX];
    rollup              r, back;
    chunk_key           k = { .series = 1, .lsn = 7 };

    (void)state;
    for (int i = 0; i < 4; i++)
        rows[i] = (head_row){ i * (ROLLUP_HOUR_US / 2), some[i] };
    for (int decimal = 0; decimal < 2; decimal++) {
        (void)chunk_encode(encoded, rows, 4, false, scratch);
        rollup_make(&r, rows, 4, true, decimal ? chunk_decimals_of(scratch) : NULL);
        CHECK_OK(rollup_read(&back, &k, view_of(out, rollup_encode(out, &r))));
        CHECK(back.whole.sum == 8 && back.whole.min == -1 && back.whole.max == 5 && back.whole.first == 3 &&
              back.whole.last == 1 && back.whole.m2 == 20 && back.whole.lsn == 7);
        CHECK_EQ(back.hours, 2);
        CHECK(back.hour[1].first_us == ROLLUP_HOUR_US && back.hour[1].sum == 6 && back.hour[1].count == 2 &&
              back.hour[1].min == 1 && back.hour[1].max == 5 && back.hour[1].m2 == 8);
    }
}

/* Bit for bit, whatever the values: decimals, doubles, neither finite. */
static void
a_rollup_comes_back_as_it_was(void **state)
{
    static uint8_t out[ROLLUP_BYTES_MAX + 1];
    rollup         r, back;

    (void)state;
    for (int s = 0; s < SHAPES; s++)
        for (int rh = 0; rh < RHYTHMS; rh++)
            for (int decimals = 0; decimals <= 7; decimals++) {
                uint32_t  count = 1;
                chunk_key k = { .series = 1, .lsn = 9, .gen = 3 };

                fill_times((enum rhythm)rh, CHUNK_ROWS_MAX, 1234567);
                fill_values((enum shape)s, CHUNK_ROWS_MAX, decimals);
                while (count < CHUNK_ROWS_MAX && rows[count].time_us < KEY_DAY_US)
                    count++;
                k.first_us = rows[0].time_us;
                (void)chunk_encode(encoded, rows, count, false, scratch);
                rollup_make(&r, rows, count, rh == GAPS, chunk_decimals_of(scratch));
                size_t len = rollup_encode(out, &r);
                CHECK_OK(rollup_read(&back, &k, view_of(out, len)));
                CHECK_EQ(back.hours, r.hours);
                CHECK_EQ(memcmp(&back.whole.first, &r.whole.first, 48), 0);
                CHECK(back.whole.lsn == 9 && back.whole.gen == 3 && back.whole.count == count);
                for (uint32_t i = 0; i < r.hours; i++) {
                    CHECK_EQ(back.hour[i].first_us, r.hour[i].first_us);
                    CHECK_EQ(back.hour[i].last_us, r.hour[i].last_us);
                    CHECK_EQ(back.hour[i].count, r.hour[i].count);
                    CHECK_EQ(memcmp(&back.hour[i].first, &r.hour[i].first, 48), 0);
                }
                for (size_t i = 0; i < len * 8; i += 7) {
                    out[i / 8] ^= (uint8_t)(1 << i % 8);
                    CHECK(rollup_read(&back, &k, view_of(out, len)) < 0);
                    out[i / 8] ^= (uint8_t)(1 << i % 8);
                }
                CHECK_EQ(rollup_read(&back, &k, view_of(out, len - 1)), E_BAD);
            }
}

static void
any_flipped_bit_is_found(void **state)
{
    chunk_info s;

    (void)state;
    fill_times(JITTER_MS, 64, 0);
    fill_values(WALK, 64, 2);
    size_t len = chunk_encode(encoded, rows, 64, false, scratch);
    for (size_t i = 0; i < len * 8; i++) {
        encoded[i / 8] ^= (uint8_t)(1 << i % 8);
        CHECK(chunk_read(view_of(encoded, len), &s) < 0);
        encoded[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t cut = 0; cut < len; cut++)
        CHECK_EQ(chunk_read(view_of(encoded, cut), &s), E_BAD);
    CHECK_OK(chunk_read(view_of(encoded, len), &s));
}

static void
keys_sort_as_day_series_time_lsn(void **state)
{
    static const chunk_key ordered[] = {
        { INT32_MIN, 1, INT64_MIN, 0, 0 },
        { -1, 5, -7, 0, 1 },
        { -1, 5, -7, 0, 2 },
        { -1, 5, -6, 0, 1 },
        { -1, 6, -8, 0, 1 },
        { 0, 1, -1, 0, 0 },
        { 0, 1, 0, 0, 0 },
        { 0, 1, 1, 0, 0 },
        { 0, 1, 1, 1, 0 },
        { 0, 256, 0, 0, 0 },
        { 255, 1, 0, 0, 0 },
        { 256, 0, 0, 0, 0 },
        { INT32_MAX, UINT32_MAX, INT64_MAX, KEY_GEN_MAX, KEY_LSN_MAX },
    };
    uint8_t a[KEY_CHUNK_LEN], b[KEY_CHUNK_LEN];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(ordered); i++) {
        key_put_chunk(a, ordered[i]);
        chunk_key k = key_get_chunk(a);
        CHECK(k.day == ordered[i].day && k.series == ordered[i].series &&
              k.first_us == ordered[i].first_us && k.gen == ordered[i].gen && k.lsn == ordered[i].lsn);
        if (i == 0)
            continue;
        key_put_chunk(b, ordered[i - 1]);
        CHECK(memcmp(b, a, sizeof a) < 0);
    }
    CHECK_EQ(key_day(-1), -1);
    CHECK_EQ(key_day(0), 0);
    CHECK_EQ(key_day(KEY_DAY_US - 1), 0);
    CHECK_EQ(key_day(KEY_DAY_US), 1);
    CHECK_EQ(key_day(-KEY_DAY_US), -1);
    CHECK_EQ(key_day(-KEY_DAY_US - 1), -2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_shape_comes_back_bit_for_bit), TEST(awkward_doubles_come_back_bit_for_bit),
        TEST(what_machines_send_is_small),        TEST(a_rollup_is_that_of_the_rows),
        TEST(a_rollup_comes_back_as_it_was),
        TEST(any_flipped_bit_is_found),           TEST(keys_sort_as_day_series_time_lsn),
    };
    int failed;

    scratch = chunk_scratch_new();
    failed = cmocka_run_group_tests_name("storage/chunk", tests, NULL, NULL);
    chunk_scratch_free(&scratch);
    return failed;
}
