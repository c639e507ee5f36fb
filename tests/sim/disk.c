/* disk.c - the files of the node, in memory, with everything a disk may do to them.
 *
 *   pwrite (O_DSYNC)      in flight for its latency, then durable; a power cut meanwhile leaves some of its sectors
 *   pwrite, write         seen at once, durable with the next sync of the file; a power cut undoes some of the sectors
 *   create, rename, ...   durable with the next sync of the directory; a power cut undoes the last ones
 *   any                   may fail, whole or half done; after a failed sync the data is never durable by a later one
 *
 * It reads along: every block that is written to a journal is taken apart, and its readings noted by their values,
 * which the clients make unique: value = number of the reading, plus 2^40 for a high one.
 */
#include "tests/sim/sim.h"

#include "proto/hash.h"
#include "proto/rows.h"
#include "storage/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FILES_MAX = 1024,
    FDS_MAX = 256,
    FD_FIRST = 100000,
    OPS_MAX = 4096,
    FLYING_MAX = 32,
    SECTOR = 512,
    PATH_MAX_HERE = 192,
    PARTS_MAX = 8,
    FRONTS_MAX = 8,
};

#define ID_MASK ((UINT64_C(1) << 40) - 1)

enum sector_state { CLEAN, DIRTY, ORPHAN /* a sync has failed: no later one makes it durable */ };

typedef struct file {
    char     path[PATH_MAX_HERE]; /* empty: unlinked */
    uint8_t *data;   /* as it is read */
    uint8_t *kept;   /* as a power cut leaves it, if it leaves nothing else */
    uint8_t *sector; /* enum sector_state */
    uint64_t len, room, inode;
    uint64_t dirty_from, dirty_to; /* sectors that may be other than CLEAN */
    int      part;  /* of a journal segment; else -1 */
    bool     is_dir, is_free;
} file;

typedef struct name_op { /* a change of names that is not durable */
    file *f, *gone; /* gone: what a rename replaced */
    char  before[PATH_MAX_HERE];
} name_op;

typedef struct open_file {
    file    *f;
    uint64_t at;
    int      flags;
} open_file;

typedef struct flight {
    file          *f;
    const uint8_t *from;
    uint64_t       at, len;
    task          *t;
} flight;

/* Of one sequence number of one partition's journal. */
typedef struct block {
    uint64_t *values; /* of its readings */
    uint32_t  count;
    uint64_t  segment, at;
    uint32_t  len;
    file     *f;
    bool      durable, there;
} block;

typedef struct place {
    uint32_t sequence;
    uint16_t part;
    bool     there;
} place;

static struct {
    file      file[FILES_MAX];
    uint32_t  files;
    uint64_t  inodes;
    open_file fd[FDS_MAX];
    name_op   op[OPS_MAX];
    uint32_t  ops;
    flight    flying[FLYING_MAX];
    bool      direct;
    disk_rates rates;
    block    *blocks[PARTS_MAX]; /* by sequence */
    uint32_t  block_room[PARTS_MAX], block_count[PARTS_MAX];
    place    *places[FRONTS_MAX]; /* by the low half of the id */
    uint32_t  place_room[FRONTS_MAX];
} disk;

/* ---- the journal, read along ---- */

static place *
place_of(uint64_t id)
{
    uint32_t front = (uint32_t)(id >> 32) & 0xff;
    uint32_t n = (uint32_t)id;

    ASSERT(front < FRONTS_MAX);
    if (n >= disk.place_room[front]) {
        uint32_t room = (uint32_t)max_u64(2 * (uint64_t)n, 65536);

        disk.places[front] = realloc(disk.places[front], room * sizeof(place));
        ASSERT(disk.places[front] != NULL);
        memset(disk.places[front] + disk.place_room[front], 0,
               (room - disk.place_room[front]) * sizeof(place));
        disk.place_room[front] = room;
    }
    return &disk.places[front][n];
}

static block *
block_of(int part, uint64_t sequence)
{
    if (sequence >= disk.block_room[part]) {
        uint32_t room = (uint32_t)max_u64(2 * sequence, 8192);

        disk.blocks[part] = realloc(disk.blocks[part], room * sizeof(block));
        ASSERT(disk.blocks[part] != NULL);
        memset(disk.blocks[part] + disk.block_room[part], 0,
               (room - disk.block_room[part]) * sizeof(block));
        disk.block_room[part] = room;
    }
    disk.block_count[part] = (uint32_t)max_u64(disk.block_count[part], sequence + 1);
    return &disk.blocks[part][sequence];
}

static void
forget_block(block *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        place_of(b->values[i] & ID_MASK)->there = false;
    free(b->values);
    *b = (block){ 0 };
}

static void
note_id(int part, uint64_t sequence, block *b, double value)
{
    uint64_t id = (uint64_t)value & ID_MASK;
    place   *p = place_of(id);

    if (p->there && (p->sequence != sequence || p->part != part))
        sim_fail(ORACLE_ONCE, "reading %llx is in block %u of part %u and in block %llu of part %d",
                 (unsigned long long)id, p->sequence, p->part, (unsigned long long)sequence, part);
    *p = (place){ (uint32_t)sequence, (uint16_t)part, true };
    b->values[b->count++] = (uint64_t)value;
    sim_say("  reading %llx", (unsigned long long)id);
}

/* Its items: {kind, count}, then rows, or `count` bytes of a definition (storage/part_item.h). */
static void
note_payload(int part, uint64_t sequence, block *b, view rest, uint32_t rows)
{
    b->values = malloc((rows + 1) * sizeof *b->values);
    ASSERT(b->values != NULL);
    while (rest.len >= 8) {
        uint32_t kind = load_u32(rest.at), count = load_u32(rest.at + 4);
        uint64_t len = kind == 1 ? count * sizeof(reading_row) : round_up(count, 8);

        for (uint32_t i = 0; kind == 1 && i < count; i++) {
            reading_row r;

            memcpy(&r, rest.at + 8 + i * sizeof r, sizeof r);
            note_id(part, sequence, b, r.value);
        }
        rest = view_of(rest.at + 8 + len, rest.len - 8 - len);
    }
    sim_saw(ORACLE_ONCE, b->count);
}

static bool
read_head(const file *f, uint64_t at, uint64_t len, block_head *h)
{
    uint32_t crc;
    bool     good;

    if (f->part < 0 || len < sizeof *h || at + len > f->len)
        return false;
    memcpy(h, f->data + at, sizeof *h);
    if (h->magic != JOURNAL_MAGIC || h->length > len)
        return false;
    crc = h->crc;
    memset(f->data + at + offsetof(block_head, crc), 0, sizeof crc);
    good = crc32c(0, f->data + at, h->length) == crc;
    memcpy(f->data + at + offsetof(block_head, crc), &crc, sizeof crc);
    return good;
}

static void
note_block(file *f, uint64_t at, uint64_t len, bool durable)
{
    block_head h;
    block     *b;

    if (!read_head(f, at, len, &h))
        return;
    b = block_of(f->part, h.sequence);
    if (b->there)
        forget_block(b); /* the same block on another segment, or another block in its place */
    *b = (block){ .segment = h.segment, .at = at, .len = (uint32_t)len, .f = f, .durable = durable,
                  .there = true };
    sim_say("block %llu of part %d in segment %llu at %llu, %u rows, durable %d",
            (unsigned long long)h.sequence, f->part, (unsigned long long)h.segment,
            (unsigned long long)at, h.rows, durable);
    note_payload(f->part, h.sequence, b,
                 view_of(f->data + at + sizeof h,
                         h.length - sizeof h - h.marks * sizeof(journal_mark)),
                 h.rows);
}

/* After a power cut: which of those that were not durable are still there? */
static void
blocks_after_cut(void)
{
    for (int part = 0; part < PARTS_MAX; part++)
        for (uint32_t i = 0; i < disk.block_count[part]; i++) {
            block     *b = &disk.blocks[part][i];
            block_head h;

            if (!b->there || b->durable)
                continue;
            if (read_head(b->f, b->at, b->len, &h) && h.sequence == i)
                b->durable = true;
            else
                forget_block(b);
        }
}

bool
disk_holds(uint64_t id, bool *durable)
{
    const place *p = place_of(id);

    if (p->there)
        *durable = disk.blocks[p->part][p->sequence].durable;
    return p->there;
}

/* Blocks whose sync failed, and for which there was no room again: refused, and yet a later life may have read them. */
uint32_t
disk_doubtful(void)
{
    uint32_t n = 0;

    for (int part = 0; part < PARTS_MAX; part++)
        for (uint32_t i = 0; i < disk.block_count[part]; i++)
            n += disk.blocks[part][i].count > 0 && !disk.blocks[part][i].durable;
    return n;
}

void
disk_walk(void (*fn)(void *ctx, uint64_t value), void *ctx)
{
    for (int part = 0; part < PARTS_MAX; part++)
        for (uint32_t i = 0; i < disk.block_count[part]; i++)
            for (uint32_t j = 0; j < disk.blocks[part][i].count; j++)
                fn(ctx, disk.blocks[part][i].values[j]);
}

void
disk_judge(void)
{
    for (int part = 0; part < PARTS_MAX; part++) {
        uint64_t last[FRONTS_MAX] = { 0 };

        for (uint32_t i = 0; i < disk.block_count[part]; i++)
            for (uint32_t j = 0; j < disk.blocks[part][i].count; j++) {
                uint64_t  id = disk.blocks[part][i].values[j] & ID_MASK;
                uint64_t *before = &last[id >> 32 & 0xff];

                if (id <= *before)
                    sim_fail(ORACLE_ORDER, "part %d: reading %llx behind %llx of the same lane",
                             part, (unsigned long long)id, (unsigned long long)*before);
                *before = id;
                sim_saw(ORACLE_ORDER, 1);
            }
    }
}

/* ---- bytes ---- */

/* Fresh zeros cost nothing until they are touched. */
static void *
grown(void *at, uint64_t old, uint64_t room)
{
    uint8_t *more = calloc(1, room);

    ASSERT(more != NULL);
    if (old > 0)
        memcpy(more, at, old);
    free(at);
    return more;
}

static void
make_room(file *f, uint64_t len)
{
    if (len > f->room) {
        uint64_t room = max_u64(round_up(len, 4096), f->part >= 0 ? 1 << 20 : f->room * 2);

        f->data = grown(f->data, f->room, room);
        f->kept = grown(f->kept, f->room, room);
        f->sector = grown(f->sector, f->room / SECTOR, room / SECTOR);
        f->room = room;
    }
    f->len = max_u64(f->len, len);
}

static void
mark(file *f, uint64_t at, uint64_t len, enum sector_state state)
{
    uint64_t from = at / SECTOR, to = (at + len + SECTOR - 1) / SECTOR;

    memset(f->sector + from, state, to - from);
    if (state == CLEAN)
        return;
    f->dirty_from = f->dirty_to == 0 ? from : min_u64(f->dirty_from, from);
    f->dirty_to = max_u64(f->dirty_to, to);
}

static void
put_unsynced(file *f, const void *from, uint64_t len, uint64_t at)
{
    make_room(f, at + len);
    memcpy(f->data + at, from, len);
    mark(f, at, len, DIRTY);
    note_block(f, at, len, false);
}

static void
put_durable(file *f, const void *from, uint64_t len, uint64_t at)
{
    make_room(f, at + len);
    memcpy(f->data + at, from, len);
    memcpy(f->kept + at, from, len);
    mark(f, at, len, CLEAN);
    note_block(f, at, len, true);
}

/* Some of its sectors, durably or not. */
static void
put_torn(file *f, const uint8_t *from, uint64_t len, uint64_t at)
{
    make_room(f, at + len);
    for (uint64_t done = 0; done < len; done += SECTOR) {
        if (sim_one_in(2))
            continue;
        memcpy(f->data + at + done, from + done, min_u64(SECTOR, len - done));
        mark(f, at + done, SECTOR, DIRTY);
    }
    note_block(f, at, len, false);
}

static bool
is_clean(const file *f, uint64_t at, uint64_t len)
{
    for (uint64_t i = at / SECTOR; i < (at + len + SECTOR - 1) / SECTOR; i++)
        if (f->sector[i] != CLEAN)
            return false;
    return true;
}

static void
blocks_synced(const file *f)
{
    for (uint32_t i = 0; f->part >= 0 && i < disk.block_count[f->part]; i++) {
        block *b = &disk.blocks[f->part][i];

        if (b->there && !b->durable && b->f == f)
            b->durable = is_clean(f, b->at, b->len);
    }
}

static void
sync_done(file *f)
{
    bool orphans = false;

    for (uint64_t i = f->dirty_from; i < f->dirty_to; i++) {
        orphans = orphans || f->sector[i] == ORPHAN;
        if (f->sector[i] != DIRTY)
            continue;
        memcpy(f->kept + i * SECTOR, f->data + i * SECTOR, SECTOR);
        f->sector[i] = CLEAN;
    }
    if (!orphans)
        f->dirty_from = f->dirty_to = 0;
    blocks_synced(f);
}

static void
sync_failed(file *f)
{
    for (uint64_t i = f->dirty_from; i < f->dirty_to; i++)
        if (f->sector[i] == DIRTY)
            f->sector[i] = ORPHAN;
}

/* Every sector of its own accord. */
static void
lose_some(file *f)
{
    uint64_t lost = 0;

    for (uint64_t i = f->dirty_from; i < f->dirty_to; i++) {
        bool gone = sim_one_in(2);

        if (f->sector[i] == CLEAN)
            continue;
        lost += gone;
        memcpy((gone ? f->data : f->kept) + i * SECTOR, (gone ? f->kept : f->data) + i * SECTOR, SECTOR);
        f->sector[i] = CLEAN;
    }
    if (lost > 0)
        sim_fault(FAULT_LOST);
    f->dirty_from = f->dirty_to = 0;
}

/* ---- names ---- */

static file *
find(const char *path)
{
    for (uint32_t i = 0; i < disk.files; i++)
        if (strcmp(disk.file[i].path, path) == 0)
            return &disk.file[i];
    return NULL;
}

static name_op *
note_op(file *f, const char *before)
{
    name_op *o = &disk.op[disk.ops++];

    ASSERT(disk.ops < OPS_MAX);
    *o = (name_op){ .f = f };
    snprintf(o->before, sizeof o->before, "%s", before);
    return o;
}

static file *
free_file(void)
{
    for (uint32_t i = 0; i < disk.files; i++)
        if (disk.file[i].is_free)
            return &disk.file[i];
    return &disk.file[disk.files++];
}

static file *
make(const char *path, bool is_dir)
{
    const char *part = strstr(path, "/part.");
    size_t      len = strlen(path);
    file       *f = free_file();

    ASSERT(disk.files < FILES_MAX && len < PATH_MAX_HERE);
    *f = (file){ .inode = ++disk.inodes, .part = -1, .is_dir = is_dir };
    snprintf(f->path, sizeof f->path, "%s", path);
    if (part != NULL && len > 4 && strcmp(path + len - 4, ".seg") == 0)
        f->part = atoi(part + 6);
    (void)note_op(f, "");
    return f;
}

static bool
is_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
}

static bool
is_open(const file *f)
{
    for (uint32_t i = 0; i < FDS_MAX; i++)
        if (disk.fd[i].f == f)
            return true;
    return false;
}

/* Unlinked for good. */
static void
give_back(file *f)
{
    if (f->path[0] != '\0' || f->is_free || is_open(f))
        return;
    free(f->data);
    free(f->kept);
    free(f->sector);
    *f = (file){ .is_free = true, .part = -1 };
}

static void
names_synced(const char *dir)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < disk.ops; i++)
        if (!is_in(disk.op[i].f->path, dir) && !is_in(disk.op[i].before, dir))
            disk.op[kept++] = disk.op[i];
    disk.ops = kept;
    for (uint32_t i = 0; i < disk.files && kept == 0; i++)
        give_back(&disk.file[i]);
}

static void
undo_names(void)
{
    uint64_t keep = sim_below(disk.ops + 1);

    while (disk.ops > keep) {
        name_op *o = &disk.op[--disk.ops];

        if (o->gone != NULL)
            memcpy(o->gone->path, o->f->path, sizeof o->gone->path);
        memcpy(o->f->path, o->before, sizeof o->f->path);
    }
    disk.ops = 0;
}

/* ---- the calls ---- */

static open_file *
of(int fd)
{
    ASSERT(fd >= FD_FIRST && fd < FD_FIRST + FDS_MAX && disk.fd[fd - FD_FIRST].f != NULL);
    return &disk.fd[fd - FD_FIRST];
}

static int
fail(int code)
{
    errno = code;
    return -1;
}

static int
sim_open_file(const char *path, int flags)
{
    file *f = find(path);
    int   fd = 0;

    if ((flags & O_DIRECT) != 0 && !disk.direct)
        return fail(EINVAL);
    if (f == NULL && (flags & O_DIRECTORY) != 0)
        f = make(path, true);
    if (f == NULL && (flags & O_CREAT) == 0)
        return fail(ENOENT);
    if (f != NULL && (flags & O_EXCL) != 0)
        return fail(EEXIST);
    if (f == NULL)
        f = make(path, false);
    if ((flags & O_TRUNC) != 0)
        f->len = 0;
    while (fd < FDS_MAX && disk.fd[fd].f != NULL)
        fd++;
    ASSERT(fd < FDS_MAX);
    disk.fd[fd] = (open_file){ .f = f, .flags = flags };
    return FD_FIRST + fd;
}

static int
sim_close_file(int fd)
{
    *of(fd) = (open_file){ 0 };
    return 0;
}

static ssize_t
sim_pread(int fd, void *out, size_t len, off_t at)
{
    const file *f = of(fd)->f;
    uint64_t    n = (uint64_t)at < f->len ? min_u64(len, f->len - (uint64_t)at) : 0;

    if (n > 0)
        memcpy(out, f->data + at, n);
    return (ssize_t)n;
}

static ssize_t
sim_read(int fd, void *out, size_t len)
{
    open_file *o = of(fd);
    ssize_t    n = sim_pread(fd, out, len, (off_t)o->at);

    o->at += (uint64_t)n;
    return n;
}

static ssize_t
sim_write(int fd, const void *in, size_t len)
{
    open_file *o = of(fd);

    put_unsynced(o->f, in, len, o->at);
    o->at += len;
    return (ssize_t)len;
}

static uint64_t
latency(void)
{
    return 15 * US + sim_below(sim_one_in(50) ? 3 * MS : 120 * US);
}

static ssize_t
write_durably(file *f, const void *in, size_t len, uint64_t at)
{
    flight *w = disk.flying;

    while (w->f != NULL)
        w++;
    ASSERT(w < disk.flying + FLYING_MAX);
    *w = (flight){ f, in, at, len, task_running() };
    task_sleep(latency());
    put_durable(f, in, len, at);
    w->f = NULL;
    if (f->part >= 0)
        faults_committed(task_who(task_running()));
    return (ssize_t)len;
}

static ssize_t
sim_pwrite(int fd, const void *in, size_t len, off_t at)
{
    file    *f = of(fd)->f;
    int      flags = of(fd)->flags;
    uint64_t dice = sim_below(1000000);

    world_pause();
    if (f->part >= 0 && dice < disk.rates.fail) {
        sim_fault(FAULT_WRITE);
        return fail(sim_one_in(3) ? ENOSPC : EIO);
    }
    if (f->part >= 0 && dice < disk.rates.fail + disk.rates.torn) {
        sim_fault(FAULT_TORN);
        put_torn(f, in, len, (uint64_t)at);
        return fail(EIO);
    }
    if ((flags & O_DSYNC) != 0)
        return write_durably(f, in, len, (uint64_t)at);
    put_unsynced(f, in, len, (uint64_t)at);
    return (ssize_t)len;
}

static int
sim_datasync(int fd)
{
    file *f = of(fd)->f;

    if (f->part >= 0 && task_running() != NULL) {
        task_sleep(latency());
        if (sim_below(1000000) < disk.rates.sync) {
            sim_fault(FAULT_SYNC);
            sync_failed(f);
            return fail(EIO);
        }
    }
    sync_done(f);
    if (f->part >= 0 && task_running() != NULL)
        faults_committed(task_who(task_running()));
    return 0;
}

static int
sim_sync(int fd)
{
    if (of(fd)->f->is_dir)
        names_synced(of(fd)->f->path);
    else
        return sim_datasync(fd);
    return 0;
}

static void
about(const file *f, world_file *out)
{
    *out = (world_file){ 1, f->inode, f->len };
}

static int
sim_about(int fd, world_file *out)
{
    about(of(fd)->f, out);
    return 0;
}

static int
sim_look(const char *path, world_file *out)
{
    const file *f = find(path);

    if (f == NULL)
        return fail(ENOENT);
    about(f, out);
    return 0;
}

static int
sim_rename(const char *from, const char *to)
{
    file    *f = find(from), *old = find(to);
    name_op *o;

    if (f == NULL)
        return fail(ENOENT);
    o = note_op(f, from);
    if (old != NULL && old != f) {
        o->gone = old;
        old->path[0] = '\0';
    }
    snprintf(f->path, sizeof f->path, "%s", to);
    return 0;
}

static int
sim_unlink(const char *path)
{
    file *f = find(path);

    if (f == NULL)
        return fail(ENOENT);
    (void)note_op(f, path);
    f->path[0] = '\0';
    return 0;
}

static int
sim_make_dir(const char *path)
{
    if (find(path) != NULL)
        return fail(EEXIST);
    (void)make(path, true);
    return 0;
}

static int
sim_list(const char *path, world_name_fn *fn, void *ctx)
{
    if (find(path) == NULL)
        return fail(ENOENT);
    for (uint32_t i = 0; i < disk.files; i++)
        if (is_in(disk.file[i].path, path))
            fn(ctx, disk.file[i].path + strlen(path) + 1);
    return 0;
}

static int
sim_space(const char *path, uint64_t *bytes)
{
    (void)path;
    *bytes = UINT64_C(1) << 33;
    return 0;
}

const world disk_calls = {
    .open = sim_open_file,
    .close = sim_close_file,
    .read = sim_read,
    .write = sim_write,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .sync = sim_sync,
    .datasync = sim_datasync,
    .about = sim_about,
    .look = sim_look,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .make_dir = sim_make_dir,
    .list = sim_list,
    .space = sim_space,
};

/* ---- life ---- */

void
disk_open(bool direct)
{
    disk.direct = direct;
}

void
disk_set(disk_rates r)
{
    disk.rates = r;
}

/* What a killed process had under way the kernel does to its end, with or without the flush of the disk's cache that
 * would have made it durable; or had not begun. */
void
disk_settle(void)
{
    for (flight *w = disk.flying; w < disk.flying + FLYING_MAX; w++) {
        if (w->f == NULL || !task_ended(w->t))
            continue;
        if (sim_one_in(3))
            put_durable(w->f, w->from, w->len, w->at);
        else if (sim_one_in(2))
            put_unsynced(w->f, w->from, w->len, w->at);
        w->f = NULL;
    }
}

void
disk_cut(void)
{
    for (flight *w = disk.flying; w < disk.flying + FLYING_MAX; w++) {
        if (w->f != NULL) {
            sim_fault(FAULT_LOST);
            put_torn(w->f, w->from, w->len, w->at);
        }
        w->f = NULL;
    }
    undo_names();
    for (uint32_t i = 0; i < disk.files; i++)
        lose_some(&disk.file[i]);
    blocks_after_cut();
    memset(disk.fd, 0, sizeof disk.fd);
}
