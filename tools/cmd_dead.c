/* cmd_dead.c - `haltless dead list|show|replay|drop`: the messages that killed an actor, or that it refused.
 *
 * Letters are files of the data directory, so list, show and drop need no server.  replay asks the running one over
 * its control line; without one there is nobody to take the message.
 */
#include "proto/err.h"
#include "proto/instant.h"
#include "proto/json.h"
#include "storage/dead.h"
#include "tools/account.h"
#include "tools/commands.h"
#include "tools/watch.h"
#include "transport/control.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { REPLAY_WAIT_MS = 15000, REPLAY_LOOK_MS = 20, SHOWN_MAX = 65536 };

static const char usage[] =
    "haltless dead list [--json] [settings]        what is there, oldest first\n"
    "haltless dead show LETTER [--json] [settings] one of them, with its body in hex\n"
    "haltless dead replay LETTER|all [settings]    hands it to its actor once more, then drops it\n"
    "haltless dead drop LETTER|all [settings]      forgets it\n\n"
    "  LETTER      as list names it\n"
    "  --json      one JSON object a letter\n"
    "  --data DIR  the server's data directory\n\n"
    "A message is put there when an actor died of it three times by a fault of its own (SEGV, ABRT, BUS, FPE, ILL), or\n"
    "can never take it.  Who asked was answered with an error.  Bodies are the tenants' data: show prints them.\n"
    "A replay needs the running server; when the actor dies of the message again, the letter stays.\n"
    "At most 1000 letters and 64 MiB are kept: the oldest go.\n";

typedef struct request {
    const char *verb;
    const char *id; /* NULL: list */
    const char *dir;
    const char *run; /* directory of the node */
    bool        json;
} request;

/* ---- printing ---- */

static void
hex_of(view body, char **out)
{
    static const char digit[] = "0123456789abcdef";
    size_t            n = min_u64(body.len, SHOWN_MAX);
    char             *s = malloc(2 * n + 1);

    ASSERT(s != NULL);
    for (size_t i = 0; i < n; i++) {
        s[2 * i] = digit[body.at[i] >> 4];
        s[2 * i + 1] = digit[body.at[i] & 15];
    }
    s[2 * n] = '\0';
    *out = s;
}

static void
print_json(const char *id, const dead_letter *l, bool whole)
{
    char     when[INSTANT_TEXT_MAX + 1];
    char     text[WATCH_NAME_MAX];
    char    *hex;
    json_out j = { 0 };

    when[instant_format(l->wall_us, when)] = '\0';
    json_open(&j, '{');
    json_name_string(&j, "letter", view_str(id));
    json_name_string(&j, "time", view_str(when));
    json_name_string(&j, "actor", view_str(watch_name(l->actor, text)));
    json_name_string(&j, "from", view_str(watch_name(l->env.from, text)));
    json_name_string(&j, "type", view_str(watch_type(l->env.type, text)));
    json_name_int(&j, "len", l->env.len);
    json_name_int(&j, "pos", (int64_t)l->pos);
    json_name_int(&j, "deaths", l->attempts);
    json_name_int(&j, "signal", l->signal);
    json_name_string(&j, "reason", view_str(l->reason));
    json_name_string(&j, "build", view_str(l->build));
    if (whole) {
        hex_of(l->body, &hex);
        json_name_string(&j, "body", view_str(hex));
        free(hex);
    }
    json_close(&j, '}');
    if (!j.failed)
        printf("%.*s\n", (int)j.len, j.at);
    json_out_free(&j);
}

static void
print_text(const char *id, const dead_letter *l, bool whole)
{
    char  when[INSTANT_TEXT_MAX + 1];
    char  text[WATCH_NAME_MAX];
    char *hex;

    when[instant_format(l->wall_us, when)] = '\0';
    printf("%s  %s  type=%s len=%u  %s\n", id, when, watch_type(l->env.type, text), l->env.len, l->reason);
    if (!whole)
        return;
    printf("actor=%s deaths=%u signal=%d build=%s trace=%016" PRIx64 "\n", watch_name(l->actor, text), l->attempts,
           l->signal, l->build, l->env.trace);
    hex_of(l->body, &hex);
    for (size_t at = 0; hex[at] != '\0'; at += 64)
        printf("%.64s\n", hex + at);
    free(hex);
}

static int
show(const request *r, const char *id)
{
    dead_letter l;
    uint8_t    *file;
    int         rc = dead_read(r->dir, id, &l, &file);

    if (rc < 0)
        return rc;
    (r->json ? print_json : print_text)(id, &l, r->id != NULL);
    free(file);
    return E_OK;
}

/* ---- replay ---- */

static bool
read_answer(const char *path, int *rc)
{
    FILE *f = fopen(path, "re");
    bool  read = f != NULL && fscanf(f, "%d", rc) == 1;

    if (f != NULL)
        (void)fclose(f);
    if (read)
        (void)unlink(path);
    return read;
}

/* The answer, once it is there; an actor of another life will give none. */
static int
wait_answer(const request *r, const char *id, const seat *s)
{
    char     path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];
    uint32_t epoch = atomic_load(&s->epoch);
    bool     died = false;
    int      rc = 0;

    (void)snprintf(path, sizeof path, "%s/replayed.%s", r->run, id);
    for (int ms = 0; ms < REPLAY_WAIT_MS && !died; ms += REPLAY_LOOK_MS) {
        died = atomic_load(&s->epoch) != epoch; /* before the look: it may have answered first */
        if (read_answer(path, &rc))
            return rc < 0 ? err(rc, "replay of %s", id) : E_OK;
        if (!died)
            (void)poll(NULL, 0, REPLAY_LOOK_MS);
    }
    return err(died ? E_GONE : E_LATE, "replay of %s: the actor %s; the letter is kept", id,
               died ? "died of it again" : "did not take it");
}

static int
ask_server(const request *r, const char *id, const seat *s)
{
    control *c;
    int      rc = control_connect(&c, r->run, CONTROL_TOOL | (uint32_t)getpid());

    if (rc < 0)
        return rc;
    rc = control_say(c, CONTROL_REPLAY, id);
    if (rc == E_OK)
        rc = wait_answer(r, id, s);
    control_close(&c);
    return rc;
}

static int
replay(const request *r, const char *id)
{
    dead_letter l;
    uint8_t    *file;
    seat       *s;
    char        path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];
    int         fd;
    int         rc = dead_read(r->dir, id, &l, &file); /* a letter that is none is not sent */

    if (rc < 0)
        return rc;
    free(file);
    if (access(r->run, F_OK) < 0 || (fd = rundir_alive(r->run, true, 0)) >= 0)
        return err(E_GONE, "no server runs on %s: start it, then replay", r->dir);
    err_clear();
    (void)snprintf(path, sizeof path, "%s/replayed.%s", r->run, id);
    (void)unlink(path);
    if ((rc = seat_open(&s, r->run, l.actor, false)) < 0)
        return rc;
    rc = ask_server(r, id, s);
    seat_close(&s);
    if (rc == E_OK)
        printf("%s replayed\n", id);
    return rc;
}

static int
drop(const request *r, const char *id)
{
    int rc = dead_drop(r->dir, id);

    if (rc == E_OK)
        printf("%s dropped\n", id);
    return rc;
}

/* ---- which ---- */

typedef int letter_fn(const request *r, const char *id);

/* Each that is there; one that fails does not hinder the others. */
static int
each(const request *r, letter_fn *fn)
{
    dead_entry *e;
    size_t      count;
    int         failed = E_OK;
    int         rc = dead_list(r->dir, &e, &count);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        if ((rc = fn(r, e[i].id)) < 0) {
            if (failed < 0)
                fprintf(stderr, "haltless dead: %s\n", err_text());
            failed = rc;
        }
    free(e);
    return failed;
}

static int
run(const request *r)
{
    letter_fn *fn = strcmp(r->verb, "replay") == 0 ? replay : strcmp(r->verb, "drop") == 0 ? drop : show;

    if (r->id == NULL || (fn != show && strcmp(r->id, "all") == 0))
        return each(r, fn);
    return fn(r, r->id);
}

static bool
is_verb(const char *s)
{
    return strcmp(s, "list") == 0 || strcmp(s, "show") == 0 || strcmp(s, "replay") == 0 ||
           strcmp(s, "drop") == 0;
}

/* Where a data directory's node is, if it runs. */
static int
find_run(const char *data, int argc, char **argv, const char *config, char run_dir[RUNDIR_PATH_MAX])
{
    char full[PATH_MAX];

    if (realpath(data, full) == NULL)
        return err_errno(errno, "data directory %s", data);
    return watch_dir(run_dir, argc, argv, config);
}

int
cmd_dead(int argc, char **argv)
{
    char        run_dir[RUNDIR_PATH_MAX];
    bool        bad = false;
    const char *config;
    char       *dir;
    request     r = { .run = run_dir };
    int         used;
    int         rc;

    if (args_help(argc, argv, usage, false))
        return EXIT_FINE;
    if (argc < 2 || !is_verb(argv[1]))
        return command_misused("dead", "list, show, replay or drop");
    r.verb = argv[1];
    config = args_take_config(&argc, argv, &bad);
    r.json = args_take_switch(&argc, argv, "--json");
    used = 2;
    if (strcmp(r.verb, "list") != 0) {
        if (argc < 3 || argv[2][0] == '-')
            return command_misused("dead", "which letter?");
        r.id = argv[2];
        used = 3;
    }
    if (bad)
        return command_misused("dead", "--config needs a file");
    if ((dir = account_data_dir(argc - used, argv + used, config)) == NULL)
        return command_failed("dead");
    r.dir = dir;
    rc = find_run(dir, argc - used, argv + used, config, run_dir);
    if (rc == E_OK)
        rc = run(&r);
    free(dir);
    return rc < 0 ? command_failed("dead") : EXIT_FINE;
}
