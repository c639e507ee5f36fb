/* part_item.h - what the payload of a journal block is made of: a sequence of items, each 8-aligned.
 *
 *   +------+-------+----------------------------------------------------------+
 *   | kind | count | ITEM_ROWS: reading_row[count], no flags, numbers only    |
 *   +------+-------+----------------------------------------------------------+
 *   | kind | count | ITEM_SERIES: series_item, metric, unit; `count` bytes,   |
 *   +------+-------+              padded to 8                                 |
 *   | kind | count | ITEM_ERASE:  erase_item, series u32[]; `count` bytes,    |
 *   +------+-------+              padded to 8                                 |
 *
 * A row's lsn is its block's first lsn and its place among the block's rows; a delete has one place there too.  The
 * definition of a series is always journaled before, or in the same block as, the first row with its number; where a
 * block is forgotten, its definitions go into the next one.
 */
#ifndef HALTLESS_STORAGE_PART_ITEM_H
#define HALTLESS_STORAGE_PART_ITEM_H

#include "proto/rows.h"
#include "storage/series.h"

enum item_kind { ITEM_ROWS = 1, ITEM_SERIES = 2, ITEM_ERASE = 3 };

typedef struct item_head {
    uint32_t kind;
    uint32_t count;
} item_head;
_Static_assert(sizeof(item_head) == 8, "layout");

typedef struct series_item {
    uint32_t number;
    uint32_t machine;
    uint32_t tenant;
    uint16_t metric_len;
    uint16_t unit_len;
} series_item;
_Static_assert(sizeof(series_item) == 16, "layout");

typedef struct erase_item {
    int64_t from_us, to_us;
} erase_item;
_Static_assert(sizeof(erase_item) == 16, "layout");

/* One item, judged: everything it points to is inside the payload. */
typedef struct item {
    enum item_kind     kind;
    uint32_t           rows;
    const reading_row *row;
    series_item        series;
    series_name        name;
    erase_item         erase;
    const uint8_t     *erased; /* u32 each */
    uint32_t           erased_count;
    view               whole; /* with head and padding */
} item;

/* 1: the next one; 0: no more; E_BAD.  The payload goes on behind it. */
NODISCARD int part_item_next(view *payload, item *out);

#endif
