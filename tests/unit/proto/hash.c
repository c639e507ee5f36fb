#include "tests/unit/check.h"

#include "proto/hash.h"

static void
crc32c_gives_the_published_numbers(void **state)
{
    uint8_t bytes[32];

    (void)state;
    CHECK_EQ(crc32c(0, "", 0), 0);
    CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283u);
    memset(bytes, 0, sizeof bytes); /* RFC 3720, B.4 */
    CHECK_EQ(crc32c(0, bytes, sizeof bytes), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    CHECK_EQ(crc32c(0, bytes, sizeof bytes), 0x62a8ab43u);
    for (uint8_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i;
    CHECK_EQ(crc32c(0, bytes, sizeof bytes), 0x46dd794eu);
}

static void
both_ways_give_one_number_at_every_length_and_alignment(void **state)
{
    static uint8_t bytes[20000];
    uint32_t       x = 1;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
    for (size_t len = 0; len < 9300; len += len < 100 ? 1 : 61)
        for (size_t from = 0; from < 9; from++)
            CHECK_EQ(crc32c(77, bytes + from, len), crc32c_table(77, bytes + from, len));
}

static void
a_crc_may_be_continued(void **state)
{
    static uint8_t bytes[10000];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    uint32_t whole = crc32c(0, bytes, sizeof bytes);

    for (size_t cut = 0; cut <= sizeof bytes; cut += 97)
        CHECK_EQ(crc32c(crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut), whole);
}

static void
hash64_depends_on_its_seed_and_every_byte(void **state)
{
    (void)state;
    CHECK(hash64(0, "", 0) == UINT64_C(0x2d06800538d394c2)); /* xxHash's own vector */
    CHECK(hash64(1, "abc", 3) != hash64(2, "abc", 3));
    CHECK(hash64(1, "abc", 3) != hash64(1, "abd", 3));
    CHECK(hash64(1, "abc", 3) == hash64(1, "abc", 3));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(crc32c_gives_the_published_numbers),
        TEST(both_ways_give_one_number_at_every_length_and_alignment),
        TEST(a_crc_may_be_continued),
        TEST(hash64_depends_on_its_seed_and_every_byte),
    };

    return cmocka_run_group_tests_name("proto/hash", tests, NULL, NULL);
}
