/* body.h - building READINGS bodies for the tests of the partition. */
#ifndef HALTLESS_TESTS_UNIT_STORAGE_BODY_H
#define HALTLESS_TESTS_UNIT_STORAGE_BODY_H

#include <stdlib.h>

#include "proto/rows.h"
#include "storage/part.h"
#include "tests/unit/check.h"

enum { BODY_MAX = 4 << 20 };

typedef struct body {
    uint8_t      *at;
    readings_head head;
    size_t        names_at; /* where name rows are gathered until the end */
    uint8_t      *names;
} body;

static inline body
body_new(uint32_t tenant)
{
    body b = { .at = malloc(BODY_MAX), .names = malloc(BODY_MAX), .head = { .tenant = tenant } };

    assert_non_null(b.at);
    assert_non_null(b.names);
    return b;
}

static inline void
body_free(body *b)
{
    free(b->at);
    free(b->names);
}

static inline void
body_row(body *b, uint32_t series, uint32_t flags, int64_t time_us, double value)
{
    reading_row r = { series, flags, time_us, value };

    memcpy(b->at + sizeof b->head + b->head.rows++ * sizeof r, &r, sizeof r);
}

/* The index of the new name row. */
static inline uint32_t
body_name(body *b, uint32_t machine, uint32_t series, const char *metric, const char *unit)
{
    name_row n = { machine, series, (uint16_t)strlen(metric), (uint16_t)strlen(unit), b->head.tenant };
    size_t   len = name_row_len(n.metric_len, n.unit_len);

    memset(b->names + b->head.names_len, 0, len);
    memcpy(b->names + b->head.names_len, &n, sizeof n);
    memcpy(b->names + b->head.names_len + sizeof n, metric, n.metric_len);
    memcpy(b->names + b->head.names_len + sizeof n + n.metric_len, unit, n.unit_len);
    b->head.names_len += (uint32_t)len;
    return b->head.names++;
}

static inline view
body_view(body *b)
{
    size_t rows = sizeof b->head + b->head.rows * sizeof(reading_row);

    memcpy(b->at, &b->head, sizeof b->head);
    memcpy(b->at + rows, b->names, b->head.names_len);
    return view_of(b->at, rows + b->head.names_len);
}

static inline void
body_clear(body *b)
{
    b->head = (readings_head){ .tenant = b->head.tenant };
}

#endif
