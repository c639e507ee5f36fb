/* query_targets.c - see query_targets.h. */
#include "actors/query_targets.h"

#include "proto/err.h"

#include <stdlib.h>

every
targets_every(const targets *t)
{
    return (every){ t->head.every, t->head.every == EVERY_RAW ? 1 : t->head.every_n, t->zone };
}

/* ---- the body ---- */

static int
compare_numbers(const void *x, const void *y)
{
    uint32_t a = load_u32(x), b = load_u32(y);

    return (a > b) - (a < b);
}

static int
compare_views(view a, view b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int    c = len > 0 ? memcmp(a.at, b.at, len) : 0;

    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static int
compare_metrics(const void *x, const void *y)
{
    return compare_views(*(const view *)x, *(const view *)y);
}

static bool
is_bucket_time(int64_t us)
{
    return us >= BUCKET_TIME_MIN && us <= BUCKET_TIME_MAX;
}

static void
cut_range(query_head *q)
{
    if (q->start_us < BUCKET_TIME_MIN)
        q->start_us = BUCKET_TIME_MIN;
    if (q->end_us > BUCKET_TIME_MAX)
        q->end_us = BUCKET_TIME_MAX;
    if (q->start_us > BUCKET_TIME_MAX || q->end_us < BUCKET_TIME_MIN)
        q->end_us = q->start_us = 0;
    if (q->start_us > q->end_us)
        q->start_us = q->end_us;
}

/* The range begins (or ends) with the bucket of the cursor, or with the one its gap is filled from. */
static int
judge_cursor(targets *t)
{
    query_head *q = &t->head;
    every       e = targets_every(t);
    int64_t     from = q->cursor_us;

    t->resume_us = INT64_MIN;
    if (q->cursor_us == INT64_MIN)
        return E_OK;
    if (q->fill != FILL_NONE && (q->flags & QUERY_ANCHOR)) {
        t->resume_us = q->cursor_us;
        from = q->anchor_us;
    }
    if (!is_bucket_time(q->cursor_us) || !is_bucket_time(from))
        return err(E_RANGE, "cursor");
    if (q->flags & QUERY_DESC) {
        int64_t end = bucket_end(e, bucket_start(e, from));

        q->end_us = end < q->end_us ? end : q->end_us;
        if (q->start_us > q->end_us)
            q->start_us = q->end_us;
    } else if (from > q->start_us) {
        q->start_us = from;
    }
    return E_OK;
}

static int
judge_head(targets *t)
{
    query_head *q = &t->head;

    if (q->aggregation >= AGG_NUMBERS || q->group_by > GROUP_ALL || q->limit < 1 || q->limit > 10000 ||
        q->fill >= FILL_NUMBERS)
        return err(E_BAD, "query");
    if (!bucket_is_valid(targets_every(t)))
        return err(E_RANGE, "interval %u of unit %u", q->every_n, q->every);
    if (q->every == EVERY_RAW)
        q->fill = FILL_NONE; /* no buckets: none is empty */
    cut_range(q);
    return judge_cursor(t);
}

static int
read_zone(targets *t, view name)
{
    int rc;

    if (name.len == 0)
        return E_OK;
    rc = zone_open(name, &t->zone);
    return rc == E_NOTFOUND || rc == E_BAD ? err(E_RANGE, "zone") : rc;
}

static int
read_machines(targets *t)
{
    uint32_t n = 0;

    t->machines = malloc((t->head.machines + 1u) * sizeof *t->machines);
    if (t->machines == NULL)
        return err(E_NOMEM, "machines");
    memcpy(t->machines, t->text, t->head.machines * sizeof *t->machines);
    qsort(t->machines, t->head.machines, sizeof *t->machines, compare_numbers);
    for (uint32_t i = 0; i < t->head.machines; i++)
        if (n == 0 || t->machines[n - 1] != t->machines[i])
            t->machines[n++] = t->machines[i];
    t->head.machines = n;
    return E_OK;
}

static int
read_metrics(targets *t, const uint8_t *at, const uint8_t *end)
{
    uint32_t n = 0;

    t->metrics = malloc((t->head.metrics + 1u) * sizeof *t->metrics);
    if (t->metrics == NULL)
        return err(E_NOMEM, "metrics");
    for (uint32_t i = 0; i < t->head.metrics; i++) {
        uint16_t len;

        if (end - at < 2)
            return err(E_BAD, "metrics");
        memcpy(&len, at, sizeof len);
        at += sizeof len;
        if (end - at < len)
            return err(E_BAD, "metrics");
        t->metrics[i] = view_of(at, len);
        at += len;
    }
    qsort(t->metrics, t->head.metrics, sizeof *t->metrics, compare_metrics);
    for (uint32_t i = 0; i < t->head.metrics; i++)
        if (n == 0 || !view_eq(t->metrics[n - 1], t->metrics[i]))
            t->metrics[n++] = t->metrics[i];
    t->head.metrics = n;
    return E_OK;
}

int
targets_open(targets *t, view body)
{
    size_t left;
    int    rc;

    memset(t, 0, sizeof *t);
    if (body.len < sizeof t->head)
        return err(E_BAD, "query of %zu bytes", body.len);
    memcpy(&t->head, body.at, sizeof t->head);
    left = body.len - sizeof t->head;
    if (t->head.zone_len > left)
        return err(E_BAD, "query of %zu bytes", body.len);
    left -= t->head.zone_len;
    if (t->head.machines > left / 4 || t->head.metrics > (left - t->head.machines * 4) / 2)
        return err(E_BAD, "query of %zu bytes", body.len);
    if ((rc = read_zone(t, view_of(body.at + sizeof t->head + left, t->head.zone_len))) < 0 ||
        (rc = judge_head(t)) < 0)
        return rc;
    t->text = malloc(left + 1);
    if (t->text == NULL)
        return err(E_NOMEM, "query");
    memcpy(t->text, body.at + sizeof t->head, left); /* judged and used from here on */
    size_t names = t->head.machines * sizeof(uint32_t);
    if ((rc = read_machines(t)) < 0)
        return rc;
    return read_metrics(t, t->text + names, t->text + left);
}

void
targets_close(targets *t)
{
    free(t->machines);
    free(t->metrics);
    free(t->text);
    free(t->at);
    zone_close(&t->zone);
    memset(t, 0, sizeof *t);
}

/* ---- the board ---- */

static int
add(targets *t, const target *one)
{
    if (t->count == TARGETS_MAX)
        return err(E_LIMIT, "a query over more than %d series", TARGETS_MAX);
    if (t->count == t->room) {
        uint32_t room = t->room == 0 ? 64 : t->room * 2;
        target  *at = realloc(t->at, room * sizeof *at);

        if (at == NULL)
            return err(E_NOMEM, "%u series", room);
        t->at = at;
        t->room = room;
    }
    t->at[t->count++] = *one;
    return E_OK;
}

static int
add_named(targets *t, const board *b, const board_machine *m)
{
    int rc = E_OK;

    for (uint32_t i = 0; i < t->head.metrics && rc == E_OK; i++) {
        board_series s;
        uint32_t     no = board_find_series(b, m->part, m->no, t->metrics[i], &s);

        if (no != 0 && s.tenant == t->head.tenant)
            rc = add(t, &(target){ no, m->no, m->part, board_string(b, BOARD_SERIES, m->part, s.metric) });
    }
    return rc;
}

static int
add_all(targets *t, const board *b, const board_machine *m)
{
    const table *series = board_table(b, BOARD_SERIES, m->part);
    uint32_t     no = board_machine_first_series(b, m->part, m->no);
    uint32_t     bound = table_count(series);
    int          rc = E_OK;

    for (; no != 0 && bound > 0 && rc == E_OK; no = board_next_series(b, m->part, no), bound--) {
        board_series s;

        if (table_read(series, no, &s) && s.machine == m->no && s.tenant == t->head.tenant)
            rc = add(t, &(target){ no, m->no, m->part, board_string(b, BOARD_SERIES, m->part, s.metric) });
    }
    return rc;
}

static int
look_at(targets *t, const board *b, uint32_t no)
{
    board_machine m;

    if (!table_read(board_table(b, BOARD_MACHINES, 0), no, &m) || m.tenant != t->head.tenant
        || !(m.flags & BOARD_LIVE) || m.part >= board_parts(b)
        || (t->only != 0 && m.part + 1u != t->only)
        || (t->head.group != 0 && m.group != t->head.group))
        return E_OK;
    m.no = no;
    return t->head.metrics > 0 ? add_named(t, b, &m) : add_all(t, b, &m);
}

/* 0: here. */
static uint32_t
rank_of(const targets *t, const target *one)
{
    return targets_is_far(t, one->part) ? one->part + 1u : 0;
}

static int
by_machine(const void *x, const void *y, void *ctx)
{
    const target *a = x, *b = y;
    uint32_t      rank_a = rank_of(ctx, a), rank_b = rank_of(ctx, b);

    if (rank_a != rank_b && ((const targets *)ctx)->head.group_by != GROUP_ALL)
        return rank_a < rank_b ? -1 : 1;
    if (a->machine != b->machine)
        return a->machine < b->machine ? -1 : 1;
    return compare_views(a->metric, b->metric);
}

static int
by_metric(const void *x, const void *y, void *ctx)
{
    const target *a = x, *b = y;
    int           c = compare_views(a->metric, b->metric);

    (void)ctx;
    return c != 0 ? c : (a->machine > b->machine) - (a->machine < b->machine);
}

int
targets_find(targets *t, const board *b, uint32_t machines)
{
    uint32_t all = t->head.machines > 0 ? t->head.machines : table_count(board_table(b, BOARD_MACHINES, 0));
    int      rc = E_OK;

    for (; machines > 0 && t->looked_at < all && rc == E_OK; machines--, t->looked_at++)
        rc = look_at(t, b, t->head.machines > 0 ? t->machines[t->looked_at] : t->looked_at + 1);
    if (rc < 0)
        return rc;
    if (t->looked_at < all)
        return 1;
    if (t->count > 1)
        qsort_r(t->at, t->count, sizeof *t->at,
                t->head.group_by == GROUP_METRIC ? by_metric : by_machine, t);
    return 0;
}

bool
targets_fold(const targets *t, const target *a, const target *b)
{
    switch (t->head.group_by) {
    case GROUP_MACHINE:
        return a->machine == b->machine;
    case GROUP_METRIC:
        return view_eq(a->metric, b->metric);
    case GROUP_ALL:
        return true;
    default:
        return a == b;
    }
}

uint32_t
targets_groups(const targets *t)
{
    uint32_t n = 0, from = 0;

    for (uint32_t i = 0; i < t->count; i++) {
        if (i > 0 && targets_fold(t, &t->at[from], &t->at[i]))
            continue;
        from = i;
        n++;
    }
    return n;
}
