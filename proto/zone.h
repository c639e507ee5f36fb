/* zone.h - local time of an IANA zone, from the system's TZif files (RFC 8536).
 *
 *   /usr/share/zoneinfo/Europe/Berlin --> transitions of the file, then those that its POSIX rule
 *   makes for 400 years; later times go round those (the Gregorian calendar repeats)
 *
 * A zone is shared and read-only once open; a bounded number stays in memory.  Files with leap
 * seconds ("right/...") are refused: our seconds are POSIX seconds.
 */
#ifndef HALTLESS_PROTO_ZONE_H
#define HALTLESS_PROTO_ZONE_H

#include "proto/base.h"

typedef struct zone zone;

enum { ZONE_NAME_MAX = 64, ZONE_FILE_MAX = 64 << 10 };

/* Letters, digits, '_', '+', '-' and single inner '/': nothing that leads out of the directory. */
bool zone_name_is_valid(view name);

/* E_NOTFOUND: no such zone; E_BAD: its file cannot be used.  zone_close() it.  Any thread. */
NODISCARD int zone_open(view name, zone **z);
void          zone_close(zone **z); /* NULL inside is fine */

/* The same from a file's bytes, for tests. */
NODISCARD int zone_parse(view file, zone **z);

/* Seconds to add to UTC at that second since the epoch.  Years 0001 to 9999. */
int32_t zone_offset(const zone *z, int64_t second);
/* The first second whose local time is `local` or later: of a midnight that is skipped, the first
 * second behind; of one that comes twice, the first.  Never falls as `local` grows. */
int64_t zone_first(const zone *z, int64_t local);

#endif
