/* haltless.c - the command: finds the subcommand's row and runs it.
 *
 *   haltless NAME [FLAGS]      haltless --help      haltless NAME --help
 */
#include "proto/crypto.h"
#include "proto/err.h"
#include "tools/commands.h"

typedef struct command {
    const char *name;
    command_fn *run;
    const char *brief;
} command;

static const command commands[] = {
    { "check-config", cmd_check_config, "checks the settings, as serve would read them" },
    { "doctor", cmd_doctor, "checks the machine: limits, shared memory, disk, ports" },
    { "version", cmd_version, "says what runs here, with the libraries that are loaded" },
};

static void
overview_print(FILE *out)
{
    fputs("haltless COMMAND [flags] - machine monitoring on one box\n\n", out);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(out, "  %-14s %s\n", commands[i].name, commands[i].brief);
    fputs("\nhaltless COMMAND --help says more.\n", out);
}

static const command *
command_of(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

int
main(int argc, char **argv)
{
    const char    *name = argc > 1 ? argv[1] : "";
    const command *c = command_of(strcmp(name, "--version") == 0 ? "version" : name);

    if (c != NULL)
        return crypto_start() < 0 ? command_failed(name) : c->run(argc - 1, argv + 1);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        overview_print(stdout);
        return EXIT_FINE;
    }
    if (strcmp(name, "--help-man") == 0) { /* for the build: the settings of the manual page */
        options_man(stdout);
        return EXIT_FINE;
    }
    if (name[0] != '\0')
        fprintf(stderr, "haltless: no command \"%s\"\n\n", name);
    overview_print(stderr);
    return EXIT_USAGE;
}
