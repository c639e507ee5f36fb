/* zone.c - see zone.h.
 *
 *   header v1 | block of 32-bit times (skipped) | header v2 | block of 64-bit times | \n rule \n
 *
 *   block:  times[n] 8 B   types of the times[n] 1 B   types[m] { offset 4 B, dst 1 B, name 1 B }
 *           names   leap seconds (refused)   indicators
 */
#include "proto/zone.h"

#include "proto/err.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEADER_LEN = 44,
    TIMES_MAX = 4096,
    TYPES_MAX = 256,
    NAMES_MAX = 4096,
    OFFSET_MAX = 26 * 3600, /* RFC 8536: -25 h to +26 h, and so wide at most */
    CYCLE_YEARS = 400,
    RULE_FROM = 1900, /* years that a rule may begin in */
    RULE_UNTIL = 2200,
    CACHE_MAX = 64,
};
#define DAY_S   INT64_C(86400)
#define CYCLE_S (INT64_C(146097) * DAY_S)

typedef struct change {
    int64_t at; /* from this second on */
    int32_t offset;
} change;

struct zone {
    uint32_t refs;       /* under the cache's lock */
    uint64_t used;       /* ... */
    char     name[ZONE_NAME_MAX + 1];
    int32_t  before;     /* offset before the first change */
    int64_t  cycle_from; /* from here on it repeats; INT64_MAX: it does not */
    uint32_t count;
    change   changes[];
};

/* ---- the calendar ---- */

/* Days since the epoch of January 1st (proleptic Gregorian). */
static int64_t
year_days(int64_t year)
{
    int64_t y = year - 1;

    return y * 365 + y / 4 - y / 100 + y / 400 - 719162; /* years here are positive */
}

static bool
is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t
year_of(int64_t second)
{
    int64_t days = second / DAY_S - (second % DAY_S < 0);
    int64_t year = 1970 + days / 366 - 1;

    while (year_days(year + 1) <= days)
        year++;
    return year;
}

/* ---- the POSIX rule: "CET-1CEST,M3.5.0,M10.5.0/3" ---- */

typedef enum day_form { DAY_JULIAN, DAY_ZERO, DAY_MONTH } day_form;

typedef struct rule_day {
    day_form form;
    int32_t  month, week, day;
    int32_t  second; /* of the local day; may lie outside it */
} rule_day;

typedef struct rule {
    int32_t  standard, summer; /* offsets, east positive */
    bool     has_summer;
    rule_day begin, end; /* of summer */
} rule;

typedef struct text {
    const uint8_t *at, *end;
} text;

static bool
take(text *t, char c)
{
    if (t->at == t->end || *t->at != (uint8_t)c)
        return false;
    t->at++;
    return true;
}

static bool
take_number(text *t, int32_t least, int32_t most, int32_t *out)
{
    int32_t  n = 0;
    uint32_t digits = 0;

    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9' && digits < 4; t->at++, digits++)
        n = n * 10 + (*t->at - '0');
    *out = n;
    return digits > 0 && n >= least && n <= most;
}

static bool
is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool
take_name(text *t)
{
    const uint8_t *from = t->at;

    if (take(t, '<')) {
        while (t->at < t->end && *t->at != '>')
            t->at++;
        return take(t, '>');
    }
    while (t->at < t->end && is_letter(*t->at))
        t->at++;
    return t->at - from >= 3;
}

/* [+-]h[:m[:s]] in seconds */
static bool
take_time(text *t, int32_t most_hours, int32_t *out)
{
    bool    minus = take(t, '-');
    int32_t h, m = 0, s = 0;

    if (!minus)
        (void)take(t, '+');
    if (!take_number(t, 0, most_hours, &h))
        return false;
    if (take(t, ':')) {
        if (!take_number(t, 0, 59, &m) || (take(t, ':') && !take_number(t, 0, 59, &s)))
            return false;
    }
    *out = (h * 3600 + m * 60 + s) * (minus ? -1 : 1);
    return true;
}

static bool
take_day(text *t, rule_day *d)
{
    bool ok;

    d->second = 2 * 3600;
    if (take(t, 'M')) {
        d->form = DAY_MONTH;
        ok = take_number(t, 1, 12, &d->month) && take(t, '.') && take_number(t, 1, 5, &d->week) &&
             take(t, '.') && take_number(t, 0, 6, &d->day);
    } else if (take(t, 'J')) {
        d->form = DAY_JULIAN;
        ok = take_number(t, 1, 365, &d->day);
    } else {
        d->form = DAY_ZERO;
        ok = take_number(t, 0, 365, &d->day);
    }
    return ok && (!take(t, '/') || take_time(t, 167, &d->second));
}

static bool
parse_rule(view s, rule *r)
{
    text    t = { s.at, s.at + s.len };
    int32_t west;

    memset(r, 0, sizeof *r);
    if (!take_name(&t) || !take_time(&t, 24, &west))
        return false;
    r->standard = -west;
    if (t.at == t.end)
        return true;
    r->has_summer = true;
    r->summer = r->standard + 3600;
    if (!take_name(&t))
        return false;
    if (t.at < t.end && *t.at != ',') {
        if (!take_time(&t, 24, &west))
            return false;
        r->summer = -west;
    }
    return take(&t, ',') && take_day(&t, &r->begin) && take(&t, ',') && take_day(&t, &r->end) &&
           t.at == t.end;
}

/* The local second since the epoch that a rule's day means in a year. */
static int64_t
rule_second(const rule_day *d, int64_t year)
{
    static const int32_t before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365 };
    int64_t              days = year_days(year);

    if (d->form == DAY_ZERO) {
        days += d->day;
    } else if (d->form == DAY_JULIAN) {
        days += d->day - 1 + (is_leap(year) && d->day >= 60);
    } else {
        int64_t first = days + before[d->month - 1] + (is_leap(year) && d->month > 2);
        int64_t next = days + before[d->month] + (is_leap(year) && d->month > 1);
        int64_t weekday = ((first + 4) % 7 + 7) % 7; /* of the first; 0: Sunday */

        days = first + (d->day - weekday + 7) % 7 + (d->week - 1) * 7;
        if (days >= next)
            days -= 7;
    }
    return days * DAY_S + d->second;
}

/* ---- the file ---- */

typedef struct block {
    const uint8_t *times, *indexes, *types;
    uint32_t       time_count, type_count;
    size_t         len; /* of all, behind the header */
} block;

/* time_len: 4 or 8.  False: malformed, or does not fit. */
static bool
read_block(view file, size_t at, size_t time_len, block *b)
{
    uint32_t n[6]; /* ut indicators, standard indicators, leaps, times, types, name bytes */

    if (file.len < at || file.len - at < HEADER_LEN || memcmp(file.at + at, "TZif", 4) != 0 ||
        file.at[at + 4] < '2')
        return false;
    for (uint32_t i = 0; i < COUNT_OF(n); i++)
        n[i] = load_be32(file.at + at + 20 + i * 4);
    if (n[0] > TYPES_MAX || n[1] > TYPES_MAX || n[2] > TIMES_MAX || n[3] > TIMES_MAX ||
        n[4] > TYPES_MAX || n[5] > NAMES_MAX)
        return false;
    if (time_len == 8 && (n[2] != 0 || n[4] == 0))
        return false;
    b->len = n[3] * (time_len + 1) + n[4] * 6u + n[5] + n[2] * (time_len + 4) + n[1] + n[0];
    if (file.len - at - HEADER_LEN < b->len)
        return false;
    b->times = file.at + at + HEADER_LEN;
    b->indexes = b->times + n[3] * time_len;
    b->types = b->indexes + n[3];
    b->time_count = n[3];
    b->type_count = n[4];
    return true;
}

static bool
type_offset(const block *b, uint32_t i, int32_t *offset)
{
    if (i >= b->type_count)
        return false;
    *offset = (int32_t)load_be32(b->types + i * 6u);
    return *offset >= -OFFSET_MAX && *offset <= OFFSET_MAX;
}

static bool
read_changes(zone *z, const block *b)
{
    for (uint32_t i = 0; i < b->time_count; i++) {
        change c = { .at = (int64_t)load_be64(b->times + i * 8u) };

        if (!type_offset(b, b->indexes[i], &c.offset) ||
            (i > 0 && c.at <= z->changes[i - 1].at) || c.at > year_days(RULE_UNTIL) * DAY_S)
            return false;
        z->changes[z->count++] = c;
    }
    return type_offset(b, 0, &z->before);
}

/* In order; of two at once the later added counts. */
static void
add_change(zone *z, int64_t at, int32_t offset, int64_t after)
{
    uint32_t i = z->count;

    if (at <= after)
        return;
    for (; i > 0 && z->changes[i - 1].at > at; i--)
        z->changes[i] = z->changes[i - 1];
    z->changes[i] = (change){ at, offset };
    z->count++;
}

static void
add_rule(zone *z, const rule *r)
{
    int64_t last = z->count > 0 ? z->changes[z->count - 1].at : INT64_MIN;
    int64_t floor = year_days(RULE_FROM) * DAY_S;
    int64_t from = year_of(last < floor ? floor : last);

    if (!r->has_summer) {
        if (z->count == 0)
            z->before = r->standard;
        return;
    }
    for (int64_t year = from; year <= from + CYCLE_YEARS + 1; year++) {
        int64_t begin = rule_second(&r->begin, year) - r->standard;
        int64_t end = rule_second(&r->end, year) - r->summer;

        /* Summer all the year ends when it begins again: then the beginning counts. */
        if (begin < end) {
            add_change(z, begin, r->summer, last);
            add_change(z, end, r->standard, last);
        } else {
            add_change(z, end, r->standard, last);
            add_change(z, begin, r->summer, last);
        }
    }
    z->cycle_from = year_days(from + 1) * DAY_S;
}

int
zone_parse(view file, zone **out)
{
    block          v1, b;
    size_t         at;
    const uint8_t *foot, *foot_end;
    rule           r;
    zone          *z;

    *out = NULL;
    if (file.len > ZONE_FILE_MAX || !read_block(file, 0, 4, &v1))
        return err(E_BAD, "not a TZif file");
    at = HEADER_LEN + v1.len;
    if (!read_block(file, at, 8, &b))
        return err(E_BAD, "a TZif file without usable 64-bit times");
    at += HEADER_LEN + b.len;
    foot = file.at + at;
    if (at == file.len || *foot++ != '\n' ||
        (foot_end = memchr(foot, '\n', (size_t)(file.at + file.len - foot))) == NULL)
        return err(E_BAD, "a TZif file without a rule");
    z = calloc(1, sizeof *z + (b.time_count + (CYCLE_YEARS + 2) * 2u) * sizeof *z->changes);
    if (z == NULL)
        return err(E_NOMEM, "zone");
    z->refs = 1;
    z->cycle_from = INT64_MAX;
    if (!read_changes(z, &b) ||
        (foot_end > foot && !parse_rule(view_of(foot, (size_t)(foot_end - foot)), &r))) {
        free(z);
        return err(E_BAD, "a TZif file with malformed times or rule");
    }
    if (foot_end > foot)
        add_rule(z, &r);
    *out = z;
    return E_OK;
}

/* ---- looking up ---- */

/* The offset at a second, and until when it holds. */
static int32_t
offset_until(const zone *z, int64_t second, int64_t *until)
{
    int64_t  shift = 0;
    uint32_t low = 0, high = z->count;

    if (z->cycle_from != INT64_MAX && second >= z->cycle_from + CYCLE_S)
        shift = (second - z->cycle_from) / CYCLE_S * CYCLE_S;
    second -= shift;
    while (low < high) { /* the first change behind */
        uint32_t mid = low + (high - low) / 2;

        if (z->changes[mid].at <= second)
            low = mid + 1;
        else
            high = mid;
    }
    *until = low < z->count ? z->changes[low].at + shift : INT64_MAX;
    return low > 0 ? z->changes[low - 1].offset : z->before;
}

int32_t
zone_offset(const zone *z, int64_t second)
{
    int64_t until;

    return offset_until(z, second, &until);
}

int64_t
zone_first(const zone *z, int64_t local)
{
    int64_t at = local - OFFSET_MAX - 1; /* local time there is before `local` in any case */

    for (;;) {
        int64_t until;
        int64_t want = local - offset_until(z, at, &until);

        want = want < at ? at : want;
        if (want < until)
            return want;
        at = until;
    }
}

/* ---- the cache ---- */

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static zone           *cache[CACHE_MAX]; /* each holds one reference */
static uint64_t        cache_clock;

bool
zone_name_is_valid(view name)
{
    bool part = false; /* a part has begun */

    if (name.len == 0 || name.len > ZONE_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.at[i];

        if (c == '/' && !part)
            return false;
        if (c != '/' && c != '_' && c != '+' && c != '-' && !is_letter(c) &&
            !(c >= '0' && c <= '9'))
            return false;
        part = c != '/';
    }
    return part;
}

static int
read_file(const char *path, uint8_t *bytes, size_t room, size_t *len)
{
    int         fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    ssize_t     n = 1;

    *len = 0;
    if (fd < 0)
        return err(errno == ENOENT || errno == ENOTDIR ? E_NOTFOUND : E_IO, "open %s", path);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        while (n > 0 && *len < room && (n = read(fd, bytes + *len, room - *len)) > 0)
            *len += (size_t)n;
    close(fd);
    return n < 0 ? err(E_IO, "read %s", path) : E_OK;
}

/* NULL and *rc when it cannot be. */
static zone *
load(view name, int *rc)
{
    char     path[sizeof "/usr/share/zoneinfo/" + ZONE_NAME_MAX];
    uint8_t *bytes = malloc(ZONE_FILE_MAX + 1);
    zone    *z = NULL;
    size_t   len = 0;

    if (bytes == NULL) {
        *rc = err(E_NOMEM, "zone");
        return NULL;
    }
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%.*s", (int)name.len, (const char *)name.at);
    *rc = read_file(path, bytes, ZONE_FILE_MAX + 1, &len);
    if (*rc == E_OK && (*rc = zone_parse(view_of(bytes, len), &z)) < 0)
        *rc = err(*rc, "%s", path);
    free(bytes);
    if (z != NULL)
        memcpy(z->name, name.at, name.len);
    return z;
}

static zone *
find(view name)
{
    for (uint32_t i = 0; i < CACHE_MAX; i++)
        if (cache[i] != NULL && view_eq(view_str(cache[i]->name), name))
            return cache[i];
    return NULL;
}

static void
release(zone *z)
{
    if (--z->refs == 0)
        free(z);
}

/* Into an empty place, or that of the one not used for longest. */
static void
keep(zone *z)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < CACHE_MAX && cache[at] != NULL; i++)
        if (cache[i] == NULL || cache[i]->used < cache[at]->used)
            at = i;
    if (cache[at] != NULL)
        release(cache[at]);
    cache[at] = z;
    z->refs++;
}

int
zone_open(view name, zone **out)
{
    zone *z;
    int   rc = E_OK;

    *out = NULL;
    if (!zone_name_is_valid(name))
        return err(E_NOTFOUND, "not the name of a zone");
    pthread_mutex_lock(&cache_lock);
    z = find(name);
    if (z != NULL)
        z->refs++;
    else if ((z = load(name, &rc)) != NULL)
        keep(z);
    if (z != NULL)
        z->used = ++cache_clock;
    pthread_mutex_unlock(&cache_lock);
    *out = z;
    return rc;
}

void
zone_close(zone **z)
{
    if (*z == NULL)
        return;
    pthread_mutex_lock(&cache_lock);
    release(*z);
    pthread_mutex_unlock(&cache_lock);
    *z = NULL;
}
