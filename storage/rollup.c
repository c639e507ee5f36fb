/* rollup.c - see rollup.h for the bytes. */
#include "storage/rollup.h"

#include <math.h>

#include "proto/err.h"
#include "proto/hash.h"
#include "storage/decimal.h"

enum { DOUBLES = 7, DECIMALS_MASK = 7, BARE = 8, FEW = 1024 };

static const int64_t units[] = { 1, 1000, 1000000 };

typedef struct rollup_head {
    uint8_t  version;
    uint8_t  flags;
    uint8_t  unit;
    uint8_t  hours;
    uint32_t crc; /* of everything, with crc = 0 */
} rollup_head;
_Static_assert(sizeof(rollup_head) == 8, "layout");

/* ---- figures ---- */

static double
spread(const head_row *rows, uint32_t count, double mean)
{
    double m2 = 0, drift = 0;

    for (uint32_t i = 0; i < count; i++) {
        double d = rows[i].value - mean;

        m2 += d * d;
        drift += d;
    }
    m2 -= drift * drift / count; /* what the rounding of the mean added */
    return m2 > 0 || isnan(m2) ? m2 : 0;
}

/* In 64 bits of fraction a thousand additions lose a quarter of an ulp of a double at most. */
static double
sum_of_few(const head_row *rows, uint32_t count)
{
    long double a = 0, b = 0, c = 0, d = 0;
    uint32_t    i = 0;

    for (; i + 4 <= count; i += 4) {
        a += rows[i].value;
        b += rows[i + 1].value;
        c += rows[i + 2].value;
        d += rows[i + 3].value;
    }
    for (; i < count; i++)
        a += rows[i].value;
    return (double)(a + b + (c + d));
}

static double
sum_of(const head_row *rows, uint32_t count)
{
    double sum = 0, low = 0;

    if (count <= FEW)
        return sum_of_few(rows, count);
    for (uint32_t i = 0; i < count; i++) {
        double v = rows[i].value;
        double next = sum + v;
        double back = next - sum;

        low += (sum - (next - back)) + (v - back); /* what the sum could not take */
        sum = next;
    }
    return isfinite(low) ? sum + low : sum;
}

/* 4096 of less than 2^50: no overflow. */
static double
sum_of_decimals(const int64_t *scaled, uint32_t count, uint32_t k)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += scaled[i];
    return (double)sum / decimal_powers[k];
}

static chunk_summary
summarise(const head_row *rows, uint32_t count, double sum)
{
    chunk_summary s = { .count = count,
                        .first_us = rows[0].time_us,
                        .last_us = rows[count - 1].time_us,
                        .first = rows[0].value,
                        .last = rows[count - 1].value,
                        .min = rows[0].value,
                        .max = rows[0].value,
                        .sum = sum };

    for (uint32_t i = 0; i < count; i++) {
        double v = rows[i].value;

        s.min = v < s.min ? v : s.min;
        s.max = v > s.max ? v : s.max;
    }
    return s;
}

chunk_summary
rollup_sum(const head_row *rows, uint32_t count, bool with_spread)
{
    chunk_summary s = summarise(rows, count, sum_of(rows, count));

    s.m2 = with_spread ? spread(rows, count, s.sum / count) : 0;
    return s;
}

static uint32_t
hours_of(const head_row *rows, uint32_t count)
{
    int64_t first = rows[0].time_us / ROLLUP_HOUR_US - (rows[0].time_us % ROLLUP_HOUR_US < 0);
    int64_t last = rows[count - 1].time_us / ROLLUP_HOUR_US - (rows[count - 1].time_us % ROLLUP_HOUR_US < 0);

    return (uint32_t)(last - first) + 1;
}

static int64_t
hour_end(int64_t time_us)
{
    return (time_us / ROLLUP_HOUR_US - (time_us % ROLLUP_HOUR_US < 0) + 1) * ROLLUP_HOUR_US;
}

static chunk_summary
summarise_part(const head_row *rows, uint32_t from, uint32_t count, const chunk_decimals *d)
{
    double        sum = d != NULL ? sum_of_decimals(d->scaled + from, count, d->k) : sum_of(rows + from, count);
    chunk_summary s = summarise(rows + from, count, sum);

    s.m2 = spread(rows + from, count, s.sum / count);
    return s;
}

void
rollup_make(rollup *r, const head_row *rows, uint32_t count, bool hours, const chunk_decimals *d)
{
    uint32_t many = hours_of(rows, count);

    r->bare = false;
    r->hours = 0;
    r->whole = summarise_part(rows, 0, count, d);
    if (!hours && (many == 1 || count / many < ROLLUP_ROWS_AN_HOUR))
        return;
    for (uint32_t from = 0, to; from < count; from = to) {
        int64_t end = hour_end(rows[from].time_us);

        for (to = from + 1; to < count && rows[to].time_us < end;)
            to++;
        ASSERT(r->hours < ROLLUP_HOURS_MAX); /* one day */
        r->hour[r->hours++] = summarise_part(rows, from, to - from, d);
    }
}

/* ---- sums of sums ---- */

/* Chan: the spread of two sets from theirs. */
static chunk_summary
joined(const chunk_summary *a, const chunk_summary *b)
{
    const chunk_summary *first = a->first_us <= b->first_us ? a : b;
    const chunk_summary *last = a->last_us > b->last_us ? a : b;
    double               n = (double)a->count + b->count;
    double               d = b->sum / b->count - a->sum / a->count;

    return (chunk_summary){ .lsn = max_u64(a->lsn, b->lsn),
                            .count = a->count + b->count,
                            .gen = a->gen > b->gen ? a->gen : b->gen,
                            .first_us = first->first_us,
                            .last_us = last->last_us,
                            .first = first->first,
                            .last = last->last,
                            .min = a->min < b->min ? a->min : b->min,
                            .max = a->max > b->max ? a->max : b->max,
                            .sum = a->sum + b->sum,
                            .m2 = a->m2 + b->m2 + d * d * a->count * b->count / n };
}

static void
sum_up_hours(rollup *r)
{
    r->whole = r->hour[0];
    for (uint32_t i = 1; i < r->hours; i++)
        r->whole = joined(&r->whole, &r->hour[i]);
}

void
rollup_join(rollup *a, const rollup *b)
{
    rollup   out = { .bare = a->bare };
    uint32_t i = 0, j = 0;

    while (i < a->hours || j < b->hours) {
        int64_t x = i < a->hours ? hour_end(a->hour[i].first_us) : INT64_MAX;
        int64_t y = j < b->hours ? hour_end(b->hour[j].first_us) : INT64_MAX;

        ASSERT(out.hours < ROLLUP_HOURS_MAX);
        out.hour[out.hours++] = x < y   ? a->hour[i]
                                : y < x ? b->hour[j]
                                        : joined(&a->hour[i], &b->hour[j]);
        i += x <= y;
        j += y <= x;
    }
    sum_up_hours(&out);
    *a = out;
}

bool
rollup_leave_out(rollup *r, int64_t from_us, int64_t to_us)
{
    uint32_t kept = 0, before = r->hours;
    uint64_t lsn = r->whole.lsn;

    for (uint32_t i = 0; i < r->hours; i++)
        if (r->hour[i].last_us < from_us || r->hour[i].first_us >= to_us)
            r->hour[kept++] = r->hour[i];
    r->hours = kept;
    if (kept > 0 && kept < before)
        sum_up_hours(r);
    r->whole.lsn = lsn;
    return kept > 0;
}

/* ---- bytes ---- */

/* What the next one is told against. */
typedef struct context {
    int64_t  unit;
    uint32_t k;
    int64_t  time_us;
    int64_t  value;
} context;

/* The sum as it is of the integers; only for those whose double is that integer / 10^k rounded. */
static bool
scale_sum(double sum, uint32_t k, int64_t *out)
{
    double scaled = sum * decimal_powers[k];

    if (!(fabs(scaled) < 0x1p62))
        return false;
    *out = (int64_t)llround(scaled);
    for (int64_t n = *out - 1; n <= *out + 1; n++) {
        if (bits_of((double)n / decimal_powers[k]) != bits_of(sum))
            continue;
        *out = n;
        return true;
    }
    return false;
}

static bool
fits_decimals(const chunk_summary *s, uint32_t k)
{
    int64_t n;

    return decimal_scale(s->first, k, &n) && decimal_scale(s->last, k, &n) && decimal_scale(s->min, k, &n) &&
           decimal_scale(s->max, k, &n) && scale_sum(s->sum, k, &n);
}

static uint32_t
decimals_of(const rollup *r)
{
    for (uint32_t k = 0; k <= DECIMALS_MAX; k++) {
        bool good = fits_decimals(&r->whole, k);

        for (uint32_t i = 0; i < r->hours && good; i++)
            good = fits_decimals(&r->hour[i], k);
        if (good)
            return k;
    }
    return DOUBLES;
}

static uint8_t
unit_of(const rollup *r)
{
    uint8_t unit = COUNT_OF(units) - 1;

    for (; unit > 0; unit--) {
        bool good = (r->whole.last_us - r->whole.first_us) % units[unit] == 0;

        for (uint32_t i = 0; i < r->hours && good; i++)
            good = (r->hour[i].first_us - r->whole.first_us) % units[unit] == 0 &&
                   (r->hour[i].last_us - r->whole.first_us) % units[unit] == 0;
        if (good)
            break;
    }
    return unit;
}

static uint8_t *
put_one(uint8_t *at, context *c, const chunk_summary *s)
{
    int64_t first = 0, last = 0, min = 0, max = 0, sum = 0;

    at = put_varint(at, s->count);
    at = put_varint(at, (uint64_t)(s->first_us - c->time_us) / (uint64_t)c->unit);
    at = put_varint(at, (uint64_t)(s->last_us - s->first_us) / (uint64_t)c->unit);
    c->time_us = s->last_us;
    if (c->k == DOUBLES) {
        memcpy(at, &s->first, 48); /* first, last, min, max, sum, m2 */
        return at + 48;
    }
    (void)(decimal_scale(s->first, c->k, &first) && decimal_scale(s->last, c->k, &last) &&
           decimal_scale(s->min, c->k, &min) && decimal_scale(s->max, c->k, &max) && scale_sum(s->sum, c->k, &sum));
    at = put_varint(at, zigzag(first - c->value));
    at = put_varint(at, zigzag(last - first));
    at = put_varint(at, (uint64_t)(first - min));
    at = put_varint(at, (uint64_t)(max - first));
    at = put_varint(at, zigzag((int64_t)((uint64_t)sum - (uint64_t)first * s->count)));
    c->value = last;
    memcpy(at, &s->m2, 8);
    return at + 8;
}
_Static_assert(offsetof(chunk_summary, m2) == offsetof(chunk_summary, first) + 40, "the six figures lie together");

size_t
rollup_encode(uint8_t *out, const rollup *r)
{
    rollup_head h = { .version = ROLLUP_VERSION, .unit = unit_of(r), .hours = (uint8_t)r->hours };
    uint32_t    k = decimals_of(r);
    context     c = { .unit = units[h.unit], .k = k, .time_us = r->whole.first_us };
    uint8_t    *at = put_one(out + sizeof h, &c, &r->whole);

    h.flags = (uint8_t)(k | (r->bare ? BARE : 0));
    c.time_us = r->whole.first_us;
    for (uint32_t i = 0; i < r->hours; i++)
        at = put_one(at, &c, &r->hour[i]);
    ASSERT(at <= out + ROLLUP_BYTES_MAX);
    memcpy(out, &h, sizeof h);
    h.crc = crc32c(0, out, (size_t)(at - out));
    memcpy(out, &h, sizeof h);
    return (size_t)(at - out);
}

/* NULL: malformed. */
static const uint8_t *
get_one(const uint8_t *at, const uint8_t *end, context *c, chunk_summary *s)
{
    uint64_t count = 0, first_off = 0, span = 0, below = 0, above = 0;
    int64_t  first = 0, last = 0, sum = 0;

    at = get_varint(at, end, &count);
    at = get_varint(at, end, &first_off);
    at = get_varint(at, end, &span);
    if (at == NULL || count == 0 || count > UINT32_MAX)
        return NULL;
    s->count = (uint32_t)count;
    s->first_us = (int64_t)((uint64_t)c->time_us + first_off * (uint64_t)c->unit);
    s->last_us = (int64_t)((uint64_t)s->first_us + span * (uint64_t)c->unit);
    c->time_us = s->last_us;
    if (c->k == DOUBLES) {
        if (end - at < 48)
            return NULL;
        memcpy(&s->first, at, 48);
        return at + 48;
    }
    at = get_zigzag(at, end, &first);
    at = get_zigzag(at, end, &last);
    at = get_varint(at, end, &below);
    at = get_varint(at, end, &above);
    at = get_zigzag(at, end, &sum);
    if (at == NULL || end - at < 8)
        return NULL;
    first = (int64_t)((uint64_t)first + (uint64_t)c->value);
    c->value = (int64_t)((uint64_t)first + (uint64_t)last);
    s->first = (double)first / decimal_powers[c->k];
    s->last = (double)c->value / decimal_powers[c->k];
    s->min = (double)(int64_t)((uint64_t)first - below) / decimal_powers[c->k];
    s->max = (double)(int64_t)((uint64_t)first + above) / decimal_powers[c->k];
    s->sum = (double)(int64_t)((uint64_t)sum + (uint64_t)first * count) / decimal_powers[c->k];
    memcpy(&s->m2, at, 8);
    return at + 8;
}

static bool
is_sound(const rollup *r, const chunk_key *k)
{
    int64_t before = INT64_MIN;

    if (r->whole.first_us != k->first_us || key_day(k->first_us) != k->day || key_day(r->whole.last_us) != k->day ||
        r->whole.first_us > r->whole.last_us || (r->whole.count > CHUNK_ROWS_MAX && !r->bare))
        return false;
    for (uint32_t i = 0; i < r->hours; i++) {
        if (r->hour[i].first_us <= before || r->hour[i].last_us < r->hour[i].first_us)
            return false;
        before = r->hour[i].last_us;
    }
    return r->hours == 0 || before == r->whole.last_us;
}

static int
judge_head(view value, rollup_head *h)
{
    rollup_head judged;
    uint32_t    crc;

    if (value.len < sizeof *h)
        return err(E_BAD, "a rollup of %zu bytes", value.len);
    memcpy(h, value.at, sizeof *h);
    if (h->version != ROLLUP_VERSION)
        return err(h->version > ROLLUP_VERSION ? E_NEWER : E_BAD, "a rollup of version %u", h->version);
    judged = *h;
    judged.crc = 0;
    crc = crc32c(crc32c(0, &judged, sizeof judged), value.at + sizeof judged, value.len - sizeof judged);
    if (crc != h->crc)
        return err(E_BAD, "a rollup's checksum is wrong");
    if (h->hours > ROLLUP_HOURS_MAX || h->unit >= COUNT_OF(units) || h->flags >= 2 * BARE)
        return err(E_BAD, "a rollup's head is out of bounds");
    return E_OK;
}

bool
rollup_is_bare(view value)
{
    return value.len >= sizeof(rollup_head) && (value.at[offsetof(rollup_head, flags)] & BARE) != 0;
}

int
rollup_read(rollup *r, const chunk_key *k, view value)
{
    const uint8_t *end = value.at + value.len;
    const uint8_t *at;
    rollup_head    h;
    context        c;
    int            rc = judge_head(value, &h);

    if (rc < 0)
        return rc;
    r->bare = (h.flags & BARE) != 0;
    r->hours = h.hours;
    c = (context){ .unit = units[h.unit], .k = h.flags & DECIMALS_MASK, .time_us = k->first_us };
    at = get_one(value.at + sizeof h, end, &c, &r->whole);
    c.time_us = k->first_us;
    r->whole.lsn = k->lsn;
    r->whole.gen = k->gen;
    for (uint32_t i = 0; i < r->hours && at != NULL; i++) {
        at = get_one(at, end, &c, &r->hour[i]);
        r->hour[i].lsn = k->lsn;
        r->hour[i].gen = k->gen;
    }
    return at == end && is_sound(r, k) ? E_OK : err(E_BAD, "a rollup's figures do not fit");
}
