#include "storage/part_item.h"

#include "proto/err.h"

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

int
part_item_next(view *payload, item *out)
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
