/* world.c - Linux; see world.h. */
#include "proto/world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static uint64_t
linux_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int64_t
linux_wall_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int
linux_chance(void *out, size_t len)
{
    uint8_t *at = out;

    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);

        if (n < 0 && errno != EINTR)
            return -1;
        at += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int
linux_thread_start(pthread_t *t, void *(*fn)(void *), void *arg, const char *title)
{
    int failed = pthread_create(t, NULL, fn, arg);

    if (failed == 0)
        (void)pthread_setname_np(*t, title);
    return failed;
}

static void
linux_thread_join(pthread_t t)
{
    (void)pthread_join(t, NULL);
}

static void
linux_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
    (void)pthread_cond_wait(c, m);
}

static void
linux_wake(pthread_cond_t *c, bool all)
{
    (void)(all ? pthread_cond_broadcast(c) : pthread_cond_signal(c));
}

static int
linux_open(const char *path, int flags)
{
    return open(path, flags | O_CLOEXEC, 0600);
}

static int
linux_about(int fd, world_file *out)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -1;
    *out = (world_file){ st.st_dev, st.st_ino, (uint64_t)st.st_size };
    return 0;
}

static int
linux_look(const char *path, world_file *out)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return -1;
    *out = (world_file){ st.st_dev, st.st_ino, (uint64_t)st.st_size };
    return 0;
}

static int
linux_make_dir(const char *path)
{
    return mkdir(path, 0700);
}

static int
linux_list(const char *path, world_name_fn *fn, void *ctx)
{
    DIR           *d = opendir(path);
    struct dirent *e;

    if (d == NULL)
        return -1;
    while ((e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            fn(ctx, e->d_name);
    (void)closedir(d);
    return 0;
}

static int
linux_space(const char *path, uint64_t *bytes)
{
    struct statvfs fs;

    if (statvfs(path, &fs) < 0)
        return -1;
    *bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 0;
}

const world world_linux = {
    .name = "linux",
    .now_ns = linux_now_ns,
    .wall_us = linux_wall_us,
    .chance = linux_chance,
    .thread_start = linux_thread_start,
    .thread_join = linux_thread_join,
    .wait = linux_wait,
    .wake = linux_wake,
    .open = linux_open,
    .close = close,
    .read = read,
    .write = write,
    .pread = pread,
    .pwrite = pwrite,
    .sync = fsync,
    .datasync = fdatasync,
    .about = linux_about,
    .look = linux_look,
    .rename = rename,
    .unlink = unlink,
    .make_dir = linux_make_dir,
    .list = linux_list,
    .space = linux_space,
};

const world *the_world = &world_linux;

void
world_set(const world *w)
{
    the_world = w;
}
