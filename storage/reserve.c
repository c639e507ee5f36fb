#include "storage/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"
#include "storage/fs.h"

/* What the disk can spare of what is asked for; 0: none. */
static uint64_t
bounded(const char *dir, uint64_t bytes, uint64_t *free_bytes)
{
    struct statvfs v;

    if (statvfs(dir, &v) < 0)
        return 0;
    *free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    bytes = min_u64(bytes, (uint64_t)v.f_blocks * v.f_frsize / RESERVE_SHARE);
    return bytes < RESERVE_MIN ? 0 : bytes;
}

/* One at a time: the others look again a second later. */
static bool
lock(int fd)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    return fcntl(fd, F_OFD_SETLK, &whole) == 0;
}

static bool
is_whole(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_size > 0;
}

static void
give_back(int fd, const char *path, uint64_t free_bytes)
{
    if (ftruncate(fd, 0) < 0)
        log_error("reserve.give_back", "file=%s errno=%d", path, errno);
    else
        log_warn("reserve.spent", "file=%s free=%" PRIu64 " why=\"the disk is full: no readings are taken\"", path, free_bytes);
}

/* False: the file system knows no blocks ahead of writing, and there is no reserve on it. */
static bool
make_whole(int fd, const char *path, uint64_t bytes)
{
    int failed = fallocate(fd, 0, 0, (off_t)bytes) == 0 ? 0 : errno;

    if (failed == 0)
        log_info("reserve.whole", "file=%s bytes=%" PRIu64, path, bytes);
    else
        (void)!ftruncate(fd, 0);
    if (failed == EOPNOTSUPP)
        (void)unlink(path);
    return failed != EOPNOTSUPP;
}

bool
reserve_tend(const char *dir, uint64_t bytes)
{
    char        path[FS_PATH_MAX], fresh[FS_PATH_MAX];
    const char *name;
    uint64_t    free_bytes = 0;
    bool        old, keep;
    int         fd;

    bytes = bounded(dir, bytes, &free_bytes);
    if (fs_path(path, "%s/RESERVE", dir) < 0 || fs_path(fresh, "%s/RESERVE.tmp", dir) < 0)
        return false;
    old = access(path, F_OK) == 0;
    name = old ? path : fresh; /* an empty RESERVE says that it is spent: the first one has its blocks before its name */
    if (bytes == 0 || (!old && free_bytes < bytes + 2 * RESERVE_LOW)) {
        (void)unlink(path); /* there was one under another setting, or there is no room for the first one */
        return false;
    }
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) /* not even an inode, or no right to: nothing is kept here */
        return false;
    keep = old;
    if (lock(fd)) {
        if (is_whole(fd) && free_bytes < RESERVE_LOW)
            give_back(fd, path, free_bytes);
        else if (!is_whole(fd) && free_bytes >= bytes + 2 * RESERVE_LOW)
            keep = make_whole(fd, name, bytes);
        if (!old && is_whole(fd))
            (void)!rename(fresh, path); /* another partition may have been first */
    }
    keep = keep && !is_whole(fd);
    close(fd);
    return keep;
}

bool
reserve_is_spent(const char *dir)
{
    char       path[FS_PATH_MAX];
    world_file about;

    return fs_path(path, "%s/RESERVE", dir) == E_OK && the_world->look(path, &about) == 0 && about.len == 0;
}
