/* alert_save.c - what the alert actor knows, over restarts: DATA/alert.judged, a synced snapshot.
 *
 *   head | cursor of each partition | states | transitions that the registry has not answered
 *
 * All of one moment: behind the readings up to the cursors, and before the next.  It is copied at once and written by
 * the helper; the journals hold what comes behind the cursors of the newest whole file.
 */
#include "actors/alert_internal.h"

#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"
#include "storage/snapshot.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { JUDGED_KIND = 0x474a4148 };

typedef struct head {
    uint32_t cursors, cursor_size;
    uint32_t states, state_size;
    uint32_t turns, turn_size;
} head;

typedef struct cursor {
    uint64_t lsn;
    uint64_t stamp;
    uint64_t placed;
} cursor;

/* ---- reading ---- */

typedef struct rest {
    const uint8_t *at;
    size_t         len;
} rest;

static const void *
take(rest *r, uint32_t count, size_t size)
{
    const uint8_t *at = r->at;
    size_t         len = count * size;

    if (len > r->len)
        return NULL;
    r->at += len;
    r->len -= len;
    return at;
}

static void
load_cursors(alert *a, const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < a->feed_count; i++) {
        cursor c;

        memcpy(&c, from + i * sizeof c, sizeof c);
        if (c.placed == 0)
            continue;
        a->feeds[i].cursor = a->feeds[i].saved = a->feeds[i].known = c.lsn;
        a->feeds[i].stamp = c.stamp;
        a->feeds[i].placed = true;
    }
}

static void
load_states(alert *a, const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        alert_state  saved;
        alert_state *to;

        memcpy(&saved, from + i * sizeof saved, sizeof saved);
        to = alert__state(a, saved.rule, saved.machine);
        if (to == NULL)
            return;
        to->s = saved.s;
        to->machine_us = saved.machine_us;
    }
}

static void
load_turns(alert *a, const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count && alert__turns_room(a) > 0; i++) {
        turn         t;
        alert_state *s;

        memcpy(&t, from + i * sizeof t, sizeof t);
        alert__turn(a, &t);
        s = alert__state_find(a, t.rule, t.machine);
        if (s != NULL)
            s->flying++;
    }
}

static void
take_apart(alert *a, rest r)
{
    const void *h_at = take(&r, 1, sizeof(head)), *cursors, *states, *turns;
    head        h;

    if (h_at == NULL)
        return;
    memcpy(&h, h_at, sizeof h);
    if (h.cursor_size != sizeof(cursor) || h.state_size != sizeof(alert_state) || h.turn_size != sizeof(turn))
        return; /* another version's */
    cursors = take(&r, h.cursors, sizeof(cursor));
    states = take(&r, h.states, sizeof(alert_state));
    turns = take(&r, h.turns, sizeof(turn));
    if (cursors == NULL || states == NULL || turns == NULL)
        return;
    load_cursors(a, cursors, h.cursors);
    load_states(a, states, h.states);
    load_turns(a, turns, h.turns);
}

void
alert__load(alert *a)
{
    snapshot saved = { .kind = JUDGED_KIND, .record_size = 1 };
    char     old[PATH_MAX];
    int      fd;

    snprintf(a->saving.path, sizeof a->saving.path, "%s/alert.judged", ak_data_dir(a->k));
    snprintf(old, sizeof old, "%s/alert.states", ak_data_dir(a->k));
    snapshot_load(a->saving.path, &saved);
    take_apart(a, (rest){ saved.records, saved.count });
    fd = the_world->open(old, O_RDONLY);
    a->was_there = fd >= 0;
    if (fd >= 0)
        the_world->close(fd);
    free(saved.records);
}

/* ---- writing ---- */

static void
put(saving *s, const void *from, size_t len)
{
    if (len > 0) /* from may be NULL: no alerts are open */
        memcpy(s->bytes + s->len, from, len);
    s->len += len;
}

static uint32_t
count_flying(const alert *a)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < TURNS_FLYING_MAX; i++)
        n += a->flying[i].used;
    return n;
}

static bool
copy_all(alert *a)
{
    saving *s = &a->saving;
    head    h = { .cursors = a->feed_count,
                  .cursor_size = sizeof(cursor),
                  .states = a->states.count,
                  .state_size = sizeof(alert_state),
                  .turns = count_flying(a) + (uint32_t)(a->turns_end - a->turns_first),
                  .turn_size = sizeof(turn) };

    s->len = 0;
    s->bytes = malloc(sizeof h + h.cursors * sizeof(cursor) + h.states * sizeof(alert_state) + h.turns * sizeof(turn));
    if (s->bytes == NULL)
        return false;
    put(s, &h, sizeof h);
    for (uint16_t i = 0; i < a->feed_count; i++) {
        cursor c = { a->feeds[i].cursor, a->feeds[i].stamp, a->feeds[i].placed };

        s->cursor[i] = c.lsn;
        s->placed[i] = a->feeds[i].placed;
        put(s, &c, sizeof c);
    }
    put(s, a->states.at, h.states * sizeof(alert_state));
    for (uint32_t i = 0; i < TURNS_FLYING_MAX; i++)
        if (a->flying[i].used)
            put(s, &a->flying[i].t, sizeof(turn));
    for (uint64_t i = a->turns_first; i < a->turns_end; i++)
        put(s, &a->turns[i % TURNS_MAX], sizeof(turn));
    a->states.changed = false;
    a->save_due = false;
    return true;
}

static void
write_file(void *job)
{
    saving *s = job;

    s->rc = snapshot_save(s->path, &(snapshot){ .kind = JUDGED_KIND, .record_size = 1, .count = (uint32_t)s->len,
                                                .records = s->bytes, .sync = true });
    s->text[0] = '\0';
    if (s->rc < 0)
        strncpy(s->text, err_text(), sizeof s->text - 1);
    err_clear();
}

static void
finish(alert *a)
{
    saving *s = &a->saving;

    free(s->bytes);
    s->bytes = NULL;
    s->flying = false;
    if (s->rc == E_OK) {
        alert__feeds_saved(a);
        return;
    }
    log_warn("alert.save", "text=%s", log_quote(view_str(s->text)));
    a->states.changed = true; /* the next tick but a few tries again */
}

static void
written(ak *k, void *self, void *job)
{
    alert *a = self;

    (void)k;
    (void)job;
    finish(a);
    if (a->save_due)
        alert__save(a);
}

void
alert__save(alert *a)
{
    if (a->saving.flying || !copy_all(a))
        return;
    a->saving.flying = true;
    if (ak_help(a->k, write_file, written, &a->saving) == E_OK)
        return;
    a->saving.rc = E_FULL;
    finish(a);
}

void
alert__save_now(alert *a)
{
    ASSERT(!a->saving.flying); /* a stop waits for the helper */
    if (!copy_all(a))
        return;
    ak_io_begin(a->k);
    write_file(&a->saving);
    ak_io_end(a->k);
    free(a->saving.bytes);
    if (a->saving.rc < 0)
        log_warn("alert.save", "text=%s", log_quote(view_str(a->saving.text)));
}
