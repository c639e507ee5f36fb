/* reserve.h - disk space that is kept for bad times: DATA/RESERVE, a file of blocks that nothing is written to.
 *
 *   whole --less than RESERVE_LOW is free--> spent: empty, its blocks are free for sealing, deletes, retention, the registry
 *     ^------------- there is room for it, and RESERVE_LOW twice -------------'
 *
 * While it is spent partitions take no readings (507), so that what it gave is not eaten by them.  On a disk on which less
 * than RESERVE_MIN would be kept there is none, nor where blocks cannot be had ahead of writing.
 */
#ifndef HALTLESS_STORAGE_RESERVE_H
#define HALTLESS_STORAGE_RESERVE_H

#include "proto/base.h"

#define RESERVE_LOW ((uint64_t)24 << 20) /* a manifest, a log, table files of what memory holds */
#define RESERVE_MIN ((uint64_t)32 << 20)
enum { RESERVE_SHARE = 16 }; /* at most that part of the disk */

/* Makes it, gives it back, makes it whole again, as the disk wants it now; any number of actors of any processes may.
 * True: it is spent. */
bool reserve_tend(const char *data_dir, uint64_t bytes);
bool reserve_is_spent(const char *data_dir);

#endif
