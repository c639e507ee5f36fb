/* cmd_check_config.c - would a server take these settings? */
#include "actors/plan.h"
#include "proto/err.h"
#include "tools/commands.h"
#include "transport/trust.h"

#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "haltless check-config [--config FILE] [--dump | --example] [settings] - checks the settings "
    "as serve would read them\n\n"
    "  --config FILE  the TOML file; default: $HALTLESS_CONFIG, else none\n"
    "  --dump         prints every setting in effect as TOML instead of \"ok\"\n"
    "  --example      prints a file of all settings, each commented out with its default\n\n"
    "Exit status 1, and a message with file and line, variable or flag, when something is wrong.\n";

/* Of several nodes: who the others are, and whether our own key is one. */
static int
nodes_check(const options *o)
{
    static char text[4096];
    trust_pair  own;
    nodes       n;
    int         rc = nodes_read(&n, o);

    if (rc < 0 || !n.many)
        return rc;
    if ((rc = trust_load(o->node_key_file, &own)) < 0)
        return rc;
    explicit_bzero(&own, sizeof own);
    plan_describe_peers(&n, text, sizeof text);
    fputs(text, stdout);
    return E_OK;
}

/* A topology can be made of them, as a new data directory would have it. */
static int
topology_check(const options *o)
{
    plan *p = calloc(1, sizeof *p);
    char  text[256];
    int   rc = p != NULL ? plan_make(p, o, 0) : err(E_NOMEM, "topology");

    if (rc == E_OK) {
        plan_describe(p, text, sizeof text);
        rc = nodes_check(o);
    }
    if (rc == E_OK)
        printf("ok: %s\n", text);
    free(p);
    return rc;
}

int
cmd_check_config(int argc, char **argv)
{
    bool        bad = false, dump;
    const char *file;
    options     o;
    int         rc = E_OK;

    if (args_help(argc, argv, usage, true))
        return EXIT_FINE;
    if (args_take_switch(&argc, argv, "--example"))
        return options_example(stdout) < 0 ? command_failed(argv[0]) : EXIT_FINE;
    file = args_take_config(&argc, argv, &bad);
    dump = args_take_switch(&argc, argv, "--dump");
    if (bad)
        return command_misused(argv[0], "--config needs a file");
    if (options_load(&o, file, argc - 1, argv + 1) < 0)
        return command_failed(argv[0]);
    if (dump)
        options_dump(&o, stdout);
    else
        rc = topology_check(&o);
    options_free(&o);
    return rc < 0 ? command_failed(argv[0]) : EXIT_FINE;
}
