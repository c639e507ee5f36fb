/* cmd_serve.c - the server: settings and log, then the node. */
#include "actors/node.h"
#include "proto/log.h"
#include "tools/commands.h"

static const char usage[] =
    "haltless serve [--config FILE] [settings] - runs the server until SIGTERM\n\n"
    "With an empty data directory and no file it just works, on 127.0.0.1:8080.\n\n"
    "  --config FILE  the TOML file; default: $HALTLESS_CONFIG, else none\n\n"
    "SIGTERM and SIGINT drain and stop: nothing that was acknowledged is lost.  SIGHUP reads the "
    "settings anew,\n"
    "applies what may change and logs what may not.\n";

int
cmd_serve(int argc, char **argv)
{
    bool        bad = false;
    const char *file;
    options     o;
    int         status;

    if (args_help(argc, argv, usage, true))
        return EXIT_FINE;
    file = args_take_config(&argc, argv, &bad);
    if (bad)
        return command_misused(argv[0], "--config needs a file");
    if (options_load(&o, file, argc - 1, argv + 1) < 0)
        return command_failed(argv[0]);
    log_setup((enum log_level)o.log_level, (enum log_format)o.log_format);
    status = node_serve(&o, file, argc - 1, argv + 1);
    options_free(&o);
    return status;
}
