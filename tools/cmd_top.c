/* cmd_top.c - `haltless top`: what a node does, live or as one picture (top.c draws it).
 *
 * Only reads; a dead node's files are as good as a running one's.
 */
#include "proto/err.h"
#include "tools/commands.h"
#include "tools/top.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { WIDTH_DEFAULT = 160, SHORT_MS = 200 };

static const char usage[] =
    "haltless top [--json] [--once] [--types|--errors] [--interval S] [--config FILE] [settings] - what a node does\n\n"
    "  --data DIR       the server's data directory, or\n"
    "  --run-dir DIR    its run directory (shared memory)\n"
    "  --json           one JSON object: node, actors with every counter, lanes, errors\n"
    "  --once           one picture; the default when standard output is no terminal\n"
    "  --types          per actor and type of message\n"
    "  --errors         the distinct errors and warnings: how often, first, last, where, the first one's text\n"
    "  --interval S     seconds between two looks, 0.1 to 3600; default 1\n\n"
    "Per actor: state, process, epoch, restarts, rates, messages waiting in its lanes, the fullest they ever were, and\n"
    "p50, p99, p99.9 of the time a message waited (QUE), was handled (HDL; under load a sample), and of a batch's commit\n"
    "(FLU).  Per lane: what is published and not yet acknowledged, the most there ever was, what it refused (FULL) and\n"
    "dropped (SHED).  Times: u is microseconds, m milliseconds.  Keys: q quits, p pauses, s sorts, v turns to the next\n"
    "view, t shows times of the node's life or since the last look, j and k scroll.  Works on a running or a killed\n"
    "node; never writes.  With --json and --interval it goes on for ever, an object a line.\n";

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
print_once(const watch *w, bool json, enum top_page page)
{
    top t = { .columns = WIDTH_DEFAULT, .lines = INT32_MAX, .page = page };

    if (json)
        watch_json(w, stdout);
    else
        top_draw(w, &t);
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

static void
measure(top *t)
{
    struct winsize size;

    t->columns = 80;
    t->lines = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0)
        return;
    t->columns = size.ws_col;
    t->lines = size.ws_row;
}

/* False: leave. */
static bool
obey(top *t, char key)
{
    switch (key) {
    case 'q':
    case 'Q':
    case 3:
    case 4:
        return false;
    case 'p':
    case ' ':
        t->paused = !t->paused;
        break;
    case 's':
        t->sort = (t->sort + 1) % TOP_SORTS;
        break;
    case 'v':
    case '\t':
        t->page = (t->page + 1) % TOP_PAGES;
        t->skip = 0;
        break;
    case 't':
        t->recent = !t->recent;
        break;
    case 'j':
        t->skip++;
        break;
    case 'k':
        t->skip -= t->skip > 0;
        break;
    default:
        break;
    }
    return true;
}

static volatile sig_atomic_t resized;

static void
on_resize(int number)
{
    (void)number;
    resized = 1;
}

enum woken { WOKEN_TIME, WOKEN_KEY, WOKEN_END };

/* Sleeps until the next look, a key, or a terminal of another size. */
static enum woken
wait_key(top *t, int ms)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
    char          key = 0;
    ssize_t       n;

    if (resized) {
        resized = 0;
        return WOKEN_KEY;
    }
    if (!isatty(STDIN_FILENO))
        nap(ms);
    else if (poll(&p, 1, ms) > 0) {
        n = read(STDIN_FILENO, &key, 1);
        return n == 0 || !obey(t, key) ? WOKEN_END : WOKEN_KEY; /* 0: the terminal is gone */
    }
    if (ended)
        return WOKEN_END;
    return resized ? WOKEN_KEY : WOKEN_TIME;
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

static void
draw(const watch *w, top *t)
{
    measure(t);
    (void)fputs("\033[H", stdout);
    top_draw(w, t);
    (void)fputs("\033[J", stdout);
    (void)fflush(stdout);
}

static int
live(watch **w, int ms, enum top_page page)
{
    struct sigaction resize = { .sa_handler = on_resize };
    bool             changed = isatty(STDIN_FILENO);
    int              wait = ms < SHORT_MS ? ms : SHORT_MS;
    top              t = { .terminal = true, .page = page };
    enum woken       why;

    (void)sigaction(SIGWINCH, &resize, NULL);
    terminal_enter();
    watch_look(*w);
    while ((why = wait_key(&t, wait)) != WOKEN_END) {
        if (why == WOKEN_TIME) {
            wait = ms;
            if (!t.paused) {
                follow_node(w);
                watch_look(*w);
            }
        }
        draw(*w, &t);
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
    bool        types;
    bool        errors;
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
    enum top_page    page = want->errors ? TOP_FAULTS : want->types ? TOP_TYPES : TOP_ACTORS;

    (void)sigaction(SIGTERM, &end, NULL);
    (void)sigaction(SIGHUP, &end, NULL);
    if (want->json && want->interval != NULL && !want->once)
        return json_for_ever(w, want->ms);
    if (!want->json && !want->once && isatty(STDOUT_FILENO))
        return live(w, want->ms, page);
    look_twice(*w, want->ms);
    print_once(*w, want->json, page);
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
                     .once = args_take_switch(&argc, argv, "--once"),
                     .types = args_take_switch(&argc, argv, "--types"),
                     .errors = args_take_switch(&argc, argv, "--errors") };
    if (bad || !interval_parse(&want))
        return command_misused("top", bad ? "a flag lacks its value" : "--interval must be 0.1 to 3600");
    if (watch_dir(dir, argc - 1, argv + 1, want.config) < 0 || watch_open(&w, dir) < 0)
        return command_failed("top");
    result = run(&w, &want);
    watch_close(&w);
    return result;
}
