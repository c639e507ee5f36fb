/* powercut.c - preloaded into the server by tests: remembers how to take back every write that is not synced yet, and
 * fails the Nth call when told to.
 *
 * Everything below the directory POWERCUT_DATA goes through to the disk at once; what it replaces is noted first, one
 * record a call, in POWERCUT_DIR/log, which all processes append to.  After a kill -9 the test (power.py) reads the log
 * and makes of the files what a power cut might have left: unsynced writes dropped, kept in any order, or torn at a
 * sector; names made, changed or removed since their directory was synced last undone.
 *
 *   0      8      12       16      24    32       40            48        52       56
 *   +------+------+--------+-------+-----+--------+-------------+---------+--------+------------------+
 *   | ns   | kind | flags  | inode | at  | number | size before | a bytes | b bytes| a ... b ...      |
 *   +------+------+--------+-------+-----+--------+-------------+---------+--------+------------------+
 *   WRITE     a: what was there, b: what comes          SYNC      at: ns when it began (writes noted before it count)
 *   TRUNCATE  at: new size, a: what goes                CREATE, MKDIR   a: path        DIRSYNC  a: path
 *   RENAME    a: from, b: to; number: what `to` was (DIR/saved.N), 0: nothing
 *   UNLINK    a: path; number: what it was
 *
 * POWERCUT_DIR/fault is shared memory of test and server: {countdown, how many fail then, errno, which calls}.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC, CREATE, RENAME, UNLINK, TRUNCATE, DIRSYNC, MKDIR };
enum { READS = 1, WRITES = 2, SYNCS = 4, NAMES = 8 };

typedef struct record {
    uint64_t ns;
    uint32_t kind, flags;
    uint64_t inode, at, number, size;
    uint32_t a_len, b_len;
} record;

typedef struct fault {
    _Atomic int64_t countdown; /* calls that still succeed; below 0: switched off */
    _Atomic int64_t failing;   /* how many fail then */
    int32_t error, calls;
    _Atomic uint64_t hits;
} fault;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int    log_fd = -1;
static fault *faults;
static char   data[PATH_MAX], dir[PATH_MAX];

#define REAL(name) static __typeof__(name) *real_##name; \
    if (real_##name == NULL) real_##name = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void
start(void)
{
    char path[PATH_MAX + 16];
    int  fd;

    if (getenv("POWERCUT_DIR") == NULL || getenv("POWERCUT_DATA") == NULL)
        return;
    snprintf(dir, sizeof dir, "%s", getenv("POWERCUT_DIR"));
    snprintf(data, sizeof data, "%s/", getenv("POWERCUT_DATA"));
    snprintf(path, sizeof path, "%s/fault", dir);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        faults = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (faults == MAP_FAILED)
        faults = NULL;
    snprintf(path, sizeof path, "%s/log", dir);
    log_fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static int
is_ours(const char *path)
{
    return log_fd >= 0 && strncmp(path, data, strlen(data)) == 0 && strstr(path, "/db/LOG") == NULL;
}

/* The path behind a descriptor, if it is one of ours. */
static int
path_of(int fd, char path[PATH_MAX])
{
    char    link[64];
    ssize_t n;

    if (log_fd < 0 || fd == log_fd)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, PATH_MAX - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    return is_ours(path);
}

static uint64_t
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 1: this call is the one; errno is set. */
static int
fails(int what)
{
    if (faults == NULL || (faults->calls & what) == 0 || atomic_load(&faults->countdown) < 0)
        return 0;
    if (atomic_load(&faults->countdown) > 0 && atomic_fetch_sub(&faults->countdown, 1) > 0)
        return 0;
    if (atomic_fetch_sub(&faults->failing, 1) <= 0) {
        atomic_store(&faults->countdown, -1);
        return 0;
    }
    atomic_fetch_add(&faults->hits, 1);
    errno = faults->error;
    return 1;
}

static void
note(record *r, const void *a, size_t a_len, const void *b, size_t b_len)
{
    struct iovec v[3] = { { r, sizeof *r }, { (void *)(uintptr_t)a, a_len }, { (void *)(uintptr_t)b, b_len } };

    r->a_len = (uint32_t)a_len;
    r->b_len = (uint32_t)b_len;
    if (r->ns == 0)
        r->ns = now();
    if (writev(log_fd, v, 3) != (ssize_t)(sizeof *r + a_len + b_len))
        abort();
}

static uint64_t saves;

/* Another name for what is about to lose its own. */
static uint64_t
save(const char *path)
{
    char     to[PATH_MAX + 64];
    uint64_t number;

    number = ((uint64_t)getpid() << 24) + ++saves;
    snprintf(to, sizeof to, "%s/saved.%llu", dir, (unsigned long long)number);
    return link(path, to) == 0 ? number : 0;
}

/* ---- bytes ---- */

static void
note_write(int fd, const char *path, const void *in, size_t len, off_t at)
{
    struct stat s;
    char       *old = malloc(len);
    int         reader = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t     n = 0;
    record      r = { .kind = WRITE, .at = (uint64_t)at };

    if (fstat(fd, &s) == 0 && old != NULL) {
        REAL(pread64);
        if (reader >= 0)
            n = real_pread64(reader, old, len, at);
        r.inode = s.st_ino;
        r.size = (uint64_t)s.st_size;
        note(&r, old, n > 0 ? (size_t)n : 0, in, len);
    }
    if (reader >= 0)
        close(reader);
    free(old);
}

static void
note_sync(int fd, const char *path, uint64_t began)
{
    struct stat s;
    record      r = { .kind = SYNC, .at = began };

    if (fstat(fd, &s) < 0)
        return;
    r.inode = s.st_ino;
    if (S_ISDIR(s.st_mode)) {
        r.kind = DIRSYNC;
        note(&r, path, strlen(path), NULL, 0);
    } else {
        note(&r, NULL, 0, NULL, 0);
    }
}

static ssize_t
write_at(int fd, const void *in, size_t len, off_t at, int moves)
{
    REAL(write);
    REAL(pwrite64);
    char    path[PATH_MAX];
    ssize_t n;
    int     flags;

    if (!path_of(fd, path))
        return moves ? real_write(fd, in, len) : real_pwrite64(fd, in, len, at);
    if (fails(WRITES))
        return -1;
    flags = fcntl(fd, F_GETFL);
    pthread_mutex_lock(&mutex);
    if (moves)
        at = flags & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
    note_write(fd, path, in, len, at);
    pthread_mutex_unlock(&mutex);
    n = moves ? real_write(fd, in, len) : real_pwrite64(fd, in, len, at);
    if (n == (ssize_t)len && (flags & O_DSYNC)) {
        if (fails(SYNCS))
            return -1;
        note_sync(fd, path, now());
    }
    return n;
}

ssize_t
write(int fd, const void *in, size_t len)
{
    return write_at(fd, in, len, 0, 1);
}

ssize_t
pwrite(int fd, const void *in, size_t len, off_t at)
{
    return write_at(fd, in, len, at, 0);
}

ssize_t
pwrite64(int fd, const void *in, size_t len, off64_t at)
{
    return write_at(fd, in, len, at, 0);
}

static int
sync_of(int fd, int (*real)(int))
{
    char     path[PATH_MAX];
    uint64_t began;

    if (!path_of(fd, path)) {
        /* A directory may be POWERCUT_DATA itself, which has no slash behind it. */
        strcat(path, "/");
        if (log_fd < 0 || strcmp(path, data) != 0)
            return real(fd);
        path[strlen(path) - 1] = '\0';
    }
    if (fails(SYNCS))
        return -1;
    began = now();
    if (real(fd) < 0)
        return -1;
    note_sync(fd, path, began);
    return 0;
}

int
fsync(int fd)
{
    REAL(fsync);
    return sync_of(fd, real_fsync);
}

int
fdatasync(int fd)
{
    REAL(fdatasync);
    return sync_of(fd, real_fdatasync);
}

ssize_t
pread64(int fd, void *out, size_t len, off64_t at)
{
    REAL(pread64);
    char path[PATH_MAX];

    if (path_of(fd, path) && fails(READS))
        return -1;
    return real_pread64(fd, out, len, at);
}

ssize_t
pread(int fd, void *out, size_t len, off_t at)
{
    return pread64(fd, out, len, at);
}

ssize_t
read(int fd, void *out, size_t len)
{
    REAL(read);
    char path[PATH_MAX];

    if (path_of(fd, path) && fails(READS))
        return -1;
    return real_read(fd, out, len);
}

int
ftruncate64(int fd, off64_t len)
{
    REAL(ftruncate64);
    REAL(pread64);
    char        path[PATH_MAX];
    struct stat s;
    record      r = { .kind = TRUNCATE, .at = (uint64_t)len };
    char       *old = NULL;
    ssize_t     n = 0;

    if (!path_of(fd, path) || fstat(fd, &s) < 0)
        return real_ftruncate64(fd, len);
    if (fails(WRITES))
        return -1;
    if (s.st_size > len && (old = malloc((size_t)(s.st_size - len))) != NULL) {
        int reader = open(path, O_RDONLY | O_CLOEXEC);

        n = real_pread64(reader, old, (size_t)(s.st_size - len), len);
        close(reader);
    }
    r.inode = s.st_ino;
    r.size = (uint64_t)s.st_size;
    note(&r, old, n > 0 ? (size_t)n : 0, NULL, 0);
    free(old);
    return real_ftruncate64(fd, len);
}

int
ftruncate(int fd, off_t len)
{
    return ftruncate64(fd, len);
}

int
fallocate64(int fd, int mode, off64_t at, off64_t len)
{
    REAL(fallocate64);
    char path[PATH_MAX];

    if (path_of(fd, path) && fails(WRITES))
        return -1;
    return real_fallocate64(fd, mode, at, len);
}

int
fallocate(int fd, int mode, off_t at, off_t len)
{
    return fallocate64(fd, mode, at, len);
}

/* ---- names ---- */

int
open64(const char *path, int flags, ...)
{
    REAL(open64);
    va_list     list;
    mode_t      mode;
    struct stat s;
    record      r = { .kind = CREATE };
    int         fd, makes, cuts;

    va_start(list, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    if (!is_ours(path))
        return real_open64(path, flags, mode);
    if (fails(NAMES))
        return -1;
    makes = (flags & O_CREAT) && stat(path, &s) < 0;
    cuts = (flags & O_TRUNC) && !makes && stat(path, &s) == 0 && s.st_size > 0;
    fd = real_open64(path, cuts ? flags & ~O_TRUNC : flags, mode);
    if (fd >= 0 && makes)
        note(&r, path, strlen(path), NULL, 0);
    if (fd >= 0 && cuts)
        (void)!ftruncate64(fd, 0);
    return fd;
}

int
open(const char *path, int flags, ...)
{
    va_list list;
    mode_t  mode;

    va_start(list, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
    va_end(list);
    return open64(path, flags, mode);
}

int
rename(const char *from, const char *to)
{
    REAL(rename);
    record r = { .kind = RENAME };

    if (!is_ours(to))
        return real_rename(from, to);
    if (fails(NAMES))
        return -1;
    pthread_mutex_lock(&mutex);
    r.number = save(to);
    note(&r, from, strlen(from), to, strlen(to));
    pthread_mutex_unlock(&mutex);
    return real_rename(from, to);
}

int
unlink(const char *path)
{
    REAL(unlink);
    record r = { .kind = UNLINK };

    if (!is_ours(path))
        return real_unlink(path);
    if (fails(NAMES))
        return -1;
    pthread_mutex_lock(&mutex);
    r.number = save(path);
    if (r.number != 0)
        note(&r, path, strlen(path), NULL, 0);
    pthread_mutex_unlock(&mutex);
    return real_unlink(path);
}

int
mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    record r = { .kind = MKDIR };
    int    rc;

    if (is_ours(path) && fails(NAMES))
        return -1;
    rc = real_mkdir(path, mode);
    if (rc == 0 && is_ours(path))
        note(&r, path, strlen(path), NULL, 0);
    return rc;
}
