/* ingest_sink.c - see ingest_sink.h.
 *
 *   message:  | readings_head | rows, 24 bytes each | name rows |
 */
#include "api/ingest_sink.h"
#include "proto/err.h"
#include "proto/hash.h"

#include <stdlib.h>

enum {
    NAMES_SLACK = 4096,       /* room for names behind the rows of a reservation */
    MESSAGE_MAX = 512 << 10,  /* of a reservation */
    PIECE_MAX = 64 << 10,     /* of a long body: 2 700 rows, which hold the partition for less than a millisecond */
    PIECES_UNDER_WAY = 8,     /* of all long bodies to one partition */
    ROWS_KEPT = 4096,
    NAMES_KEPT = 65536,
};

typedef struct name { /* one name_row of a sink, and who brought it */
    uint64_t hash;
    uint32_t at;       /* offset of the name_row in sink.names */
    uint32_t row;      /* the first row that needs it */
    uint32_t sent_in;  /* while a private sink is being sent: the last piece that has it, and ... */
    uint32_t sent_as;  /* ... its number there */
} name;

typedef struct newcomer { /* a reading of a series that had no number: the budget may refuse it */
    uint32_t name;
    uint32_t reading;
} newcomer;

typedef struct piece { /* of a private sink: rows [from, until) and the names they need */
    uint32_t no;
    uint32_t from;
    uint32_t until;
    uint32_t names;
    uint32_t names_len;
    uint32_t next_name; /* names of changed units go with their first row */
} piece;

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
    piece        cut;     /* what was sent last */
    uint32_t     pieces;  /* under way */
    bool         used;
    bool         limited; /* the partition refused series of it */
} sink;

struct sinks {
    call     *c;
    uint32_t *under_way;
    int64_t   now_us;
    uint32_t  rows_max;
    uint32_t  waiting;
    uint32_t  listed;  /* newcomers of `part` that were looked at */
    uint16_t  sending; /* the partition whose turn it is */
    uint16_t  listing;
    uint16_t  parts;
    bool      in_lanes;
    sink      sink[]; /* one a partition */
};

/* ---- life ---- */

sinks *
sinks_new(uint16_t parts, uint32_t *under_way)
{
    sinks *s = calloc(1, sizeof *s + parts * sizeof(sink));

    ASSERT(s != NULL);
    s->parts = parts;
    s->under_way = under_way;
    return s;
}

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

void
sinks_free(sinks *s)
{
    for (uint16_t p = 0; p < s->parts; p++)
        sink_free(&s->sink[p]);
    free(s);
}

void
sinks_begin(sinks *s, call *c, int64_t now_us, uint32_t rows_max, bool in_lanes)
{
    s->c = c;
    s->now_us = now_us;
    s->rows_max = rows_max;
    s->waiting = s->listed = 0;
    s->sending = s->listing = 0;
    s->in_lanes = in_lanes && sizeof(readings_head) + rows_max * sizeof(reading_row) + NAMES_SLACK <= MESSAGE_MAX;
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
    s->cut = (piece){ 0 };
    s->pieces = 0;
    s->used = false;
    s->limited = false;
    if (s->slots != NULL)
        memset(s->slots, 0, s->slot_count * sizeof *s->slots);
}

/* The call has ended, and with it every ask of its own. */
bool
sinks_rest(sinks *s, bool giants)
{
    bool kept = false;

    for (uint16_t p = 0; p < s->parts; p++) {
        sink *one = &s->sink[p];

        s->under_way[p] -= one->pieces; /* nobody was there to hear of their replies */
        bool giant = one->own_room > ROWS_KEPT || one->names_room > NAMES_KEPT;

        if (giant && !giants) {
            sink_free(one);
            *one = (sink){ 0 };
        } else if (one->used) {
            sink_reset(one);
            kept = kept || giant;
        }
    }
    s->c = NULL;
    return kept;
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
name_of(sink *s, const name_row *row, const reading *r)
{
    name     n = { .row = s->row_count };
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
reserve(sinks *all, sink *s, uint16_t part)
{
    call    *c = all->c;
    uint32_t room =
        (uint32_t)(sizeof(readings_head) + all->rows_max * sizeof(reading_row) + NAMES_SLACK);

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
    s->row_room = all->rows_max;
    return true;
}

static bool
sink_open(sinks *all, sink *s, uint16_t part)
{
    s->used = true;
    if (all->in_lanes)
        return reserve(all, s, part);
    /* All the room at once: pages come as they are written to, and nothing is ever moved. */
    grow((void **)&s->own_rows, &s->own_room, all->rows_max, sizeof *s->own_rows);
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

bool
sinks_add(sinks *all, uint16_t part, uint32_t machine, const reading *r, uint32_t index)
{
    sink        *s = &all->sink[part];
    board       *b = all->c->f->board;
    name_row     row = { machine, 0, (uint16_t)r->metric.len, (uint16_t)r->unit.len,
                         all->c->who.tenant };
    reading_row *to;
    bool         same_unit = true;

    if (!s->used && !sink_open(all, s, part))
        return false;
    if (s->row_count == s->row_room) {
        ASSERT(!all->in_lanes);
        grow((void **)&s->own_rows, &s->own_room, s->row_count + 1, sizeof *s->own_rows);
        s->rows = s->own_rows;
        s->row_room = s->own_room;
    }
    to = &s->rows[s->row_count];
    row.series = board_series_no(b, part, machine, r->metric, r->unit, &same_unit);
    *to = (reading_row){ row.series, 0, r->time_us, r->value };
    if (UNLIKELY(row.series == 0)) {
        to->series = name_of(s, &row, r);
        to->flags = ROW_NEW;
        note_newcomer(s, to->series, index);
    } else if (UNLIKELY(!same_unit)) {
        name_of(s, &row, r);
    }
    s->row_count++;
    return true;
}

/* ---- out of the lanes ---- */

static void
sink_discard(sinks *all, sink *s)
{
    if (s->body == NULL)
        return;
    ak_discard(all->c->f->k, s->body);
    call_unexpect(s->asked);
    s->body = NULL;
    s->asked = NULL;
}

void
sinks_discard(sinks *s)
{
    for (uint16_t p = 0; p < s->parts; p++)
        sink_discard(s, &s->sink[p]);
}

static void
sink_spill(sinks *all, sink *s)
{
    grow((void **)&s->own_rows, &s->own_room, (uint32_t)max_u64(s->row_count, 1), sizeof *s->own_rows);
    memcpy(s->own_rows, s->rows, s->row_count * sizeof *s->rows);
    s->rows = s->own_rows;
    s->row_room = s->own_room;
    sink_discard(all, s);
}

void
sinks_leave_lanes(sinks *s)
{
    for (uint16_t p = 0; p < s->parts; p++)
        if (s->sink[p].body != NULL)
            sink_spill(s, &s->sink[p]);
    s->in_lanes = false;
}

/* ---- sending ---- */

static void
fill_head(const sinks *all, void *at, uint32_t rows, uint32_t names, uint32_t names_len)
{
    readings_head head = { rows, names, names_len, all->c->who.tenant, all->now_us, 0 };

    memcpy(at, &head, sizeof head);
}

static uint32_t
reserved_len(const sink *s)
{
    return (uint32_t)sizeof(readings_head) + s->row_count * (uint32_t)sizeof(reading_row) + s->names_len;
}

static void
send_reserved(sinks *all, sink *s, uint16_t part, call_then *then)
{
    uint32_t rows_len = s->row_count * (uint32_t)sizeof(reading_row);

    fill_head(all, s->body, s->row_count, s->name_count, s->names_len);
    if (s->names_len > 0)
        memcpy(s->body + sizeof(readings_head) + rows_len, s->names, s->names_len);
    s->asked->then = then;
    s->asked->tag = part;
    all->waiting++;
    ak_commit(all->c->f->k, s->body, reserved_len(s));
    s->body = NULL;
}

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
        return s->name_list[r->series].sent_in != p->no ? (int64_t)r->series : -1;
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

    p->no++;
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
        s->name_list[n].sent_in = p->no;
        s->name_list[n].sent_as = p->names++;
        p->names_len += more;
    }
}

static void
piece_fill(const sinks *all, const sink *s, const piece *p, uint8_t *at)
{
    uint8_t *names = at + sizeof(readings_head) + (p->until - p->from) * sizeof(reading_row);

    fill_head(all, at, p->until - p->from, p->names, p->names_len);
    at += sizeof(readings_head);
    for (uint32_t i = p->from; i < p->until; i++, at += sizeof(reading_row)) {
        reading_row r = s->rows[i];

        if (r.flags & ROW_NEW)
            r.series = s->name_list[r.series].sent_as;
        memcpy(at, &r, sizeof r);
    }
    for (uint32_t i = 0; i < p->names; i++) {
        memcpy(names, s->names + s->name_list[s->order[i]].at, name_len_of(s, s->order[i]));
        names += name_len_of(s, s->order[i]);
    }
}

static enum sending
send_piece(sinks *all, sink *s, uint16_t part, call_then *then)
{
    call    *c = all->c;
    addr     to = addr_of(KIND_INGEST, part);
    piece    p = s->cut;
    ask     *a;
    uint8_t *at;
    uint32_t len;

    if (all->under_way[part] >= PIECES_UNDER_WAY)
        return SEND_WAITS;
    p.from = p.until;
    piece_cut(s, &p, (uint32_t)min_u64(PIECE_MAX, ak_body_max(c->f->k, to)));
    s->cut.no = p.no; /* names know it, whether it can be sent or not */
    if (p.until == p.from)
        return SEND_FULL;
    len = (uint32_t)(sizeof(readings_head) + (p.until - p.from) * sizeof(reading_row)) + p.names_len;
    a = call_expect(c, then, true);
    a->tag = part;
    at = ak_ask_reserve(c->f->k, to, MSG_READINGS, len, wait_ns(c), a, &a->corr);
    if (at == NULL) {
        call_unexpect(a);
        return SEND_FULL;
    }
    piece_fill(all, s, &p, at);
    ak_commit(c->f->k, at, len);
    s->cut = p;
    s->pieces++;
    all->under_way[part]++;
    all->waiting++;
    return SENDING;
}

static enum sending
send_of(sinks *all, sink *s, uint16_t part, call_then *then)
{
    if (s->body != NULL && reserved_len(s) > s->room)
        sink_spill(all, s); /* more names than the reservation has room for */
    if (s->body == NULL)
        return send_piece(all, s, part, then);
    send_reserved(all, s, part, then);
    s->cut.until = s->row_count;
    return SENDING;
}

enum sending
sinks_send(sinks *s, call_then *then)
{
    for (; s->sending < s->parts; s->sending++) {
        sink *one = &s->sink[s->sending];

        if (one->used && one->cut.until < one->row_count)
            return send_of(s, one, s->sending, then);
    }
    return SENT;
}

uint32_t
sinks_waiting(const sinks *s)
{
    return s->waiting;
}

void
sinks_stored(sinks *s, uint32_t part, bool limited)
{
    sink *one = &s->sink[part];

    ASSERT(part < s->parts && s->waiting > 0);
    s->waiting--;
    one->limited = one->limited || limited;
    if (one->pieces > 0) { /* those of a lane count nowhere */
        one->pieces--;
        s->under_way[part]--;
    }
}

/* ---- those that a tenant's budget refused ---- */

static void
look_at_newcomer(const sinks *s, const sink *one, const newcomer *n, newcomer_seen *out)
{
    const uint8_t *at = one->names + one->name_list[n->name].at;
    name_row       row;
    view           metric;
    bool           same_unit;

    memcpy(&row, at, sizeof row);
    metric = view_of(at + sizeof row, row.metric_len);
    out->reading = n->reading;
    out->machine = row.machine;
    out->refused = board_series_no(s->c->f->board, s->listing, row.machine, metric, (view){ 0 }, &same_unit) == 0;
}

bool
sinks_next_newcomer(sinks *s, newcomer_seen *out)
{
    for (; s->listing < s->parts; s->listing++, s->listed = 0) {
        const sink *one = &s->sink[s->listing];

        if (!one->used || !one->limited || s->listed == one->newcomer_count)
            continue;
        look_at_newcomer(s, one, &one->newcomers[s->listed++], out);
        return true;
    }
    return false;
}
