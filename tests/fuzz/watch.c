/* watch.c - a run directory that somebody scribbled into: whoever looks at it returns, and touches nothing else.
 *
 * The input is a list of pokes into the files of a small node, then everything that only looks is called:
 *
 *   FILE u8 | AT u32 | WORD u64      again and again; AT is taken modulo the file's length
 */
#include "tests/fuzz/fuzz.h"

#include "proto/crypto.h"
#include "proto/err.h"
#include "tools/commands.h"
#include "tools/top.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POKE_LEN = 13, POKES_MAX = 64, FILES = 7 };

static const char *const names[FILES] = { "node",          "count.front.0",          "trail.front.0", "state.front.0",
                                          "count.query.0", "lane.front.0.query.0", "faults.0" };

/* The second one looks at a place that none of these files has: it is the same node, whole. */
const view fuzz_seeds[] = {
    VIEW_LIT(""),
    VIEW_LIT("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    VIEW_LIT("\x01\x00\x10\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00\x10\x00\x00\xff\xff\xff\xff\xff\xff\xff\x7f"),
    VIEW_LIT("\x05\x00\x10\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06\x00\x10\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"),
    VIEW_LIT("\x03\x80\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x06\x80\x10\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("\xff\xff\xff\xff\xff\xff\xff\xff"),
    VIEW_LIT("\x00\x10\x00\x00"),
    VIEW_LIT("\x00\x20\x00\x00"),
    VIEW_LIT("\x80\x10\x00\x00"),
    VIEW_LIT("\x1b[2J\x1b[H\n\x01"),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

static rundir node;
static struct {
    uint8_t *at;
    uint8_t *whole;
    size_t   len;
} file[FILES];

static void
remove_node(void)
{
    rundir_remove(node.path);
}

static void
map_file(uint32_t i)
{
    char        path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];
    struct stat st;
    int         fd;

    (void)snprintf(path, sizeof path, "%s/%s", node.path, names[i]);
    fd = open(path, O_RDWR | O_CLOEXEC);
    ASSERT(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0);
    file[i].len = (size_t)st.st_size;
    file[i].at = mmap(NULL, file[i].len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    file[i].whole = malloc(file[i].len);
    ASSERT(file[i].at != MAP_FAILED && file[i].whole != NULL);
    memcpy(file[i].whole, file[i].at, file[i].len);
    (void)close(fd);
}

/* Something of everything: a step of a request, a fault. */
static void
fill_node(void)
{
    trail  *t;
    faults *f;
    fault   row = { .event = "x", .place = "y", .actor = "front.0", .text = "z", .first_us = 1 };

    ASSERT(trail_open(&t, node.path, addr_of(KIND_FRONT, 0), true) == E_OK);
    (void)trail_add(t, &(trail_step){ .trace = 1, .at_ns = 5, .done_ns = 6 });
    trail_close(&t);
    ASSERT(faults_open(&f, node.path, "0", true) == E_OK);
    faults_note(f, &row);
    faults_close(&f);
}

static void
make_node(void)
{
    addr front = addr_of(KIND_FRONT, 0);
    addr query = addr_of(KIND_QUERY, 0);

    ASSERT(crypto_start() == E_OK);
    (void)snprintf(node.path, sizeof node.path, "/dev/shm/haltless-fuzz-XXXXXX");
    ASSERT(mkdtemp(node.path) != NULL);
    (void)atexit(remove_node);
    node.plan.slot[node.plan.slots++] = (slot_plan){ .who = front, .core = -1 };
    node.plan.slot[node.plan.slots++] = (slot_plan){ .who = query, .core = -1 };
    node.plan.edge[node.plan.edges++] = (edge_plan){ .from = front, .to = query, .capacity = 4096 };
    node.plan.edge[node.plan.edges++] = (edge_plan){ .from = query, .to = front, .capacity = 4096 };
    node.plan.parts[KIND_FRONT] = node.plan.parts[KIND_QUERY] = 1;
    ASSERT(rundir_make(&node) == E_OK);
    fill_node();
    for (uint32_t i = 0; i < FILES; i++)
        map_file(i);
    ASSERT(freopen("/dev/null", "w", stdout) != NULL);
}

static void
poke(const uint8_t *p)
{
    uint32_t i = p[0] % FILES;
    size_t   at = load_u32(p + 1) % file[i].len;

    memcpy(file[i].at + at, p + 5, min_u64(8, file[i].len - at));
}

static void
look(void)
{
    watch *w;

    if (watch_open(&w, node.path) < 0) {
        err_clear();
        return;
    }
    watch_look(w);
    watch_look(w);
    watch_json(w, stdout);
    for (uint32_t page = 0; page < TOP_PAGES; page++)
        top_draw(w, &(top){ .columns = 80, .lines = 24, .terminal = true, .page = page });
    watch_close(&w);
}

static void
call(command_fn *fn, const char *a, const char *b, const char *c)
{
    char *argv[] = { (char[]){ "x" }, (char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t)c,
                     (char[]){ "--run-dir" }, node.path, NULL };

    (void)fn(6, argv);
    err_clear();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (file[0].at == NULL)
        make_node();
    for (size_t at = 0; at + POKE_LEN <= len && at < (size_t)POKE_LEN * POKES_MAX; at += POKE_LEN)
        poke(data + at);
    look();
    call(cmd_lane, "count", "front.0", "query.0");
    call(cmd_trace, "0000000000000001", "--json", "--log-level=info");
    for (uint32_t i = 0; i < FILES; i++)
        memcpy(file[i].at, file[i].whole, file[i].len);
    return 0;
}
