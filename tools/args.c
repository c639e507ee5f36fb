/* args.c - taking known flags out of argv; what is left belongs to the settings. */
#include "proto/err.h"
#include "tools/commands.h"

#include <stdlib.h>

static void
remove_words(int *argc, char **argv, int at, int count)
{
    for (int i = at; i + count <= *argc; i++)
        argv[i] = i + count < *argc ? argv[i + count] : NULL;
    *argc -= count;
}

bool
args_help(int argc, char **argv, const char *usage, bool settings)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
            continue;
        fputs(usage, stdout);
        if (settings) {
            puts("\nSettings (flag over variable over file over default):");
            options_help(stdout);
        }
        return true;
    }
    return false;
}

const char *
args_take(int *argc, char **argv, const char *flag, bool *bad)
{
    size_t len = strlen(flag);

    for (int i = 1; i < *argc; i++) {
        const char *value = argv[i] + len;

        if (strncmp(argv[i], flag, len) != 0 || (*value != '\0' && *value != '='))
            continue;
        if (*value == '=') {
            remove_words(argc, argv, i, 1);
            return value + 1;
        }
        if (i + 1 == *argc) {
            *bad = true;
            return NULL;
        }
        value = argv[i + 1];
        remove_words(argc, argv, i, 2);
        return value;
    }
    return NULL;
}

bool
args_take_switch(int *argc, char **argv, const char *flag)
{
    for (int i = 1; i < *argc; i++)
        if (strcmp(argv[i], flag) == 0) {
            remove_words(argc, argv, i, 1);
            return true;
        }
    return false;
}

const char *
args_take_config(int *argc, char **argv, bool *bad)
{
    const char *file = args_take(argc, argv, "--config", bad);

    return file != NULL || *bad ? file : getenv("HALTLESS_CONFIG");
}

int
command_failed(const char *name)
{
    fprintf(stderr, "haltless %s: %s\n", name, err_text());
    return EXIT_FAILED;
}

int
command_misused(const char *name, const char *what)
{
    fprintf(stderr, "haltless %s: %s; see haltless %s --help\n", name, what, name);
    return EXIT_USAGE;
}
