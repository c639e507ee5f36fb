/* journal_read.c - blocks of an open journal, read again in their order beside its writer.
 *
 * Which segment is next is looked up under the lock; its bytes are read without it.  It may be trimmed and written anew
 * meanwhile: then what is read names another segment, or is not sound, and is left out as if it had been trimmed before.
 * Only what was written whole when the segment was looked up is looked at, so a block in flight is never met.
 */
#include "storage/journal_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#include "proto/err.h"
#include "proto/world.h"

enum { RUN_BYTES = 1 << 20 };

typedef struct place {
    uint64_t file, number, used;
} place;

typedef struct reading {
    journal     *j;
    journal_run *run;
    uint64_t     after, upto;
    bool         newer, full; /* the next one is too new, or does not fit any more */
} reading;

/* The first segment from that number on with a row > after. */
static bool
find_place(journal *j, uint64_t number, uint64_t after, place *out)
{
    bool found = false;

    pthread_mutex_lock(&j->lock);
    for (uint32_t i = 0; i < j->segment_count; i++) {
        const segment *s = j->segments[i];

        if ((s->state != SEGMENT_FULL && s->state != SEGMENT_CURRENT) || s->number < number || s->last_lsn <= after ||
            (found && s->number > out->number))
            continue;
        *out = (place){ s->file, s->number, s->used };
        found = true;
    }
    pthread_mutex_unlock(&j->lock);
    return found;
}

static bool
read_at(int fd, void *out, uint64_t len, uint64_t at)
{
    for (uint64_t done = 0; done < len;) {
        ssize_t n = the_world->pread(fd, (uint8_t *)out + done, len - done, (off_t)(at + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (uint64_t)n;
    }
    return true;
}

static bool
is_skipped(const journal *j, uint64_t sequence)
{
    for (uint32_t i = 0; i < j->skipped_count; i++)
        if (j->skipped[i] == sequence)
            return true;
    return false;
}

static bool
has_room(reading *r, uint64_t len)
{
    journal_run *run = r->run;
    uint64_t     want = max_u64(run->len + len, RUN_BYTES);

    if (run->len > 0 && run->len + len > RUN_BYTES)
        return false;
    if (want > run->room) {
        run->bytes = realloc(run->bytes, want);
        ASSERT(run->bytes != NULL);
        run->room = want;
    }
    return true;
}

/* One block or one page of garbage at `offset`; how far that was, 0: the run ends here. */
static uint64_t
take(reading *r, int fd, const place *p, uint64_t offset)
{
    journal_run *run = r->run;
    block_head   h;
    uint64_t     len;

    if (!read_at(fd, &h, sizeof h, offset) || h.magic != JOURNAL_MAGIC || h.version != JOURNAL_VERSION ||
        !uuid_eq(&h.journal, &r->j->id) || h.segment != p->number || h.length < sizeof h ||
        h.length > p->used - offset || h.length > BUFFER_LEN)
        return JOURNAL_PAGE;
    len = round_up(h.length, JOURNAL_PAGE);
    if (block_last_lsn(h.first_lsn, h.rows) <= r->after || is_skipped(r->j, h.sequence))
        return len;
    r->newer = block_last_lsn(h.first_lsn, h.rows) > r->upto;
    r->full = !r->newer && !has_room(r, len);
    if (r->newer || r->full)
        return 0;
    if (!read_at(fd, run->bytes + run->len, h.length, offset))
        return JOURNAL_PAGE;
    memcpy(&h, run->bytes + run->len, sizeof h);
    if (h.segment != p->number || !block_is_sound(&h, run->bytes + run->len, round_up(h.length, JOURNAL_PAGE)))
        return JOURNAL_PAGE;
    r->after = block_last_lsn(h.first_lsn, h.rows);
    run->len += len;
    return len;
}

static int
read_segment(reading *r, const place *p, uint64_t offset)
{
    char     path[FS_PATH_MAX];
    int      rc = fs_path(path, "%s/%08" PRIu64 ".seg", r->j->dir, p->file);
    int      fd = rc < 0 ? -1 : the_world->open(path, O_RDONLY);
    uint64_t step = 1;

    if (rc == E_OK && fd < 0 && errno != ENOENT) /* it may have been removed, and all that is needed of it is sealed */
        rc = err_errno(errno, "open %s", path);
    if (fd < 0)
        return rc;
    while (step > 0 && offset + sizeof(block_head) <= p->used) {
        step = take(r, fd, p, offset);
        offset += step;
    }
    the_world->close(fd);
    r->run->segment = p->number;
    r->run->offset = offset;
    return E_OK;
}

int
journal_read(journal *j, journal_run *run, uint64_t after, uint64_t upto)
{
    reading  r = { .j = j, .run = run, .after = after, .upto = upto };
    place    p = { .number = 0 };
    uint64_t number = 0;
    int      rc = E_OK;

    if (after < run->last) /* somebody else begins farther back */
        run->segment = run->offset = 0;
    run->len = run->at = 0;
    while (rc == E_OK && !r.newer && !r.full && run->len < RUN_BYTES && find_place(j, number, r.after, &p)) {
        rc = read_segment(&r, &p, p.number == run->segment ? run->offset : 0);
        number = p.number + 1;
    }
    run->more = r.full || run->len >= RUN_BYTES;
    run->last = r.after;
    return rc;
}

bool
journal_run_next(journal_run *run, journal_block *out)
{
    block_head h;

    if (run->at >= run->len)
        return false;
    memcpy(&h, run->bytes + run->at, sizeof h);
    *out = block_seen(&h, run->bytes + run->at);
    run->at += round_up(h.length, JOURNAL_PAGE);
    return true;
}

void
journal_run_fini(journal_run *run)
{
    free(run->bytes);
    *run = (journal_run){ 0 };
}
