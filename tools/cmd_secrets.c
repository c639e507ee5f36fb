/* cmd_secrets.c - `haltless secrets rotate`: another signing secret, with nobody logged out. */
#include "proto/err.h"
#include "proto/secrets.h"
#include "tools/commands.h"

#include <stdlib.h>
#include <time.h>

enum { EVERYBODY_LOOKED_S = 3, CLOCKS_S = 5 };

static const char usage[] =
    "haltless secrets rotate [flags] [settings] - signs access tokens with a new secret from now on\n\n"
    "  --at-once      tokens that were signed so far are void now (their secret was seen by others);\n"
    "                 without it they are good until they expire\n"
    "  --config FILE  where the settings are; --data DIR is enough\n\n"
    "Nobody has to log in again, with --at-once neither: refresh tokens are not signed.  A running\n"
    "server takes the new secret within a second, without a restart.\n\n";

static int
rotate(const options *o, bool at_once)
{
    int64_t now_s;
    int     rc = secrets_announce(o->server_data);

    if (rc < 0)
        return rc;
    if (!at_once) /* else a front may refuse for a second what the registry signs */
        (void)nanosleep(&(struct timespec){ .tv_sec = EVERYBODY_LOOKED_S }, NULL);
    now_s = (int64_t)time(NULL);
    return secrets_renew(o->server_data, now_s,
                         at_once ? 0 : (int64_t)o->auth_access_token_s + CLOCKS_S);
}

int
cmd_secrets(int argc, char **argv)
{
    bool        bad = false;
    bool        at_once;
    const char *config;
    options     o;
    int         rc;

    if (args_help(argc, argv, usage, true))
        return EXIT_FINE;
    if (argc < 2 || strcmp(argv[1], "rotate") != 0)
        return command_misused("secrets", "only `secrets rotate` is known");
    argc--;
    argv++;
    at_once = args_take_switch(&argc, argv, "--at-once");
    config = args_take_config(&argc, argv, &bad);
    if (bad)
        return command_misused("secrets", "a flag lacks its value");
    if (options_load(&o, config, argc - 1, argv + 1) < 0)
        return command_failed("secrets rotate");
    rc = rotate(&o, at_once);
    options_free(&o);
    if (rc < 0)
        return command_failed("secrets rotate");
    puts(at_once ? "Access tokens are signed anew; older ones are void."
                 : "Access tokens are signed anew; older ones are good until they expire.");
    return EXIT_FINE;
}
