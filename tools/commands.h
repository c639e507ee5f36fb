/* commands.h - the subcommands of `haltless`, each in tools/cmd_<name>.c, and what they share. */
#ifndef HALTLESS_TOOLS_COMMANDS_H
#define HALTLESS_TOOLS_COMMANDS_H

#include "actors/options.h"

/* argv[0] is the command's own name.  Each answers --help, and returns the exit status. */
typedef int command_fn(int argc, char **argv);

command_fn cmd_actor, cmd_backup, cmd_restore, cmd_stats, cmd_verify, cmd_bench,
    cmd_check_config, cmd_demo, cmd_doctor, cmd_export, cmd_import, cmd_key, cmd_keygen,
    cmd_lane, cmd_secrets, cmd_serve, cmd_tenant, cmd_top, cmd_user, cmd_version;
command_fn cmd_dead;

typedef struct command {
    const char *name;
    command_fn *run;
    const char *brief;
} command;
extern const command commands[]; /* ended by { 0 } */
command_fn cmd_trace;

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* True when --help or -h is among the words: `usage` was printed, with every setting behind it if
 * wanted. */
bool args_help(int argc, char **argv, const char *usage, bool settings);
/* Takes "--flag VALUE" or "--flag=VALUE" out of argv.  NULL: not there, or (*bad) its value is
 * missing. */
const char *args_take(int *argc, char **argv, const char *flag, bool *bad);
/* Takes "--flag" out of argv. */
bool args_take_switch(int *argc, char **argv, const char *flag);
/* --config (taken out of argv), else HALTLESS_CONFIG, else NULL. */
const char *args_take_config(int *argc, char **argv, bool *bad);

/* haltless(1), from the rows of the commands and the settings. */
void man_print(FILE *out);

/* "haltless NAME: <error chain>" on stderr; returns EXIT_FAILED. */
int command_failed(const char *name);
/* "haltless NAME: <what>; see --help" on stderr; returns EXIT_USAGE. */
int command_misused(const char *name, const char *what);

#endif
