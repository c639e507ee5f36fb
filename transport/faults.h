/* faults.h - the distinct error log of one process, in shared memory: a fault that comes a million times is one
 * row with a count.
 *
 *   offset 0     constant page   magic, abi, rows
 *   4096         rows used, faults that found no row
 *   4224         row[128], 384 bytes each   key, level, count, first, last, text of the first
 *
 * Key: the event, the place in the source, the actor.  One process writes, under a lock of its own; a row is
 * published by its count, last, and only its count and time change after that: nobody sees half of one, and
 * a process killed half-way leaves a row that is not there.  The file outlives the process, and its
 * successor counts on.
 */
#ifndef HALTLESS_TRANSPORT_FAULTS_H
#define HALTLESS_TRANSPORT_FAULTS_H

#include "proto/base.h"

enum { FAULTS_ROWS = 128, FAULT_EVENT_MAX = 48, FAULT_PLACE_MAX = 56, FAULT_ACTOR_MAX = 32, FAULT_TEXT_MAX = 216 };

typedef struct faults faults;

typedef struct fault {
    char     event[FAULT_EVENT_MAX]; /* "journal.failed"; longer ones are cut, here and below */
    char     place[FAULT_PLACE_MAX]; /* "storage/journal.c:123" */
    char     actor[FAULT_ACTOR_MAX]; /* "ingest.0"; empty: none */
    char     text[FAULT_TEXT_MAX];   /* of the first time */
    uint64_t count;
    int64_t  first_us; /* wall */
    int64_t  last_us;
    bool     warning; /* and no error */
} fault;

/* `name`: of the process, in the file's name. */
NODISCARD int faults_open(faults **f, const char *dir, const char *name, bool writer); /* a writer makes it */
void          faults_close(faults **f);

void faults_note(faults *f, const fault *what); /* any thread; count is not looked at, last_us = first_us */

uint32_t faults_count(const faults *f);
bool     faults_read(const faults *f, uint32_t i, fault *out);
uint64_t faults_lost(const faults *f); /* how often one came that had no row any more */

/* Every fault of every process whose file lies in `dir`; those that cannot be read are passed over. */
typedef void faults_fn(void *ctx, const char *name, const fault *f);
void faults_each(const char *dir, faults_fn *fn, void *ctx);

#endif
