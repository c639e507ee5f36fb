/* part_inner.h - what part.c (life, staging, showing), part_seal.c (sealing, trimming), part_db.c (the shared
 * handle) and part_read.c (readers) share.  Nobody else includes it. */
#ifndef HALTLESS_STORAGE_PART_INNER_H
#define HALTLESS_STORAGE_PART_INNER_H

#include "storage/fs.h"
#include "storage/heads.h"
#include "storage/keys.h"
#include "storage/part.h"
#include "storage/rocks.h"
#include "storage/series.h"

/* ---- part_db.c: one handle a partition and process, owned by one part, borrowed by readers ---- */
typedef struct part_db part_db;

NODISCARD int part_db_own(part_db **db, const char *dir, uint64_t cache_bytes); /* E_LOCKED: has an owner */
NODISCARD int part_db_borrow(part_db **db, const char *dir);                    /* E_AGAIN: has none yet */
NODISCARD int part_db_follow(part_db **db, const char *dir, const char *scratch, uint64_t cache_bytes);
void          part_db_disown(part_db **db);  /* the owner's end of it */
void          part_db_release(part_db **db); /* a reader's; the last of all closes */
void          part_db_unfollow(part_db **db);
rocks        *part_db_rocks(part_db *db);

/* ---- part.c ---- */

/* Definitions that are in the journal but not in the database, oldest first. */
typedef struct unstored {
    uint32_t *series;
    uint32_t  first, end, room; /* a queue in an array */
} unstored;

typedef struct part_block {
    bool     open;
    uint64_t first_lsn;
    uint32_t rows;
    uint32_t definitions; /* bytes of them, each at its longest */
    uuid     generation;
} part_block;

struct part {
    part_config  config;
    part_events  events;
    char         dir[FS_PATH_MAX]; /* DIR/part.N */
    part_db     *db;
    rocks       *rocks;
    journal     *journal;
    series_map  *map;
    heads       *heads;
    uint64_t     next_lsn;
    uint64_t     shown_lsn; /* everything up to it is in heads or chunks */
    uint64_t     sealed_seq;
    part_block   building;
    uuid         generation; /* of `applied` */
    journal_mark applied[JOURNAL_MARKS_MAX];
    uint32_t     applied_count;
    unstored     unstored;
    uint32_t    *named; /* series by name index, of the body being staged */
    uint32_t     named_room;
    uint32_t     flying_definitions; /* of the block that is ended and not shown yet */
    uint32_t    *carry; /* series defined in a forgotten block, for the next one */
    uint32_t     carried, carry_room;
    head_row    *sorted, *spare_rows; /* scratch of sealing */
    uint32_t     sorted_room;
    uint8_t     *chunk;
    uint64_t     replayed_rows, lost_rows;
    uint64_t     sealed_chunks, sealed_bytes, sealed_rows;
};

/* The oldest lsn that the journal must keep for definitions; 0: none. */
uint64_t part_oldest_unstored(const part *p);

#endif
