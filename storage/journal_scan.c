/* journal_scan.c - reading a journal back after a stop or a crash.
 *
 * First every segment file is read once and an entry made for each sound block in it; then the entries are put in
 * order, and the blocks that are needed are read again and replayed, by and by.  The first pass must come before the
 * first replayed row, because which of two blocks with the same sequence counts is known only at the end of it.
 *
 *   a file    | block | block | block |  garbage or blocks of its earlier lives  |
 *               S 7     S 7     S 7     S 3 S 3 ...          own = highest number of the sound ones
 *
 * Within a segment the own blocks follow each other without a hole, because the first failed write ends it: a hole
 * is damage.  So is a missing sequence between two segments.  What lies behind the newest block is a torn tail:
 * never acknowledged.
 *
 * Nothing read here is trusted: each length is judged against what is there, and the checksum before the content.
 */
#include "storage/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"
#include "storage/fs.h"
#include "storage/patience.h"

enum {
    READ_PIECE = 1 << 20,
    READ_TRIES = 3,
    FILES_MAX = 65536,
    DAMAGED_KEPT_MAX = 64, /* set-aside files; later damage is only counted */
};
/* A segment number that is ahead of all sound ones by more is noise in a torn header. */
#define NUMBER_JUMP_MAX ((uint64_t)1 << 20)

typedef struct entry {
    uint64_t sequence, segment;
    uint64_t first_lsn, last_lsn;
    uint32_t file; /* index into scan.files */
    uint32_t length;
    uint64_t offset;
    uint64_t hole; /* bytes without a sound own block in front of it in its file */
    int64_t  wall_us;
    bool     early;
} entry;

typedef struct scan_file {
    uint64_t name;
    uint64_t size;
    uint64_t own;                      /* segment number; 0: no sound block */
    uint64_t end;                      /* behind its last own block */
    uint64_t torn_segment, torn_bytes; /* an unsound block that names a segment */
} scan_file;

struct journal_scan {
    journal_scan_order        order;
    uint64_t                  skipped[SKIPPED_MAX]; /* sequences; the oldest are forgotten, and long trimmed */
    uint32_t                  skipped_count;
    uuid                     *id;
    char                      dir[FS_PATH_MAX];
    scan_file                *files;
    uint32_t                  file_count, file_room;
    entry                    *entries;
    uint64_t                  entry_count, entry_room;
    uint64_t                  next; /* the entry that is replayed next */
    uint8_t                  *bytes; /* of one file */
    uint64_t                  bytes_len, bytes_room;
    uint32_t                  loaded; /* its index, or FILES_MAX */
    uint64_t                  unreadable; /* bytes that the disk refused */
    journal_report           *report;
};

/* ---- files ---- */

static int
file_path(const journal_scan *s, const scan_file *f, char *out)
{
    return fs_path(out, "%s/%08" PRIu64 ".seg", s->dir, f->name);
}

static int
by_name(const void *a, const void *b)
{
    uint64_t x = ((const scan_file *)a)->name, y = ((const scan_file *)b)->name;

    return (x > y) - (x < y);
}

static void
list_file(void *ctx, const char *text)
{
    journal_scan    *s = ctx;
    uint64_t name;
    int      end = 0;

    if (s->file_count == FILES_MAX || sscanf(text, "%8" SCNu64 ".seg%n", &name, &end) != 1 ||
        end == 0 || text[end] != '\0')
        return;
    if (s->file_count == s->file_room) {
        s->file_room = s->file_room == 0 ? 64 : 2 * s->file_room;
        s->files = realloc(s->files, s->file_room * sizeof *s->files);
        ASSERT(s->files != NULL);
    }
    s->files[s->file_count++] = (scan_file){ .name = name };
}

static int
list_files(journal_scan *s)
{
    if (the_world->list(s->dir, list_file, s) < 0)
        return err_errno(errno, "open directory %s", s->dir);
    if (s->file_count > 0)
        qsort(s->files, s->file_count, sizeof *s->files, by_name);
    return E_OK;
}

static bool
read_piece(int fd, uint8_t *out, uint64_t len, uint64_t at)
{
    uint32_t refusals = 0;

    while (len > 0) {
        ssize_t n = the_world->pread(fd, out, len, (off_t)at);

        if (n < 0 && ++refusals == READ_TRIES)
            return false;
        if (n < 0)
            continue;
        if (n == 0) { /* it is shorter than it says */
            memset(out, 0, len);
            return true;
        }
        out += n;
        at += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return true;
}

/* A page that cannot be read is taken as zeros: unsound, and so found out below. */
static void
read_bytes(journal_scan *s, int fd)
{
    uint64_t len;

    for (uint64_t at = 0; at < s->bytes_len; at += len) {
        len = min_u64(READ_PIECE, s->bytes_len - at);
        if (read_piece(fd, s->bytes + at, len, at))
            continue;
        for (uint64_t page = at; page < at + len; page += JOURNAL_PAGE) {
            uint64_t n = min_u64(JOURNAL_PAGE, at + len - page);

            if (read_piece(fd, s->bytes + page, n, page))
                continue;
            memset(s->bytes + page, 0, n);
            s->unreadable += n;
        }
    }
}

static int
load_file(journal_scan *s, uint32_t i)
{
    char        path[FS_PATH_MAX];
    world_file  about;
    int         fd;
    int         rc = file_path(s, &s->files[i], path);

    if (rc < 0 || s->loaded == i)
        return rc;
    fd = the_world->open(path, O_RDONLY);
    if (fd < 0 || the_world->about(fd, &about) < 0) {
        rc = err_errno(errno, "open %s", path);
        if (fd >= 0)
            the_world->close(fd);
        return rc;
    }
    s->files[i].size = about.len;
    s->bytes_len = min_u64(about.len, JOURNAL_SEGMENT_BYTES_MAX);
    if (s->bytes_len > s->bytes_room) {
        s->bytes = realloc(s->bytes, s->bytes_len);
        ASSERT(s->bytes != NULL);
        s->bytes_room = s->bytes_len;
    }
    read_bytes(s, fd);
    the_world->close(fd);
    s->loaded = i;
    return E_OK;
}

/* ---- blocks ---- */

static bool
names_us(const journal_scan *s, const block_head *h)
{
    static const uuid none;

    return h->magic == JOURNAL_MAGIC && h->version == JOURNAL_VERSION &&
           (uuid_eq(s->id, &none) || uuid_eq(&h->journal, s->id));
}

static bool
is_sound(const journal_scan *s, const block_head *h, uint64_t offset)
{
    return block_is_sound(h, s->bytes + offset, s->bytes_len - offset);
}

static bool
is_early(const journal_scan *s, const block_head *h, uint64_t offset)
{
    journal_block b = block_seen(h, s->bytes + offset);

    return s->order.peek != NULL && block_last_lsn(h->first_lsn, h->rows) > s->order.after_lsn &&
           s->order.peek(s->order.ctx, &b);
}

static void
add_entry(journal_scan *s, entry e)
{
    if (s->entry_count == s->entry_room) {
        s->entry_room = s->entry_room == 0 ? 1024 : 2 * s->entry_room;
        s->entries = realloc(s->entries, s->entry_room * sizeof *s->entries);
        ASSERT(s->entries != NULL);
    }
    s->entries[s->entry_count++] = e;
}

static void
note_torn(scan_file *f, const block_head *h, uint64_t rest)
{
    if (h->segment < f->torn_segment)
        return;
    f->torn_segment = h->segment;
    f->torn_bytes = h->length >= sizeof *h ? min_u64(h->length, rest) : JOURNAL_PAGE;
}

/* Drops the entries of the file's earlier lives and finds the holes between the others. */
static void
keep_own(journal_scan *s, scan_file *f, uint64_t from)
{
    uint64_t kept = from;

    for (uint64_t i = from; i < s->entry_count; i++) {
        entry e = s->entries[i];

        if (e.segment != f->own)
            continue;
        e.hole = e.offset - f->end;
        f->end = e.offset + round_up(e.length, JOURNAL_PAGE);
        s->entries[kept++] = e;
    }
    s->entry_count = kept;
}

static void
index_file(journal_scan *s, uint32_t i)
{
    scan_file *f = &s->files[i];
    uint64_t   from = s->entry_count;
    uint64_t   offset = 0;

    while (offset + sizeof(block_head) <= s->bytes_len) {
        block_head h;
        uint64_t   step = JOURNAL_PAGE;

        memcpy(&h, s->bytes + offset, sizeof h);
        if (names_us(s, &h) && is_sound(s, &h, offset)) {
            *s->id = h.journal;
            f->own = max_u64(f->own, h.segment);
            add_entry(s, (entry){ .sequence = h.sequence,
                                  .segment = h.segment,
                                  .first_lsn = h.first_lsn,
                                  .last_lsn = block_last_lsn(h.first_lsn, h.rows),
                                  .file = i,
                                  .length = h.length,
                                  .offset = offset,
                                  .wall_us = h.wall_us,
                                  .early = is_early(s, &h, offset) });
            step = round_up(h.length, JOURNAL_PAGE);
        } else if (names_us(s, &h)) {
            note_torn(f, &h, s->bytes_len - offset);
        }
        offset += step;
    }
    keep_own(s, f, from);
}

static int
by_order(const void *a, const void *b)
{
    const entry *x = a, *y = b;

    if (x->sequence != y->sequence)
        return x->sequence < y->sequence ? -1 : 1;
    return (x->segment < y->segment) - (x->segment > y->segment); /* the later segment first */
}

/* In order, one a sequence, nothing that was trimmed. */
static void
choose(journal_scan *s)
{
    uint64_t kept = 0;

    if (s->entry_count > 0)
        qsort(s->entries, s->entry_count, sizeof *s->entries, by_order);
    for (uint64_t i = 0; i < s->entry_count; i++) {
        if (s->entries[i].last_lsn <= s->order.after_lsn)
            continue;
        if (kept > 0 && s->entries[kept - 1].sequence == s->entries[i].sequence)
            continue;
        s->entries[kept++] = s->entries[i];
    }
    s->entry_count = kept;
}

/* ---- damage ---- */

/* before, after: what stands on its sides in the order of blocks; NULL: nothing. */
static journal_gap
gap_between(const journal_scan *s, const entry *before, const entry *after)
{
    return (journal_gap){ .first_lsn = (before != NULL ? before->last_lsn : s->order.after_lsn) + 1,
                          .last_lsn = after != NULL ? after->first_lsn - 1 : 0,
                          .after_us = before != NULL ? before->wall_us : 0,
                          .before_us = after != NULL ? after->wall_us : 0 };
}

/* Copies the bytes that could not be read as blocks to DIR/damaged, for whoever wants to look at them. */
static void
set_aside(journal_scan *s, uint32_t file, uint64_t from, uint64_t to, journal_gap gap)
{
    char path[FS_PATH_MAX], dir[FS_PATH_MAX], name[FS_PATH_MAX];
    int  rc;

    s->report->damaged++;
    log_error("journal.damaged", "file=%08" PRIu64 ".seg from=%" PRIu64 " to=%" PRIu64,
              s->files[file].name, from, to);
    if (s->report->damaged > DAMAGED_KEPT_MAX || load_file(s, file) < 0) {
        err_clear();
        return;
    }
    to = min_u64(to, s->bytes_len);
    from = min_u64(from, to);
    rc = fs_path(dir, "%s/damaged", s->order.dir);
    if (rc == E_OK)
        rc = fs_path(name, "%s/%08" PRIu64 "-%" PRIu64, dir, s->files[file].own, from);
    if (rc == E_OK)
        rc = fs_path(path, "%s.bin", name);
    if (rc == E_OK)
        rc = fs_make_dir(dir);
    if (rc == E_OK)
        rc = fs_write_file(path, view_of(s->bytes + from, to - from));
    if (rc < 0) {
        log_warn("journal.set_aside", "error=%s", log_quote(view_str(err_text())));
        err_clear();
    }
    gap.bytes = view_of(s->bytes + from, to - from);
    gap.file = name;
    if (s->order.gap != NULL && rc == E_OK)
        s->order.gap(s->order.ctx, &gap);
}

static void
report_damage(journal_scan *s)
{
    for (uint64_t i = 0; i < s->entry_count; i++) {
        const entry *e = &s->entries[i];
        const entry *before = i > 0 ? e - 1 : NULL;

        if (e->hole > 0)
            set_aside(s, e->file, e->offset - e->hole, e->offset, gap_between(s, before, e));
        else if (before != NULL && before->sequence + 1 != e->sequence)
            set_aside(s, before->file, before->offset + round_up(before->length, JOURNAL_PAGE),
                      s->files[before->file].end + JOURNAL_BLOCK_MAX, gap_between(s, before, e));
    }
}

/* ---- replay ---- */

static int
be_patient(const journal_scan *s)
{
    return patience_is_over(s->order.dir) ? E_OK : err(E_IO, "the disk does not read %s", s->dir);
}

/* ---- blocks that killed their replay ---- */

uint32_t
journal_load_skipped(const char *dir, uint64_t skipped[SKIPPED_MAX])
{
    char     path[FS_PATH_MAX];
    char     text[SKIPPED_MAX * 24];
    size_t   len;
    uint32_t count = 0;
    int      used = 0;

    if (fs_path(path, "%s/skipped", dir) == E_OK && fs_read_file(path, text, sizeof text, &len) == E_OK)
        for (const char *p = text; count < SKIPPED_MAX && sscanf(p, "%" SCNu64 "%n", &skipped[count], &used) == 1;
             p += used)
            count++;
    err_clear();
    return count;
}

static int
save_skipped(const journal_scan *s)
{
    char   path[FS_PATH_MAX];
    char   text[SKIPPED_MAX * 24];
    size_t len = 0;
    int    rc = fs_path(path, "%s/skipped", s->order.dir);

    for (uint32_t i = 0; i < s->skipped_count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%" PRIu64 "\n", s->skipped[i]);
    return rc < 0 ? rc : fs_write_file(path, view_of(text, len));
}

static bool
is_skipped(const journal_scan *s, const entry *e)
{
    for (uint32_t i = 0; i < s->skipped_count; i++)
        if (s->skipped[i] == e->sequence)
            return true;
    return false;
}

/* It has killed two lives: set aside before a third one looks at it. */
static int
skip(journal_scan *s, const entry *e)
{
    set_aside(s, e->file, e->offset, e->offset + e->length,
              (journal_gap){ e->first_lsn, e->last_lsn, e->wall_us, e->wall_us, { 0 }, NULL });
    log_error("journal.skipped", "sequence=%" PRIu64 " first_lsn=%" PRIu64 " last_lsn=%" PRIu64
              " why=\"its replay died twice\"", e->sequence, e->first_lsn, e->last_lsn);
    if (s->skipped_count == SKIPPED_MAX)
        memmove(s->skipped, s->skipped + 1, --s->skipped_count * sizeof s->skipped[0]);
    s->skipped[s->skipped_count++] = e->sequence;
    return save_skipped(s);
}

static int
replay_one(journal_scan *s, const entry *e, journal_replay_fn *fn)
{
    block_head    h;
    journal_block b;
    uint64_t      unreadable = s->unreadable;
    int           rc = load_file(s, e->file);

    if (s->unreadable > unreadable && (rc = be_patient(s)) < 0)
        return rc;
    if (rc < 0 || s->bytes_len < e->offset + e->length)
        goto lost;
    memcpy(&h, s->bytes + e->offset, sizeof h);
    if (!is_sound(s, &h, e->offset))
        goto lost;
    b = block_seen(&h, s->bytes + e->offset);
    if (fn == s->order.replay) {
        s->report->blocks++;
        s->report->bytes += h.length;
    }
    return fn(s->order.ctx, &b);
lost: /* it was readable a moment ago: the disk is going */
    err_clear();
    if (fn != s->order.replay) /* it will be met once more */
        return E_OK;
    s->report->damaged++;
    log_error("journal.damaged", "file=%08" PRIu64 ".seg from=%" PRIu64 " why=reread",
              s->files[e->file].name, e->offset);
    return E_OK;
}

static int
replay_carefully(journal_scan *s, const entry *e, journal_replay_fn *fn)
{
    crumb   *c = s->order.crumb;
    uint64_t step = e->sequence + 1;
    int      rc;

    if (is_skipped(s, e)) {
        s->report->damaged += fn == s->order.replay;
        return E_OK;
    }
    if (c == NULL)
        return replay_one(s, e, fn);
    if (crumb_is_fatal(c, step))
        return skip(s, e);
    atomic_store_explicit(&c->at, step, memory_order_relaxed);
    rc = replay_one(s, e, fn);
    atomic_store_explicit(&c->at, 0, memory_order_relaxed);
    return rc;
}

/* ---- what the journal goes on with ---- */

static void
note_lsns(journal_scan *s, journal_found *found)
{
    for (uint64_t i = 0; i < s->entry_count; i++) {
        const entry *e = &s->entries[i];
        segment     *g = found->segments[e->file];

        g->first_lsn = g->first_lsn == 0 ? e->first_lsn : min_u64(g->first_lsn, e->first_lsn);
        g->last_lsn = max_u64(g->last_lsn, e->last_lsn);
        g->used = g->state == SEGMENT_FULL ? g->used : 0; /* behind its last chosen block: */
        g->used = max_u64(g->used, e->offset + round_up(e->length, JOURNAL_PAGE));
        g->state = SEGMENT_FULL;
    }
    if (s->entry_count > 0) { /* the last in order is the newest */
        const entry *e = &s->entries[s->entry_count - 1];

        found->newest_segment = e->segment;
        found->newest_at = e->offset;
        found->newest_len = e->length;
    }
}

static void
note_segments(journal_scan *s, journal_found *found)
{
    found->segments = calloc(s->file_count > 0 ? s->file_count : 1, sizeof *found->segments);
    ASSERT(found->segments != NULL);
    found->segment_count = s->file_count;
    for (uint32_t i = 0; i < s->file_count; i++) {
        scan_file *f = &s->files[i];
        segment   *g = calloc(1, sizeof *g);

        ASSERT(g != NULL);
        *g = (segment){ .state = SEGMENT_FREE,
                        .fd = -1,
                        .file = f->name,
                        .number = f->own,
                        .written = f->size,
                        .limit = f->size & ~(uint64_t)(JOURNAL_PAGE - 1),
                        .used = f->end };
        found->segments[i] = g;
        found->file_max = max_u64(found->file_max, f->name);
        found->segment_max = max_u64(found->segment_max, f->own);
    }
    note_lsns(s, found);
}

static void
note_torn_tails(journal_scan *s, journal_found *found)
{
    uint64_t newest = found->segment_max;

    for (uint32_t i = 0; i < s->file_count; i++) {
        const scan_file *f = &s->files[i];

        if (f->torn_segment < newest || f->torn_segment > newest + NUMBER_JUMP_MAX ||
            f->torn_bytes == 0)
            continue;
        s->report->torn_bytes += f->torn_bytes;
        found->segment_max = max_u64(found->segment_max, f->torn_segment);
    }
}

static int
index_all(journal_scan *s)
{
    int rc = list_files(s);

    for (uint32_t i = 0; rc == E_OK && i < s->file_count; i++) {
        rc = load_file(s, i);
        if (rc == E_OK)
            index_file(s, i);
    }
    if (rc == E_OK && s->unreadable > 0)
        rc = be_patient(s);
    return rc;
}

/* Those that are wanted early, and the newest that is replayed at all. */
static int
replay_early(journal_scan *s)
{
    uint64_t newest = s->entry_count;
    int      rc = E_OK;

    while (newest > 0 && is_skipped(s, &s->entries[newest - 1]))
        newest--;
    for (uint64_t i = 0; rc == E_OK && s->order.early != NULL && i < s->entry_count; i++)
        if (s->entries[i].early || i + 1 == newest)
            rc = replay_carefully(s, &s->entries[i], s->order.early);
    return rc;
}

int
journal_scan_begin(journal_scan **out, const journal_scan_order *order, uuid *id, journal_found *found,
                   journal_report *report)
{
    journal_scan *s = calloc(1, sizeof *s);
    int           rc;

    ASSERT(s != NULL);
    *s = (journal_scan){ .order = *order, .id = id, .report = report, .loaded = FILES_MAX };
    *out = s;
    rc = fs_path(s->dir, "%s/journal", order->dir);
    if (rc == E_OK)
        rc = index_all(s);
    if (rc == E_OK) {
        for (uint64_t i = 0; i < s->entry_count; i++)
            found->sequence_max = max_u64(found->sequence_max, s->entries[i].sequence);
        choose(s);
        note_segments(s, found);
        note_torn_tails(s, found);
    }
    s->skipped_count = journal_load_skipped(order->dir, s->skipped);
    if (rc == E_OK)
        rc = replay_early(s);
    if (rc == E_OK)
        report_damage(s); /* series are known by now, as far as they are */
    return rc;
}

int
journal_scan_step(journal_scan *s, uint64_t bytes, bool *more)
{
    uint64_t done = 0;
    int      rc = E_OK;

    while (rc == E_OK && s->next < s->entry_count && done < bytes) {
        done += s->entries[s->next].length;
        rc = replay_carefully(s, &s->entries[s->next++], s->order.replay);
    }
    *more = s->next < s->entry_count;
    return rc;
}

void
journal_scan_end(journal_scan **sp)
{
    journal_scan *s = *sp;

    if (s == NULL)
        return;
    free(s->files);
    free(s->entries);
    free(s->bytes);
    free(s);
    *sp = NULL;
}
