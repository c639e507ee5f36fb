/* alert_rules.c - the rules that judge a reading: those that were in force when it was accepted.
 *
 *   block, closed under rules_seq 7 ──▶ of each rule the version with changed <= 7 < until
 *
 *   now    what the board has                            } of one moment: fetched anew when rules_seq has grown
 *   past   versions that ended behind what was judged    }
 *
 * So an edit divides the readings where it was made, however late they are judged, and by which life.  While the registry is
 * asked, readings of before the change are judged, and those behind it wait.
 */
#include "actors/alert_internal.h"

#include "proto/err.h"

#include <stdlib.h>

/* ---- asking ---- */

/* What ended before is of no use: no reading behind the cursors is that old. */
static uint64_t
oldest_stamp(const alert *a)
{
    uint64_t oldest = UINT64_MAX;

    for (uint16_t i = 0; i < a->feed_count; i++)
        oldest = min_u64(oldest, a->feeds[i].stamp);
    return a->feed_count > 0 ? oldest : 0;
}

static void
ask_page(alert *a)
{
    rule_fetch *f = &a->fetch;
    pack        p;

    pack_init(&p);
    pack_map(&p, 2);
    pack_name_int(&p, "since", (int64_t)oldest_stamp(a));
    pack_name_int(&p, "after", f->after);
    f->asked = alert__ask_registry(a, REG_RULE_VERSIONS, 0, &p, f);
    pack_fini(&p);
    if (!f->asked)
        alert__retry_later(a);
}

void
alert__look_at_rules(alert *a)
{
    if (!a->loaded || a->fetch.asked || (a->rules_known && a->now.set.seq == board_rules_seq(ak_board(a->k))))
        return;
    a->fetch.after = 0;
    a->fetch.len = 0;
    ask_page(a);
}

bool
alert__can_judge(const alert *a, uint64_t stamp)
{
    return a->rules_known && (stamp <= a->now.set.seq || a->now.set.seq == board_rules_seq(ak_board(a->k)));
}

/* ---- the answer ---- */

static bool
take_page(rule_fetch *f, const msgpack_object *page)
{
    view    versions = { 0 };
    int64_t seq = 0, next = 0;

    if (!pack_get_int(page, "rules_seq", &seq) || !pack_get_int(page, "next", &next))
        return false;
    (void)pack_get_bin(page, "versions", &versions);
    if (f->after != 0 && (uint64_t)seq != f->seq)
        return false; /* a change between two pages */
    if (versions.len > 0) {
        f->bytes = realloc(f->bytes, f->len + versions.len);
        ASSERT(f->bytes != NULL);
        memcpy(f->bytes + f->len, versions.at, versions.len);
        f->len += versions.len;
    }
    f->seq = (uint64_t)seq;
    f->after = next;
    return true;
}

/* False: the board has gone on since. */
static bool
adopt(alert *a)
{
    ruleset now = { 0 }, past = { 0 };
    bool    good = ruleset_load(&now, ak_board(a->k)) == E_OK && ruleset_is_whole(&now) && now.seq <= a->fetch.seq &&
                ruleset_from(&past, view_of(a->fetch.bytes, a->fetch.len)) == E_OK;

    if (!good) {
        if (err_text()[0] != '\0')
            alert__log_error("alert.rules");
        ruleset_free(&now);
        return false;
    }
    ruleset_free(&a->now.set);
    ruleset_free(&a->past.set);
    a->now.set = now;
    a->past.set = past;
    a->now.edition++;
    a->past.edition++;
    a->rules_known = true;
    alert__rules_changed(a);
    return true;
}

void
alert__rules_answered(alert *a, const ak_msg *m)
{
    pack_doc d;
    bool     good = alert__page(m, &d);

    a->fetch.asked = false;
    if (good) {
        good = take_page(&a->fetch, pack_root(&d));
        pack_doc_close(&d);
    }
    err_clear();
    if (good && a->fetch.after != 0)
        ask_page(a);
    else if (!good || !adopt(a))
        alert__retry_later(a);
}

/* ---- looking up ---- */

watched_series *
alert__series_of(alert *a, rule_book *book, uint16_t part, uint32_t no)
{
    board          *b = ak_board(a->k);
    watched_part   *p = &book->parts[part];
    watched_series *w;
    board_series    s;

    if (no >= p->room) {
        uint32_t room = no + no / 2 + 1024;

        p->series = realloc(p->series, room * sizeof *p->series);
        ASSERT(p->series != NULL);
        memset(p->series + p->room, 0, (room - p->room) * sizeof *p->series);
        p->room = room;
    }
    w = &p->series[no];
    if (w->edition == book->edition + 1)
        return w;
    if (!table_read(board_table(b, BOARD_SERIES, part), no, &s))
        return NULL;
    w->edition = book->edition + 1;
    w->machine = s.machine;
    w->tenant = s.tenant;
    ruleset_find(&book->set, s.tenant, board_string(b, BOARD_SERIES, part, s.metric), s.machine, w->run);
    return w;
}

void
alert__rules_close(alert *a)
{
    ruleset_free(&a->now.set);
    ruleset_free(&a->past.set);
    free(a->fetch.bytes);
    for (uint32_t p = 0; p < BOARD_PARTS_MAX; p++) {
        free(a->now.parts[p].series);
        free(a->past.parts[p].series);
    }
}
