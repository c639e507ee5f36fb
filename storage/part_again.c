/* part_again.c - the rows of the journal once more, in the order in which they were shown.
 *
 *   part_again_begin(after) --read, by a helper--> a run of blocks --peek, skip--> rows, each with its lsn
 *
 * For whoever has to see every row once and in order, and missed some.  Rows are as they were written: one that was
 * erased since is among them.
 */
#include "storage/part_inner.h"
#include "storage/part_item.h"

#include <stdlib.h>

#include "proto/err.h"

struct part_again {
    part         *p;
    journal_run   run;
    uint64_t      after; /* rows up to it are of no interest */
    uint64_t      shown; /* as it began */
    int           rc;
    char          text[256];
    journal_block block;
    view          payload; /* what of it is left */
    item          item;
    uint32_t      rows; /* of the item, seen */
    uint64_t      lsn;  /* of its next row */
    uint64_t      upto;
    bool          has_row;
    part_again_row row;
};

uint64_t
part_forced_trims(const part *p)
{
    return p->forced_trims;
}

void
part_hold(part *p, uint64_t lsn)
{
    p->hold_lsn = lsn;
}

uint64_t
part_trimmed(const part *p)
{
    return p->trimmed_lsn;
}

uint64_t
part_shown(const part *p)
{
    return p->shown_lsn;
}

uint64_t
part_stamped(const part *p)
{
    const journal_block *b = journal_ended(p->journal);

    if (p->kept != NULL && !p->replaying) /* it is its turn, or about to be */
        return p->kept->stamp;
    return b != NULL ? b->stamp : p->stamp;
}

void
part_skip_to(part *p, uint64_t lsn)
{
    if (p->next_lsn <= lsn && !p->building.open)
        p->next_lsn = lsn + 1;
}

part_again *
part_again_new(part *p)
{
    part_again *r = calloc(1, sizeof *r);

    ASSERT(r != NULL);
    r->p = p;
    return r;
}

void
part_again_free(part_again **rp)
{
    if (*rp == NULL)
        return;
    journal_run_fini(&(*rp)->run);
    free(*rp);
    *rp = NULL;
}

void
part_again_begin(part_again *r, uint64_t after)
{
    r->after = r->upto = after;
    r->shown = r->p->shown_lsn;
    r->block = (journal_block){ 0 };
    r->payload = (view){ 0 };
    r->item = (item){ 0 };
    r->rows = 0;
    r->has_row = false;
}

void
part_again_read(part_again *r)
{
    r->rc = journal_read(r->p->journal, &r->run, r->after, r->shown);
    r->text[0] = '\0';
    if (r->rc < 0)
        strncpy(r->text, err_text(), sizeof r->text - 1);
    err_clear();
}

int
part_again_end(part_again *r)
{
    return r->rc < 0 ? err(r->rc, "%s", r->text) : E_OK;
}

/* The block's next item with rows in it; false: it has none any more. */
static bool
next_rows(part_again *r)
{
    while (part_item_next(&r->payload, &r->item) == 1) {
        r->rows = 0;
        if (r->item.kind == ITEM_ERASE)
            r->lsn++;
        if (r->item.kind == ITEM_ROWS && r->item.rows > 0)
            return true;
    }
    return false;
}

static bool
next_block(part_again *r)
{
    if (!journal_run_next(&r->run, &r->block)) {
        if (!r->run.more)
            r->upto = max_u64(r->upto, r->shown);
        return false;
    }
    r->payload = r->block.payload;
    r->lsn = r->block.first_lsn;
    r->item = (item){ 0 };
    r->rows = 0;
    return true;
}

/* What lies before the row that was asked for first is passed over. */
static bool
find_row(part_again *r)
{
    for (;;) {
        while (r->item.kind == ITEM_ROWS && r->rows < r->item.rows) {
            if (r->lsn > r->after)
                return true;
            r->lsn++;
            r->rows++;
        }
        if (next_rows(r))
            continue;
        if (r->block.first_lsn != 0)
            r->upto = max_u64(r->upto, r->block.first_lsn + (r->block.rows > 0 ? r->block.rows - 1 : 0));
        r->block.first_lsn = 0;
        if (!next_block(r))
            return false;
    }
}

const part_again_row *
part_again_peek(part_again *r)
{
    const reading_row *row;

    if (r->has_row)
        return &r->row;
    if (!find_row(r))
        return NULL;
    row = &r->item.row[r->rows];
    r->row = (part_again_row){ .series = row->series,
                              .row = { row->time_us, row->value },
                              .lsn = r->lsn,
                              .stamp = r->block.stamp };
    r->has_row = true;
    return &r->row;
}

void
part_again_skip(part_again *r)
{
    ASSERT(r->has_row);
    r->has_row = false;
    r->upto = r->lsn;
    r->lsn++;
    r->rows++;
}

uint64_t
part_again_upto(const part_again *r)
{
    return r->upto;
}
