/* kernel.c - `haltless bench kernel`: the command; the cases are in kernel_*.c, one theme a file. */
#include "bench/kernel.h"

#include "actors/rundir.h"
#include "bench/bench.h"

#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

static const char help[] =
    "haltless bench kernel - records between two actors: lanes, notes, ZeroMQ frames, the whole kernel\n"
    "\n"
    "  copy      the same bytes, copied once: what no queue can beat\n"
    "  lane      both sides poll; published every record, every 32, once a step; beside memcpy, and beside what the\n"
    "            two cores pass on without a queue (of_pass: a tenth of memcpy where they share no cache)\n"
    "  ring, zmq both sides sleep when there is nothing: the lane and notes, or the lane's records as frames\n"
    "  link      the same between two hosts: tcp with CURVE, a link on each\n"
    "  socket    bare ZeroMQ under the same load: ipc, tcp, tcp with CURVE\n"
    "  trip      one record there, one back\n"
    "  ask, note through the whole kernel, between two actors that poll, or sleep\n"
    "  crash     from kill -9 of an actor to its successor's first message: standby, cold, ingest\n"
    "  message   what the kernel itself costs an empty message, with its counters and without, and an ask\n"
    "\n"
    "  --seconds S     a case (0.3)\n"
    "  --case TEXT     only cases whose name has it (also --only)\n"
    "  --cores A,B     pins both sides (else sides that poll get a core each, the others run anywhere)\n"
    "  --json          one object a line\n";

static kernel_theme *const themes[] = { kernel_copies, kernel_lanes, kernel_sockets,
                                        kernel_actors, kernel_messages, kernel_crashes };

void
kernel_place(const kernel_bench *b, int side, bool polls)
{
    cpu_set_t one;
    int       nth = side;

    CPU_ZERO(&one);
    if (b->core[side] >= 0) {
        bench_pin(b->core[side]);
        return;
    }
    for (size_t core = 0; polls && CPU_COUNT(&b->cores) > 1 && core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &b->cores) || nth-- > 0)
            continue;
        CPU_SET(core, &one);
        (void)sched_setaffinity(0, sizeof one, &one);
        return;
    }
    (void)sched_setaffinity(0, sizeof b->cores, &b->cores);
}

bool
kernel_wants(const kernel_bench *b, const char *name)
{
    return b->only == NULL || strstr(name, b->only) != NULL;
}

void
kernel_size_name(char out[16], uint32_t bytes)
{
    if (bytes % 1024 == 0)
        (void)snprintf(out, 16, "%uKiB", bytes / 1024);
    else
        (void)snprintf(out, 16, "%uB", bytes);
}

void
kernel_times(const kernel_bench *b, const char *what, uint64_t *ns, size_t count)
{
    static const struct {
        const char *name;
        double      q;
    } rows[] = { { "p50", 0.5 }, { "p99", 0.99 }, { "p99.9", 0.999 }, { "max", 1 } };

    bench_sort(ns, count);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        bench_row(&b->out, what, rows[i].name, (double)bench_quantile(ns, count, rows[i].q), "ns");
}

/* 0: go on; else the exit status + 1. */
static int
read_flags(kernel_bench *b, int argc, char **argv)
{
    static const struct option flags[] = {
        { "seconds", required_argument, NULL, 's' }, { "case", required_argument, NULL, 'o' },
        { "only", required_argument, NULL, 'o' },    { "cores", required_argument, NULL, 'c' },
        { "json", no_argument, NULL, 'j' },          { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    char *rest = NULL;
    int   key;

    optind = 1;
    while ((key = getopt_long(argc, argv, "+", flags, NULL)) != -1) {
        if (key == 's' && (b->seconds = strtod(optarg, &rest), *rest == 0 && b->seconds > 0 &&
                                                                   b->seconds <= 60))
            continue;
        if (key == 'c' && sscanf(optarg, "%d,%d", &b->core[0], &b->core[1]) == 2)
            continue;
        if (key == 'h') {
            (void)fputs(help, stdout);
            return 1;
        }
        if (key != 'o' && key != 'j') {
            (void)fputs(help, stderr);
            return 3;
        }
        b->only = key == 'o' ? optarg : b->only;
        b->out.json |= key == 'j';
    }
    return 0;
}

int
bench_kernel(int argc, char **argv)
{
    kernel_bench b = { .out = { .to = stdout, .bench = "kernel" },
                       .seconds = 0.3,
                       .core = { -1, -1 } };
    int          failed = 0;
    int          status = read_flags(&b, argc, argv);

    if (status != 0)
        return status - 1;
    (void)sched_getaffinity(0, sizeof b.cores, &b.cores);
    (void)snprintf(b.dir, sizeof b.dir, "%s/haltless-bench-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(b.dir) == NULL) {
        (void)fprintf(stderr, "bench: no directory %s\n", b.dir);
        return 1;
    }
    bench_env(&b.out, b.dir, "none", "two ends of one edge", argc, argv);
    for (size_t i = 0; i < COUNT_OF(themes); i++)
        failed += themes[i](&b);
    rundir_remove(b.dir); /* libzmq leaves the file of an ipc socket */
    return failed == 0 ? 0 : 1;
}
