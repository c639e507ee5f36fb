/* generate.h - the one seeded source of readings that every bench uses.
 *
 * machines x metrics series, a reading each every 10 s from 2026-04-04T00:00:00Z; body by body, each with up to
 * `per_body` readings, machine by machine within a tick.  The same seed makes the same readings.  Bodies never end: behind
 * the last one the same values come again, at the times that follow.
 *
 *   walk     random walks with 1 or 2 decimals (by metric)        "sensor data"
 *   jitter   the same, times off by up to +-3 ms
 *   random   full-random doubles: nothing to compress
 */
#ifndef HALTLESS_BENCH_GENERATE_H
#define HALTLESS_BENCH_GENERATE_H

#include "proto/base.h"

enum variant { VARIANT_WALK, VARIANT_JITTER, VARIANT_RANDOM };
enum format { FORMAT_JSON, FORMAT_MSGPACK };
enum { GENERATE_METRICS = 5, GENERATE_EVERY_S = 10 };
#define GENERATE_START_US (1775260800LL * 1000000)

typedef struct generated {
    enum variant variant;
    enum format  format;
    uint64_t     seed;
    uint32_t     machines;
    uint32_t     ticks;
    uint32_t     per_body;
    uint64_t     readings; /* machines * metrics * ticks */
    double      *values;   /* owned; [tick][machine][metric] */
    int64_t     *times_us; /* owned; the same; NULL unless jittered */
    uint32_t     bodies;
    char        *text; /* owned: every body behind the other; NULL before generate_text() */
    uint64_t    *body_at; /* owned; bodies + 1 offsets */
} generated;

/* The values; bodies are written when they are asked for, in the format that *g has. */
NODISCARD int generate(generated *g, enum variant variant, uint64_t seed, uint32_t machines, uint64_t readings,
                       uint32_t per_body);
/* Writes all bodies ahead of time. */
NODISCARD int generate_text(generated *g);
void generate_free(generated *g);
/* Body `number` of the endless row: what was written ahead, else written into out (generate_body_max() bytes). */
view   generate_body(const generated *g, uint64_t number, char *out);
size_t generate_body_max(const generated *g);
const char *generate_content_type(const generated *g);
const char *generate_metric(uint32_t metric, const char **unit);
void generate_identifier(uint32_t machine, char out[16]);
int64_t generate_time_us(const generated *g, uint64_t index); /* index of a reading, from 0 and without end */
/* xorshift64*; *s is not 0. */
uint64_t generate_random(uint64_t *s);

#endif
