/* Addresses that a notification may be sent to, and those that it may not. */
#include "actors/notify_guard.h"

#include "tests/unit/check.h"

#include <arpa/inet.h>

static bool
is_public(const char *text)
{
    struct sockaddr_in  v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return notify_guard_is_public((const struct sockaddr *)&v4, sizeof v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return notify_guard_is_public((const struct sockaddr *)&v6, sizeof v6);
}

static void
what_lies_inside_is_refused_to_the_edges_of_its_block(void **state)
{
    static const char *const inside[] = {
        "0.0.0.0",       "0.255.255.255",  "10.0.0.0",        "10.255.255.255", "100.64.0.0",      "100.127.255.255",
        "127.0.0.1",     "127.255.255.255", "169.254.169.254", "172.16.0.0",     "172.31.255.255",  "192.0.0.1",
        "192.168.0.0",   "192.168.255.255", "198.18.0.0",      "198.19.255.255", "224.0.0.1",       "239.255.255.255",
        "240.0.0.1",     "255.255.255.255", "::",              "::1",            "fe80::1",         "fc00::1",
        "fdff::1",       "ff02::1",         "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1",
        "2002:a00:1::1", "2001:db8::1",     "2001::1",         "::127.0.0.1",    "192.0.2.1",       "203.0.113.9",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(inside); i++)
        if (is_public(inside[i]))
            fail_msg("%s passes", inside[i]);
}

static void
what_lies_outside_is_let_through(void **state)
{
    static const char *const outside[] = {
        "1.1.1.1",      "9.255.255.255", "11.0.0.0",   "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
        "169.253.0.1",  "172.15.255.255", "172.32.0.0", "192.167.0.1",    "192.169.0.1", "198.17.0.1",      "198.20.0.1",
        "223.255.255.255", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2a00::1",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(outside); i++)
        if (!is_public(outside[i]))
            fail_msg("%s is refused", outside[i]);
}

static void
what_is_no_address_of_the_internet_is_refused(void **state)
{
    struct sockaddr    local = { .sa_family = AF_UNIX };
    struct sockaddr_in cut = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x01010101) };

    (void)state;
    CHECK(!notify_guard_is_public(&local, sizeof local));
    CHECK(!notify_guard_is_public((const struct sockaddr *)&cut, 4));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lies_inside_is_refused_to_the_edges_of_its_block),
        cmocka_unit_test(what_lies_outside_is_let_through),
        cmocka_unit_test(what_is_no_address_of_the_internet_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
