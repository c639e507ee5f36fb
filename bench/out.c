#include "bench/out.h"

#include "proto/json.h"
#include "proto/version.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* The first "model name" of /proc/cpuinfo. */
static void
cpu_name(char *out, size_t room)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char  line[256];

    snprintf(out, room, "unknown");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        snprintf(out, room, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f != NULL)
        fclose(f);
}

/* statfs magic numbers of what a data directory usually lies on. */
static const struct {
    unsigned long magic;
    const char   *name;
} file_systems[] = {
    { 0xEF53, "ext4" },      { 0x58465342, "xfs" },   { 0x9123683E, "btrfs" },
    { 0x01021994, "tmpfs" }, { 0x2FC12FC1, "zfs" },   { 0x794C7630, "overlayfs" },
};

static const char *
file_system_of(const char *dir, char hex[32])
{
    struct statfs s;

    if (dir == NULL || statfs(dir, &s) < 0)
        return "none";
    for (size_t i = 0; i < COUNT_OF(file_systems); i++)
        if (file_systems[i].magic == (unsigned long)s.f_type)
            return file_systems[i].name;
    snprintf(hex, 32, "0x%lx", (unsigned long)s.f_type);
    return hex;
}

static void
command_line(json_out *j, int argc, char **argv)
{
    char   text[1024];
    size_t at = 0;

    text[0] = '\0';
    for (int i = 0; i < argc && at < sizeof text - 1; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i > 0 ? " " : "", argv[i]);
    json_name_string(j, "command", view_str(text));
}

void
bench_env(const bench_out *o, const char *dir, const char *durability, const char *topology, int argc, char **argv)
{
    json_out       j = { 0 };
    struct utsname u;
    char           cpu[128], hex[32];

    cpu_name(cpu, sizeof cpu);
    if (uname(&u) < 0)
        memset(&u, 0, sizeof u);
    json_open(&j, '{');
    json_name(&j, VIEW_LIT("env"));
    json_open(&j, '{');
    json_name_string(&j, "version", view_str(HALTLESS_VERSION));
    json_name_string(&j, "commit", view_str(VERSION_COMMIT));
    json_name_string(&j, "cpu", view_str(cpu));
    json_name_int(&j, "cores", sysconf(_SC_NPROCESSORS_ONLN));
    json_name_string(&j, "kernel", view_str(u.release));
    json_name_string(&j, "file_system", view_str(file_system_of(dir, hex)));
    json_name_string(&j, "durability", view_str(durability));
    json_name_string(&j, "topology", view_str(topology));
    command_line(&j, argc, argv);
    json_close(&j, '}');
    json_close(&j, '}');
    if (o->json)
        fprintf(o->to, "%.*s\n", (int)j.len, j.at);
    else
        fprintf(o->to, "haltless %s (%s) on %s, %ld cores, Linux %s, %s; durability %s; %s\n", HALTLESS_VERSION,
                VERSION_COMMIT, cpu, sysconf(_SC_NPROCESSORS_ONLN), u.release, file_system_of(dir, hex), durability,
                topology);
    fflush(o->to);
    json_out_free(&j);
}

void
bench_row(const bench_out *o, const char *what, const char *metric, double value, const char *unit)
{
    if (o->json) {
        json_out j = { 0 };

        json_open(&j, '{');
        json_name_string(&j, "bench", view_str(o->bench));
        json_name_string(&j, "case", view_str(what));
        json_name_string(&j, "metric", view_str(metric));
        json_name_number(&j, "value", value);
        json_name_string(&j, "unit", view_str(unit));
        json_close(&j, '}');
        fprintf(o->to, "%.*s\n", (int)j.len, j.at);
        json_out_free(&j);
    } else {
        fprintf(o->to, "%-38s %-22s %16.6g %s\n", what, metric, value, unit);
    }
    fflush(o->to);
}

static int
by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

void
bench_sort(uint64_t *ns, size_t count)
{
    qsort(ns, count, sizeof *ns, by_value);
}

uint64_t
bench_quantile(const uint64_t *sorted, size_t count, double q)
{
    if (count == 0)
        return 0;
    return sorted[min_u64((uint64_t)(q * (double)count), count - 1)];
}

void
bench_late(const bench_out *o, const char *what, const char *of, uint64_t *ns, size_t count)
{
    static const struct {
        const char *name;
        double      q;
    } quantiles[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "max", 1 } };

    bench_sort(ns, count);
    for (size_t i = 0; i < COUNT_OF(quantiles) && count > 0; i++) {
        char metric[48];

        (void)snprintf(metric, sizeof metric, "%s %s", of, quantiles[i].name);
        bench_row(o, what, metric, (double)bench_quantile(ns, count, quantiles[i].q) / 1e6, "ms");
    }
}

uint64_t
bench_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void
bench_pin(int core)
{
    cpu_set_t set;

    if (core < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        fprintf(stderr, "bench: cannot pin to core %d\n", core);
}
