/* readings_msgpack.c - {"readings":[...]} as MessagePack.
 *
 * A cursor of its own: every length is compared with what is left of the body before it is
 * believed, nothing is allocated.  Values that nobody asked for are walked over with one counter of
 * what is still to come instead of a stack, so nesting costs nothing and time is linear in the
 * body.  A reading that ends within a window is decoded in one go; what is longer, or stands around the readings, is
 * walked over in bounded steps by a machine whose state stands in the decoder, with the same result.
 *
 *   81 a8 "readings" dc 03e8  85 b2 "machine_identifier" a7 "CNC-001" ...
 *   map  str          array    map
 */
#include "proto/instant.h"
#include "proto/readings.h"
#include "proto/readings_fields.h"

enum { INSIDE, ENDED, BROKEN, MISFIT };
enum { TIMESTAMP_EXTENSION = -1 };

typedef const uint8_t *place;

/* clang-format off */
enum type {
    T_NIL, T_BOOL, T_INT, T_UINT, T_FLOAT, T_DOUBLE, T_STR, T_BIN, T_EXT, T_ARRAY, T_MAP, T_NONE,
};
/* clang-format on */

/* One value's head: what it is, and its bytes or its number of items. */
typedef struct token {
    enum type type;
    uint64_t  n;    /* the number's bits, the length in bytes, or the items (of a map: pairs) */
    place     at;   /* str, bin, ext: the bytes */
    int8_t    ext;  /* the extension's type */
} token;

/* Types 0xc0 to 0xdf: which, and how many bytes the number behind the first byte has. */
static const struct {
    uint8_t type;
    uint8_t bytes;
    uint8_t fixed; /* ext: the length that is not written */
} heads[32] = {
    { T_NIL, 0, 0 },   { T_NONE, 0, 0 },  { T_BOOL, 0, 0 },   { T_BOOL, 0, 0 }, /* c0 */
    { T_BIN, 1, 0 },   { T_BIN, 2, 0 },   { T_BIN, 4, 0 },    { T_EXT, 1, 0 },  /* c4 */
    { T_EXT, 2, 0 },   { T_EXT, 4, 0 },   { T_FLOAT, 4, 0 },  { T_DOUBLE, 8, 0 }, /* c8 */
    { T_UINT, 1, 0 },  { T_UINT, 2, 0 },  { T_UINT, 4, 0 },   { T_UINT, 8, 0 }, /* cc */
    { T_INT, 1, 0 },   { T_INT, 2, 0 },   { T_INT, 4, 0 },    { T_INT, 8, 0 },  /* d0 */
    { T_EXT, 0, 1 },   { T_EXT, 0, 2 },   { T_EXT, 0, 4 },    { T_EXT, 0, 8 },  /* d4 */
    { T_EXT, 0, 16 },  { T_STR, 1, 0 },   { T_STR, 2, 0 },    { T_STR, 4, 0 },  /* d8 */
    { T_ARRAY, 2, 0 }, { T_ARRAY, 4, 0 }, { T_MAP, 2, 0 },    { T_MAP, 4, 0 },  /* dc */
};

static inline uint64_t
big_endian(place p, uint32_t bytes)
{
    uint64_t v = 0;

    for (uint32_t i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

/* Takes the bytes of a str, bin or ext. */
static inline place
payload(place p, place end, token *t)
{
    if (t->type == T_EXT) {
        if (p >= end)
            return NULL;
        t->ext = (int8_t)*p++;
    }
    if (t->n > (uint64_t)(end - p))
        return NULL;
    t->at = p;
    return p + t->n;
}

static place
long_token(place p, place end, token *t)
{
    uint32_t row = *p++ & 0x1fu;
    uint32_t bytes = heads[row].bytes;

    t->type = (enum type)heads[row].type;
    if (t->type == T_NONE || (uint64_t)(end - p) < bytes)
        return NULL;
    t->n = heads[row].fixed != 0 ? heads[row].fixed : big_endian(p, bytes);
    p += bytes;
    switch (t->type) {
    case T_INT:
        ASSERT(bytes > 0); /* of the table */
        t->n = (uint64_t)((int64_t)(t->n << (64 - 8 * bytes)) >> (64 - 8 * bytes));
        return p;
    case T_STR:
    case T_BIN:
    case T_EXT:
        return payload(p, end, t);
    case T_ARRAY: /* each item has a byte at least */
        return t->n <= (uint64_t)(end - p) ? p : NULL;
    case T_MAP:
        return t->n * 2 <= (uint64_t)(end - p) ? p : NULL;
    default:
        return p;
    }
}

/* The head at p, and the bytes of str, bin and ext.  NULL: broken, or longer than the body. */
static inline place
take(place p, place end, token *t)
{
    if (p >= end)
        return NULL;
    uint8_t c = *p;

    if (c >= 0xa0 && c < 0xc0) {
        t->type = T_STR;
        t->n = c & 0x1f;
        return payload(p + 1, end, t);
    }
    if (c >= 0xc0 && c < 0xe0)
        return long_token(p, end, t);
    t->n = c & 0x0f;
    if (c < 0x80 || c >= 0xe0) {
        t->type = c < 0x80 ? T_UINT : T_INT;
        t->n = c < 0x80 ? c : (uint64_t)(int8_t)c;
        return p + 1;
    }
    t->type = c < 0x90 ? T_MAP : T_ARRAY;
    if (t->n * (c < 0x90 ? 2 : 1) > (uint64_t)(end - p - 1))
        return NULL;
    return p + 1;
}

/* Walks over `*values` values, or as far as `until`. */
static place
skip(place p, place until, place end, uint64_t *values)
{
    token t;

    /* Each round takes a byte, and there are never more values to come than bytes. */
    for (; *values > 0 && p < until; --*values) {
        p = take(p, end, &t);
        if (p == NULL || *values > (uint64_t)(end - p) + 1)
            return NULL;
        if (t.type == T_ARRAY || t.type == T_MAP)
            *values += t.type == T_MAP ? t.n * 2 : t.n;
    }
    return p;
}

/* How many values are in a container whose head was taken. */
static inline uint64_t
inside(const token *t)
{
    return t->type == T_MAP ? t->n * 2 : t->type == T_ARRAY ? t->n : 0;
}

/* The rest of a value whose head was taken. */
static inline place
skip_rest(place p, place end, const token *t)
{
    uint64_t values = inside(t);

    if (values == 0)
        return p;
    p = skip(p, end, end, &values);
    return values == 0 ? p : NULL;
}

#define HIGH_BITS UINT64_C(0x8080808080808080)

static bool
count_slowly(view s, size_t plain, size_t *chars)
{
    *chars = plain;
    for (place p = s.at + plain, end = s.at + s.len; p < end; ++*chars) {
        size_t len = fields_utf8_len(p, end);

        if (len == 0)
            return false;
        p += len;
    }
    return true;
}

/* Counts characters; false: no UTF-8.  Eight bytes at a time; the last few too where there are eight before `end`. */
static inline bool
count_chars(view s, place end, size_t *chars)
{
    size_t   at = 0, rest;
    uint64_t bits = 0;

    for (; s.len - at >= 8; at += 8)
        bits |= load_u64(s.at + at);
    rest = s.len - at;
    if (rest > 0 && UNLIKELY(end - (s.at + at) < 8))
        return count_slowly(s, 0, chars);
    if (rest > 0)
        bits |= load_u64(s.at + at) << (64 - 8 * rest);
    *chars = s.len;
    return LIKELY((bits & HIGH_BITS) == 0) || count_slowly(s, 0, chars);
}

static inline double
double_of(uint64_t bits)
{
    double v;

    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline double
float_of(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float    v;

    memcpy(&v, &low, sizeof v);
    return (double)v;
}

static inline void
found_value(const token *t, fields *f)
{
    f->kind[MEMBER_VALUE] = FOUND_DOUBLE;
    switch (t->type) {
    case T_DOUBLE:
        f->value = double_of(t->n);
        break;
    case T_FLOAT:
        f->value = float_of(t->n);
        break;
    case T_INT:
        f->value = (double)(int64_t)t->n;
        break;
    case T_UINT:
        f->value = (double)t->n;
        break;
    default:
        f->kind[MEMBER_VALUE] = FOUND_OTHER;
    }
}

/* The timestamp extension, microseconds since the epoch (what is finer is cut):
 *   4 bytes   seconds u32
 *   8 bytes   nanoseconds 30 bits | seconds 34 bits
 *   12 bytes  nanoseconds u32 | seconds i64 */
static void
found_instant(const token *t, fields *f)
{
    int64_t  seconds = 0;
    uint64_t ns = UINT64_MAX;

    if (t->n == 4) {
        seconds = (int64_t)big_endian(t->at, 4);
        ns = 0;
    } else if (t->n == 8) {
        ns = big_endian(t->at, 8);
        seconds = (int64_t)(ns & 0x3ffffffff);
        ns >>= 34;
    } else if (t->n == 12) {
        ns = big_endian(t->at, 4);
        seconds = (int64_t)big_endian(t->at + 4, 8);
    }
    f->kind[MEMBER_TIME] = FOUND_NO_INSTANT;
    if (ns > 999999999 || !instant_has_second(seconds))
        return;
    f->kind[MEMBER_TIME] = FOUND_INSTANT;
    f->time_us = seconds * 1000000 + (int64_t)(ns / 1000);
}

/* A known member's value that is no text. */
static inline void
found_scalar(uint32_t member, const token *t, fields *f)
{
    if (member == MEMBER_VALUE)
        found_value(t, f);
    else if (member == MEMBER_TIME && t->type == T_EXT && t->ext == TIMESTAMP_EXTENSION)
        found_instant(t, f);
    else
        f->kind[member] = FOUND_OTHER;
}

/* A known member's value, whose head was taken. */
static inline place
found(place p, place end, uint32_t member, const token *t, fields *f)
{
    if (t->type == T_STR && member != MEMBER_VALUE) {
        f->kind[member] = FOUND_TEXT;
        f->text[member] = view_of(t->at, t->n);
        if (!count_chars(f->text[member], end, &f->chars[member]))
            return NULL;
    } else {
        found_scalar(member, t, f);
    }
    return skip_rest(p, end, t);
}

static inline uint32_t
member_of(const token *name, place end)
{
    if (name->type != T_STR)
        return MEMBER_UNKNOWN;
    if (UNLIKELY(end - name->at < FIELDS_LOOKAHEAD))
        return fields_member(view_of(name->at, name->n));
    const fields_row *row = fields_row_at(name->at);

    return row != NULL && row->len == name->n ? row->member : MEMBER_UNKNOWN;
}

/* A member as nearly all are: its name and its text shorter than 32 bytes and ASCII, the value a double.  All of it lies
 * within QUICK_ROOM bytes, which are there.  NULL: not so, and nothing of it was taken. */
enum { QUICK_ROOM = 64 };

static inline place
quick_member(place p, fields *f)
{
    const fields_row *row = fields_row_at(p + 1);
    uint32_t          n, high;

    if (row == NULL || p[0] != (0xa0 | row->len) || f->kind[row->member] != FOUND_NONE)
        return NULL;
    p += 1 + row->len;
    if (row->member == MEMBER_VALUE) {
        if (*p != 0xcb)
            return NULL;
        f->value = double_of(__builtin_bswap64(load_u64(p + 1)));
        f->kind[MEMBER_VALUE] = FOUND_DOUBLE;
        return p + 9;
    }
    n = *p++ - 0xa0u;
    high = (uint32_t)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)p)) |
           (uint32_t)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16))) << 16;
    if (n > 31 || (high & ((1u << n) - 1)) != 0)
        return NULL;
    f->kind[row->member] = FOUND_TEXT;
    f->text[row->member] = view_of(p, n);
    f->chars[row->member] = n;
    return p + n;
}

/* The members of a reading. */
static place
object(place p, place end, uint64_t members, fields *f)
{
    for (; members > 0; members--) {
        token    t;
        uint32_t member = MEMBER_UNKNOWN;
        place    quick = LIKELY(end - p >= QUICK_ROOM) ? quick_member(p, f) : NULL;

        if (LIKELY(quick != NULL)) {
            p = quick;
            continue;
        }
        p = take(p, end, &t);
        if (p == NULL)
            return NULL;
        member = member_of(&t, end);
        p = skip_rest(p, end, &t);
        if (p == NULL || (p = take(p, end, &t)) == NULL)
            return NULL;
        if (LIKELY(member != MEMBER_UNKNOWN && f->kind[member] == FOUND_NONE)) {
            p = found(p, end, member, &t, f);
        } else {
            if (f->duplicate == MEMBER_UNKNOWN)
                f->duplicate = (uint8_t)member;
            p = skip_rest(p, end, &t);
        }
        if (p == NULL)
            return NULL;
    }
    return p;
}

/* ---- the walk ---- */

enum doing { BODY, OUTER_NAME, OUTER_VALUE, TAIL, ELEMENT, NAME, VALUE, SKIP, TEXT, DONE };

typedef struct walk {
    uint64_t skipping; /* values to walk over, */
    uint64_t members;  /* of the reading, still to come */
    place    text;     /* of the string that is looked through, behind p: */
    place    text_end;
    uint8_t  doing;
    uint8_t  then; /* behind SKIP and TEXT */
    uint8_t  member;
    bool     is_readings;
    bool     is_reading;
    fields   f;
} walk;

_Static_assert(sizeof(walk) <= sizeof ((readings_decoder *)0)->walk, "READINGS_WALK");

static walk *
walk_of(readings_decoder *d)
{
    return (walk *)(void *)d->walk;
}

static enum readings_next
ends(readings_decoder *d, place p, uint32_t state)
{
    if (p != NULL)
        d->at = p;
    d->state = state;
    d->walking = false;
    return state == ENDED ? READINGS_END : state == MISFIT ? READINGS_SCHEMA : READINGS_SYNTAX;
}

static void
begin(readings_decoder *d, enum doing doing)
{
    walk_of(d)->doing = (uint8_t)doing;
    d->walking = true;
}

/* The rest of a value whose head was taken comes next, and then that. */
static void
skip_then(walk *w, uint64_t values, enum doing then)
{
    w->skipping = values;
    w->doing = (uint8_t)(values > 0 ? SKIP : then);
    w->then = (uint8_t)then;
}

static place
body_begins(readings_decoder *d, walk *w, place p)
{
    token t;

    p = take(p, d->end, &t);
    if (p == NULL)
        return NULL;
    if (t.type == T_MAP) {
        d->members = (uint32_t)t.n;
        w->doing = OUTER_NAME;
        return p;
    }
    d->schema = "object_type";
    skip_then(w, inside(&t), TAIL);
    return p;
}

static place
outer_name(readings_decoder *d, walk *w, place p)
{
    token t;

    if (d->members == 0) {
        if (!d->found)
            d->schema = "missing";
        w->doing = TAIL;
        return p;
    }
    d->members--;
    p = take(p, d->end, &t);
    if (p == NULL)
        return NULL;
    w->is_readings = t.type == T_STR && view_eq(view_of(t.at, t.n), VIEW_LIT("readings"));
    skip_then(w, inside(&t), OUTER_VALUE);
    return w->is_readings && d->found ? NULL : p;
}

static place
outer_value(readings_decoder *d, walk *w, place p)
{
    token t;

    if (!w->is_readings) {
        skip_then(w, 1, OUTER_NAME);
        return p;
    }
    d->found = true;
    p = take(p, d->end, &t);
    if (p == NULL)
        return NULL;
    if (t.type == T_ARRAY) {
        d->left = (uint32_t)t.n;
        d->state = INSIDE;
        d->walking = false;
        return p;
    }
    d->schema = "array_type";
    skip_then(w, inside(&t), OUTER_NAME);
    return p;
}

static place
element_begins(readings_decoder *d, walk *w, place p)
{
    token t;

    p = take(p, d->end, &t);
    if (p == NULL)
        return NULL;
    w->is_reading = t.type == T_MAP;
    if (!w->is_reading) {
        skip_then(w, inside(&t), DONE);
        return p;
    }
    fields_init(&w->f);
    w->members = t.n;
    w->doing = NAME;
    return p;
}

static place
member_name(readings_decoder *d, walk *w, place p)
{
    token t;

    if (w->members == 0) {
        w->doing = DONE;
        return p;
    }
    w->members--;
    p = take(p, d->end, &t);
    if (p == NULL)
        return NULL;
    w->member = (uint8_t)member_of(&t, d->end);
    skip_then(w, inside(&t), VALUE);
    return p;
}

static place
member_value(readings_decoder *d, walk *w, place p)
{
    fields *f = &w->f;
    token   t;

    p = take(p, d->end, &t);
    if (p == NULL)
        return NULL;
    skip_then(w, inside(&t), NAME);
    if (w->member == MEMBER_UNKNOWN || f->kind[w->member] != FOUND_NONE) {
        if (f->duplicate == MEMBER_UNKNOWN)
            f->duplicate = w->member;
    } else if (t.type == T_STR && w->member != MEMBER_VALUE) {
        f->kind[w->member] = FOUND_TEXT;
        f->text[w->member] = view_of(t.at, t.n);
        f->chars[w->member] = 0;
        w->text = t.at;
        w->text_end = p;
        w->doing = TEXT;
    } else {
        found_scalar(w->member, &t, f);
    }
    return p;
}

/* Counts the characters of the text in front of p. */
static place
member_text(readings_decoder *d, walk *w, place p)
{
    size_t *chars = &w->f.chars[w->member];
    place   until = (size_t)(w->text_end - w->text) > d->window ? w->text + d->window : w->text_end;

    while (w->text < until) {
        size_t len = fields_utf8_len(w->text, w->text_end);

        if (len == 0)
            return NULL;
        w->text += len;
        ++*chars;
    }
    if (w->text == w->text_end)
        w->doing = NAME;
    return p;
}

static place
step(readings_decoder *d, walk *w, place p, place until)
{
    switch (w->doing) {
    case BODY:
        return body_begins(d, w, p);
    case OUTER_NAME:
        return outer_name(d, w, p);
    case OUTER_VALUE:
        return outer_value(d, w, p);
    case ELEMENT:
        return element_begins(d, w, p);
    case NAME:
        return member_name(d, w, p);
    case VALUE:
        return member_value(d, w, p);
    case TEXT:
        return member_text(d, w, p);
    default: /* SKIP */
        if (p == d->end)
            return NULL;
        p = skip(p, until, d->end, &w->skipping);
        if (w->skipping == 0)
            w->doing = w->then;
        return p;
    }
}

static enum readings_next
emit(readings_decoder *d, const walk *w, place p, reading *out)
{
    if (w->is_reading)
        fields_judge(&w->f, out);
    else
        fields_not_object(out);
    d->at = p;
    d->walking = false;
    return READINGS_ITEM;
}

/* READINGS_PAUSE with !d->walking: the readings begin. */
static enum readings_next
walk_on(readings_decoder *d, reading *out)
{
    walk *w = walk_of(d);
    place p = d->at;
    place until = (size_t)(d->end - p) > d->window ? p + d->window : d->end;

    for (;;) { /* each round takes bytes, or is the last but few */
        place behind;
        bool  text = w->doing == TEXT;

        if (w->doing == DONE)
            return emit(d, w, p, out);
        if (w->doing == TAIL)
            return ends(d, p, p != d->end ? BROKEN : d->schema != NULL ? MISFIT : ENDED);
        behind = step(d, w, p, until);
        if (behind == NULL)
            return ends(d, p, BROKEN);
        d->at = p = behind;
        if (!d->walking || text || (p >= until && w->doing != DONE && w->doing != TAIL))
            return READINGS_PAUSE;
    }
}

/* ---- in one go ---- */

static inline enum readings_next
next_element(readings_decoder *d, reading *out)
{
    place  end = (size_t)(d->end - d->at) > d->window ? d->at + d->window : d->end;
    fields f;
    token  t;

    if (UNLIKELY(d->left == 0)) {
        begin(d, OUTER_NAME);
        return walk_on(d, out);
    }
    d->left--;
    place p = take(d->at, end, &t);

    if (UNLIKELY(p != NULL && t.type != T_MAP)) {
        p = skip_rest(p, end, &t);
        fields_not_object(out);
    } else if (p != NULL) {
        fields_init(&f);
        p = object(p, end, t.n, &f);
        if (p != NULL)
            fields_judge(&f, out);
    }
    if (LIKELY(p != NULL)) {
        d->at = p;
        return READINGS_ITEM;
    }
    if (end == d->end)
        return ends(d, NULL, BROKEN);
    begin(d, ELEMENT); /* broken, or longer than the window */
    return walk_on(d, out);
}

void
readings_msgpack_start(readings_decoder *d, view body)
{
    d->at = d->start = body.at;
    d->end = body.at + body.len;
    d->state = INSIDE;
    d->left = d->members = 0;
    d->found = false;
    d->schema = NULL;
    d->window = READINGS_WINDOW;
    begin(d, BODY);
}

enum readings_next
readings_msgpack_next(readings_decoder *d, reading *out)
{
    if (UNLIKELY(d->walking)) {
        enum readings_next got = walk_on(d, out);

        if (got != READINGS_PAUSE || d->walking)
            return got;
    }
    if (LIKELY(d->state == INSIDE))
        return next_element(d, out);
    return ends(d, NULL, d->state);
}
