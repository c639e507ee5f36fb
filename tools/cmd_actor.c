/* cmd_actor.c - one group of a node's actors as a process; the supervisor starts these. */
#include "actors/crash.h"
#include "actors/node.h"
#include "proto/version.h"
#include "tools/commands.h"

static const char usage[] =
    "haltless actor RUN_DIR GROUP - hosts the actors of one group of a running node\n\n"
    "The supervisor (haltless serve) starts these and starts them again when they die.  RUN_DIR is "
    "the node's\n"
    "directory of shared memory and sockets, GROUP a number of its plan.  By hand it is of use in "
    "a debugger.\n";

int
cmd_actor(int argc, char **argv)
{
    if (args_help(argc, argv, usage, false))
        return EXIT_FINE;
    crash_install(VERSION_COMMIT);
    return node_actor(argc - 1, argv + 1);
}
