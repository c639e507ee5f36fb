/* series.h - the series of one partition, in memory: number <-> (machine, metric), unit, what is sealed, what is latest.
 *
 * 64 bytes a series, 4-8 in the hash, and each distinct metric or unit once: a million idle series are 80 MB.
 */
#ifndef HALTLESS_STORAGE_SERIES_H
#define HALTLESS_STORAGE_SERIES_H

#include "proto/base.h"

enum { SERIES_MAX = 1 << 24 };

typedef struct series {
    uint32_t machine; /* 0: a number that is known of, but not what it stands for */
    uint32_t tenant;
    uint32_t metric; /* strings, by number */
    uint32_t unit;
    uint32_t head; /* in heads.h; 0: none */
    uint8_t  unstored; /* its definition is not in the database yet */
    uint8_t  smalls;   /* small chunks sealed since it was last put in line for merging */
    uint16_t small_day; /* the day they are of, its low bits */
    uint64_t sealed_lsn;
    uint64_t defined_lsn; /* of the block with its newest definition */
    int64_t  latest_us;
    double   latest;
    uint64_t latest_lsn; /* 0: it has no reading */
} series;
_Static_assert(sizeof(series) == 64, "one cache line");

typedef struct series_map series_map;

series_map *series_new(void);
void        series_free(series_map **m);

uint32_t series_count(const series_map *m); /* the highest number */
series  *series_at(const series_map *m, uint32_t number); /* 1..count */
/* 0: not there. */
uint32_t series_find(const series_map *m, uint32_t machine, view metric);
typedef struct series_name {
    uint32_t machine, tenant;
    view     metric, unit;
} series_name;
/* The next number, or (while loading) that one, which must not be defined yet.  0: SERIES_MAX reached. */
uint32_t series_add(series_map *m, uint32_t number, const series_name *name);
/* Numbers up to this one are taken, though nothing is known of them. False: over SERIES_MAX. */
bool     series_reserve(series_map *m, uint32_t number);
void     series_set_unit(series_map *m, uint32_t number, view unit);
view     series_metric(const series_map *m, uint32_t number);
view     series_unit(const series_map *m, uint32_t number);
uint64_t series_of_tenant(const series_map *m, uint32_t tenant); /* how many */
void     series_prefetch(const series_map *m, uint32_t number);

#endif
