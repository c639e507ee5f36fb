/* dead.h - dead letters: messages that an actor could not survive, or would never accept, kept for people.
 *
 * DATA/dead/<actor>-<sender>-<position>-<generation>.letter, one small file each, so that they are read with and
 * without a server, and written by actors that have no store:
 *
 *   0      8     12    16       20         24      32     40        48          64
 *   +------+-----+-----+--------+----------+-------+------+---------+-----------+
 *   |magic | crc | abi | signal | attempts | actor | pos  | wall_us | spare     |
 *   +------+-----+-----+--------+----------+-------+------+---------+-----------+
 *   | generation 16 | build 48 | reason 128 | envelope 64 | body ...
 *
 * A letter is durable when dead_write() returns, and written again under the same name when its writer died before
 * the lane was acknowledged.  At most 1 000 letters and 64 MiB: the oldest go.
 */
#ifndef HALTLESS_STORAGE_DEAD_H
#define HALTLESS_STORAGE_DEAD_H

#include "proto/envelope.h"

enum {
    DEAD_ID_MAX = 96,
    DEAD_BUILD_MAX = 48,
    DEAD_REASON_MAX = 128,
    DEAD_LETTERS_MAX = 1000,
    DEAD_BYTES_MAX = 64 << 20,
    DEAD_BODY_MAX = 1 << 20,
};

typedef struct dead_letter {
    envelope env;
    view     body; /* borrowed */
    addr     actor; /* who could not take it */
    uint64_t pos;
    uuid     generation;
    int64_t  wall_us;
    int32_t  signal; /* of the deaths; 0: it was refused */
    uint32_t attempts;
    char     build[DEAD_BUILD_MAX]; /* of the program that died of it */
    char     reason[DEAD_REASON_MAX];
} dead_letter;

typedef struct dead_entry {
    char     id[DEAD_ID_MAX];
    uint64_t bytes;
    int64_t  wall_us; /* written */
} dead_entry;

/* Its name without ".letter". */
void dead_id(const dead_letter *l, char id[DEAD_ID_MAX]);
bool dead_is_id(const char *id);
/* *dropped: how many old ones went for it. */
NODISCARD int dead_write(const char *data_dir, const dead_letter *l, char id[DEAD_ID_MAX], uint32_t *dropped);
/* Oldest first; malloc'ed, to be freed.  No directory is no letters. */
NODISCARD int dead_list(const char *data_dir, dead_entry **out, size_t *count);
/* out->body lies in *file, which is to be freed.  E_NOTFOUND; E_BAD: damaged, or no letter. */
NODISCARD int dead_read(const char *data_dir, const char *id, dead_letter *out, uint8_t **file);
NODISCARD int dead_drop(const char *data_dir, const char *id);
/* The letter in these bytes; body is borrowed from them. */
NODISCARD int dead_parse(view file, dead_letter *out);

#endif
