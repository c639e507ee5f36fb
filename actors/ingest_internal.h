/* ingest_internal.h - what the files of the ingest actor share.
 *
 *   ingest.c        the kind: batches, commits, replies, timers
 *   ingest_show.c   what follows a commit: board, watched rows, feeds; and the board's rebuilding
 *   ingest_watch.c  watched rows to the alert actor, live and from the journal
 *   ingest_open.c   opening the partition, and the replay of its journal
 *   ingest_heads.c  unsealed rows for queries
 *   ingest_retain.c how long readings are kept
 */
#ifndef HALTLESS_ACTORS_INGEST_INTERNAL_H
#define HALTLESS_ACTORS_INGEST_INTERNAL_H

#include "actors/ak.h"
#include "actors/head_sums.h"
#include "actors/rules.h"
#include "storage/part.h"
#include "transport/board.h"
#include "transport/count.h"

enum {
    ASKS_MAX = 4096,    /* messages of one batch */
    STREAMS_MAX = 64,   /* heads answers under way */
    FEED_LEN_MAX = 65536,
};

/* A message that is answered after the commit. */
typedef struct ask {
    ak_msg   m; /* its body is gone by then */
    int32_t  rc;
    uint32_t rows;
    uint64_t lsn;
} ask;

typedef struct batch {
    ask     *asks; /* ASKS_MAX */
    uint32_t count;
} batch;

typedef struct series_slot {
    uint32_t machine;
    uint32_t tenant;
    uint32_t shown; /* number of the commit that changed it last */
    uint32_t watch_seq; /* rules_seq at which `watched` was found, plus 1 */
    bool     watched;
    bool     hot;       /* the last row handed on was not at rest (rule_bounds) */
    uint32_t bounds;    /* in bounds[], + 1; 0: none yet */
    board_latest latest;
} series_slot;

typedef struct machine_slot {
    uint32_t shown;
    board_arrival arrival;
} machine_slot;

/* Rows on their way to another actor. */
typedef struct feed {
    addr     to;
    uint32_t rows, rows_max; /* 0: no such edge */
    uint8_t *body;           /* feed_head and rows; made at first use */
} feed;

/* Rows on their way to the alert actor, and what it has of them. */
typedef struct watch {
    uint32_t     rows, rows_max; /* 0: there is no alert actor */
    uint8_t     *body;           /* watched_head and rows; made at first use */
    uint8_t     *caught;         /* the same for rows of the journal */
    bool         all;            /* of the block that is shown: it is older than the rules of now */
    uint64_t     upto;           /* of the row that was handed on last, or of one that may have to be */
    bool         heard;          /* it has spoken since the partition was opened */
    judged_note  judged;
    uint64_t     pressed_upto; /* judged.saved as it was asked for more */
    part_again *replay;
    bool         reading; /* a helper has it */
    bool         fresh;   /* nothing of what was read has been answered yet */
    bool         asked;
    ak_msg       ask;
    uint64_t     after; /* that was asked for */
    uint64_t    *late;  /* lsns of rows that were older than one of their series before them; the newest LATE_MAX */
    uint32_t     late_first, late_end, late_room;
} watch;

typedef struct numbers {
    uint32_t *at;
    uint32_t  count, room;
} numbers;

typedef struct heads_stream {
    bool     used;
    ak_msg   m;
    uint8_t *parts; /* head_rows and records, one piece after the other */
    size_t   len, room, at;
} heads_stream;

typedef struct ingest {
    ak      *k;
    part    *part;
    uint16_t number;
    uint32_t durability;
    batch    batches[2];
    batch   *gathering;
    batch   *flying;
    bool     writing; /* a helper has the block */
    bool     failing; /* the last write was given up */
    uint32_t attempts;
    int      write_rc;
    char     write_text[256];
    bool     tending; /* what its timer carries */
    bool     tend_failed;
    bool     gone; /* only a start anew helps */
    bool     replaying; /* what is written is shown later; nothing is answered of heads */
    uint64_t opened_ns, replay_ns;

    series_slot  *series; /* by number */
    uint32_t      series_room;
    machine_slot *machines;
    uint32_t      machines_room;
    uint32_t      commit; /* number of the commit that is being shown */
    uint64_t      rows_shown;
    int64_t       now_us;
    numbers       shown_series, shown_machines;
    bool          arrivals_changed;
    uint32_t      seconds;
    uint32_t      tended; /* the commit that was the last when the timer tended before */
    bool          retaining; /* a round of retention is under way */
    bool          clock_jumped;
    int64_t       wall_at_us, mono_at_us; /* where the clocks were compared first */
    uint32_t      idle;   /* times that it found nothing new since */

    ruleset  rules;
    rule_bounds *bounds; /* of series that are, or were, watched */
    uint32_t bounds_count, bounds_room;
    watch    watch;
    feed    *fronts;
    uint16_t front_count;
    bool     live; /* some front has live subscribers */
    uint32_t live_tenant; /* whose fronts are in live_fronts */
    uint64_t live_fronts;

    heads_stream streams[STREAMS_MAX];
    size_t       streams_len;
    head_sums   *head_sums; /* made by the first question */

    part_stats last; /* what the counters have seen */
} ingest;

/* ingest_open.c */
NODISCARD int ingest__open(ingest *in);
NODISCARD int ingest__replay(ingest *in, uint64_t bytes); /* the next piece of it */

/* ingest_show.c */
NODISCARD int ingest__open_shows(ingest *in);  /* before part_open */
NODISCARD int ingest__arrivals(ingest *in);    /* after it */
void ingest__close_shows(ingest *in);
part_events ingest__events(ingest *in);
void ingest__show(ingest *in);
void ingest__show_kept(ingest *in); /* what was written while the replay went on */
void ingest__save_arrivals(ingest *in);

/* ingest_watch.c */
void       ingest__open_watch(ingest *in); /* the partition is open */
void       ingest__close_watch(ingest *in);
void       ingest__refresh_rules(ingest *in);
void       ingest__look_at_rules(ingest *in, uint32_t no, series_slot *s); /* s->watched by the rules of now */
bool       ingest__is_wanted(const ingest *in, series_slot *s, bool is_newest, double value); /* of a watched one */
void       ingest__note_late(void *ctx, uint64_t lsn);
void       ingest__watch_row(ingest *in, const reading_row *r, uint64_t lsn);
void       ingest__watch_send(ingest *in); /* the commit's last row was seen */
void       ingest__watch_second(ingest *in);
void       ingest__watch_tend(ingest *in);
ak_verdict ingest__on_catch_up(ak *k, void *self, const ak_msg *m);
ak_verdict ingest__on_judged(ak *k, void *self, const ak_msg *m);

/* ingest_retain.c */
void       ingest__retain_second(ingest *in);
bool       ingest__retain(ingest *in, bool busy); /* true: there is more of this round */
ak_verdict ingest__on_retention(ak *k, void *self, const ak_msg *m);

/* ingest_heads.c */
ak_verdict ingest__on_heads(ak *k, void *self, const ak_msg *m);
ak_verdict ingest__on_credit(ak *k, void *self, const ak_msg *m);
ak_verdict ingest__on_cancel(ak *k, void *self, const ak_msg *m);
void       ingest__close_heads(ingest *in);

#endif
