/* cmd_lane.c - `haltless lane dump|follow|count FROM TO`: the envelopes of one lane, from outside.
 *
 *   dump     what is published and not acknowledged, oldest first
 *   follow   each record as it is published; one that was written over before we looked is a gap
 *   count    how many of each type dump would show, and their bytes
 *
 * Bodies are not shown: they are the tenants' data.  Only reads.  No word of the file is believed: lane_look().
 */
#include "proto/err.h"
#include "proto/json.h"
#include "proto/messages.h"
#include "tools/commands.h"
#include "tools/watch.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

enum { LOOK_MS = 20 };

static const char usage[] =
    "haltless lane dump FROM TO [--json] [settings]    what lies in a lane, oldest first\n"
    "haltless lane follow FROM TO [--json] [settings]  each message as it is published\n"
    "haltless lane count FROM TO [--json] [settings]   how many of each type lie in a lane, and their bytes\n\n"
    "  FROM, TO         actors, as `haltless top` names them: front.0 ingest.0\n"
    "  --json           one JSON object a line\n"
    "  --count N        ends after N lines\n"
    "  --data DIR       the server's data directory, or\n"
    "  --run-dir DIR    its run directory (shared memory)\n\n"
    "Per message: position, type, length of the body, flags, correlation, trace, age.  Works on a running or a\n"
    "killed node; never writes, and hinders nobody.\n";

typedef struct viewer {
    lane    *lane;
    bool     json;
    bool     counts; /* instead of showing */
    uint64_t left; /* lines */
    struct {
        uint64_t messages;
        uint64_t bytes;
    } of[MSG_MAX + 1]; /* by type; those beyond are in the last */
} viewer;

static const char *
flag_words(uint16_t flags, char out[64])
{
    static const char *const words[] = { "ask", "reply", "more", "credit", "cancel", "pad" };
    size_t                   len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if ((flags >> i & 1) != 0)
            len += (size_t)snprintf(out + len, 64 - len, "%s%s", len == 0 ? "" : ",", words[i]);
    return len == 0 ? "note" : out;
}

static void
show_json(uint64_t pos, const envelope *e, double age_ms)
{
    char     text[64];
    char     name[WATCH_NAME_MAX];
    json_out j = { 0 };

    json_open(&j, '{');
    json_name(&j, VIEW_LIT("pos"));
    json_uint(&j, pos);
    json_name_string(&j, "type", view_str(watch_type(e->type, name)));
    json_name_int(&j, "len", e->len);
    json_name_string(&j, "flags", view_str(flag_words(e->flags, text)));
    json_name_string(&j, "from", view_str(watch_name(e->from, name)));
    json_name_string(&j, "to", view_str(watch_name(e->to, name)));
    (void)snprintf(text, sizeof text, "%016" PRIx64, e->corr);
    json_name_string(&j, "corr", view_str(text));
    (void)snprintf(text, sizeof text, "%016" PRIx64, e->trace);
    json_name_string(&j, "trace", view_str(text));
    json_name_number(&j, "age_ms", age_ms);
    json_close(&j, '}');
    if (!j.failed)
        (void)printf("%.*s\n", (int)j.len, j.at);
    json_out_free(&j);
}

static void
show(viewer *v, uint64_t pos, const envelope *e)
{
    uint64_t now = watch_now_ns();
    double   age_ms = now > e->sent_ns ? (double)(now - e->sent_ns) / 1e6 : 0;
    char     type[WATCH_NAME_MAX];
    char     from[WATCH_NAME_MAX];
    char     flags[64];

    if (v->json)
        show_json(pos, e, age_ms);
    else
        (void)printf("pos=%" PRIu64 " type=%s len=%u flags=%s from=%s corr=%016" PRIx64 " trace=%016" PRIx64
                     " age_ms=%.3f\n",
                     pos, watch_type(e->type, type), e->len, flag_words(e->flags, flags),
                     watch_name(e->from, from), e->corr, e->trace, age_ms);
    v->left--;
}

static void
count(viewer *v, const envelope *e)
{
    uint32_t at = (uint32_t)min_u64(e->type, MSG_MAX);

    if ((e->flags & ENV_PAD) == 0)
        v->of[at].messages++;
    v->of[at].bytes += envelope_record_len(e->len);
}

static void
show_counts(const viewer *v)
{
    char name[WATCH_NAME_MAX];

    for (uint16_t type = 0; type <= MSG_MAX; type++)
        if (v->of[type].bytes > 0)
            (void)printf(v->json ? "{\"type\":\"%s\",\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n"
                                 : "%-14s messages=%" PRIu64 " bytes=%" PRIu64 "\n",
                         watch_type(type, name), v->of[type].messages, v->of[type].bytes);
}

static int
dump(viewer *v)
{
    uint64_t pos;
    uint64_t tail;
    uint64_t end;
    envelope e;
    int      rc = 1;

    if (!lane_span(v->lane, &pos, &tail))
        return err(E_BAD, "head %" PRIu64 " and tail %" PRIu64 " cannot be so", pos, tail);
    for (; pos < tail && v->left > 0; pos = end) {
        rc = lane_look(v->lane, pos, &e, &end);
        if (rc != 1)
            break;
        if (v->counts)
            count(v, &e);
        else
            show(v, pos, &e);
    }
    show_counts(v);
    return rc == E_BAD ? err(E_BAD, "no record at %" PRIu64, pos) : E_OK; /* gone: it was handled meanwhile */
}

static void
show_gap(const viewer *v, uint64_t from, uint64_t to)
{
    (void)printf(v->json ? "{\"gap_from\":%" PRIu64 ",\"gap_to\":%" PRIu64 "}\n"
                         : "gap from=%" PRIu64 " to=%" PRIu64 "\n",
                 from, to);
}

static int
follow(viewer *v)
{
    uint64_t pos;
    uint64_t tail;
    uint64_t end;
    envelope e;

    if (!lane_span(v->lane, &pos, &tail))
        return err(E_BAD, "head %" PRIu64 " and tail %" PRIu64 " cannot be so", pos, tail);
    while (v->left > 0 && !ferror(stdout)) {
        int rc = lane_look(v->lane, pos, &e, &end);

        if (rc == E_BAD)
            return err(E_BAD, "no record at %" PRIu64, pos);
        if (rc == 1) {
            show(v, pos, &e);
            pos = end;
        } else if (rc == E_GONE) {
            uint64_t lost = pos;

            if (!lane_span(v->lane, &pos, &tail))
                return err(E_BAD, "head %" PRIu64 " and tail %" PRIu64 " cannot be so", pos, tail);
            show_gap(v, lost, pos);
        } else {
            (void)fflush(stdout);
            (void)poll(NULL, 0, LOOK_MS);
        }
    }
    return E_OK;
}

static int
run(const char *verb, const char *dir, addr from, addr to, viewer *v)
{
    char      path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];
    edge_plan edge = { .from = from, .to = to };
    rundir    at = { 0 };
    int       rc;

    (void)snprintf(at.path, sizeof at.path, "%s", dir);
    rundir_lane_path(&at, &edge, path);
    if ((rc = lane_open(&v->lane, path, LANE_WATCHER)) < 0)
        return rc;
    v->counts = strcmp(verb, "count") == 0;
    rc = strcmp(verb, "follow") == 0 ? follow(v) : dump(v);
    (void)fflush(stdout);
    lane_close(&v->lane);
    return rc < 0 ? err(rc, "lane %s", path) : E_OK;
}

/* Kinds and messages of a program of one's own. */
static void
learn_names(const char *dir)
{
    rundir *r = malloc(sizeof *r);

    if (r != NULL && rundir_read(r, dir) == E_OK)
        own_names_take(&r->names);
    err_clear();
    free(r);
}

static bool
is_verb(const char *word)
{
    return strcmp(word, "dump") == 0 || strcmp(word, "follow") == 0 || strcmp(word, "count") == 0;
}

int
cmd_lane(int argc, char **argv)
{
    char        dir[RUNDIR_PATH_MAX];
    bool        bad = false;
    const char *config;
    const char *count;
    addr        from;
    addr        to;
    viewer      v = { .left = UINT64_MAX };

    if (args_help(argc, argv, usage, false))
        return EXIT_FINE;
    if (argc < 4 || !is_verb(argv[1]))
        return command_misused("lane", "dump, follow or count, and two actors");
    config = args_take_config(&argc, argv, &bad);
    count = args_take(&argc, argv, "--count", &bad);
    v.json = args_take_switch(&argc, argv, "--json");
    if (count != NULL && (v.left = strtoull(count, NULL, 10)) == 0)
        bad = true;
    if (bad)
        return command_misused("lane", "a flag lacks its value");
    if (watch_dir(dir, argc - 4, argv + 4, config) < 0)
        return command_failed("lane");
    learn_names(dir);
    if (!watch_parse(argv[2], &from) || !watch_parse(argv[3], &to))
        return command_misused("lane", "an actor is KIND.PART, as front.0");
    if (run(argv[1], dir, from, to, &v) < 0)
        return command_failed("lane");
    return EXIT_FINE;
}
