/* base.h - the only header that everyone includes: views, assertions, bytes.
 *
 * No I/O, no threads, no allocation.
 */
#ifndef HALTLESS_PROTO_BASE_H
#define HALTLESS_PROTO_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* A borrowed run of bytes.  Never owns, is never NUL-terminated. */
typedef struct view {
    const uint8_t *at;
    size_t         len;
} view;

#define VIEW_LIT(s) ((view){ (const uint8_t *)("" s), sizeof(s) - 1 })

static inline view
view_of(const void *at, size_t len)
{
    return (view){ (const uint8_t *)at, len };
}

static inline view
view_str(const char *s)
{
    return (view){ (const uint8_t *)s, strlen(s) };
}

static inline bool
view_eq(view a, view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* Bugs of ours stop the actor, in release builds too: the supervisor restarts it,
 * and what was acknowledged is on the disk.  Prints what, where and the in-flight
 * message of the running actor. */
_Noreturn void base_assert_failed(const char *expr, const char *file, int line);

#define ASSERT(x)                                                                                  \
    do {                                                                                           \
        if (UNLIKELY(!(x)))                                                                        \
            base_assert_failed(#x, __FILE__, __LINE__);                                            \
    } while (0)

static inline uint64_t
round_up(uint64_t n, uint64_t to)          /* to: a power of two */
{
    return (n + to - 1) & ~(to - 1);
}

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t
max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Everything stored or sent is little-endian; keys that must sort are big-endian. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire structs are little-endian");

static inline uint32_t
load_u32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t
load_u64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline void
store_be32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof v);
}

static inline void
store_be64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

static inline uint32_t
load_be32(const void *p)
{
    return __builtin_bswap32(load_u32(p));
}

static inline uint64_t
load_be64(const void *p)
{
    return __builtin_bswap64(load_u64(p));
}

/* 128-bit identities (UUID v4, lane generations). */
typedef struct uuid {
    uint8_t b[16];
} uuid;

static inline bool
uuid_eq(const uuid *a, const uuid *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

#endif
