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
static uint64_t
next_random(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545F4914F6CDD1DULL;
}

static double
uniform(uint64_t *s) /* -1..1 */
{
    return (double)(int64_t)next_random(s) / 9223372036854775808.0;
}

static double
full_random(uint64_t *s)
{
    for (;;) {
        uint64_t bits = next_random(s);
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
    snprintf(out, 16, "CNC-%05u", machine % 100000);
}

int64_t
generate_time_us(const generated *g, uint64_t index)
{
    uint64_t tick = index / ((uint64_t)g->machines * GENERATE_METRICS);

    if (g->times_us != NULL)
        return g->times_us[index];
    return GENERATE_START_US + (int64_t)tick * GENERATE_EVERY_S * 1000000;
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

static char *
write_reading(const generated *g, uint64_t i, char *at)
{
    uint32_t    machine = (uint32_t)(i / GENERATE_METRICS % g->machines);
    const char *unit;
    const char *name = generate_metric((uint32_t)(i % GENERATE_METRICS), &unit);
    char        id[16];

    generate_identifier(machine, id);
    at = put(put(put(at, "{\"machine_identifier\":\""), id), "\",\"timestamp\":\"");
    at += instant_format(generate_time_us(g, i), at);
    at = put(put(put(at, "\",\"metric_name\":\""), name), "\",\"value\":");
    at += num_format(g->values[i], at);
    return put(put(put(at, ",\"unit\":\""), unit), "\"}");
}

enum { READING_TEXT_MAX = 224 };

static int
write_bodies(generated *g)
{
    size_t room = (size_t)g->readings * 150 + (1 << 20);
    char  *at;

    g->bodies = (uint32_t)((g->readings + g->per_body - 1) / g->per_body);
    g->body_at = calloc((size_t)g->bodies + 1, sizeof *g->body_at);
    g->text = malloc(room);
    if (g->body_at == NULL || g->text == NULL)
        return err(E_NOMEM, "bodies of %zu bytes", room);
    at = g->text;
    for (uint32_t b = 0; b < g->bodies; b++) {
        uint64_t first = (uint64_t)b * g->per_body;
        uint64_t until = min_u64(first + g->per_body, g->readings);

        g->body_at[b] = (uint64_t)(at - g->text);
        at = put(at, "{\"readings\":[");
        for (uint64_t i = first; i < until; i++) {
            if ((size_t)(at - g->text) + READING_TEXT_MAX > room)
                return err(E_LIMIT, "bodies are longer than planned");
            if (i > first)
                *at++ = ',';
            at = write_reading(g, i, at);
        }
        at = put(at, "]}");
    }
    g->body_at[g->bodies] = (uint64_t)(at - g->text);
    return E_OK;
}

int
generate(generated *g, enum variant variant, uint64_t seed, uint32_t machines, uint64_t readings, uint32_t per_body)
{
    uint64_t width = (uint64_t)machines * GENERATE_METRICS;

    memset(g, 0, sizeof *g);
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
    fill(g);
    return write_bodies(g);
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
