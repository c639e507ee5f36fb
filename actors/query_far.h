/* query_far.h - series of partitions on other nodes: asked of the reader beside the partition.
 *
 *   whole   the question as it came, to the reader of one partition: its series of the answer are passed on
 *   rows    one series, raw, in pages: its rows go into a fold with those of other nodes
 *
 * What has come and is not passed on yet is bounded by FAR_WINDOW, which is all that may be under way.
 */
#ifndef HALTLESS_ACTORS_QUERY_FAR_H
#define HALTLESS_ACTORS_QUERY_FAR_H

#include "actors/ak.h"
#include "actors/query_targets.h"

enum { FAR_WINDOW = 65536, FAR_PAGE = 10000 };

typedef struct far_part far_part; /* a part of an answer that has come */

typedef struct far_ask {
    ak       *k;
    uint16_t  part;
    uint64_t  corr;
    bool      ended;
    int32_t   rc; /* how, when it has ended */
    far_part *first, **last;
    uint32_t  expected; /* whole: the target whose series comes next, */
    uint32_t  end;      /* and the one behind the last */
    bool      skips;    /* whole: a series that the answer was not announced with */
    int64_t   from_us;  /* rows: where the next page begins; INT64_MIN: there is none */
} far_ask;

/* Series of one far partition, [from, end) of the targets, asked with the question as it came.  E_AGAIN: no room now;
 * E_GONE: that node is away. */
NODISCARD int far_ask_whole(far_ask *f, ak *k, const targets *t, view question, uint32_t from,
                            uint64_t within_ns, void *ctx);
/* A page of the rows of one target in [from_us, end_us). */
NODISCARD int far_ask_rows(far_ask *f, ak *k, const targets *t, const target *one, int64_t from_us,
                           int64_t end_us, uint64_t within_ns, void *ctx);
/* Something came for it: MSG_RESULT, MSG_FAIL, MSG_LATE. */
void far_take(far_ask *f, const ak_msg *m);
void far_drop(far_ask *f); /* nothing of it is wanted any more */

/* Passes on what has come, as an answer to `to` that was announced with `groups` series.  1: more has to come;
 * 0: it is all there; E_AGAIN: MSG_CREDIT goes on; E_GONE: nobody waits; else how it failed. */
int far_pass(far_ask *f, const targets *t, const ak_msg *to, uint32_t groups);
/* Folds the rows that have come.  1: more has to come; 0: the page is in, from_us says whether there is another. */
int far_fold(far_ask *f, fold *to);

#endif
