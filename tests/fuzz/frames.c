/* frames.c - whatever comes over the wire, before it is known who says it and after: heads of trunks and roads are
 * judged, a gate takes whole records in order or nothing, and what it took can be read.
 *
 * Input: messages, each a byte of its kind and two of its length, then its bytes.  Kind 0: a head between nodes; else
 * a frame for the gate.
 */
#include "tests/fuzz/fuzz.h"

#include "transport/frame.h"
#include "transport/gate.h"
#include "transport/trunk_frame.h"
#include "proto/err.h"

#define GENERATION "\1\2\3\4\5\6\7\x08\1\2\3\4\5\6\7\x08"
#define ZERO8 "\0\0\0\0\0\0\0\0"
#define FROM "\0\0\0\0\1\0\0\0"
#define TO "\0\0\0\0\2\0\0\0"
#define HEAD(kind) "lrad" "\2\0" kind "\0" FROM TO GENERATION
#define HELLO HEAD("\1") ZERO8 ZERO8 "\1\0\0\0\0\0\0\0" ZERO8 ZERO8
#define DATA(at, len) HEAD("\2") at "\0\0\0\0\0\0\0" ZERO8 ZERO8 len "\0\0\0\0\0\0\0" ZERO8
#define RECORD "\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0" ZERO8 ZERO8 ZERO8 ZERO8 ZERO8 ZERO8
#define SAID(kind, len) kind len "\0"

const view fuzz_seeds[] = {
    VIEW_LIT(SAID("\1", "\x50") HELLO),
    VIEW_LIT(SAID("\1", "\x50") HELLO SAID("\1", "\x90") DATA("\0", "\x40") RECORD),
    VIEW_LIT(SAID("\1", "\x50") HELLO SAID("\1", "\x90") DATA("\0", "\x40") RECORD SAID("\1", "\x90") DATA("\x40", "\x40") RECORD),
    VIEW_LIT(SAID("\1", "\x50") HELLO SAID("\1", "\x90") DATA("\x80", "\x40") RECORD),
    VIEW_LIT(SAID("\0", "\x20") "tnrk" "\1\0\2\0" ZERO8 ZERO8 ZERO8),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT(HELLO), VIEW_LIT(RECORD), VIEW_LIT(GENERATION), VIEW_LIT(FROM), VIEW_LIT(ZERO8),
    VIEW_LIT("\x40\0\0\0\0\0\0\0"), VIEW_LIT("\xc0\xff\xff\xff\xff\xff\xff\xff"), VIEW_LIT("\xff\xff\xff\xff"),
    VIEW_LIT(SAID("\1", "\x50")), VIEW_LIT(SAID("\1", "\x90")),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

enum { CAP = 4096 };

static void *ctx, *dealer;
static gate *g;
static lane *in;

static void
set_up(void)
{
    static wire_counts counts;

    ctx = zmq_ctx_new();
    ASSERT(ctx != NULL && gate_open(&g, ctx, &counts) == 0 &&
           lane_make_private(&in, CAP, addr_of(1, 0), addr_of(2, 0), 0) == 0 && gate_add(g, in) == 0);
    gate_far(g, 0);
    ASSERT(zmq_bind(gate_socket(g), "inproc://fuzz") == 0);
    gate_touched(g);
    dealer = frame_socket(ctx, ZMQ_DEALER);
    ASSERT(zmq_connect(dealer, "inproc://fuzz") == 0);
}

static void
hear(view message)
{
    uint8_t ignored[256];

    (void)!zmq_send(dealer, message.at, message.len, ZMQ_DONTWAIT);
    (void)gate_drain(g, true);
    while (zmq_recv(dealer, ignored, sizeof ignored, ZMQ_DONTWAIT) >= 0) {
    }
}

/* All of it is records; done with at once, so that the next input finds it empty. */
static void
read_all(void)
{
    uint64_t pos, end;
    envelope e;
    int      rc = 0;

    while (lane_peek(in, &e, &pos, &end, &rc) != NULL) {
        ASSERT(end - pos == envelope_record_len(e.len) && end - pos <= CAP);
        lane_advance(in, end);
    }
    ASSERT(rc == 0 && lane_read_pos(in) == lane_tail(in));
    (void)lane_ack(in, lane_read_pos(in));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    trunk_head h;

    if (g == NULL)
        set_up();
    while (len >= 3) {
        size_t n = (size_t)data[1] | (size_t)data[2] << 8;

        if (n > len - 3)
            n = len - 3;
        if (data[0] == 0 && trunk_head_read(data + 3, n, &h))
            ASSERT(h.kind >= TRUNK_OPEN && h.kind <= TRUNK_NEED);
        if (data[0] != 0)
            hear(view_of(data + 3, n));
        data += 3 + n;
        len -= 3 + n;
    }
    read_all();
    err_clear();
    return 0;
}
