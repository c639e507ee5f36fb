/* options.c - one table walked by everything: defaults, file, environment, flags, help, man page,
 * reload.
 *
 *   default < [section] name in the TOML file < HALTLESS_SECTION_NAME < --section-name
 *
 * A setting arrives as text from all four; the type of its row makes the value, once.
 */
#include "actors/options.h"

#include "proto/err.h"
#include "proto/toml.h"
#include "proto/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { NAME_MAX_ = 64, WORDS_MAX = 8 };

typedef enum option_type { TYPE_STR, TYPE_U64, TYPE_BOOL, TYPE_ENUM } option_type;

typedef struct option_row {
    const char *section;
    const char *name;
    size_t      offset;
    const char *text; /* default of STR and ENUM */
    uint64_t    number;
    uint64_t    min;
    uint64_t    max;
    const char *brief;
    option_type type;
    bool        reload;
} option_row;

#define DEFAULT_STR(def)  .text = (def)
#define DEFAULT_ENUM(def) .text = (def)
#define DEFAULT_U64(def)  .number = (def)
#define DEFAULT_BOOL(def) .number = (def)

static const option_row rows[] = {
#define X(s, n, TYPE, def, low, high, again, words)                                                \
    { .section = #s,                                                                               \
      .name = #n,                                                                                  \
      .offset = offsetof(options, s##_##n),                                                        \
      DEFAULT_##TYPE(def),                                                                         \
      .min = (low),                                                                                \
      .max = (high),                                                                               \
      .brief = (words),                                                                            \
      .type = TYPE_##TYPE,                                                                         \
      .reload = (again) != 0 },
#include "actors/options.def"
#undef X
};

/* The words of ENUM settings, in the order of the enums that they stand for; section "*": any. */
static const struct {
    const char *section;
    const char *name;
    const char *words[WORDS_MAX];
} enum_words[] = {
    { "log", "format", { "logfmt", "json" } },
    { "log", "level", { "error", "warn", "info", "debug" } },
    { "storage", "durability", { "fsync", "os", "memory" } },
    { "auth", "registration", { "auto", "open", "first", "closed" } },
    { "smtp", "starttls", { "required", "try", "off" } },
    { "*", "mode", { "thread", "process" } },
    { "*", "carrier", { "ring", "zmq" } },
    { "*", "restart", { "permanent", "transient", "temporary" } },
    { "*", "strategy", { "one-for-one", "rest-for-one", "one-for-all" } },
};

static const char *const *
words_of(const option_row *r)
{
    for (size_t i = 0; i < COUNT_OF(enum_words); i++)
        if (strcmp(enum_words[i].name, r->name) == 0 &&
            (enum_words[i].section[0] == '*' || strcmp(enum_words[i].section, r->section) == 0))
            return enum_words[i].words;
    ASSERT(!"every ENUM setting has its words");
}

static bool
is_server(const option_row *r)
{
    return strcmp(r->section, "server") == 0;
}

static const char *
path_of(const option_row *r, char out[NAME_MAX_])
{
    snprintf(out, NAME_MAX_, "%s.%s", r->section, r->name);
    return out;
}

/* "storage-journal-mb" for separator '-', "STORAGE_JOURNAL_MB" for '_' */
static const char *
joined_of(const option_row *r, char separator, char out[NAME_MAX_])
{
    if (is_server(r))
        snprintf(out, NAME_MAX_, "%s", r->name);
    else
        snprintf(out, NAME_MAX_, "%s_%s", r->section, r->name);
    for (char *p = out; *p != '\0'; p++)
        *p = separator == '_' ? (char)toupper((unsigned char)*p) : *p == '_' ? separator : *p;
    return out;
}

static const char *
flag_of(const option_row *r, char out[NAME_MAX_])
{
    return joined_of(r, '-', out);
}

static const char *
variable_of(const option_row *r, char out[NAME_MAX_])
{
    char name[NAME_MAX_];

    snprintf(out, NAME_MAX_, "HALTLESS_%.50s", joined_of(r, '_', name));
    return out;
}

/* ---- values ---- */

static char **
str_at(const options *o, const option_row *r)
{
    return (char **)(uintptr_t)((const char *)o + r->offset);
}

static uint64_t *
u64_at(const options *o, const option_row *r)
{
    return (uint64_t *)(uintptr_t)((const char *)o + r->offset);
}

static bool *
bool_at(const options *o, const option_row *r)
{
    return (bool *)(uintptr_t)((const char *)o + r->offset);
}

static uint32_t *
enum_at(const options *o, const option_row *r)
{
    return (uint32_t *)(uintptr_t)((const char *)o + r->offset);
}

static char *
copy_of(const char *text)
{
    char *copy = strdup(text);

    ASSERT(copy != NULL);
    return copy;
}

static int
str_set(options *o, const option_row *r, const char *text)
{
    size_t len = strlen(text);

    if (len < r->min || len > r->max)
        return err(E_CONFIG, "must have %" PRIu64 " to %" PRIu64 " bytes", r->min, r->max);
    if (!utf8_is_valid(view_str(text)))
        return err(E_CONFIG, "is not UTF-8");
    free(*str_at(o, r));
    *str_at(o, r) = copy_of(text);
    return E_OK;
}

/* Digits and at most one of k, M, G: powers of 1024. */
static bool
u64_parse(const char *text, uint64_t *out)
{
    static const char suffixes[] = "kmg";
    const char       *p = text;
    uint64_t          v = 0;

    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return false;
    if (p == text)
        return false;
    if (*p != '\0') {
        const char *suffix = strchr(suffixes, tolower((unsigned char)*p));

        if (suffix == NULL || p[1] != '\0' ||
            __builtin_mul_overflow(v, (uint64_t)1 << (10 * (suffix - suffixes + 1)), &v))
            return false;
    }
    *out = v;
    return true;
}

static int
u64_set(options *o, const option_row *r, const char *text)
{
    uint64_t v;

    if (!u64_parse(text, &v))
        return err(E_CONFIG, "must be a whole number (64, 64k, 2M, 1G), not \"%s\"", text);
    if (v < r->min || v > r->max)
        return err(E_CONFIG, "must be %" PRIu64 " to %" PRIu64 ", not %s", r->min, r->max, text);
    *u64_at(o, r) = v;
    return E_OK;
}

/* 1, 0, or -1 */
static int
bool_parse(const char *text)
{
    static const char *const yes[] = { "true", "1", "yes", "on" }, *const no[] = { "false", "0",
                                                                                   "no", "off" };

    for (size_t i = 0; i < COUNT_OF(yes); i++) {
        if (strcmp(text, yes[i]) == 0)
            return 1;
        if (strcmp(text, no[i]) == 0)
            return 0;
    }
    return -1;
}

static int
bool_set(options *o, const option_row *r, const char *text)
{
    int v = bool_parse(text);

    if (v < 0)
        return err(E_CONFIG, "must be true or false, not \"%s\"", text);
    *bool_at(o, r) = v == 1;
    return E_OK; /* NOLINT(clang-analyzer-unix.Malloc): it believes that the offsets of rows overlap */
}

static const char *
words_list(const option_row *r, char out[NAME_MAX_])
{
    size_t n = 0;

    out[0] = '\0';
    for (const char *const *w = words_of(r); *w != NULL; w++)
        n += (size_t)snprintf(out + n, NAME_MAX_ - n, "%s%s", n > 0 ? ", " : "", *w);
    return out;
}

static int
enum_set(options *o, const option_row *r, const char *text)
{
    const char *const *words = words_of(r);
    char               list[NAME_MAX_];

    for (uint32_t i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0) {
            *enum_at(o, r) = i;
            return E_OK;
        }
    return err(E_CONFIG, "must be one of %s, not \"%s\"", words_list(r, list), text);
}

static int
value_set(options *o, const option_row *r, const char *text)
{
    switch (r->type) {
    case TYPE_STR:
        return str_set(o, r, text);
    case TYPE_U64:
        return u64_set(o, r, text);
    case TYPE_BOOL:
        return bool_set(o, r, text);
    default:
        return enum_set(o, r, text);
    }
}

static bool
value_same(const options *a, const options *b, const option_row *r)
{
    switch (r->type) {
    case TYPE_STR:
        return strcmp(*str_at(a, r), *str_at(b, r)) == 0;
    case TYPE_U64:
        return *u64_at(a, r) == *u64_at(b, r);
    case TYPE_BOOL:
        return *bool_at(a, r) == *bool_at(b, r);
    default:
        return *enum_at(a, r) == *enum_at(b, r);
    }
}

static void
value_copy(options *to, const options *from, const option_row *r)
{
    switch (r->type) {
    case TYPE_STR:
        free(*str_at(to, r));
        *str_at(to, r) = copy_of(*str_at(from, r));
        break;
    case TYPE_U64:
        *u64_at(to, r) = *u64_at(from, r);
        break;
    case TYPE_BOOL:
        *bool_at(to, r) = *bool_at(from, r);
        break;
    default:
        *enum_at(to, r) = *enum_at(from, r);
    }
}

static int
defaults_set(options *o)
{
    *o = (options){ 0 };
    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++) {
        char number[NAME_MAX_], path[NAME_MAX_];
        int  rc;

        snprintf(number, sizeof number, "%" PRIu64, r->number);
        rc = value_set(o, r, r->text != NULL ? r->text : number);
        if (rc < 0) {
            options_free(o);
            return err(rc, "default of %s", path_of(r, path));
        }
    }
    return E_OK;
}

/* ---- the file ---- */

typedef struct reading {
    options    *o;
    const char *file;
} reading;

static const option_row *
row_of_path(const char *path)
{
    char mine[NAME_MAX_];

    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++)
        if (strcmp(path_of(r, mine), path) == 0)
            return r;
    return NULL;
}

/* How many of the characters of a are, in order, in b: the unknown name's nearest known one shares
 * most. */
static size_t
shared_count(const char *a, const char *b)
{
    size_t n = 0;

    for (; *a != '\0'; a++) {
        const char *hit = strchr(b, *a);

        n += hit != NULL;
        b = hit != NULL ? hit + 1 : b;
    }
    return n;
}

static const char *
nearest_path(const char *path, char best[NAME_MAX_])
{
    size_t most = 0;

    best[0] = '\0';
    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++) {
        char   mine[NAME_MAX_];
        size_t n;

        path_of(r, mine);
        n = shared_count(path, mine) * 2;
        if (n > strlen(mine) && n - strlen(mine) > most) {
            most = n - strlen(mine);
            memcpy(best, mine, strlen(mine) + 1);
        }
    }
    return best;
}

static bool
toml_type_fits(const option_row *r, const toml_row *t)
{
    switch (r->type) {
    case TYPE_U64:
        return t->type == TOML_INTEGER || t->type == TOML_STRING;
    case TYPE_BOOL:
        return t->type == TOML_BOOLEAN;
    default:
        return t->type == TOML_STRING;
    }
}

static int
on_toml_row(void *ctx, const toml_row *t)
{
    static const char *const wants[] = { "text in quotes", "a whole number", "true or false",
                                         "a word in quotes" };
    reading                 *in = ctx;
    const option_row        *r = row_of_path(t->path);
    char                     best[NAME_MAX_], number[NAME_MAX_];
    const char              *text = t->text;
    int                      rc;

    if (r == NULL) {
        nearest_path(t->path, best);
        return err(E_CONFIG, "%s:%u: unknown setting %.100s%s%s%s", in->file, t->line, t->path,
                   best[0] != '\0' ? " (did you mean " : "", best, best[0] != '\0' ? "?)" : "");
    }
    if (!toml_type_fits(r, t))
        return err(E_CONFIG, "%s:%u: %s must be %s", in->file, t->line, t->path, wants[r->type]);
    if (t->type == TOML_INTEGER) { /* as written it may be hexadecimal */
        snprintf(number, sizeof number, "%" PRId64, t->integer);
        text = number;
    }
    rc = value_set(in->o, r, text);
    return rc < 0 ? err(rc, "%s:%u: %s", in->file, t->line, t->path) : E_OK;
}

static int
file_apply(options *o, const char *file)
{
    reading in = { o, file };
    char    problem[512] = "";
    int     rc;

    if (access(file, R_OK) != 0)
        return err_errno(errno, "read %s", file);
    rc = toml_read(file, on_toml_row, &in, problem, sizeof problem);
    return problem[0] != '\0' ? err(E_CONFIG, "%s: %s", file, problem) : rc;
}

/* ---- environment and flags ---- */

static int
environment_apply(options *o)
{
    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++) {
        char        name[NAME_MAX_];
        const char *text = getenv(variable_of(r, name));
        int         rc = text != NULL ? value_set(o, r, text) : E_OK;

        if (rc < 0)
            return err(rc, "variable %s", name);
    }
    return E_OK;
}

/* The row of "--flag" or "--flag=value". */
static const option_row *
row_of_flag(const char *word)
{
    size_t len = strcspn(word, "=");
    char   mine[NAME_MAX_];

    if (strncmp(word, "--", 2) != 0)
        return NULL;
    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++) {
        flag_of(r, mine);
        if (strlen(mine) == len - 2 && memcmp(mine, word + 2, len - 2) == 0)
            return r;
    }
    return NULL;
}

static int
flags_apply(options *o, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char       *word = argv[i], *text = strchr(word, '=');
        const option_row *r = row_of_flag(word);
        int               rc;

        if (r == NULL)
            return err(E_CONFIG, "unknown flag %.100s (--help lists them)", word);
        if (text != NULL)
            text++;
        else if (r->type == TYPE_BOOL && (i + 1 == argc || bool_parse(argv[i + 1]) < 0))
            text = "true";
        else if (i + 1 < argc)
            text = argv[++i];
        else
            return err(E_CONFIG, "flag %s: a value must follow", word);
        if ((rc = value_set(o, r, text)) < 0)
            return err(rc, "flag %.*s", (int)strcspn(word, "="), word);
    }
    return E_OK;
}

/* ---- the whole ---- */

int
options_load(options *o, const char *file, int argc, char **argv)
{
    int rc = defaults_set(o);

    if (rc == E_OK && file != NULL)
        rc = file_apply(o, file);
    if (rc == E_OK)
        rc = environment_apply(o);
    if (rc == E_OK)
        rc = flags_apply(o, argc, argv);
    if (rc < 0)
        options_free(o);
    return rc;
}

void
options_free(options *o)
{
    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++)
        if (r->type == TYPE_STR) {
            free(*str_at(o, r));
            *str_at(o, r) = NULL;
        }
}

int
options_save(const options *o, const char *path)
{
    int   fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    int   rc = E_OK;

    if (out == NULL) {
        rc = err_errno(errno, "create %s", path);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    options_dump(o, out);
    if (ferror(out) != 0)
        rc = err(E_IO, "write %s", path);
    if (fclose(out) != 0 && rc == E_OK)
        rc = err_errno(errno, "write %s", path);
    return rc;
}

int
options_read(options *o, const char *path)
{
    int rc = defaults_set(o);

    if (rc == E_OK)
        rc = file_apply(o, path);
    if (rc < 0)
        options_free(o);
    return rc;
}

int
options_reload(options *o, const options *fresh, char **ignored)
{
    char  *list = NULL;
    size_t len = 0;
    FILE  *out = open_memstream(&list, &len);

    if (out == NULL)
        return err_errno(errno, "reload");
    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++) {
        char path[NAME_MAX_];

        if (value_same(o, fresh, r))
            continue;
        if (r->reload)
            value_copy(o, fresh, r);
        else
            fprintf(out, "%s%s", ftell(out) > 0 ? ", " : "", path_of(r, path));
    }
    if (fclose(out) != 0) {
        free(list);
        return err(E_NOMEM, "reload");
    }
    *ignored = list;
    return E_OK;
}

/* ---- what people read ---- */

static void
quoted_print(const char *text, FILE *out)
{
    fputc('"', out);
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;

        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\u%04X", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void
value_print(const options *o, const option_row *r, FILE *out)
{
    switch (r->type) {
    case TYPE_STR:
        quoted_print(*str_at(o, r), out);
        break;
    case TYPE_U64:
        fprintf(out, "%" PRIu64, *u64_at(o, r));
        break;
    case TYPE_BOOL:
        fputs(*bool_at(o, r) ? "true" : "false", out);
        break;
    default:
        quoted_print(words_of(r)[*enum_at(o, r)], out);
    }
}

static void
section_print(const option_row *r, FILE *out)
{
    if (r == rows || strcmp(r[-1].section, r->section) != 0)
        fprintf(out, "%s[%s]\n", r == rows ? "" : "\n", r->section);
}

void
options_dump(const options *o, FILE *out)
{
    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++) {
        section_print(r, out);
        fprintf(out, "%s = ", r->name);
        value_print(o, r, out);
        fputc('\n', out);
    }
}

static void
default_print(const option_row *r, FILE *out)
{
    if (r->type == TYPE_BOOL)
        fputs(r->number != 0 ? "default true" : "default false", out);
    else if (r->type == TYPE_U64)
        fprintf(out, "default %" PRIu64 ", %" PRIu64 " to %" PRIu64, r->number, r->min, r->max);
    else if (r->text[0] == '\0')
        fputs("default empty", out);
    else
        fprintf(out, "default %s", r->text);
}

static const char *
value_name(const option_row *r)
{
    static const char *const names[] = { "TEXT", "N", "[BOOL]", "WORD" };

    return names[r->type];
}

void
options_help(FILE *out)
{
    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++) {
        char flag[NAME_MAX_], variable[NAME_MAX_], path[NAME_MAX_], words[NAME_MAX_];

        fprintf(out, "  --%s %s\n      %s\n      ", flag_of(r, flag), value_name(r), r->brief);
        default_print(r, out);
        if (r->type == TYPE_ENUM)
            fprintf(out, ", one of %s", words_list(r, words));
        fprintf(out, "; %s; %s in the file%s\n", variable_of(r, variable), path_of(r, path),
                r->reload ? "; SIGHUP applies it" : "");
    }
}

int
options_example(FILE *out)
{
    options o;
    int     rc = defaults_set(&o);

    if (rc < 0)
        return rc;
    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++) {
        char words[NAME_MAX_];

        section_print(r, out);
        fprintf(out, "# %s (", r->brief);
        default_print(r, out);
        if (r->type == TYPE_ENUM)
            fprintf(out, "; %s", words_list(r, words));
        fprintf(out, "%s)\n#%s = ", r->reload ? "; SIGHUP applies it" : "", r->name);
        value_print(&o, r, out);
        fputc('\n', out);
    }
    options_free(&o);
    return E_OK;
}

/* "-" would be a hyphen, a leading "." a command. */
static void
roff_print(const char *text, FILE *out)
{
    for (; *text != '\0'; text++)
        fprintf(out, *text == '-' || *text == '\\' ? "\\%c" : "%c", *text == '\\' ? 'e' : *text);
}

void
options_man(FILE *out)
{
    for (const option_row *r = rows; r < rows + COUNT_OF(rows); r++) {
        char flag[NAME_MAX_], variable[NAME_MAX_], words[NAME_MAX_];

        if (r == rows || strcmp(r[-1].section, r->section) != 0)
            fprintf(out, ".SS [%s]\n", r->section);
        fprintf(out, ".TP\n.BR %s \" (\\-\\-", r->name);
        roff_print(flag_of(r, flag), out);
        fprintf(out, ", %s)\"\n", variable_of(r, variable));
        roff_print(r->brief, out);
        fputs(" (", out);
        default_print(r, out);
        if (r->type == TYPE_ENUM)
            fprintf(out, "; one of %s", words_list(r, words));
        fputs(r->reload ? "; SIGHUP applies it).\n" : ").\n", out);
    }
}
