/* lane.c - a lane whose peer writes whatever it likes, whenever it likes: the reader returns, and touches nothing else.
 *
 * The input is a program: an operation and what it needs, one after the other.
 *
 *   tail U64 | head U64 | data AT U64 | constant AT U64    the peer scribbles into the file
 *   open | take | acknowledge | rewind | put LEN           the owner works
 *   look U64 | span                                        a watcher looks
 */
#include "tests/fuzz/fuzz.h"

#include "proto/err.h"
#include "transport/lane.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CAP = 4096, FILE_LEN = 3 * LANE_PAGE + CAP, TAIL_AT = LANE_PAGE, HEAD_AT = 2 * LANE_PAGE, DATA_AT = 3 * LANE_PAGE };
enum { TAIL, HEAD, DATA, CONSTANT, OPEN, TAKE, ACK, REWIND, PUT, LOOK, SPAN, OPS };
enum { TAKES_MAX = CAP / 64 + 1 };

/* A record of 128 bytes at 0, published, taken, acknowledged; then lies of several kinds. */
const view fuzz_seeds[] = {
    VIEW_LIT("\x02\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x05\x06"),
    VIEW_LIT("\x02\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x05\x05\x06"),
    VIEW_LIT("\x00\x00\x10\x00\x00\x00\x00\x00\x00\x05\x06\x07\x05\x0a\x09\x40\x00\x00\x00\x00\x00\x00\x00"),
    VIEW_LIT("\x03\x10\x00\x00\x00\x00\x00\x01\x00\x00\x00\x04\x05\x0a"),
    VIEW_LIT("\x08\x40\x08\xff\x01\xff\xff\xff\xff\xff\xff\xff\xff\x08\x20\x08\x40\x04\x08\x10"),
    VIEW_LIT("\x02\x00\x08\x00\x00\x00\x00\x20\x00\x20\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x05\x05\x09\x00"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\xff\xff\xff\xff\xff\xff\xff\xff"),
    VIEW_LIT("\x00\x10\x00\x00\x00\x00\x00\x00"),
    VIEW_LIT("\xc0\xff\xff\xff\xff\xff\xff\xff"),
    VIEW_LIT("\x40\x00\x00\x00\x00\x00\x00\x00"),
    VIEW_LIT("\x05\x06\x05"),
    VIEW_LIT("\xc0\x0f\x00\x00"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

static char     path[64];
static uint8_t *file; /* all of it, as the hostile peer has it */
static uint8_t  fresh[FILE_LEN];

static void
remove_file(void)
{
    (void)unlink(path);
}

static void
make_file(void)
{
    uuid generation = { { 1 } };
    int  fd;

    (void)snprintf(path, sizeof path, "/dev/shm/haltless-fuzz-lane-%d", (int)getpid());
    ASSERT(lane_create(path, CAP, addr_of(KIND_FRONT, 0), addr_of(KIND_INGEST, 0), &generation) == 0);
    fd = open(path, O_RDWR);
    file = mmap(NULL, FILE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ASSERT(fd >= 0 && file != MAP_FAILED);
    (void)close(fd);
    memcpy(fresh, file, FILE_LEN);
    (void)atexit(remove_file);
}

typedef struct program {
    const uint8_t *at;
    size_t         left;
} program;

static uint64_t
next(program *p, size_t len)
{
    uint64_t n = 0;

    len = min_u64(len, p->left);
    memcpy(&n, p->at, len);
    p->at += len;
    p->left -= len;
    return n;
}

static void
touch(const uint8_t *at, size_t len)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum ^= at[i];
    __asm__ volatile("" ::"r"(sum));
}

/* Every byte of a body is read, and lies in the lane. */
static void
take_all(lane *in)
{
    envelope e;
    uint64_t pos = 0, end = 0;
    int      rc = E_OK;

    for (int i = 0; i < TAKES_MAX; i++) {
        const uint8_t *body = lane_peek(in, &e, &pos, &end, &rc);

        ASSERT(rc == E_OK || (rc == E_BAD && body == NULL));
        if (body == NULL)
            return;
        ASSERT(body >= in->data + ENVELOPE_LEN && body + e.len <= in->data + 2 * CAP);
        ASSERT(end - pos == envelope_record_len(e.len) && end - pos <= CAP);
        touch(body, e.len);
        lane_advance(in, end);
    }
}

/* A record goes where nothing unacknowledged lies, as far as the producer can know. */
static void
put(lane *out, uint32_t len)
{
    uint8_t *at = lane_reserve(out, len);
    envelope e = { .len = len, .type = 1 };

    if (at == NULL)
        return;
    ASSERT(at >= out->data + ENVELOPE_LEN && at + len <= out->data + 2 * CAP);
    memset(at, 7, len);
    lane_stage(out, &e);
    ASSERT(lane_staged_len(out) <= CAP);
    (void)lane_publish(out);
}

static void
watch(uint64_t at)
{
    lane    *l;
    envelope e;
    uint64_t head, tail, end, most;

    if (lane_open(&l, path, LANE_WATCHER) == E_OK) {
        if (lane_span(l, &head, &tail))
            ASSERT(tail - head <= CAP);
        if (lane_look(l, at, &e, &end) == 1)
            ASSERT(end - at <= CAP);
        lane_close(&l);
    }
    if (lane_depth(path, &end, &most) == E_OK)
        ASSERT(end <= most && most <= CAP);
}

static void
scribble(program *p, size_t at, size_t room)
{
    uint64_t skip = next(p, 2) % (room - 8);
    uint64_t word = next(p, 8);

    memcpy(file + at + skip, &word, sizeof word);
}

static void
work(lane *in, lane *out, int op, program *p)
{
    if (op == TAKE && in != NULL)
        take_all(in);
    else if (op == ACK && in != NULL)
        (void)lane_ack(in, lane_read_pos(in));
    else if (op == REWIND && in != NULL)
        lane_rewind(in, in->head);
    else if (op == PUT && out != NULL)
        put(out, (uint32_t)next(p, 1) * 16);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    program p = { data, len };
    lane   *in = NULL;
    lane   *out = NULL;

    if (file == NULL)
        make_file();
    memcpy(file, fresh, FILE_LEN);
    (void)!lane_open(&in, path, LANE_CONSUMER);
    (void)!lane_open(&out, path, LANE_PRODUCER);
    for (int steps = 0; p.left > 0 && steps < 256; steps++) {
        int      op = (int)next(&p, 1) % OPS;
        uint64_t word;

        switch (op) {
        case TAIL:
        case HEAD:
            word = next(&p, 8);
            memcpy(file + (op == TAIL ? TAIL_AT : HEAD_AT), &word, sizeof word);
            break;
        case DATA:
            scribble(&p, DATA_AT, CAP);
            break;
        case CONSTANT:
            scribble(&p, 0, 64);
            break;
        case OPEN:
            lane_close(&in);
            lane_close(&out);
            (void)!lane_open(&in, path, LANE_CONSUMER);
            (void)!lane_open(&out, path, LANE_PRODUCER);
            break;
        case LOOK:
            watch(next(&p, 8));
            break;
        case SPAN:
            watch(0);
            break;
        default:
            work(in, out, op, &p);
        }
    }
    lane_close(&in);
    lane_close(&out);
    err_clear();
    return 0;
}
