/* mirror.c - see mirror.h.
 *
 * A word is items one after the other:
 *
 *   +------+-------+------+----+--------+-----------+-------------+----------------------+
 *   | what | zero  | part | no | record | 3 lengths | the record  | its texts            |
 *   | u8   | u8    | u16  | u32| u16    | 3 x u16   | as on the board                    |
 *   +------+-------+------+----+--------+-----------+-------------+----------------------+
 *
 * Of what a peer says only its own is taken: tables of its partitions, or (from home) of the registry; seats of
 * its actors.
 */
#include "actors/mirror.h"

#include "actors/seat.h"
#include "proto/err.h"
#include "proto/log.h"
#include "transport/board.h"

#include <stdio.h>
#include <stdlib.h>

enum { TEXTS = 4, TABLES_MAX = 2 + 3 * BOARD_PARTS_MAX, WORD_ROOM = TRUNK_WORD_MAX };
enum { ITEM_SEAT = 64, ITEM_FRONT, ITEM_SEQUENCES };

typedef struct item {
    uint8_t  what; /* enum board_file, or ITEM_... */
    uint8_t  zero;
    uint16_t part;
    uint32_t no;
    uint16_t record;
    uint16_t text[TEXTS];
    uint16_t zero2;
} item;
_Static_assert(sizeof(item) == 20, "layout");

typedef struct seat_says {
    addr     who;
    uint32_t epoch, restarts, ready, zero;
} seat_says;

typedef struct sequences {
    uint64_t registry, rules;
} sequences;

/* How far a peer has a table. */
typedef struct cursor {
    enum board_file file;
    uint16_t        part;
    uint64_t        since, upto;
    uint32_t        at; /* 0: no pass is under way */
} cursor;

typedef struct known {
    cursor    *tables;
    seat_says *seats;
    sequences  seq;
    uint8_t   *fronts;
    uint8_t   *word; /* what is gathered for it, */
    size_t     len;
} known;

struct mirror {
    const rundir  *run;
    board         *board;
    bool           is_home;
    uint32_t       peers;
    uint64_t       peer_parts[TRUNK_PEERS_MAX];
    uint32_t       tables;
    uint16_t       fronts;
    size_t         front_len;
    uint8_t       *front; /* what one says now */
    seat          *mine[SLOTS_MAX];
    seat          *theirs[FARS_MAX];
    known          known[TRUNK_PEERS_MAX];
    mirror_say_fn *say;
    void          *ctx;
};

/* ---- rows: records, and where in them their texts are ---- */

typedef int put_fn(board *b, const item *i, const void *record, const view text[TEXTS]);

static int
put_machine(board *b, const item *i, const void *record, const view text[TEXTS])
{
    board_machine r;

    memcpy(&r, record, sizeof r);
    return r.no != i->no ? E_BAD : board_put_machine(b, &r, text[0], text[1], text[2]);
}

static int
put_rule(board *b, const item *i, const void *record, const view text[TEXTS])
{
    board_rule r;

    memcpy(&r, record, sizeof r);
    return r.no != i->no ? E_BAD : board_put_rule(b, &r, text[0], text[1], text[2], text[3]);
}

static int
put_series(board *b, const item *i, const void *record, const view text[TEXTS])
{
    board_series r;

    memcpy(&r, record, sizeof r);
    return board_put_series(b, i->part, i->no, r.machine, r.tenant, text[0], text[1]);
}

static int
put_latest(board *b, const item *i, const void *record, const view text[TEXTS])
{
    board_latest r;

    (void)text;
    memcpy(&r, record, sizeof r);
    return board_put_latest(b, i->part, i->no, &r);
}

static int
put_arrival(board *b, const item *i, const void *record, const view text[TEXTS])
{
    board_arrival r;

    (void)text;
    memcpy(&r, record, sizeof r);
    return board_put_arrival(b, i->part, i->no, &r);
}

#define TEXT_AT(type, member) offsetof(type, member)
static const struct row {
    put_fn *put;
    size_t  record;
    size_t  text[TEXTS];
    uint8_t texts;
} rows[BOARD_FILES] = {
    [BOARD_MACHINES] = { put_machine, sizeof(board_machine),
                         { TEXT_AT(board_machine, identifier), TEXT_AT(board_machine, name),
                           TEXT_AT(board_machine, location) }, 3 },
    [BOARD_RULES] = { put_rule, sizeof(board_rule),
                      { TEXT_AT(board_rule, metric), TEXT_AT(board_rule, name),
                        TEXT_AT(board_rule, message), TEXT_AT(board_rule, conditions) }, 4 },
    [BOARD_SERIES] = { put_series, sizeof(board_series),
                       { TEXT_AT(board_series, metric), TEXT_AT(board_series, unit) }, 2 },
    [BOARD_LATEST] = { put_latest, sizeof(board_latest), { 0 }, 0 },
    [BOARD_ARRIVALS] = { put_arrival, sizeof(board_arrival), { 0 }, 0 },
};

/* ---- saying ---- */

static bool
flush(mirror *m, uint32_t peer)
{
    known *k = &m->known[peer];

    if (k->len > 0 && !m->say(m->ctx, peer, view_of(k->word, k->len)))
        return false;
    k->len = 0;
    return true;
}

/* False: there is no room for it now. */
static bool
add(mirror *m, uint32_t peer, item i, const void *record, const view text[TEXTS])
{
    known *k = &m->known[peer];
    size_t need = sizeof i + i.record;

    for (int t = 0; t < TEXTS; t++) {
        i.text[t] = (uint16_t)text[t].len;
        need += text[t].len;
    }
    ASSERT(need <= WORD_ROOM);
    if (k->len + need > WORD_ROOM && !flush(m, peer))
        return false;
    memcpy(k->word + k->len, &i, sizeof i);
    memcpy(k->word + k->len + sizeof i, record, i.record);
    k->len += sizeof i + i.record;
    for (int t = 0; t < TEXTS; t++) {
        if (text[t].len > 0)
            memcpy(k->word + k->len, text[t].at, text[t].len);
        k->len += text[t].len;
    }
    return true;
}

static bool
say_record(mirror *m, uint32_t peer, const cursor *c, uint32_t no)
{
    _Alignas(8) uint8_t record[TABLE_RECORD_MAX];
    const struct row   *row = &rows[c->file];
    view                text[TEXTS] = { 0 };

    if (!table_read(board_table(m->board, c->file, c->part), no, record))
        return true;
    for (uint8_t t = 0; t < row->texts; t++) {
        text[t] = board_string(m->board, c->file, c->part, load_u32(record + row->text[t]));
        text[t].len = text[t].len > WORD_ROOM / 4 ? 0 : text[t].len;
    }
    return add(m, peer,
               (item){ .what = (uint8_t)c->file, .part = c->part, .no = no, .record = (uint16_t)row->record },
               record, text);
}

/* Everything up to now, whatever is put meanwhile: at most what is left of a pass, and another.  False: it goes on
 * another time. */
static bool
say_table(mirror *m, uint32_t peer, cursor *c)
{
    const table *t = board_table(m->board, c->file, c->part);
    uint64_t     wanted = table_changes(t);

    while (c->since < wanted) {
        if (c->at == 0) {
            c->upto = table_changes(t);
            c->at = 1;
        }
        while ((c->at = table_changed(t, c->since, c->at)) != 0) {
            if (!say_record(m, peer, c, c->at))
                return false;
            c->at++;
        }
        c->since = c->upto;
    }
    return true;
}

static bool
say_fronts(mirror *m, uint32_t peer)
{
    known *k = &m->known[peer];

    for (uint16_t f = 0; f < m->fronts; f++) {
        uint8_t *had = k->fronts + f * m->front_len;

        board_front_words(m->board, f, m->front);
        if (memcmp(m->front, had, m->front_len) == 0)
            continue;
        memcpy(had, m->front, m->front_len);
        if (!add(m, peer, (item){ .what = ITEM_FRONT, .no = f, .record = (uint16_t)m->front_len }, had,
                 (const view[TEXTS]){ 0 })) {
            had[0] = (uint8_t)~had[0]; /* it is not known */
            return false;
        }
    }
    return true;
}

/* After the tables they count. */
static bool
say_sequences(mirror *m, uint32_t peer, sequences now)
{
    sequences *had = &m->known[peer].seq;

    if (now.registry == had->registry && now.rules == had->rules)
        return true;
    if (!add(m, peer, (item){ .what = ITEM_SEQUENCES, .record = sizeof now }, &now, (const view[TEXTS]){ 0 }))
        return false;
    *had = now;
    return true;
}

static bool
say_seats(mirror *m, uint32_t peer)
{
    for (uint32_t i = 0; i < m->run->plan.slots; i++) {
        const seat *s = m->mine[i];
        seat_says   now = { .who = m->run->plan.slot[i].who,
                            .epoch = atomic_load(&s->epoch),
                            .restarts = atomic_load(&s->restarts) };

        now.ready = atomic_load(&s->state) == SEAT_DOWN ? 0 : atomic_load(&s->ready);
        if (memcmp(&now, &m->known[peer].seats[i], sizeof now) == 0)
            continue;
        if (!add(m, peer, (item){ .what = ITEM_SEAT, .record = sizeof now }, &now, (const view[TEXTS]){ 0 }))
            return false;
        m->known[peer].seats[i] = now;
    }
    return true;
}

bool
mirror_say(mirror *m, uint32_t peer)
{
    sequences seq = { .registry = board_registry_seq(m->board), .rules = board_rules_seq(m->board) };
    bool      all = true;

    ASSERT(peer < m->peers);
    for (uint32_t i = 0; i < m->tables && all; i++)
        all = say_table(m, peer, &m->known[peer].tables[i]);
    if (m->is_home)
        all = all && say_sequences(m, peer, seq) && say_fronts(m, peer);
    all = all && say_seats(m, peer);
    return flush(m, peer) && all; /* what found no room stays gathered, in its place before what is new */
}

void
mirror_begin(mirror *m, uint32_t peer)
{
    known *k = &m->known[peer];

    k->len = 0;
    for (uint32_t i = 0; i < m->tables; i++)
        k->tables[i].since = k->tables[i].at = 0;
    memset(k->seats, 0, SLOTS_MAX * sizeof *k->seats);
    memset(k->fronts, 0xff, m->fronts * m->front_len);
    k->seq = (sequences){ UINT64_MAX, UINT64_MAX };
}

/* ---- hearing ---- */

static bool
take_seat(mirror *m, uint32_t peer, const item *i, const void *record)
{
    const plan *p = &m->run->plan;
    seat_says   s;

    if (i->record != sizeof s)
        return false;
    memcpy(&s, record, sizeof s);
    for (uint32_t f = 0; f < p->fars; f++) {
        if (p->far[f].who != s.who || p->far[f].peer != peer)
            continue;
        atomic_store(&m->theirs[f]->restarts, s.restarts);
        atomic_store(&m->theirs[f]->ready, s.ready);
        atomic_store(&m->theirs[f]->epoch, s.epoch);
        atomic_store(&m->theirs[f]->state, SEAT_RUN);
        return true;
    }
    return true; /* the link of that node, and whoever nobody here speaks to */
}

static bool
take_own_kind(mirror *m, const item *i, const void *record)
{
    sequences seq;

    if (m->is_home)
        return false;
    if (i->what == ITEM_FRONT) {
        board_put_front_words(m->board, (uint16_t)min_u64(i->no, UINT16_MAX), view_of(record, i->record));
        return true;
    }
    if (i->what != ITEM_SEQUENCES || i->record != sizeof seq)
        return false;
    memcpy(&seq, record, sizeof seq);
    board_put_sequences(m->board, seq.registry, seq.rules);
    return true;
}

static bool
is_its_own(const mirror *m, uint32_t peer, const item *i)
{
    if (i->what >= BOARD_FILES || rows[i->what].put == NULL || i->record != rows[i->what].record)
        return false;
    if (i->what <= BOARD_RULES)
        return !m->is_home;
    return m->is_home && i->part < BOARD_PARTS_MAX && (m->peer_parts[peer] >> i->part & 1) != 0;
}

static bool
take(mirror *m, uint32_t peer, const item *i, const void *record, const view text[TEXTS])
{
    _Alignas(8) uint8_t copy[TABLE_RECORD_MAX];

    if (i->what == ITEM_SEAT)
        return take_seat(m, peer, i, record);
    if (i->what > ITEM_SEAT)
        return take_own_kind(m, i, record);
    if (!is_its_own(m, peer, i))
        return false;
    memcpy(copy, record, i->record);
    if (rows[i->what].put(m->board, i, copy, text) < 0) { /* full, most likely: what it has stays */
        err_clear();
        return false;
    }
    return true;
}

bool
mirror_hear(mirror *m, uint32_t peer, view word)
{
    bool sound = true;

    ASSERT(peer < m->peers);
    while (word.len > 0) {
        const uint8_t *record;
        view           text[TEXTS];
        item           i;
        size_t         len;

        if (word.len < sizeof i)
            return false;
        memcpy(&i, word.at, sizeof i);
        len = sizeof i + i.record;
        for (int t = 0; t < TEXTS; t++)
            len += i.text[t];
        if (len > word.len)
            return false;
        record = word.at + sizeof i;
        for (int t = 0, at = i.record; t < TEXTS; at += i.text[t++])
            text[t] = view_of(record + at, i.text[t]);
        sound &= take(m, peer, &i, record, text);
        word = view_of(word.at + len, word.len - len);
    }
    return sound;
}

void
mirror_away(mirror *m, uint32_t peer)
{
    for (uint32_t f = 0; f < m->run->plan.fars; f++)
        if (m->run->plan.far[f].peer == peer)
            atomic_store(&m->theirs[f]->state, SEAT_DOWN);
}

void
mirror_back(mirror *m, uint32_t peer)
{
    for (uint32_t f = 0; f < m->run->plan.fars; f++)
        if (m->run->plan.far[f].peer == peer && atomic_load(&m->theirs[f]->epoch) != 0)
            atomic_store(&m->theirs[f]->state, SEAT_RUN);
}

/* ---- opening ---- */

static void
list_tables(const mirror *m, const nodes *n, cursor *to, uint32_t *count)
{
    static const enum board_file of_parts[] = { BOARD_SERIES, BOARD_LATEST, BOARD_ARRIVALS };

    (void)m;
    *count = 0;
    if (n->is_home) {
        to[(*count)++].file = BOARD_MACHINES;
        to[(*count)++].file = BOARD_RULES;
        return;
    }
    for (uint16_t p = 0; p < BOARD_PARTS_MAX; p++)
        for (size_t f = 0; (n->own >> p & 1) != 0 && f < COUNT_OF(of_parts); f++)
            to[(*count)++] = (cursor){ .file = of_parts[f], .part = p };
}

static int
open_seats(mirror *m)
{
    const plan *p = &m->run->plan;
    int         rc = E_OK;

    for (uint32_t i = 0; i < p->slots && rc >= 0; i++)
        rc = seat_open(&m->mine[i], m->run->path, p->slot[i].who, false);
    for (uint32_t i = 0; i < p->fars && rc >= 0; i++)
        rc = seat_open(&m->theirs[i], m->run->path, p->far[i].who, true);
    return rc;
}

static int
open_known(mirror *m, const nodes *n)
{
    for (uint32_t i = 0; i < m->peers; i++) {
        known *k = &m->known[i];

        k->tables = calloc(TABLES_MAX, sizeof *k->tables);
        k->seats = calloc(SLOTS_MAX, sizeof *k->seats);
        k->fronts = calloc(m->fronts + 1u, m->front_len);
        k->word = malloc(WORD_ROOM);
        if (k->tables == NULL || k->seats == NULL || k->fronts == NULL || k->word == NULL)
            return err(E_NOMEM, "copies of the board");
        list_tables(m, n, k->tables, &m->tables);
        mirror_begin(m, i);
        mirror_away(m, i);
    }
    return E_OK;
}

int
mirror_open(mirror **out, const rundir *run, const nodes *n, mirror_say_fn *say, void *ctx)
{
    mirror  *m = calloc(1, sizeof *m);
    uint64_t copies = 0;
    char     path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];
    int      rc;

    *out = NULL;
    if (m == NULL)
        return err(E_NOMEM, "copies of the board");
    m->run = run;
    m->is_home = n->is_home;
    m->peers = n->peers;
    m->say = say;
    m->ctx = ctx;
    m->fronts = (uint16_t)min_u64(run->plan.parts[KIND_FRONT], BOARD_FRONTS_MAX);
    for (uint32_t i = 0; i < n->peers && n->is_home; i++)
        copies |= m->peer_parts[i] = n->peer_parts[i];
    (void)snprintf(path, sizeof path, "%s/board", run->path);
    rc = board_open_copier(&m->board, path, copies, !n->is_home);
    if (rc == E_OK) {
        m->front_len = board_front_len(m->board);
        m->front = malloc(m->front_len);
        rc = m->front == NULL ? err(E_NOMEM, "copies of the board") : open_seats(m);
    }
    if (rc == E_OK)
        rc = open_known(m, n);
    if (rc < 0) {
        mirror_close(&m);
        return rc;
    }
    *out = m;
    return E_OK;
}

void
mirror_close(mirror **mp)
{
    mirror *m = *mp;

    if (m == NULL)
        return;
    *mp = NULL;
    for (uint32_t i = 0; i < m->run->plan.slots; i++)
        seat_close(&m->mine[i]);
    for (uint32_t i = 0; i < m->run->plan.fars; i++)
        seat_close(&m->theirs[i]);
    for (uint32_t i = 0; i < m->peers; i++) {
        free(m->known[i].tables);
        free(m->known[i].seats);
        free(m->known[i].fronts);
        free(m->known[i].word);
    }
    if (m->board != NULL)
        board_close(&m->board);
    free(m->front);
    free(m);
}
