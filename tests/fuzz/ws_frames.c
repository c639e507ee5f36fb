/* ws_frames.c - what a client sends behind the upgrade, read by wslay as the live view sets it up.
 *
 * A second reader, written from RFC 6455, says which messages stand before the first breach: exactly those are heard, in
 * one piece or byte by byte; what is answered is whole frames of a server, and nothing is heard after the end.
 */
#include "tests/fuzz/fuzz.h"

#include "api/ws_inner.h"

#include <stdlib.h>

#define MASK    "\1\2\3\4"
#define NO_MASK "\0\0\0\0"
#define HELLO   "\x81\x85" NO_MASK "hello"

const view fuzz_seeds[] = {
    VIEW_LIT(HELLO),
    VIEW_LIT(HELLO "\x82\x83" NO_MASK "\1\2\3" HELLO),
    VIEW_LIT("\x01\x83" NO_MASK "h\xc3\xa9" "\x89\x81" NO_MASK "p" "\x00\x82" NO_MASK "\xe2\x82" "\x80\x81" NO_MASK "\xac"),
    VIEW_LIT("\x81\xfe\0\x7e" NO_MASK "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
             "01234567890123456789012345" HELLO),
    VIEW_LIT(HELLO "\x88\x82" NO_MASK "\x03\xe8" HELLO),
    VIEW_LIT("\x8a\x80" NO_MASK "\x89\x80" MASK HELLO "\x88\x80" NO_MASK),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT(HELLO),           VIEW_LIT("\x81\xfe\0\x05" NO_MASK), VIEW_LIT("\x81\xff\0\0\0\0\0\0\0\x05" NO_MASK), VIEW_LIT("\x81\xff\x80\0\0\0\0\0\0\0"),
    VIEW_LIT("\x80\x80" NO_MASK), VIEW_LIT("\x01\x80" NO_MASK),    VIEW_LIT("\x89\x81" NO_MASK "p"),              VIEW_LIT("\x88\x82" NO_MASK "\x03\xe9"),
    VIEW_LIT("\xc1\x80"),      VIEW_LIT("\x83\x80"),               VIEW_LIT("\x81\x05hello"),                     VIEW_LIT("\xed\xa0\x80"),
    VIEW_LIT("\xf0\x9d\x84\x9e"), VIEW_LIT("\x81\xff\0\0\0\1\0\0\0\0"), VIEW_LIT("\x09\x80" NO_MASK),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

/* Messages one after the other: opcode, be32 length, bytes. */
typedef struct heard {
    ws_bytes messages;
    bool     over; /* a closing frame, or a breach */
} heard;

static void
note(heard *h, uint8_t opcode, view body)
{
    uint8_t head[5] = { opcode };

    ASSERT(!h->over);
    store_be32(head + 1, (uint32_t)body.len);
    ws_bytes_add(&h->messages, head, sizeof head);
    ws_bytes_add(&h->messages, body.at, body.len);
}

/* ---- the second reader ---- */

/* The length of the character that begins there, as far as it is there; 0: none does. */
static size_t
character(const uint8_t *at, size_t len)
{
    static const struct { uint8_t from, to, second_from, second_to, len; } forms[] = {
        { 0x00, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
        { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };

    for (size_t f = 0; f < COUNT_OF(forms); f++) {
        if (at[0] < forms[f].from || at[0] > forms[f].to)
            continue;
        if (forms[f].len > 1 && len > 1 && (at[1] < forms[f].second_from || at[1] > forms[f].second_to))
            return 0;
        for (size_t i = 2; i < forms[f].len && i < len; i++)
            if (at[i] < 0x80 || at[i] > 0xbf)
                return 0;
        return forms[f].len;
    }
    return 0;
}

/* whole: or the beginning of one. */
static bool
is_utf8(view text, bool whole)
{
    size_t at = 0;

    for (size_t n; at < text.len; at += n)
        if ((n = character(text.at + at, text.len - at)) == 0)
            return false;
    return at == text.len || !whole;
}

typedef struct reader {
    heard    h;
    ws_bytes message;
    uint8_t  opcode; /* of the message in fragments; 0: none */
} reader;

/* False: a breach. */
static bool
hear_frame(reader *r, uint8_t first, view body)
{
    uint8_t opcode = first & 15;
    bool    fin = first & 0x80;

    if ((first & 0x70) != 0 || (opcode > 2 && opcode < 8) || opcode > 10)
        return false;
    if (opcode >= 8) {
        if (!fin || body.len > 125)
            return false;
        if (opcode == 8)
            return false; /* the end, good or bad */
        note(&r->h, opcode, body);
        return true;
    }
    if ((opcode == 0) != (r->opcode != 0) || r->message.len + body.len > WS_MESSAGE_MAX)
        return false;
    if (opcode != 0)
        r->opcode = opcode;
    ws_bytes_add(&r->message, body.at, body.len);
    if (r->opcode == 1 && !is_utf8(view_of(r->message.at, r->message.len), fin))
        return false;
    if (!fin)
        return true;
    note(&r->h, r->opcode, view_of(r->message.at, r->message.len));
    r->opcode = 0;
    r->message.len = 0;
    return true;
}

/* One frame; 0: it is not whole, or a breach. */
static size_t
read_frame(reader *r, const uint8_t *at, size_t len)
{
    size_t   extra = len < 2 ? 0 : (at[1] & 127) == 126 ? 2 : (at[1] & 127) == 127 ? 8 : 0;
    uint64_t n = len < 2 ? 0 : at[1] & 127;
    uint8_t *body;
    size_t   whole;
    bool     good;

    if (len < 2 + extra + 4 || !(at[1] & 0x80))
        return 0;
    if (extra > 0) {
        n = 0;
        for (size_t i = 0; i < extra; i++)
            n = n << 8 | at[2 + i];
        if (n < (extra == 2 ? 126 : 65536) || n >> 63)
            return 0;
    }
    if (n > len - 2 - extra - 4)
        return 0;
    whole = 2 + extra + 4 + (size_t)n;
    body = malloc((size_t)n + 1);
    ASSERT(body != NULL);
    for (size_t i = 0; i < n; i++)
        body[i] = at[2 + extra + 4 + i] ^ at[2 + extra + i % 4];
    good = hear_frame(r, at[0], view_of(body, (size_t)n));
    free(body);
    return good ? whole : 0;
}

/* ---- wslay ---- */

typedef struct listener {
    heard          h;
    ws_bytes       said;
    const uint8_t *at;
    size_t         len;
} listener;

static ssize_t
on_recv(wslay_event_context_ptr ctx, uint8_t *to, size_t room, int flags, void *user)
{
    listener *l = user;
    size_t    n = l->len < room ? l->len : room;

    (void)flags;
    if (n == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(to, l->at, n);
    l->at += n;
    l->len -= n;
    return (ssize_t)n;
}

static ssize_t
on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *user)
{
    (void)ctx;
    (void)flags;
    ws_bytes_add(&((listener *)user)->said, data, len);
    return (ssize_t)len;
}

static void
on_heard(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
    listener *l = user;

    (void)ctx;
    if (arg->opcode == WSLAY_CONNECTION_CLOSE)
        l->h.over = true;
    else
        note(&l->h, arg->opcode, view_of(arg->msg, arg->msg_length));
}

static void
listen_to(listener *l, const uint8_t *data, size_t len, size_t step)
{
    struct wslay_event_callbacks callbacks = { .recv_callback = on_recv, .on_msg_recv_callback = on_heard };
    wslay_event_context_ptr      ctx;

    ASSERT(wslay_event_context_server_init(&ctx, &callbacks, l) == 0);
    ws_frame_setup(ctx, callbacks, on_send);
    for (size_t at = 0; at < len && wslay_event_want_read(ctx); at += step) {
        l->at = data + at;
        l->len = len - at < step ? len - at : step;
        if (wslay_event_recv(ctx) != 0)
            break;
        if (wslay_event_want_write(ctx))
            ASSERT(wslay_event_send(ctx) == 0);
    }
    wslay_event_context_free(ctx);
}

/* Whole control frames, not masked. */
static void
check_said(view said)
{
    for (size_t at = 0; at < said.len;) {
        ASSERT(said.len - at >= 2 && (said.at[at] == 0x88 || said.at[at] == 0x8a) && said.at[at + 1] <= 125);
        at += 2u + said.at[at + 1];
        ASSERT(at <= said.len);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    reader   r = { .opcode = 0 };
    listener whole = { .len = 0 }, bytes = { .len = 0 };

    for (size_t at = 0, n; at < len && (n = read_frame(&r, data + at, len - at)) != 0;)
        at += n;
    listen_to(&whole, data, len, len == 0 ? 1 : len);
    listen_to(&bytes, data, len, 1);
    ASSERT(whole.h.messages.len == r.h.messages.len && bytes.h.messages.len == r.h.messages.len);
    if (r.h.messages.len > 0)
        ASSERT(memcmp(whole.h.messages.at, r.h.messages.at, r.h.messages.len) == 0 &&
               memcmp(bytes.h.messages.at, r.h.messages.at, r.h.messages.len) == 0);
    check_said(view_of(whole.said.at, whole.said.len));
    check_said(view_of(bytes.said.at, bytes.said.len));
    ws_bytes_fini(&r.h.messages);
    ws_bytes_fini(&r.message);
    ws_bytes_fini(&whole.h.messages);
    ws_bytes_fini(&whole.said);
    ws_bytes_fini(&bytes.h.messages);
    ws_bytes_fini(&bytes.said);
    return 0;
}
