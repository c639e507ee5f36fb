/* columns.h - a decoded chunk that is kept: small, and any run of its rows can be had, or summed up, without the others.
 *
 *   times    regular: the first and the step; else 4 bytes each, in units of 1 s, 1 ms or 1 us since the first; else 8
 *   values   decimals: 2 or 4 bytes each, as integers above a base that is an integer / 10^k; else the doubles
 *
 * Two bytes a reading where a machine reads every ten seconds, and integers that a loop without a branch sums up.
 */
#ifndef HALTLESS_STORAGE_COLUMNS_H
#define HALTLESS_STORAGE_COLUMNS_H

#include "proto/base.h"
#include "storage/part.h"

typedef struct columns columns;

/* Of count rows, times increasing; decimals: k when every value is an integer / 10^k, or negative. */
columns *columns_new(const int64_t *times, const double *values, uint32_t count, int decimals);
void     columns_free(columns **c);
size_t   columns_bytes(const columns *c);

uint32_t columns_count(const columns *c);
int64_t  columns_time(const columns *c, uint32_t i);
uint32_t columns_at(const columns *c, int64_t time_us); /* the first row that is not before; count: none */
/* Rows [from, to) as they were. */
void columns_rows(const columns *c, uint32_t from, uint32_t to, int64_t *times, double *values);
/* Can columns_sum() be had?  With m2 only of narrow decimals. */
bool columns_sum_up(const columns *c, bool with_spread);
/* What is said of rows [from, to), at least one; the sum is off by an ulp of itself at most. */
chunk_summary columns_sum(const columns *c, uint32_t from, uint32_t to, bool with_spread);

#endif
