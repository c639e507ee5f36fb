/* part_stage.c - bodies of messages become items of a journal block.
 *
 *   body --part_stage--> journal block --part_end_block, part_write--> disk --part_show--> heads
 */
#include "storage/part_inner.h"

#include <stdlib.h>

#include "proto/err.h"

enum { METRIC_LEN_MAX = 1020, UNIT_LEN_MAX = 256 };

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
    part_note_unstored(p, number);
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
    if (p->refusing)
        return E_NOSPACE;
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

void
part_refuse(part *p, bool refuse)
{
    p->refusing = refuse;
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
    journal_stamp(p->journal, p->stamp);
    journal_end(p->journal, b->first_lsn, b->rows, &b->generation, wall_us);
    p->flying_definitions = b->definitions;
    b->open = false;
}

void
part_stamp(part *p, uint64_t stamp)
{
    p->stamp = max_u64(p->stamp, stamp);
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
    while (part_item_next(&payload, &it) == 1) {
        if (it.kind == ITEM_ERASE)
            p->staged_erasures -= it.erased_count;
        if (it.kind != ITEM_SERIES)
            continue;
        if (p->building.open)
            define(p, it.series.number);
        else
            carry(p, it.series.number);
    }
    p->shown_lsn = max_u64(p->shown_lsn, b->first_lsn + (b->rows > 0 ? b->rows - 1 : 0));
    p->flying_definitions = 0;
    journal_drop(p->journal);
}
