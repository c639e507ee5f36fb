/* schema.c - one walk over a body by its rows; every fault becomes an item of the 422 answer.
 *
 *   {"loc":["body","conditions",2,"operator"],"msg":"Must be one of: gt, gte","type":"value_error"}
 *
 * The place is a list of frames on the C stack, written out only for a fault.  The walk is as deep
 * as the rows are; faults over a bound are counted, not written.
 */
#include "proto/schema.h"

#include "proto/crypto.h"
#include "proto/instant.h"
#include "proto/num.h"
#include "proto/utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FAULTS_MAX = 100,
    QUERY_VALUES_MAX = 10000,
    EMAIL_MAX = 254,
    EMAIL_LOCAL_MAX = 64,
    LABEL_MAX = 63
};

typedef struct place {
    const struct place *up;
    const char         *name; /* NULL: index */
    uint32_t            index;
} place;

typedef struct walk {
    json_out *faults;
    uint32_t  count;
} walk;

static void
place_write(json_out *j, const place *at)
{
    if (at->up != NULL)
        place_write(j, at->up);
    if (at->name != NULL)
        json_string(j, view_str(at->name));
    else
        json_uint(j, at->index);
}

static void
fault(walk *w, const place *at, const char *type, const char *fmt, ...)
{
    char    msg[512];
    va_list ap;

    if (w->count++ >= FAULTS_MAX)
        return;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    json_open(w->faults, '{');
    json_name(w->faults, VIEW_LIT("loc"));
    json_open(w->faults, '[');
    place_write(w->faults, at);
    json_close(w->faults, ']');
    json_name_string(w->faults, "msg", view_str(msg));
    json_name_string(w->faults, "type", view_str(type));
    json_close(w->faults, '}');
}

/* ---- what each type wants to be in JSON ---- */

static bool
any_is(const cJSON *v)
{
    return v != NULL;
}

static bool
string_is(const cJSON *v)
{
    return cJSON_IsString(v);
}

static bool
number_is(const cJSON *v)
{
    return cJSON_IsNumber(v);
}

static bool
integer_is(const cJSON *v)
{
    return cJSON_IsNumber(v) && v->valuedouble == trunc(v->valuedouble) &&
           fabs(v->valuedouble) <= 9007199254740992.0;
}

static bool
boolean_is(const cJSON *v)
{
    return cJSON_IsBool(v);
}

static bool
array_is(const cJSON *v)
{
    return cJSON_IsArray(v);
}

static bool
object_is(const cJSON *v)
{
    return cJSON_IsObject(v);
}

/* ---- what each type wants of the value ---- */

typedef void check_fn(walk *w, const place *at, const field *f, const cJSON *v);

static void
range_check(walk *w, const place *at, const field *f, uint64_t n, const char *what)
{
    if (f->max > 0 && f->min > 0 && ((double)n < f->min || (double)n > f->max))
        fault(w, at, "value_error", "Must have %.0f to %.0f %s", f->min, f->max, what);
    else if (f->max > 0 && (double)n > f->max)
        fault(w, at, "value_error", "Must have at most %.0f %s", f->max, what);
    else if ((double)n < f->min)
        fault(w, at, "value_error", "Must have at least %.0f %s", f->min, what);
}

static void
string_check(walk *w, const place *at, const field *f, const cJSON *v)
{
    range_check(w, at, f, utf8_count(view_str(v->valuestring)), "characters");
}

static void
number_check(walk *w, const place *at, const field *f, const cJSON *v)
{
    char low[NUM_TEXT_MAX], high[NUM_TEXT_MAX];

    if (!isfinite(v->valuedouble))
        fault(w, at, "value_error", "Must be finite");
    else if (f->min < f->max && (v->valuedouble < f->min || v->valuedouble > f->max))
        fault(w, at, "value_error", "Must be between %.*s and %.*s", (int)num_format(f->min, low),
              low, (int)num_format(f->max, high), high);
}

static void
uuid_check(walk *w, const place *at, const field *f, const cJSON *v)
{
    uuid ignored;

    (void)f;
    if (!uuid_parse(view_str(v->valuestring), &ignored))
        fault(w, at, "value_error", "Must be a UUID");
}

static void
time_check(walk *w, const place *at, const field *f, const cJSON *v)
{
    int64_t ignored;

    (void)f;
    if (!instant_parse(view_str(v->valuestring), &ignored))
        fault(w, at, "value_error", "Must be an RFC 3339 date and time");
}

/* Letters, digits, '-' inside, anything beyond ASCII; 1 to 63 bytes. */
static bool
label_is_sound(view label)
{
    if (label.len == 0 || label.len > LABEL_MAX || label.at[0] == '-' ||
        label.at[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++) {
        uint8_t c = label.at[i], low = c | 0x20;

        if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c < 0x80)
            return false;
    }
    return true;
}

/* At least two labels. */
static bool
domain_is_sound(view domain)
{
    size_t from = 0, labels = 0;

    for (size_t i = 0; i <= domain.len; i++) {
        if (i < domain.len && domain.at[i] != '.')
            continue;
        if (!label_is_sound(view_of(domain.at + from, i - from)))
            return false;
        labels++;
        from = i + 1;
    }
    return labels >= 2;
}

/* A dot-atom of RFC 5322, or beyond ASCII; no quoted forms. */
static bool
local_is_sound(view local)
{
    if (local.len == 0 || local.len > EMAIL_LOCAL_MAX || local.at[0] == '.' ||
        local.at[local.len - 1] == '.')
        return false;
    for (size_t i = 0; i < local.len; i++) {
        uint8_t c = local.at[i];

        if (c <= 0x20 || c == 0x7f || strchr("\"(),:;<>@[\\]", c) != NULL ||
            (c == '.' && local.at[i - 1] == '.'))
            return false;
    }
    return true;
}

static bool
email_is_sound(view s)
{
    const uint8_t *at = memchr(s.at, '@', s.len);

    if (at == NULL || s.len > EMAIL_MAX)
        return false;
    size_t local = (size_t)(at - s.at);
    return local_is_sound(view_of(s.at, local)) &&
           domain_is_sound(view_of(at + 1, s.len - local - 1));
}

static void
email_check(walk *w, const place *at, const field *f, const cJSON *v)
{
    (void)f;
    if (!email_is_sound(view_str(v->valuestring)))
        fault(w, at, "value_error", "Must be a valid e-mail address");
}

static void
enum_check(walk *w, const place *at, const field *f, const cJSON *v)
{
    char   list[256];
    size_t wanted = strlen(v->valuestring), n = 0;

    ASSERT(f->words != NULL);
    for (const char *p = f->words; *p != '\0';) {
        size_t len = strcspn(p, "|");

        if (len == wanted && memcmp(p, v->valuestring, len) == 0)
            return;
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%.*s", p == f->words ? "" : ", ",
                              (int)len, p);
        n = min_u64(n, sizeof list - 1);
        p += len + (p[len] == '|');
    }
    fault(w, at, "value_error", "Must be one of: %s", list);
}

static void check_value(walk *w, const place *at, const field *f, const cJSON *v);
static void check_members(walk *w, const place *at, const field *rows, const cJSON *object);

static void
array_check(walk *w, const place *at, const field *f, const cJSON *v)
{
    uint32_t     i = 0;
    const cJSON *item;

    range_check(w, at, f, (uint64_t)cJSON_GetArraySize(v), "items");
    if (f->of == NULL)
        return;
    cJSON_ArrayForEach(item, v)
    {
        const place here = { at, NULL, i++ };

        check_value(w, &here, f->of, item);
    }
}

static void
object_check(walk *w, const place *at, const field *f, const cJSON *v)
{
    if (f->of != NULL)
        check_members(w, at, f->of, v);
}

/* ---- the table ---- */

typedef struct type_row {
    bool (*is)(const cJSON *v);
    const char *fault_type;
    const char *msg;
    check_fn   *check; /* NULL: the type is all */
} type_row;

static const type_row types[] = {
    [FIELD_STRING] = { string_is, "string_type", "Must be a string", string_check },
    [FIELD_NUMBER] = { number_is, "number_type", "Must be a number", number_check },
    [FIELD_INTEGER] = { integer_is, "integer_type", "Must be an integer", number_check },
    [FIELD_BOOLEAN] = { boolean_is, "boolean_type", "Must be true or false", NULL },
    [FIELD_UUID] = { string_is, "string_type", "Must be a string", uuid_check },
    [FIELD_TIME] = { string_is, "string_type", "Must be a string", time_check },
    [FIELD_EMAIL] = { string_is, "string_type", "Must be a string", email_check },
    [FIELD_ENUM] = { string_is, "string_type", "Must be a string", enum_check },
    [FIELD_ARRAY] = { array_is, "array_type", "Must be an array", array_check },
    [FIELD_OBJECT] = { object_is, "object_type", "Must be an object", object_check },
    [FIELD_ANY] = { any_is, "value_error", "Must be there", NULL },
};

static void
check_value(walk *w, const place *at, const field *f, const cJSON *v)
{
    const type_row *t = &types[f->type];

    ASSERT(f->type != FIELD_END && f->type < COUNT_OF(types));
    if (cJSON_IsNull(v) && (f->flags & FIELD_NULL) != 0)
        return;
    if (!t->is(v))
        fault(w, at, t->fault_type, "%s", t->msg);
    else if (t->check != NULL)
        t->check(w, at, f, v);
}

static void
check_members(walk *w, const place *at, const field *rows, const cJSON *object)
{
    for (const field *f = rows; f->type != FIELD_END; f++) {
        const place  here = { at, f->name, 0 };
        const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, f->name);

        if (v != NULL)
            check_value(w, &here, f, v);
        else if ((f->flags & FIELD_REQUIRED) != 0)
            fault(w, &here, "missing", "Field required");
    }
}

uint32_t
schema_check(const schema *s, const cJSON *body, json_out *faults)
{
    const place root = { NULL, "body", 0 };
    walk        w = { faults, 0 };

    if (!cJSON_IsObject(body))
        fault(&w, &root, "object_type", "Must be an object");
    else
        check_members(&w, &root, s->fields, body);
    return w.count;
}

/* ---- query strings ---- */

static int
hex_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The text behind the percent encoding, NUL-terminated, on the heap; NULL when malformed, not UTF-8
 * or with a NUL inside.  In a time '+' is an offset's sign, though a form would mean a space. */
static char *
percent_decode(view in, bool plus_is_space)
{
    char  *out = malloc(in.len + 1);
    size_t n = 0;

    ASSERT(out != NULL);
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.at[i];

        if (c == '%') {
            int high = i + 2 < in.len ? hex_of(in.at[i + 1]) : -1;
            int low = i + 2 < in.len ? hex_of(in.at[i + 2]) : -1;

            if (high < 0 || low < 0)
                goto bad;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space)
            c = ' ';
        if (c == 0)
            goto bad;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    if (utf8_is_valid(view_of(out, n)))
        return out;
bad:
    free(out);
    return NULL;
}

/* What the row's type makes of a text; the text itself where it makes nothing: the check then says
 * so. */
static cJSON *
query_value(const field *f, const char *text)
{
    double number;

    switch (f->type) {
    case FIELD_INTEGER: /* 1e3 and 5.0 are integers in JSON, not in a query */
        if (text[strspn(text, "-0123456789")] != '\0')
            break;
        __attribute__((fallthrough));
    case FIELD_NUMBER:
        if (text[0] != '\0' && num_parse(view_str(text), &number) == strlen(text))
            return cJSON_CreateNumber(number);
        break;
    case FIELD_BOOLEAN:
        if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
            return cJSON_CreateTrue();
        if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
            return cJSON_CreateFalse();
        break;
    default:
        break;
    }
    return cJSON_CreateString(text);
}

static cJSON *
query_item(const field *f, view raw)
{
    char  *text = percent_decode(raw, f->type != FIELD_TIME);
    cJSON *v = text != NULL ? query_value(f, text) : NULL;

    free(text);
    return v;
}

static view
take_until(view *s, uint8_t stop)
{
    const uint8_t *end = s->len > 0 ? memchr(s->at, stop, s->len) : NULL;
    size_t         len = end != NULL ? (size_t)(end - s->at) : s->len;
    view           head = view_of(s->at, len);
    size_t         gone = len + (end != NULL);

    *s = view_of(s->at + gone, s->len - gone);
    return head;
}

/* Comma-separated, commas first and percent signs then: an encoded comma is part of a value. */
static bool
query_array(cJSON *object, const field *f, view raw, uint32_t *values)
{
    cJSON *array = cJSON_GetObjectItemCaseSensitive(object, f->name);
    bool   more = true;

    if (array == NULL)
        array = cJSON_AddArrayToObject(object, f->name);
    ASSERT(array != NULL && f->of != NULL);
    while (more) {
        const uint8_t *comma = raw.len > 0 ? memchr(raw.at, ',', raw.len) : NULL;
        cJSON         *item = query_item(f->of, take_until(&raw, ','));

        more = comma != NULL;
        if (item == NULL || ++*values > QUERY_VALUES_MAX) {
            cJSON_Delete(item);
            return false;
        }
        cJSON_AddItemToArray(array, item);
    }
    return true;
}

static const field *
row_of(const schema *s, const char *name)
{
    for (const field *f = s->fields; f->type != FIELD_END; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

/* One name=value.  Of repeats the last one counts. */
static bool
query_pair(cJSON *object, const schema *s, view pair, uint32_t *values)
{
    view         raw_name = take_until(&pair, '=');
    char        *name = percent_decode(raw_name, true);
    const field *f = name != NULL ? row_of(s, name) : NULL;
    bool         ok = name != NULL;

    free(name);
    if (f == NULL)
        return ok;
    if (f->type == FIELD_ARRAY)
        return query_array(object, f, pair, values);
    cJSON *item = query_item(f, pair);
    if (item == NULL)
        return false;
    cJSON_DeleteItemFromObjectCaseSensitive(object, f->name);
    cJSON_AddItemToObject(object, f->name, item);
    return true;
}

cJSON *
schema_query(const schema *s, view query_string, json_out *faults, uint32_t *fault_count)
{
    const place root = { NULL, "query", 0 };
    walk        w = { faults, 0 };
    cJSON      *object = cJSON_CreateObject();
    uint32_t    values = 0;

    ASSERT(object != NULL);
    while (query_string.len > 0) {
        view pair = take_until(&query_string, '&');

        if (pair.len > 0 && !query_pair(object, s, pair, &values)) {
            cJSON_Delete(object);
            return NULL;
        }
    }
    check_members(&w, &root, s->fields, object);
    *fault_count = w.count;
    return object;
}
