/* cmd_export.c - `haltless export`: readings of a tenant as CSV or JSON lines, over the API.
 *
 *   machines ─▶ metrics of each ─▶ pages of 10 000 readings ─▶ FILE      after each page's worth, synced:
 *                                                            FILE.state  where the next one begins
 *
 * Order is by machine id and metric, so an export that was broken off goes on where it was: what FILE has
 * behind the place that FILE.state names is cut.  What it holds in memory is a page.
 */
#include "proto/err.h"
#include "proto/instant.h"
#include "proto/json.h"
#include "proto/num.h"
#include "tools/commands.h"
#include "tools/meter.h"
#include "tools/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 10000, PATH_MAX_ = 4096 };

#define SUFFIX "state"

static const char usage[] =
    "haltless export [flags] - writes readings as CSV or JSON lines\n\n"
    "  --url URL         of the server; default http://127.0.0.1:8080\n"
    "  --key-file FILE   its first line is an API key with read:machines and read:sensors (read_only);\n"
    "                    else $HALTLESS_API_KEY, else an access token in $HALTLESS_TOKEN\n"
    "  --ca FILE         certificates to trust, PEM; default: the system's\n"
    "  --out FILE        default: standard output\n"
    "  --format WORD     ndjson or csv; default: by the end of FILE, else ndjson\n"
    "  --machine NAME    the machine with this identifier alone\n"
    "  --metric NAME     this metric alone\n"
    "  --start, --end T  RFC 3339; default: all until now\n"
    "  --resume          goes on with FILE where an export was broken off (by FILE.state, which knows the other flags)\n\n"
    "`haltless import` takes both forms.  On a terminal it shows how far it is.\n";

typedef struct exporter {
    web                 *w;
    FILE                *out;
    const char          *file; /* NULL: standard output */
    const char          *machine;
    const char          *metric;
    char                 start[INSTANT_TEXT_MAX + 1];
    char                 end[INSTANT_TEXT_MAX + 1];
    enum transfer_format format;
    cJSON               *from; /* the state to go on from; NULL: the beginning */
    meter             shown;
    uint64_t             readings;
    uint64_t             saved; /* readings that FILE.state knows of */
    double               share;
} exporter;

/* ---- a reading ---- */

static void
put_line(const exporter *x, const char *identifier, const cJSON *point)
{
    const char *metric = transfer_state_text(point, "metric_name");
    const char *unit = transfer_state_text(point, "unit");
    const char *time = transfer_state_text(point, "timestamp");
    char        value[NUM_TEXT_MAX];
    size_t      len = num_format(cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(point, "value")), value);
    json_out    j = { 0 };

    if (x->format == FORMAT_CSV) {
        transfer_csv_put(x->out, view_str(identifier));
        fprintf(x->out, ",%s,", time);
        transfer_csv_put(x->out, view_str(metric));
        fprintf(x->out, ",%.*s,", (int)len, value);
        transfer_csv_put(x->out, view_str(unit));
        fputs("\r\n", x->out);
        return;
    }
    json_open(&j, '{');
    json_name_string(&j, "machine_identifier", view_str(identifier));
    json_name_string(&j, "timestamp", view_str(time));
    json_name_string(&j, "metric_name", view_str(metric));
    json_name(&j, VIEW_LIT("value"));
    json_raw(&j, view_of(value, len));
    json_name_string(&j, "unit", view_str(unit));
    json_close(&j, '}');
    fprintf(x->out, "%.*s\n", (int)j.len, j.at);
    json_out_free(&j);
}

/* ---- pages ---- */

/* The next page is that of the cursor; "": the one behind that metric. */
static int
save(exporter *x, const char *id, const char *metric, const char *cursor)
{
    cJSON *state;
    int    rc;

    if (fflush(x->out) != 0 || (x->file != NULL && fsync(fileno(x->out)) != 0))
        return err_errno(errno, "write %s", x->file == NULL ? "standard output" : x->file);
    if (x->file == NULL)
        return E_OK;
    state = cJSON_CreateObject();
    cJSON_AddStringToObject(state, "machine_id", id);
    cJSON_AddStringToObject(state, "metric", metric);
    cJSON_AddStringToObject(state, "cursor", cursor);
    if (x->machine != NULL)
        cJSON_AddStringToObject(state, "only_machine", x->machine);
    if (x->metric != NULL)
        cJSON_AddStringToObject(state, "only_metric", x->metric);
    cJSON_AddStringToObject(state, "start", x->start);
    cJSON_AddStringToObject(state, "end", x->end);
    cJSON_AddNumberToObject(state, "format", x->format);
    cJSON_AddNumberToObject(state, "readings", (double)x->readings);
    cJSON_AddNumberToObject(state, "bytes", (double)ftello(x->out));
    rc = transfer_state_write(x->file, SUFFIX, state);
    cJSON_Delete(state);
    x->saved = x->readings;
    return rc;
}

/* Lines of a page; *cursor: of the next one, caller frees; NULL: there is none. */
static int
put_page(exporter *x, const char *identifier, view body, char **cursor)
{
    *cursor = NULL;
    while (body.len > 0) {
        const uint8_t *eol = memchr(body.at, '\n', body.len);
        size_t         len = eol == NULL ? body.len : (size_t)(eol - body.at);
        cJSON         *line = json_parse(view_of(body.at, len));
        const char    *next = transfer_state_text(line, "next_cursor");

        if (line == NULL)
            return err(E_BAD, "a page of readings cannot be read");
        if (next[0] != '\0') {
            *cursor = strdup(next);
            ASSERT(*cursor != NULL);
        } else {
            put_line(x, identifier, line);
            x->readings++;
        }
        cJSON_Delete(line);
        len += eol != NULL;
        body = view_of(body.at + len, body.len - len);
    }
    return E_OK;
}

static int
page_path(const exporter *x, const char *id, const char *metric, const char *cursor, char path[PATH_MAX_])
{
    bool fits;

    snprintf(path, PATH_MAX_, "/machines/%s/readings?limit=%d&metric=", id, PAGE);
    fits = web_append(path, PATH_MAX_, metric);
    strncat(path, "&start=", PATH_MAX_ - strlen(path) - 1);
    fits = fits && web_append(path, PATH_MAX_, x->start);
    strncat(path, "&end=", PATH_MAX_ - strlen(path) - 1);
    fits = fits && web_append(path, PATH_MAX_, x->end);
    if (cursor[0] != '\0') {
        strncat(path, "&cursor=", PATH_MAX_ - strlen(path) - 1);
        fits = fits && web_append(path, PATH_MAX_, cursor);
    }
    return fits ? E_OK : err(E_RANGE, "metric %s", metric);
}

static int
export_series(exporter *x, const char *id, const char *identifier, const char *metric, const char *from)
{
    char *cursor = strdup(from);
    int   rc = E_OK;

    ASSERT(cursor != NULL);
    while (rc == E_OK && cursor != NULL) {
        char       path[PATH_MAX_];
        web_answer a;
        char      *next = NULL;

        if ((rc = page_path(x, id, metric, cursor, path)) < 0 ||
            (rc = web_call(x->w, "GET", path, NULL, (view){ 0 }, "application/x-ndjson", &a)) < 0)
            break;
        if (a.status == 404)
            break; /* deleted meanwhile */
        rc = a.status == 200 ? put_page(x, identifier, a.body, &next) : web_refused(&a, path);
        free(cursor);
        cursor = next;
        if (rc == E_OK && (cursor != NULL || x->readings - x->saved >= PAGE))
            rc = save(x, id, metric, cursor == NULL ? "" : cursor);
        meter_show(&x->shown, x->readings, x->share);
    }
    free(cursor);
    return rc;
}

/* ---- machines ---- */

/* Metrics come sorted by name. */
static int
export_machine(exporter *x, const cJSON *machine, uint32_t at, uint32_t of)
{
    const char  *id = transfer_state_text(machine, "id");
    const char  *identifier = transfer_state_text(machine, "machine_identifier");
    bool         here = x->from != NULL && strcmp(transfer_state_text(x->from, "machine_id"), id) == 0;
    const char  *begin = here ? transfer_state_text(x->from, "metric") : "";
    const char  *cursor = here ? transfer_state_text(x->from, "cursor") : "";
    char         path[256];
    cJSON       *latest;
    const cJSON *list, *r;
    int          i = 0;
    int          rc;

    snprintf(path, sizeof path, "/machines/%s/readings/latest", id);
    if ((rc = web_json(x->w, path, &latest)) < 0)
        return rc;
    list = cJSON_GetObjectItemCaseSensitive(latest, "readings");
    cJSON_ArrayForEach(r, list)
    {
        const char *metric = transfer_state_text(r, "metric_name");
        int         order = strcmp(metric, begin);
        bool        is_done = order < 0 || (order == 0 && cursor[0] == '\0');

        x->share = (at + (double)i++ / cJSON_GetArraySize(list)) / of;
        if (is_done || (x->metric != NULL && strcmp(metric, x->metric) != 0))
            continue;
        if ((rc = export_series(x, id, identifier, metric, order == 0 ? cursor : "")) < 0)
            break;
    }
    cJSON_Delete(latest);
    return rc;
}

static int
by_id(const void *a, const void *b)
{
    return strcmp(transfer_state_text(*(cJSON *const *)a, "id"), transfer_state_text(*(cJSON *const *)b, "id"));
}

/* All machines, sorted by id; *list and *pages: caller frees. */
static int
list_machines(exporter *x, cJSON ***list, uint32_t *count, cJSON **pages)
{
    uint64_t total = 1;
    uint32_t room = 0;
    int      rc = E_OK;

    *pages = cJSON_CreateArray();
    *list = NULL;
    *count = 0;
    for (uint32_t page = 1; *count < total && rc == E_OK; page++) {
        char   path[128];
        cJSON *answer, *item;
        int    before = (int)*count;

        snprintf(path, sizeof path, "/machines?page_size=100&page=%u", page);
        if ((rc = web_json(x->w, path, &answer)) < 0)
            break;
        cJSON_AddItemToArray(*pages, answer);
        total = transfer_state_number(answer, "total");
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(answer, "items"))
        {
            if (*count == room) {
                room = room == 0 ? 128 : room * 2;
                *list = realloc(*list, room * sizeof **list);
                ASSERT(*list != NULL);
            }
            (*list)[(*count)++] = item;
        }
        if ((int)*count == before)
            break;
    }
    if (*count > 1)
        qsort(*list, *count, sizeof **list, by_id);
    return rc;
}

static int
export_all(exporter *x)
{
    const char *begin = x->from == NULL ? "" : transfer_state_text(x->from, "machine_id");
    cJSON     **list, *pages;
    uint32_t    count;
    bool        found = x->machine == NULL;
    int         rc = list_machines(x, &list, &count, &pages);

    meter_start(&x->shown, "readings", -1);
    for (uint32_t i = 0; i < count && rc == E_OK; i++) {
        bool wanted = x->machine == NULL || strcmp(transfer_state_text(list[i], "machine_identifier"), x->machine) == 0;

        x->share = (double)i / count;
        found |= wanted;
        if (wanted && strcmp(transfer_state_text(list[i], "id"), begin) >= 0)
            rc = export_machine(x, list[i], i, count);
    }
    if (rc == E_OK && !found)
        rc = err(E_NOTFOUND, "machine %s", x->machine);
    meter_end(&x->shown, x->readings, rc == E_OK ? 1 : x->share);
    free(list);
    cJSON_Delete(pages);
    return rc;
}

/* ---- the file ---- */

/* A flag that the state has (borrowed from it), else the one given. */
static const char *
flag_of(const cJSON *state, const char *name, const char *given)
{
    const char *text = transfer_state_text(state, name);

    return text[0] == '\0' ? given : text;
}

/* Where it was broken off; what a torn page left behind is cut. */
static int
open_again(exporter *x)
{
    int         rc = transfer_state_read(x->file, SUFFIX, &x->from);
    struct stat st;

    if (rc < 0)
        return rc;
    x->machine = flag_of(x->from, "only_machine", x->machine);
    x->metric = flag_of(x->from, "only_metric", x->metric);
    x->format = (enum transfer_format)transfer_state_number(x->from, "format");
    x->readings = x->saved = transfer_state_number(x->from, "readings");
    snprintf(x->start, sizeof x->start, "%s", transfer_state_text(x->from, "start"));
    snprintf(x->end, sizeof x->end, "%s", transfer_state_text(x->from, "end"));
    x->out = fopen(x->file, "r+e");
    if (x->out != NULL && fstat(fileno(x->out), &st) == 0 && (uint64_t)st.st_size < transfer_state_number(x->from, "bytes"))
        return err(E_BAD, "%s is shorter than its state says: another file", x->file);
    if (x->out == NULL || ftruncate(fileno(x->out), (off_t)transfer_state_number(x->from, "bytes")) != 0 ||
        fseeko(x->out, 0, SEEK_END) != 0)
        return err_errno(errno, "open %s", x->file);
    return E_OK;
}

static int
open_output(exporter *x, bool resume)
{
    if (resume)
        return open_again(x);
    if (x->file != NULL)
        transfer_state_forget(x->file, SUFFIX); /* of another export */
    x->out = x->file == NULL ? stdout : fopen(x->file, "we");
    if (x->out == NULL)
        return err_errno(errno, "write %s", x->file);
    if (x->format == FORMAT_CSV)
        fputs("machine_identifier,timestamp,metric_name,value,unit\r\n", x->out);
    return save(x, "", "", "");
}

static int
run(exporter *x, bool resume)
{
    int rc = open_output(x, resume);

    if (rc == E_OK)
        rc = export_all(x);
    if (x->out != NULL && (fflush(x->out) != 0 || (x->file != NULL && fclose(x->out) != 0)) && rc == E_OK)
        rc = err_errno(errno, "write %s", x->file == NULL ? "standard output" : x->file);
    if (rc == E_OK && x->file != NULL)
        transfer_state_forget(x->file, SUFFIX);
    cJSON_Delete(x->from);
    return rc;
}

/* Absent: from the year 1970, until now. */
static bool
take_times(exporter *x, const char *start, const char *end)
{
    int64_t from_us = 0;
    int64_t until_us = (int64_t)time(NULL) * 1000000;

    if ((start != NULL && !instant_parse(view_str(start), &from_us)) ||
        (end != NULL && !instant_parse(view_str(end), &until_us)) || from_us >= until_us)
        return false;
    x->start[instant_format(from_us, x->start)] = '\0';
    x->end[instant_format(until_us, x->end)] = '\0';
    return true;
}

int
cmd_export(int argc, char **argv)
{
    bool        bad = false;
    const char *url, *key_file, *ca, *format, *start, *end;
    bool        resume;
    exporter    x = { 0 };
    int         rc;

    if (args_help(argc, argv, usage, false))
        return EXIT_FINE;
    url = args_take(&argc, argv, "--url", &bad);
    key_file = args_take(&argc, argv, "--key-file", &bad);
    ca = args_take(&argc, argv, "--ca", &bad);
    format = args_take(&argc, argv, "--format", &bad);
    start = args_take(&argc, argv, "--start", &bad);
    end = args_take(&argc, argv, "--end", &bad);
    x.file = args_take(&argc, argv, "--out", &bad);
    x.machine = args_take(&argc, argv, "--machine", &bad);
    x.metric = args_take(&argc, argv, "--metric", &bad);
    resume = args_take_switch(&argc, argv, "--resume");
    x.format = transfer_format_of(format, x.file);
    if (bad || argc > 1)
        return command_misused("export", bad ? "a flag lacks its value" : "there is a word it does not know");
    if (x.format == FORMAT_UNKNOWN)
        return command_misused("export", "--format must be ndjson or csv");
    if (resume && x.file == NULL)
        return command_misused("export", "--resume needs --out");
    if (!take_times(&x, start, end))
        return command_misused("export", "--start and --end must be RFC 3339 times, in this order");
    rc = transfer_open(&x.w, url == NULL ? "http://127.0.0.1:8080" : url, key_file, ca);
    if (rc == E_OK)
        rc = run(&x, resume);
    web_close(&x.w);
    if (rc < 0)
        return command_failed("export");
    fprintf(stderr, "%" PRIu64 " readings\n", x.readings);
    return EXIT_FINE;
}
