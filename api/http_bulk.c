/* http_bulk.c - long bodies as they arrive (http_inner.h).
 *
 * H2O reads what a socket has, however much, into a buffer that it doubles and copies on the way: ten megabytes come
 * as a few reads of several milliseconds each.  Here
 *
 *   - a socket takes at most RECEIVE_BYTES from the network before it is read
 *   - a long body has its whole room at once, from a stock of such rooms: fresh pages cost more than the bytes that
 *     are put into them, and to give ten megabytes back holds the loop for a millisecond
 *   - a few connections with long bodies are read in one turn, the others rest until their turn comes
 *
 *   connection ──on_readable──▶ room? ─▶ H2O's own callback ─▶ bulk: rests ─▶ http_bulk_turn() ─▶ reads again
 *
 * H2O sets its callback anew for each request; http_bulk_turn() puts ours in front of it again.  A read that slips
 * through meanwhile only takes longer.
 */
#include "api/http_inner.h"
#include "proto/err.h"

#include <stdlib.h>
#include <sys/socket.h>

enum {
    RECEIVE_BYTES = 128 << 10,  /* the kernel doubles it for its own needs */
    BULK_BYTES = 64 << 10,      /* a body that has more than this is a long one */
    CHUNKED_BYTES = 512 << 10,  /* of one whose length is not known: then it gets all it may have */
    ROOM_SMALL = 1 << 20,
    STOCK_SHARE = 8,            /* each kind of room has an eighth of what bodies may take, when nothing is under way */
    ROOM_BEHIND = 8192,         /* H2O wants 4096 bytes before it reads, the decoder 16 behind the body */
    READS_A_TURN = 2,           /* of long bodies */
};

static void on_readable(h2o_socket_t *sock, const char *error);

void
http_bulk_listen(int fd)
{
    int bytes = RECEIVE_BYTES;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes); /* without it all works, in longer turns */
}

static void
stock_open(h2o_buffer_prototype_t *p, size_t len, uint64_t bytes)
{
    *p = (h2o_buffer_prototype_t){ .allocator = { .max = max_u64(bytes / len, 1) } };
    p->_initial_buf.capacity = len;
    p->_initial_buf._prototype = p;
    p->_initial_buf._fd = -1;
}

void
http_bulk_open(http *h)
{
    uint64_t bytes = h->config.bodies_bytes / STOCK_SHARE;

    stock_open(&h->rooms[0], ROOM_SMALL, bytes);
    stock_open(&h->rooms[1], max_u64(h->config.body_bytes, ROOM_SMALL) + HEAD_MAX + ROOM_BEHIND, bytes);
}

void
http_bulk_close(http *h)
{
    for (size_t i = 0; i < COUNT_OF(h->rooms); i++)
        while (h->rooms[i].allocator.cnt > 0)
            free(h2o_mem_alloc_recycle(&h->rooms[i].allocator, 0));
}

void
http_bulk_watch(conn *c)
{
    if (!h2o_linklist_is_linked(&c->unwatched))
        h2o_linklist_insert(&c->h->unwatched, &c->unwatched);
}

void
http_bulk_ends(conn *c)
{
    if (h2o_linklist_is_linked(&c->bulk))
        h2o_linklist_unlink(&c->bulk);
    c->has_room = false;
}

void
http_bulk_forget(conn *c)
{
    http_bulk_ends(c);
    if (h2o_linklist_is_linked(&c->unwatched))
        h2o_linklist_unlink(&c->unwatched);
    if (c->closed != NULL)
        *c->closed = true;
}

/* The Content-Length in a head whose names H2O has lower-cased; 0: none. */
static size_t
length_in_head(const char *head, size_t len)
{
    static const char name[] = "\ncontent-length:";
    const char       *at = memmem(head, len, name, sizeof name - 1);
    const char       *end = head + len;
    size_t            v = 0;

    if (at == NULL)
        return 0;
    for (at += sizeof name - 1; at < end && *at == ' '; at++)
        ;
    for (; at < end && *at >= '0' && *at <= '9' && v < SIZE_MAX / 100; at++)
        v = v * 10 + (size_t)(*at - '0');
    return v;
}

/* Room for all of a body that has turned out to be long. */
static void
make_room(conn *c)
{
    h2o_socket_t *sock = c->sock;
    http         *h = c->h;
    const char   *head = sock->input->bytes;
    size_t        have = sock->input->size;
    const char   *body = memmem(head, (size_t)min_u64(have, HEAD_MAX), "\r\n\r\n", 4);
    size_t        head_len = body == NULL ? 0 : (size_t)(body - head) + 4;
    size_t        length = body == NULL ? 0 : length_in_head(head, head_len);
    size_t        all = head_len + (size_t)min_u64(length > 0 ? length : h->config.body_bytes, h->config.body_bytes);
    h2o_buffer_t *room;

    if (body == NULL || all <= have || (length == 0 && have < CHUNKED_BYTES))
        return;
    h2o_buffer_init(&room, &h->rooms[all + ROOM_BEHIND > ROOM_SMALL]);
    (void)h2o_buffer_reserve(&room, all + ROOM_BEHIND);
    memcpy(room->bytes, head, have);
    room->size = have;
    h2o_buffer_dispose(&sock->input);
    sock->input = room;
    c->has_room = true;
}

/* The next request begins in a buffer of H2O's. */
static void
leave_room(conn *c)
{
    for (size_t i = 0; i < COUNT_OF(c->h->rooms); i++)
        if (c->sock->input == &c->h->rooms[i]._initial_buf)
            h2o_buffer_init(&c->sock->input, &h2o_socket_buffer_prototype);
}

static void
note_bulk(conn *c)
{
    if (c->sock->input == NULL || c->sock->input->size < BULK_BYTES)
        return;
    if (!c->has_room)
        make_room(c);
    if (!h2o_linklist_is_linked(&c->bulk))
        h2o_linklist_insert(&c->h->bulk, &c->bulk);
}

static void
on_readable(h2o_socket_t *sock, const char *error)
{
    conn *c = sock->on_close.data;
    bool  closed = false;

    if (error == NULL && c->requests == 0 && !c->multiplexed && !c->upgraded)
        note_bulk(c);
    c->closed = &closed;
    c->reader(sock, error);
    if (closed)
        return;
    c->closed = NULL;
    if (c->requests == 0 && !c->upgraded && sock->_cb.read != on_readable)
        http_bulk_watch(c);
}

static void
put_in_front(conn *c)
{
    if (c->sock->_cb.read == on_readable)
        return;
    c->reader = c->sock->_cb.read;
    c->sock->_cb.read = on_readable;
}

void
http_bulk_turn(http *h)
{
    h2o_linklist_t *next;
    int             reads = 0;

    for (h2o_linklist_t *at = h->unwatched.next; at != &h->unwatched; at = next) {
        conn *c = H2O_STRUCT_FROM_MEMBER(conn, unwatched, at);

        next = at->next;
        if (c->sock->_cb.read == NULL && c->requests == 0)
            continue; /* "100 Continue" is being written */
        h2o_linklist_unlink(at);
        leave_room(c);
        if (c->requests == 0 && !c->upgraded)
            put_in_front(c);
    }
    /* Those that were read stand behind the others. */
    for (h2o_linklist_t *at = h->bulk.next; at != &h->bulk; at = at->next) {
        conn *c = H2O_STRUCT_FROM_MEMBER(conn, bulk, at);
        bool  reading = c->sock->_cb.read != NULL;

        if (reads++ < READS_A_TURN) {
            if (!reading && c->resting)
                h2o_socket_read_start(c->sock, on_readable);
            c->resting = false;
        } else if (reading) {
            h2o_socket_read_stop(c->sock);
            c->resting = true;
        }
    }
    for (int i = 0; i < READS_A_TURN && reads > READS_A_TURN; i++) {
        h2o_linklist_t *first = h->bulk.next;

        h2o_linklist_unlink(first);
        h2o_linklist_insert(&h->bulk, first);
    }
}
