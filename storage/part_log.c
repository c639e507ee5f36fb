#include "storage/part_log.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/hash.h"
#include "proto/log.h"
#include "proto/world.h"
#include "storage/part_inner.h"

enum {
    BLOCK = 32768,
    HEAD = 7,
    BATCH_HEAD = 12,
    WHOLE = 1,
    FIRST = 2,
    LAST = 4,
    LOGS_MAX = 256,
};
#define LOG_LEN_MAX ((uint64_t)1 << 30)

/* Its length with its head; 0: unsound. */
static size_t
record_at(view log, size_t at)
{
    size_t   left = BLOCK - at % BLOCK;
    uint32_t len, crc, masked;

    if (left < HEAD || log.len - at < HEAD)
        return 0;
    len = log.at[at + 4] | (uint32_t)log.at[at + 5] << 8;
    if (HEAD + len > left || HEAD + len > log.len - at || log.at[at + 6] == 0)
        return 0;
    masked = load_u32(log.at + at) - 0xa282ead8u;
    crc = masked >> 17 | masked << 15;
    return crc32c(0, log.at + at + 6, len + 1) == crc ? HEAD + len : 0;
}

bool
part_log_judge(view log, uint64_t *next)
{
    bool broken = false;

    for (size_t at = 0; at + HEAD <= log.len;) {
        size_t  left = BLOCK - at % BLOCK;
        size_t  len = record_at(log, at);
        uint8_t type = log.at[at + 6];

        if (left < HEAD) { /* the rest of a block that is too short for a record */
            at += left;
            continue;
        }
        if (len == 0) {
            broken = true;
            at += left; /* as RocksDB does */
            continue;
        }
        if ((type == WHOLE || type == FIRST) && len >= HEAD + BATCH_HEAD) {
            uint64_t sequence = load_u64(log.at + at + HEAD);

            if (broken || (*next != 0 && sequence > *next))
                return false;
            *next = max_u64(*next, sequence + load_u32(log.at + at + HEAD + 8));
        }
        at += len;
    }
    return true;
}

static int
by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static uint32_t
list_logs(const char *dir, uint64_t numbers[LOGS_MAX])
{
    DIR           *d = opendir(dir);
    struct dirent *e;
    uint32_t       n = 0;

    while (d != NULL && (e = readdir(d)) != NULL && n < LOGS_MAX) {
        char *end;

        numbers[n] = strtoull(e->d_name, &end, 10);
        n += end != e->d_name && strcmp(end, ".log") == 0;
    }
    if (d != NULL)
        closedir(d);
    if (n > 1)
        qsort(numbers, n, sizeof *numbers, by_number);
    return n;
}

/* What cannot be read is not judged here: opening it will say so. */
static uint8_t *
read_log(const char *path, size_t *len)
{
    int         fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint8_t    *at = NULL;

    *len = 0;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && (uint64_t)st.st_size <= LOG_LEN_MAX && (at = malloc((size_t)st.st_size + 1)) != NULL)
        for (ssize_t n; *len < (size_t)st.st_size; *len += (size_t)n)
            if ((n = read(fd, at + *len, (size_t)st.st_size - *len)) <= 0)
                break;
    close(fd);
    return at;
}

bool
part_log_is_whole(const char *db_dir)
{
    uint64_t numbers[LOGS_MAX], next = 0;
    uint32_t count = list_logs(db_dir, numbers);
    bool     whole = true;

    for (uint32_t i = 0; i < count && whole; i++) {
        char     path[FS_PATH_MAX];
        size_t   len;
        uint8_t *at;

        if (fs_path(path, "%s/%06" PRIu64 ".log", db_dir, numbers[i]) < 0)
            return true;
        at = read_log(path, &len);
        if (at != NULL)
            whole = part_log_judge(view_of(at, len), &next);
        free(at);
    }
    return whole;
}

/* ---- what follows from it ---- */

int
part_log_doubt(part *p, uint64_t sure_lsn)
{
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    char                 *text = NULL;
    char                  path[FS_PATH_MAX];
    uint32_t              lowered = 0;
    int                   rc = E_OK;

    for (uint32_t i = 1; i <= series_count(p->map); i++) {
        series *s = series_at(p->map, i);

        if (s->sealed_lsn <= sure_lsn)
            continue;
        s->sealed_lsn = sure_lsn;
        part_put_latest(p, batch, i, sure_lsn);
        lowered++;
    }
    if (p->broken == E_OK && lowered > 0) {
        rocksdb_write(p->rocks->db, p->rocks->write_synced, batch, &text);
        rc = rocks_result(text, "note what is surely sealed");
    }
    rocksdb_writebatch_destroy(batch);
    log_warn("part.doubt", "dir=%s series=%u why=\"the log of RocksDB has holes, or was repaired: all of the journal is "
             "replayed\"", p->dir, lowered);
    if (rc == E_OK && p->broken == E_OK && fs_path(path, "%s/DOUBT", p->dir) == E_OK)
        the_world->unlink(path);
    return rc;
}

int
part_log_look(part *p)
{
    char       db[FS_PATH_MAX], mark[FS_PATH_MAX];
    world_file about;
    int        rc = fs_path(db, "%s/db", p->dir);

    if (rc == E_OK)
        rc = fs_path(mark, "%s/DOUBT", p->dir);
    if (rc < 0)
        return rc;
    p->in_doubt = the_world->look(mark, &about) == 0;
    if (p->in_doubt || part_log_is_whole(db))
        return E_OK;
    p->in_doubt = true;
    rc = fs_write_file(mark, VIEW_LIT("the log of RocksDB has holes\n"));
    if (rc == E_NOSPACE) { /* then RocksDB is not opened to write either */
        err_clear();
        rc = E_OK;
    }
    return rc;
}
