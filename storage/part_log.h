/* part_log.h - has RocksDB's log of a partition a hole?
 *
 * What is sealed is not synced at once.  A power cut may keep a later write of the log and lose an earlier one, and
 * RocksDB reads over a hole of zeros as if nothing had been there: a later batch then says that a series is sealed up to
 * a row whose chunk was in the lost one, and the journal's copy of the row would be passed over.
 *
 *   log    | 32 KiB: record | record | record ...
 *   record   crc u32 | len u16 | type u8 | bytes       type: whole, or first, middle, last piece of a batch
 *   batch    sequence u64 | count u32 | ...            the next one's sequence is this one's + count
 *
 * So the records are looked at before RocksDB opens the log.  Behind a hole nothing was synced, hence nothing trimmed from
 * the journal: DIR/DOUBT is put down, every series counts as sealed up to the trimmed lsn alone, and all the journal is
 * replayed.  DOUBT goes when that is in the database.
 */
#ifndef HALTLESS_STORAGE_PART_LOG_H
#define HALTLESS_STORAGE_PART_LOG_H

#include "proto/base.h"

/* False: a sound record lies behind an unsound place, or sequences do not follow each other. */
bool part_log_is_whole(const char *db_dir);
/* Of the bytes of one log.  *next: the sequence that is expected, 0: any; then that behind it. */
bool part_log_judge(view log, uint64_t *next);

#endif
