#include "proto/squeeze.h"
#include "tests/unit/check.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum { ROOM = 1 << 20 };

static uint8_t packed[ROOM], plain[ROOM], back[ROOM + 1];

static size_t
gzip_of(view in)
{
    z_stream z = { .next_in = (z_const Bytef *)(uintptr_t)in.at,
                   .avail_in = (uInt)in.len,
                   .next_out = packed,
                   .avail_out = ROOM };

    CHECK_EQ(deflateInit2(&z, 9, Z_DEFLATED, 16 + 15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return ROOM - z.avail_out;
}

static size_t
packed_of(squeeze_kind kind, view in)
{
    return kind == SQUEEZE_GZIP ? gzip_of(in) : ZSTD_compress(packed, ROOM, in.at, in.len, 3);
}

static void
plain_fill(void)
{
    for (size_t i = 0; i < ROOM; i++)
        plain[i] = (uint8_t)(i * 2654435761u >> 13 & 0x3f);
}

#define FOR_KINDS(kind) for (squeeze_kind kind = SQUEEZE_GZIP; kind <= SQUEEZE_ZSTD; kind++)

static void
a_body_comes_back_when_it_just_fits(void **state)
{
    size_t len;

    (void)state;
    plain_fill();
    FOR_KINDS(kind)
    {
        size_t n = packed_of(kind, view_of(plain, 100000));

        CHECK_OK(squeeze_inflate(kind, view_of(packed, n), back, 100000, &len));
        CHECK_EQ(len, 100000);
        assert_memory_equal(back, plain, len);
        n = packed_of(kind, view_of(plain, 0));
        CHECK_OK(squeeze_inflate(kind, view_of(packed, n), back, 0, &len));
        CHECK_EQ(len, 0);
    }
}

static void
one_byte_over_is_refused_and_not_written(void **state)
{
    size_t len;

    (void)state;
    plain_fill();
    FOR_KINDS(kind)
    {
        size_t n = packed_of(kind, view_of(plain, 100000));

        back[99999] = 0xee;
        CHECK_EQ(squeeze_inflate(kind, view_of(packed, n), back, 99999, &len), E_LIMIT);
        CHECK_EQ(back[99999], 0xee);
    }
}

static void
a_bomb_stops_at_the_bound(void **state)
{
    size_t len, zeros = (size_t)256 << 20;
    void  *big = calloc(1, zeros); /* untouched pages cost nothing */

    (void)state;
    CHECK(big != NULL);
    FOR_KINDS(kind)
    {
        size_t n = packed_of(kind, view_of(big, zeros));

        CHECK(n < zeros / 500);
        back[ROOM] = 0xee;
        CHECK_EQ(squeeze_inflate(kind, view_of(packed, n), back, ROOM, &len), E_LIMIT);
        CHECK_EQ(back[ROOM], 0xee);
    }
    free(big);
}

static void
a_cut_or_damaged_body_is_refused(void **state)
{
    size_t len;

    (void)state;
    plain_fill();
    FOR_KINDS(kind)
    {
        size_t n = packed_of(kind, view_of(plain, 1000));

        for (size_t cut = 0; cut < n; cut++)
            CHECK_EQ(squeeze_inflate(kind, view_of(packed, cut), back, ROOM, &len), E_BAD);
        packed[n] = 'x'; /* something behind the end */
        CHECK_EQ(squeeze_inflate(kind, view_of(packed, n + 1), back, ROOM, &len), E_BAD);
        CHECK_EQ(squeeze_inflate(kind, VIEW_LIT("{\"readings\":[]}"), back, ROOM, &len), E_BAD);
    }
    size_t n = packed_of(SQUEEZE_GZIP, view_of(plain, 1000));
    packed[n - 5] ^= 1; /* its checksum */
    CHECK_EQ(squeeze_inflate(SQUEEZE_GZIP, view_of(packed, n), back, ROOM, &len), E_BAD);
}

static void
members_may_follow_each_other(void **state)
{
    size_t len;

    (void)state;
    plain_fill();
    FOR_KINDS(kind)
    {
        size_t n = packed_of(kind, view_of(plain, 1000));

        memcpy(packed + n, packed, n);
        CHECK_OK(squeeze_inflate(kind, view_of(packed, 2 * n), back, 2000, &len));
        CHECK_EQ(len, 2000);
        assert_memory_equal(back + 1000, plain, 1000);
        CHECK_EQ(squeeze_inflate(kind, view_of(packed, 2 * n), back, 1999, &len), E_LIMIT);
    }
}

static void
encodings_are_known_by_name(void **state)
{
    squeeze_kind kind;

    (void)state;
    CHECK(squeeze_kind_of(VIEW_LIT("GZip"), &kind) && kind == SQUEEZE_GZIP);
    CHECK(squeeze_kind_of(VIEW_LIT("zstd"), &kind) && kind == SQUEEZE_ZSTD);
    CHECK(!squeeze_kind_of(VIEW_LIT("br"), &kind) && !squeeze_kind_of(VIEW_LIT(""), &kind));
    CHECK(!squeeze_kind_of(VIEW_LIT("gzip, gzip"), &kind));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_body_comes_back_when_it_just_fits), TEST(one_byte_over_is_refused_and_not_written),
        TEST(a_bomb_stops_at_the_bound),           TEST(a_cut_or_damaged_body_is_refused),
        TEST(members_may_follow_each_other),       TEST(encodings_are_known_by_name),
    };

    return cmocka_run_group_tests_name("proto/squeeze", tests, NULL, NULL);
}
