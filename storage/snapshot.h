/* snapshot.h - a small file of fixed-size records that is always written whole.
 *
 *   kind u32 | version u32 | record_size u32 | count u32 | crc32c u32 of the records | zero u32 | records
 *
 * For what is convenient to know after a restart but is no fact of record: written now and then and at a
 * stop, to a temporary file that is renamed; synced only where it says so.  What is missing, damaged or of another shape
 * reads as empty.
 */
#ifndef HALTLESS_STORAGE_SNAPSHOT_H
#define HALTLESS_STORAGE_SNAPSHOT_H

#include "proto/base.h"

typedef struct snapshot {
    uint32_t kind; /* whose it is: a magic number */
    uint32_t record_size;
    uint32_t count;
    void    *records;
    bool     sync; /* it is there after a power cut too */
} snapshot;

NODISCARD int snapshot_save(const char *path, const snapshot *s);
/* kind and record_size are given; records: caller frees; NULL and 0 when there is nothing. */
void snapshot_load(const char *path, snapshot *s);

#endif
