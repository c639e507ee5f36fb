/* fs.h - the few file-system steps that storage needs, each durable when it returns. */
#ifndef HALTLESS_STORAGE_FS_H
#define HALTLESS_STORAGE_FS_H

#include "proto/base.h"

enum { FS_PATH_MAX = 4096 };

/* Formats a path into out[FS_PATH_MAX]; E_LIMIT when it is too long. */
NODISCARD int fs_path(char *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Makes the directory and its parents (0700), each entry synced. Existing is fine. */
NODISCARD int fs_make_dir(const char *path);
NODISCARD int fs_sync_dir(const char *path);
/* The whole file appears or the old one stays. */
NODISCARD int fs_write_file(const char *path, view content);
/* Reads up to room - 1 bytes and ends them with NUL; *len < 0 never happens.  E_NOTFOUND. */
NODISCARD int fs_read_file(const char *path, char *out, size_t room, size_t *len);
NODISCARD int fs_rename(const char *from, const char *to);
/* True for a directory without entries, and for none at all. */
bool fs_is_empty_dir(const char *path);
/* A flat directory of hard links to the files of another; directories in it are skipped. */
NODISCARD int fs_link_dir(const char *from, const char *to);
/* Removes a flat directory and one level of directories in it; trouble is ignored. */
void fs_remove_dir(const char *path);
/* dir/<name>-<UTC time>, not there yet. */
NODISCARD int fs_fresh_name(char *out, const char *dir, const char *name);

/* DIR/FORMAT: the lowest version of this software that may read, and may write, what lies beside it.
 * Written when missing.  E_NEWER, E_OLDER, with one line that says so. */
NODISCARD int fs_check_format(const char *dir, const char *what);

#endif
