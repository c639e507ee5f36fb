/* notify_guard.c - see notify_guard.h.  The blocks are those of the IANA special-purpose registries (RFC 6890 and its
 * successors) that are not globally reachable, and multicast. */
#include "actors/notify_guard.h"

#include <netinet/in.h>

typedef struct block4 {
    uint32_t net;
    uint8_t  bits;
} block4;

static const block4 blocked4[] = {
    { 0x00000000, 8 },  /* this network */
    { 0x0a000000, 8 },  /* private */
    { 0x64400000, 10 }, /* shared, carriers' NAT */
    { 0x7f000000, 8 },  /* loopback */
    { 0xa9fe0000, 16 }, /* link-local: metadata services too */
    { 0xac100000, 12 }, /* private */
    { 0xc0000000, 24 }, /* protocol assignments */
    { 0xc0000200, 24 }, /* documentation */
    { 0xc0586300, 24 }, /* 6to4 relays */
    { 0xc0a80000, 16 }, /* private */
    { 0xc6120000, 15 }, /* benchmarks */
    { 0xc6336400, 24 }, /* documentation */
    { 0xcb007100, 24 }, /* documentation */
    { 0xe0000000, 4 },  /* multicast */
    { 0xf0000000, 4 },  /* reserved, broadcast */
};

static bool
is_public4(uint32_t at)
{
    for (size_t i = 0; i < COUNT_OF(blocked4); i++)
        if (((at ^ blocked4[i].net) >> (32 - blocked4[i].bits)) == 0)
            return false;
    return true;
}

static bool
begins(const uint8_t *at, const char *with, size_t len)
{
    return memcmp(at, with, len) == 0;
}

/* 2000::/3 is what is given out; in it, what leads to an IPv4 address or is for documentation is told apart. */
static bool
is_public6(const uint8_t at[16])
{
    static const char nat64[12] = { 0, 0x64, (char)0xff, (char)0x9b };
    static const char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (char)0xff, (char)0xff };

    if (begins(at, mapped, sizeof mapped) || begins(at, nat64, sizeof nat64))
        return is_public4(load_be32(at + 12));
    if (begins(at, "\x20\x02", 2)) /* 6to4 */
        return is_public4(load_be32(at + 2));
    if (begins(at, "\x20\x01\x0d\xb8", 4) || (begins(at, "\x20\x01", 2) && at[2] < 2)) /* documentation; 2001::/23 */
        return false;
    return (at[0] & 0xe0) == 0x20;
}

bool
notify_guard_is_public(const struct sockaddr *to, socklen_t len)
{
    struct sockaddr_in  v4;
    struct sockaddr_in6 v6;

    if (to->sa_family == AF_INET && len >= sizeof v4) {
        memcpy(&v4, to, sizeof v4);
        return is_public4(ntohl(v4.sin_addr.s_addr));
    }
    if (to->sa_family == AF_INET6 && len >= sizeof v6) {
        memcpy(&v6, to, sizeof v6);
        return is_public6(v6.sin6_addr.s6_addr);
    }
    return false;
}
