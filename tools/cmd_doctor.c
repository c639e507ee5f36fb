/* cmd_doctor.c - is this machine fit to be a server?  One line a check: ok, warn or fail, and what
 * to do.
 *
 *   ok    files      65536 open files
 *   warn  memlock    8 MiB of locked memory: raise LimitMEMLOCK
 *
 * It changes nothing but a temporary file beside the data.
 */
#include "proto/err.h"
#include "tools/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { WRITES = 50, BLOCK = 4096, PATH_ROOM = 4200 };

typedef enum verdict { OK, WARN, FAIL } verdict;

static verdict worst;

static void say(verdict v, const char *what, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void
say(verdict v, const char *what, const char *fmt, ...)
{
    static const char *const words[] = { "ok", "warn", "fail" };
    va_list                  ap;

    worst = v > worst ? v : worst;
    printf("%-5s %-9s ", words[v], what);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

static double
mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

/* ---- limits ---- */

static void
files_check(const options *o)
{
    struct rlimit limit;
    uint64_t      wanted = o->limits_connections + 1024;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= wanted)
        say(OK, "files", "%llu open files", (unsigned long long)limit.rlim_cur);
    else if (limit.rlim_max >= wanted)
        say(OK, "files", "%llu open files, the server may raise it to %llu",
            (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
    else
        say(limit.rlim_max < 1024 ? FAIL : WARN, "files",
            "%llu open files do for %llu connections; want %llu: LimitNOFILE= of the unit, or "
            "ulimit -n",
            (unsigned long long)limit.rlim_max,
            (unsigned long long)(limit.rlim_max > 1024 ? limit.rlim_max - 1024 : 0),
            (unsigned long long)wanted);
}

static void
memlock_check(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_max == RLIM_INFINITY)
        say(OK, "memlock", "locked memory is unlimited");
    else if (limit.rlim_max >= 64 << 20)
        say(OK, "memlock", "%.0f MiB of locked memory", mib(limit.rlim_max));
    else
        say(WARN, "memlock",
            "%.1f MiB of locked memory; lanes may be paged out: LimitMEMLOCK= of the unit, or "
            "ulimit -l",
            mib(limit.rlim_max));
}

static void
shm_check(const options *o)
{
    const char    *dir = o->server_run_dir[0] != '\0' ? o->server_run_dir : "/dev/shm";
    struct statvfs fs;
    uint64_t       room;

    if (statvfs(dir, &fs) != 0) {
        say(FAIL, "shm", "%s: %s; mount a tmpfs there or set server.run_dir", dir, strerror(errno));
        return;
    }
    room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (access(dir, W_OK) != 0)
        say(FAIL, "shm", "%s cannot be written to: %s", dir, strerror(errno));
    else if (room < 64 << 20)
        say(WARN, "shm", "%.0f MiB free in %s; want 64: a bigger tmpfs (Docker: --shm-size)",
            mib(room), dir);
    else
        say(OK, "shm", "%.0f MiB free in %s", mib(room), dir);
}

/* ---- the disk under the data ---- */

/* dir, or what exists above it. */
static void
existing_dir(const char *dir, char out[PATH_ROOM])
{
    snprintf(out, PATH_ROOM, "%s", dir);
    while (access(out, F_OK) != 0 && errno == ENOENT) {
        char *slash = strrchr(out, '/');

        if (slash == NULL)
            snprintf(out, PATH_ROOM, ".");
        else if (slash == out)
            snprintf(out, PATH_ROOM, "/");
        else
            *slash = '\0';
    }
}

static void
space_check(const char *dir)
{
    struct statvfs fs;
    uint64_t       room;

    if (statvfs(dir, &fs) != 0) {
        say(FAIL, "disk", "%s: %s", dir, strerror(errno));
        return;
    }
    room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (room < (uint64_t)1 << 30)
        say(room < 64 << 20 ? FAIL : WARN, "disk", "%.0f MiB free under %s; make room", mib(room),
            dir);
    else
        say(OK, "disk", "%.1f GiB free under %s", mib(room) / 1024, dir);
}

static double
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Milliseconds of each write, sorted.  E_IO: the chain says why. */
static int
writes_time(int fd, bool direct, double ms[WRITES])
{
    void *block = NULL;
    int   rc = posix_memalign(&block, BLOCK, BLOCK) == 0 ? E_OK : E_NOMEM;

    if (rc == E_OK)
        memset(block, 'h', BLOCK);
    for (int i = 0; i < WRITES && rc == E_OK; i++) {
        double from = now_ms();

        if (pwrite(fd, block, BLOCK, (off_t)i * BLOCK) != BLOCK || (!direct && fdatasync(fd) != 0))
            rc = err_errno(errno, "write");
        ms[i] = now_ms() - from;
    }
    free(block);
    qsort(ms, WRITES, sizeof ms[0], by_size);
    return rc;
}

/* The blocks exist before they are timed, as the journal's do. */
static int
probe_prepare(const char *path, int flags)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return -1;
    if (posix_fallocate(fd, 0, (off_t)WRITES * BLOCK) != 0 || fsync(fd) != 0 || flags == 0)
        return fd;
    close(fd);
    return open(path, O_RDWR | O_CLOEXEC | flags);
}

static void
sync_check(const char *dir)
{
    char   path[PATH_ROOM + 64];
    double ms[WRITES] = { 0 };
    bool   direct = true;
    int    fd, rc;

    snprintf(path, sizeof path, "%s/.haltless-doctor.%d", dir, (int)getpid());
    fd = probe_prepare(path, O_DIRECT | O_DSYNC);
    rc = fd >= 0 ? writes_time(fd, true, ms) : E_IO;
    if (rc < 0) { /* a file system without O_DIRECT: the server falls back too */
        if (fd >= 0)
            close(fd);
        unlink(path);
        direct = false;
        fd = probe_prepare(path, 0);
        rc = fd >= 0 ? writes_time(fd, false, ms) : err_errno(errno, "create %s", path);
    }
    if (fd >= 0)
        close(fd);
    unlink(path);
    if (rc < 0)
        say(FAIL, "sync", "%s; the data directory must be writable", err_text());
    else
        say(ms[WRITES / 2] > 20 ? WARN : OK, "sync",
            "4 KiB durable in %.2f ms (p50), %.2f ms (p99), %s%s", ms[WRITES / 2], ms[WRITES - 1],
            direct ? "O_DIRECT|O_DSYNC" : "fdatasync: no O_DIRECT here",
            ms[WRITES / 2] > 20 ? "; a slow disk bounds every ingest answer: use an SSD" : "");
}

/* ---- the listener ---- */

static bool
address_split(const char *listen_on, char host[256], char port[16])
{
    const char *colon = strrchr(listen_on, ':');
    size_t      len = colon != NULL ? (size_t)(colon - listen_on) : 0;

    if (colon == NULL || strlen(colon + 1) > 5 || len > 255)
        return false;
    snprintf(port, 16, "%s", colon + 1);
    if (len >= 2 && listen_on[0] == '[' && listen_on[len - 1] == ']') {
        listen_on++;
        len -= 2;
    }
    snprintf(host, 256, "%.*s", (int)len, listen_on);
    return true;
}

static int
bind_try(const struct addrinfo *a)
{
    int on = 1, rc = 0;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0)
        rc = errno;
    close(fd);
    return rc;
}

static void
port_check(const options *o)
{
    char            host[256], port[16];
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found = NULL;
    int             rc;

    if (!address_split(o->server_listen, host, port)) {
        say(FAIL, "port", "server.listen \"%s\" is not HOST:PORT", o->server_listen);
        return;
    }
    rc = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
    if (rc != 0) {
        say(FAIL, "port", "%s: %s", o->server_listen, gai_strerror(rc));
        return;
    }
    rc = bind_try(found);
    freeaddrinfo(found);
    if (rc == 0)
        say(OK, "port", "%s is free", o->server_listen);
    else if (rc == EADDRINUSE)
        say(WARN, "port", "%s is in use: by a running haltless, or choose another with --listen",
            o->server_listen);
    else
        say(FAIL, "port", "%s: %s", o->server_listen, strerror(rc));
}

/* ---- facts ---- */

/* The first line of a file, without its end; "?" when there is none. */
static const char *
line_of(const char *path, char out[256])
{
    FILE *f = fopen(path, "re");

    snprintf(out, 256, "?");
    if (f == NULL)
        return out;
    if (fgets(out, 256, f) != NULL)
        out[strcspn(out, "\n")] = '\0';
    fclose(f);
    return out;
}

static void
cores_check(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    say(cores >= 2 ? OK : WARN, "cores", "%ld cores, %.1f GiB of memory, crc32 instruction: %s%s",
        cores, mib((uint64_t)pages * (uint64_t)page) / 1024,
        __builtin_cpu_supports("sse4.2") ? "yes" : "no",
        cores >= 2 ? "" : "; actors share one core");
}

static void
clock_check(void)
{
    char            text[256];
    struct timespec resolution;
    double          from, each;
    volatile double sink = 0;

    line_of("/sys/devices/system/clocksource/clocksource0/current_clocksource", text);
    clock_getres(CLOCK_MONOTONIC, &resolution);
    from = now_ms();
    for (int i = 0; i < 10000; i++)
        sink = now_ms();
    each = (now_ms() - from) * 100;
    (void)sink;
    say(each > 500 ? WARN : OK, "clock", "source %s, resolution %ld ns, %.0f ns to read%s", text,
        resolution.tv_nsec, each,
        each > 500 ? "; a clock without vDSO costs time on every message: prefer tsc or kvm-clock"
                   : "");
}

static void
kernel_check(void)
{
    struct utsname u;
    char           pages[256];

    uname(&u);
    say(OK, "kernel", "%s %s %s, transparent huge pages: %s", u.sysname, u.release, u.machine,
        line_of("/sys/kernel/mm/transparent_hugepage/enabled", pages));
}

static const char usage[] =
    "haltless doctor [--config FILE] [settings] - is this machine fit to be a server?\n\n"
    "One line a check (ok, warn or fail, and what to do): open files, locked memory, shared "
    "memory, room and\n"
    "sync latency of the disk under the data directory, the listener's port, cores, clock, "
    "kernel.\n"
    "Changes nothing.  Exit status 1 when a check failed.\n";

int
cmd_doctor(int argc, char **argv)
{
    bool        bad = false;
    const char *file;
    options     o;
    char        dir[PATH_ROOM];

    if (args_help(argc, argv, usage, true))
        return EXIT_FINE;
    file = args_take_config(&argc, argv, &bad);
    if (bad)
        return command_misused(argv[0], "--config needs a file");
    if (options_load(&o, file, argc - 1, argv + 1) < 0)
        return command_failed(argv[0]);
    existing_dir(o.server_data, dir);
    files_check(&o);
    memlock_check();
    shm_check(&o);
    space_check(dir);
    sync_check(dir);
    port_check(&o);
    cores_check();
    clock_check();
    kernel_check();
    options_free(&o);
    return worst == FAIL ? EXIT_FAILED : EXIT_FINE;
}
