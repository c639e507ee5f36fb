/* image.h - a private picture of a data directory that a server may be writing to, without a word to the server.
 *
 *   DATA/part.N   journal, then db      what is sealed while the journal is read is in the db that is read later
 *   DATA/registry                last   so it knows every machine that a partition has readings of
 *
 *   journal   segments that were begun before the first look are copied; one that is begun anew meanwhile is left out:
 *             it could go because what was in it lies in the db by then.  Copied in the middle of a write it has a torn
 *             tail, as after a crash.
 *   db        table files never change and are linked; manifest and logs only grow and are copied.  All of it again when
 *             the set of names changed meanwhile.
 *
 * So the picture is a state in which the server could have been killed, no older than the moment of asking: everything
 * acknowledged by then is in it, and opening it is a recovery.
 */
#ifndef HALTLESS_STORAGE_IMAGE_H
#define HALTLESS_STORAGE_IMAGE_H

#include "proto/base.h"

/* `to` is made; it must lie in the file system of data_dir.  E_NOTFOUND: no data there. */
NODISCARD int image_take(const char *data_dir, const char *to);
/* Removes it (and what a killed one left). */
void image_remove(const char *to);

/* Copies a regular file, synced; *crc (NULL: not wanted) is that of its bytes. */
NODISCARD int image_copy_file(const char *from, const char *to, uint32_t *crc, uint64_t *len);

#endif
