/* points.c - see points.h. */
#include "api/points.h"

#include "proto/crypto.h"
#include "proto/instant.h"
#include "proto/num.h"

#include <math.h>
#include <strings.h>

struct points_form {
    const char *name; /* in Accept */
    const char *media_type;
    void (*open)(points_out *p, uint32_t series_total);
    void (*series)(points_out *p, const uuid *machine, view metric, view unit, uint32_t count);
    void (*point)(points_out *p, const result_point *point);
    void (*close)(points_out *p, view cursor);
    void (*end)(points_out *p);
};

static bool
is_raw(const points_out *p)
{
    return p->interval.len == 0;
}

/* Bytes as they are, between or outside JSON values. */
static void
put(json_out *j, view bytes)
{
    j->comma = false;
    json_raw(j, bytes);
    j->comma = false;
}

#define PUT(j, text) put(j, VIEW_LIT(text))

/* ---- JSON ---- */

static void
json_open_answer(points_out *p, uint32_t series_total)
{
    json_out *j = &p->text;

    (void)series_total;
    if (p->single)
        return;
    json_open(j, '{');
    if (p->of_machine)
        json_name_uuid(j, "machine_id", &p->machine_id);
    json_name(j, VIEW_LIT("series"));
    json_open(j, '[');
}

static void
name_text(json_out *j, const char *name, view v)
{
    if (v.len == 0)
        json_name_null(j, name);
    else
        json_name_string(j, name, v);
}

/* Which series: in each of its lines, or once. */
static void
name_series(json_out *j, const uuid *machine, view metric, view unit)
{
    if (machine != NULL)
        json_name_uuid(j, "machine_id", machine);
    else
        json_name_null(j, "machine_id");
    name_text(j, "metric_name", metric);
    if (unit.at != NULL)
        json_name_string(j, "unit", unit);
    else
        json_name_null(j, "unit");
}

static void
json_open_series(points_out *p, const uuid *machine, view metric, view unit, uint32_t count)
{
    json_out *j = &p->text;

    (void)count;
    json_open(j, '{');
    name_series(j, machine, metric, unit);
    name_text(j, "interval", p->interval);
    name_text(j, "aggregation", is_raw(p) ? (view){ 0 } : p->aggregation);
    json_name_string(j, "timezone", p->zone);
    json_name_time(j, "start", p->start_us);
    json_name_time(j, "end", p->end_us);
    json_name(j, VIEW_LIT("data"));
    json_open(j, '[');
}

static void
name_point(points_out *p, const result_point *point)
{
    json_out *j = &p->text;

    json_name_time(j, "timestamp", point->time_us);
    json_name_number(j, "value", point->value);
    if (is_raw(p))
        return;
    json_name_int(j, "count", (int64_t)point->count);
    json_name_number(j, "min", point->min);
    json_name_number(j, "max", point->max);
}

static char *
put_number(char *at, double v)
{
    if (isfinite(v))
        return at + num_format(v, at);
    memcpy(at, "null", 4);
    return at + 4;
}

#define APPEND(at, text) ((char *)memcpy(at, text, sizeof text - 1) + (sizeof text - 1))

/* What name_point() would write, in one go: nearly all of an answer is this. */
static void
json_point(points_out *p, const result_point *point)
{
    enum { MOST = 80 + INSTANT_TEXT_MAX + 4 * NUM_TEXT_MAX };
    char *at = json_value(&p->text, MOST);

    if (at == NULL)
        return;
    at = APPEND(at, "{\"timestamp\":\"");
    at += instant_format(point->time_us, at);
    at = APPEND(at, "\",\"value\":");
    at = put_number(at, point->value);
    if (!is_raw(p)) {
        at = APPEND(at, ",\"count\":");
        at += num_format_u64(point->count, at);
        at = APPEND(at, ",\"min\":");
        at = put_number(at, point->min);
        at = APPEND(at, ",\"max\":");
        at = put_number(at, point->max);
    }
    *at++ = '}';
    json_value_end(&p->text, at);
}

static void
json_close_series(points_out *p, view cursor)
{
    json_close(&p->text, ']');
    name_text(&p->text, "next_cursor", cursor);
    json_close(&p->text, '}');
}

static void
json_end(points_out *p)
{
    if (p->single)
        return;
    json_close(&p->text, ']');
    json_close(&p->text, '}');
}

/* ---- NDJSON ---- */

static void
lines_open(points_out *p, uint32_t series_total)
{
    (void)p;
    (void)series_total;
}

/* lead: an object's beginning, up to where the point's members follow. */
static void
ndjson_series(points_out *p, const uuid *machine, view metric, view unit, uint32_t count)
{
    (void)count;
    json_reset(&p->lead);
    json_open(&p->lead, '{');
    name_series(&p->lead, machine, metric, unit);
}

static void
begin_line(points_out *p)
{
    put(&p->text, view_of(p->lead.at, p->lead.len));
    p->text.comma = true;
}

static void
end_line(points_out *p)
{
    json_close(&p->text, '}');
    PUT(&p->text, "\n");
}

static void
ndjson_point(points_out *p, const result_point *point)
{
    begin_line(p);
    name_point(p, point);
    end_line(p);
}

static void
ndjson_close(points_out *p, view cursor)
{
    if (cursor.len == 0)
        return;
    begin_line(p);
    json_name_string(&p->text, "next_cursor", cursor);
    end_line(p);
}

static void
lines_end(points_out *p)
{
    (void)p;
}

/* ---- CSV, RFC 4180 ---- */

static void
csv_open(points_out *p, uint32_t series_total)
{
    (void)series_total;
    if (is_raw(p))
        PUT(&p->text, "machine_id,metric_name,unit,timestamp,value,next_cursor\r\n");
    else
        PUT(&p->text, "machine_id,metric_name,unit,timestamp,value,count,min,max,next_cursor\r\n");
}

static bool
csv_needs_quotes(view v)
{
    for (size_t i = 0; i < v.len; i++)
        if (v.at[i] == ',' || v.at[i] == '"' || v.at[i] == '\r' || v.at[i] == '\n')
            return true;
    return v.len > 0 && (v.at[0] == ' ' || v.at[v.len - 1] == ' ');
}

static void
csv_text(json_out *j, view v)
{
    if (!csv_needs_quotes(v)) {
        put(j, v);
        return;
    }
    PUT(j, "\"");
    for (size_t i = 0; i < v.len; i++) {
        if (v.at[i] == '"')
            PUT(j, "\"");
        put(j, view_of(v.at + i, 1));
    }
    PUT(j, "\"");
}

static void
csv_series(points_out *p, const uuid *machine, view metric, view unit, uint32_t count)
{
    json_out *j = &p->lead;
    char      id[UUID_TEXT_LEN];

    (void)count;
    json_reset(j);
    if (machine != NULL) {
        uuid_format(machine, id);
        put(j, view_of(id, sizeof id));
    }
    PUT(j, ",");
    csv_text(j, metric);
    PUT(j, ",");
    csv_text(j, unit);
    PUT(j, ",");
}

static void
csv_number(json_out *j, double v)
{
    j->comma = false;
    if (isfinite(v))
        json_number(j, v);
    j->comma = false;
    PUT(j, ",");
}

static void
csv_end_row(points_out *p)
{
    if (p->row_open)
        PUT(&p->text, "\r\n");
    p->row_open = false;
}

/* Up to where next_cursor may follow. */
static void
csv_point(points_out *p, const result_point *point)
{
    json_out *j = &p->text;
    char      time[INSTANT_TEXT_MAX];

    csv_end_row(p);
    put(j, view_of(p->lead.at, p->lead.len));
    put(j, view_of(time, instant_format(point->time_us, time)));
    PUT(j, ",");
    csv_number(j, point->value);
    if (!is_raw(p)) {
        json_uint(j, point->count);
        PUT(j, ",");
        csv_number(j, point->min);
        csv_number(j, point->max);
    }
    p->row_open = true;
}

static void
csv_close(points_out *p, view cursor)
{
    if (cursor.len > 0 && !p->row_open) { /* cut before its first point */
        put(&p->text, view_of(p->lead.at, p->lead.len));
        put(&p->text, is_raw(p) ? VIEW_LIT(",,") : VIEW_LIT(",,,,,"));
        p->row_open = true;
    }
    if (cursor.len > 0)
        put(&p->text, cursor);
    csv_end_row(p);
}

/* ---- MessagePack ---- */

static void
move_packed(points_out *p)
{
    put(&p->text, pack_view(&p->packed));
    pack_reset(&p->packed);
}

static void
pack_text(pack *k, const char *name, view v)
{
    pack_str(k, view_str(name));
    if (v.len == 0)
        pack_nil(k);
    else
        pack_str(k, v);
}

static void
pack_number(pack *k, const char *name, double v)
{
    pack_str(k, view_str(name));
    if (isfinite(v))
        pack_double(k, v);
    else
        pack_nil(k);
}

static void
msgpack_open(points_out *p, uint32_t series_total)
{
    pack *k = &p->packed;

    if (p->single)
        return;
    pack_map(k, p->of_machine ? 2 : 1);
    if (p->of_machine)
        pack_name_uuid(k, "machine_id", &p->machine_id);
    pack_str(k, VIEW_LIT("series"));
    pack_array(k, series_total);
    move_packed(p);
}

static void
msgpack_series(points_out *p, const uuid *machine, view metric, view unit, uint32_t count)
{
    pack *k = &p->packed;

    pack_map(k, 10);
    if (machine != NULL)
        pack_name_uuid(k, "machine_id", machine);
    else
        pack_name_nil(k, "machine_id");
    pack_text(k, "metric_name", metric);
    if (unit.at != NULL)
        pack_name_str(k, "unit", unit);
    else
        pack_name_nil(k, "unit");
    pack_text(k, "interval", p->interval);
    pack_text(k, "aggregation", is_raw(p) ? (view){ 0 } : p->aggregation);
    pack_name_str(k, "timezone", p->zone);
    pack_name_time(k, "start", p->start_us);
    pack_name_time(k, "end", p->end_us);
    pack_str(k, VIEW_LIT("data"));
    pack_array(k, count);
    move_packed(p);
}

static void
msgpack_point(points_out *p, const result_point *point)
{
    pack *k = &p->packed;

    pack_map(k, is_raw(p) ? 2 : 5);
    pack_name_time(k, "timestamp", point->time_us);
    pack_number(k, "value", point->value);
    if (!is_raw(p)) {
        pack_name_int(k, "count", (int64_t)point->count);
        pack_number(k, "min", point->min);
        pack_number(k, "max", point->max);
    }
    move_packed(p);
}

static void
msgpack_close(points_out *p, view cursor)
{
    pack_text(&p->packed, "next_cursor", cursor);
    move_packed(p);
}

/* ---- all ---- */

static const points_form forms[] = {
    { "application/json", "application/json", json_open_answer, json_open_series, json_point,
      json_close_series, json_end },
    { "text/csv", "text/csv; charset=utf-8; header=present", csv_open, csv_series, csv_point,
      csv_close, lines_end },
    { "application/x-ndjson", "application/x-ndjson", lines_open, ndjson_series, ndjson_point,
      ndjson_close, lines_end },
    { "application/msgpack", "application/msgpack", msgpack_open, msgpack_series, msgpack_point,
      msgpack_close, lines_end },
};

static const points_form *
form_named(view name)
{
    for (size_t i = 0; i < COUNT_OF(forms); i++)
        if (strlen(forms[i].name) == name.len &&
            strncasecmp(forms[i].name, (const char *)name.at, name.len) == 0)
            return &forms[i];
    return NULL;
}

static const points_form *
form_wanted(view accept)
{
    const uint8_t *at = accept.at, *end = at == NULL ? NULL : at + accept.len;

    while (at < end) {
        const uint8_t     *comma = memchr(at, ',', (size_t)(end - at));
        const uint8_t     *stop = comma == NULL ? end : comma;
        const uint8_t     *name_end;
        const points_form *form;

        while (at < stop && (*at == ' ' || *at == '\t'))
            at++;
        for (name_end = at; name_end < stop && *name_end != ';' && *name_end != ' '; name_end++) {
        }
        if ((form = form_named(view_of(at, (size_t)(name_end - at)))) != NULL)
            return form;
        at = comma == NULL ? end : comma + 1;
    }
    return &forms[0];
}

void
points_init(points_out *p, view accept)
{
    memset(p, 0, sizeof *p);
    p->form = form_wanted(accept);
    pack_init(&p->packed);
}

void
points_free(points_out *p)
{
    json_out_free(&p->text);
    json_out_free(&p->lead);
    pack_fini(&p->packed);
}

const char *
points_media_type(const points_out *p)
{
    return p->form->media_type;
}

static void
open_answer(points_out *p, uint32_t series_total)
{
    if (p->opened)
        return;
    p->opened = true;
    p->series_due = series_total;
    p->form->open(p, series_total);
}

bool
points_series(points_out *p, uint32_t series_total, const uuid *machine, view metric, view unit,
              uint32_t count)
{
    open_answer(p, series_total);
    if (p->in_series || p->series_due-- == 0)
        return false;
    p->in_series = true;
    p->points_due = count;
    p->form->series(p, machine, metric, unit, count);
    return true;
}

bool
points_add(points_out *p, const result_point *point)
{
    if (!p->in_series || p->points_due == 0)
        return false;
    p->points_due--;
    p->form->point(p, point);
    return true;
}

bool
points_close(points_out *p, view cursor)
{
    if (!p->in_series || p->points_due != 0)
        return false;
    p->in_series = false;
    p->form->close(p, cursor);
    return true;
}

bool
points_end(points_out *p)
{
    open_answer(p, 0);
    p->form->end(p);
    return !p->in_series && p->series_due == 0 && !p->text.failed && !p->lead.failed;
}

void
points_taken(points_out *p)
{
    bool comma = p->text.comma;

    json_reset(&p->text);
    p->text.comma = comma;
}
