/* cmd_keygen.c - `haltless keygen`: the key pair by which nodes of one topology know each other. */
#include "proto/err.h"
#include "tools/commands.h"
#include "transport/trust.h"

static const char usage[] =
    "haltless keygen FILE - makes the key pair of a node\n\n"
    "  FILE      the secret, mode 0600: node.key_file of that node\n"
    "  FILE.pub  the public half, also printed: goes into node.peers of the others\n\n"
    "Neither file is ever overwritten.\n";

int
cmd_keygen(int argc, char **argv)
{
    char       text[TRUST_TEXT_LEN + 1];
    trust_pair made;

    if (args_help(argc, argv, usage, false))
        return EXIT_FINE;
    if (argc != 2 || argv[1][0] == '-')
        return command_misused(argv[0], "one file is needed");
    if (trust_make(argv[1], &made) < 0)
        return command_failed(argv[0]);
    trust_text(made.public, text);
    explicit_bzero(&made, sizeof made);
    printf("%s\n", text);
    return EXIT_FINE;
}
