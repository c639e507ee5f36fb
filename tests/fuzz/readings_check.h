/* readings_check.h - the promises of a reading, whatever body it came from. */
#ifndef HALTLESS_TESTS_FUZZ_READINGS_CHECK_H
#define HALTLESS_TESTS_FUZZ_READINGS_CHECK_H

#include "proto/instant.h"
#include "proto/readings.h"

#include <math.h>

static inline size_t
check_utf8(view s)
{
    size_t chars = 0;

    for (size_t i = 0; i < s.len; chars++) {
        uint8_t c = s.at[i];
        size_t  len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

        ASSERT(c < 0x80 || c >= 0xc2);
        ASSERT(len <= s.len - i);
        for (size_t tail = 1; tail < len; tail++)
            ASSERT((s.at[i + tail] & 0xc0) == 0x80);
        i += len;
    }
    return chars;
}

static inline void
check_inside(view s, view body, const readings_decoder *d)
{
    const uint8_t *scratch = &d->scratch[0][0];

    if (s.len == 0)
        return;
    ASSERT((s.at >= body.at && s.at + s.len <= body.at + body.len) ||
           (s.at >= scratch && s.at + s.len <= scratch + sizeof d->scratch));
}

static inline void
check_reading(const reading *r, view body, const readings_decoder *d)
{
    char text[64];

    check_inside(r->machine, body, d);
    check_inside(r->metric, body, d);
    check_inside(r->unit, body, d);
    check_utf8(r->machine);
    ASSERT(check_utf8(r->metric) <= 255);
    ASSERT(check_utf8(r->unit) <= 64);
    ASSERT(isfinite(r->value));
    ASSERT(reading_error_text(r->error, r->member, text, sizeof text) > 0 || r->error == READING_OK);
    ASSERT(r->error != READING_DUPLICATE || r->member.len > 0);
    if (r->error == READING_OK) {
        ASSERT(r->metric.len > 0);
        ASSERT(instant_has_second(r->time_us / 1000000 - (r->time_us % 1000000 < 0)));
    }
}

static inline uint64_t
mix(uint64_t sum, const void *at, size_t len)
{
    const uint8_t *p = at;

    for (size_t i = 0; i < len; i++)
        sum = (sum ^ p[i]) * UINT64_C(0x100000001b3);
    return sum * 31 + len;
}

static inline uint64_t
check_mix(uint64_t sum, const reading *r)
{
    sum = mix(sum, &r->error, sizeof r->error);
    sum = mix(sum, &r->time_us, sizeof r->time_us);
    sum = mix(sum, &r->value, sizeof r->value);
    sum = mix(sum, r->machine.at, r->machine.len);
    sum = mix(sum, r->metric.at, r->metric.len);
    return mix(sum, r->unit.at, r->unit.len);
}

#endif
