/* dead.c - see dead.h. */
#include "storage/dead.h"

#include "proto/err.h"
#include "proto/hash.h"
#include "storage/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEAD_ABI = 1, ENTRIES_STEP = 64 };
static const char suffix[] = ".letter";
static const char magic[8] = "LTLETTER";

typedef struct letter_head {
    char     magic[8];
    uint32_t crc; /* of everything behind it */
    uint32_t abi;
    int32_t  signal;
    uint32_t attempts;
    addr     actor;
    uint64_t pos;
    int64_t  wall_us;
    uint64_t spare[2];
    uuid     generation;
    char     build[DEAD_BUILD_MAX];
    char     reason[DEAD_REASON_MAX];
    envelope env;
} letter_head;

enum { HEAD_LEN = 320, CRC_FROM = 12 };
_Static_assert(sizeof(letter_head) == HEAD_LEN && offsetof(letter_head, abi) == CRC_FROM, "layout");

/* ---- bytes ---- */

int
dead_parse(view file, dead_letter *out)
{
    letter_head h;

    if (file.len < HEAD_LEN || file.len > HEAD_LEN + DEAD_BODY_MAX)
        return err(E_BAD, "%zu bytes are no dead letter", file.len);
    memcpy(&h, file.at, sizeof h);
    if (memcmp(h.magic, magic, sizeof magic) != 0)
        return err(E_BAD, "no dead letter");
    if (h.abi != DEAD_ABI)
        return err(E_NEWER, "dead letter of format %u", h.abi);
    if (h.crc != crc32c(0, file.at + CRC_FROM, file.len - CRC_FROM))
        return err(E_BAD, "damaged dead letter");
    if (h.env.len != file.len - HEAD_LEN)
        return err(E_BAD, "dead letter of %u bytes in a file of %zu", h.env.len, file.len);
    *out = (dead_letter){ .env = h.env,
                          .body = view_of(file.at + HEAD_LEN, file.len - HEAD_LEN),
                          .actor = h.actor,
                          .pos = h.pos,
                          .generation = h.generation,
                          .wall_us = h.wall_us,
                          .signal = h.signal,
                          .attempts = h.attempts };
    memcpy(out->build, h.build, sizeof out->build - 1);
    memcpy(out->reason, h.reason, sizeof out->reason - 1);
    return E_OK;
}

/* malloc'ed. */
static uint8_t *
encode(const dead_letter *l, size_t *len)
{
    letter_head h = { .abi = DEAD_ABI,
                      .signal = l->signal,
                      .attempts = l->attempts,
                      .actor = l->actor,
                      .pos = l->pos,
                      .wall_us = l->wall_us,
                      .generation = l->generation,
                      .env = l->env };
    uint8_t    *file;

    ASSERT(l->body.len <= DEAD_BODY_MAX && l->env.len == l->body.len);
    *len = HEAD_LEN + l->body.len;
    if ((file = malloc(*len)) == NULL)
        return NULL;
    memcpy(h.magic, magic, sizeof magic);
    (void)snprintf(h.build, sizeof h.build, "%s", l->build);
    (void)snprintf(h.reason, sizeof h.reason, "%s", l->reason);
    memcpy(file, &h, sizeof h);
    if (l->body.len > 0)
        memcpy(file + HEAD_LEN, l->body.at, l->body.len);
    h.crc = crc32c(0, file + CRC_FROM, *len - CRC_FROM);
    memcpy(file, &h, sizeof h);
    return file;
}

/* ---- names ---- */

void
dead_id(const dead_letter *l, char id[DEAD_ID_MAX])
{
    (void)snprintf(id, DEAD_ID_MAX, "%s.%u-%s.%u-%" PRIu64 "-%02x%02x%02x%02x",
                   kind_name(addr_kind(l->actor)), addr_part(l->actor),
                   kind_name(addr_kind(l->env.from)), addr_part(l->env.from), l->pos,
                   l->generation.b[0], l->generation.b[1], l->generation.b[2],
                   l->generation.b[3]);
}

bool
dead_is_id(const char *id)
{
    size_t len = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789.-?");

    return len > 0 && len < DEAD_ID_MAX && id[len] == '\0' && id[0] != '.';
}

static int
path_of(char out[FS_PATH_MAX], const char *data_dir, const char *id)
{
    if (!dead_is_id(id))
        return err(E_NOTFOUND, "\"%.96s\" is no dead letter", id);
    return fs_path(out, "%s/dead/%s%s", data_dir, id, suffix);
}

/* ---- the directory ---- */

static bool
take_entry(int dir, const char *name, dead_entry *out)
{
    size_t      len = strlen(name);
    struct stat st;

    if (len <= sizeof suffix - 1 || len - (sizeof suffix - 1) >= DEAD_ID_MAX ||
        strcmp(name + len - (sizeof suffix - 1), suffix) != 0)
        return false;
    memset(out, 0, sizeof *out);
    memcpy(out->id, name, len - (sizeof suffix - 1));
    if (!dead_is_id(out->id) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode))
        return false;
    out->bytes = (uint64_t)st.st_size;
    out->wall_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
    return true;
}

static int
by_age(const void *a, const void *b)
{
    const dead_entry *x = a;
    const dead_entry *y = b;

    if (x->wall_us != y->wall_us)
        return x->wall_us < y->wall_us ? -1 : 1;
    return strcmp(x->id, y->id);
}

static int
read_entries(DIR *d, dead_entry **out, size_t *count)
{
    struct dirent *e;
    size_t         room = 0;

    while ((e = readdir(d)) != NULL) {
        if (*count == room) {
            dead_entry *more = realloc(*out, (room += ENTRIES_STEP) * sizeof *more);

            if (more == NULL)
                return err(E_NOMEM, "dead letters");
            *out = more;
        }
        *count += take_entry(dirfd(d), e->d_name, &(*out)[*count]);
    }
    return E_OK;
}

int
dead_list(const char *data_dir, dead_entry **out, size_t *count)
{
    char path[FS_PATH_MAX];
    DIR *d;
    int  rc = fs_path(path, "%s/dead", data_dir);

    *out = NULL;
    *count = 0;
    if (rc < 0)
        return rc;
    if ((d = opendir(path)) == NULL)
        return errno == ENOENT ? E_OK : err_errno(errno, "read %s", path);
    rc = read_entries(d, out, count);
    (void)closedir(d);
    if (rc < 0) {
        free(*out);
        *out = NULL;
        *count = 0;
        return rc;
    }
    if (*count > 0)
        qsort(*out, *count, sizeof **out, by_age);
    return E_OK;
}

/* Room for one more of that many bytes. */
static int
make_room(const char *data_dir, uint64_t bytes, uint32_t *dropped)
{
    dead_entry *e;
    size_t      count;
    uint64_t    sum = bytes;
    int         rc = dead_list(data_dir, &e, &count);

    for (size_t i = 0; i < count; i++)
        sum += e[i].bytes;
    for (size_t i = 0; rc == E_OK && i < count; i++) {
        if (count - i < DEAD_LETTERS_MAX && sum <= DEAD_BYTES_MAX)
            break;
        sum -= e[i].bytes;
        if ((rc = dead_drop(data_dir, e[i].id)) == E_OK)
            (*dropped)++;
        else if (rc == E_NOTFOUND) { /* somebody else did */
            err_clear();
            rc = E_OK;
        }
    }
    free(e);
    return rc;
}

int
dead_write(const char *data_dir, const dead_letter *l, char id[DEAD_ID_MAX], uint32_t *dropped)
{
    char     dir[FS_PATH_MAX];
    char     path[FS_PATH_MAX];
    size_t   len;
    uint8_t *file = encode(l, &len);
    int      rc = file == NULL ? err(E_NOMEM, "dead letter") : E_OK;

    *dropped = 0;
    dead_id(l, id);
    if (rc == E_OK)
        rc = fs_path(dir, "%s/dead", data_dir);
    if (rc == E_OK)
        rc = fs_make_dir(dir);
    if (rc == E_OK)
        rc = make_room(data_dir, len, dropped);
    if (rc == E_OK)
        rc = path_of(path, data_dir, id);
    if (rc == E_OK)
        rc = fs_write_file(path, view_of(file, len));
    free(file);
    return rc;
}

/* ---- one ---- */

static int
slurp(int fd, const char *path, uint8_t **file, size_t *len)
{
    struct stat st;
    size_t      got = 0;
    ssize_t     n = 1;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < HEAD_LEN ||
        st.st_size > HEAD_LEN + DEAD_BODY_MAX)
        return err(E_BAD, "%s is no dead letter", path);
    *len = (size_t)st.st_size;
    if ((*file = malloc(*len)) == NULL)
        return err(E_NOMEM, "dead letter");
    while (got < *len && (n = read(fd, *file + got, *len - got)) > 0)
        got += (size_t)n;
    return n > 0 ? E_OK : err(E_BAD, "%s is cut", path);
}

int
dead_read(const char *data_dir, const char *id, dead_letter *out, uint8_t **file)
{
    char   path[FS_PATH_MAX];
    size_t len = 0;
    int    rc = path_of(path, data_dir, id);
    int    fd;

    *file = NULL;
    if (rc < 0)
        return rc;
    if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        return err_errno(errno, "dead letter %s", id);
    rc = slurp(fd, path, file, &len);
    (void)close(fd);
    if (rc == E_OK)
        rc = dead_parse(view_of(*file, len), out);
    if (rc < 0) {
        free(*file);
        *file = NULL;
        return err(rc, "dead letter %s", id);
    }
    return E_OK;
}

int
dead_drop(const char *data_dir, const char *id)
{
    char path[FS_PATH_MAX];
    char dir[FS_PATH_MAX];
    int  rc = path_of(path, data_dir, id);

    if (rc < 0)
        return rc;
    if (unlink(path) < 0)
        return err_errno(errno, "drop dead letter %s", id);
    rc = fs_path(dir, "%s/dead", data_dir);
    return rc < 0 ? rc : fs_sync_dir(dir);
}
