/* registry_alert_text.c - what an alert says: the rule's message with its names filled in, or a default. */
#include "actors/registry_internal.h"
#include "actors/rules.h"
#include "proto/num.h"

#include <math.h>

typedef struct text_out {
    char   at[REG_MESSAGE_MAX];
    size_t len;
    bool   full; /* something was cut: nothing more comes */
} text_out;

static void
put(text_out *t, view v)
{
    size_t n = min_u64(v.len, sizeof t->at - t->len);

    if (t->full || v.len == 0)
        return;
    if (n < v.len) {
        t->full = true;
        /* Never half a character. */
        while (n > 0 && (v.at[n] & 0xc0) == 0x80)
            n--;
    }
    memcpy(t->at + t->len, v.at, n);
    t->len += n;
}

static void
put_number(text_out *t, double v)
{
    char text[NUM_TEXT_MAX];

    if (isfinite(v))
        put(t, view_of(text, num_format(v, text)));
}

typedef struct message_facts {
    const reg_rule    *rule;
    const reg_machine *machine;
    double             value;
    view               unit;
} message_facts;

/* One {name} of a template; false: not one of ours, it stays as it is. */
static bool
put_placeholder(text_out *t, view name, const message_facts *f)
{
    if (view_eq(name, VIEW_LIT("machine")))
        put(t, f->machine->name);
    else if (view_eq(name, VIEW_LIT("metric")))
        put(t, f->rule->metric);
    else if (view_eq(name, VIEW_LIT("value")))
        put_number(t, f->value);
    else if (view_eq(name, VIEW_LIT("threshold")))
        put_number(t, f->rule->threshold);
    else if (view_eq(name, VIEW_LIT("unit")))
        put(t, f->unit);
    else
        return false;
    return true;
}

/* Plain text up to the next '{', or one {name}.  Returns how much of the template that was. */
static size_t
put_piece(text_out *t, view rest, const message_facts *f)
{
    const uint8_t *end = memchr(rest.at, rest.at[0] == '{' ? '}' : '{', rest.len);
    size_t         len = end == NULL ? rest.len : (size_t)(end - rest.at);

    if (rest.at[0] != '{') {
        put(t, view_of(rest.at, len));
        return len;
    }
    if (end != NULL && put_placeholder(t, view_of(rest.at + 1, len - 1), f))
        return len + 1;
    put(t, VIEW_LIT("{"));
    return 1;
}

static void
put_template(text_out *t, view rest, const message_facts *f)
{
    while (rest.len > 0) {
        size_t used = put_piece(t, rest, f);

        rest = view_of(rest.at + used, rest.len - used);
    }
}

static void
put_op(text_out *t, uint8_t op)
{
    static const char *const says[] = { " is above ", " is at least ", " is below ", " is at most ", " is ", " is not " };

    put(t, view_str(op < COUNT_OF(says) ? says[op] : " against "));
}

static void
put_value(text_out *t, const message_facts *f)
{
    put_number(t, f->value);
    if (f->unit.len > 0)
        put(t, VIEW_LIT(" "));
    put(t, f->unit);
}

/* "temperature is above 90 and vibration is above 5" */
static void
put_conditions(text_out *t, const reg_rule *rule)
{
    rule_condition c[RULE_CONDITIONS_MAX];
    uint32_t       count = rule_conditions_read(rule->conditions, c);

    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            put(t, rule->logic == LOGIC_OR ? VIEW_LIT(" or ") : VIEW_LIT(" and "));
        put(t, c[i].metric);
        put_op(t, c[i].op);
        put_number(t, c[i].threshold);
    }
}

/* "temperature 95.2 celsius is above 90", "temperature: no data for 300 s", ... */
static void
put_default(text_out *t, const message_facts *f)
{
    const reg_rule *rule = f->rule;

    if (rule->conditions.at != NULL) {
        put_conditions(t, rule);
        return;
    }
    put(t, rule->metric);
    if (rule->type == RULE_NO_DATA) {
        put(t, VIEW_LIT(": no data for "));
        put_number(t, f->value);
        put(t, VIEW_LIT(" s"));
        return;
    }
    put(t, rule->type == RULE_RATE ? VIEW_LIT(" changes by ") : VIEW_LIT(" "));
    put_value(t, f);
    if (rule->type == RULE_ANOMALY) {
        put(t, VIEW_LIT(" is unusual"));
        return;
    }
    put(t, rule->type == RULE_RATE ? VIEW_LIT("/s, that") : VIEW_LIT(""));
    put_op(t, rule->op);
    put_number(t, rule->threshold);
}

/* The series' unit, as the board has it. */
static view
unit_of(const registry *r, const reg_rule *rule, const reg_machine *m)
{
    board_series s;

    if (r->board == NULL || m->part >= board_parts(r->board) ||
        board_find_series(r->board, m->part, m->no, rule->metric, &s) == 0)
        return (view){ 0 };
    return board_string(r->board, BOARD_SERIES, m->part, s.unit);
}

void
reg_alert_set_message(const registry *r, reg_alert *a)
{
    message_facts f = { a->rule, a->machine, a->value, unit_of(r, a->rule, a->machine) };
    text_out      t = { .len = 0 };

    if (a->rule->message.len > 0)
        put_template(&t, a->rule->message, &f);
    else
        put_default(&t, &f);
    reg_text_set(&a->message, view_of(t.at, t.len));
}
