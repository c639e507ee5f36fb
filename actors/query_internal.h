/* query_internal.h - what the files of the query actor share.
 *
 *   query.c        the kind: jobs, their turns, reading chunks
 *   query_heads.c  what is not sealed, asked of the partitions
 *   query_send.c   points on their way to the asker
 *   query_far.c    partitions on other nodes (a header of its own)
 */
#ifndef HALTLESS_ACTORS_QUERY_INTERNAL_H
#define HALTLESS_ACTORS_QUERY_INTERNAL_H

#include "actors/ak_node.h"
#include "actors/fill.h"
#include "actors/query_far.h"
#include "actors/query_targets.h"
#include "actors/scan.h"

enum {
    JOBS_MAX = 64,
    BATCH_MAX = 2048,          /* series whose heads are asked for at once, as figures */
    ROWS_BATCH_MAX = 64,       /* ... as rows */
    OUT_MAX = 32768,           /* bytes of a part of the answer */
};

enum job_state { JOB_FREE, JOB_FIND, JOB_ASK, JOB_HEADS, JOB_READ, JOB_SEND, JOB_CREDIT, JOB_LATER,
                 JOB_FAR };
enum send_step { SEND_SERIES, SEND_POINTS, SEND_CLOSE };
enum far_what { FAR_NOTHING, FAR_WHOLE, FAR_ROWS };

typedef struct job job;

/* One HEADS ask of a batch. */
typedef struct heads_wait {
    job     *job;
    uint64_t corr; /* 0: none under way */
    uint32_t at;   /* index in the batch of the series that came last */
    uint32_t version_at; /* ... whose version comes next */
} heads_wait;

/* Records of one kind that the partition sent of a series: where they lie in a body, or put together. */
typedef struct member_records {
    void    *at;
    uint32_t count;
    bool     owned;
} member_records;

typedef struct member_rows {
    member_records of[HEAD_KINDS];
    uint64_t       version; /* of its chunks then */
} member_rows;

/* A body as it came. */
typedef struct heads_body heads_body;

struct job {
    enum job_state state;
    enum job_state then; /* after JOB_LATER */
    ak_msg         m;
    targets        targets;
    fold           fold;
    scan          *scan; /* stays when the job ends */
    uint32_t       batch_from, batch_end, batch_max; /* of targets */
    uint32_t       member; /* the target that is being read */
    bool           reading; /* scan_start was called for it */
    bool           with_rows; /* figures of heads did not do: from the member to rows_until their rows are asked for */
    uint32_t       rows_max;  /* so many: doubled while the next one needs rows too */
    uint32_t       rows_until;
    uint32_t       again;
    bool           reopened; /* a reader that could not go on was let go once */
    uint32_t       head_rows; /* of the batch */
    member_rows   *heads; /* a batch of them, owned */
    uint32_t       heads_count;
    heads_body    *bodies; /* what they lie in, owned */
    heads_wait     wait[BOARD_PARTS_MAX];
    uint32_t       waits;
    uint8_t       *question; /* as it came; where partitions are on other nodes */
    uint32_t       question_len;
    enum far_what  far_what;
    far_ask        far;
    heads_wait     far_wait;
    enum job_state after_credit;
    uint64_t       sealed[BOARD_PARTS_MAX];
    int64_t       *times; /* the head of the member, sorted; these stay too */
    double        *values;
    uint32_t       times_room;
    uint8_t       *out; /* OUT_MAX bytes: records that have not gone yet; stays */
    uint32_t       out_len, out_max;
    enum send_step  step;
    fill           points; /* what has not been sent */
    uint32_t       point_count, sent;
    int64_t        next_us, anchor_us;
    uint32_t       group_from; /* first target of the answer's series */
    uint32_t       groups;     /* series of the answer */
};

typedef struct query {
    ak          *k;
    part_reader *readers[BOARD_PARTS_MAX];
    job          jobs[JOBS_MAX];
    uint32_t     busy;
    uint32_t     turn;
    bool         pumping; /* a timer is set that goes on at once */
    bool         resting; /* ... that goes on in a while */
    uint64_t     far;     /* partitions that are on other nodes, each with a reader */
    uint64_t     held_rows; /* head_rows of all jobs */
    int64_t      budget; /* of this turn: about rows */
} query;

/* query.c */
void query__finish(query *q, job *j, int rc);
void query__cancel_asks(query *q, job *j);
uint64_t query__time_left(const query *q, const job *j);

/* query_heads.c */
void query__begin_batch(query *q, job *j); /* the next one: JOB_ASK */
void query__want_rows(job *j);             /* of the member: JOB_ASK */
void query__ask_heads(query *q, job *j);   /* JOB_HEADS, JOB_READ or JOB_LATER */
void query__drop_heads(query *q, job *j);
/* Something came for an ask of heads, or nothing will. */
void query__take_heads(query *q, heads_wait *w, const ak_msg *m);
void query__no_heads(query *q, heads_wait *w, int rc);

/* query_send.c */
/* The points of a group as records.  0: all are on their way; E_AGAIN: MSG_CREDIT goes on; E_GONE: nobody waits. */
NODISCARD int query__send(query *q, job *j);
NODISCARD int query__send_now(query *q, job *j); /* what was put together; the same codes */
void query__send_end(query *q, job *j, int rc);

#endif
