/* json.c - JSON text out of calls, and trees out of text.
 *
 * Reading: a strict scan of our own first (RFC 8259, UTF-8, bounds), because cJSON lets odd
 * numbers, raw control characters and broken UTF-8 through; what passes is then cJSON's.
 */
#include "proto/json.h"

#include "proto/crypto.h"
#include "proto/instant.h"
#include "proto/num.h"
#include "proto/pack.h"
#include "proto/utf8.h"

#include <emmintrin.h>
#include <math.h>
#include <stdlib.h>

enum {
    OUT_MAX = 64 << 20,
    ROOM_FIRST = 512,
    DEPTH_MAX = 32,
    NODES_MAX = 100000,
    NUMBER_MAX = 63, /* characters that cJSON reads */
};

/* ---- writing ---- */

void
json_out_free(json_out *j)
{
    free(j->at);
    j->at = NULL;
    j->len = j->room = 0;
}

void
json_reset(json_out *j)
{
    j->len = 0;
    j->comma = false;
    j->failed = false;
}

static __attribute__((noinline)) bool
grow_slowly(json_out *j, size_t more)
{
    size_t max = j->max != 0 ? j->max : OUT_MAX;
    size_t room = j->room != 0 ? j->room : ROOM_FIRST;
    char  *at;

    if (j->failed || more > max || j->len > max - more) {
        j->failed = true;
        return false;
    }
    if (j->len + more <= j->room)
        return true;
    while (room < j->len + more)
        room *= 2;
    at = realloc(j->at, room);
    if (at == NULL) {
        j->failed = true;
        return false;
    }
    j->at = at;
    j->room = room;
    return true;
}

/* True: `more` bytes fit behind what is there. */
static inline bool
grow(json_out *j, size_t more)
{
    size_t max = j->max != 0 ? j->max : OUT_MAX;

    return LIKELY(more <= j->room - j->len && j->len + more <= max && !j->failed) || grow_slowly(j, more);
}

static inline void
put(json_out *j, const void *bytes, size_t len)
{
    if (len == 0 || !grow(j, len))
        return;
    memcpy(j->at + j->len, bytes, len);
    j->len += len;
}

/* In front of every value: the comma that the one before it owes. */
static inline void
value_begins(json_out *j)
{
    if (j->comma)
        put(j, ",", 1);
    j->comma = true;
}

char *
json_value(json_out *j, size_t most)
{
    value_begins(j);
    return grow(j, most) ? j->at + j->len : NULL;
}

void
json_value_end(json_out *j, const char *end)
{
    j->len = (size_t)(end - j->at);
}

void
json_open(json_out *j, char bracket)
{
    value_begins(j);
    put(j, &bracket, 1);
    j->comma = false;
}

void
json_close(json_out *j, char bracket)
{
    put(j, &bracket, 1);
    j->comma = true;
}

static void
put_escaped(json_out *j, view s)
{
    static const char digits[] = "0123456789abcdef";
    char              hex[] = "\\u0000";

    switch (s.at[0]) {
    case '"':
        put(j, "\\\"", 2);
        break;
    case '\\':
        put(j, "\\\\", 2);
        break;
    case '\n':
        put(j, "\\n", 2);
        break;
    case '\r':
        put(j, "\\r", 2);
        break;
    case '\t':
        put(j, "\\t", 2);
        break;
    default:
        hex[4] = digits[s.at[0] >> 4];
        hex[5] = digits[s.at[0] & 15];
        put(j, hex, 6);
    }
}

/* Bytes at the start of s that go out as they are: ASCII without quotes, backslashes and controls. */
static inline size_t
plain_run(view s)
{
    size_t i = 0;

    for (; i + 16 <= s.len; i += 16) {
        __m128i  x = _mm_loadu_si128((const __m128i *)(const void *)(s.at + i));
        __m128i  quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
        __m128i  backslash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
        __m128i  other = _mm_cmplt_epi8(x, _mm_set1_epi8(' ')); /* above ASCII is negative */
        uint32_t stops = (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), other));

        if (stops != 0)
            return i + (size_t)__builtin_ctz(stops);
    }
    while (i < s.len && s.at[i] >= ' ' && s.at[i] < 0x80 && s.at[i] != '"' && s.at[i] != '\\')
        i++;
    return i;
}

static __attribute__((noinline)) void
put_quoted_slowly(json_out *j, view s)
{
    size_t from = 0; /* of what is not yet copied */

    put(j, "\"", 1);
    for (size_t i = 0, step; i < s.len; i += step) {
        uint8_t c = s.at[i];

        step = utf8_step(s.at + i, s.len - i);
        if (step != 0 && c >= 0x20 && c != '"' && c != '\\')
            continue;
        put(j, s.at + from, i - from);
        if (step == 0)
            put(j, "\xef\xbf\xbd", 3);
        else
            put_escaped(j, view_of(s.at + i, 1));
        step = 1;
        from = i + 1;
    }
    put(j, s.at + from, s.len - from);
    put(j, "\"", 1);
}

/* Nearly every string is plain and fits: one look, one copy. */
static inline void
put_quoted(json_out *j, view s)
{
    char *at;

    if (UNLIKELY(plain_run(s) != s.len) || !grow(j, s.len + 2)) {
        put_quoted_slowly(j, s);
        return;
    }
    at = j->at + j->len;
    at[0] = '"';
    if (s.len > 0)
        memcpy(at + 1, s.at, s.len);
    at[s.len + 1] = '"';
    j->len += s.len + 2;
}

void
json_name(json_out *j, view name)
{
    value_begins(j);
    put_quoted(j, name);
    put(j, ":", 1);
    j->comma = false;
}

void
json_string(json_out *j, view s)
{
    value_begins(j);
    put_quoted(j, s);
}

void
json_number(json_out *j, double v)
{
    char text[NUM_TEXT_MAX];

    value_begins(j);
    if (isfinite(v))
        put(j, text, num_format(v, text));
    else
        put(j, "null", 4);
}

void
json_int(json_out *j, int64_t v)
{
    char text[NUM_TEXT_MAX];

    value_begins(j);
    put(j, text, num_format_i64(v, text));
}

void
json_uint(json_out *j, uint64_t v)
{
    char text[NUM_TEXT_MAX];

    value_begins(j);
    put(j, text, num_format_u64(v, text));
}

void
json_bool(json_out *j, bool v)
{
    value_begins(j);
    put(j, v ? "true" : "false", v ? 4 : 5);
}

void
json_null(json_out *j)
{
    value_begins(j);
    put(j, "null", 4);
}

void
json_time(json_out *j, int64_t us)
{
    char text[INSTANT_TEXT_MAX];

    if (us == INT64_MIN)
        json_null(j);
    else
        json_string(j, view_of(text, instant_format(us, text)));
}

void
json_uuid(json_out *j, const uuid *u)
{
    char text[UUID_TEXT_LEN];

    uuid_format(u, text);
    json_string(j, view_of(text, sizeof text));
}

void
json_raw(json_out *j, view text)
{
    value_begins(j);
    put(j, text.at, text.len);
}

/* Of names that stand in the source: nothing in them is to be escaped. */
static void
put_plain_name(json_out *j, const char *name)
{
    size_t len = strlen(name);
    char  *at;

    if (!grow(j, len + 4))
        return;
    at = j->at + j->len;
    if (j->comma)
        *at++ = ',';
    *at++ = '"';
    memcpy(at, name, len);
    at += len;
    *at++ = '"';
    *at++ = ':';
    j->len = (size_t)(at - j->at);
    j->comma = false;
}

void
json_name_string(json_out *j, const char *name, view s)
{
    put_plain_name(j, name);
    json_string(j, s);
}

void
json_name_number(json_out *j, const char *name, double v)
{
    put_plain_name(j, name);
    json_number(j, v);
}

void
json_name_int(json_out *j, const char *name, int64_t v)
{
    put_plain_name(j, name);
    json_int(j, v);
}

void
json_name_bool(json_out *j, const char *name, bool v)
{
    put_plain_name(j, name);
    json_bool(j, v);
}

void
json_name_null(json_out *j, const char *name)
{
    put_plain_name(j, name);
    json_null(j);
}

void
json_name_time(json_out *j, const char *name, int64_t us)
{
    put_plain_name(j, name);
    json_time(j, us);
}

void
json_name_uuid(json_out *j, const char *name, const uuid *u)
{
    put_plain_name(j, name);
    json_uuid(j, u);
}

/* ---- MessagePack to JSON: as deep as pack_open() lets through ---- */

static bool object_write(json_out *j, const msgpack_object *o);

static bool
map_write(json_out *j, const msgpack_object_map *map)
{
    json_open(j, '{');
    for (uint32_t i = 0; i < map->size; i++) {
        const msgpack_object *key = &map->ptr[i].key;

        if (key->type != MSGPACK_OBJECT_STR)
            return false;
        json_name(j, view_of(key->via.str.ptr, key->via.str.size));
        if (!object_write(j, &map->ptr[i].val))
            return false;
    }
    json_close(j, '}');
    return true;
}

static bool
array_write(json_out *j, const msgpack_object_array *array)
{
    json_open(j, '[');
    for (uint32_t i = 0; i < array->size; i++)
        if (!object_write(j, &array->ptr[i]))
            return false;
    json_close(j, ']');
    return true;
}

static bool
object_write(json_out *j, const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        json_null(j);
        return true;
    case MSGPACK_OBJECT_BOOLEAN:
        json_bool(j, o->via.boolean);
        return true;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        json_uint(j, o->via.u64);
        return true;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        json_int(j, o->via.i64);
        return true;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        json_number(j, o->via.f64);
        return true;
    case MSGPACK_OBJECT_STR:
        json_string(j, view_of(o->via.str.ptr, o->via.str.size));
        return true;
    case MSGPACK_OBJECT_ARRAY:
        return array_write(j, &o->via.array);
    case MSGPACK_OBJECT_MAP:
        return map_write(j, &o->via.map);
    default: /* bin, ext: no such thing in JSON */
        return false;
    }
}

bool
json_from_pack(json_out *j, view packed)
{
    pack_doc d;
    bool     ok;

    if (pack_open(&d, packed) < 0)
        return false;
    ok = object_write(j, pack_root(&d));
    pack_doc_close(&d);
    return ok;
}

/* ---- the strict scan ---- */

typedef struct scan {
    const uint8_t *p;
    const uint8_t *end;
    uint32_t       nodes;
} scan;

static void
skip_space(scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

static bool
scan_char(scan *s, uint8_t c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* Four hexadecimal digits; -1: not that. */
static int
scan_hex4(scan *s)
{
    int v = 0;

    if (s->end - s->p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *s->p++;

        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = v << 4 | ((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* Behind a backslash.  \u0000 and halves of surrogate pairs are refused: cJSON's strings end at
 * NUL. */
static bool
scan_escape(scan *s)
{
    int unit;

    if (s->p == s->end)
        return false;
    if (*s->p != 'u')
        return strchr("\"\\/bfnrt", *s->p) != NULL && *s->p++ != 0;
    s->p++;
    unit = scan_hex4(s);
    if (unit <= 0 || (unit >= 0xdc00 && unit <= 0xdfff))
        return false;
    if (unit < 0xd800 || unit > 0xdbff)
        return true;
    if (!scan_char(s, '\\') || !scan_char(s, 'u'))
        return false;
    unit = scan_hex4(s);
    return unit >= 0xdc00 && unit <= 0xdfff;
}

static bool
scan_string(scan *s)
{
    if (!scan_char(s, '"'))
        return false;
    while (s->p < s->end) {
        size_t  step = utf8_step(s->p, (size_t)(s->end - s->p));
        uint8_t c = *s->p;

        if (step == 0 || c < 0x20)
            return false;
        s->p += step;
        if (c == '"')
            return true;
        if (c == '\\' && !scan_escape(s))
            return false;
    }
    return false;
}

static size_t
scan_digits(scan *s)
{
    const uint8_t *from = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return (size_t)(s->p - from);
}

static bool
scan_number(scan *s)
{
    const uint8_t *from = s->p;

    scan_char(s, '-');
    if (!scan_char(s, '0') && scan_digits(s) == 0)
        return false;
    if (scan_char(s, '.') && scan_digits(s) == 0)
        return false;
    if (scan_char(s, 'e') || scan_char(s, 'E')) {
        if (!scan_char(s, '+'))
            scan_char(s, '-');
        if (scan_digits(s) == 0)
            return false;
    }
    return s->p - from <= NUMBER_MAX;
}

static bool
scan_word(scan *s, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(s->end - s->p) < len || memcmp(s->p, word, len) != 0)
        return false;
    s->p += len;
    return true;
}

static bool
scan_leaf(scan *s)
{
    switch (s->p < s->end ? *s->p : 0) {
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        return scan_number(s);
    }
}

/* `"name" :` in front of a member; nothing in an array. */
static bool
scan_label(scan *s, char bracket)
{
    if (bracket != '{')
        return true;
    skip_space(s);
    if (!scan_string(s))
        return false;
    skip_space(s);
    return scan_char(s, ':');
}

/* Behind a value: closes what ends here.  True: the next value comes; or depth is 0 and the text is
 * done. */
static bool
scan_closings(scan *s, const char *brackets, unsigned *depth)
{
    while (*depth > 0) {
        skip_space(s);
        if (scan_char(s, ','))
            return scan_label(s, brackets[*depth - 1]);
        if (!scan_char(s, brackets[*depth - 1] == '{' ? '}' : ']'))
            return false;
        --*depth;
    }
    return true;
}

/* Opens containers down to a value.  *empty: it ended with {} or []. */
static bool
scan_openings(scan *s, char *brackets, unsigned *depth, bool *empty)
{
    *empty = false;
    for (;;) {
        skip_space(s);
        if (++s->nodes > NODES_MAX)
            return false;
        if (s->p == s->end || (*s->p != '{' && *s->p != '['))
            return scan_leaf(s);
        if (*depth == DEPTH_MAX)
            return false;
        brackets[*depth] = (char)*s->p++;
        skip_space(s);
        if (scan_char(s, brackets[*depth] == '{' ? '}' : ']')) {
            *empty = true;
            return true;
        }
        if (!scan_label(s, brackets[(*depth)++]))
            return false;
    }
}

bool
json_is_valid(view text)
{
    scan     s = { text.at, text.at + text.len, 0 };
    char     brackets[DEPTH_MAX];
    unsigned depth = 0;

    do {
        bool empty;

        if (!scan_openings(&s, brackets, &depth, &empty) || !scan_closings(&s, brackets, &depth))
            return false;
    } while (depth > 0);
    skip_space(&s);
    return s.p == s.end;
}

cJSON *
json_parse(view text)
{
    const char *end = NULL;
    cJSON      *tree;

    if (text.len == 0 || !json_is_valid(text))
        return NULL;
    tree = cJSON_ParseWithLengthOpts((const char *)text.at, text.len, &end, false);
    if (tree == NULL)
        return NULL;
    for (const char *p = end; p < (const char *)text.at + text.len; p++)
        if (strchr(" \t\r\n", *p) == NULL) { /* the two disagree: refuse */
            cJSON_Delete(tree);
            return NULL;
        }
    return tree;
}
