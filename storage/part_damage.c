/* part_damage.c - what readings may be missing where the journal was damaged, as far as anybody can tell.
 *
 *   blocks on both sides  -> how many readings at most, and when they arrived
 *   the bytes themselves  -> series and times of rows in them: most of a block that fails its checksum is as it was
 *
 * Told in the log, and in a .txt of DIR/damaged beside the bytes.  What is told of rows is read from damaged bytes: a hint.
 */
#include "storage/part_inner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/instant.h"
#include "proto/log.h"
#include "storage/journal_file.h"

enum { SUSPECTS_MAX = 256, TOLD_MAX = 16 };

typedef struct suspect {
    uint32_t series, rows;
    int64_t  from_us, until_us;
} suspect;

typedef struct suspects {
    const part *p;
    suspect     at[SUSPECTS_MAX];
    uint32_t    count;
    uint64_t    others; /* rows of series for which there was no place */
} suspects;

typedef char instant_text[INSTANT_TEXT_MAX + 1];

static const char *
text_of(int64_t us, instant_text out)
{
    if (us == 0)
        return "unknown";
    out[instant_format(us, out)] = '\0';
    return out;
}

static suspect *
suspect_of(suspects *s, uint32_t number)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->at[i].series == number)
            return &s->at[i];
    if (s->count == SUSPECTS_MAX)
        return NULL;
    s->at[s->count] = (suspect){ .series = number, .from_us = INT64_MAX, .until_us = INT64_MIN };
    return &s->at[s->count++];
}

static void
note_row(suspects *s, const reading_row *r)
{
    suspect *at;

    if (r->series == 0 || r->series > series_count(s->p->map) || series_at(s->p->map, r->series)->machine == 0 ||
        !instant_has_second(r->time_us / 1000000))
        return; /* these bytes are not as they were */
    at = suspect_of(s, r->series);
    if (at == NULL) {
        s->others++;
        return;
    }
    at->rows++;
    at->from_us = r->time_us < at->from_us ? r->time_us : at->from_us;
    at->until_us = r->time_us > at->until_us ? r->time_us : at->until_us;
}

/* A block's items, until one is unsound. */
static void
look_into(suspects *s, view payload)
{
    item it;

    while (part_item_next(&payload, &it) == 1)
        for (uint32_t i = 0; it.kind == ITEM_ROWS && i < it.rows; i++)
            note_row(s, &it.row[i]);
}

static void
look_at(suspects *s, view bytes)
{
    for (size_t at = 0, step; at + sizeof(block_head) <= bytes.len; at += step) {
        block_head h;
        size_t     len = bytes.len - at;

        memcpy(&h, bytes.at + at, sizeof h);
        step = JOURNAL_PAGE;
        if (h.magic == JOURNAL_MAGIC && h.length > sizeof h && h.length <= len) {
            len = h.length;
            step = round_up(len, JOURNAL_PAGE);
        }
        look_into(s, view_of(bytes.at + at + sizeof h, (len - sizeof h) & ~(size_t)7));
    }
}

static void
tell_one(const suspects *s, const suspect *at, FILE *f, bool log)
{
    view         metric = series_metric(s->p->map, at->series);
    uint32_t     machine = series_at(s->p->map, at->series)->machine;
    char         name[MACHINE_NAME_MAX] = "";
    instant_text from, until;

    if (s->p->events.machine != NULL)
        s->p->events.machine(s->p->events.ctx, machine, name);
    text_of(at->from_us, from);
    text_of(at->until_us, until);
    fprintf(f, "machine=%u identifier=%s metric=%s readings=%u from=%s until=%s\n", machine, log_quote(view_str(name)),
            log_quote(metric), at->rows, from, until);
    if (log)
        log_error("part.may_be_missing", "machine=%u identifier=%s metric=%s readings=%u from=%s until=%s", machine,
                  log_quote(view_str(name)), log_quote(metric), at->rows, from, until);
}

static void
tell(const suspects *s, const journal_gap *g, FILE *f)
{
    instant_text after, before;
    uint64_t     most = g->last_lsn >= g->first_lsn ? g->last_lsn - g->first_lsn + 1 : 0;

    log_error("part.gap", "dir=%s file=%s.bin readings_at_most=%" PRIu64 " arrived_after=%s arrived_before=%s series=%u",
              s->p->dir, g->file, most, text_of(g->after_us, after), text_of(g->before_us, before), s->count);
    fprintf(f, "readings_at_most=%" PRIu64 " arrived_after=%s arrived_before=%s\n", most, text_of(g->after_us, after),
            text_of(g->before_us, before));
    for (uint32_t i = 0; i < s->count; i++)
        tell_one(s, &s->at[i], f, i < TOLD_MAX);
    if (s->others > 0)
        fprintf(f, "of other series: readings=%" PRIu64 "\n", s->others);
}

void
part_damage_gap(void *ctx, const journal_gap *g)
{
    suspects *s = calloc(1, sizeof *s);
    char      path[FS_PATH_MAX];
    char     *text = NULL;
    size_t    len = 0;
    FILE     *f = open_memstream(&text, &len);

    ASSERT(s != NULL && f != NULL);
    s->p = ctx;
    look_at(s, g->bytes);
    tell(s, g, f);
    fclose(f);
    if (fs_path(path, "%s.txt", g->file) < 0 || fs_write_file(path, view_of(text, len)) < 0) {
        log_warn("part.damage", "error=%s", log_quote(view_str(err_text())));
        err_clear();
    }
    free(text);
    free(s);
}
