/* ws_log.c - the frames of a tenant in order, each built once, in blocks that all of its clients are sent from.
 *
 *   ring   [ block | block | block ]        at most `most`: the oldest goes when another one is needed
 *   block  frames [ at len type .. ]  bytes [ 81 7e .. { "type": ..  ]
 *
 * A client has a cursor, the number of a frame.  A block that goes stays in memory while a write of it is under way.
 */
#include "api/ws_inner.h"

#include <stdlib.h>

void
ws_log_init(ws_log *l, uint32_t most)
{
    *l = (ws_log){ .most = most, .ring = calloc(most, sizeof(ws_block *)) };
    ASSERT(l->ring != NULL);
}

void
ws_block_release(ws_block *b)
{
    ASSERT(b->refs > 0);
    if (--b->refs == 0)
        free(b);
}

static void
drop_first(ws_log *l)
{
    ws_block *b = l->ring[l->first_block++ % l->most];

    l->first = b->first + b->count;
    ws_block_release(b);
}

void
ws_log_fini(ws_log *l)
{
    while (l->first_block < l->end_block)
        drop_first(l);
    free(l->ring);
}

static ws_block *
block_for(ws_log *l, size_t len)
{
    ws_block *b = l->end_block == l->first_block ? NULL : l->ring[(l->end_block - 1) % l->most];

    if (b != NULL && b->count < WS_BLOCK_FRAMES && b->used + len <= WS_BLOCK_BYTES)
        return b;
    if (l->end_block - l->first_block == l->most)
        drop_first(l);
    b = malloc(sizeof *b);
    ASSERT(b != NULL && len <= WS_BLOCK_BYTES);
    b->first = l->end;
    b->base = l->bytes;
    b->count = b->used = 0;
    b->refs = 1;
    l->ring[l->end_block++ % l->most] = b;
    return b;
}

void
ws_log_add(ws_log *l, const ws_frame *f, view text)
{
    uint8_t   head[WS_HEAD_MAX];
    size_t    n = ws_frame_head(head, text.len);
    ws_block *b = block_for(l, n + text.len);
    ws_frame *mine = &b->frames[b->count++];

    *mine = *f;
    mine->at = b->used;
    mine->len = (uint32_t)(n + text.len);
    memcpy(b->bytes + b->used, head, n);
    memcpy(b->bytes + b->used + n, text.at, text.len);
    b->used += mine->len;
    l->bytes += mine->len;
    l->end++;
}

/* From the newest: that is where nearly all are. */
ws_block *
ws_log_block(const ws_log *l, uint64_t frame)
{
    uint64_t low = l->first_block, high = l->end_block;

    if (frame < l->first || frame >= l->end)
        return NULL;
    if (l->ring[(high - 1) % l->most]->first <= frame)
        return l->ring[(high - 1) % l->most];
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;

        if (l->ring[middle % l->most]->first <= frame)
            low = middle;
        else
            high = middle;
    }
    return l->ring[low % l->most];
}

uint64_t
ws_log_behind(const ws_log *l, uint64_t frame)
{
    const ws_block *b = ws_log_block(l, frame);

    if (b == NULL)
        return frame < l->first ? UINT64_MAX : 0;
    return l->bytes - b->base - b->frames[frame - b->first].at;
}

void
ws_log_trim(ws_log *l, uint64_t frame, uint32_t keep)
{
    while (l->end_block - l->first_block > max_u64(keep, 1)) {
        const ws_block *b = l->ring[l->first_block % l->most];

        if (b->first + b->count > frame)
            return;
        drop_first(l);
    }
}
