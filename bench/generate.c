#include "bench/generate.h"

#include "proto/err.h"
#include "proto/instant.h"
#include "proto/num.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    const char *unit;
    double      start;
    double      step;
    double      scale; /* 10 ^ decimals */
} metrics[GENERATE_METRICS] = {
    { "temperature", "celsius", 70, 0.4, 10 }, { "vibration", "mm/s", 3.2, 0.05, 100 },
    { "pressure", "bar", 6.5, 0.02, 100 },     { "spindle_speed", "rpm", 1200, 3, 10 },
    { "power", "kW", 18, 0.3, 100 },
};

/* xorshift64*: small, seeded, good enough for noise. */
uint64_t
generate_random(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545F4914F6CDD1DULL;
}

static double
uniform(uint64_t *s) /* -1..1 */
{
    return (double)(int64_t)generate_random(s) / 9223372036854775808.0;
}

static double
full_random(uint64_t *s)
{
    for (;;) {
        uint64_t bits = generate_random(s);
        double   v;

        memcpy(&v, &bits, sizeof v);
        if (v - v == 0) /* finite */
            return v;
    }
}

const char *
generate_metric(uint32_t metric, const char **unit)
{
    *unit = metrics[metric].unit;
    return metrics[metric].name;
}

void
generate_identifier(uint32_t machine, char out[16])
{
    snprintf(out, 16, "CNC-%05u", machine % 10000000);
}

int64_t
generate_time_us(const generated *g, uint64_t index)
{
    uint64_t width = (uint64_t)g->machines * GENERATE_METRICS;
    uint64_t round_ticks = index / g->readings * g->ticks;

    if (g->times_us != NULL)
        return g->times_us[index % g->readings] + (int64_t)round_ticks * GENERATE_EVERY_S * 1000000;
    return GENERATE_START_US + (int64_t)(index / width) * GENERATE_EVERY_S * 1000000;
}

static void
fill(generated *g)
{
    uint64_t s = g->seed * 0x9E3779B97F4A7C15ULL + 1;
    uint64_t width = (uint64_t)g->machines * GENERATE_METRICS;

    for (uint64_t i = 0; i < g->readings; i++) {
        uint32_t m = (uint32_t)(i % GENERATE_METRICS);
        double   was = i >= width ? g->values[i - width] : metrics[m].start + 10 * uniform(&s);
        double   now = was + metrics[m].step * uniform(&s);

        /* Rounded to its decimals, exactly the double that its text reads back as. */
        g->values[i] = g->variant == VARIANT_RANDOM
                           ? full_random(&s)
                           : (double)(int64_t)(now * metrics[m].scale + (now < 0 ? -0.5 : 0.5)) / metrics[m].scale;
        if (g->times_us != NULL)
            g->times_us[i] = GENERATE_START_US + (int64_t)(i / width) * GENERATE_EVERY_S * 1000000 +
                             (int64_t)(uniform(&s) * 3) * 1000;
    }
}

static char *
put(char *at, const char *text)
{
    size_t n = strlen(text);

    memcpy(at, text, n);
    return at + n;
}

/* One reading about to be written; the text of a time serves all readings of a tick. */
typedef struct spoken {
    char        id[16];
    const char *metric, *unit;
    int64_t     us;
    char        time[INSTANT_TEXT_MAX + 1];
    double      value;
} spoken;

static void
speak(const generated *g, uint64_t i, spoken *s)
{
    int64_t us = generate_time_us(g, i);

    generate_identifier((uint32_t)(i / GENERATE_METRICS % g->machines), s->id);
    s->metric = generate_metric((uint32_t)(i % GENERATE_METRICS), &s->unit);
    s->value = g->values[i % g->readings];
    if (us != s->us)
        s->time[instant_format(us, s->time)] = '\0';
    s->us = us;
}

static char *
json_reading(const spoken *s, char *at)
{
    at = put(put(put(at, "{\"machine_identifier\":\""), s->id), "\",\"timestamp\":\"");
    at = put(put(put(put(at, s->time), "\",\"metric_name\":\""), s->metric), "\",\"value\":");
    at += num_format(s->value, at);
    return put(put(put(at, ",\"unit\":\""), s->unit), "\"}");
}

static char *
pack_short(char *at, const char *text) /* fixstr: all of ours are below 32 bytes */
{
    size_t n = strlen(text);

    ASSERT(n < 32);
    *at++ = (char)(0xA0 | n);
    memcpy(at, text, n);
    return at + n;
}

static char *
pack_reading(const spoken *s, char *at)
{
    uint64_t bits;

    *at++ = (char)0x85;
    at = pack_short(pack_short(at, "machine_identifier"), s->id);
    at = pack_short(pack_short(at, "timestamp"), s->time);
    at = pack_short(pack_short(at, "metric_name"), s->metric);
    at = pack_short(at, "value");
    memcpy(&bits, &s->value, sizeof bits);
    *at++ = (char)0xCB;
    for (int i = 7; i >= 0; i--)
        *at++ = (char)(bits >> (8 * i));
    return pack_short(pack_short(at, "unit"), s->unit);
}

enum { READING_TEXT_MAX = 224, BODY_HEAD_MAX = 32 };

static size_t
write_body(const generated *g, uint64_t number, char *out)
{
    uint64_t round = number / g->bodies * g->readings;
    uint64_t first = number % g->bodies * g->per_body;
    uint64_t until = min_u64(first + g->per_body, g->readings);
    uint32_t count = (uint32_t)(until - first);
    bool     json = g->format == FORMAT_JSON;
    char    *at = out;
    spoken   s = { .us = INT64_MIN };

    if (json)
        at = put(at, "{\"readings\":[");
    else {
        *at++ = (char)0x81;
        at = pack_short(at, "readings");
        *at++ = (char)0xDD;
        for (int i = 3; i >= 0; i--)
            *at++ = (char)(count >> (8 * i));
    }
    for (uint64_t i = first; i < until; i++) {
        speak(g, round + i, &s);
        if (json && i > first)
            *at++ = ',';
        at = json ? json_reading(&s, at) : pack_reading(&s, at);
    }
    if (json)
        at = put(at, "]}");
    return (size_t)(at - out);
}

size_t
generate_body_max(const generated *g)
{
    return (size_t)g->per_body * READING_TEXT_MAX + BODY_HEAD_MAX;
}

const char *
generate_content_type(const generated *g)
{
    return g->format == FORMAT_JSON ? "application/json" : "application/msgpack";
}

view
generate_body(const generated *g, uint64_t number, char *out)
{
    if (g->text != NULL && number < g->bodies)
        return view_of(g->text + g->body_at[number], (size_t)(g->body_at[number + 1] - g->body_at[number]));
    return view_of(out, write_body(g, number, out));
}

int
generate_text(generated *g)
{
    size_t room = (size_t)g->readings * 150 + (1 << 20), at = 0;

    g->body_at = calloc((size_t)g->bodies + 1, sizeof *g->body_at);
    g->text = malloc(room);
    if (g->body_at == NULL || g->text == NULL)
        return err(E_NOMEM, "bodies of %zu bytes", room);
    for (uint32_t b = 0; b < g->bodies; b++) {
        if (at + generate_body_max(g) > room) {
            room += room / 2 + generate_body_max(g);
            g->text = realloc(g->text, room);
            if (g->text == NULL)
                return err(E_NOMEM, "bodies of %zu bytes", room);
        }
        g->body_at[b] = at;
        at += write_body(g, b, g->text + at);
    }
    g->body_at[g->bodies] = at;
    return E_OK;
}

int
generate(generated *g, enum variant variant, uint64_t seed, uint32_t machines, uint64_t readings, uint32_t per_body)
{
    uint64_t width = (uint64_t)machines * GENERATE_METRICS;

    *g = (generated){ .format = g->format };
    g->variant = variant;
    g->seed = seed;
    g->machines = machines;
    g->per_body = per_body;
    g->ticks = (uint32_t)max_u64((readings + width - 1) / width, 1);
    g->readings = width * g->ticks;
    g->values = malloc(g->readings * sizeof *g->values);
    g->times_us = variant == VARIANT_JITTER ? malloc(g->readings * sizeof *g->times_us) : NULL;
    if (g->values == NULL || (variant == VARIANT_JITTER && g->times_us == NULL))
        return err(E_NOMEM, "%llu readings", (unsigned long long)g->readings);
    g->bodies = (uint32_t)((g->readings + per_body - 1) / per_body);
    fill(g);
    return E_OK;
}

void
generate_free(generated *g)
{
    free(g->values);
    free(g->times_us);
    free(g->text);
    free(g->body_at);
    memset(g, 0, sizeof *g);
}
