/* lane.c - the ring: reserve, stage, publish; peek, advance, acknowledge.
 *
 * The producer writes `tail` and `starved` and nothing else, the consumer `head` and `seen`: one
 * writer a word, so a dead peer leaves nothing to repair.  Each side keeps what it needs of the
 * other in a private copy that is judged before it is believed: a hostile peer can stop its lane,
 * and no more.
 *
 *   producer   staged  >= tail >= head      room = capacity - (staged - head)
 *   consumer   head <= read <= tail         a record lies whole in [read, tail), or the lane is bad
 *
 * Two Dekker pairs, all four words sequentially consistent (tests/model/park):
 *   tail / the consumer's parked word       publish, then look whether the peer sleeps
 *   head / starved                          acknowledge, then look who waits for room
 */
#include "transport/lane.h"
#include "transport/pages.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LANE_ABI = 2, LANE_DATA = 3 * LANE_PAGE };
#define LANE_MAGIC        UINT64_C(0x656e616c6c74616c) /* "latllane" */
#define LANE_CAPACITY_MAX (UINT64_C(1) << 32)

/* ---- making and mapping ---- */

static bool
is_capacity(uint64_t n)
{
    return n >= LANE_CAPACITY_MIN && n <= LANE_CAPACITY_MAX && (n & (n - 1)) == 0;
}

static int
write_constant(int fd, const lane_constant *c)
{
    ssize_t n = pwrite(fd, c, sizeof *c, 0);

    return n == (ssize_t)sizeof *c ? E_OK : err(E_IO, "write the constant page");
}

int
lane_create(const char *path, uint64_t capacity, addr from, addr to, const uuid *generation)
{
    lane_constant c = { .magic = LANE_MAGIC,
                        .abi = LANE_ABI,
                        .capacity = capacity,
                        .from = from,
                        .to = to,
                        .generation = *generation };
    int           fd;
    int           rc;

    if (!is_capacity(capacity))
        return err(E_RANGE, "lane %s: %llu bytes", path, (unsigned long long)capacity);
    rc = pages_make(path, LANE_DATA + capacity, LANE_DATA + capacity, &fd);
    if (rc < 0)
        return err(rc, "lane");
    rc = write_constant(fd, &c);
    rc = pages_land(path, &fd, rc);
    return rc < 0 ? err(rc, "lane %s", path) : E_OK;
}

static int
read_constant(int fd, uint64_t file_len, lane_constant *c)
{
    ssize_t n = pread(fd, c, sizeof *c, 0);

    if (n != (ssize_t)sizeof *c || c->magic != LANE_MAGIC || c->abi != LANE_ABI)
        return err(E_BAD, "not a lane of this version");
    if (!is_capacity(c->capacity) || file_len != LANE_DATA + c->capacity)
        return err(E_BAD, "length %llu", (unsigned long long)file_len);
    return E_OK;
}

static int
map_parts(lane *l, int fd)
{
    l->capacity = l->c.capacity;
    l->mask = l->capacity - 1;
    l->out = pages_map(fd, LANE_PAGE, LANE_PAGE, l->produces);
    l->in = pages_map(fd, 2 * LANE_PAGE, LANE_PAGE, l->consumes);
    l->data = pages_map_twice(fd, LANE_DATA, l->capacity, l->produces);
    if (l->out == NULL || l->in == NULL || l->data == NULL)
        return err(E_NOMEM, "map");
    return E_OK;
}

/* Takes up where the file says the predecessor was. */
static int
resume(lane *l)
{
    uint64_t tail = atomic_load(&l->out->tail);
    uint64_t head = atomic_load(&l->in->head);
    uint64_t seen = atomic_load(&l->in->seen);

    if (((head | tail) & (LANE_STEP - 1)) != 0 || tail < head || tail - head > l->capacity)
        return err(E_BAD, "head %llu, tail %llu", (unsigned long long)head,
                   (unsigned long long)tail);
    l->staged = l->tail = tail;
    l->head_seen = head;
    l->head = l->read = head;
    l->tail_seen = head; /* judged at the first look */
    l->seen_before = seen > head && seen <= tail ? seen : head;
    return E_OK;
}

static lane *
lane_new(void)
{
    lane *l = aligned_alloc(alignof(lane), sizeof(lane));

    if (l != NULL)
        memset(l, 0, sizeof *l);
    return l;
}

int
lane_open(lane **out, const char *path, enum lane_role role)
{
    lane    *l = lane_new();
    uint64_t len = 0;
    int      fd = -1;
    int      rc;

    *out = NULL;
    if (l == NULL)
        return err(E_NOMEM, "lane %s", path);
    l->produces = role == LANE_PRODUCER;
    l->consumes = role == LANE_CONSUMER;
    rc = pages_open(path, role != LANE_WATCHER, &fd, &len);
    if (rc == E_OK)
        rc = read_constant(fd, len, &l->c);
    if (rc == E_OK)
        rc = map_parts(l, fd);
    if (rc == E_OK && role != LANE_WATCHER) /* who only looks judges at each look */
        rc = resume(l);
    if (fd >= 0)
        (void)close(fd);
    if (rc < 0) {
        lane_close(&l);
        return err(rc, "lane %s", path);
    }
    *out = l;
    return E_OK;
}

int
lane_make_private(lane **out, uint64_t capacity, addr from, addr to, uint64_t at)
{
    lane *l = lane_new();
    int   fd = -1;
    int   rc;

    *out = NULL;
    if (l == NULL)
        return err(E_NOMEM, "private lane");
    ASSERT(is_capacity(capacity) && (at & (LANE_STEP - 1)) == 0);
    l->produces = l->consumes = true;
    l->c = (lane_constant){
        .magic = LANE_MAGIC, .abi = LANE_ABI, .capacity = capacity, .from = from, .to = to
    };
    rc = pages_make_private("haltless-lane", LANE_DATA + capacity, &fd);
    if (rc == E_OK)
        rc = map_parts(l, fd);
    if (fd >= 0)
        (void)close(fd);
    if (rc < 0) {
        lane_close(&l);
        return err(rc, "private lane");
    }
    lane_restart(l, at, at, &l->c.generation);
    *out = l;
    return E_OK;
}

void
lane_restart(lane *l, uint64_t at, uint64_t seen, const uuid *generation)
{
    ASSERT(l->produces && l->consumes && l->head == l->tail && (at & (LANE_STEP - 1)) == 0);
    l->c.generation = *generation;
    l->staged = l->tail = l->head_seen = at;
    l->read = l->tail_seen = l->head = at;
    l->seen_before = max_u64(at, seen);
    atomic_store(&l->in->seen, at);
    atomic_store(&l->in->head, at);
    atomic_store(&l->out->tail, at);
}

int
lane_take_consumer(lane *l)
{
    ASSERT(l->produces);
    if (l->consumes)
        return E_OK;
    if (mprotect(l->in, LANE_PAGE, PROT_READ | PROT_WRITE) < 0)
        return err(E_NOMEM, "map the consumer's page");
    l->consumes = true;
    return E_OK;
}

/* The consumer's word: no locked instruction, and a store only when there never was as much. */
static inline void
note_most(lane *l, uint64_t waiting)
{
    if (UNLIKELY(waiting > atomic_load_explicit(&l->in->most, memory_order_relaxed)))
        atomic_store_explicit(&l->in->most, waiting, memory_order_relaxed);
}

bool
lane_confirm(lane *l, uint64_t pos)
{
    ASSERT(l->produces && l->consumes);
    if (pos < l->head || pos > l->tail || (pos & (LANE_STEP - 1)) != 0)
        return false;
    note_most(l, l->tail - l->head);
    if (pos > l->read)
        l->read = l->tail_seen = pos;
    (void)lane_ack(l, pos);
    return true;
}

void
lane_close(lane **lp)
{
    lane *l = *lp;

    if (l == NULL)
        return;
    *lp = NULL;
    pages_unmap(l->out, LANE_PAGE);
    pages_unmap(l->in, LANE_PAGE);
    pages_unmap(l->data, 2 * l->capacity);
    free(l);
}

addr
lane_from(const lane *l)
{
    return l->c.from;
}

addr
lane_to(const lane *l)
{
    return l->c.to;
}

uint64_t
lane_capacity(const lane *l)
{
    return l->capacity;
}

const uuid *
lane_generation(const lane *l)
{
    return &l->c.generation;
}

/* ---- producer ---- */

/* The consumer's word is believed only where it can be true: it never goes back, nor past what was
 * published. */
void
lane__reload_head(lane *l)
{
    uint64_t head = atomic_load(&l->in->head);

    if (head > l->head_seen && head <= l->tail && (head & (LANE_STEP - 1)) == 0)
        l->head_seen = head;
}

bool
lane_publish(lane *l)
{
    if (l->staged == l->tail)
        return false;
    l->tail = l->staged;
    /* seq_cst, not release: the peer may be going to sleep, and each of us must see the other's
     * store, or the message waits for the next one. */
    atomic_store(&l->out->tail, l->tail);
    return true;
}

void
lane_unstage(lane *l)
{
    l->staged = l->tail;
}

uint64_t
lane_staged_len(const lane *l)
{
    return l->staged - l->tail;
}

uint64_t
lane_room(lane *l)
{
    lane__reload_head(l);
    return l->capacity - (l->staged - l->head_seen);
}

void
lane_starve(lane *l, bool want)
{
    if (atomic_load_explicit(&l->out->starved, memory_order_relaxed) != (uint32_t)want)
        atomic_store(&l->out->starved, (uint32_t)want);
}

/* ---- consumer ---- */

void
lane__quarantine(lane *l, int *rc)
{
    *rc = l->bad ? E_OK : E_BAD;
    l->bad = true;
}

/* Looks at the producer's tail anew.  False: it lies. */
bool
lane__reload_tail(lane *l)
{
    /* seq_cst costs nothing on a load here, and makes a look after waking see what was published
     * before. */
    uint64_t tail = atomic_load(&l->out->tail);

    if (tail < l->tail_seen || tail - l->head > l->capacity || (tail & (LANE_STEP - 1)) != 0)
        return false;
    l->tail_seen = tail;
    note_most(l, tail - l->head);
    return true;
}

void
lane_rewind(lane *l, uint64_t pos)
{
    ASSERT(pos >= l->head && pos <= l->read);
    l->read = pos;
}

bool
lane_ack(lane *l, uint64_t pos)
{
    ASSERT(l->consumes && pos <= l->read);
    if (pos > l->head) {
        l->head = pos;
        /* seq_cst for the look at `starved` behind it; a producer that saw no room said so before
         * its last look. */
        atomic_store(&l->in->head, pos);
    }
    return atomic_load(&l->out->starved) != 0;
}

uint64_t
lane_read_pos(const lane *l)
{
    return l->read;
}

uint64_t
lane_seen_before(const lane *l)
{
    return l->seen_before;
}

/* ---- both, and watchers ---- */

uint64_t
lane_head(const lane *l)
{
    return atomic_load(&l->in->head);
}

uint64_t
lane_tail(const lane *l)
{
    return atomic_load(&l->out->tail);
}

uint64_t
lane_most(const lane *l)
{
    return atomic_load_explicit(&l->in->most, memory_order_relaxed);
}

/* ---- watchers ---- */

enum { LOOKS_MAX = 16 };

/* Both words of one moment: head is the same before and after tail was read. */
bool
lane_span(const lane *l, uint64_t *head, uint64_t *tail)
{
    bool whole = false;

    for (int i = 0; i < LOOKS_MAX && !whole; i++) {
        *head = lane_head(l);
        *tail = lane_tail(l);
        whole = lane_head(l) == *head;
    }
    if (!whole && *tail > *head) /* so busy that tail ran ahead of that head */
        *tail = min_u64(*tail, *head + l->capacity);
    return *tail >= *head && *tail - *head <= l->capacity && ((*head | *tail) & (LANE_STEP - 1)) == 0;
}

int
lane_depth(const char *path, uint64_t *bytes, uint64_t *most)
{
    lane_constant c;
    uint64_t      len;
    uint64_t      head;
    uint64_t      tail;
    int           fd;
    int           rc = pages_open(path, false, &fd, &len);

    if (rc < 0)
        return rc;
    rc = read_constant(fd, len, &c);
    if (rc == E_OK && (pread(fd, &head, sizeof head, 2 * LANE_PAGE) != (ssize_t)sizeof head ||
                       pread(fd, &tail, sizeof tail, LANE_PAGE) != (ssize_t)sizeof tail ||
                       pread(fd, most, sizeof *most, 2 * LANE_PAGE + offsetof(lane_consumer_page, most)) !=
                           (ssize_t)sizeof *most))
        rc = err(E_IO, "read");
    (void)close(fd);
    if (rc < 0)
        return err(rc, "lane %s", path);
    *bytes = tail > head ? min_u64(tail - head, c.capacity) : 0;
    *most = min_u64(max_u64(*most, *bytes), c.capacity);
    return E_OK;
}

/* Is what was copied from pos still that record?  What waits is.  What was acknowledged is, as long as the
 * producer, who may have staged more than it published, has half of the lane to go. */
static bool
is_kept(const lane *l, uint64_t pos)
{
    uint64_t head = lane_head(l);
    uint64_t tail = lane_tail(l);

    return pos >= head || (tail >= pos && tail - pos <= l->capacity / 2);
}

int
lane_look(const lane *l, uint64_t pos, envelope *e, uint64_t *pos_end)
{
    uint64_t tail = lane_tail(l);
    uint64_t need;

    if (pos == tail)
        return 0;
    if (pos > tail || ((pos | tail) & (LANE_STEP - 1)) != 0)
        return E_BAD;
    if (tail - pos > l->capacity)
        return E_GONE;
    memcpy(e, l->data + (pos & l->mask), sizeof *e);
    if (!is_kept(l, pos))
        return E_GONE;
    need = envelope_record_len(e->len);
    if (need > tail - pos)
        return E_BAD;
    *pos_end = pos + need;
    return 1;
}

/* ---- the wire ---- */

view
lane_bytes(const lane *l, uint64_t from, uint64_t until)
{
    ASSERT(from <= until && until - from <= l->capacity);
    return view_of(l->data + (from & l->mask), until - from);
}

/* Nothing but whole records from here on. */
static bool
are_records(view bytes)
{
    envelope e;
    size_t   at = 0;

    while (at < bytes.len) {
        if (bytes.len - at < sizeof e)
            return false;
        memcpy(&e, bytes.at + at, sizeof e);
        if (envelope_record_len(e.len) > bytes.len - at)
            return false;
        at += envelope_record_len(e.len);
    }
    return true;
}

int
lane_receive(lane *l, uint64_t at, view bytes)
{
    ASSERT(l->produces && l->consumes);
    if (at != l->tail || !are_records(bytes))
        return err(E_BAD, "records at %llu, not %llu", (unsigned long long)at,
                   (unsigned long long)l->tail);
    lane__reload_head(l);
    if (bytes.len > l->capacity - (l->tail - l->head_seen))
        return E_FULL;
    memcpy(l->data + (l->tail & l->mask), bytes.at, bytes.len);
    l->staged = l->tail + bytes.len;
    (void)lane_publish(l);
    return E_OK;
}
