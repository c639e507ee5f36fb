/* lock.c - one server a data directory.
 *
 * DIR/LOCK is locked for the life of the descriptor (an open-file-description lock: it goes away with the last
 * copy of the descriptor, and survives a fork on purpose, so that children keep it).  The pid inside is for people.
 */
#include "storage/regstore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/err.h"
#include "storage/fs.h"

static int
lock_file(int fd, const char *path)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char         pid[32] = "";
    ssize_t      n;

    if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
        return E_OK;
    if (errno != EAGAIN && errno != EACCES)
        return err_errno(errno, "lock %s", path);
    n = pread(fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
    return err(E_LOCKED, "%s is held by process %s", path, pid[0] != '\0' ? pid : "unknown");
}

int
data_dir_lock(const char *dir)
{
    char path[FS_PATH_MAX];
    int  fd = -1;
    int  rc = fs_path(path, "%s/LOCK", dir);

    if (rc == E_OK)
        rc = fs_make_dir(dir);
    if (rc < 0)
        return err(rc, "data directory %s", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(errno, "open %s", path);
    rc = lock_file(fd, path);
    if (rc == E_OK && (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0))
        rc = err_errno(errno, "write %s", path);
    if (rc == E_OK)
        rc = fs_check_format(dir, "data");
    if (rc < 0) {
        close(fd);
        return err(rc, "data directory %s", dir);
    }
    return fd;
}
