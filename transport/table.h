/* table.h - a table in shared memory with one writer and any number of readers: the board is made of these.
 *
 * Records are fixed-size and numbered from 1; a number is for ever.  An index (open addressing, entries
 * {hash high bits, number}, never deleted) finds a number by a 64-bit hash.  Each record is kept twice
 * under a sequence word: the writer fills the copy that nobody reads, then turns the word.  So readers never
 * block the writer and never see half of a record, and a writer killed half-way is not seen at all.  Strings
 * live in an append-only heap behind the records.  The file is as long as its capacity, but memory is
 * only backed (fallocate, before the record is published) for what is used: a full /dev/shm is
 * E_NOSPACE in the writer, never a SIGBUS in a reader.
 */
#ifndef HALTLESS_TRANSPORT_TABLE_H
#define HALTLESS_TRANSPORT_TABLE_H

#include "proto/base.h"

typedef struct table table;
typedef uint32_t table_string; /* offset in the heap; 0 = empty */

enum { TABLE_RECORD_MAX = 512 };

NODISCARD int table_create(const char *path, uint32_t record_size, uint32_t capacity, uint64_t heap_max);
/* The same, and it can be asked what was put since when: for who copies it to another place. */
NODISCARD int table_create_tracked(const char *path, uint32_t record_size, uint32_t capacity,
                                   uint64_t heap_max);
NODISCARD int table_open(table **t, const char *path, bool writer);
void table_close(table **t);

uint32_t table_capacity(const table *t);
uint32_t table_count(const table *t); /* the highest number that was ever put */

/* Writer.  Puts the record of number `no` (1..capacity; 0: the next free one) and enters it in the index
 * under `hash` if it was not there under that hash (hash 0: under none).  Returns the number, or E_FULL / E_NOSPACE.  A
 * record's index entry under an older hash stays: finders compare the record. */
NODISCARD int64_t table_put(table *t, uint32_t no, uint64_t hash, const void *record);
/* Writer: a string into the heap; 0 when empty, UINT32_MAX when the heap is full. */
NODISCARD table_string table_put_string(table *t, view s);

/* Readers.  False: no such record yet. */
bool table_read(const table *t, uint32_t no, void *record);
view table_string_view(const table *t, table_string s); /* stable for the table's life */

/* Walks the records entered under `hash`; `is` judges a consistent copy of each.  0: none. */
typedef bool table_is_fn(const table *t, const void *record, const void *key);
uint32_t table_find(const table *t, uint64_t hash, table_is_fn *is, const void *key, void *record_out);

/* The same walk by hand, for comparing in place: candidates one by one, 0 ends. */
typedef struct table_probe {
    const void *area;
    uint32_t    tag;
    uint32_t    mask;
    uint32_t    at;
    uint32_t    left;
} table_probe;
table_probe table_begin(const table *t, uint64_t hash);
uint32_t    table_next(const table *t, table_probe *p);

/* One aligned 64-bit word of a record, atomically, without the seqlock: for hot words (last arrival).
 * offset: multiple of 8.  Writer-only store. */
uint64_t table_word(const table *t, uint32_t no, size_t offset);
void     table_word_store(table *t, uint32_t no, size_t offset, uint64_t value);

/* Of a tracked table: how often it was put, ever; and the least number >= from (1, 2, ...) that was put after
 * the since-th time, 0: none.  What is put meanwhile is seen now or counts as later. */
uint64_t table_changes(const table *t);
uint32_t table_changed(const table *t, uint64_t since, uint32_t from);

/* Direct look at a record's bytes without a copy, for fields that never change. NULL: none yet. */
const void *table_peek(const table *t, uint32_t no);

#endif
