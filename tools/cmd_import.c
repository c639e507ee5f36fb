/* cmd_import.c - `haltless import`: readings from CSV or JSON lines, over the API.
 *
 *   FILE ─▶ lines ─▶ batches of JSON lines ─▶ POST /ingest ─▶ 207      after each batch, synced:
 *                                                 │                    FILE.imported  where the next begins
 *                                                 └─▶ what was rejected, with its line
 *
 * A batch that is sent again after a break does no harm: the same reading is the same reading.
 */
#include "proto/err.h"
#include "proto/json.h"
#include "proto/num.h"
#include "tools/commands.h"
#include "tools/meter.h"
#include "tools/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH_LINES = 5000, BATCH_BYTES = 1 << 20, LINE_MAX_ = 1 << 20, COLUMNS_MAX = 64 };

#define SUFFIX "imported"

static const char usage[] =
    "haltless import FILE [flags] - reads readings from CSV or JSON lines (- : standard input)\n\n"
    "  --url URL         of the server; default http://127.0.0.1:8080\n"
    "  --key-file FILE   its first line is an API key with ingest; else $HALTLESS_API_KEY\n"
    "  --ca FILE         certificates to trust, PEM; default: the system's\n"
    "  --format WORD     ndjson or csv; default: by the end of FILE, else ndjson\n"
    "  --rejects FILE    what was refused, as JSON lines with line and error; default: standard error\n"
    "  --resume          goes on where an import of FILE was broken off (by FILE.imported)\n\n"
    "JSON lines are readings as POST /ingest takes them.  CSV begins with a line of names: machine_identifier,\n"
    "timestamp, metric_name, value, unit, in any order; other columns are passed over.  What `haltless export`\n"
    "writes is both.  The exit status is 1 when something was refused.\n";

static const char *const columns[] = { "machine_identifier", "timestamp", "metric_name", "value", "unit", "raw_tag" };
enum { COLUMN_VALUE = 3 };

typedef struct importer {
    web                 *w;
    FILE                *in;
    const char          *file;
    bool                 is_file; /* it can be gone on with */
    FILE                *rejects;
    enum transfer_format format;
    meter             shown;
    uint64_t             size;    /* of the file; 0: unknown */
    uint64_t             line;    /* lines read */
    uint64_t             line_at; /* the line that the present record began with */
    uint64_t             done;    /* bytes of the file that are settled */
    uint64_t             accepted;
    uint64_t             rejected;
    char                *text; /* of a record */
    size_t               text_len;
    size_t               text_room;
    int                  column_of[COLUMNS_MAX]; /* CSV: index in columns, or -1 */
    uint32_t             column_count;
    json_out             batch;
    uint64_t             lines[BATCH_LINES]; /* of the file, by index in the batch */
    uint32_t             count;
} importer;

/* ---- reading records ---- */

static void
put_char(importer *x, char c)
{
    if (x->text_len == x->text_room) {
        x->text_room = x->text_room == 0 ? 4096 : x->text_room * 2;
        x->text = realloc(x->text, x->text_room);
        ASSERT(x->text != NULL);
    }
    x->text[x->text_len++] = c;
}

/* A line, or in CSV a record: a line break inside quotes does not end it.  1: there is one, 0: the end. */
static int
next_record(importer *x)
{
    bool quoted = false;
    int  c;

    x->text_len = 0;
    x->line_at = x->line + 1;
    while ((c = getc_unlocked(x->in)) != EOF) {
        x->line += c == '\n';
        if (c == '\n' && !quoted)
            return 1;
        quoted ^= x->format == FORMAT_CSV && c == '"';
        if (x->text_len == LINE_MAX_)
            return err(E_LIMIT, "line %" PRIu64 " is longer than a mebibyte", x->line_at);
        put_char(x, (char)c);
    }
    if (ferror(x->in))
        return err_errno(errno, "read %s", x->file);
    return x->text_len > 0;
}

static bool
is_blank(const importer *x)
{
    for (size_t i = 0; i < x->text_len; i++)
        if (x->text[i] != ' ' && x->text[i] != '\t' && x->text[i] != '\r')
            return false;
    return true;
}

/* The field at *at of the record, unquoted in place; *at comes behind its comma.  False: broken quotes. */
static bool
csv_field(importer *x, size_t *at, view *out)
{
    size_t begin = *at, end, i = *at;

    if (i < x->text_len && x->text[i] == '"') {
        for (begin = end = ++i;; x->text[end++] = x->text[i++]) {
            if (i >= x->text_len)
                return false;
            if (x->text[i] == '"' && (i + 1 >= x->text_len || x->text[i + 1] != '"'))
                break;
            i += x->text[i] == '"';
        }
        i++;
    } else {
        while (i < x->text_len && x->text[i] != ',')
            i++;
        end = i;
        while (end > begin && x->text[end - 1] == '\r' && i == x->text_len)
            end--;
    }
    while (i < x->text_len && x->text[i] == '\r')
        i++;
    if (i < x->text_len && x->text[i] != ',')
        return false;
    *out = view_of(x->text + begin, end - begin);
    *at = i + 1;
    return true;
}

static int
csv_head(importer *x)
{
    size_t at = 0;
    int    rc = next_record(x);

    if (rc < 0)
        return rc;
    while (at <= x->text_len && x->column_count < COLUMNS_MAX) {
        view name;
        int  found = -1;

        if (!csv_field(x, &at, &name))
            return err(E_BAD, "line 1 is no CSV");
        for (int i = 0; i < (int)COUNT_OF(columns); i++)
            if (view_eq(name, view_str(columns[i])))
                found = i;
        x->column_of[x->column_count++] = found;
    }
    for (int i = 0; i < (int)COUNT_OF(columns) - 1; i++) {
        bool there = false;

        for (uint32_t k = 0; k < x->column_count; k++)
            there |= x->column_of[k] == i;
        if (!there)
            return err(E_BAD, "the first line of %s has no column %s", x->file, columns[i]);
    }
    return E_OK;
}

/* ---- batches ---- */

static void
reject(importer *x, uint64_t line, const char *error)
{
    json_out j = { 0 };

    x->rejected++;
    json_open(&j, '{');
    json_name_int(&j, "line", (int64_t)line);
    json_name_string(&j, "error", view_str(error));
    json_close(&j, '}');
    fprintf(x->rejects, "%.*s\n", (int)j.len, j.at);
    json_out_free(&j);
}

static bool
is_number(view text)
{
    double ignored;

    return text.len > 0 && num_parse(text, &ignored) == text.len;
}

/* The record as a line of the batch; false: it is none. */
static bool
add_csv(importer *x)
{
    json_out *j = &x->batch;
    size_t    at = 0;
    size_t    before = j->len;

    json_open(j, '{');
    for (uint32_t i = 0; i < x->column_count; i++) {
        view field;
        int  column = x->column_of[i];

        if (at > x->text_len || !csv_field(x, &at, &field)) {
            j->len = before;
            j->comma = false;
            return false;
        }
        if (column < 0)
            continue;
        json_name(j, view_str(columns[column]));
        if (column == COLUMN_VALUE && is_number(field))
            json_raw(j, field);
        else
            json_string(j, field);
    }
    json_close(j, '}');
    return true;
}

static bool
add_json(importer *x)
{
    view text = view_of(x->text, x->text_len);

    if (!json_is_valid(text))
        return false;
    json_raw(&x->batch, text);
    return true;
}

static void
add(importer *x)
{
    if (is_blank(x))
        return;
    if (!(x->format == FORMAT_CSV ? add_csv(x) : add_json(x))) {
        reject(x, x->line_at, x->format == FORMAT_CSV ? "Not a record of CSV" : "Not JSON");
        return;
    }
    x->batch.comma = false; /* lines, not an array */
    json_raw(&x->batch, VIEW_LIT("\n"));
    x->batch.comma = false;
    x->lines[x->count++] = x->line_at;
}

static int
settle(importer *x, const web_answer *a)
{
    cJSON       *j = json_parse(a->body);
    const cJSON *e;

    if (a->status != 207 || j == NULL) {
        cJSON_Delete(j);
        return web_refused(a, "POST /ingest");
    }
    x->accepted += transfer_state_number(j, "accepted_count");
    cJSON_ArrayForEach(e, cJSON_GetObjectItemCaseSensitive(j, "errors"))
    {
        uint64_t index = transfer_state_number(e, "index");

        reject(x, index < x->count ? x->lines[index] : 0, transfer_state_text(e, "error"));
    }
    cJSON_Delete(j);
    return E_OK;
}

/* What was refused is in its file before the state says that it is settled. */
static int
save(const importer *x)
{
    cJSON *state;
    int    rc;

    if (fflush(x->rejects) != 0 || (x->rejects != stderr && fsync(fileno(x->rejects)) != 0))
        return err_errno(errno, "write the rejects");
    if (!x->is_file)
        return E_OK;
    state = cJSON_CreateObject();
    if (x->rejects != stderr)
        cJSON_AddNumberToObject(state, "rejects_bytes", (double)ftello(x->rejects));
    cJSON_AddNumberToObject(state, "bytes", (double)x->done);
    cJSON_AddNumberToObject(state, "line", (double)x->line);
    cJSON_AddNumberToObject(state, "accepted", (double)x->accepted);
    cJSON_AddNumberToObject(state, "rejected", (double)x->rejected);
    rc = transfer_state_write(x->file, SUFFIX, state);
    cJSON_Delete(state);
    return rc;
}

static double
share_of(const importer *x)
{
    return x->size == 0 ? -1 : (double)x->done / (double)x->size;
}

static int
flush(importer *x)
{
    web_answer a;
    int        rc = E_OK;

    if (x->count > 0 &&
        ((rc = web_call(x->w, "POST", "/ingest", "application/x-ndjson", view_of(x->batch.at, x->batch.len),
                        "application/json", &a)) < 0 ||
         (rc = settle(x, &a)) < 0))
        return rc;
    json_reset(&x->batch);
    x->count = 0;
    x->done = x->is_file ? (uint64_t)ftello(x->in) : 0;
    meter_show(&x->shown, x->accepted, share_of(x));
    return save(x);
}

static int
import_all(importer *x)
{
    int rc = E_OK;
    int got = 1;

    meter_start(&x->shown, "readings", share_of(x));
    while (rc == E_OK && (got = next_record(x)) > 0) {
        add(x);
        if (x->count == BATCH_LINES || x->batch.len >= BATCH_BYTES)
            rc = flush(x);
    }
    if (rc == E_OK && got == 0)
        rc = flush(x);
    meter_end(&x->shown, x->accepted, share_of(x));
    return rc < 0 ? rc : got < 0 ? got : E_OK;
}

/* ---- the file ---- */

/* What was refused of a batch that is sent again is cut. */
static int
cut_rejects(const importer *x, const cJSON *state)
{
    if (x->rejects == stderr || cJSON_GetObjectItemCaseSensitive(state, "rejects_bytes") == NULL)
        return E_OK;
    if (ftruncate(fileno(x->rejects), (off_t)transfer_state_number(state, "rejects_bytes")) != 0 ||
        fseeko(x->rejects, 0, SEEK_END) != 0)
        return err_errno(errno, "write the rejects");
    return E_OK;
}

static int
go_on(importer *x)
{
    cJSON *state = NULL;
    int    rc = transfer_state_read(x->file, SUFFIX, &state);

    if (rc == E_OK && transfer_state_number(state, "bytes") > x->size)
        rc = err(E_BAD, "%s is shorter than its state says: another file", x->file);
    if (rc < 0 || (rc = cut_rejects(x, state)) < 0) {
        cJSON_Delete(state);
        return rc;
    }
    x->done = transfer_state_number(state, "bytes");
    x->line = transfer_state_number(state, "line");
    x->accepted = transfer_state_number(state, "accepted");
    x->rejected = transfer_state_number(state, "rejected");
    cJSON_Delete(state);
    return fseeko(x->in, (off_t)x->done, SEEK_SET) == 0 ? E_OK : err_errno(errno, "seek in %s", x->file);
}

static int
open_input(importer *x, bool resume)
{
    struct stat st;
    int         rc = E_OK;

    x->in = strcmp(x->file, "-") == 0 ? stdin : fopen(x->file, "re");
    if (x->in == NULL || fstat(fileno(x->in), &st) != 0)
        return err_errno(errno, "read %s", x->file);
    x->is_file = x->in != stdin && S_ISREG(st.st_mode);
    x->size = x->is_file ? (uint64_t)st.st_size : 0;
    if (x->format == FORMAT_CSV)
        rc = csv_head(x);
    if (rc < 0)
        return rc;
    if (resume)
        return x->is_file ? go_on(x) : err(E_CONFIG, "%s cannot be gone on with", x->file);
    x->done = x->is_file ? (uint64_t)ftello(x->in) : 0;
    return save(x); /* over the state of another import */
}

static int
run(importer *x, const char *rejects, bool resume)
{
    int rc;

    x->rejects = rejects == NULL ? stderr : resume ? fopen(rejects, "r+e") : NULL;
    if (x->rejects == NULL) /* a new import, or one that begins to write them only now */
        x->rejects = fopen(rejects, "we");
    if (x->rejects == NULL)
        return err_errno(errno, "write %s", rejects);
    rc = open_input(x, resume);
    if (rc == E_OK)
        rc = import_all(x);
    if (rc == E_OK && x->is_file)
        transfer_state_forget(x->file, SUFFIX);
    if (rejects != NULL && fclose(x->rejects) != 0 && rc == E_OK)
        rc = err_errno(errno, "write %s", rejects);
    if (x->in != NULL && x->in != stdin)
        fclose(x->in);
    return rc;
}

int
cmd_import(int argc, char **argv)
{
    bool        bad = false;
    bool        resume;
    const char *url, *key_file, *ca, *format, *rejects;
    importer   *x;
    int         rc;
    bool        refused;

    if (args_help(argc, argv, usage, false))
        return EXIT_FINE;
    url = args_take(&argc, argv, "--url", &bad);
    key_file = args_take(&argc, argv, "--key-file", &bad);
    ca = args_take(&argc, argv, "--ca", &bad);
    format = args_take(&argc, argv, "--format", &bad);
    rejects = args_take(&argc, argv, "--rejects", &bad);
    resume = args_take_switch(&argc, argv, "--resume");
    if (bad || argc != 2)
        return command_misused("import", bad ? "a flag lacks its value" : "one FILE is needed, or -");
    x = calloc(1, sizeof *x);
    ASSERT(x != NULL);
    x->file = argv[1];
    x->format = transfer_format_of(format, x->file);
    if (x->format == FORMAT_UNKNOWN) {
        free(x);
        return command_misused("import", "--format must be ndjson or csv");
    }
    rc = transfer_open(&x->w, url == NULL ? "http://127.0.0.1:8080" : url, key_file, ca);
    if (rc == E_OK)
        rc = run(x, rejects, resume);
    if (rc == E_OK)
        fprintf(stderr, "%" PRIu64 " accepted, %" PRIu64 " rejected\n", x->accepted, x->rejected);
    refused = x->rejected > 0;
    web_close(&x->w);
    json_out_free(&x->batch);
    free(x->text);
    free(x);
    return rc < 0 ? command_failed("import") : refused ? EXIT_FAILED : EXIT_FINE;
}
