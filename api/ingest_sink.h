/* ingest_sink.h - where the readings of one request go: a sink a partition.
 *
 *   sinks_begin -> sinks_add ... -> sinks_send, until it says SENT -> replies: sinks_stored -> sinks_rest
 *
 * Rows either stand in the lanes themselves (a short body: one message a partition, nothing is copied) or in private
 * memory (a long one, which is sent in pieces, a few of which are under way at a time, so that a lane keeps room for
 * others).  Behind the rows of a message follow names: of unknown series, and of units that changed.
 */
#ifndef HALTLESS_API_INGEST_SINK_H
#define HALTLESS_API_INGEST_SINK_H

#include "api/front.h"
#include "proto/readings.h"

typedef struct sinks sinks;

/* under_way: pieces of all long bodies by partition, shared by all sinks of a front. */
sinks *sinks_new(uint16_t parts, uint32_t *under_way);
void   sinks_free(sinks *s);
/* rows_max: how many readings there may be at most.  in_lanes: if they are few enough. */
void sinks_begin(sinks *s, call *c, int64_t now_us, uint32_t rows_max, bool in_lanes);
/* Until the next request.  What is small is kept, what is giant if that is wanted; true: something giant was. */
bool sinks_rest(sinks *s, bool giants);
/* A good reading becomes a row.  False: the lane is full. */
bool sinks_add(sinks *s, uint16_t part, uint32_t machine, const reading *r, uint32_t index);
void sinks_leave_lanes(sinks *s); /* the rows become private: decoding takes longer than a lane may wait */
void sinks_discard(sinks *s);     /* nothing of it is sent */

enum sending { SENDING, SENT, SEND_WAITS, SEND_FULL };
/* One message: SENDING: there is more.  SEND_WAITS: not before a reply came.  SEND_FULL: the lane has no room.
 * then: of the replies, whose tags are their partitions. */
enum sending sinks_send(sinks *s, call_then *then);
uint32_t     sinks_waiting(const sinks *s); /* messages without a reply */
void         sinks_stored(sinks *s, uint32_t part, bool limited); /* limited: series were refused */

/* One after the other, the readings that named a series without a number in a partition that refused some. */
typedef struct newcomer_seen {
    uint32_t reading;
    uint32_t machine;
    bool     refused; /* it still has none */
} newcomer_seen;
bool sinks_next_newcomer(sinks *s, newcomer_seen *out);

#endif
