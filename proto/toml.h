/* toml.h - the only C++ of this project: an extern "C" shim over toml++. Reads one file into flat rows. */
#ifndef HALTLESS_PROTO_TOML_H
#define HALTLESS_PROTO_TOML_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum toml_type { TOML_STRING, TOML_INTEGER, TOML_FLOAT, TOML_BOOLEAN, TOML_OTHER } toml_type;

typedef struct toml_row {
    const char *path; /* "storage.journal_mb"; arrays: "a.0.b" */
    toml_type   type;
    const char *text; /* strings: the value; the others: as written back */
    int64_t     integer;
    double      number;
    int         boolean;
    uint32_t    line;
} toml_row;

/* Calls row() for every leaf in file order.  0; or -1 with a message and a line in error (cut at room). */
int toml_read(const char *file, int (*row)(void *ctx, const toml_row *r), void *ctx, char *error, uint32_t room);

#ifdef __cplusplus
}
#endif
#endif
