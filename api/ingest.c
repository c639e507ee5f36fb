/* ingest.c - POST /ingest: a request body becomes rows in the lanes of the partitions.
 *
 *   body --decoder--> reading --machine? clock?--> sink of its partition
 *                        |                         24-byte rows, in the lane itself; behind them
 *                        |                         names of unknown series and changed units
 *                        +--> errors of the 207
 *
 *   short body   decoded at once into room reserved in the lanes; all of it is discarded when the
 *                body turns out to be no JSON, or to have too many readings
 *   long body    decoded in slices, one a loop turn, into private memory; sent when it proved sound
 *
 * Nothing is sent before the whole body was read.  The 207 leaves when every partition has said
 * STORED; if one does not, the whole request is a 503 (or 507), and what other partitions stored is
 * harmless.
 */
#include "api/front.h"
#include "proto/err.h"
#include "proto/hash.h"
#include "proto/readings.h"

#include <stdlib.h>

enum {
    SLICED_FROM = 256 << 10, /* bytes of a body that is decoded in slices */
    SLICE_NS = 250000,
    SLICE_LOOK = 64,    /* readings between two looks at the clock */
    READING_MIN = 64,   /* no sound reading is shorter than this, in JSON or MessagePack */
    NAMES_SLACK = 4096, /* room for names behind the rows of a reservation */
    MESSAGE_MAX = 512 << 10,
    PAD = 16,
    KEPT_INTAKES = 64,
    ERRORS_MAX = 10000, /* listed in a 207; the rest is only counted, or an answer could be 40 bodies long */
    UNIT_MAX = 256,
};
#define FUTURE_US (INT64_C(5) * 60 * 1000000)
#define OLD_US    (INT64_C(3650) * 86400 * 1000000)

typedef struct name { /* one name_row of a sink, and who brought it */
    uint64_t hash;
    uint32_t at;      /* offset of the name_row in sink.names */
    uint32_t row;     /* the first row that needs it */
    uint32_t reading; /* index in the request */
    uint32_t sent_as; /* while a private sink is being sent: 1 + its number in the message */
} name;

typedef struct newcomer { /* a reading of a series that had no number: the budget may refuse it */
    uint32_t name;
    uint32_t reading;
} newcomer;

typedef struct sink {  /* what goes to one partition */
    uint8_t     *body; /* the reservation in the lane; NULL: rows are private */
    uint32_t     room; /* of the reservation */
    ask         *asked;
    reading_row *rows;
    uint32_t     row_count;
    uint32_t     row_room;
    reading_row *own_rows;
    uint32_t     own_room;
    uint8_t     *names;
    uint32_t     names_len;
    uint32_t     names_room;
    name        *name_list;
    uint32_t     name_count;
    uint32_t     name_room;
    uint32_t    *slots; /* open addressing: 1 + index in name_list */
    uint32_t     slot_count;
    newcomer    *newcomers;
    uint32_t     newcomer_count;
    uint32_t     newcomer_room;
    uint32_t    *order; /* while a private sink is being sent: the names of a message */
    uint32_t     order_room;
    bool         used;
    bool         limited; /* the partition refused series of it */
} sink;

enum outcome { GOING_ON, SOUND, SYNTAX, SCHEMA, TOO_MANY, NO_ROOM };

typedef struct intake intake;
struct intake {
    intake          *next; /* in the queue of long bodies, or of the kept ones */
    call            *c;
    readings_decoder decoder;
    enum readings_next (*decode)(readings_decoder *d, reading *out);
    uint8_t *copy; /* of a body without readable bytes behind it */
    view     body;
    json_out errors;
    uint32_t listed; /* of the rejected ones */
    int64_t  now_us;
    uint32_t readings;
    uint32_t ceiling;
    uint32_t rows_max;
    uint32_t accepted;
    uint32_t rejected;
    uint32_t waiting;
    uint32_t durability;
    bool     in_lanes;
    bool     queued;
    bool     over;
    /* the machine of the reading before this one */
    view     last_machine;
    uint32_t last_no;
    uint16_t last_part;
    uint16_t parts;
    sink     sinks[]; /* one a partition */
};

struct ingest_jobs {
    front   *f;
    intake  *first; /* long bodies, in order of arrival */
    intake **tail;
    intake  *kept;
    uint32_t kept_count;
    uint16_t parts;
};

/* ---- life of an intake ---- */

static void
sink_free(sink *s)
{
    free(s->own_rows);
    free(s->names);
    free(s->name_list);
    free(s->slots);
    free(s->newcomers);
    free(s->order);
}

static void
intake_free(intake *in)
{
    for (uint16_t p = 0; p < in->parts; p++)
        sink_free(&in->sinks[p]);
    json_out_free(&in->errors);
    free(in);
}

static void
sink_reset(sink *s)
{
    s->body = NULL;
    s->asked = NULL;
    s->rows = NULL;
    s->row_count = 0;
    s->row_room = 0;
    s->names_len = 0;
    s->name_count = 0;
    s->newcomer_count = 0;
    s->used = false;
    s->limited = false;
    if (s->slots != NULL)
        memset(s->slots, 0, s->slot_count * sizeof *s->slots);
}

static intake *
intake_new(ingest_jobs *j, call *c)
{
    intake *in = j->kept;

    if (in != NULL) {
        j->kept = in->next;
        j->kept_count--;
    } else {
        in = calloc(1, sizeof *in + j->parts * sizeof(sink));
        ASSERT(in != NULL);
        in->parts = j->parts;
    }
    in->c = c;
    in->copy = NULL;
    in->next = NULL;
    in->readings = in->accepted = in->rejected = in->waiting = in->listed = 0;
    in->queued = in->over = false;
    in->last_machine = (view){ 0 };
    json_reset(&in->errors);
    return in;
}

static void
unqueue(ingest_jobs *j, intake *in)
{
    for (intake **at = &j->first; *at != NULL; at = &(*at)->next) {
        if (*at != in)
            continue;
        *at = in->next;
        if (*at == NULL)
            j->tail = at;
        break;
    }
    in->queued = false;
}

/* The call has ended. */
static void
intake_drop(void *kept)
{
    intake      *in = kept;
    ingest_jobs *j = in->c->f->jobs;

    if (in->queued)
        unqueue(j, in);
    free(in->copy);
    if (j->kept_count >= KEPT_INTAKES) {
        intake_free(in);
        return;
    }
    for (uint16_t p = 0; p < in->parts; p++) {
        if (in->sinks[p].own_room > 4096 ||
            in->sinks[p].names_room > 65536) { /* rare giants are not kept */
            sink_free(&in->sinks[p]);
            in->sinks[p] = (sink){ 0 };
        } else if (in->sinks[p].used) {
            sink_reset(&in->sinks[p]);
        }
    }
    in->next = j->kept;
    j->kept = in;
    j->kept_count++;
}

/* ---- names: series without a number, units that changed ---- */

/* Room for `want` items; memory has a bound by the body's length. */
static void
grow(void **at, uint32_t *room, uint32_t want, size_t size)
{
    uint32_t more = *room == 0 ? 64 : *room;

    if (want <= *room)
        return;
    while (more < want)
        more *= 2;
    *at = realloc(*at, more * size);
    ASSERT(*at != NULL);
    *room = more;
}

static bool
name_is(const sink *s, const name *n, uint64_t hash, const name_row *row, view metric, view unit)
{
    const uint8_t *at = s->names + n->at;
    name_row       have;

    if (n->hash != hash)
        return false;
    memcpy(&have, at, sizeof have);
    return have.machine == row->machine && have.series == row->series &&
           view_eq(view_of(at + sizeof have, have.metric_len), metric) &&
           view_eq(view_of(at + sizeof have + have.metric_len, have.unit_len), unit);
}

static void
rehash(sink *s)
{
    uint32_t count = s->slot_count == 0 ? 64 : s->slot_count * 2;

    free(s->slots);
    s->slots = calloc(count, sizeof *s->slots);
    ASSERT(s->slots != NULL);
    s->slot_count = count;
    for (uint32_t i = 0; i < s->name_count; i++) {
        uint64_t at = s->name_list[i].hash & (count - 1);

        while (s->slots[at] != 0)
            at = (at + 1) & (count - 1);
        s->slots[at] = i + 1;
    }
}

static uint32_t
append_name(sink *s, const name *n, const name_row *row, view metric, view unit)
{
    uint32_t len = (uint32_t)name_row_len(row->metric_len, row->unit_len);
    uint8_t *at;

    grow((void **)&s->names, &s->names_room, s->names_len + len, 1);
    grow((void **)&s->name_list, &s->name_room, s->name_count + 1, sizeof *s->name_list);
    at = s->names + s->names_len;
    memset(at, 0, len);
    memcpy(at, row, sizeof *row);
    memcpy(at + sizeof *row, metric.at, metric.len);
    if (unit.len > 0)
        memcpy(at + sizeof *row + metric.len, unit.at, unit.len);
    s->name_list[s->name_count] = *n;
    s->name_list[s->name_count].at = s->names_len;
    s->names_len += len;
    return s->name_count++;
}

/* The index of the name row that says this; made when it is not there. */
static uint32_t
name_of(sink *s, const name_row *row, const reading *r, uint32_t reading_index)
{
    name     n = { .row = s->row_count, .reading = reading_index };
    uint64_t at;

    n.hash = hash64(row->machine ^ (uint64_t)row->series << 32, r->metric.at, r->metric.len);
    if (s->name_count * 2 >= s->slot_count)
        rehash(s);
    for (at = n.hash & (s->slot_count - 1); s->slots[at] != 0; at = (at + 1) & (s->slot_count - 1))
        if (name_is(s, &s->name_list[s->slots[at] - 1], n.hash, row, r->metric, r->unit))
            return s->slots[at] - 1;
    s->slots[at] = s->name_count + 1;
    return append_name(s, &n, row, r->metric, r->unit);
}

/* ---- rows ---- */

static uint64_t
wait_ns(const call *c)
{
    return c->f->options->limits_ingest_wait_ms * UINT64_C(1000000);
}

/* Room in the lane of partition `part`; false: it is full. */
static bool
reserve(intake *in, sink *s, uint16_t part)
{
    call    *c = in->c;
    uint32_t room =
        (uint32_t)(sizeof(readings_head) + in->rows_max * sizeof(reading_row) + NAMES_SLACK);

    s->asked = call_expect(c, NULL, true);
    s->body = ak_ask_reserve(c->f->k, addr_of(KIND_INGEST, part), MSG_READINGS, room, wait_ns(c),
                             s->asked, &s->asked->corr);
    if (s->body == NULL) {
        call_unexpect(s->asked);
        s->asked = NULL;
        return false;
    }
    s->room = room;
    s->rows = (reading_row *)(void *)(s->body + sizeof(readings_head));
    s->row_room = in->rows_max;
    return true;
}

static bool
sink_open(intake *in, sink *s, uint16_t part)
{
    s->used = true;
    if (in->in_lanes)
        return reserve(in, s, part);
    s->rows = s->own_rows;
    s->row_room = s->own_room;
    return true;
}

static void
note_newcomer(sink *s, uint32_t name_index, uint32_t reading_index)
{
    grow((void **)&s->newcomers, &s->newcomer_room, s->newcomer_count + 1, sizeof *s->newcomers);
    s->newcomers[s->newcomer_count++] = (newcomer){ name_index, reading_index };
}

/* A good reading becomes a row.  False: the lane is full. */
static bool
sink_add(intake *in, uint16_t part, uint32_t machine, const reading *r)
{
    sink        *s = &in->sinks[part];
    board       *b = in->c->f->board;
    name_row     row = { machine, 0, (uint16_t)r->metric.len, (uint16_t)r->unit.len,
                         in->c->who.tenant };
    reading_row *to;
    bool         same_unit = true;

    if (!s->used && !sink_open(in, s, part))
        return false;
    if (s->row_count == s->row_room) {
        ASSERT(!in->in_lanes);
        grow((void **)&s->own_rows, &s->own_room, s->row_count + 1, sizeof *s->own_rows);
        s->rows = s->own_rows;
        s->row_room = s->own_room;
    }
    to = &s->rows[s->row_count];
    row.series = board_series_no(b, part, machine, r->metric, r->unit, &same_unit);
    *to = (reading_row){ row.series, 0, r->time_us, r->value };
    if (UNLIKELY(row.series == 0)) {
        to->series = name_of(s, &row, r, in->readings);
        to->flags = ROW_NEW;
        note_newcomer(s, to->series, in->readings);
    } else if (UNLIKELY(!same_unit)) {
        name_of(s, &row, r, in->readings);
    }
    s->row_count++;
    return true;
}

/* ---- judging ---- */

/* False: enough are listed. */
static bool
error_open(intake *in, uint32_t index)
{
    json_out *j = &in->errors;

    in->rejected++;
    if (in->listed == ERRORS_MAX)
        return false;
    in->listed++;
    if (j->len == 0)
        json_open(j, '[');
    json_open(j, '{');
    json_name_int(j, "index", index);
    return true;
}

static void
reject(intake *in, enum reading_error code, const reading *r)
{
    json_out *j = &in->errors;
    char      text[1400];
    size_t    n;
    bool      named = r->machine.len > 0 || code == READING_UNKNOWN_MACHINE;

    if (!error_open(in, in->readings))
        return;
    n = reading_error_text(code, r->member, text, sizeof text);
    if (named && code != READING_NOT_OBJECT)
        json_name_string(j, "machine_identifier", r->machine);
    else
        json_name_null(j, "machine_identifier");
    json_name_string(j, "error", view_of(text, n));
    json_close(j, '}');
}

/* Neighbours in a body often are of one machine.  (What is not in the body is in the decoder's
 * scratch, and gone with the next reading.) */
static uint32_t
machine_of(intake *in, view identifier, uint16_t *part)
{
    bool in_body = identifier.at >= in->body.at && identifier.at < in->body.at + in->body.len;

    if (in->last_machine.at == NULL || !view_eq(in->last_machine, identifier)) {
        in->last_no =
            board_machine_no_part(in->c->f->board, in->c->who.tenant, identifier, &in->last_part);
        in->last_machine = in_body ? identifier : (view){ 0 };
    }
    *part = in->last_part;
    return in->last_no;
}

static enum outcome
take(intake *in, const reading *r)
{
    enum reading_error e = r->error;
    uint32_t           machine = 0;
    uint16_t           part = 0;

    if (e == READING_OK || e > READING_UNKNOWN_MACHINE) {
        machine = machine_of(in, r->machine, &part);
        if (machine == 0 || part >= in->parts)
            e = READING_UNKNOWN_MACHINE;
    }
    if (e == READING_OK || e > READING_TIME_FUTURE) {
        if (r->time_us > in->now_us + FUTURE_US)
            e = READING_TIME_FUTURE;
        else if (r->time_us < in->now_us - OLD_US)
            e = READING_TIME_OLD;
    }
    if (e != READING_OK) {
        reject(in, e, r);
    } else {
        if (!sink_add(in, part, machine, r))
            return NO_ROOM;
        in->accepted++;
    }
    in->readings++;
    return GOING_ON;
}

/* Decodes until the end, or until `until_ns` when it is not 0. */
static enum outcome
decode(intake *in, uint64_t until_ns)
{
    reading r;

    for (;;) {
        enum outcome o;

        switch (in->decode(&in->decoder, &r)) {
        case READINGS_ITEM:
            if (in->readings == in->ceiling)
                return TOO_MANY;
            o = take(in, &r);
            if (o != GOING_ON)
                return o;
            break;
        case READINGS_END:
            return SOUND;
        case READINGS_SYNTAX:
            return SYNTAX;
        default:
            return SCHEMA;
        }
        if (until_ns != 0 && in->readings % SLICE_LOOK == 0 && front_now_ns() >= until_ns)
            return GOING_ON;
    }
}

/* ---- answering ---- */

static void
add_limit_errors(intake *in)
{
    static const char text[] = "Series limit of the tenant reached";
    json_out         *j = &in->errors;

    for (uint16_t p = 0; p < in->parts; p++) {
        sink *s = &in->sinks[p];

        for (uint32_t i = 0; s->used && s->limited && i < s->newcomer_count; i++) {
            const uint8_t *at = s->names + s->name_list[s->newcomers[i].name].at;
            name_row       row;
            board_machine  m;
            view           metric;
            bool           same_unit;

            memcpy(&row, at, sizeof row);
            metric = view_of(at + sizeof row, row.metric_len);
            if (board_series_no(in->c->f->board, p, row.machine, metric, (view){ 0 }, &same_unit) !=
                0)
                continue;
            in->accepted--;
            if (!error_open(in, s->newcomers[i].reading))
                continue;
            if (table_read(board_table(in->c->f->board, BOARD_MACHINES, 0), row.machine, &m))
                json_name_string(j, "machine_identifier",
                                 board_string(in->c->f->board, BOARD_MACHINES, 0, m.identifier));
            else
                json_name_null(j, "machine_identifier");
            json_name_string(j, "error", view_of(text, sizeof text - 1));
            json_close(j, '}');
        }
    }
}

static void
answer_207(intake *in)
{
    static const char *const durability[] = { "fsync", "os", "memory" };
    call                    *c = in->c;
    json_out                *j;

    in->over = true;
    add_limit_errors(in);
    if (in->errors.len > 0)
        json_close(&in->errors, ']');
    count_add(c->f->counters, COUNT_READINGS, in->accepted);
    count_add(c->f->counters, COUNT_READINGS_BAD, in->rejected);
    j = call_json(c);
    json_open(j, '{');
    json_name_int(j, "accepted_count", in->accepted);
    json_name_int(j, "rejected_count", in->rejected);
    json_name(j, VIEW_LIT("errors"));
    json_raw(j, in->errors.len > 0 ? view_of(in->errors.at, in->errors.len) : VIEW_LIT("[]"));
    json_close(j, '}');
    j->failed = j->failed || in->errors.failed;
    if (c->x != NULL)
        http_add_static(c->x, "X-Durability", durability[in->durability % COUNT_OF(durability)]);
    call_send_json(c, 207);
}

static void
give_up(intake *in, int rc)
{
    in->over = true;
    call_unavailable(in->c, KIND_INGEST, rc);
}

static void
on_stored(call *c, const ak_msg *m)
{
    intake *in = call_kept(c);
    int32_t rc = E_LATE;
    stored  done;

    if (in->over)
        return;
    if (m->type == MSG_STORED && m->len >= sizeof done) {
        memcpy(&done, m->body, sizeof done);
        rc = done.rc;
        if (done.durability > in->durability)
            in->durability = done.durability;
    } else if (m->type == MSG_FAIL && m->len >= sizeof rc) {
        memcpy(&rc, m->body, sizeof rc);
    }
    if (rc == E_LIMIT)
        in->sinks[c->reply_tag].limited = true;
    else if (rc != E_OK) {
        give_up(in, rc);
        return;
    }
    if (--in->waiting == 0)
        answer_207(in);
}

/* ---- sending ---- */

static void
fill_head(const intake *in, void *at, uint32_t rows, uint32_t names, uint32_t names_len)
{
    readings_head head = { rows, names, names_len, in->c->who.tenant, in->now_us, 0 };

    memcpy(at, &head, sizeof head);
}

static void
sink_discard(intake *in, sink *s)
{
    if (s->body == NULL)
        return;
    ak_discard(in->c->f->k, s->body);
    call_unexpect(s->asked);
    s->body = NULL;
    s->asked = NULL;
}

static void
discard_all(intake *in)
{
    for (uint16_t p = 0; p < in->parts; p++)
        sink_discard(in, &in->sinks[p]);
}

/* More names than the reservation has room for: its rows become private. */
static void
sink_spill(intake *in, sink *s)
{
    grow((void **)&s->own_rows, &s->own_room, s->row_count, sizeof *s->own_rows);
    memcpy(s->own_rows, s->rows, s->row_count * sizeof *s->rows);
    s->rows = s->own_rows;
    sink_discard(in, s);
}

static void
send_reserved(intake *in, sink *s, uint16_t part)
{
    uint32_t rows_len = s->row_count * (uint32_t)sizeof(reading_row);
    uint32_t len = (uint32_t)sizeof(readings_head) + rows_len + s->names_len;

    fill_head(in, s->body, s->row_count, s->name_count, s->names_len);
    if (s->names_len > 0)
        memcpy(s->body + sizeof(readings_head) + rows_len, s->names, s->names_len);
    s->asked->then = on_stored;
    s->asked->tag = part;
    in->waiting++;
    ak_commit(in->c->f->k, s->body, len);
    s->body = NULL;
}

typedef struct piece { /* of a private sink: rows [from, until) and the names they need */
    uint32_t from;
    uint32_t until;
    uint32_t names;
    uint32_t names_len;
    uint32_t next_name; /* names of changed units go with their first row */
} piece;

static uint32_t
name_len_of(const sink *s, uint32_t index)
{
    name_row row;

    memcpy(&row, s->names + s->name_list[index].at, sizeof row);
    return (uint32_t)name_row_len(row.metric_len, row.unit_len);
}

/* Which name, not in the piece yet, does row i bring along?  -1: none. */
static int64_t
wanted_name(const sink *s, piece *p, uint32_t i)
{
    const reading_row *r = &s->rows[i];

    if (r->flags & ROW_NEW)
        return s->name_list[r->series].sent_as == 0 ? (int64_t)r->series : -1;
    while (p->next_name < s->name_count && s->name_list[p->next_name].row < i)
        p->next_name++;
    if (p->next_name < s->name_count && s->name_list[p->next_name].row == i)
        return p->next_name;
    return -1;
}

/* Takes as many rows as a message holds. */
static void
piece_cut(sink *s, piece *p, uint32_t max)
{
    uint32_t len = sizeof(readings_head);

    for (uint32_t n = 0; n < s->name_count; n++)
        s->name_list[n].sent_as = 0;
    p->names = p->names_len = 0;
    for (p->until = p->from; p->until < s->row_count; p->until++) {
        int64_t  n = wanted_name(s, p, p->until);
        uint32_t more = n < 0 ? 0 : name_len_of(s, (uint32_t)n);

        if (len + sizeof(reading_row) + more > max)
            return;
        len += (uint32_t)sizeof(reading_row) + more;
        if (n < 0)
            continue;
        grow((void **)&s->order, &s->order_room, p->names + 1, sizeof *s->order);
        s->order[p->names] = (uint32_t)n;
        s->name_list[n].sent_as = ++p->names;
        p->names_len += more;
    }
}

static void
piece_fill(const intake *in, const sink *s, const piece *p, uint8_t *at)
{
    uint8_t *names = at + sizeof(readings_head) + (p->until - p->from) * sizeof(reading_row);

    fill_head(in, at, p->until - p->from, p->names, p->names_len);
    at += sizeof(readings_head);
    for (uint32_t i = p->from; i < p->until; i++, at += sizeof(reading_row)) {
        reading_row r = s->rows[i];

        if (r.flags & ROW_NEW)
            r.series = s->name_list[r.series].sent_as - 1;
        memcpy(at, &r, sizeof r);
    }
    for (uint32_t i = 0; i < p->names; i++) {
        memcpy(names, s->names + s->name_list[s->order[i]].at, name_len_of(s, s->order[i]));
        names += name_len_of(s, s->order[i]);
    }
}

static bool
send_private(intake *in, sink *s, uint16_t part)
{
    call    *c = in->c;
    addr     to = addr_of(KIND_INGEST, part);
    uint32_t max = (uint32_t)min_u64(MESSAGE_MAX, ak_body_max(c->f->k, to));
    piece    p = { 0 };

    for (; p.from < s->row_count; p.from = p.until) {
        ask     *a;
        uint8_t *at;
        uint32_t len;

        piece_cut(s, &p, max);
        if (p.until == p.from)
            return false;
        len = (uint32_t)(sizeof(readings_head) + (p.until - p.from) * sizeof(reading_row)) +
              p.names_len;
        a = call_expect(c, on_stored, true);
        a->tag = part;
        at = ak_ask_reserve(c->f->k, to, MSG_READINGS, len, wait_ns(c), a, &a->corr);
        if (at == NULL) {
            call_unexpect(a);
            return false;
        }
        piece_fill(in, s, &p, at);
        ak_commit(c->f->k, at, len);
        in->waiting++;
    }
    return true;
}

/* The body is sound. */
static void
send_all(intake *in)
{
    bool ok = true;

    for (uint16_t p = 0; p < in->parts; p++) {
        sink *s = &in->sinks[p];

        if (s->body != NULL &&
            sizeof(readings_head) + s->row_count * sizeof(reading_row) + s->names_len > s->room)
            sink_spill(in, s);
    }
    for (uint16_t p = 0; p < in->parts && ok; p++) {
        sink *s = &in->sinks[p];

        if (s->body != NULL)
            send_reserved(in, s, p);
        else if (s->used)
            ok = send_private(in, s, p);
    }
    if (!ok) {
        discard_all(in);
        give_up(in, E_FULL);
    } else if (in->waiting == 0) {
        answer_207(in);
    }
}

/* False: answered with 429.  Rejected readings count: they cost as much to judge. */
static bool
within_budget(call *c, uint64_t readings)
{
    limits_rate rate = { c->f->options->limits_readings_per_s, UINT64_C(1000000000) };

    return call_within_limit(c, LIMIT_READINGS, c->who.tenant, rate, readings);
}

static void
conclude(intake *in, enum outcome o)
{
    call       *c = in->c;
    const char *type;

    if (o == SOUND && in->readings > 0) {
        if (within_budget(c, in->readings)) {
            send_all(in);
        } else {
            in->over = true;
            discard_all(in);
        }
        return;
    }
    in->over = true;
    discard_all(in);
    switch (o) {
    case SYNTAX:
        call_fail(c, 400,
                  in->decode == readings_msgpack_next ? "Request body is not valid MessagePack."
                                                      : "Request body is not valid JSON.");
        break;
    case NO_ROOM:
        give_up(in, E_FULL);
        break;
    case TOO_MANY:
    case SOUND:
        call_fail_field(c, "body", "readings",
                        o == SOUND ? "At least one reading is required."
                                   : "Too many readings in one request.",
                        "value_error");
        break;
    default:
        type = readings_schema_type(&in->decoder);
        call_fail_field(c, "body", strcmp(type, "object_type") == 0 ? NULL : "readings",
                        strcmp(type, "missing") == 0       ? "Field required"
                        : strcmp(type, "object_type") == 0 ? "Must be an object"
                                                           : "Must be an array",
                        type);
    }
}

/* ---- the request ---- */

/* The JSON decoder looks up to 16 bytes past the end. */
static view
padded(intake *in)
{
    call *c = in->c;
    view  body = c->bytes;

    if (body.at == c->x->body.at && c->x->body_padded)
        return body;
    in->copy = malloc(body.len + PAD);
    ASSERT(in->copy != NULL);
    if (body.len > 0)
        memcpy(in->copy, body.at, body.len);
    memset(in->copy + body.len, 0, PAD);
    return view_of(in->copy, body.len);
}

typedef struct ingest_format {
    const char *type;
    void (*start)(readings_decoder *d, view body);
    enum readings_next (*next)(readings_decoder *d, reading *out);
    bool padded;    /* looks behind the end of the body */
    bool unlimited; /* by a number of readings: its length bounds it */
} ingest_format;

static const ingest_format formats[] = {
    { "application/json", readings_json_start, readings_json_next, true, false },
    { "application/msgpack", readings_msgpack_start, readings_msgpack_next, false, false },
    { "application/x-msgpack", readings_msgpack_start, readings_msgpack_next, false, false },
    { "application/x-ndjson", readings_ndjson_start, readings_json_next, true, true },
    { "application/jsonl", readings_ndjson_start, readings_json_next, true, true },
};

/* No type at all: JSON. */
static const ingest_format *
format_of(view type)
{
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (type.len == 0 || call_type_is(type, formats[i].type))
            return &formats[i];
    return NULL;
}

static void
start_decoder(intake *in, const ingest_format *format)
{
    in->body = format->padded ? padded(in) : in->c->bytes;
    in->decode = format->next;
    format->start(&in->decoder, in->body);
}

static void
enqueue(ingest_jobs *j, intake *in)
{
    in->queued = true;
    *j->tail = in;
    j->tail = &in->next;
}

static void
post_ingest(call *c)
{
    const options       *o = c->f->options;
    ingest_jobs         *j = c->f->jobs;
    const ingest_format *format = format_of(call_header(c, "content-type"));
    intake              *in;

    if (format == NULL) {
        call_fail(c, 415,
                  "Content type must be application/json, application/x-ndjson or "
                  "application/msgpack.");
        return;
    }
    if (!within_budget(c, 0))
        return; /* spares the decoding */
    in = intake_new(j, c);
    call_keep(c, in, intake_drop);
    in->now_us = front_wall_us();
    in->ceiling = format->unlimited ? UINT32_MAX : (uint32_t)o->limits_readings_per_request;
    in->rows_max = (uint32_t)min_u64(in->ceiling, c->bytes.len / READING_MIN + 1);
    in->durability = o->storage_durability;
    in->in_lanes =
        c->bytes.len <= SLICED_FROM &&
        sizeof(readings_head) + in->rows_max * sizeof(reading_row) + NAMES_SLACK <= MESSAGE_MAX;
    start_decoder(in, format);
    if (c->bytes.len > SLICED_FROM)
        enqueue(j, in);
    else
        conclude(in, decode(in, 0));
}

bool
ingest_turn(ingest_jobs *j)
{
    intake      *in = j->first;
    enum outcome o;

    if (in == NULL)
        return false;
    o = decode(in, front_now_ns() + SLICE_NS);
    in->last_machine = (view){ 0 }; /* a machine may be deleted before the next slice */
    if (o != GOING_ON) {
        unqueue(j, in);
        conclude(in, o);
    }
    return j->first != NULL;
}

ingest_jobs *
ingest_new(front *f)
{
    ingest_jobs *j = calloc(1, sizeof *j);

    if (j == NULL)
        return NULL;
    j->f = f;
    j->parts = ak_parts(f->k, KIND_INGEST);
    j->tail = &j->first;
    return j;
}

void
ingest_free(ingest_jobs *j)
{
    if (j == NULL)
        return;
    for (intake *in = j->kept, *next; in != NULL; in = next) {
        next = in->next;
        intake_free(in);
    }
    free(j);
}

extern const route ingest_routes[];

const route ingest_routes[] = {
    { POST, 207, WHO_NOBODY | WHO_SCOPE(SCOPE_INGEST), UINT32_MAX, 0, "/ingest", NULL, NULL,
      post_ingest, 0, "Append readings; the 207 leaves when they are on stable storage" },
    { 0 },
};
