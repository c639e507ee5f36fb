/* top.c - the pictures of `haltless top`.
 *
 *   haltless  9 of 9 live  12k msg/s  2 faults  by place, of its life
 *   ACTOR     STATE  RESTARTS  MSG/S  DEPTH  HIGH  QUEUE p50  p99  HANDLE p50  p99  FLUSH p50  p99
 *   LANE      BYTES  MSGS  HIGH  CAPACITY  FULL  SHED
 *
 * Columns are rows of a table with a rank: what does not fit goes, the least needed first.
 */
#include "tools/top.h"

#include <stdlib.h>
#include <time.h>

enum { CELL_MAX = 256, SORTED_MAX = SLOTS_MAX * COUNT_TYPES };

/* ---- cells ---- */

typedef void cell_fn(const top *t, const void *row, char out[CELL_MAX]);

typedef struct column {
    const char *title;
    int         width; /* negative: text, to the left */
    int         rank;  /* the greatest goes first when there is no room; 0 never goes */
    cell_fn    *cell;
} column;

typedef struct type_row {
    const watch_actor *actor;
    uint16_t           type;
    hist               queueing;
    hist               handling;
} type_row;

/* 0 1 999 1.0k 12k 3.4M */
static void
put_number(double v, char out[CELL_MAX])
{
    static const char units[] = " kMGTPE";
    size_t            unit = 0;

    while (v >= 999.5 && unit + 2 < sizeof units) {
        v /= 1000;
        unit++;
    }
    if (unit == 0)
        (void)snprintf(out, CELL_MAX, "%.0f", v);
    else
        (void)snprintf(out, CELL_MAX, v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[unit]);
}

/* 0.4u 12u 3.4m 120m 2.0s */
static void
put_time(const hist *h, double q, char out[CELL_MAX])
{
    double us = (double)hist_quantile_ns(h, q) / 1e3;

    if (h->count == 0)
        (void)snprintf(out, CELL_MAX, "-");
    else if (us < 999.5)
        (void)snprintf(out, CELL_MAX, us < 9.95 ? "%.1fu" : "%.0fu", us);
    else if (us < 999500)
        (void)snprintf(out, CELL_MAX, us < 9950 ? "%.1fm" : "%.0fm", us / 1e3);
    else
        (void)snprintf(out, CELL_MAX, "%.1fs", us / 1e6);
}

static void
actor_name(const top *t, const void *row, char out[CELL_MAX])
{
    (void)t;
    (void)watch_name(((const watch_actor *)row)->who, out);
}

static void
actor_state(const top *t, const void *row, char out[CELL_MAX])
{
    (void)t;
    (void)snprintf(out, CELL_MAX, "%s", watch_state(row));
}

#define SEAT_CELL(name_, field_)                                                                   \
    static void name_(const top *t, const void *row, char out[CELL_MAX])                           \
    {                                                                                              \
        const watch_actor *a = row;                                                                \
                                                                                                   \
        (void)t;                                                                                   \
        (void)snprintf(out, CELL_MAX, "%lld",                                                      \
                       a->seat == NULL ? 0ll : (long long)atomic_load(&a->seat->field_));          \
    }
SEAT_CELL(actor_pid, pid)
SEAT_CELL(actor_epoch, epoch)
SEAT_CELL(actor_restarts, restarts)

#define NUMBER_CELL(name_, type_, field_)                                                          \
    static void name_(const top *t, const void *row, char out[CELL_MAX])                           \
    {                                                                                              \
        (void)t;                                                                                   \
        put_number((double)((const type_ *)row)->field_, out);                                     \
    }
NUMBER_CELL(actor_messages, watch_actor, messages_s)
NUMBER_CELL(actor_steps, watch_actor, steps_s)
NUMBER_CELL(actor_depth, watch_actor, depth)
NUMBER_CELL(actor_most, watch_actor, most)
NUMBER_CELL(actor_faults, watch_actor, faults)
NUMBER_CELL(lane_bytes_cell, watch_lane, bytes)
NUMBER_CELL(lane_most_cell, watch_lane, most)
NUMBER_CELL(lane_rate_cell, watch_lane, bytes_s)
NUMBER_CELL(lane_capacity_cell, watch_lane, edge->capacity)
NUMBER_CELL(lane_full_cell, watch_lane, refused.full)
NUMBER_CELL(lane_shed_cell, watch_lane, refused.shed)
NUMBER_CELL(type_count, type_row, queueing.count)
NUMBER_CELL(fault_count, watch_fault, fault.count)

#define TIME_CELL(name_, which_, q_)                                                               \
    static void name_(const top *t, const void *row, char out[CELL_MAX])                           \
    {                                                                                              \
        const watch_actor *a = row;                                                                \
                                                                                                   \
        put_time(t->recent ? &a->recent[which_] : &a->total[which_], q_, out);                     \
    }
TIME_CELL(queue_50, HIST_QUEUEING, 0.5)
TIME_CELL(queue_99, HIST_QUEUEING, 0.99)
TIME_CELL(queue_999, HIST_QUEUEING, 0.999)
TIME_CELL(handle_50, HIST_HANDLING, 0.5)
TIME_CELL(handle_99, HIST_HANDLING, 0.99)
TIME_CELL(handle_999, HIST_HANDLING, 0.999)
TIME_CELL(flush_50, HIST_FLUSH, 0.5)
TIME_CELL(flush_99, HIST_FLUSH, 0.99)
TIME_CELL(flush_999, HIST_FLUSH, 0.999)
TIME_CELL(turn_99, HIST_TURN, 0.99)
TIME_CELL(turn_most, HIST_TURN, 1)

#define TYPE_TIME_CELL(name_, field_, q_)                                                          \
    static void name_(const top *t, const void *row, char out[CELL_MAX])                           \
    {                                                                                              \
        (void)t;                                                                                   \
        put_time(&((const type_row *)row)->field_, q_, out);                                       \
    }
TYPE_TIME_CELL(type_queue_50, queueing, 0.5)
TYPE_TIME_CELL(type_queue_99, queueing, 0.99)
TYPE_TIME_CELL(type_queue_999, queueing, 0.999)
TYPE_TIME_CELL(type_handle_50, handling, 0.5)
TYPE_TIME_CELL(type_handle_99, handling, 0.99)
TYPE_TIME_CELL(type_handle_999, handling, 0.999)

static void
type_actor(const top *t, const void *row, char out[CELL_MAX])
{
    (void)t;
    (void)watch_name(((const type_row *)row)->actor->who, out);
}

static void
type_name(const top *t, const void *row, char out[CELL_MAX])
{
    uint16_t type = ((const type_row *)row)->type;

    (void)t;
    if (type == 0)
        (void)snprintf(out, CELL_MAX, "other");
    else
        (void)watch_type(type, out);
}

static void
lane_name(const top *t, const void *row, char out[CELL_MAX])
{
    const watch_lane *l = row;
    char              from[WATCH_NAME_MAX];
    char              to[WATCH_NAME_MAX];

    (void)t;
    (void)snprintf(out, CELL_MAX, "%.20s > %.20s", watch_name(l->edge->from, from),
                   watch_name(l->edge->to, to));
}

static void
lane_messages_cell(const top *t, const void *row, char out[CELL_MAX])
{
    const watch_lane *l = row;

    (void)t;
    put_number((double)l->messages, out);
    if (l->cut)
        (void)strcat(out, "+");
}

static void
lane_carrier_cell(const top *t, const void *row, char out[CELL_MAX])
{
    const watch_lane *l = row;

    (void)t;
    (void)snprintf(out, CELL_MAX, "  %s%s", l->edge->carrier == CARRIER_ZMQ ? "zmq" : "ring",
                   l->edge->side == EDGE_COMES_IN ? " far" : l->sound ? "" : " damaged");
}

static void
put_wall(int64_t us, char out[CELL_MAX])
{
    time_t    s = (time_t)(us / 1000000);
    struct tm tm;

    if (localtime_r(&s, &tm) == NULL || strftime(out, CELL_MAX, " %m-%d %H:%M:%S", &tm) == 0)
        (void)snprintf(out, CELL_MAX, "?");
}

static void
fault_first(const top *t, const void *row, char out[CELL_MAX])
{
    (void)t;
    put_wall(((const watch_fault *)row)->fault.first_us, out);
}

static void
fault_last(const top *t, const void *row, char out[CELL_MAX])
{
    (void)t;
    put_wall(((const watch_fault *)row)->fault.last_us, out);
}

#define FAULT_TEXT_CELL(name_, field_)                                                             \
    static void name_(const top *t, const void *row, char out[CELL_MAX])                           \
    {                                                                                              \
        const watch_fault *f = row;                                                                \
                                                                                                   \
        (void)t;                                                                                   \
        (void)snprintf(out, CELL_MAX, "%s", f->field_);                                            \
    }
FAULT_TEXT_CELL(fault_event, fault.event)
FAULT_TEXT_CELL(fault_place, fault.place)
FAULT_TEXT_CELL(fault_text, fault.text)

static void
fault_actor(const top *t, const void *row, char out[CELL_MAX])
{
    const watch_fault *f = row;

    (void)t;
    (void)snprintf(out, CELL_MAX, "%s", f->fault.actor[0] != '\0' ? f->fault.actor : "-");
}

static const column actor_columns[] = {
    { "ACTOR", -10, 0, actor_name },      { "STATE", -8, 0, actor_state },
    { "PID", 8, 8, actor_pid },           { "EPOCH", 6, 9, actor_epoch },
    { "RST", 4, 2, actor_restarts },      { "MSG/S", 6, 0, actor_messages },
    { "STEPS/S", 8, 9, actor_steps },     { "DEPTH", 6, 1, actor_depth },
    { "HIGH", 5, 4, actor_most },         { "ERR", 5, 5, actor_faults },
    { "QUE p50", 8, 3, queue_50 },        { "p99", 5, 1, queue_99 },
    { "p99.9", 6, 6, queue_999 },         { "HDL p50", 8, 3, handle_50 },
    { "p99", 5, 1, handle_99 },           { "p99.9", 6, 6, handle_999 },
    { "FLU p99", 8, 2, flush_99 },        { "p50", 5, 6, flush_50 },
    { "p99.9", 6, 7, flush_999 },         { "TURN p99", 9, 6, turn_99 },
    { "max", 6, 6, turn_most },           { 0 },
};

static const column lane_columns[] = {
    { "LANE", -24, 0, lane_name },              { "BYTES", 6, 0, lane_bytes_cell },
    { "MSGS", 6, 0, lane_messages_cell },       { "HIGH", 6, 1, lane_most_cell },
    { "CAPACITY", 9, 2, lane_capacity_cell },   { "FULL", 6, 1, lane_full_cell },
    { "SHED", 6, 1, lane_shed_cell },           { "BYTES/S", 8, 3, lane_rate_cell },
    { "  CARRIER", -12, 4, lane_carrier_cell }, { 0 },
};

static const column type_columns[] = {
    { "ACTOR", -11, 0, type_actor },       { "MESSAGE", -12, 0, type_name },
    { "COUNT", 7, 0, type_count },         { "QUEUE p50", 10, 0, type_queue_50 },
    { "p99", 6, 0, type_queue_99 },        { "p99.9", 6, 1, type_queue_999 },
    { "HANDLE p50", 11, 0, type_handle_50 }, { "p99", 6, 0, type_handle_99 },
    { "p99.9", 6, 1, type_handle_999 },    { 0 },
};

static const column fault_columns[] = {
    { "COUNT", 6, 0, fault_count },     { " LAST", -15, 0, fault_last },
    { " FIRST", -15, 4, fault_first },   { "ACTOR", -11, 1, fault_actor },
    { "EVENT", -20, 0, fault_event },   { "PLACE", -24, 3, fault_place },
    { "TEXT", -240, 0, fault_text },    { 0 },
};

/* ---- tables ---- */

typedef struct pen {
    const top *t;
    int        left; /* lines */
    uint32_t   skip;
} pen;

static int
width_of(const column *c)
{
    return abs(c->width) + (c->width < 0 ? 1 : 0);
}

/* The last column of text may be cut: it counts with what its title needs. */
static int
least_width(const column *c)
{
    return c[1].title == NULL && c->width < 0 ? (int)strlen(c->title) : width_of(c);
}

/* The greatest rank that still fits. */
static int
rank_that_fits(const column *columns, int room)
{
    for (int rank = 16; rank > 0; rank--) {
        int width = 0;

        for (const column *c = columns; c->title != NULL; c++)
            width += c->rank <= rank ? least_width(c) : 0;
        if (width <= room)
            return rank;
    }
    return 0;
}

static void
end_line(pen *p)
{
    (void)fputs(p->t->terminal ? "\033[0m\033[K\n" : "\n", stdout);
    p->left--;
}

/* A row in one string, cut at the screen's edge, without blanks at its end. */
static void
put_line(pen *p, const char *text)
{
    size_t len = strnlen(text, (size_t)p->t->columns);

    while (len > 0 && text[len - 1] == ' ')
        len--;
    (void)fwrite(text, 1, len, stdout);
    end_line(p);
}

static size_t
add_cell(char *line, size_t len, size_t room, const column *c, const char *text)
{
    int n = c->width < 0 ? snprintf(line + len, room - len, "%-*.*s ", -c->width, -c->width, text)
                         : snprintf(line + len, room - len, "%*.*s", c->width, c->width, text);

    return (size_t)min_u64(len + (size_t)n, room - 1);
}

static void
put_head(pen *p, const column *columns, int rank)
{
    char   line[1024] = "";
    size_t len = 0;

    if (p->left < 2)
        return;
    for (const column *c = columns; c->title != NULL; c++)
        if (c->rank <= rank)
            len = add_cell(line, len, sizeof line, c, c->title);
    if (p->t->terminal)
        (void)fputs("\033[7m", stdout);
    put_line(p, line);
}

static void
put_row(pen *p, const column *columns, int rank, const void *row)
{
    char   text[CELL_MAX];
    char   line[1024] = "";
    size_t len = 0;

    if (p->left < 2)
        return;
    if (p->skip > 0) {
        p->skip--;
        return;
    }
    for (const column *c = columns; c->title != NULL; c++) {
        if (c->rank > rank)
            continue;
        c->cell(p->t, row, text);
        len = add_cell(line, len, sizeof line, c, text);
    }
    put_line(p, line);
}

/* ---- order ---- */

/* Greater comes first. */
static double
weight(const top *t, const watch_actor *a)
{
    switch (t->sort) {
    case TOP_BY_RATE:
        return a->messages_s;
    case TOP_BY_DEPTH:
        return (double)a->depth;
    case TOP_BY_TIME:
        return (double)hist_quantile_ns(t->recent ? &a->recent[HIST_QUEUEING] : &a->total[HIST_QUEUEING], 0.99);
    case TOP_BY_FAULTS:
        return (double)a->faults;
    default:
        return 0;
    }
}

typedef struct sorted {
    double      weight;
    uint32_t    place;
    const void *row;
} sorted;

static int
by_weight(const void *a, const void *b)
{
    const sorted *x = a;
    const sorted *y = b;

    if (x->weight < y->weight || x->weight > y->weight)
        return x->weight > y->weight ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static void
put_sorted(pen *p, const column *columns, sorted *at, uint32_t n)
{
    int rank = rank_that_fits(columns, p->t->columns);

    qsort(at, n, sizeof *at, by_weight);
    put_head(p, columns, rank);
    for (uint32_t i = 0; i < n; i++)
        put_row(p, columns, rank, at[i].row);
}

/* ---- pages ---- */

static void
put_actors(const watch *w, pen *p)
{
    sorted at[EDGES_MAX];

    for (uint32_t i = 0; i < w->run.plan.slots; i++)
        at[i] = (sorted){ weight(p->t, &w->actor[i]), i, &w->actor[i] };
    put_sorted(p, actor_columns, at, w->run.plan.slots);
    if (p->left > 3)
        end_line(p);
    /* Fullest first, then busiest. */
    for (uint32_t i = 0; i < w->run.plan.edges; i++)
        at[i] = (sorted){ (double)w->lane[i].bytes * 1e12 + w->lane[i].bytes_s, i, &w->lane[i] };
    put_sorted(p, lane_columns, at, w->run.plan.edges);
}

static void
put_types(const watch *w, pen *p)
{
    type_row *rows = calloc(SORTED_MAX, sizeof *rows);
    sorted   *at = calloc(SORTED_MAX, sizeof *at);
    uint32_t  n = 0;

    for (uint32_t i = 0; rows != NULL && at != NULL && i < w->run.plan.slots; i++) {
        const watch_actor *a = &w->actor[i];

        for (uint32_t place = 0; a->counters != NULL && place < COUNT_TYPES; place++) {
            type_row *r = &rows[n];

            if (!count_type_at(a->counters, place, &r->type))
                continue;
            r->actor = a;
            hist_read_type(&r->queueing, a->counters, HIST_QUEUEING, place);
            hist_read_type(&r->handling, a->counters, HIST_HANDLING, place);
            at[n] = (sorted){ weight(p->t, a), n, r };
            n++;
        }
    }
    if (at != NULL)
        put_sorted(p, type_columns, at, n);
    free(rows);
    free(at);
}

static void
put_faults(const watch *w, pen *p)
{
    int rank = rank_that_fits(fault_columns, p->t->columns);

    put_head(p, fault_columns, rank);
    for (uint32_t i = 0; i < w->faults; i++)
        put_row(p, fault_columns, rank, &w->fault[i]);
}

static void
put_title(const watch *w, pen *p)
{
    static const char *const order[TOP_SORTS] = { "place", "rate", "depth", "queue p99", "errors" };
    static const char *const page[TOP_PAGES] = { "actors", "messages", "errors" };
    char                     rate[CELL_MAX];
    char                     line[512];
    double                   sum = 0;
    uint64_t                 times = 0;

    for (uint32_t i = 0; i < w->run.plan.slots; i++)
        sum += w->actor[i].messages_s;
    for (uint32_t i = 0; i < w->faults; i++)
        times += w->fault[i].fault.count;
    put_number(sum, rate);
    (void)snprintf(line, sizeof line, "haltless: %u of %u actors live  %s msg/s  %u errors (%llu times)  %s%s",
                   w->living, w->run.plan.slots, rate, w->faults, (unsigned long long)times,
                   p->t->terminal ? "" : w->run.path, p->t->paused ? "PAUSED" : "");
    put_line(p, line);
    if (!p->t->terminal)
        return;
    (void)snprintf(line, sizeof line, "%s by %s, times %s   [q]uit [p]ause [s]ort [v]iew [t]imes j k",
                   page[p->t->page], order[p->t->sort], p->t->recent ? "now" : "ever");
    put_line(p, line);
}

void
top_draw(const watch *w, const top *t)
{
    pen p = { .t = t, .left = t->lines, .skip = t->skip };

    put_title(w, &p);
    if (t->page == TOP_TYPES)
        put_types(w, &p);
    else if (t->page == TOP_FAULTS)
        put_faults(w, &p);
    else
        put_actors(w, &p);
}
