/* days.h - what a reader keeps of the chunks that it has read: their rollups, a day of a series at a time, and of those
 * whose rows were wanted the columns.
 *
 * A day is good as long as the series has the version (part_version()) that it was read under; what is used least goes
 * when there is more than the budget.  One thread.
 */
#ifndef HALTLESS_STORAGE_DAYS_H
#define HALTLESS_STORAGE_DAYS_H

#include "proto/base.h"
#include "storage/columns.h"
#include "storage/rollup.h"

typedef struct days days;

typedef struct day_chunk {
    chunk_summary  whole;
    chunk_summary *hour; /* owned; NULL where there are none */
    columns       *columns; /* owned; NULL: not wanted yet */
    uint32_t       hours;
    bool           bare;
} day_chunk;

/* Chunks in the order of their keys. */
typedef struct kept_day {
    uint32_t   series;
    int32_t    number;
    uint64_t   version;
    uint32_t   count, room;
    day_chunk *chunk; /* owned */
    /* days.c */
    struct kept_day *newer, *older; /* by use */
    struct kept_day *next;          /* of its bucket */
    size_t      bytes;
} kept_day;

days *days_new(size_t bytes_max);
void  days_free(days **d);

/* NULL: not known, or not of that version (then it is forgotten).  Stays until the next days_add() or days_grown(). */
kept_day *days_find(days *d, uint32_t series, int32_t number, uint64_t version);
/* An empty one in place of any that there is, which gives its columns to chunks that come again. */
kept_day *day_new(uint32_t series, int32_t number, uint64_t version);
void day_add(kept_day *of, const rollup *r);
void day_free(kept_day **of);
/* It is whole: taken. */
kept_day *days_add(days *d, kept_day **of);
void days_forget(days *d, kept_day *of);
void days_set_columns(days *d, kept_day *of, day_chunk *c, columns **made); /* taken */
day_chunk *day_chunk_of(kept_day *of, const chunk_summary *s);             /* NULL: it is not there */

#endif
