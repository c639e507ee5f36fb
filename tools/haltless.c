/* haltless.c - the command: finds the subcommand's row and runs it.
 *
 *   haltless NAME [FLAGS]      haltless --help      haltless NAME --help
 */
#include "proto/crypto.h"
#include "proto/err.h"
#include "tools/commands.h"

const command commands[] = {
    { "serve", cmd_serve, "runs the server" },
    { "actor", cmd_actor, "hosts one group of actors (serve starts these)" },
    { "dead", cmd_dead, "dead list, show, replay, drop: messages that killed an actor" },
    { "demo", cmd_demo, "a server with a tenant and simulated machines" },
    { "bench", cmd_bench, "measures this machine: bench ingest, query, recovery, alert, ws, kernel" },
    { "check-config", cmd_check_config, "checks the settings, as serve would read them" },
    { "doctor", cmd_doctor, "checks the machine: limits, shared memory, disk, ports" },
    { "top", cmd_top, "shows what a node does: actors, lanes, latencies, errors; running or killed" },
    { "trace", cmd_trace, "follows one request through the actors; running or killed" },
    { "lane", cmd_lane, "lane dump, lane follow: the messages between two actors" },
    { "user", cmd_user, "user add, user passwd: makes a user, or a tenant with its first one; sets a password" },
    { "tenant", cmd_tenant, "tenant list, tenant set: which limits hold for a tenant, and whether it may come in" },
    { "key", cmd_key, "key add: makes an API key" },
    { "keygen", cmd_keygen, "makes the key pair of a node, for a topology of several" },
    { "export", cmd_export, "readings into a file, CSV or JSON lines" },
    { "import", cmd_import, "readings out of a file" },
    { "secrets", cmd_secrets, "secrets rotate: another signing secret, nobody is logged out" },
    { "backup", cmd_backup, "a copy of all data, while the server runs" },
    { "restore", cmd_restore, "a backup becomes a data directory" },
    { "verify", cmd_verify, "reads all data, or a backup, and says whether it is sound" },
    { "stats", cmd_stats, "what the stored bytes go to" },
    { "version", cmd_version, "says what runs here, with the libraries that are loaded" },
    { 0 },
};

static void
overview_print(FILE *out)
{
    fputs("haltless COMMAND [flags] - machine monitoring on one box\n\n", out);
    for (const command *c = commands; c->name != NULL; c++)
        fprintf(out, "  %-14s %s\n", c->name, c->brief);
    fputs("\nhaltless COMMAND --help says more.\n", out);
}

static const command *
command_of(const char *name)
{
    for (const command *c = commands; c->name != NULL; c++)
        if (strcmp(c->name, name) == 0)
            return c;
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
    if (strcmp(name, "--help-man") == 0) { /* for the build */
        man_print(stdout);
        return EXIT_FINE;
    }
    if (name[0] != '\0')
        fprintf(stderr, "haltless: no command \"%s\"\n\n", name);
    overview_print(stderr);
    return EXIT_USAGE;
}
