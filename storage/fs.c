/* fs.c - directories, whole files, hard-linked copies, the FORMAT file.
 *
 *   DIR/FORMAT:   haltless part
 *                 reader 1
 *                 writer 1
 *
 * Whatever makes a name durable syncs the directory that holds it.
 */
#include "storage/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/world.h"

/* 1: chunks were laid out otherwise, before the first release; this version would not see them. */
enum { FORMAT_OLDEST = 2, FORMAT_READER = 2, FORMAT_WRITER = 2 };

int
fs_path(char *out, const char *fmt, ...)
{
    va_list ap;
    int     n;

    va_start(ap, fmt);
    n = vsnprintf(out, FS_PATH_MAX, fmt, ap);
    va_end(ap);
    if (n < 0 || n >= FS_PATH_MAX)
        return err(E_LIMIT, "a path longer than %d bytes", FS_PATH_MAX - 1);
    return E_OK;
}

int
fs_sync_dir(const char *path)
{
    int fd = the_world->open(path, O_RDONLY | O_DIRECTORY);
    int rc = E_OK;

    if (fd < 0)
        return err_errno(errno, "open directory %s", path);
    /* Some file systems cannot sync a directory and say EINVAL: nothing to be done there. */
    if (the_world->sync(fd) < 0 && errno != EINVAL)
        rc = err_errno(errno, "sync directory %s", path);
    the_world->close(fd);
    return rc;
}

static int
sync_parent(const char *path)
{
    char        parent[FS_PATH_MAX];
    const char *slash = strrchr(path, '/');
    int         rc;

    if (slash == NULL)
        return fs_sync_dir(".");
    rc = fs_path(parent, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return rc < 0 ? rc : fs_sync_dir(parent);
}

int
fs_make_dir(const char *path)
{
    char part[FS_PATH_MAX];
    int  rc = fs_path(part, "%s", path);

    for (char *p = part + 1; rc == E_OK && p[-1] != '\0'; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char kept = *p;
        *p = '\0';
        if (the_world->make_dir(part) == 0)
            rc = sync_parent(part);
        else if (errno != EEXIST)
            rc = err_errno(errno, "make directory %s", part);
        *p = kept;
    }
    return rc;
}

static int
write_all(int fd, view content)
{
    while (content.len > 0) {
        ssize_t n = the_world->write(fd, content.at, content.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        content = view_of(content.at + n, content.len - (size_t)n);
    }
    return 0;
}

int
fs_write_file(const char *path, view content)
{
    char temp[FS_PATH_MAX];
    int  fd;
    int  rc = fs_path(temp, "%s.tmp", path);

    if (rc < 0)
        return rc;
    fd = the_world->open(temp, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0)
        return err_errno(errno, "create %s", temp);
    if (write_all(fd, content) < 0 || the_world->sync(fd) < 0)
        rc = err_errno(errno, "write %s", temp);
    the_world->close(fd);
    if (rc == E_OK)
        rc = fs_rename(temp, path);
    if (rc < 0)
        the_world->unlink(temp);
    return rc;
}

int
fs_read_file(const char *path, char *out, size_t room, size_t *len)
{
    int     fd = the_world->open(path, O_RDONLY);
    size_t  got = 0;
    ssize_t n = 1;
    int     rc = E_OK;

    ASSERT(room > 0);
    if (fd < 0)
        return err_errno(errno, "open %s", path);
    while (n > 0 && got < room - 1) {
        n = the_world->read(fd, out + got, room - 1 - got);
        if (n > 0)
            got += (size_t)n;
    }
    if (n < 0)
        rc = err_errno(errno, "read %s", path);
    the_world->close(fd);
    out[got] = '\0';
    *len = got;
    return rc;
}

int
fs_rename(const char *from, const char *to)
{
    if (the_world->rename(from, to) < 0)
        return err_errno(errno, "rename %s to %s", from, to);
    return sync_parent(to);
}

static bool
is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void
count_name(void *ctx, const char *name)
{
    (void)name;
    ++*(uint32_t *)ctx;
}

bool
fs_is_empty_dir(const char *path)
{
    uint32_t names = 0;

    if (the_world->list(path, count_name, &names) < 0)
        return errno == ENOENT;
    return names == 0;
}

int
fs_link_dir(const char *from, const char *to)
{
    DIR           *d;
    struct dirent *e;
    int            rc = fs_make_dir(to);

    if (rc < 0)
        return rc;
    d = opendir(from);
    if (d == NULL)
        return err_errno(errno, "open directory %s", from);
    while (rc == E_OK && (e = readdir(d)) != NULL) {
        struct stat st;

        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        int to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (to_fd < 0 || linkat(dirfd(d), e->d_name, to_fd, e->d_name, 0) < 0)
            rc = err_errno(errno, "link %s/%s into %s", from, e->d_name, to);
        if (to_fd >= 0)
            close(to_fd);
    }
    closedir(d);
    return rc < 0 ? rc : fs_sync_dir(to);
}

static void
remove_entries(const char *path, int depth)
{
    DIR           *d = opendir(path);
    struct dirent *e;

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        char inner[FS_PATH_MAX];

        if (is_dots(e->d_name) || unlinkat(dirfd(d), e->d_name, 0) == 0 || depth == 0)
            continue;
        if (snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) < FS_PATH_MAX) {
            remove_entries(inner, depth - 1);
            rmdir(inner);
        }
    }
    closedir(d);
}

void
fs_remove_dir(const char *path)
{
    remove_entries(path, 1);
    rmdir(path);
}

int
fs_fresh_name(char *out, const char *dir, const char *name)
{
    time_t    now = time(NULL);
    struct tm tm;
    char      stamp[32];

    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    for (int i = 0; i < 1000; i++) {
        int rc = i == 0 ? fs_path(out, "%s/%s-%s", dir, name, stamp)
                        : fs_path(out, "%s/%s-%s.%d", dir, name, stamp, i);

        if (rc < 0)
            return rc;
        if (access(out, F_OK) < 0)
            return E_OK;
    }
    return err(E_EXISTS, "%s/%s-%s", dir, name, stamp);
}

int
fs_check_format(const char *dir, const char *what)
{
    char   path[FS_PATH_MAX];
    char   text[256];
    char   name[64];
    size_t len;
    int    reader, writer;
    int    rc = fs_path(path, "%s/FORMAT", dir);

    if (rc < 0)
        return rc;
    rc = fs_read_file(path, text, sizeof text, &len);
    if (rc == E_NOTFOUND) {
        err_clear();
        len = (size_t)snprintf(text, sizeof text, "haltless %s\nreader %d\nwriter %d\n", what,
                               FORMAT_READER, FORMAT_WRITER);
        return fs_write_file(path, view_of(text, len));
    }
    if (rc < 0)
        return rc;
    if (sscanf(text, "haltless %63s reader %d writer %d", name, &reader, &writer) != 3)
        return err(E_BAD, "%s is not a FORMAT file", path);
    if (strcmp(name, what) != 0)
        return err(E_BAD, "%s says \"%s\", not \"%s\"", path, name, what);
    if (reader > FORMAT_READER || writer > FORMAT_WRITER)
        return err(E_NEWER, "%s needs version %d to write it, this is version %d", path, writer,
                   FORMAT_WRITER);
    if (writer < FORMAT_OLDEST)
        return err(E_OLDER, "%s is of format %d, the oldest that is read is %d: take another data directory", path, writer,
                   FORMAT_OLDEST);
    return E_OK;
}
