/* journal_inner.h - an open journal: what journal.c (writing, trimming) and journal_read.c share.  Nobody else includes it. */
#ifndef HALTLESS_STORAGE_JOURNAL_INNER_H
#define HALTLESS_STORAGE_JOURNAL_INNER_H

#include "storage/journal_file.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    BUFFER_LEN =
        (int)sizeof(block_head) + JOURNAL_BLOCK_MAX + JOURNAL_MARKS_MAX * (int)sizeof(journal_mark),
    BUFFER_ROOM = (BUFFER_LEN + JOURNAL_PAGE - 1) / JOURNAL_PAGE * JOURNAL_PAGE,
};

enum buffer_state { BUFFER_IDLE, BUFFER_BUILDING, BUFFER_ENDED, BUFFER_WRITTEN };

typedef struct buffer {
    _Atomic(enum buffer_state) state; /* the helper takes the step ENDED -> WRITTEN */
    uint8_t                   *at;
    journal_block              seen; /* of an ended one */
    uint32_t                   len;  /* head and payload so far */
    uint32_t                   mark_count;
    uint64_t                   last_lsn;
    uint64_t                   stamp;
    journal_mark               marks[JOURNAL_MARKS_MAX];
} buffer;

struct journal {
    char           dir[FS_PATH_MAX]; /* DIR/journal */
    char           parent[FS_PATH_MAX]; /* DIR */
    journal_scan  *scan; /* NULL: everything is replayed */
    journal_report report;
    journal_config config;
    uuid           id;
    buffer         buffers[2];
    uint32_t       building; /* which of them */
    uint8_t       *zeros;
    uint64_t       skipped[SKIPPED_MAX]; /* blocks that are left out */
    uint32_t       skipped_count;
    /* the writing thread's */
    bool             direct;
    uint32_t         prepare_pause;
    uint64_t         next_file, next_sequence;
    _Atomic uint64_t written_bytes, syncs;
    /* under lock */
    pthread_mutex_t lock;
    segment       **segments;
    uint32_t        segment_count, segment_room;
    uint64_t        next_segment;
    uint64_t        newest_segment; /* holds the newest block */
};

#endif
