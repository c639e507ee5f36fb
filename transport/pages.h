/* pages.h - files of shared memory: made whole or not at all, mapped part by part.
 *
 * A file is made under a temporary name, filled, and renamed: whoever opens it by its name sees all
 * of it. Backed ranges are allocated first (a full /dev/shm is E_NOSPACE here and no SIGBUS later).
 * Mode 0600.
 */
#ifndef HALTLESS_TRANSPORT_PAGES_H
#define HALTLESS_TRANSPORT_PAGES_H

#include "proto/base.h"
#include "proto/err.h"

enum { PAGE_LEN = 4096, PAGES_PATH_MAX = 512 };

/* `len` bytes long, the first `backed` of them allocated and zero.  The descriptor is open for
 * reading and writing. */
NODISCARD int pages_make(const char *path, uint64_t len, uint64_t backed, int *fd);
/* The same without a name, gone when the last mapping is. */
NODISCARD int pages_make_private(const char *label, uint64_t len, int *fd);
/* Gives a made file its name; closes *fd in any case.  rc < 0: removes it instead and returns rc.
 */
NODISCARD int pages_land(const char *path, int *fd, int rc);
/* Opens a landed file. */
NODISCARD int pages_open(const char *path, bool write, int *fd, uint64_t *len);
/* Allocates a range of a file: E_NOSPACE when it is not to be had. */
NODISCARD int pages_back(int fd, uint64_t at, uint64_t len);
/* MAP_SHARED; NULL when the kernel refuses. */
void *pages_map(int fd, uint64_t at, uint64_t len, bool write);
/* `len` bytes at `at`, mapped twice back to back; populated. */
void *pages_map_twice(int fd, uint64_t at, uint64_t len, bool write);
void  pages_unmap(const void *map, uint64_t len); /* NULL is fine */

#endif
