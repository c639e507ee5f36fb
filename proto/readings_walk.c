/* readings_walk.c - see readings_walk.h.
 *
 * A machine whose state stands in the decoder, so that it can stop behind any token, and within strings, numbers and
 * blanks:
 *
 *   BODY ─▶ NAME ─▶ IN_NAME ─▶ COLON ─▶ VALUE ─▶ IN_TEXT, IN_NUMBER, or a container ─▶ AFTER ─▶ NAME, VALUE ... TAIL
 *
 * `level` says what the value around is: the body, its outer object, an element or line, a reading.  Below that, in
 * what nobody asked for, a bit for each open container is all that is kept.
 */
#include "proto/readings_walk.h"

#include <math.h>

enum doing {
    BODY, FIRST_NAME, NAME, IN_NAME, COLON, FIRST_VALUE, VALUE, IN_TEXT, IN_NUMBER, AFTER, /* of JSON */
    FIRST_ITEM, NEXT_ITEM, LINE, LINE_END, TAIL, DONE,
};
enum level { AT_BODY, IN_OUTER, AT_ITEM, IN_READING };

/* A number that ends within so many bytes is read at once. */
enum { NUMBER_SHORT = 64 };

typedef struct walk {
    uint64_t objects; /* what is open below `level`: a bit for each, 1 for an object */
    uint32_t depth;
    uint8_t  doing;
    uint8_t  level;
    uint8_t  member;  /* of a reading: whose value comes */
    bool     is_readings; /* of the outer object: the value that comes is */
    bool     lines;
    bool     keep; /* the string or number under way is a reading's */
    place    text; /* where the string under way began */
    built    string;
    fields   f;
    num_long number;
} walk;

_Static_assert(sizeof(walk) <= sizeof ((readings_decoder *)0)->walk, "READINGS_WALK");

static walk *
walk_of(readings_decoder *d)
{
    return (walk *)(void *)d->walk;
}

static void
begin(readings_decoder *d, enum doing doing, enum level level)
{
    walk *w = walk_of(d);

    w->objects = 0;
    w->depth = 0;
    w->doing = (uint8_t)doing;
    w->level = (uint8_t)level;
    w->is_readings = w->keep = false;
    w->lines = d->state == LINES;
    d->walking = true;
}

void
readings_walk_body(readings_decoder *d)
{
    begin(d, BODY, AT_BODY);
}

void
readings_walk_array_ended(readings_decoder *d, place p)
{
    d->at = p;
    begin(d, AFTER, IN_OUTER);
}

void
readings_walk_element(readings_decoder *d)
{
    begin(d, d->state == FIRST ? FIRST_ITEM : d->state == MORE ? NEXT_ITEM : LINE, AT_ITEM);
}

/* ---- strings ---- */

static place
string_begins(walk *w, enum doing doing, uint8_t *slot, place p)
{
    w->doing = (uint8_t)doing;
    w->text = p + 1;
    w->string = (built){ .slot = slot };
    return p + 1;
}

/* What stands at p ends a run of plain characters: an escape, or one above ASCII. */
static place
odd_char(walk *w, place p, place end)
{
    built *t = &w->string;

    if (*p != '\\')
        return other_char(p, end, t);
    if (!t->copied && t->slot != NULL) {
        t->copied = true;
        built_append(t, w->text, (size_t)(p - w->text));
    }
    return escape(p + 1, end, t);
}

/* Until its closing quote is behind p (*closed), or `until`. */
static place
string_goes_on(walk *w, place p, place until, place end, bool *closed)
{
    built *t = &w->string;

    *closed = false;
    while (p < until) {
        place run = p;

        p = plain_run(p, until);
        if (p > end)
            return NULL;
        built_append(t, run, (size_t)(p - run));
        t->chars += (size_t)(p - run);
        if (p >= until)
            break;
        if (*p == '"') {
            *closed = true;
            return p + 1;
        }
        p = odd_char(w, p, end);
        if (p == NULL)
            return NULL;
    }
    return p < end ? p : NULL;
}

/* Behind the closing quote at p - 1. */
static view
string_text(const walk *w, place p)
{
    const built *t = &w->string;

    return t->copied ? view_of(t->slot, t->len) : view_of(w->text, (size_t)(p - 1 - w->text));
}

static place
in_name(readings_decoder *d, walk *w, place p, place until)
{
    bool closed;
    view name;

    p = string_goes_on(w, p, until, d->end, &closed);
    if (p == NULL || !closed)
        return p;
    w->doing = COLON;
    if (w->depth > 0)
        return p;
    name = string_text(w, p);
    w->member = (uint8_t)fields_member(name);
    w->is_readings = w->level == IN_OUTER && view_eq(name, VIEW_LIT("readings"));
    return w->is_readings && d->found ? NULL : p;
}

static place
in_text(readings_decoder *d, walk *w, place p, place until)
{
    bool closed;

    p = string_goes_on(w, p, until, d->end, &closed);
    if (p == NULL || !closed)
        return p;
    w->doing = AFTER;
    if (w->keep) {
        w->f.text[w->member] = string_text(w, p);
        w->f.chars[w->member] = w->string.chars;
    }
    return p;
}

/* ---- numbers ---- */

static void
number_ended(walk *w, double v)
{
    w->doing = AFTER;
    if (!w->keep)
        return;
    w->f.kind[w->member] = w->member == MEMBER_VALUE ? FOUND_DOUBLE : FOUND_OTHER;
    w->f.value = w->member == MEMBER_VALUE ? v : w->f.value;
}

static place
number_begins(walk *w, place p, place end)
{
    place       until = end - p > NUMBER_SHORT ? p + NUMBER_SHORT : end;
    num_scanned n;
    bool        sound = num_scan(&n, p, until);

    if (sound && (n.end < until || until == end)) {
        number_ended(w, w->keep ? num_value(&n) : 0);
        return n.end;
    }
    if (until == end)
        return NULL;
    num_long_begin(&w->number);
    w->doing = IN_NUMBER;
    return p;
}

static place
in_number(readings_decoder *d, walk *w, place p, place until)
{
    p = num_long_feed(&w->number, p, until);
    if (p == until && until < d->end)
        return p;
    if (!num_long_ends(&w->number))
        return NULL;
    number_ended(w, w->keep ? num_long_value(&w->number) : 0);
    return p;
}

/* ---- values ---- */

static place
container_begins(walk *w, place p)
{
    bool object = *p == '{';

    if (w->depth == NESTING_MAX)
        return NULL;
    w->objects = w->objects << 1 | object;
    w->depth++;
    w->doing = object ? FIRST_NAME : FIRST_VALUE;
    return p + 1;
}

/* A value of which only the syntax matters. */
static place
any_value(readings_decoder *d, walk *w, place p)
{
    w->keep = false;
    switch (*p) {
    case '"':
        return string_begins(w, IN_TEXT, NULL, p);
    case '{':
    case '[':
        return container_begins(w, p);
    case 't':
        w->doing = AFTER;
        return word(p, d->end, "true");
    case 'f':
        w->doing = AFTER;
        return word(p, d->end, "false");
    case 'n':
        w->doing = AFTER;
        return word(p, d->end, "null");
    default:
        return number_begins(w, p, d->end);
    }
}

static place
member_value(readings_decoder *d, walk *w, place p)
{
    fields *f = &w->f;
    place   behind;

    if (w->member == MEMBER_UNKNOWN)
        return any_value(d, w, p);
    if (f->kind[w->member] != FOUND_NONE) {
        if (f->duplicate == MEMBER_UNKNOWN)
            f->duplicate = w->member;
        return any_value(d, w, p);
    }
    if (*p == '"') {
        f->kind[w->member] = w->member == MEMBER_VALUE ? FOUND_OTHER : FOUND_TEXT;
        w->keep = true;
        return string_begins(w, IN_TEXT, d->scratch[w->member], p);
    }
    behind = w->member == MEMBER_VALUE ? infinite_word(p, d->end) : NULL;
    if (behind != NULL) {
        w->keep = true;
        number_ended(w, INFINITY);
        return behind;
    }
    if ((uint32_t)*p - '0' <= 9 || *p == '-') {
        w->keep = true;
        return number_begins(w, p, d->end);
    }
    f->kind[w->member] = FOUND_OTHER;
    return any_value(d, w, p);
}

static place
outer_value(readings_decoder *d, walk *w, place p)
{
    if (!w->is_readings)
        return any_value(d, w, p);
    d->found = true;
    if (*p == '[') {
        d->state = FIRST;
        d->walking = false;
        return p + 1;
    }
    d->schema = "array_type";
    return any_value(d, w, p);
}

static place
object_begins(walk *w, enum level level, place p)
{
    w->level = (uint8_t)level;
    w->doing = FIRST_NAME;
    return p + 1;
}

static place
value(readings_decoder *d, walk *w, place p)
{
    if (w->depth > 0)
        return any_value(d, w, p);
    switch (w->level) {
    case AT_BODY:
        if (*p == '{')
            return object_begins(w, IN_OUTER, p);
        d->schema = "object_type";
        return any_value(d, w, p);
    case IN_OUTER:
        return outer_value(d, w, p);
    case AT_ITEM:
        if (*p != '{')
            return any_value(d, w, p);
        fields_init(&w->f);
        return object_begins(w, IN_READING, p);
    default:
        return member_value(d, w, p);
    }
}

/* ---- between values ---- */

/* A container's end behind p. */
static place
closes(readings_decoder *d, walk *w, place p)
{
    w->doing = AFTER;
    if (w->depth > 0) {
        w->objects >>= 1;
        w->depth--;
    } else if (w->level == IN_OUTER) {
        if (!d->found)
            d->schema = "missing";
        w->doing = TAIL;
    } else {
        w->doing = w->lines ? LINE_END : DONE;
    }
    return p;
}

static bool
in_object(const walk *w)
{
    return w->depth == 0 || (w->objects & 1) != 0;
}

static place
after(readings_decoder *d, walk *w, place p)
{
    if (*p == ',') {
        w->doing = in_object(w) ? NAME : VALUE;
        return p + 1;
    }
    return *p == (in_object(w) ? '}' : ']') ? closes(d, w, p + 1) : NULL;
}

static place
next_item(walk *w, place p)
{
    if (*p == ']') {
        w->level = IN_OUTER;
        w->doing = AFTER;
        return p + 1;
    }
    if (w->doing == NEXT_ITEM && *p != ',')
        return NULL;
    p += w->doing == NEXT_ITEM;
    w->doing = VALUE;
    return p;
}

/* One token at p < end, which is no blank where blanks may stand. */
static place
token(readings_decoder *d, walk *w, place p, place until)
{
    switch (w->doing) {
    case IN_NAME:
        return in_name(d, w, p, until);
    case IN_TEXT:
        return in_text(d, w, p, until);
    case IN_NUMBER:
        return in_number(d, w, p, until);
    case FIRST_NAME:
        if (*p == '}')
            return closes(d, w, p + 1);
        /* fallthrough */
    case NAME:
        return *p == '"' ? string_begins(w, IN_NAME, w->depth > 0 ? NULL : d->scratch[SLOT_NAME], p) : NULL;
    case COLON:
        w->doing = VALUE;
        return *p == ':' ? p + 1 : NULL;
    case FIRST_VALUE:
        if (*p == ']')
            return closes(d, w, p + 1);
        /* fallthrough */
    case BODY:
    case LINE:
    case VALUE:
        return value(d, w, p);
    case FIRST_ITEM:
    case NEXT_ITEM:
        return next_item(w, p);
    case AFTER:
        return after(d, w, p);
    default: /* TAIL: nothing may follow */
        return NULL;
    }
}

/* An element is over. */
static enum readings_next
emit(readings_decoder *d, walk *w, place p, reading *out)
{
    if (w->level == IN_READING)
        fields_judge(&w->f, out);
    else
        fields_not_object(out);
    d->at = p;
    d->state = w->lines ? LINES : MORE;
    d->walking = false;
    return READINGS_ITEM;
}

/* Values that have no bracket behind them. */
static void
look_whether_over(walk *w)
{
    if (w->doing != AFTER || w->depth > 0)
        return;
    if (w->level == AT_BODY)
        w->doing = TAIL;
    else if (w->level == AT_ITEM)
        w->doing = w->lines ? LINE_END : DONE;
}

static place
blanks(const walk *w, place p, place until)
{
    bool newlines = w->doing != LINE_END;

    if (w->doing == IN_NAME || w->doing == IN_TEXT || w->doing == IN_NUMBER)
        return p;
    while (p < until && is_space(*p) && (newlines || *p != '\n'))
        p++;
    return p;
}

static enum readings_next
body_ends(readings_decoder *d, const walk *w, place p)
{
    if (w->doing == TAIL)
        return ends(d, p, d->schema != NULL ? MISFIT : ENDED);
    return ends(d, p, w->doing == LINE ? ENDED : BROKEN);
}

enum readings_next
readings_walk(readings_decoder *d, reading *out)
{
    walk *w = walk_of(d);
    place p = d->at;
    place until = (size_t)(d->end - p) > d->window ? p + d->window : d->end;

    for (;;) { /* each round takes bytes, or is the last but one */
        if (w->doing == DONE)
            return emit(d, w, p, out);
        p = blanks(w, p, until);
        if (w->doing == LINE_END && (p == d->end || (p < until && *p == '\n')))
            return emit(d, w, p, out);
        if (p >= until && until < d->end) {
            d->at = p;
            return READINGS_PAUSE;
        }
        if (p == d->end && w->doing != IN_NUMBER)
            return body_ends(d, w, p);
        place behind = token(d, w, p, until);

        if (behind == NULL)
            return ends(d, p, BROKEN);
        p = behind;
        look_whether_over(w);
        if (!d->walking) { /* the readings begin */
            d->at = p;
            return READINGS_PAUSE;
        }
    }
}
