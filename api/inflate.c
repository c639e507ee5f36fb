/* inflate.c - a compressed body: ten megabytes would hold the loop for too long, so a helper thread inflates it.
 *
 *   body (H2O's: gone when the client leaves) --copied, a piece a turn--> helper --> call.bytes
 */
#include "api/inflate.h"

#include "proto/err.h"

#include <stdlib.h>

enum { PIECE = 128 << 10, ROOM_BEHIND = 16 /* what the JSON decoder looks at */ };

struct inflation {
    help         h;
    inflation   *next; /* of those that are being copied */
    squeeze_kind kind;
    int          rc;
    inflate_then *then;
    uint8_t     *out;
    size_t       room;
    size_t       len;
    size_t       copied;
    size_t       in_len;
    uint8_t     *in;
};

static void
inflation_free(inflation *i)
{
    i->h.c->f->inflating -= i->room;
    free(i->in);
    free(i->out);
    free(i);
}

/* Frees here what is not needed: to free megabytes takes milliseconds. */
static void
work(help *h)
{
    inflation *i = (inflation *)(void *)h;

    i->rc = squeeze_inflate(i->kind, view_of(i->in, i->in_len), i->out, i->room, &i->len);
    free(i->in);
    i->in = NULL;
    if (i->rc < 0) {
        free(i->out);
        i->out = NULL;
    }
}

static void
done(help *h, bool wanted)
{
    inflation *i = (inflation *)(void *)h;
    call      *c = h->c;

    if (wanted && i->rc < 0) {
        call_fail(c, i->rc == E_LIMIT ? 413 : 400,
                  i->rc == E_LIMIT ? "Request body is too large." : "Request body cannot be decompressed.");
    } else if (wanted) {
        c->inflated = realloc(i->out, i->len + ROOM_BEHIND); /* pages that were not needed */
        c->inflated = c->inflated == NULL ? i->out : c->inflated;
        i->out = NULL;
        c->bytes = view_of(c->inflated, i->len);
        i->then(c);
    }
    inflation_free(i);
}

/* False: there is more to copy. */
static bool
copy_piece(inflation *i)
{
    size_t n = (size_t)min_u64(i->in_len - i->copied, PIECE);

    if (n > 0)
        memcpy(i->in + i->copied, i->h.c->bytes.at + i->copied, n);
    i->copied += n;
    return i->copied == i->in_len;
}

static void
start(inflation *i)
{
    if (!call_help(&i->h))
        inflation_free(i);
}

/* The call has ended while its body was being copied. */
static void
drop(void *kept)
{
    inflation *i = kept;
    front     *f = i->h.c->f;

    for (inflation **at = &f->inflations; *at != NULL; at = &(*at)->next)
        if (*at == i) {
            *at = i->next;
            break;
        }
    inflation_free(i);
}

void
inflate_start(call *c, squeeze_kind kind, size_t room, inflate_then *then)
{
    front     *f = c->f;
    inflation *i, **tail = &f->inflations;

    if (f->inflating + room > f->options->limits_bodies_mb << 20) {
        http_add_static(c->x, "Retry-After", "1");
        call_fail(c, 503, "The server is busy; retry.");
        return;
    }
    i = malloc(sizeof *i);
    ASSERT(i != NULL);
    *i = (inflation){
        .h = { .c = c, .work = work, .done = done }, .kind = kind, .then = then, .room = room, .in_len = c->bytes.len,
        .in = malloc(c->bytes.len + 1), .out = malloc(room + ROOM_BEHIND)
    };
    ASSERT(i->in != NULL && i->out != NULL);
    f->inflating += room;
    if (copy_piece(i)) {
        start(i);
        return;
    }
    while (*tail != NULL)
        tail = &(*tail)->next;
    *tail = i;
    call_keep(c, i, drop);
}

bool
inflate_turn(front *f)
{
    inflation *i = f->inflations, **tail = &f->inflations;

    if (i == NULL)
        return false;
    f->inflations = i->next;
    i->next = NULL;
    if (copy_piece(i)) {
        call_let_go(i->h.c);
        start(i);
    } else { /* behind the others */
        while (*tail != NULL)
            tail = &(*tail)->next;
        *tail = i;
    }
    return f->inflations != NULL;
}
