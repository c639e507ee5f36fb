/* ingest_show.c - what follows a commit, in this order: new series on the board, rows in the heads,
 * latest values and arrivals on the board, rows to the alert actor (ingest_watch.c) and to fronts with subscribers.
 *
 * No look-up a row: what is needed of a series is kept here by its number.  A series whose latest
 * value changed several times in a commit is written to the board once.
 */
#include "actors/ingest_internal.h"

#include "proto/err.h"
#include "proto/log.h"
#include "storage/snapshot.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- arrays by number ---- */

static void *
grown(void *array, uint32_t *room, uint32_t no, size_t size)
{
    uint32_t want = *room == 0 ? 1024 : *room;
    uint8_t *at;

    if (no < *room)
        return array;
    while (want <= no)
        want *= 2;
    at = realloc(array, want * size);
    ASSERT(at != NULL);
    memset(at + *room * size, 0, (want - *room) * size);
    *room = want;
    return at;
}

static void
push_number(numbers *n, uint32_t no)
{
    if (n->count == n->room) {
        n->room = n->room == 0 ? 1024 : n->room * 2;
        n->at = realloc(n->at, n->room * sizeof *n->at);
        ASSERT(n->at != NULL);
    }
    n->at[n->count++] = no;
}

/* The machine's slot, or NULL when its number cannot be on the board. */
static machine_slot *
machine_of(ingest *in, uint32_t machine)
{
    if (machine == 0 || machine > table_capacity(board_table(ak_board(in->k), BOARD_ARRIVALS, in->number)))
        return NULL;
    in->machines = grown(in->machines, &in->machines_room, machine, sizeof *in->machines);
    return &in->machines[machine];
}

/* ---- what the partition tells ---- */

static void
board_trouble(int rc, uint32_t series)
{
    /* The readings are safe; what the board shows is behind, or lacks the series. */
    if (rc < 0)
        log_warn("ingest.board", "series=%u rc=%d text=%s", series, rc, log_quote(view_str(err_text())));
    err_clear();
}

static int
on_series(void *ctx, uint32_t series, uint32_t machine, uint32_t tenant, view metric, view unit)
{
    ingest      *in = ctx;
    series_slot *s;

    in->series = grown(in->series, &in->series_room, series, sizeof *in->series);
    s = &in->series[series];
    if (s->machine == 0)
        s->latest.time_us = INT64_MIN;
    s->machine = machine;
    s->tenant = tenant;
    s->watch_seq = 0;
    (void)machine_of(in, machine); /* its slot exists before any row of the series is shown */
    board_trouble(board_put_series(ak_board(in->k), in->number, series, machine, tenant, metric, unit), series);
    return E_OK;
}

static void
on_latest(void *ctx, uint32_t series, int64_t time_us, double value, uint64_t lsn)
{
    ingest       *in = ctx;
    series_slot  *s;
    machine_slot *m;

    in->series = grown(in->series, &in->series_room, series, sizeof *in->series);
    s = &in->series[series];
    s->latest = (board_latest){ .time_us = time_us, .value = value, .lsn = lsn };
    m = machine_of(in, s->machine);
    if (m != NULL && (m->arrival.newest_us == 0 || time_us > m->arrival.newest_us))
        m->arrival.newest_us = time_us;
    /* Before the replay is through the board may know better. */
    if (in->part != NULL && !part_is_replaying(in->part))
        board_trouble(board_put_latest(ak_board(in->k), in->number, series, &s->latest), series);
}

/* The registry may not have put it on the board yet. */
static void
on_machine(void *ctx, uint32_t machine, char out[MACHINE_NAME_MAX])
{
    ingest       *in = ctx;
    board        *b = ak_board(in->k);
    board_machine m;
    view          name;

    if (!table_read(board_table(b, BOARD_MACHINES, 0), machine, &m))
        return;
    name = board_string(b, BOARD_MACHINES, 0, m.identifier);
    snprintf(out, MACHINE_NAME_MAX, "%.*s", (int)name.len, (const char *)name.at);
}

part_events
ingest__events(ingest *in)
{
    return (part_events){ .ctx = in, .series = on_series, .latest = on_latest, .machine = on_machine,
                          .late = ingest__note_late };
}

/* ---- arrivals over a restart: DATA/part.N/arrivals, a snapshot ---- */

enum { ARRIVALS_KIND = 0x52524148 };

typedef struct arrival {
    uint32_t machine;
    uint32_t zero;
    int64_t  arrived_us;
} arrival;

static void
arrivals_path(const ingest *in, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/part.%u/arrivals", ak_data_dir(in->k), in->number);
}

static void
arrived_at_least(ingest *in, uint32_t machine, int64_t us)
{
    machine_slot *m = machine_of(in, machine);

    if (m != NULL && us > m->arrival.arrived_us)
        m->arrival.arrived_us = us;
}

/* The clock of the last arrival: as it was saved, as the board of an earlier incarnation has it, or at least the
 * time of the newest reading, because what arrived was read before. */
int
ingest__arrivals(ingest *in)
{
    board   *b = ak_board(in->k);
    int64_t  now = ak_wall_us(in->k);
    snapshot saved = { .kind = ARRIVALS_KIND, .record_size = sizeof(arrival) };
    char     path[PATH_MAX];
    int      rc = E_OK;

    arrivals_path(in, path);
    snapshot_load(path, &saved);
    for (uint32_t i = 0; i < saved.count; i++) {
        const arrival *a = (const arrival *)saved.records + i;

        arrived_at_least(in, a->machine, a->arrived_us < now ? a->arrived_us : now);
    }
    free(saved.records);
    for (uint32_t no = 1; no < in->machines_room && rc == E_OK; no++) {
        board_arrival *a = &in->machines[no].arrival;
        board_arrival  old;

        if (a->newest_us == 0) { /* saved, but no reading was kept */
            a->arrived_us = 0;
            continue;
        }
        arrived_at_least(in, no, a->newest_us < now ? a->newest_us : now);
        if (board_arrival_of(b, in->number, no, &old))
            arrived_at_least(in, no, old.arrived_us);
        else
            old.newest_us = 0;
        if (in->replaying && old.newest_us > a->newest_us)
            a->newest_us = old.newest_us;
        rc = board_put_arrival(b, in->number, no, a);
    }
    return rc < 0 ? err(rc, "arrivals") : E_OK;
}

void
ingest__save_arrivals(ingest *in)
{
    arrival *a = malloc((in->machines_room + 1) * sizeof *a);
    uint32_t n = 0;
    char     path[PATH_MAX];

    ASSERT(a != NULL);
    for (uint32_t no = 1; no < in->machines_room; no++)
        if (in->machines[no].arrival.arrived_us != 0)
            a[n++] = (arrival){ .machine = no, .arrived_us = in->machines[no].arrival.arrived_us };
    arrivals_path(in, path);
    ak_io_begin(in->k);
    if (snapshot_save(path, &(snapshot){ ARRIVALS_KIND, sizeof *a, n, a }) < 0) {
        log_warn("ingest.arrivals", "text=%s", log_quote(view_str(err_text())));
        err_clear();
    }
    ak_io_end(in->k);
    free(a);
    in->arrivals_changed = false;
}

/* ---- rows for others ---- */

static void
feed_open(ingest *in, feed *f, addr to)
{
    uint32_t len = ak_body_max(in->k, to) / 4; /* a note that takes much of a lane is shed first */

    if (len > FEED_LEN_MAX)
        len = FEED_LEN_MAX;
    f->to = to;
    f->rows_max = len < sizeof(feed_head) ? 0 : (uint32_t)((len - sizeof(feed_head)) / sizeof(reading_row));
}

/* The front is behind: of each series the newest row waits for it, and is what it shows then. */
static void
feed_latest(ingest *in, const feed *f, uint32_t rows)
{
    const feed_head   *head = (const void *)f->body;
    const reading_row *row = (const void *)(f->body + sizeof *head);
    struct {
        feed_head   head;
        reading_row row;
    } one = { .head = *head };

    one.head.rows = 1;
    for (uint32_t i = 0; i < rows; i++) {
        one.row = row[i];
        if (row[i].time_us >= in->series[row[i].series].latest.time_us)
            (void)!ak_send_latest(in->k, f->to, MSG_FEED, row[i].series, &one, sizeof one);
    }
}

static void
feed_send(ingest *in, feed *f)
{
    uint32_t rows = f->rows;

    if (rows == 0)
        return;
    ((feed_head *)(void *)f->body)->rows = rows;
    f->rows = 0;
    /* Nobody waits for who is behind: the newest of each series is kept for it. */
    if (ak_send(in->k, f->to, MSG_FEED, f->body, (uint32_t)(sizeof(feed_head) + rows * sizeof(reading_row))) == E_FULL)
        feed_latest(in, f, rows);
}

static void
feed_row(ingest *in, feed *f, const reading_row *r, uint64_t lsn)
{
    if (f->rows_max == 0)
        return;
    if (f->body == NULL) {
        f->body = malloc(FEED_LEN_MAX);
        ASSERT(f->body != NULL);
    }
    if (f->rows == f->rows_max)
        feed_send(in, f);
    if (f->rows == 0)
        *(feed_head *)(void *)f->body = (feed_head){ .part = in->number, .lsn = lsn };
    memcpy(f->body + sizeof(feed_head) + f->rows * sizeof *r, r, sizeof *r);
    f->rows++;
}

static void
feed_fronts(ingest *in, uint32_t tenant, const reading_row *r, uint64_t lsn)
{
    if (tenant != in->live_tenant) {
        in->live_tenant = tenant;
        in->live_fronts = 0;
        for (uint16_t i = 0; i < in->front_count; i++)
            if (board_front_watches(ak_board(in->k), i, tenant))
                in->live_fronts |= 1ull << i;
    }
    for (uint64_t left = in->live_fronts; left != 0; left &= left - 1)
        feed_row(in, &in->fronts[__builtin_ctzll(left)], r, lsn);
}

/* ---- a commit ---- */

static void
show_row(void *ctx, uint32_t no, const head_row *row, uint64_t lsn)
{
    ingest       *in = ctx;
    series_slot  *s = &in->series[no];
    machine_slot *m = &in->machines[s->machine];
    reading_row   r = { .series = no, .time_us = row->time_us, .value = row->value };
    bool          is_newest = row->time_us >= s->latest.time_us;

    in->rows_shown++;
    if (is_newest) {
        s->latest = (board_latest){ .time_us = row->time_us, .value = row->value, .lsn = lsn };
        if (s->shown != in->commit)
            push_number(&in->shown_series, no);
        s->shown = in->commit;
    }
    if (s->machine < in->machines_room) {
        if (m->arrival.newest_us == 0 || row->time_us > m->arrival.newest_us)
            m->arrival.newest_us = row->time_us;
        if (m->shown != in->commit)
            push_number(&in->shown_machines, s->machine);
        m->shown = in->commit;
    }
    if (UNLIKELY(s->watch_seq != (uint32_t)in->rules.seq + 1))
        ingest__look_at_rules(in, no, s);
    if (UNLIKELY(s->watched || in->watch.all)) {
        if (!is_newest)
            ingest__note_late(in, lsn);
        if (ingest__is_wanted(in, s, is_newest, row->value))
            ingest__watch_row(in, &r, lsn);
    }
    if (UNLIKELY(in->live))
        feed_fronts(in, s->tenant, &r, lsn);
}

static void
put_shown(ingest *in)
{
    board *b = ak_board(in->k);
    int    rc = E_OK;

    for (uint32_t i = 0; i < in->shown_series.count && rc == E_OK; i++) {
        uint32_t no = in->shown_series.at[i];

        rc = board_put_latest(b, in->number, no, &in->series[no].latest);
    }
    for (uint32_t i = 0; i < in->shown_machines.count && rc == E_OK; i++) {
        uint32_t no = in->shown_machines.at[i];

        in->machines[no].arrival.arrived_us = in->now_us;
        rc = board_put_arrival(b, in->number, no, &in->machines[no].arrival);
    }
    board_trouble(rc, 0);
    in->arrivals_changed = in->arrivals_changed || in->shown_machines.count > 0;
    in->shown_series.count = 0;
    in->shown_machines.count = 0;
}

static void
begin_commit(ingest *in)
{
    board *b = ak_board(in->k);

    ingest__refresh_rules(in);
    in->watch.all = part_stamped(in->part) < in->rules.seq;
    in->now_us = ak_wall_us(in->k);
    in->commit++;
    in->live = in->front_count > 0 && board_anyone_watches(b);
    in->live_tenant = 0;
}

static void
end_commit(ingest *in)
{
    put_shown(in);
    ingest__watch_send(in);
    for (uint16_t i = 0; i < in->front_count; i++)
        feed_send(in, &in->fronts[i]);
}

void
ingest__show(ingest *in)
{
    begin_commit(in);
    part_show(in->part, show_row, in);
    end_commit(in);
}

void
ingest__show_kept(ingest *in)
{
    bool more = true;

    while (more) {
        begin_commit(in);
        more = part_show_kept(in->part, show_row, in);
        end_commit(in);
    }
}

int
ingest__open_shows(ingest *in)
{
    uint16_t fronts = ak_parts(in->k, KIND_FRONT);

    in->front_count = fronts < BOARD_FRONTS_MAX ? fronts : BOARD_FRONTS_MAX;
    in->fronts = calloc(in->front_count + 1u, sizeof *in->fronts);
    in->series = grown(NULL, &in->series_room, 1, sizeof *in->series);
    in->machines = grown(NULL, &in->machines_room, 1, sizeof *in->machines);
    if (in->fronts == NULL)
        return err(E_NOMEM, "fronts");
    for (uint16_t i = 0; i < in->front_count; i++)
        feed_open(in, &in->fronts[i], addr_of(KIND_FRONT, i));
    return ruleset_load(&in->rules, ak_board(in->k));
}

void
ingest__close_shows(ingest *in)
{
    for (uint16_t i = 0; in->fronts != NULL && i < in->front_count; i++)
        free(in->fronts[i].body);
    free(in->fronts);
    free(in->series);
    free(in->machines);
    free(in->shown_series.at);
    free(in->shown_machines.at);
    ruleset_free(&in->rules);
}
