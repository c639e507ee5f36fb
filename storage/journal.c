/* journal.c - the writing side of the journal: segments ahead of need, blocks into them, recycling.
 *
 *   PREPARING --zeroed--> FREE --first block--> CURRENT --full--> FULL --trimmed--> FREE
 *       \__ needed early, taken as it is _______/    \__ failed write: FULL and bad --trimmed--> removed
 *
 * Two threads at most: the actor's builds blocks and trims, one helper writes.  The helper alone makes segments,
 * writes to them and turns them FULL; the actor alone turns FULL ones FREE or removes them.  `lock` guards the list
 * and the numbers in it, never a system call.
 *
 * Zeros are really written ahead, because the first write to an unwritten extent costs a journal commit of the
 * file system; in pieces behind the blocks, so that no block waits for 16 MiB of them.
 *
 * All calls that touch a segment's bytes are in this file and in journal_scan.c: pwrite, fdatasync, pread.
 */
#include "storage/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/hash.h"
#include "proto/log.h"
#include "proto/world.h"
#include "storage/journal_inner.h"

enum {
    TOUCHED_AHEAD = 512 << 10, /* of each buffer at open: a fresh page costs microseconds */
    ZEROS = 256 << 10,
    FIRST_SEGMENT = 2 << 20, /* the first two are small, so that the start is quick */
    PREPARE_MIN = 256 << 10,
    PREPARE_MAX = 4 << 20,
    REWRITE_TRIES = 3,
    PREPARE_PAUSE = 64, /* blocks before a failed preparation is tried again */
};

/* ---- building ---- */

static buffer *
in_state(journal *j, enum buffer_state state)
{
    for (uint32_t i = 0; i < 2; i++)
        if (j->buffers[i].state == state)
            return &j->buffers[i];
    return NULL;
}

static block_head *
head_of(const buffer *b)
{
    return (block_head *)(void *)b->at;
}

void
journal_begin(journal *j)
{
    buffer *b = in_state(j, BUFFER_IDLE);

    ASSERT(b != NULL && in_state(j, BUFFER_BUILDING) == NULL);
    b->state = BUFFER_BUILDING;
    b->len = sizeof(block_head);
    b->mark_count = 0;
    b->stamp = 0;
    j->building = (uint32_t)(b - j->buffers);
}

static buffer *
building(journal *j)
{
    buffer *b = &j->buffers[j->building];

    ASSERT(b->state == BUFFER_BUILDING);
    return b;
}

void *
journal_append(journal *j, uint32_t len)
{
    buffer  *b = building(j);
    uint64_t room = round_up(len, 8);
    uint8_t *at = b->at + b->len;

    if (b->len - sizeof(block_head) + room > JOURNAL_BLOCK_MAX)
        return NULL;
    memset(at + len, 0, room - len);
    b->len += (uint32_t)room;
    return at;
}

void
journal_give_back(journal *j, uint32_t len)
{
    buffer *b = building(j);

    ASSERT(len % 8 == 0 && b->len - sizeof(block_head) >= len);
    b->len -= len;
}

void
journal_mark_applied(journal *j, addr from, uint64_t pos)
{
    buffer *b = building(j);

    for (uint32_t i = 0; i < b->mark_count; i++) {
        if (b->marks[i].from != from)
            continue;
        b->marks[i].pos = max_u64(b->marks[i].pos, pos);
        return;
    }
    ASSERT(b->mark_count < JOURNAL_MARKS_MAX);
    b->marks[b->mark_count++] = (journal_mark){ from, pos };
}

void
journal_stamp(journal *j, uint64_t stamp)
{
    building(j)->stamp = stamp;
}

bool
journal_is_empty(const journal *j)
{
    const buffer *b = &j->buffers[j->building];

    return b->state != BUFFER_BUILDING || (b->len == sizeof(block_head) && b->mark_count == 0);
}

uint64_t
journal_building_len(const journal *j)
{
    const buffer *b = &j->buffers[j->building];

    return b->state == BUFFER_BUILDING ? b->len - sizeof(block_head) : 0;
}

void
journal_end(journal *j, uint64_t first_lsn, uint32_t rows, const uuid *generation, int64_t wall_us)
{
    buffer  *b = building(j);
    uint32_t marks_len = b->mark_count * (uint32_t)sizeof(journal_mark);

    ASSERT(journal_ended(j) == NULL && first_lsn > 0);
    memcpy(b->at + b->len, b->marks, marks_len);
    b->len += marks_len;
    memset(b->at + b->len, 0, round_up(b->len, JOURNAL_PAGE) - b->len);
    *head_of(b) = (block_head){ .magic = JOURNAL_MAGIC,
                                .version = JOURNAL_VERSION,
                                .length = b->len,
                                .first_lsn = first_lsn,
                                .rows = rows,
                                .marks = b->mark_count,
                                .generation = *generation,
                                .journal = j->id,
                                .wall_us = wall_us,
                                .stamp = b->stamp };
    b->last_lsn = block_last_lsn(first_lsn, rows);
    b->seen = (journal_block){ .first_lsn = first_lsn,
                               .rows = rows,
                               .wall_us = wall_us,
                               .stamp = b->stamp,
                               .generation = *generation,
                               .marks = b->marks,
                               .mark_count = b->mark_count,
                               .payload = view_of(b->at + sizeof(block_head),
                                                  b->len - marks_len - sizeof(block_head)) };
    b->state = BUFFER_ENDED;
}

static buffer *
ended(journal *j)
{
    buffer *b = in_state(j, BUFFER_ENDED);

    return b != NULL ? b : in_state(j, BUFFER_WRITTEN);
}

const journal_block *
journal_ended(journal *j)
{
    buffer *b = ended(j);

    return b != NULL ? &b->seen : NULL;
}

void
journal_drop(journal *j)
{
    buffer *b = ended(j);

    ASSERT(b != NULL);
    b->state = BUFFER_IDLE;
}

/* ---- segments ---- */

static int
segment_path(const journal *j, const segment *s, char *out)
{
    return fs_path(out, "%s/%08" PRIu64 ".seg", j->dir, s->file);
}

static void
add_segment(journal *j, segment *s)
{
    pthread_mutex_lock(&j->lock);
    if (j->segment_count == j->segment_room) {
        j->segment_room = j->segment_room == 0 ? 16 : 2 * j->segment_room;
        j->segments = realloc(j->segments, j->segment_room * sizeof *j->segments);
        ASSERT(j->segments != NULL);
    }
    j->segments[j->segment_count++] = s;
    pthread_mutex_unlock(&j->lock);
}

/* Out of the list, out of the directory. */
static void
remove_segment(journal *j, segment *s)
{
    char path[FS_PATH_MAX];

    pthread_mutex_lock(&j->lock);
    for (uint32_t i = 0; i < j->segment_count; i++)
        if (j->segments[i] == s)
            j->segments[i] = j->segments[--j->segment_count];
    pthread_mutex_unlock(&j->lock);
    if (s->fd >= 0)
        the_world->close(s->fd);
    /* A file that stays is found at the next start, without a block that is needed, and used again. */
    if (segment_path(j, s, path) == E_OK)
        the_world->unlink(path);
    free(s);
}

static segment *
find_state(journal *j, enum segment_state state)
{
    segment *found = NULL;

    pthread_mutex_lock(&j->lock);
    for (uint32_t i = 0; i < j->segment_count && found == NULL; i++)
        if (j->segments[i]->state == state)
            found = j->segments[i];
    pthread_mutex_unlock(&j->lock);
    return found;
}

static void
set_state(journal *j, segment *s, enum segment_state state)
{
    pthread_mutex_lock(&j->lock);
    s->state = state;
    pthread_mutex_unlock(&j->lock);
}

/* Opens the file for zeros (plain) or for blocks (each write synced by itself where direct I/O is to be had). */
static int
open_file(journal *j, segment *s, bool for_blocks, bool create)
{
    char path[FS_PATH_MAX];
    int  flags = O_WRONLY | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0);
    int  rc = segment_path(j, s, path);

    ASSERT(s->fd < 0);
    if (rc < 0)
        return rc;
    if (j->direct) {
        int extra = O_DIRECT | (for_blocks && j->config.durability == JOURNAL_FSYNC ? O_DSYNC : 0);

        s->fd = the_world->open(path, flags | extra);
        if (s->fd < 0 && errno == EINVAL)
            j->direct = false; /* and perhaps created: some file systems refuse after that */
        flags &= ~O_EXCL;
    }
    if (s->fd < 0 && !j->direct)
        s->fd = the_world->open(path, flags);
    if (s->fd < 0)
        return err_errno(errno, "open %s", path);
    return create ? fs_sync_dir(j->dir) : E_OK;
}

static int
new_segment(journal *j, enum segment_state state, uint64_t limit, segment **out)
{
    segment *s = calloc(1, sizeof *s);
    int      rc;

    *out = NULL;
    if (s == NULL)
        return err(E_NOMEM, "journal segment");
    *s = (segment){ .state = state, .fd = -1, .file = j->next_file++, .limit = limit };
    add_segment(j, s);
    rc = open_file(j, s, state == SEGMENT_CURRENT, true);
    if (rc < 0)
        remove_segment(j, s);
    else
        *out = s;
    return rc;
}

/* The whole of it or an error.  A short write goes on at its last whole page, as direct I/O wants it. */
static int
write_at(journal *j, int fd, const uint8_t *at, uint64_t len, uint64_t offset)
{
    uint64_t done = 0;

    while (done < len) {
        ssize_t n = the_world->pwrite(fd, at + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EINVAL)
            j->direct = false; /* direct I/O is refused only now: the next segment goes without */
        if (n < 0)
            return err_errno(errno, "write %" PRIu64 " bytes to the journal", len);
        if (n < JOURNAL_PAGE && (uint64_t)n < len - done)
            return err(E_NOSPACE, "write to the journal stopped at %" PRIu64 " of %" PRIu64, done,
                       len);
        done +=
            (uint64_t)n == len - done ? (uint64_t)n : (uint64_t)n & ~(uint64_t)(JOURNAL_PAGE - 1);
    }
    atomic_fetch_add_explicit(&j->written_bytes, len, memory_order_relaxed);
    return E_OK;
}

static int
sync_file(int fd)
{
    return the_world->datasync(fd) < 0 ? err_errno(errno, "sync the journal") : E_OK;
}

/* Zeros `len` more bytes of a segment that is being prepared; FREE when it is done. */
static int
prepare_piece(journal *j, segment *s, uint64_t len)
{
    uint64_t end;
    int      rc = E_OK;

    ASSERT(s != NULL);
    end = min_u64(s->written + len, s->limit);
    while (rc == E_OK && s->written < end) {
        uint64_t piece = min_u64(ZEROS, end - s->written);

        rc = write_at(j, s->fd, j->zeros, piece, s->written);
        s->written += rc == E_OK ? piece : 0;
    }
    if (rc == E_OK && s->written == s->limit && j->config.durability == JOURNAL_FSYNC)
        rc = sync_file(s->fd);
    if (rc < 0) {
        remove_segment(j, s);
    } else if (s->written == s->limit) {
        the_world->close(s->fd);
        s->fd = -1;
        set_state(j, s, SEGMENT_FREE);
    }
    return rc;
}

/* Is it time for another segment?  When a quarter of the current one is written and none stands ready. */
static bool
wants_segment(journal *j)
{
    uint32_t budget = (uint32_t)max_u64(3, j->config.budget_bytes / j->config.segment_bytes);
    segment *current = find_state(j, SEGMENT_CURRENT);
    uint32_t count;

    pthread_mutex_lock(&j->lock);
    count = j->segment_count;
    pthread_mutex_unlock(&j->lock);
    return current != NULL && current->used > current->limit / 4 && count < budget &&
           find_state(j, SEGMENT_FREE) == NULL;
}

static void
prepare_ahead(journal *j, uint64_t block_len)
{
    segment *s = find_state(j, SEGMENT_PREPARING);
    uint64_t piece = max_u64(PREPARE_MIN, min_u64(2 * block_len, PREPARE_MAX));
    int      rc = E_OK;

    if (j->prepare_pause > 0) {
        j->prepare_pause--;
        return;
    }
    if (s == NULL && wants_segment(j))
        rc = new_segment(j, SEGMENT_PREPARING, j->config.segment_bytes, &s);
    if (rc == E_OK && s != NULL)
        rc = prepare_piece(j, s, piece);
    if (rc < 0) {
        /* No loss: the next block makes itself room, only slower. */
        log_warn("journal.prepare", "dir=%s error=%s", j->dir, log_quote(view_str(err_text())));
        err_clear();
        j->prepare_pause = PREPARE_PAUSE;
    }
}

/* ---- writing ---- */

static uint64_t
sum_used(journal *j)
{
    uint64_t sum = 0;

    pthread_mutex_lock(&j->lock);
    for (uint32_t i = 0; i < j->segment_count; i++)
        if (j->segments[i]->state == SEGMENT_CURRENT || j->segments[i]->state == SEGMENT_FULL)
            sum += j->segments[i]->used;
    pthread_mutex_unlock(&j->lock);
    return sum;
}

/* The budget is kept by whoever seals and trims; where that fails for long, the disk is not filled without bound. */
static int
judge_budget(journal *j, uint64_t len)
{
    uint64_t bound =
        j->config.budget_bytes + j->config.budget_bytes / 4 + 2 * j->config.segment_bytes;

    if (sum_used(j) + len > bound)
        return err(E_NOSPACE, "journal %s: its budget of %" PRIu64 " bytes is used up", j->dir,
                   j->config.budget_bytes);
    return E_OK;
}

static int
begin_segment(journal *j, uint64_t len, segment **out)
{
    segment *s = find_state(j, SEGMENT_FREE);
    int      rc = judge_budget(j, len);

    *out = NULL;
    if (rc < 0)
        return rc;
    if (s == NULL && (s = find_state(j, SEGMENT_PREPARING)) != NULL && s->fd >= 0) {
        the_world->close(s->fd);
        s->fd = -1;
    }
    if (s == NULL)
        rc = new_segment(j, SEGMENT_CURRENT, j->config.segment_bytes, &s);
    else if ((rc = open_file(j, s, true, false)) < 0)
        remove_segment(j, s);
    if (rc < 0)
        return rc;
    ASSERT(s != NULL);
    pthread_mutex_lock(&j->lock);
    s->state = SEGMENT_CURRENT;
    s->number = j->next_segment++;
    s->used = 0;
    s->first_lsn = s->last_lsn = 0;
    s->limit = max_u64(s->limit, len); /* a block longer than a segment has one for itself */
    pthread_mutex_unlock(&j->lock);
    *out = s;
    return E_OK;
}

/* FULL: nothing more is written to it.  One without a block goes at once. */
static void
end_segment(journal *j, segment *s, bool bad)
{
    the_world->close(s->fd);
    s->fd = -1;
    s->bad = bad;
    if (s->last_lsn == 0)
        remove_segment(j, s);
    else
        set_state(j, s, SEGMENT_FULL);
}

static int
segment_for(journal *j, uint64_t len, segment **out)
{
    segment *s = find_state(j, SEGMENT_CURRENT);

    if (s != NULL && s->used + len <= s->limit) {
        *out = s;
        return E_OK;
    }
    if (s != NULL)
        end_segment(j, s, false);
    return begin_segment(j, len, out);
}

static int
put_block(journal *j, segment *s, const buffer *b, uint64_t len)
{
    block_head *h = head_of(b);
    int         rc;

    h->segment = s->number;
    h->sequence = j->next_sequence;
    h->crc = 0;
    h->crc = crc32c(0, b->at, h->length);
    rc = write_at(j, s->fd, b->at, len, s->used);
    if (rc == E_OK && !j->direct && j->config.durability == JOURNAL_FSYNC)
        rc = sync_file(s->fd);
    return rc;
}

static void
note_block(journal *j, segment *s, const buffer *b, uint64_t len)
{
    pthread_mutex_lock(&j->lock);
    s->first_lsn = s->first_lsn == 0 ? head_of(b)->first_lsn : s->first_lsn;
    s->last_lsn = b->last_lsn;
    s->used += len;
    s->written = max_u64(s->written, s->used);
    j->newest_segment = s->number;
    pthread_mutex_unlock(&j->lock);
}

static int
write_block(journal *j, const buffer *b)
{
    uint64_t len = round_up(b->len, JOURNAL_PAGE);
    segment *s;
    int      rc = segment_for(j, len, &s);

    if (rc < 0)
        return rc;
    rc = put_block(j, s, b, len);
    if (rc < 0) {
        end_segment(j, s, true);
        return rc;
    }
    note_block(j, s, b, len);
    j->next_sequence++;
    if (j->config.durability == JOURNAL_FSYNC)
        atomic_fetch_add_explicit(&j->syncs, 1, memory_order_relaxed);
    prepare_ahead(j, len);
    return E_OK;
}

int
journal_write(journal *j)
{
    buffer *b = in_state(j, BUFFER_ENDED);
    int     rc = E_OK;

    ASSERT(b != NULL);
    if (j->config.durability != JOURNAL_MEMORY)
        rc = write_block(j, b);
    if (rc < 0)
        return err(rc, "journal %s", j->dir);
    b->state = BUFFER_WRITTEN;
    return E_OK;
}

/* ---- trimming ---- */

static bool
is_trimmable(const journal *j, const segment *s, uint64_t lsn)
{
    return s->state == SEGMENT_FULL && s->last_lsn <= lsn && s->number != j->newest_segment;
}

uint64_t
journal_trimmable(journal *j, uint64_t lsn)
{
    uint64_t last = 0;

    pthread_mutex_lock(&j->lock);
    for (uint32_t i = 0; i < j->segment_count; i++)
        if (is_trimmable(j, j->segments[i], lsn))
            last = max_u64(last, j->segments[i]->last_lsn);
    pthread_mutex_unlock(&j->lock);
    return last;
}

void
journal_trim(journal *j, uint64_t lsn)
{
    segment *drop = NULL;

    do {
        drop = NULL;
        pthread_mutex_lock(&j->lock);
        for (uint32_t i = 0; i < j->segment_count && drop == NULL; i++) {
            segment *s = j->segments[i];

            if (!is_trimmable(j, s, lsn))
                continue;
            if (s->bad || s->limit != j->config.segment_bytes)
                drop = s;
            else
                s->state = SEGMENT_FREE;
        }
        pthread_mutex_unlock(&j->lock);
        if (drop != NULL)
            remove_segment(j, drop);
    } while (drop != NULL);
}

uint64_t
journal_oldest_end(journal *j)
{
    const segment *oldest = NULL;
    uint64_t       last = 0;

    pthread_mutex_lock(&j->lock);
    for (uint32_t i = 0; i < j->segment_count; i++)
        if (is_trimmable(j, j->segments[i], UINT64_MAX) && (oldest == NULL || j->segments[i]->number < oldest->number))
            oldest = j->segments[i];
    if (oldest != NULL)
        last = oldest->last_lsn;
    pthread_mutex_unlock(&j->lock);
    return last;
}

uint64_t
journal_used_bytes(journal *j)
{
    return sum_used(j);
}

uint64_t
journal_oldest_lsn(journal *j)
{
    uint64_t oldest = 0;

    pthread_mutex_lock(&j->lock);
    for (uint32_t i = 0; i < j->segment_count; i++) {
        const segment *s = j->segments[i];

        if ((s->state == SEGMENT_FULL || s->state == SEGMENT_CURRENT) && s->first_lsn > 0 &&
            (oldest == 0 || s->first_lsn < oldest))
            oldest = s->first_lsn;
    }
    pthread_mutex_unlock(&j->lock);
    return oldest;
}

uint64_t
journal_written_bytes(const journal *j)
{
    return atomic_load_explicit(&j->written_bytes, memory_order_relaxed);
}

uint64_t
journal_syncs(const journal *j)
{
    return atomic_load_explicit(&j->syncs, memory_order_relaxed);
}

/* ---- opening ---- */

/* DIR/journal/ID, 16 bytes: blocks of another journal that were copied in by accident are not ours. */
static int
read_id(const journal *j, uuid *id)
{
    char   path[FS_PATH_MAX];
    char   bytes[sizeof id->b + 1];
    size_t len;
    int    rc = fs_path(path, "%s/ID", j->dir);

    memset(id, 0, sizeof *id);
    if (rc == E_OK)
        rc = fs_read_file(path, bytes, sizeof bytes, &len);
    if (rc == E_OK && len == sizeof id->b)
        memcpy(id->b, bytes, len);
    if (rc == E_NOTFOUND)
        err_clear();
    return rc == E_NOTFOUND ? E_OK : rc;
}

static int
make_id(const journal *j, uuid *id)
{
    static const uuid none;
    char              path[FS_PATH_MAX];
    int               rc = fs_path(path, "%s/ID", j->dir);

    while (uuid_eq(id, &none))
        if (the_world->chance(id->b, sizeof id->b) < 0)
            return err_errno(errno, "journal id");
    return rc < 0 ? rc : fs_write_file(path, view_of(id->b, sizeof id->b));
}

static int
make_buffers(journal *j)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (posix_memalign((void **)&j->buffers[i].at, JOURNAL_PAGE, BUFFER_ROOM) != 0)
            return err(E_NOMEM, "journal buffers");
        memset(j->buffers[i].at, 0, TOUCHED_AHEAD);
    }
    if (posix_memalign((void **)&j->zeros, JOURNAL_PAGE, ZEROS) != 0)
        return err(E_NOMEM, "journal buffers");
    memset(j->zeros, 0, ZEROS);
    return E_OK;
}

static void
set_config(journal *j, const journal_config *config)
{
    j->config = *config;
    if (j->config.segment_bytes == 0)
        j->config.segment_bytes =
            min_u64(JOURNAL_SEGMENT_BYTES, max_u64(1 << 20, config->budget_bytes / 4));
    j->config.segment_bytes = round_up(j->config.segment_bytes, JOURNAL_PAGE);
    ASSERT(j->config.segment_bytes <= JOURNAL_SEGMENT_BYTES_MAX);
    j->direct = !config->buffered;
}

/* Two small segments, so that the first blocks have where to go.  A full disk is no reason not to open. */
static void
prepare_first(journal *j)
{
    uint64_t limit = min_u64(FIRST_SEGMENT, j->config.segment_bytes);
    int      ready = find_state(j, SEGMENT_FREE) != NULL ? 2 : 0;

    for (int tries = 0; ready < 2 && tries < 4; tries++) {
        bool     direct = j->direct;
        segment *s;
        int      rc = new_segment(j, SEGMENT_PREPARING, limit, &s);

        if (rc == E_OK)
            rc = prepare_piece(j, s, limit);
        ready += rc == E_OK;
        if (rc < 0 && direct == j->direct) {
            log_warn("journal.prepare", "dir=%s error=%s", j->dir, log_quote(view_str(err_text())));
            tries = 4;
        }
        err_clear();
    }
}

/* Once more, on a fresh segment: of two blocks of one sequence that one counts. */
static int
rewrite_newest(journal *j, int fd, const journal_found *found)
{
    buffer    *b = &j->buffers[0];
    block_head h;
    uint64_t   next = j->next_sequence;
    int        rc = E_IO;

    ASSERT(found->newest_len >= sizeof h && found->newest_len <= BUFFER_LEN);
    memset(b->at, 0, round_up(found->newest_len, JOURNAL_PAGE));
    if (the_world->pread(fd, b->at, found->newest_len, (off_t)found->newest_at) !=
        (ssize_t)found->newest_len)
        return err(E_IO, "read the newest block again");
    memcpy(&h, b->at, sizeof h);
    b->len = h.length;
    b->last_lsn = block_last_lsn(h.first_lsn, h.rows);
    for (int tries = 0; tries < REWRITE_TRIES && rc < 0; tries++) {
        j->next_sequence = h.sequence;
        rc = write_block(j, b);
    }
    j->next_sequence = next;
    return rc;
}

/* Whoever wrote the newest block may have been killed before it was synced; we read it all the same, and what is
 * applied is acknowledged when it is asked for again.  All blocks before it were synced before it was written. */
static int
make_newest_durable(journal *j, const journal_found *found)
{
    char     path[FS_PATH_MAX];
    segment *s = NULL;
    int      fd;
    int      rc = E_OK;

    for (uint32_t i = 0; i < j->segment_count; i++)
        if (found->newest_segment != 0 && j->segments[i]->number == found->newest_segment)
            s = j->segments[i];
    if (s == NULL || j->config.durability != JOURNAL_FSYNC)
        return E_OK;
    rc = segment_path(j, s, path);
    if (rc < 0)
        return rc;
    fd = the_world->open(path, O_RDONLY);
    if (fd < 0)
        return err_errno(errno, "open %s", path);
    if (sync_file(fd) < 0) {
        log_warn("journal.resync", "dir=%s error=%s", j->dir, log_quote(view_str(err_text())));
        err_clear();
        s->bad = true;
        rc = rewrite_newest(j, fd, found);
    }
    the_world->close(fd);
    return rc;
}

static int
recover(journal *j, const journal_scan_order *order)
{
    static const uuid none;
    journal_found     found = { 0 };
    uuid              kept;
    int               rc = read_id(j, &j->id);

    kept = j->id;
    if (rc == E_OK)
        rc = journal_scan_begin(&j->scan, order, &j->id, &found, &j->report);
    for (uint32_t i = 0; i < found.segment_count; i++)
        add_segment(j, found.segments[i]);
    free(found.segments);
    j->next_file = found.file_max + 1;
    j->next_segment = found.segment_max + 1;
    j->next_sequence = found.sequence_max + 1;
    j->newest_segment = found.newest_segment;
    if (rc == E_OK && uuid_eq(&kept, &none))
        rc = make_id(j, &j->id);
    return rc < 0 ? rc : make_newest_durable(j, &found);
}

int
journal_replay(journal *j, uint64_t bytes, bool *more)
{
    int rc;

    *more = false;
    if (j->scan == NULL)
        return E_OK;
    rc = journal_scan_step(j->scan, bytes, more);
    if (rc < 0 || !*more) {
        journal_scan_end(&j->scan);
        j->skipped_count = journal_load_skipped(j->parent, j->skipped);
    }
    return rc < 0 ? err(rc, "replay journal %s", j->parent) : E_OK;
}

const journal_report *
journal_reported(const journal *j)
{
    return &j->report;
}

int
journal_open(journal **out, const char *dir, const journal_config *config, uint64_t after_lsn,
             journal_replay_fn *replay, void *ctx, journal_report *report)
{
    journal           *j = calloc(1, sizeof *j);
    journal_scan_order order = { .after_lsn = after_lsn, .replay = replay, .ctx = ctx, .crumb = config->crumb,
                                 .peek = config->peek, .early = config->early, .gap = config->gap };
    bool               more = !config->replay_apart;
    int                rc;

    *out = NULL;
    *report = (journal_report){ 0 };
    if (j == NULL)
        return err(E_NOMEM, "open journal");
    order.dir = j->parent;
    pthread_mutex_init(&j->lock, NULL);
    set_config(j, config);
    rc = fs_path(j->dir, "%s/journal", dir);
    if (rc == E_OK)
        rc = fs_path(j->parent, "%s", dir);
    if (rc == E_OK)
        rc = make_buffers(j);
    if (rc == E_OK)
        rc = fs_make_dir(j->dir);
    if (rc == E_OK)
        rc = recover(j, &order);
    while (rc == E_OK && more)
        rc = journal_replay(j, UINT64_MAX, &more);
    *report = j->report;
    j->skipped_count = journal_load_skipped(dir, j->skipped);
    if (rc < 0) {
        journal_close(&j);
        return err(rc, "open journal %s", dir);
    }
    if (config->durability != JOURNAL_MEMORY)
        prepare_first(j);
    *out = j;
    return E_OK;
}

void
journal_close(journal **jp)
{
    journal *j = *jp;

    if (j == NULL)
        return;
    for (uint32_t i = 0; i < j->segment_count; i++) {
        if (j->segments[i]->fd >= 0)
            the_world->close(j->segments[i]->fd);
        free(j->segments[i]);
    }
    journal_scan_end(&j->scan);
    free(j->segments);
    free(j->buffers[0].at);
    free(j->buffers[1].at);
    free(j->zeros);
    pthread_mutex_destroy(&j->lock);
    free(j);
    *jp = NULL;
}
