/* transfer.h - what `export` and `import` share: who asks, and how far they came. */
#ifndef HALTLESS_TOOLS_TRANSFER_H
#define HALTLESS_TOOLS_TRANSFER_H

#include "tools/web.h"

#include <stdio.h>

enum transfer_format { FORMAT_NDJSON, FORMAT_CSV, FORMAT_UNKNOWN };

/* By a word ("csv", "ndjson"), else by the end of a file's name. */
enum transfer_format transfer_format_of(const char *word, const char *file);

/* $HALTLESS_API_KEY, $HALTLESS_TOKEN, or the first line of key_file: never a flag, because flags are seen by all. */
NODISCARD int transfer_open(web **w, const char *url, const char *key_file, const char *ca);

/* FILE.<suffix>: a flat JSON object, written whole and synced, or not at all. */
NODISCARD int transfer_state_write(const char *file, const char *suffix, const cJSON *state);
NODISCARD int transfer_state_read(const char *file, const char *suffix, cJSON **state); /* E_NOTFOUND */
void          transfer_state_forget(const char *file, const char *suffix);
const char   *transfer_state_text(const cJSON *state, const char *name); /* "" when missing */
uint64_t      transfer_state_number(const cJSON *state, const char *name);

/* A field of CSV, quoted when it must be. */
void transfer_csv_put(FILE *out, view text);

#endif
