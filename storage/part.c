/* part.c - one partition: its life, and the way of a row from a message into its head.
 *
 *   body --part_stage--> journal block --part_end_block, part_write--> disk --part_show--> heads
 *
 * The payload of a block is a sequence of items, each 8-aligned:
 *
 *   +------+-------+----------------------------------------------------------+
 *   | kind | count | ITEM_ROWS: reading_row[count], no flags, numbers only    |
 *   +------+-------+----------------------------------------------------------+
 *   | kind | count | ITEM_SERIES: series_item, metric, unit; `count` bytes,   |
 *   +------+-------+              padded to 8                                 |
 *   | kind | count | ITEM_ERASE:  erase_item, series u32[]; `count` bytes,    |
 *   +------+-------+              padded to 8                                 |
 *
 * A row's lsn is its block's first lsn and its place among the block's rows; a delete has one place there too.  The definition of a series is always
 * journaled before, or in the same block as, the first row with its number; where a block is forgotten, its
 * definitions go into the next one.
 *
 * What is replayed was applied in the same order before, so it meets the same numbers.  A row is skipped when its
 * series is sealed up to its lsn or beyond.
 */
#include "storage/part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/log.h"
#include "storage/patience.h"
#include "storage/part_inner.h"

enum item_kind { ITEM_ROWS = 1, ITEM_SERIES = 2, ITEM_ERASE = 3 };

enum {
    METRIC_LEN_MAX = 1020,
    UNIT_LEN_MAX = 256,
    PREFETCH = 12, /* rows between two steps of asking ahead */
};

typedef struct item_head {
    uint32_t kind;
    uint32_t count;
} item_head;
_Static_assert(sizeof(item_head) == 8, "layout");

typedef struct series_item {
    uint32_t number;
    uint32_t machine;
    uint32_t tenant;
    uint16_t metric_len;
    uint16_t unit_len;
} series_item;
_Static_assert(sizeof(series_item) == 16, "layout");

typedef struct erase_item {
    int64_t from_us, to_us;
} erase_item;
_Static_assert(sizeof(erase_item) == 16, "layout");

/* One item, judged: everything it points to is inside the payload. */
typedef struct item {
    enum item_kind     kind;
    uint32_t           rows;
    const reading_row *row;
    series_item        series;
    series_name        name;
    erase_item         erase;
    const uint8_t     *erased; /* u32 each */
    uint32_t           erased_count;
    view               whole; /* with head and padding */
} item;

static int
judge_series(item *it, const uint8_t *at, uint32_t len)
{
    series_item *s = &it->series;

    if (len < sizeof *s)
        return E_BAD;
    memcpy(s, at, sizeof *s);
    if (sizeof *s + s->metric_len + s->unit_len != len || s->number == 0 || s->machine == 0)
        return E_BAD;
    it->name = (series_name){ .machine = s->machine,
                              .tenant = s->tenant,
                              .metric = view_of(at + sizeof *s, s->metric_len),
                              .unit = view_of(at + sizeof *s + s->metric_len, s->unit_len) };
    return 1;
}

static int
judge_erase(item *it, const uint8_t *at, uint32_t len)
{
    if (len < sizeof it->erase || (len - sizeof it->erase) % 4 != 0)
        return E_BAD;
    memcpy(&it->erase, at, sizeof it->erase);
    it->erased = at + sizeof it->erase;
    it->erased_count = (uint32_t)(len - sizeof it->erase) / 4;
    return 1;
}

/* 1: the next one; 0: no more; E_BAD. */
static int
next_item(view *payload, item *out)
{
    item_head h;
    uint64_t  len;
    int       rc = 1;

    if (payload->len == 0)
        return 0;
    if (payload->len < sizeof h)
        return E_BAD;
    memcpy(&h, payload->at, sizeof h);
    len = h.kind == ITEM_ROWS ? (uint64_t)h.count * sizeof(reading_row) : round_up(h.count, 8);
    if (h.kind < ITEM_ROWS || h.kind > ITEM_ERASE || len > payload->len - sizeof h)
        return E_BAD;
    *out = (item){ .kind = h.kind,
                   .rows = h.count,
                   .row = (const reading_row *)(const void *)(payload->at + sizeof h),
                   .whole = view_of(payload->at, sizeof h + len) };
    if (h.kind == ITEM_SERIES)
        rc = judge_series(out, payload->at + sizeof h, h.count);
    else if (h.kind == ITEM_ERASE)
        rc = judge_erase(out, payload->at + sizeof h, h.count);
    if (rc < 0)
        return rc;
    *payload = view_of(payload->at + sizeof h + len, payload->len - sizeof h - len);
    return 1;
}

/* ---- definitions that are not in the database yet ---- */

static void
note_unstored(part *p, uint32_t number)
{
    unstored *u = &p->unstored;
    series   *s = series_at(p->map, number);

    if (s->unstored)
        return;
    if (u->end == u->room && u->first > u->room / 2) {
        memmove(u->series, u->series + u->first, (u->end - u->first) * sizeof *u->series);
        u->end -= u->first;
        u->first = 0;
    }
    if (u->end == u->room) {
        u->room = u->room == 0 ? 1024 : 2 * u->room;
        u->series = realloc(u->series, u->room * sizeof *u->series);
        ASSERT(u->series != NULL);
    }
    u->series[u->end++] = number;
    s->unstored = 1;
}

/* ---- what is applied ---- */

uint64_t
part_applied(const part *p, const uuid *generation, addr from)
{
    if (!uuid_eq(&p->generation, generation))
        return 0;
    for (uint32_t i = 0; i < p->applied_count; i++)
        if (p->applied[i].from == from)
            return p->applied[i].pos;
    return 0;
}

static void
note_applied(part *p, const journal_mark *mark)
{
    for (uint32_t i = 0; i < p->applied_count; i++) {
        if (p->applied[i].from != mark->from)
            continue;
        p->applied[i].pos = max_u64(p->applied[i].pos, mark->pos);
        return;
    }
    ASSERT(p->applied_count < JOURNAL_MARKS_MAX);
    p->applied[p->applied_count++] = *mark;
}

/* Blocks of another generation of lane files are of another count altogether. */
static void
apply_marks(part *p, const journal_block *b)
{
    if (!uuid_eq(&p->generation, &b->generation)) {
        p->generation = b->generation;
        p->applied_count = 0;
    }
    for (uint32_t i = 0; i < b->mark_count; i++)
        note_applied(p, &b->marks[i]);
}

/* ---- rows into heads ---- */

static inline void
show_row(part *p, uint32_t number, series *s, const head_row *row, uint64_t lsn)
{
    s->head = heads_append(p->heads, s->head, number, row, lsn);
    p->newest_us = row->time_us > p->newest_us ? row->time_us : p->newest_us;
    if (row->time_us >= s->latest_us || s->latest_lsn == 0) {
        s->latest_us = row->time_us;
        s->latest = row->value;
        s->latest_lsn = lsn;
    }
}

/* Row i is ours now; what the rows behind it will touch is asked for. */
static inline void
prefetch(const part *p, const item *it, uint32_t i)
{
    if (LIKELY(i + 3 * PREFETCH < it->rows)) {
        series_prefetch(p->map, it->row[i + 3 * PREFETCH].series);
        heads_prefetch(p->heads, series_at(p->map, it->row[i + 2 * PREFETCH].series)->head);
        heads_prefetch_row(p->heads, series_at(p->map, it->row[i + PREFETCH].series)->head);
    }
}

static void
show_rows(part *p, const item *it, uint64_t lsn, part_row_fn *row_fn, void *ctx)
{
    for (uint32_t i = 0; i < it->rows; i++) {
        const reading_row *r = &it->row[i];
        head_row           row = { r->time_us, r->value };

        prefetch(p, it, i);
        show_row(p, r->series, series_at(p->map, r->series), &row, lsn + i);
        if (row_fn != NULL)
            row_fn(ctx, r->series, &row, lsn + i);
    }
}

static void
show_erase(part *p, const item *it, uint64_t lsn)
{
    for (uint32_t i = 0; i < it->erased_count; i++)
        part_erase_show(p, &(erasure){ .series = load_u32(it->erased + i * 4),
                                       .from_us = it->erase.from_us,
                                       .to_us = it->erase.to_us,
                                       .lsn = lsn });
}

/* Whoever listens counts its own trouble (a full board): the series exists all the same. */
static void
tell_series(part *p, uint32_t number)
{
    const series *s = series_at(p->map, number);

    if (p->events.series != NULL)
        (void)p->events.series(p->events.ctx, number, s->machine, s->tenant,
                               series_metric(p->map, number), series_unit(p->map, number));
}

/* A block's definitions count before its rows, wherever they stand in it. */
static void
tell_defined(part *p, view payload)
{
    item it;

    while (next_item(&payload, &it) == 1)
        if (it.kind == ITEM_SERIES)
            tell_series(p, it.series.number);
}

void
part_show(part *p, part_row_fn *row_fn, void *ctx)
{
    const journal_block *b = journal_ended(p->journal);
    uint64_t             lsn;
    view                 payload;
    item                 it;

    ASSERT(b != NULL);
    lsn = b->first_lsn;
    payload = b->payload;
    tell_defined(p, payload);
    while (next_item(&payload, &it) == 1) {
        if (it.kind == ITEM_ERASE) {
            show_erase(p, &it, lsn++);
            p->staged_erasures -= it.erased_count;
        }
        if (it.kind != ITEM_ROWS)
            continue;
        show_rows(p, &it, lsn, row_fn, ctx);
        lsn += it.rows;
    }
    apply_marks(p, b);
    p->shown_lsn = b->first_lsn + (b->rows > 0 ? b->rows - 1 : 0);
    p->flying_definitions = 0;
    journal_drop(p->journal);
}

/* ---- staging ---- */

static const uint8_t *
names_of(view body, const readings_head *h)
{
    return body.at + sizeof *h + (size_t)h->rows * sizeof(reading_row);
}

/* The most that this body can add to a block: all rows, and a definition a name, however long its unit grows. */
static uint64_t
room_for(const readings_head *h)
{
    return sizeof(item_head) + (uint64_t)h->rows * sizeof(reading_row) + h->names_len +
           (uint64_t)h->names * (sizeof(item_head) + sizeof(series_item) + UNIT_LEN_MAX);
}

static bool
fits(view body, const readings_head *h)
{
    uint64_t need = sizeof *h + (uint64_t)h->rows * sizeof(reading_row) + h->names_len;

    return need <= body.len && room_for(h) <= JOURNAL_BLOCK_MAX &&
           (uint64_t)h->names * sizeof(name_row) <= h->names_len;
}

/* The length of one name row with padding, or 0: it does not fit. */
static size_t
judge_name(const name_row *n, size_t rest)
{
    size_t len = name_row_len(n->metric_len, n->unit_len);

    if (n->metric_len == 0 || n->metric_len > METRIC_LEN_MAX || n->unit_len > UNIT_LEN_MAX ||
        n->machine == 0)
        return 0;
    return len <= rest ? len : 0;
}

int
part_check(view body)
{
    readings_head  h;
    const uint8_t *at;
    size_t         rest;

    if (body.len < sizeof h)
        return E_BAD;
    memcpy(&h, body.at, sizeof h);
    if (!fits(body, &h))
        return E_BAD;
    at = names_of(body, &h);
    rest = h.names_len;
    for (uint32_t i = 0; i < h.names; i++) {
        name_row n;
        size_t   len;

        if (rest < sizeof n)
            return E_BAD;
        memcpy(&n, at, sizeof n);
        len = judge_name(&n, rest);
        if (len == 0)
            return E_BAD;
        at += len;
        rest -= len;
    }
    for (uint32_t i = 0; i < h.rows; i++) {
        reading_row r;

        memcpy(&r, body.at + sizeof h + (size_t)i * sizeof r, sizeof r);
        if ((r.flags & ROW_NEW) != 0 ? r.series >= h.names : r.series == 0)
            return E_BAD;
    }
    return E_OK;
}

static void
define(part *p, uint32_t number)
{
    series     *s = series_at(p->map, number);
    view        metric = series_metric(p->map, number);
    view        unit = series_unit(p->map, number);
    series_item n = { number, s->machine, s->tenant, (uint16_t)metric.len, (uint16_t)unit.len };
    item_head   h = { ITEM_SERIES, (uint32_t)(sizeof n + metric.len + unit.len) };
    uint8_t    *at = journal_append(p->journal, (uint32_t)(sizeof h + h.count));

    ASSERT(at != NULL); /* stage() made sure of the room */
    memcpy(at, &h, sizeof h);
    memcpy(at + sizeof h, &n, sizeof n);
    memcpy(at + sizeof h + sizeof n, metric.at, metric.len);
    memcpy(at + sizeof h + sizeof n + metric.len, unit.at, unit.len);
    s->defined_lsn = p->building.first_lsn;
    p->building.definitions +=
        (uint32_t)round_up(sizeof h + sizeof n + metric.len + UNIT_LEN_MAX, 8);
    note_unstored(p, number);
}

/* For the next block: its definition was in one that is forgotten. */
static void
carry(part *p, uint32_t number)
{
    if (p->carried == p->carry_room) {
        p->carry_room = p->carry_room == 0 ? 64 : 2 * p->carry_room;
        p->carry = realloc(p->carry, p->carry_room * sizeof *p->carry);
        ASSERT(p->carry != NULL);
    }
    p->carry[p->carried++] = number;
}

static uint32_t
create(part *p, const series_name *name)
{
    uint64_t bound = p->config.series_per_tenant;
    uint32_t number;

    if (bound > 0 && series_of_tenant(p->map, name->tenant) >= bound)
        return 0;
    number = series_add(p->map, 0, name);
    if (number != 0)
        define(p, number);
    return number;
}

/* The number that a name row stands for; 0: over the budget, or it does not fit what we know. */
static uint32_t
resolve(part *p, uint32_t number, const series_name *name)
{
    uint32_t known = series_find(p->map, name->machine, name->metric);

    if (number != 0 && number != known)
        return 0;
    if (known == 0)
        return create(p, name);
    if (!view_eq(series_unit(p->map, known), name->unit)) {
        series_set_unit(p->map, known, name->unit);
        define(p, known);
    }
    return known;
}

/* Fills p->named.  The rows may still change under our hands: each is copied first, and the copy judged. */
static int
resolve_names(part *p, view body, const readings_head *h)
{
    const uint8_t *at = names_of(body, h);
    size_t         rest = h->names_len;

    if (h->names > p->named_room) {
        p->named_room = (uint32_t)round_up(h->names, 1024);
        p->named = realloc(p->named, p->named_room * sizeof *p->named);
        ASSERT(p->named != NULL);
    }
    for (uint32_t i = 0; i < h->names; i++) {
        uint8_t     text[METRIC_LEN_MAX + UNIT_LEN_MAX];
        name_row    n;
        size_t      len;
        series_name name;

        if (rest < sizeof n)
            return E_BAD;
        memcpy(&n, at, sizeof n);
        len = judge_name(&n, rest);
        if (len == 0)
            return E_BAD;
        memcpy(text, at + sizeof n, (size_t)n.metric_len + n.unit_len);
        name = (series_name){ .machine = n.machine,
                              .tenant = n.tenant,
                              .metric = view_of(text, n.metric_len),
                              .unit = view_of(text + n.metric_len, n.unit_len) };
        p->named[i] = resolve(p, n.series, &name);
        at += len;
        rest -= len;
    }
    return E_OK;
}

/* Copies the rows that have a number; how many. */
static uint32_t
copy_rows(part *p, view body, const readings_head *h, reading_row *out)
{
    const uint8_t *at = body.at + sizeof *h;
    uint32_t       known = series_count(p->map);
    uint32_t       count = 0;

    for (uint32_t i = 0; i < h->rows; i++, at += sizeof(reading_row)) {
        reading_row r;
        uint32_t    number;

        memcpy(&r, at, sizeof r);
        number = r.series;
        if (UNLIKELY((r.flags & ROW_NEW) != 0))
            number = r.series < h->names ? p->named[r.series] : 0;
        if (UNLIKELY(number == 0 || number > known))
            continue;
        out[count++] =
            (reading_row){ .series = number, .flags = 0, .time_us = r.time_us, .value = r.value };
    }
    return count;
}

/* Carried definitions fit: room_for() counted them at their longest when they went into one block. */
static void
begin_block(part *p, const uuid *generation)
{
    journal_begin(p->journal);
    p->building = (part_block){ .open = true, .first_lsn = p->next_lsn, .generation = *generation };
    for (uint32_t i = 0; i < p->carried; i++)
        define(p, p->carry[i]);
    p->carried = 0;
}

/* There must be room for the definitions of the block in flight too, should it be forgotten. */
static bool
has_room_for(const part *p, const readings_head *h)
{
    return journal_building_len(p->journal) + room_for(h) + p->flying_definitions <=
           JOURNAL_BLOCK_MAX;
}

int
part_stage(part *p, view body, const part_source *source, uint64_t *first_lsn, uint32_t *rejected)
{
    readings_head h;
    item_head     rows = { .kind = ITEM_ROWS };
    uint8_t      *at;
    int           rc;

    *rejected = 0;
    *first_lsn = p->next_lsn;
    if (body.len < sizeof h)
        return E_BAD;
    memcpy(&h, body.at, sizeof h);
    if (!fits(body, &h))
        return E_BAD;
    if (p->broken < 0 && heads_bytes(p->heads) > 2 * p->config.heads_bytes)
        return p->broken == E_NOSPACE ? E_NOSPACE : E_IO;
    if (part_has_staged(p) && !uuid_eq(&p->building.generation, &source->generation))
        return E_FULL;
    if (!p->building.open)
        begin_block(p, &source->generation);
    p->building.generation = source->generation;
    if (!has_room_for(p, &h))
        return E_FULL;
    rc = resolve_names(p, body, &h);
    if (rc < 0)
        return rc;
    at = journal_append(p->journal, (uint32_t)(sizeof rows + (size_t)h.rows * sizeof(reading_row)));
    ASSERT(at != NULL);
    rows.count = copy_rows(p, body, &h, (reading_row *)(void *)(at + sizeof rows));
    *rejected = h.rows - rows.count;
    memcpy(at, &rows, sizeof rows);
    journal_give_back(p->journal, *rejected * (uint32_t)sizeof(reading_row));
    journal_mark_applied(p->journal, source->from, source->pos_end);
    p->next_lsn += rows.count;
    p->building.rows += rows.count;
    return E_OK;
}

int
part_stage_erase(part *p, const part_erased *e, const part_source *source, uint64_t *first_lsn)
{
    erase_item erase = { e->from_us, e->to_us };
    item_head  h = { ITEM_ERASE, (uint32_t)(sizeof erase + e->count * sizeof *e->series) };
    uint8_t   *at;

    *first_lsn = p->next_lsn;
    if (p->erasure_count + p->staged_erasures + e->count > ERASURES_MAX)
        return err(E_LIMIT, "%u deletes are not carried through yet", p->erasure_count);
    if (part_has_staged(p) && !uuid_eq(&p->building.generation, &source->generation))
        return E_FULL;
    if (!p->building.open)
        begin_block(p, &source->generation);
    p->building.generation = source->generation;
    if (journal_building_len(p->journal) + sizeof h + h.count + 8 + p->flying_definitions > JOURNAL_BLOCK_MAX)
        return E_FULL;
    at = journal_append(p->journal, (uint32_t)sizeof h + h.count);
    ASSERT(at != NULL);
    memcpy(at, &h, sizeof h);
    memcpy(at + sizeof h, &erase, sizeof erase);
    memcpy(at + sizeof h + sizeof erase, e->series, e->count * sizeof *e->series);
    journal_mark_applied(p->journal, source->from, source->pos_end);
    p->staged_erasures += e->count;
    p->next_lsn++;
    p->building.rows++;
    return E_OK;
}

bool
part_has_staged(const part *p)
{
    return p->building.open && !journal_is_empty(p->journal);
}

void
part_end_block(part *p, int64_t wall_us)
{
    part_block *b = &p->building;

    ASSERT(part_has_staged(p));
    /* Every block says all there is to say of its generation, so that older ones may go. */
    if (uuid_eq(&p->generation, &b->generation))
        for (uint32_t i = 0; i < p->applied_count; i++)
            journal_mark_applied(p->journal, p->applied[i].from, p->applied[i].pos);
    if (b->rows == 0)
        p->next_lsn++; /* a block without rows has a place in the order too */
    journal_end(p->journal, b->first_lsn, b->rows, &b->generation, wall_us);
    p->flying_definitions = b->definitions;
    b->open = false;
}

int
part_write(part *p)
{
    return journal_write(p->journal);
}

/* The definitions of the block go where the next ones go: rows of the block that is being built may need them. */
void
part_forget(part *p)
{
    const journal_block *b = journal_ended(p->journal);
    view                 payload;
    item                 it;

    ASSERT(b != NULL);
    payload = b->payload;
    while (next_item(&payload, &it) == 1) {
        if (it.kind == ITEM_ERASE)
            p->staged_erasures -= it.erased_count;
        if (it.kind != ITEM_SERIES)
            continue;
        if (p->building.open)
            define(p, it.series.number);
        else
            carry(p, it.series.number);
    }
    p->shown_lsn = b->first_lsn + (b->rows > 0 ? b->rows - 1 : 0);
    p->flying_definitions = 0;
    journal_drop(p->journal);
}

/* ---- replay ---- */

/* A definition may be older than what the database has. */
static int
replay_series(part *p, const item *it, uint64_t block_lsn)
{
    uint32_t number = it->series.number;
    series  *s;

    if (!series_reserve(p->map, number))
        return E_BAD;
    s = series_at(p->map, number);
    if (s->machine != 0 && s->defined_lsn > block_lsn)
        return E_OK;
    if (s->machine == 0 && series_find(p->map, it->name.machine, it->name.metric) != 0)
        return E_BAD; /* two numbers for one name: damage */
    if (s->machine == 0)
        series_add(p->map, number, &it->name);
    else if (!view_eq(series_unit(p->map, number), it->name.unit))
        series_set_unit(p->map, number, it->name.unit);
    else
        return E_OK; /* the database has it */
    s->defined_lsn = block_lsn;
    note_unstored(p, number);
    tell_series(p, number);
    return E_OK;
}

/* As prefetch(), of rows that nobody has judged. */
static inline void
replay_prefetch(const part *p, const item *it, uint32_t i)
{
    uint32_t known = series_count(p->map);

    if (UNLIKELY(i + 3 * PREFETCH >= it->rows))
        return;
    series_prefetch(p->map, it->row[i + 3 * PREFETCH].series);
    if (it->row[i + 2 * PREFETCH].series - 1 < known) /* 0 is no series */
        heads_prefetch(p->heads, series_at(p->map, it->row[i + 2 * PREFETCH].series)->head);
    if (it->row[i + PREFETCH].series - 1 < known)
        heads_prefetch_row(p->heads, series_at(p->map, it->row[i + PREFETCH].series)->head);
}

static void
replay_rows(part *p, const item *it, uint64_t lsn)
{
    for (uint32_t i = 0; i < it->rows; i++) {
        const reading_row *r = &it->row[i];
        head_row           row = { r->time_us, r->value };
        series            *s;

        replay_prefetch(p, it, i);
        if (r->series == 0 || !series_reserve(p->map, r->series) ||
            (s = series_at(p->map, r->series))->machine == 0) {
            p->lost_rows++;
            continue;
        }
        if (lsn + i <= s->sealed_lsn)
            continue;
        show_row(p, r->series, s, &row, lsn + i);
        p->replayed_rows++;
    }
}

static int
replay_block(void *ctx, const journal_block *b)
{
    part    *p = ctx;
    uint64_t lsn = b->first_lsn;
    view     payload = b->payload;
    item     it;
    uint32_t bad = 0;
    int      rc;

    /* Blocks that overlap what was replayed cannot come from us. */
    if (b->first_lsn <= p->shown_lsn)
        return E_OK;
    while ((rc = next_item(&payload, &it)) == 1)
        if (it.kind == ITEM_SERIES && replay_series(p, &it, b->first_lsn) < 0)
            bad++;
    for (payload = b->payload; next_item(&payload, &it) == 1;) {
        if (it.kind == ITEM_ERASE)
            show_erase(p, &it, lsn++);
        if (it.kind != ITEM_ROWS)
            continue;
        replay_rows(p, &it, lsn);
        lsn += it.rows;
    }
    apply_marks(p, b);
    p->shown_lsn = b->first_lsn + (b->rows > 0 ? b->rows - 1 : 0);
    p->next_lsn = max_u64(p->next_lsn, p->shown_lsn + 1);
    if (rc < 0 || bad > 0)
        log_error("part.bad_block", "dir=%s lsn=%" PRIu64 " bad_series=%u", p->dir, b->first_lsn,
                  bad);
    return E_OK;
}

/* ---- opening ---- */

typedef int load_fn(part *p, view key, view value);

static int
load_series(part *p, view key, view value)
{
    series_value v;
    series_name  name;
    uint32_t     number;

    if (key.len != 4 || value.len < sizeof v)
        return E_BAD;
    number = load_be32(key.at);
    memcpy(&v, value.at, sizeof v);
    if (v.version != KEY_VALUE_VERSION)
        return err(E_NEWER, "a series of version %u", v.version);
    if (sizeof v + v.metric_len + v.unit_len != value.len || number == 0 || v.machine == 0 ||
        !series_reserve(p->map, number))
        return E_BAD;
    name = (series_name){ .machine = v.machine,
                          .tenant = v.tenant,
                          .metric = view_of(value.at + sizeof v, v.metric_len),
                          .unit = view_of(value.at + sizeof v + v.metric_len, v.unit_len) };
    if (series_at(p->map, number)->machine != 0 ||
        series_find(p->map, name.machine, name.metric) != 0)
        return E_BAD;
    series_add(p->map, number, &name);
    series_at(p->map, number)->defined_lsn = v.defined_lsn;
    p->next_lsn = max_u64(p->next_lsn, v.defined_lsn + 1);
    tell_series(p, number);
    return E_OK;
}

static int
load_latest(part *p, view key, view value)
{
    latest_value v;
    series      *s;

    if (key.len != 4 || value.len != sizeof v)
        return E_BAD;
    memcpy(&v, value.at, sizeof v);
    if (v.version != KEY_VALUE_VERSION)
        return err(E_NEWER, "a latest reading of version %u", v.version);
    if (load_be32(key.at) == 0 || !series_reserve(p->map, load_be32(key.at)))
        return E_BAD;
    s = series_at(p->map, load_be32(key.at));
    s->latest_us = v.time_us;
    p->newest_us = v.lsn != 0 && v.time_us > p->newest_us ? v.time_us : p->newest_us;
    s->latest = v.value;
    s->latest_lsn = v.lsn;
    s->sealed_lsn = v.sealed_lsn;
    p->next_lsn = max_u64(p->next_lsn, max_u64(v.lsn, v.sealed_lsn) + 1);
    return E_OK;
}

static int
load_erased(part *p, view key, view value)
{
    erased_value v;

    if (key.len != KEY_ERASED_LEN || value.len != sizeof v)
        return E_BAD;
    memcpy(&v, value.at, sizeof v);
    if (v.version != KEY_VALUE_VERSION)
        return err(E_NEWER, "a delete of version %u", v.version);
    if (load_be32(key.at + 8) == 0 || v.from_us >= v.to_us || p->erasure_count == ERASURES_MAX)
        return E_BAD;
    part_erase_loaded(p, &(erasure){ .series = load_be32(key.at + 8),
                                     .stored = true,
                                     .from_us = v.from_us,
                                     .to_us = v.to_us,
                                     .lsn = load_be64(key.at) });
    p->next_lsn = max_u64(p->next_lsn, load_be64(key.at) + 1);
    return E_OK;
}

/* Of `meta`, what is not read by its name. */
static int
load_meta(part *p, view key, view value)
{
    if (key.len != 14 || memcmp(key.at, "retention/", 10) != 0)
        return E_OK;
    return part_retain_loaded(p, load_be32(key.at + 10), value);
}

/* Each record of a family; a bad one is skipped and counted. */
static int
load_family(part *p, enum part_family family, load_fn *fn)
{
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(p->rocks->db, p->rocks->read, p->rocks->cf[family]);
    char    *text = NULL;
    uint64_t bad = 0;
    int      rc = E_OK, read_rc;

    for (rocksdb_iter_seek_to_first(it); rc == E_OK && rocksdb_iter_valid(it);
         rocksdb_iter_next(it)) {
        size_t      key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len);
        const char *value = rocksdb_iter_value(it, &value_len);

        rc = fn(p, view_of(key, key_len), view_of(value, value_len));
        bad += rc == E_BAD;
        rc = rc == E_BAD ? E_OK : rc;
    }
    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    read_rc = rocks_result(text, "load");
    if (read_rc < 0 && rocks_is_refusal(read_rc) && !patience_is_over(p->dir))
        rc = rc < 0 ? rc : read_rc;
    else if (read_rc < 0) {
        /* What could be read is kept; the rest comes from the journal, or is lost. */
        log_error("part.load", "dir=%s error=%s", p->dir, log_quote(view_str(err_text())));
        err_clear();
    }
    if (bad > 0)
        log_error("part.load", "dir=%s bad_records=%" PRIu64, p->dir, bad);
    return rc;
}

static int
load_trimmed(part *p, uint64_t *lsn)
{
    char      *text = NULL;
    size_t     len;
    meta_value v;
    char *got = rocksdb_get_cf(p->rocks->db, p->rocks->read, p->rocks->cf[PART_META], "trimmed", 7,
                               &len, &text);

    *lsn = 0;
    if (text != NULL)
        return rocks_result(text, "read what the journal was trimmed to");
    if (got != NULL && len == sizeof v) {
        memcpy(&v, got, sizeof v);
        *lsn = v.version == KEY_VALUE_VERSION ? v.lsn : 0;
    }
    rocksdb_free(got);
    p->next_lsn = max_u64(p->next_lsn, *lsn + 1);
    return E_OK;
}

static int
tell_latest(part *p)
{
    for (uint32_t i = 1; p->events.latest != NULL && i <= series_count(p->map); i++) {
        const series *s = series_at(p->map, i);

        if (s->machine != 0 && s->latest_lsn != 0)
            p->events.latest(p->events.ctx, i, s->latest_us, s->latest, s->latest_lsn);
    }
    return E_OK;
}

static int
load(part *p, journal_report *report)
{
    journal_config config = { .budget_bytes = p->config.journal_bytes,
                              .durability = p->config.durability,
                              .crumb = p->config.crumb };
    uint64_t       trimmed;
    int            rc = load_trimmed(p, &trimmed);

    if (rc == E_OK)
        rc = load_family(p, PART_SERIES, load_series);
    if (rc == E_OK)
        rc = load_family(p, PART_LATEST, load_latest);
    if (rc == E_OK && (p->in_doubt || p->rocks->repaired))
        rc = part_log_doubt(p, trimmed);
    if (rc == E_OK)
        rc = load_family(p, PART_ERASED, load_erased);
    if (rc == E_OK)
        rc = load_family(p, PART_META, load_meta);
    p->shown_lsn = trimmed;
    if (rc == E_OK)
        rc = journal_open(&p->journal, p->dir, &config, trimmed, replay_block, p, report);
    if (rc < 0)
        return rc;
    p->shown_lsn = p->next_lsn - 1;
    p->sealed_seq = rocksdb_get_latest_sequence_number(p->rocks->db);
    if (p->lost_rows > 0)
        log_error("part.lost_rows", "dir=%s rows=%" PRIu64 " why=series_unknown", p->dir,
                  p->lost_rows);
    return tell_latest(p);
}

int
part_open(part **out, const part_config *config, const part_events *events, journal_report *report)
{
    part *p = calloc(1, sizeof *p);
    int   rc;

    *out = NULL;
    *report = (journal_report){ 0 };
    ASSERT(p != NULL);
    p->config = *config;
    p->config.dir = NULL; /* borrowed for the call */
    p->events = events != NULL ? *events : (part_events){ 0 };
    p->next_lsn = 1;
    p->newest_us = INT64_MIN;
    p->retain_day = INT32_MIN;
    p->map = series_new();
    p->heads = heads_new();
    rc = fs_path(p->dir, "%s/part.%u", config->dir, config->number);
    if (rc == E_OK)
        rc = part_log_look(p);
    if (rc == E_OK)
        rc = part_db_own(&p->db, p->dir, config->cache_bytes);
    if (rc == E_OK) {
        p->rocks = part_db_rocks(p->db);
        if (part_db_is_read_only(p->db)) /* a full disk; part_tend() mends that */
            p->broken = E_NOSPACE;
        else
            part_touch_log(p);
        rc = load(p, report);
    }
    if (rc < 0) {
        part_abandon(&p);
        return err(rc, "partition %u", config->number);
    }
    patience_renew(p->dir);
    *out = p;
    return E_OK;
}

void
part_abandon(part **pp)
{
    part *p = *pp;

    if (p == NULL)
        return;
    journal_close(&p->journal);
    part_db_disown(&p->db);
    series_free(&p->map);
    heads_free(&p->heads);
    free(p->unstored.series);
    free(p->named);
    free(p->carry);
    free(p->sorted);
    free(p->spare_rows);
    free(p->chunk);
    chunk_scratch_free(&p->scratch);
    free(p->erasures);
    free(p->merges);
    free(p->gathered);
    part_retain_free(p);
    free(p);
    *pp = NULL;
}

/* What is not sealed is in the journal, and what is sealed in RocksDB's log: that one is synced, so that the two
 * agree also after a power cut that follows. */
void
part_close(part **pp)
{
    part *p = *pp;
    char *text = NULL;

    if (p == NULL)
        return;
    if (p->broken == E_OK)
        rocksdb_flush_wal(p->rocks->db, 1, &text);
    if (rocks_result(text, "close the partition") < 0) {
        log_warn("part.close", "dir=%s error=%s", p->dir, log_quote(view_str(err_text())));
        err_clear();
    }
    part_abandon(pp);
}

/* ---- questions ---- */

head_view
part_head(const part *p, uint32_t number)
{
    const head *d;

    if (number == 0 || number > series_count(p->map) || series_at(p->map, number)->head == 0)
        return (head_view){ 0 };
    d = heads_at(p->heads, series_at(p->map, number)->head);
    return (head_view){ d->rows, d->count, d->first_lsn };
}

head_view
part_head_by_time(part *p, uint32_t number)
{
    head_view h = part_head(p, number);
    uint32_t  at = h.count > 0 ? series_at(p->map, number)->head : 0;

    if (at == 0 || heads_is_ordered(p->heads, at))
        return h;
    const head_row *rows = part_ordered(p, h.rows, &h.count);

    heads_replace(p->heads, at, rows, h.count);
    return part_head(p, number);
}

int64_t
part_newest_us(const part *p)
{
    return p->newest_us;
}

uint64_t
part_sealed_seq(const part *p)
{
    return p->sealed_seq;
}

uint64_t
part_next_lsn(const part *p)
{
    return p->next_lsn;
}

uint64_t
part_oldest_unstored(const part *p)
{
    const unstored *u = &p->unstored;
    uint64_t        erased = part_erase_unstored(p);
    uint64_t        defined = u->first < u->end ? series_at(p->map, u->series[u->first])->defined_lsn : 0;

    return defined != 0 && (erased == 0 || defined < erased) ? defined : erased;
}

void
part_stat(const part *p, part_stats *out)
{
    uint64_t chunks = 0, bytes = 0;

    if (p->rocks->db != NULL) {
        (void)rocksdb_property_int_cf(p->rocks->db, p->rocks->cf[PART_CHUNKS],
                                      "rocksdb.estimate-num-keys", &chunks);
        (void)rocksdb_property_int_cf(p->rocks->db, p->rocks->cf[PART_CHUNKS],
                                      "rocksdb.live-sst-files-size", &bytes);
    }
    *out = (part_stats){ .series = series_count(p->map),
                         .head_rows = heads_rows(p->heads),
                         .head_bytes = heads_bytes(p->heads),
                         .chunks = chunks,
                         .chunk_bytes = bytes,
                         .journal_bytes = journal_written_bytes(p->journal),
                         .journal_syncs = journal_syncs(p->journal),
                         .journal_used = journal_used_bytes(p->journal),
                         .replayed_rows = p->replayed_rows,
                         .merged_chunks = p->merged_chunks,
                         .erasures = p->erasure_count,
                         .merges_waiting = p->merge_end - p->merge_first,
                         .retained_readings = p->retained_readings };
}
