/* decode.c - how many readings a second one core decodes from a request body.
 *
 *     decode [SECONDS]
 *
 * Bodies of 1 000 readings: members in a random order for each, as compact JSON, as JSON with
 * blanks, with 17-digit values, with non-ASCII units, and as MessagePack.  Prints a line each: best
 * and median of short rounds. A round goes through many different bodies: one body again and again
 * is learnt by heart by the CPU.
 */
#include "proto/base.h"
#include "proto/num.h"
#include "proto/readings.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { READINGS = 1000, BODIES = 24, BODY_MAX = 160000, ROUNDS = 21, MEMBERS = 5, PADDING = 16 };

typedef struct form {
    const char *name;
    const char *comma; /* between members */
    const char *colon;
    const char *unit;
    bool        packed; /* MessagePack */
    bool        long_values;
} form;

typedef struct body {
    form    as;
    size_t  len;
    uint8_t bytes[BODY_MAX + PADDING];
} body;

static body bodies[BODIES];

static uint64_t seed = 20261123;

static uint64_t
next_random(void) /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * UINT64_C(2685821657736338717);
}

static void
put(body *b, const void *from, size_t len)
{
    ASSERT(len <= BODY_MAX - b->len);
    memcpy(b->bytes + b->len, from, len);
    b->len += len;
}

static void
put_str(body *b, const char *s)
{
    uint8_t head = (uint8_t)(0xa0 | strlen(s)); /* all are shorter than 32 */

    if (b->as.packed)
        put(b, &head, 1);
    else
        put(b, "\"", 1);
    put(b, s, strlen(s));
    if (!b->as.packed)
        put(b, "\"", 1);
}

static void
put_double(body *b, double v)
{
    char     out[NUM_TEXT_MAX];
    uint8_t  head = 0xcb;
    uint64_t bits;

    if (!b->as.packed) {
        put(b, out, num_format(v, out));
        return;
    }
    memcpy(&bits, &v, sizeof bits);
    bits = __builtin_bswap64(bits);
    put(b, &head, 1);
    put(b, &bits, sizeof bits);
}

static double
some_value(const body *b)
{
    double v = (double)(next_random() % 100000) / 100;

    return b->as.long_values ? v / 3 : v;
}

static void
put_member(body *b, int which)
{
    static const char *const names[MEMBERS] = { "machine_identifier", "timestamp", "metric_name",
                                                "value", "unit" };
    static const char *const metrics[] = { "temperature", "vibration_x", "spindle_speed",
                                           "pressure" };
    char                     text[64];

    put_str(b, names[which]);
    if (!b->as.packed)
        put(b, b->as.colon, strlen(b->as.colon));
    switch (which) {
    case 0:
        snprintf(text, sizeof text, "CNC-%03d", (int)(next_random() % 250));
        break;
    case 1:
        snprintf(text, sizeof text, "2026-11-%02dT%02d:%02d:%02dZ", (int)(next_random() % 30) + 1,
                 (int)(next_random() % 24), (int)(next_random() % 60), (int)(next_random() % 60));
        break;
    case 2:
        snprintf(text, sizeof text, "%s", metrics[next_random() % COUNT_OF(metrics)]);
        break;
    case 3:
        put_double(b, some_value(b));
        return;
    default:
        snprintf(text, sizeof text, "%s", b->as.unit);
    }
    put_str(b, text);
}

static void
put_reading(body *b)
{
    int order[MEMBERS] = { 0, 1, 2, 3, 4 };

    put(b, b->as.packed ? "\x85" : "{", 1);
    for (int i = MEMBERS - 1; i >= 0; i--) {
        int pick = (int)(next_random() % (uint64_t)(i + 1));

        put_member(b, order[pick]);
        order[pick] = order[i];
        if (i > 0 && !b->as.packed)
            put(b, b->as.comma, strlen(b->as.comma));
    }
    if (!b->as.packed)
        put(b, "}", 1);
}

static void
fill(body *b)
{
    static const uint8_t packed_head[] = { 0x81, 0xa8, 'r', 'e', 'a', 'd', 'i', 'n', 'g', 's',
                                           0xdc, READINGS >> 8, READINGS & 0xff };

    if (b->as.packed)
        put(b, packed_head, sizeof packed_head);
    else
        put(b, "{\"readings\":[", 13);
    for (int i = 0; i < READINGS; i++) {
        if (i > 0 && !b->as.packed)
            put(b, b->as.comma, strlen(b->as.comma));
        put_reading(b);
    }
    if (!b->as.packed)
        put(b, "]}", 2);
}

static double sum; /* so that nothing is optimised away */

static void
decode(const body *b, readings_decoder *d)
{
    reading            r;
    int                count = 0;
    enum readings_next got;
    view               v = view_of(b->bytes, b->len);

    if (b->as.packed)
        readings_msgpack_start(d, v);
    else
        readings_json_start(d, v);
    while ((got = b->as.packed ? readings_msgpack_next(d, &r) : readings_json_next(d, &r)) > READINGS_END) {
        if (got == READINGS_PAUSE)
            continue;
        ASSERT(r.error == READING_OK);
        sum += r.value + (double)r.machine.len;
        count++;
    }
    ASSERT(got == READINGS_END && count == READINGS);
}

static double
cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static void
measure(form as, double seconds)
{
    static readings_decoder d;
    double                  rates[ROUNDS];
    size_t                  bytes = 0;

    for (int i = 0; i < BODIES; i++) {
        bodies[i].as = as;
        bodies[i].len = 0;
        fill(&bodies[i]);
        bytes += bodies[i].len;
    }
    for (int round = 0; round < ROUNDS; round++) {
        double from = cpu_s(); /* CPU time: the machine may have other work */
        double took;
        int    turns = 0;

        do {
            for (int i = 0; i < BODIES; i++)
                decode(&bodies[i], &d);
            turns++;
            took = cpu_s() - from;
        } while (took < seconds / ROUNDS);
        rates[round] = turns * (double)BODIES * READINGS / took / 1e6;
    }
    qsort(rates, ROUNDS, sizeof rates[0], by_value);
    double each = (double)bytes / BODIES / READINGS;

    printf("%-18s %6.1f bytes a reading, best %5.2f, median %5.2f M readings/s, %5.0f MB/s\n",
           as.name, each, rates[ROUNDS - 1], rates[ROUNDS / 2], rates[ROUNDS / 2] * each);
}

int
main(int argc, char **argv)
{
    static const form forms[] = {
        { .name = "json", .comma = ",", .colon = ":", .unit = "celsius" },
        { .name = "json, blanks", .comma = ", ", .colon = ": ", .unit = "celsius" },
        { .name = "json, 17 digits", .comma = ",", .colon = ":", .unit = "mm/s",
          .long_values = true },
        { .name = "json, UTF-8 unit", .comma = ",", .colon = ":", .unit = "\xc2\xb0" "C" },
        { .name = "msgpack", .unit = "celsius", .packed = true },
    };
    double seconds = argc > 1 ? atof(argv[1]) : 0.5;

    for (size_t i = 0; i < COUNT_OF(forms); i++)
        measure(forms[i], seconds);
    return sum == 0;
}
