/* ingest.c - POST /ingest: a request body becomes rows in the lanes of the partitions.
 *
 *   body --decoder--> reading --machine? clock?--> sink of its partition (ingest_sink.h)
 *                        |
 *                        +--> errors of the 207
 *
 *   phases of an intake:   COPY ─▶ DECODE ─▶ FORGET ─▶ SEND ─▶ REPLIES ─▶ LIST ─▶ the 207
 *
 * Most bodies are through in one go, their rows decoded into room reserved in the lanes; all of it is discarded when
 * the body turns out to be no JSON, or to have too many readings.  A turn of the loop has a slice of time for all of
 * this; what is over waits in a queue, from which the tenants are served in turn: a tenant with a hundred long bodies
 * has as much time as one with a single body.
 *
 * Nothing is sent before the whole body was read.  The 207 leaves when every partition has said STORED; if one does
 * not, the whole request is a 503 (or 507), and what other partitions stored is harmless.
 */
#include "api/ingest_sink.h"
#include "api/forget.h"
#include "proto/err.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SLICED_FROM = 256 << 10, /* bytes of a body that is not tried in one go */
    SLICE_NS = 200000,       /* of a turn: none is begun or gone on with behind it */
    SLICE_LOOK = 64,       /* readings between two looks at the clock, */
    SLICE_BYTES = 32 << 10, /* or bytes */
    READING_MIN = 64, /* no sound reading is shorter than this, in JSON or MessagePack */
    COPY_BYTES = 128 << 10,
    PAD = 16,
    KEPT_INTAKES = 64,
    GIANTS_KEPT = 4,
    ERRORS_MAX = 10000, /* listed in a 207; the rest is only counted, or an answer could be 40 bodies long */
    HEAD_ROOM = 96,     /* of the 207, in front of its errors */
};
#define FUTURE_US (INT64_C(5) * 60 * 1000000)
#define OLD_US    (INT64_C(3650) * 86400 * 1000000)

enum outcome { GOING_ON, SOUND, SYNTAX, SCHEMA, TOO_MANY, NO_ROOM };
enum phase { COPY, DECODE, FORGET, SEND, REPLIES, LIST, OVER };
enum progress { NEXT, MORE, WAITS }; /* the phase is over; there is more to do; or not before a reply */

typedef struct intake intake;
struct intake {
    intake          *next; /* in the queue of long bodies, or of the kept ones */
    call            *c;
    sinks           *sinks;
    readings_decoder decoder;
    const struct ingest_format *format;
    uint8_t *copy; /* of a body without readable bytes behind it */
    size_t   copied;
    size_t   forgotten; /* bytes of the body whose pages were given back */
    view     body;
    json_out errors;
    uint32_t listed; /* of the rejected ones */
    int64_t  now_us;
    uint64_t send_until_ns;
    uint32_t readings;
    uint32_t ceiling;
    uint32_t accepted;
    uint32_t rejected;
    uint32_t durability;
    uint8_t  phase;
    uint8_t  outcome; /* of decoding */
    bool     giant; /* it is kept with the memory of a long body */
    bool     queued;
    bool     stuck; /* in the queue, but until a reply came there is nothing to do */
    /* the machine of the reading before this one */
    view     last_machine;
    uint32_t last_no;
    uint16_t last_part;
};

struct ingest_jobs {
    front    *f;
    intake   *first; /* those that go on in slices, in order of arrival */
    intake  **tail;
    intake   *kept;
    uint32_t *under_way; /* pieces of long bodies by partition */
    uint32_t  kept_count;
    uint32_t  giants; /* of them */
    uint32_t  last_tenant;
    uint64_t  spent_ns; /* of this turn's slice */
    uint16_t  parts;
};

typedef struct ingest_format {
    const char *type;
    void (*start)(readings_decoder *d, view body);
    enum readings_next (*next)(readings_decoder *d, reading *out);
    const char *fault;
    bool        padded;    /* looks behind the end of the body */
    bool        unlimited; /* by a number of readings: its length bounds it */
} ingest_format;

static void go_on(intake *in);

/* ---- life of an intake ---- */

static void
intake_free(intake *in)
{
    sinks_free(in->sinks);
    json_out_free(&in->errors);
    free(in);
}

static intake *
intake_new(ingest_jobs *j, call *c)
{
    intake *in = j->kept;

    if (in != NULL) {
        j->kept = in->next;
        j->kept_count--;
        j->giants -= in->giant;
    } else {
        in = calloc(1, sizeof *in);
        ASSERT(in != NULL);
        in->sinks = sinks_new(j->parts, j->under_way);
    }
    in->c = c;
    in->copy = NULL;
    in->copied = in->forgotten = 0;
    in->next = NULL;
    in->readings = in->accepted = in->rejected = in->listed = 0;
    in->queued = in->stuck = false;
    in->phase = COPY;
    in->last_machine = (view){ 0 };
    json_reset(&in->errors);
    return in;
}

static void
enqueue(ingest_jobs *j, intake *in)
{
    in->queued = true;
    in->next = NULL;
    *j->tail = in;
    j->tail = &in->next;
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
    in->giant = sinks_rest(in->sinks, j->giants < GIANTS_KEPT);
    j->giants += in->giant;
    if (j->kept_count >= KEPT_INTAKES) {
        j->giants -= in->giant;
        intake_free(in);
        return;
    }
    in->next = j->kept;
    j->kept = in;
    j->kept_count++;
}

/* ---- judging ---- */

/* The 207's head is put in front of them when its numbers are known. */
static void
errors_begin(json_out *j)
{
    static const char blank[HEAD_ROOM] = { 0 };

    json_raw(j, view_of(blank, sizeof blank));
    j->comma = false;
    json_open(j, '[');
}

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
        errors_begin(j);
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
        if (machine == 0 || part >= in->c->f->jobs->parts)
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
        if (!sinks_add(in->sinks, part, machine, r, in->readings))
            return NO_ROOM;
        in->accepted++;
    }
    in->readings++;
    return GOING_ON;
}

/* Decodes until the end, or until `until_ns`. */
static enum outcome
decode(intake *in, uint64_t until_ns)
{
    size_t   look_at = readings_offset(&in->decoder) + SLICE_BYTES;
    uint32_t look_reading = in->readings + SLICE_LOOK;
    reading  r;

    for (;;) {
        enum outcome o = GOING_ON;

        switch (in->format->next(&in->decoder, &r)) {
        case READINGS_ITEM:
            if (in->readings == in->ceiling)
                return TOO_MANY;
            o = take(in, &r);
            break;
        case READINGS_PAUSE:
            look_at = 0;
            break;
        case READINGS_END:
            return SOUND;
        case READINGS_SYNTAX:
            return SYNTAX;
        default:
            return SCHEMA;
        }
        if (o != GOING_ON)
            return o;
        if (in->readings < look_reading && readings_offset(&in->decoder) < look_at)
            continue;
        if (front_now_ns() >= until_ns)
            return GOING_ON;
        look_reading = in->readings + SLICE_LOOK;
        look_at = readings_offset(&in->decoder) + SLICE_BYTES;
    }
}

/* ---- answering ---- */

static void
send_errors(intake *in)
{
    json_out *j = &in->errors;
    char      head[HEAD_ROOM];
    int       n = snprintf(head, sizeof head, "{\"accepted_count\":%u,\"rejected_count\":%u,\"errors\":", in->accepted,
                           in->rejected);

    ASSERT(n > 0 && n < HEAD_ROOM);
    json_close(j, ']');
    json_close(j, '}');
    if (!j->failed)
        memcpy(j->at + HEAD_ROOM - n, head, (size_t)n);
    call_send_taken(in->c, 207, j, (size_t)(HEAD_ROOM - n));
}

static void
answer_207(intake *in)
{
    static const char *const durability[] = { "fsync", "os", "memory" };
    call                    *c = in->c;
    json_out                *j;

    in->phase = OVER;
    count_add(c->f->counters, COUNT_READINGS, in->accepted);
    count_add(c->f->counters, COUNT_READINGS_BAD, in->rejected);
    if (c->x != NULL)
        http_add_static(c->x, "X-Durability", durability[in->durability % COUNT_OF(durability)]);
    if (in->errors.len > 0) {
        send_errors(in);
        return;
    }
    j = call_json(c);
    json_open(j, '{');
    json_name_int(j, "accepted_count", in->accepted);
    json_name_int(j, "rejected_count", in->rejected);
    json_name(j, VIEW_LIT("errors"));
    json_raw(j, VIEW_LIT("[]"));
    json_close(j, '}');
    call_send_json(c, 207);
}

static void
give_up(intake *in, int rc)
{
    in->phase = OVER;
    sinks_discard(in->sinks);
    call_unavailable(in->c, KIND_INGEST, rc);
}

static void
on_stored(call *c, const ak_msg *m)
{
    intake *in = call_kept(c);
    int32_t rc = E_LATE;
    stored  done;

    if (m->type == MSG_STORED && m->len >= sizeof done) {
        memcpy(&done, m->body, sizeof done);
        rc = done.rc;
        if (done.durability > in->durability)
            in->durability = done.durability;
    } else if (m->type == MSG_FAIL && m->len >= sizeof rc) {
        memcpy(&rc, m->body, sizeof rc);
    }
    sinks_stored(in->sinks, c->reply_tag, rc == E_LIMIT);
    if (in->phase == OVER)
        return;
    in->stuck = false;
    if (rc != E_LIMIT && rc != E_OK)
        give_up(in, rc);
    else if (in->phase == REPLIES)
        go_on(in);
}

/* False: answered with 429.  Rejected readings count: they cost as much to judge. */
static bool
within_budget(call *c, uint64_t readings)
{
    limits_rate rate = { c->f->options->limits_readings_per_s, UINT64_C(1000000000) };

    return call_within_limit(c, LIMIT_READINGS, c->who.tenant, rate, readings);
}

/* The body is unfit. */
static void
refuse(intake *in, enum outcome o)
{
    call       *c = in->c;
    const char *type;

    in->phase = OVER;
    sinks_discard(in->sinks);
    switch (o) {
    case SYNTAX:
        call_fail(c, 400, in->format->fault);
        break;
    case NO_ROOM:
        call_unavailable(c, KIND_INGEST, E_FULL);
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

/* ---- phases ---- */

/* The JSON decoder looks up to 16 bytes past the end. */
static enum progress
copy(intake *in, uint64_t until_ns)
{
    view bytes = in->c->bytes;
    bool padded = bytes.at == in->c->inflated || (in->c->x != NULL && bytes.at == in->c->x->body.at && in->c->x->body_padded);

    in->body = bytes;
    if (in->format->padded && !padded) {
        if (in->copy == NULL)
            in->copy = malloc(bytes.len + PAD);
        ASSERT(in->copy != NULL);
        while (in->copied < bytes.len) {
            size_t n = (size_t)min_u64(bytes.len - in->copied, COPY_BYTES);

            memcpy(in->copy + in->copied, bytes.at + in->copied, n);
            in->copied += n;
            if (in->copied < bytes.len && front_now_ns() >= until_ns)
                return MORE;
        }
        memset(in->copy + bytes.len, 0, PAD);
        in->body = view_of(in->copy, bytes.len);
    }
    in->format->start(&in->decoder, in->body);
    in->phase = DECODE;
    return NEXT;
}

/* And not the HTTP library's, which keeps it for the next. */
static bool
is_ours(const intake *in)
{
    return in->body.at == in->copy || in->body.at == in->c->inflated;
}

static enum progress
decode_on(intake *in, uint64_t until_ns)
{
    in->outcome = (uint8_t)decode(in, until_ns);
    in->last_machine = (view){ 0 }; /* a machine may be deleted before the next slice */
    if (in->outcome == GOING_ON) {
        sinks_leave_lanes(in->sinks);
        if (is_ours(in) && !in->decoder.walking) /* else what it holds on to may be far behind */
            in->forgotten = forget_some(in->body, in->forgotten, readings_offset(&in->decoder));
        return MORE;
    }
    in->phase = FORGET;
    return NEXT;
}

static enum progress
forget_on(intake *in, uint64_t until_ns)
{
    while (is_ours(in) && in->body.len >= FORGET_FROM && in->forgotten < in->body.len) {
        in->forgotten = forget_some(in->body, in->forgotten, in->body.len);
        if (front_now_ns() >= until_ns)
            return MORE;
    }
    if (in->outcome != SOUND || in->readings == 0) {
        refuse(in, in->outcome);
    } else if (!within_budget(in->c, in->readings)) {
        in->phase = OVER;
        sinks_discard(in->sinks);
    } else {
        in->send_until_ns = front_now_ns() + in->c->f->options->limits_ingest_wait_ms * UINT64_C(1000000);
        in->phase = SEND;
    }
    return NEXT;
}

static enum progress
send_on(intake *in, uint64_t until_ns)
{
    for (;;) {
        switch (sinks_send(in->sinks, on_stored)) {
        case SENT:
            in->phase = REPLIES;
            return NEXT;
        case SENDING:
            if (front_now_ns() >= until_ns)
                return MORE;
            break;
        default: /* no room now */
            if (front_now_ns() < in->send_until_ns)
                return WAITS;
            give_up(in, E_FULL);
            return NEXT;
        }
    }
}

static enum progress
replies(intake *in, uint64_t until_ns)
{
    (void)until_ns;
    if (sinks_waiting(in->sinks) > 0)
        return WAITS;
    in->phase = LIST;
    return NEXT;
}

static void
reject_newcomer(intake *in, const newcomer_seen *n)
{
    static const char text[] = "Series limit of the tenant reached";
    board            *b = in->c->f->board;
    json_out         *j = &in->errors;
    board_machine     m;

    in->accepted--;
    if (!error_open(in, n->reading))
        return;
    if (table_read(board_table(b, BOARD_MACHINES, 0), n->machine, &m))
        json_name_string(j, "machine_identifier", board_string(b, BOARD_MACHINES, 0, m.identifier));
    else
        json_name_null(j, "machine_identifier");
    json_name_string(j, "error", view_of(text, sizeof text - 1));
    json_close(j, '}');
}

static enum progress
list(intake *in, uint64_t until_ns)
{
    newcomer_seen n;

    for (uint32_t looked = 1; sinks_next_newcomer(in->sinks, &n); looked++) {
        if (n.refused)
            reject_newcomer(in, &n);
        if (looked % SLICE_LOOK == 0 && front_now_ns() >= until_ns)
            return MORE;
    }
    answer_207(in);
    return NEXT;
}

/* As far as it comes. */
static enum progress
advance(intake *in, uint64_t until_ns)
{
    static enum progress (*const phases[])(intake *in, uint64_t until_ns) = {
        [COPY] = copy, [DECODE] = decode_on, [FORGET] = forget_on, [SEND] = send_on, [REPLIES] = replies, [LIST] = list,
    };
    enum progress p = NEXT;

    while (p == NEXT && in->phase != OVER)
        p = phases[in->phase](in, until_ns);
    return p;
}

static void
go_on(intake *in)
{
    ingest_jobs  *j = in->c->f->jobs;
    uint64_t      began = front_now_ns();
    enum progress p = advance(in, began + SLICE_NS);
    bool          again = in->phase != OVER && in->phase != REPLIES;

    j->spent_ns += front_now_ns() - began;
    in->stuck = p == WAITS;
    if (again && !in->queued)
        enqueue(j, in);
    else if (!again && in->queued)
        unqueue(j, in);
}

/* ---- the request ---- */

#define NOT_JSON    "Request body is not valid JSON."
#define NOT_MSGPACK "Request body is not valid MessagePack."

static const ingest_format formats[] = {
    { "application/json", readings_json_start, readings_json_next, NOT_JSON, true, false },
    { "application/msgpack", readings_msgpack_start, readings_msgpack_next, NOT_MSGPACK, false, false },
    { "application/x-msgpack", readings_msgpack_start, readings_msgpack_next, NOT_MSGPACK, false, false },
    { "application/x-ndjson", readings_ndjson_start, readings_json_next, NOT_JSON, true, true },
    { "application/jsonl", readings_ndjson_start, readings_json_next, NOT_JSON, true, true },
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
post_ingest(call *c)
{
    const options       *o = c->f->options;
    ingest_jobs         *j = c->f->jobs;
    const ingest_format *format = format_of(call_header(c, "content-type"));
    bool                 sliced = c->bytes.len > SLICED_FROM || j->spent_ns >= SLICE_NS;
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
    in->format = format;
    in->ceiling = format->unlimited ? UINT32_MAX : (uint32_t)o->limits_readings_per_request;
    in->durability = o->storage_durability;
    sinks_begin(in->sinks, c, in->now_us, (uint32_t)min_u64(in->ceiling, c->bytes.len / READING_MIN + 1),
                c->bytes.len <= SLICED_FROM);
    if (sliced)
        enqueue(j, in);
    else
        go_on(in);
}

/* Whose turn it is: of the tenant after the one before, what came first. */
static intake *
choose(const ingest_jobs *j)
{
    intake  *best = NULL;
    uint32_t best_far = 0;

    for (intake *in = j->first; in != NULL; in = in->next) {
        uint32_t far = in->c->who.tenant - j->last_tenant - 1;

        if (in->stuck || (best != NULL && far >= best_far))
            continue;
        best = in;
        best_far = far;
    }
    return best;
}

bool
ingest_turn(ingest_jobs *j)
{
    intake *in;

    j->spent_ns = 0;
    while (j->spent_ns < SLICE_NS && (in = choose(j)) != NULL) {
        j->last_tenant = in->c->who.tenant;
        go_on(in);
    }
    if (choose(j) != NULL)
        return true;
    for (in = j->first; in != NULL; in = in->next)
        in->stuck = false; /* the next turn comes with a reply, or to see that it is too late */
    return false;
}

ingest_jobs *
ingest_new(front *f)
{
    ingest_jobs *j = calloc(1, sizeof *j);

    if (j == NULL)
        return NULL;
    j->f = f;
    j->parts = ak_parts(f->k, KIND_INGEST);
    j->under_way = calloc(max_u64(j->parts, 1), sizeof *j->under_way);
    ASSERT(j->under_way != NULL);
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
    free(j->under_way);
    free(j);
}

extern const route ingest_routes[];

const route ingest_routes[] = {
    { POST, 207, WHO_NOBODY | WHO_SCOPE(SCOPE_INGEST), UINT32_MAX, 0, "/ingest", NULL, NULL,
      post_ingest, 0, "Append readings; the 207 leaves when they are on stable storage" },
    { 0 },
};
