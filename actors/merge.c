/* merge.c - see merge.h: a binary heap of runs, by next time and then by lsn, newest first. */
#include "actors/merge.h"

#include "proto/err.h"

#include <stdlib.h>

enum { OUT_ROWS = 512 };

typedef struct run {
    const int64_t *times;
    const double  *values;
    uint32_t       at, count;
    uint64_t       lsn;
    int32_t        buffer; /* -1: borrowed */
} run;

struct merge {
    uint32_t run_rows, runs_max;
    uint32_t runs;  /* in the heap */
    uint32_t made;  /* buffers that exist */
    uint32_t frees; /* of them unused */
    run     *heap;
    int64_t **times;
    double  **values;
    int32_t *unused;
    int64_t  out_times[OUT_ROWS];
    double   out_values[OUT_ROWS];
};

int
merge_new(merge **out, uint32_t run_rows, uint32_t runs_max)
{
    merge *m = calloc(1, sizeof *m);

    if (m == NULL)
        return err(E_NOMEM, "merge");
    m->run_rows = run_rows;
    m->runs_max = runs_max;
    m->heap = calloc(runs_max + 1, sizeof *m->heap); /* one more: the borrowed run */
    m->times = calloc(runs_max, sizeof *m->times);
    m->values = calloc(runs_max, sizeof *m->values);
    m->unused = calloc(runs_max, sizeof *m->unused);
    if (m->heap == NULL || m->times == NULL || m->values == NULL || m->unused == NULL) {
        merge_free(&m);
        return err(E_NOMEM, "merge of %u runs", runs_max);
    }
    *out = m;
    return E_OK;
}

void
merge_free(merge **m_p)
{
    merge *m = *m_p;

    *m_p = NULL;
    if (m == NULL)
        return;
    for (uint32_t i = 0; i < m->made; i++) {
        free(m->times[i]);
        free(m->values[i]);
    }
    free(m->heap);
    free(m->times);
    free(m->values);
    free(m->unused);
    free(m);
}

static bool
comes_before(const run *a, const run *b)
{
    int64_t x = a->times[a->at], y = b->times[b->at];

    return x < y || (x == y && a->lsn > b->lsn);
}

static void
swap_runs(run *a, run *b)
{
    run t = *a;

    *a = *b;
    *b = t;
}

static void
sift_down(merge *m, uint32_t at)
{
    for (;;) {
        uint32_t least = at;

        for (uint32_t c = 2 * at + 1; c <= 2 * at + 2 && c < m->runs; c++)
            if (comes_before(&m->heap[c], &m->heap[least]))
                least = c;
        if (least == at)
            return;
        swap_runs(&m->heap[at], &m->heap[least]);
        at = least;
    }
}

static void
push(merge *m, const run *r)
{
    uint32_t at = m->runs++;

    m->heap[at] = *r;
    while (at > 0 && comes_before(&m->heap[at], &m->heap[(at - 1) / 2])) {
        swap_runs(&m->heap[at], &m->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static void
forget(merge *m, const run *r)
{
    if (r->buffer >= 0)
        m->unused[m->frees++] = r->buffer;
}

/* The run at the top has gone on, or is used up. */
static void
settle_top(merge *m)
{
    run *top = &m->heap[0];

    if (top->at == top->count) {
        forget(m, top);
        m->heap[0] = m->heap[--m->runs];
    }
    if (m->runs > 1)
        sift_down(m, 0);
}

void
merge_reset(merge *m)
{
    for (uint32_t i = 0; i < m->runs; i++)
        forget(m, &m->heap[i]);
    m->runs = 0;
}

int
merge_room(merge *m, int64_t **times, double **values)
{
    if (m->frees == 0) {
        uint32_t i = m->made;

        if (i == m->runs_max)
            return err(E_LIMIT, "more than %u runs overlap", m->runs_max);
        m->times[i] = malloc(m->run_rows * sizeof **m->times);
        m->values[i] = malloc(m->run_rows * sizeof **m->values);
        m->made++;
        if (m->times[i] == NULL || m->values[i] == NULL)
            return err(E_NOMEM, "merge run"); /* both are freed with m; never handed out */
        m->unused[m->frees++] = (int32_t)i;
    }
    *times = m->times[m->unused[m->frees - 1]];
    *values = m->values[m->unused[m->frees - 1]];
    return E_OK;
}

void
merge_add(merge *m, uint32_t from, uint32_t count, uint64_t lsn)
{
    int32_t buffer;

    ASSERT(m->frees > 0 && from <= count && count <= m->run_rows);
    buffer = m->unused[m->frees - 1];
    if (from == count)
        return;
    m->frees--;
    push(m, &(run){ .times = m->times[buffer], .values = m->values[buffer], .at = from,
                    .count = count, .lsn = lsn, .buffer = buffer });
}

int
merge_add_borrowed(merge *m, const int64_t *times, const double *values, uint32_t count, uint64_t lsn)
{
    if (count == 0)
        return E_OK;
    if (m->runs > m->runs_max)
        return err(E_LIMIT, "more than %u runs overlap", m->runs_max);
    push(m, &(run){ .times = times, .values = values, .count = count, .lsn = lsn, .buffer = -1 });
    return E_OK;
}

int64_t
merge_first(const merge *m)
{
    return m->runs > 0 ? m->heap[0].times[m->heap[0].at] : INT64_MAX;
}

/* The earliest time of the runs that are not at the top. */
static int64_t
second_time(const merge *m)
{
    int64_t t = INT64_MAX;

    for (uint32_t c = 1; c <= 2 && c < m->runs; c++)
        if (m->heap[c].times[m->heap[c].at] < t)
            t = m->heap[c].times[m->heap[c].at];
    return t;
}

/* How many rows of r lie before `until`: looked for in growing steps, mostly they are few or all. */
static uint32_t
run_before(const run *r, int64_t until)
{
    const int64_t *t = r->times + r->at;
    uint32_t       left = r->count - r->at;
    uint32_t       low = 0, high = 1;

    if (t[left - 1] < until)
        return left;
    while (high < left && t[high - 1] < until) {
        low = high;
        high = high * 2 < left ? high * 2 : left;
    }
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (t[mid] < until)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* One row of which several runs have a version: the newest is at the top, the others are passed over. */
static void
take_one(merge *m, uint32_t n)
{
    run    *top = &m->heap[0];
    int64_t t = top->times[top->at];

    m->out_times[n] = t;
    m->out_values[n] = top->values[top->at];
    while (m->runs > 0 && m->heap[0].times[m->heap[0].at] == t) {
        m->heap[0].at++;
        settle_top(m);
    }
}

uint32_t
merge_take(merge *m, int64_t until_us, const int64_t **times, const double **values)
{
    uint32_t n = 0;

    *times = m->out_times;
    *values = m->out_values;
    while (n < OUT_ROWS && merge_first(m) < until_us) {
        run     *top = &m->heap[0];
        int64_t  second = second_time(m);
        uint32_t many = run_before(top, second < until_us ? second : until_us);

        if (many > 16 && n > 0)
            return n;
        if (many > 16) { /* in place; the buffer is not written before the next merge_room */
            *times = top->times + top->at;
            *values = top->values + top->at;
            top->at += many;
            settle_top(m);
            return many;
        }
        if (many == 0) {
            take_one(m, n++);
            continue;
        }
        many = many < OUT_ROWS - n ? many : OUT_ROWS - n;
        memcpy(m->out_times + n, top->times + top->at, many * sizeof *m->out_times);
        memcpy(m->out_values + n, top->values + top->at, many * sizeof *m->out_values);
        top->at += many;
        n += many;
        settle_top(m);
    }
    return n;
}

/* ---- heads ---- */

/* Stable: rows of equal times stay in order of acceptance. */
static void
sort_rows(head_row *rows, head_row *other, uint32_t n)
{
    head_row *from = rows, *to = other;

    for (uint64_t width = 1; width < n; width *= 2) {
        for (uint64_t low = 0; low < n; low += 2 * width) {
            uint64_t mid = min_u64(low + width, n), high = min_u64(low + 2 * width, n);
            uint64_t i = low, j = mid;

            for (uint64_t k = low; k < high; k++) {
                bool left = j == high || (i < mid && from[i].time_us <= from[j].time_us);

                to[k] = left ? from[i++] : from[j++];
            }
        }
        head_row *t = from;
        from = to;
        to = t;
    }
    if (from != rows)
        memcpy(rows, from, n * sizeof *rows);
}

uint32_t
merge_sort_heads(head_row *rows, uint32_t n, int64_t *times, double *values)
{
    uint32_t  left = 0, i = 1;
    head_row *other;

    while (i < n && rows[i - 1].time_us <= rows[i].time_us)
        i++;
    if (i < n) {
        other = malloc(n * sizeof *other);
        ASSERT(other != NULL);
        sort_rows(rows, other, n);
        free(other);
    }
    for (i = 0; i < n; i++) {
        if (left > 0 && times[left - 1] == rows[i].time_us)
            left--;
        times[left] = rows[i].time_us;
        values[left++] = rows[i].value;
    }
    return left;
}
