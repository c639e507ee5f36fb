/* query_send.c - points on their way to the asker.
 *
 *   RESULT_SERIES RESULT_POINTS RESULT_CLOSE  RESULT_SERIES ...     records, as many as a part holds
 *
 * A part goes when the next record has no room in it; what is left at the end goes with the final reply, so a small
 * answer is one message.
 */
#include "actors/query_internal.h"

#include "proto/err.h"
#include "transport/count.h"

#include <stdlib.h>

/* The final reply has room for the end behind what was put together. */
static uint32_t
room_of(const job *j)
{
    uint32_t most = OUT_MAX - (uint32_t)sizeof(result_head);
    uint32_t window = j->m.window > 0 ? j->m.window : UINT32_MAX;

    return (uint32_t)min_u64(most, window - 2 * ENVELOPE_LEN);
}

int
query__send_now(query *q, job *j)
{
    int rc;

    if (j->out_len == 0)
        return E_OK;
    rc = ak_reply_part(q->k, &j->m, MSG_RESULT, j->out, j->out_len);
    if (rc == E_OK)
        j->out_len = 0;
    return rc;
}

/* Room for a record of that length, and where. */
static int
place_for(query *q, job *j, size_t len, uint8_t **at)
{
    int rc = E_OK;

    if (j->out == NULL) {
        j->out = malloc(OUT_MAX);
        ASSERT(j->out != NULL);
    }
    if (j->out_max == 0)
        j->out_max = room_of(j);
    if (j->out_len + len > j->out_max)
        rc = query__send_now(q, j);
    if (rc < 0)
        return rc;
    *at = j->out + j->out_len;
    return j->out_len + len <= j->out_max ? E_OK : err(E_BAD, "a record of %zu bytes", len);
}

static int
put_series(query *q, job *j)
{
    const target *t = &j->targets.at[j->group_from];
    uint8_t       group = j->targets.head.group_by;
    view          metric = group == GROUP_MACHINE || group == GROUP_ALL ? (view){ 0 } : t->metric;
    view          unit = { 0 };
    board_series  b;
    result_head   h = { .kind = RESULT_SERIES, .count = j->point_count, .series = j->groups };
    result_series s = { .machine = group == GROUP_METRIC || group == GROUP_ALL ? 0 : t->machine };
    uint8_t      *at;
    size_t        len;
    int           rc;

    if (metric.len > 0 && table_read(board_table(ak_board(q->k), BOARD_SERIES, t->part), t->series, &b))
        unit = board_string(ak_board(q->k), BOARD_SERIES, t->part, b.unit);
    s.metric_len = (uint16_t)metric.len;
    s.unit_len = (uint16_t)unit.len;
    len = (size_t)round_up(sizeof h + sizeof s + metric.len + unit.len, 8);
    if ((rc = place_for(q, j, len, &at)) < 0)
        return rc;
    memset(at + len - 8, 0, 8); /* what pads it */
    memcpy(at, &h, sizeof h);
    memcpy(at + sizeof h, &s, sizeof s);
    if (metric.len > 0)
        memcpy(at + sizeof h + sizeof s, metric.at, metric.len);
    if (unit.len > 0)
        memcpy(at + sizeof h + sizeof s + metric.len, unit.at, unit.len);
    j->out_len += (uint32_t)len;
    return E_OK;
}

static int
put_points(query *q, job *j)
{
    while (j->sent < j->point_count) {
        result_head h = { .kind = RESULT_POINTS };
        uint8_t    *at;
        int         rc = place_for(q, j, sizeof h + sizeof(result_point), &at);

        if (rc < 0)
            return rc;
        h.count = (uint32_t)((j->out_max - j->out_len - sizeof h) / sizeof(result_point));
        h.count = (uint32_t)min_u64(h.count, j->point_count - j->sent);
        memcpy(at, &h, sizeof h);
        at += sizeof h;
        for (uint32_t i = 0; i < h.count; i++, at += sizeof(result_point))
            ASSERT(fill_next(&j->points, (result_point *)(void *)at));
        j->out_len += (uint32_t)(sizeof h + h.count * sizeof(result_point));
        j->sent += h.count;
        count_add(ak_counters(q->k), COUNT_QUERY_POINTS, h.count);
    }
    return E_OK;
}

static int
put_close(query *q, job *j)
{
    result_head h = { .kind = RESULT_CLOSE, .next_us = j->next_us, .anchor_us = j->anchor_us };
    uint8_t    *at;
    int         rc = place_for(q, j, sizeof h, &at);

    if (rc < 0)
        return rc;
    memcpy(at, &h, sizeof h);
    j->out_len += (uint32_t)sizeof h;
    return E_OK;
}

int
query__send(query *q, job *j)
{
    static int (*const steps[])(query *, job *) = {
        [SEND_SERIES] = put_series, [SEND_POINTS] = put_points, [SEND_CLOSE] = put_close
    };
    int rc = E_OK;

    for (; j->step <= SEND_CLOSE && rc == E_OK; j->step += rc == E_OK)
        rc = steps[j->step](q, j);
    return rc;
}

/* An answer that failed ends at once: what was put together is left out. */
void
query__send_end(query *q, job *j, int rc)
{
    result_head h = { .kind = RESULT_END, .rc = rc };

    if (j->out == NULL || rc < 0) {
        ak_reply(q->k, &j->m, MSG_RESULT, &h, sizeof h);
        return;
    }
    memcpy(j->out + j->out_len, &h, sizeof h);
    ak_reply(q->k, &j->m, MSG_RESULT, j->out, j->out_len + (uint32_t)sizeof h);
}
