/* options.h - the settings of a node: one table (options.def) makes struct, parser, flags, help. */
#ifndef HALTLESS_ACTORS_OPTIONS_H
#define HALTLESS_ACTORS_OPTIONS_H

#include "proto/base.h"

#include <stdio.h>

enum { DURABILITY_FSYNC, DURABILITY_OS, DURABILITY_MEMORY };
enum { MODE_THREAD, MODE_PROCESS };
enum { REGISTRATION_AUTO, REGISTRATION_OPEN, REGISTRATION_FIRST, REGISTRATION_CLOSED };

#define OPTION_TYPE_STR  char *
#define OPTION_TYPE_U64  uint64_t
#define OPTION_TYPE_BOOL bool
#define OPTION_TYPE_ENUM uint32_t /* index of the word */

typedef struct options {
#define X(section, name, TYPE, def, min, max, reload, brief) OPTION_TYPE_##TYPE section##_##name;
#include "actors/options.def"
#undef X
} options;

/* Defaults, then file (NULL: none), then environment, then flags ("--storage-journal-mb=64" or two words).
 * argv starts at the first flag.  E_CONFIG with a chain that names file and line, variable or flag. */
NODISCARD int options_load(options *o, const char *file, int argc, char **argv);
void options_free(options *o);

/* Carries a loaded set to a child process and back (a file in run_dir, 0600). */
NODISCARD int options_save(const options *o, const char *path);
NODISCARD int options_read(options *o, const char *path);

/* SIGHUP: loads anew, takes what may change into *o; *ignored gets a comma-separated list of what changed and
 * cannot be reloaded (caller frees). */
NODISCARD int options_reload(options *o, const options *fresh, char **ignored);

void options_help(FILE *out); /* every setting: flag, variable, default, range, brief */
void options_man(FILE *out);  /* the same as the roff of a manual page's section */
NODISCARD int options_example(FILE *out); /* a TOML file of all of them, each commented out with its default */
void options_dump(const options *o, FILE *out); /* as TOML */

#endif
