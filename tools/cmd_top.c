/* cmd_top.c - `haltless top`: actors and lanes of a node, live or as one picture.
 *
 *   haltless: 9 of 9 actors live   /dev/shm/haltless-1000-0123abcd
 *   ACTOR      STATE     PID  MSG/S  QUEUE p50   p99  HANDLE p50   p99  FLUSH p50   p99
 *   LANE                 BYTES  MSGS  HIGH  CAPACITY  CARRIER
 *
 * Columns are rows of a table with a rank: what does not fit the terminal goes, the least needed first.
 * Only reads; a dead node's files are as good as a running one's.
 */
#include "proto/err.h"
#include "tools/commands.h"
#include "tools/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { WIDTH_DEFAULT = 160, CELL_MAX = 48, COLUMNS_MAX = 24, SHORT_MS = 200 };

static const char usage[] =
    "haltless top [--json] [--once] [--interval S] [--config FILE] [settings] - what a node does\n\n"
    "  --data DIR       the server's data directory, or\n"
    "  --run-dir DIR    its run directory (shared memory)\n"
    "  --json           one JSON object a line: the node, each actor, each lane\n"
    "  --once           one picture; the default when standard output is no terminal\n"
    "  --interval S     seconds between two looks, 0.1 to 3600; default 1\n\n"
    "Per actor: state, process, epoch, restarts, rates, and p50, p99, p99.9 of the time a message waited, was\n"
    "handled, and of a batch's commit (since the node's start).  Per lane: what is published and not yet\n"
    "acknowledged, the most there ever was, the capacity.  q quits.  Works on a running or a killed node;\n"
    "never writes.  With --json and --interval it goes on for ever.\n";

/* ---- cells ---- */

typedef void cell_fn(const void *row, char out[CELL_MAX]);

typedef struct column {
    const char *title;
    int         width; /* negative: text, to the left */
    int         rank;  /* the greatest goes first when there is no room; 0 never goes */
    cell_fn    *cell;
} column;

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

static void
put_time(const watch_actor *a, enum histogram which, double q, char out[CELL_MAX])
{
    double us;

    (void)snprintf(out, CELL_MAX, "-");
    if (a->counters == NULL || hist_count(a->counters, which) == 0)
        return;
    us = (double)hist_quantile_ns(a->counters, which, q) / 1e3;
    if (us < 1000)
        (void)snprintf(out, CELL_MAX, us < 9.95 ? "%.1fu" : "%.0fu", us);
    else if (us < 1e6)
        (void)snprintf(out, CELL_MAX, us < 9950 ? "%.1fm" : "%.0fm", us / 1e3);
    else
        (void)snprintf(out, CELL_MAX, "%.1fs", us / 1e6);
}

static void
actor_name(const void *row, char out[CELL_MAX])
{
    (void)watch_name(((const watch_actor *)row)->who, out);
}

static void
actor_state(const void *row, char out[CELL_MAX])
{
    (void)snprintf(out, CELL_MAX, "%s", watch_state(row));
}

#define SEAT_CELL(name_, field_)                                                                   \
    static void name_(const void *row, char out[CELL_MAX])                                         \
    {                                                                                              \
        const watch_actor *a = row;                                                                \
                                                                                                   \
        (void)snprintf(out, CELL_MAX, "%lld",                                                      \
                       a->seat == NULL ? 0ll : (long long)atomic_load(&a->seat->field_));          \
    }
SEAT_CELL(actor_pid, pid)
SEAT_CELL(actor_epoch, epoch)
SEAT_CELL(actor_restarts, restarts)

#define NUMBER_CELL(name_, type_, field_)                                                          \
    static void name_(const void *row, char out[CELL_MAX])                                         \
    {                                                                                              \
        put_number((double)((const type_ *)row)->field_, out);                                     \
    }
NUMBER_CELL(actor_messages, watch_actor, messages_s)
NUMBER_CELL(actor_steps, watch_actor, steps_s)
NUMBER_CELL(lane_bytes_cell, watch_lane, bytes)
NUMBER_CELL(lane_most_cell, watch_lane, most)
NUMBER_CELL(lane_rate_cell, watch_lane, bytes_s)
NUMBER_CELL(lane_capacity_cell, watch_lane, edge->capacity)

#define TIME_CELL(name_, which_, q_)                                                               \
    static void name_(const void *row, char out[CELL_MAX])                                         \
    {                                                                                              \
        put_time(row, which_, q_, out);                                                            \
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

static void
lane_name(const void *row, char out[CELL_MAX])
{
    const watch_lane *l = row;
    char              from[WATCH_NAME_MAX];
    char              to[WATCH_NAME_MAX];

    (void)snprintf(out, CELL_MAX, "%.20s > %.20s", watch_name(l->edge->from, from),
                   watch_name(l->edge->to, to));
}

static void
lane_messages_cell(const void *row, char out[CELL_MAX])
{
    const watch_lane *l = row;

    put_number((double)l->messages, out);
    if (l->cut)
        (void)strcat(out, "+");
}

static void
lane_carrier_cell(const void *row, char out[CELL_MAX])
{
    const watch_lane *l = row;

    (void)snprintf(out, CELL_MAX, "  %s%s", l->edge->carrier == CARRIER_ZMQ ? "zmq" : "ring",
                   l->edge->side == EDGE_COMES_IN ? " far" : l->sound ? "" : " damaged");
}

static const column actor_columns[] = {
    { "ACTOR", -12, 0, actor_name },        { "STATE", -9, 0, actor_state },
    { "PID", 8, 2, actor_pid },             { "EPOCH", 6, 8, actor_epoch },
    { "RESTARTS", 9, 3, actor_restarts },   { "MSG/S", 7, 0, actor_messages },
    { "STEPS/S", 8, 6, actor_steps },       { "QUEUE p50", 10, 4, queue_50 },
    { "p99", 7, 1, queue_99 },              { "p99.9", 7, 7, queue_999 },
    { "HANDLE p50", 11, 4, handle_50 },     { "p99", 7, 1, handle_99 },
    { "p99.9", 7, 7, handle_999 },          { "FLUSH p50", 10, 5, flush_50 },
    { "p99", 7, 3, flush_99 },              { "p99.9", 7, 7, flush_999 },
    { 0 },
};

static const column lane_columns[] = {
    { "LANE", -26, 0, lane_name },           { "BYTES", 8, 0, lane_bytes_cell },
    { "MSGS", 7, 0, lane_messages_cell },    { "HIGH", 8, 1, lane_most_cell },
    { "CAPACITY", 9, 2, lane_capacity_cell }, { "BYTES/S", 9, 3, lane_rate_cell },
    { "  CARRIER", -12, 4, lane_carrier_cell }, { 0 },
};

/* ---- tables ---- */

typedef struct screen {
    int  columns;
    int  lines;  /* left; a pipe has no end of them */
    bool colour; /* a terminal */
} screen;

static int
width_of(const column *c)
{
    return abs(c->width) + (c->width < 0 ? 1 : 0);
}

/* The greatest rank that still fits. */
static int
rank_that_fits(const column *columns, int room)
{
    for (int rank = 16; rank > 0; rank--) {
        int width = 0;

        for (const column *c = columns; c->title != NULL; c++)
            width += c->rank <= rank ? width_of(c) : 0;
        if (width <= room)
            return rank;
    }
    return 0;
}

static void
put_cell(const column *c, const char *text)
{
    if (c->width < 0)
        (void)printf("%-*.*s ", -c->width, -c->width, text);
    else
        (void)printf("%*.*s", c->width, c->width, text);
}

static void
end_line(screen *s)
{
    (void)fputs(s->colour ? "\033[0m\033[K\n" : "\n", stdout);
    s->lines--;
}

static void
put_head(screen *s, const column *columns, int rank)
{
    if (s->lines < 2)
        return;
    if (s->colour)
        (void)fputs("\033[7m", stdout);
    for (const column *c = columns; c->title != NULL; c++)
        if (c->rank <= rank)
            put_cell(c, c->title);
    end_line(s);
}

static void
put_row(screen *s, const column *columns, int rank, const void *row)
{
    char text[CELL_MAX];

    if (s->lines < 2)
        return;
    for (const column *c = columns; c->title != NULL; c++) {
        if (c->rank > rank)
            continue;
        c->cell(row, text);
        put_cell(c, text);
    }
    end_line(s);
}

/* Fullest first, then busiest, then in the order of the plan. */
static int
by_depth(const void *a, const void *b)
{
    const watch_lane *x = *(const watch_lane *const *)a;
    const watch_lane *y = *(const watch_lane *const *)b;

    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    if (x->bytes_s < y->bytes_s || x->bytes_s > y->bytes_s)
        return x->bytes_s > y->bytes_s ? -1 : 1;
    return x < y ? -1 : x > y;
}

static void
put_all(const watch *w, screen *s)
{
    const watch_lane *at[EDGES_MAX];
    char              title[RUNDIR_PATH_MAX + 64];
    int               rank = rank_that_fits(actor_columns, s->columns);

    (void)snprintf(title, sizeof title, "haltless: %u of %u actors live   %s", w->living, w->run.plan.slots,
                   w->run.path);
    (void)printf("%.*s", s->columns, title);
    end_line(s);
    put_head(s, actor_columns, rank);
    for (uint32_t i = 0; i < w->run.plan.slots; i++)
        put_row(s, actor_columns, rank, &w->actor[i]);
    if (s->lines > 3)
        end_line(s);
    rank = rank_that_fits(lane_columns, s->columns);
    put_head(s, lane_columns, rank);
    for (uint32_t i = 0; i < w->run.plan.edges; i++)
        at[i] = &w->lane[i];
    qsort(at, w->run.plan.edges, sizeof at[0], by_depth);
    for (uint32_t i = 0; i < w->run.plan.edges; i++)
        put_row(s, lane_columns, rank, at[i]);
}

/* ---- one picture ---- */

static volatile sig_atomic_t ended;

static void
on_end(int number)
{
    (void)number;
    ended = 1;
}

static void
nap(int ms)
{
    (void)poll(NULL, 0, ms);
}

/* A dead node has no rates to wait for. */
static void
look_twice(watch *w, int ms)
{
    watch_look(w);
    if (w->living == 0)
        return;
    nap(ms);
    watch_look(w);
}

static void
print_once(watch *w, bool json)
{
    screen s = { .columns = WIDTH_DEFAULT, .lines = INT32_MAX };

    if (json)
        watch_json(w, stdout);
    else
        put_all(w, &s);
}

static int
json_for_ever(watch **w, int ms)
{
    watch_look(*w);
    while (!ended && !ferror(stdout)) {
        nap(ms);
        watch_look(*w);
        watch_json(*w, stdout);
    }
    return EXIT_FINE;
}

/* ---- live ---- */

static struct termios terminal;

static void
terminal_enter(void)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &terminal) == 0) {
        raw = terminal;
        raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO | ISIG);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    (void)fputs("\033[?1049h\033[?25l", stdout);
}

static void
terminal_leave(bool changed)
{
    (void)fputs("\033[?25h\033[?1049l", stdout);
    (void)fflush(stdout);
    if (changed)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
}

static screen
screen_now(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0)
        return (screen){ .columns = 80, .lines = 24, .colour = true };
    return (screen){ .columns = size.ws_col, .lines = size.ws_row, .colour = true };
}

/* Waits for the next look.  True: somebody wants to leave. */
static bool
wait_key(int ms)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
    char          key = 0;

    if (!isatty(STDIN_FILENO)) {
        nap(ms);
        return ended != 0;
    }
    if (poll(&p, 1, ms) > 0 && read(STDIN_FILENO, &key, 1) == 0)
        return true; /* the terminal is gone */
    return ended != 0 || key == 'q' || key == 'Q' || key == 3 || key == 4;
}

/* Another server may have taken the place. */
static void
follow_node(watch **w)
{
    char   dir[RUNDIR_PATH_MAX];
    watch *next;

    (void)snprintf(dir, sizeof dir, "%s", (*w)->run.path);
    if (watch_is_current(*w))
        return;
    if (watch_open(&next, dir) < 0) {
        err_clear();
        return;
    }
    watch_close(w);
    *w = next;
}

static int
live(watch **w, int ms)
{
    bool changed = isatty(STDIN_FILENO);
    int  wait = min_u64((uint64_t)ms, SHORT_MS) == SHORT_MS ? SHORT_MS : ms;

    terminal_enter();
    watch_look(*w);
    while (!wait_key(wait)) {
        screen s = screen_now();

        wait = ms;
        follow_node(w);
        watch_look(*w);
        (void)fputs("\033[H", stdout);
        put_all(*w, &s);
        (void)fputs("\033[J", stdout);
        (void)fflush(stdout);
    }
    terminal_leave(changed);
    return EXIT_FINE;
}

/* ---- the command ---- */

typedef struct wanted {
    const char *config;
    const char *interval;
    bool        json;
    bool        once;
    int         ms;
} wanted;

static bool
interval_parse(wanted *w)
{
    char  *end;
    double s;

    w->ms = 1000;
    if (w->interval == NULL)
        return true;
    s = strtod(w->interval, &end);
    if (end == w->interval || *end != '\0' || !(s >= 0.1 && s <= 3600))
        return false;
    w->ms = (int)(s * 1000);
    return true;
}

static int
run(watch **w, const wanted *want)
{
    struct sigaction end = { .sa_handler = on_end };

    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGHUP, &end, NULL);
    if (want->json && want->interval != NULL && !want->once)
        return json_for_ever(w, want->ms);
    if (!want->json && !want->once && isatty(STDOUT_FILENO))
        return live(w, want->ms);
    look_twice(*w, want->ms);
    print_once(*w, want->json);
    return EXIT_FINE;
}

int
cmd_top(int argc, char **argv)
{
    char   dir[RUNDIR_PATH_MAX];
    bool   bad = false;
    watch *w;
    wanted want;
    int    result;

    if (args_help(argc, argv, usage, false))
        return EXIT_FINE;
    want = (wanted){ .config = args_take_config(&argc, argv, &bad),
                     .interval = args_take(&argc, argv, "--interval", &bad),
                     .json = args_take_switch(&argc, argv, "--json"),
                     .once = args_take_switch(&argc, argv, "--once") };
    if (bad || !interval_parse(&want))
        return command_misused("top", bad ? "a flag lacks its value" : "--interval must be 0.1 to 3600");
    if (watch_dir(dir, argc - 1, argv + 1, want.config) < 0 || watch_open(&w, dir) < 0)
        return command_failed("top");
    result = run(&w, &want);
    watch_close(&w);
    return result;
}
