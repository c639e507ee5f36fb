/* rocks.h - what our two kinds of RocksDB (partition, registry) have in common: options, opening, rescue, errors. */
#ifndef HALTLESS_STORAGE_ROCKS_H
#define HALTLESS_STORAGE_ROCKS_H

#include <rocksdb/c.h>

#include "proto/base.h"

enum { ROCKS_FAMILIES_MAX = 24 };

typedef struct rocks_family {
    const char *name;
    bool        zstd;  /* compressed blocks; else none */
    uint32_t    block_bytes;
} rocks_family;

typedef struct rocks_config {
    const char         *dir;  /* DIR/db is the database, DIR/quarantine-* what could not be opened */
    const char         *what; /* "part", "registry": for FORMAT and log lines */
    const rocks_family *families; /* [0] must be "default" */
    uint32_t            family_count;
    uint64_t            cache_bytes;
    uint64_t            write_buffer_bytes; /* of all families together */
    bool                start_empty;        /* when it cannot be opened nor repaired: move it aside and go on */
} rocks_config;

typedef struct rocks {
    rocksdb_t                         *db;
    uint32_t                           family_count;
    rocksdb_column_family_handle_t    *cf[ROCKS_FAMILIES_MAX];
    rocksdb_options_t                 *options[ROCKS_FAMILIES_MAX];
    rocksdb_block_based_table_options_t *table[ROCKS_FAMILIES_MAX];
    rocksdb_cache_t                   *cache;
    rocksdb_writeoptions_t            *write, *write_synced;
    rocksdb_readoptions_t             *read;
    bool                               repaired; /* when it was opened */
} rocks;

/* Opens or makes it.  What is damaged is repaired on a hard-linked copy, else moved aside; each step is logged.
 * E_LOCKED, E_PERM, E_NOSPACE, E_LIMIT, E_NOMEM: as it is; E_NEWER by FORMAT. */
NODISCARD int rocks_open(rocks *r, const rocks_config *config);
/* Closes it (no iterator is left by then) and opens it again, without any repair: after a failed write RocksDB takes no
 * more.  On failure, and where it is not to be written, it is open for reading only, or, where that fails too, closed
 * (db is NULL). */
NODISCARD int rocks_reopen(rocks *r, const rocks_config *config, bool to_write);
NODISCARD int rocks_open_secondary(rocks *r, const rocks_config *config, const char *scratch);
void rocks_close(rocks *r); /* an all-zero one is fine */

/* The code just got, and the text with it: the disk did not read or write, as against: what it read is wrong. */
bool rocks_is_refusal(int rc);

/* Frees text and maps it to a code, with context.  NULL is E_OK. */
NODISCARD int rocks_result(char *text, const char *what);

#endif
