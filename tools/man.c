/* man.c - haltless(1): made by the build from the same rows as the program, so that it cannot
 * drift. */
#include "tools/commands.h"

static const char top[] =
    ".TH HALTLESS 1 \"\" \"haltless " HALTLESS_VERSION "\" \"User commands\"\n"
    ".SH NAME\n"
    "haltless \\- machine monitoring on one box\n"
    ".SH SYNOPSIS\n"
    ".B haltless\n"
    ".I command\n"
    ".RI [ flags ]\n"
    ".SH DESCRIPTION\n"
    ".B haltless serve\n"
    "is a server that machines push sensor readings to over HTTP.\n"
    "A reading is on the disk before the answer leaves.\n"
    "It serves latest values and aggregates, watches alert rules, and a WebSocket shows it live.\n"
    "With an empty data directory and no configuration file it just works, on 127.0.0.1:8080.\n"
    ".SH COMMANDS\n";

static const char settings[] =
    ".SH SETTINGS\n"
    "Each setting is a key of the TOML file in the section that heads it, a variable and a flag.\n"
    "Flag over variable over file over default; an unknown key is an error that names its line.\n"
    "Numbers may end in k, M or G (powers of 1024; in quotes in the file).\n"
    ".B haltless check\\-config \\-\\-example\n"
    "prints a commented file of all of them.\n";

static const char bottom[] =
    ".SH SIGNALS\n"
    ".TP\n.BR SIGTERM \", \" SIGINT\n"
    "drain and stop; nothing that was acknowledged is lost.\n"
    ".TP\n.B SIGHUP\n"
    "reads the settings anew, applies those that say so above, and logs which changed and were not "
    "applied.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n.B HALTLESS_CONFIG\n"
    "the TOML file where no \\-\\-config is given.\n"
    ".TP\n.B HALTLESS_PASSWORD\n"
    "the password for\n.BR \"haltless user add\" .\n"
    ".TP\n.B NOTIFY_SOCKET\n"
    "where readiness and stopping are told, as systemd sets it.\n"
    ".SH EXIT STATUS\n"
    "0: done; 1: failed, with one line on standard error; 2: the command line is not understood.\n"
    ".SH FILES\n"
    ".TP\n.I DATA/control.sock\n"
    "where commands speak to a running server, mode 0600.\n"
    ".TP\n.I DATA/secrets\n"
    "keys that sign tokens and hash API keys, mode 0600; without it every session and key is "
    "void.\n";

void
man_print(FILE *out)
{
    fputs(top, out);
    for (const command *c = commands; c->name != NULL; c++) {
        fputs(".TP\n.B haltless ", out);
        for (const char *p = c->name; *p != '\0'; p++)
            fprintf(out, *p == '-' ? "\\%c" : "%c", *p);
        fprintf(out, "\n%s\n", c->brief);
    }
    fputs(".PP\n.B \\-\\-help\nbehind any of them says more.\n", out);
    fputs(settings, out);
    options_man(out);
    fputs(bottom, out);
}
