/* log.c - one line an event, one write(2) a line: lines of threads and processes do not mix.
 *
 *   logfmt  ts=2026-01-01T00:00:00.000Z level=info event=lane.reset actor=ingest.0 lane=3 why="a b"
 *   json {"ts":"2026-...","level":"info","event":"lane.reset","actor":"ingest.0","lane":3,"why":"a
 * b"}
 *
 * The JSON form is made from the key=value text, so that callers format once.  A word without '='
 * belongs to the value before it.  Control characters never reach the sink: no line can be forged.
 */
#include "proto/log.h"

#include "proto/instant.h"
#include "proto/json.h"
#include "proto/num.h"
#include "proto/utf8.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 2048, QUOTE_MAX = 500, QUOTE_RING = 8, ESCAPE_MAX = 6 };

static _Atomic int               level_now = LOG_INFO;
static _Atomic int               format_now = LOG_LOGFMT;
static _Thread_local const char *actor;
static _Atomic(log_fault_fn *)   faults_fn;
static _Atomic(void *)           faults_ctx;

static const char *const level_words[] = { "error", "warn", "info", "debug" };

void
log_setup(enum log_level level, enum log_format format)
{
    atomic_store(&level_now, (int)level);
    atomic_store(&format_now, (int)format);
}

void
log_actor(const char *name)
{
    actor = name;
}

void
log_faults(log_fault_fn *fn, void *ctx)
{
    atomic_store(&faults_fn, NULL);
    atomic_store(&faults_ctx, ctx);
    atomic_store(&faults_fn, fn);
}

bool
log_wants(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&level_now, memory_order_relaxed);
}

/* One escaped character of s at out; returns how many bytes of s it took. */
static size_t
escape(view s, char out[ESCAPE_MAX + 1])
{
    static const char plain[] = "\"\\\n\r\t", letter[] = "\"\\nrt";
    size_t            step = utf8_step(s.at, s.len);
    const char       *known = s.at[0] != 0 ? strchr(plain, s.at[0]) : NULL;

    if (known != NULL)
        snprintf(out, ESCAPE_MAX + 1, "\\%c", letter[known - plain]);
    else if (step == 0)
        snprintf(out, ESCAPE_MAX + 1, "\xef\xbf\xbd");
    else if (s.at[0] < 0x20 || s.at[0] == 0x7f)
        snprintf(out, ESCAPE_MAX + 1, "\\u%04x", s.at[0]);
    else
        snprintf(out, ESCAPE_MAX + 1, "%.*s", (int)step, (const char *)s.at);
    return step == 0 ? 1 : step;
}

const char *
log_quote(view s)
{
    static _Thread_local char     ring[QUOTE_RING][QUOTE_MAX + ESCAPE_MAX + 8];
    static _Thread_local unsigned turn;
    char                         *out = ring[turn++ % QUOTE_RING];
    size_t                        len = 1;

    out[0] = '"';
    for (size_t i = 0; i < s.len;) {
        char one[ESCAPE_MAX + 1];

        if (len > QUOTE_MAX) {
            memcpy(out + len, "...", 3);
            len += 3;
            break;
        }
        i += escape(view_of(s.at + i, s.len - i), one);
        memcpy(out + len, one, strlen(one));
        len += strlen(one);
    }
    out[len] = '"';
    out[len + 1] = '\0';
    return out;
}

/* ---- key=value text to JSON ---- */

/* The end of the value at p: of its quotes, or before the next " key=". */
static const char *
value_end(const char *p)
{
    if (*p == '"') {
        for (p++; *p != '\0' && *p != '"'; p++)
            p += p[0] == '\\' && p[1] != '\0';
        return *p == '"' ? p + 1 : p;
    }
    for (;;) {
        const char *word;

        p += strcspn(p, " ");
        word = p + strspn(p, " ");
        if (*word == '\0' || word[strcspn(word, " =")] == '=')
            return p;
        p = word;
    }
}

/* Is it JSON as it stands?  log_quote() escapes as JSON does. */
static bool
is_json(view v)
{
    double number;

    if (v.len == 0)
        return false;
    return (v.len >= 2 && v.at[0] == '"' && json_is_valid(v)) || num_parse(v, &number) == v.len ||
           view_eq(v, VIEW_LIT("true")) || view_eq(v, VIEW_LIT("false"));
}

static void
value_write(json_out *j, const char *at, size_t len)
{
    view v = view_of(at, len);

    if (is_json(v))
        json_raw(j, v);
    else
        json_string(j, v);
}

static void
pairs_write(json_out *j, const char *p)
{
    for (p += strspn(p, " "); *p != '\0'; p += strspn(p, " ")) {
        size_t      name = strcspn(p, " =");
        const char *value = p[name] == '=' ? p + name + 1 : p;
        const char *end = value_end(value);

        json_name(j, value == p ? VIEW_LIT("text") : view_of(p, name));
        value_write(j, value, (size_t)(end - value));
        p = end;
    }
}

static size_t
line_json(char out[TEXT_MAX], const char *head, const char *text)
{
    json_out j = { .max = TEXT_MAX - 2 };
    size_t   len = 0;

    json_open(&j, '{');
    pairs_write(&j, head);
    pairs_write(&j, text);
    json_close(&j, '}');
    if (!j.failed) {
        memcpy(out, j.at, j.len);
        len = j.len;
    }
    json_out_free(&j);
    return len;
}

static int64_t
now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000000 * 1000;
}

static void
head_write(char *out, size_t room, enum log_level level, const char *event)
{
    char   when[INSTANT_TEXT_MAX];
    size_t n = instant_format(now_us(), when);

    snprintf(out, room, "ts=%.*s level=%s event=%s%s%s", (int)n, when, level_words[level], event,
             actor != NULL ? " actor=" : "", actor != NULL ? actor : "");
}

static void
write_line(enum log_level level, const char *event, const char *text)
{
    char   head[256], line[TEXT_MAX];
    size_t len = 0;

    head_write(head, sizeof head, level, event);
    if (atomic_load(&format_now) == LOG_JSON)
        len = line_json(line, head, text);
    if (len == 0) /* logfmt, or a line whose JSON form is over the bound */
        len = (size_t)snprintf(line, sizeof line - 1, "%s %s", head, text);
    line[len++] = '\n';
    ssize_t n = write(STDERR_FILENO, line, len); /* nowhere to report a failure to */
    (void)n;
}

/* "../actors/ak.c:12", as the compiler was called, is actors/ak.c:12. */
static void
tell(enum log_level level, const char *place, const char *event, const char *text)
{
    log_fault_fn *fn = atomic_load(&faults_fn);

    while (strncmp(place, "../", 3) == 0)
        place += 3;
    if (fn != NULL && level <= LOG_WARN)
        fn(atomic_load(&faults_ctx), level, place, event, actor, text);
}

void
log_line(enum log_level level, const char *place, const char *event, const char *fmt, ...)
{
    char    text[TEXT_MAX - 256 - 2];
    va_list ap;

    if (!log_wants(level) && level > LOG_WARN)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p != '\0'; p++)
        if ((uint8_t)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    tell(level, place, event, text);
    if (log_wants(level))
        write_line(level, event, text);
}
