/* cmd_bench.c - `haltless bench NAME`: the list of the benches. */
#include "tools/commands.h"

#include "bench/bench.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *brief;
} benches[] = {
    { "ingest", bench_ingest, "readings pushed over HTTP, acknowledged durable, read back bit for bit" },
    { "query", bench_query, "questions over HTTP, beside a route that does nothing" },
    { "fair", bench_fair, "one tenant's flood, and what another tenant's reads feel of it" },
    { "recovery", bench_recovery, "killed at full load: the first write and the first answer after the start" },
    { "alert", bench_alert, "from a reading to the frame of its alert, and what rules cost ingest" },
    { "ws", bench_ws, "thousands of live viewers, each alert to each of them once, and what they cost ingest" },
    { "kernel", bench_kernel, "lanes, carriers and round trips of the actor kernel" },
};

static void
usage(FILE *to)
{
    fputs("haltless bench NAME [options] - measures this machine; each has --help and --json\n\n", to);
    for (size_t i = 0; i < COUNT_OF(benches); i++)
        fprintf(to, "  %-10s %s\n", benches[i].name, benches[i].brief);
}

int
cmd_bench(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    for (size_t i = 0; i < COUNT_OF(benches); i++)
        if (strcmp(argv[1], benches[i].name) == 0)
            return benches[i].run(argc - 1, argv + 1);
    fprintf(stderr, "haltless bench: no bench \"%s\"\n", argv[1]);
    usage(stderr);
    return 2;
}
