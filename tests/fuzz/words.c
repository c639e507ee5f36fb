/* words.c - whatever another node says of its board, with a key that is on the list: it changes what is its own at
 * most, and ends.
 *
 * The first byte says who hears it: a node with the fronts, or one with partitions.
 */
#include "tests/fuzz/fuzz.h"

#include "actors/mirror.h"
#include "actors/plan.h"
#include "proto/err.h"
#include "transport/board.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define KEY "abababababababababababababababababababababababababababababababab"

/* what, zero, part, no, record, 3 lengths */
#define ITEM(what, part, no, record, a, b, c)                                                      \
    what "\0" part "\0" no "\0\0\0" record "\0" a "\0" b "\0" c "\0"
#define ZEROS16 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

const view fuzz_seeds[] = {
    VIEW_LIT("\0" ITEM("\x08", "\1", "\1", "\x18", "\0", "\0", "\0") ZEROS16 "\0\0\0\0\0\0\0\0"),
    VIEW_LIT("\0" ITEM("\x07", "\1", "\2", "\x18", "\3", "\1", "\0") "\7\0\0\0\1\0\0\0" ZEROS16 "abcC"),
    VIEW_LIT("\0" ITEM("\x06", "\1", "\2", "\x18", "\0", "\0", "\0") ZEROS16 "\0\0\0\0\0\0\0\0"),
    VIEW_LIT("\0" ITEM("\x40", "\0", "\0", "\x18", "\0", "\0", "\0") "\0\0\1\0\2\0\0\0\5\0\0\0\5\0\0\0\5\0\0\0\0\0\0\0"),
    VIEW_LIT("\1" ITEM("\x42", "\0", "\0", "\x10", "\0", "\0", "\0") ZEROS16),
    VIEW_LIT("\1" ITEM("\x41", "\0", "\0", "\x48", "\0", "\0", "\0") ZEROS16 ZEROS16 ZEROS16 ZEROS16 "\0\0\0\0\0\0\0\0"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\x04"), VIEW_LIT("\x05"), VIEW_LIT("\x07"), VIEW_LIT("\x08"), VIEW_LIT("\xff\xff"), VIEW_LIT("\xff\xff\xff\xff"),
    VIEW_LIT("\x40"), VIEW_LIT("\x41"), VIEW_LIT("\x42"), VIEW_LIT("\0\0\0\0"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

typedef struct host {
    rundir  run;
    mirror *m;
} host;

static char dir[64];

static bool
deaf(void *ctx, uint32_t peer, view word)
{
    (void)ctx;
    (void)peer;
    (void)word;
    return true;
}

static void
forget(void)
{
    rundir_remove(dir);
}

static mirror *
make(host *h, const char *name, char **flags, int count)
{
    board_limits limits = { 8, 8, 8, 8, 64, 16, 64, 2, 1 };
    char         path[RUNDIR_PATH_MAX + 16];
    options      o;
    nodes        n;

    ASSERT(options_load(&o, NULL, count, flags) == 0 && plan_make(&h->run.plan, &o, 0) == 0 &&
           nodes_read(&n, &o) == 0);
    (void)snprintf(h->run.path, sizeof h->run.path, "%s/%s", dir, name);
    ASSERT(mkdir(h->run.path, 0700) == 0 && rundir_make(&h->run) == 0);
    (void)snprintf(path, sizeof path, "%s/board", h->run.path);
    ASSERT(board_create(path, &limits) == 0 && mirror_open(&h->m, &h->run, &n, deaf, NULL) == 0);
    options_free(&o);
    return h->m;
}

static void
set_up(mirror *m[2])
{
    static host h[2];
    char *home[] = { "--node-name", "a", "--node-key-file", "k", "--node-listen", "127.0.0.1:1", "--node-peers",
                     "b 127.0.0.1:2 " KEY " 0-1" };
    char *away[] = { "--node-name", "b", "--node-key-file", "k", "--node-listen", "127.0.0.1:2", "--node-home", "a",
                     "--node-partitions", "0-1", "--node-peers", "a 127.0.0.1:1 " KEY };

    (void)snprintf(dir, sizeof dir, "/dev/shm/ht-fuzz-XXXXXX");
    ASSERT(mkdtemp(dir) != NULL);
    (void)atexit(forget);
    m[0] = make(&h[0], "a", home, (int)COUNT_OF(home));
    m[1] = make(&h[1], "b", away, (int)COUNT_OF(away));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static mirror *m[2];

    if (m[0] == NULL)
        set_up(m);
    if (len > 0)
        (void)mirror_hear(m[data[0] & 1], 0, view_of(data + 1, len - 1));
    err_clear();
    return 0;
}
