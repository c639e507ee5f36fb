/* secrets.c - DIR/secrets (secrets.h).
 *
 *   0         8              40             72             104            136            144          176
 *   +---------+--------------+--------------+--------------+--------------+--------------+------------+
 *   | magic 2 | jwt          | keys         | refresh      | also         | also until s | BLAKE2b    |
 *   +---------+--------------+--------------+--------------+--------------+--------------+------------+
 *
 *   magic 1: the same without `also` and its time
 *
 * Several processes may race at the first start: each writes a file of its own and link()s it; one
 * wins, all read the winner's.  A change is a new file that is renamed over the old one.
 */
#include "proto/secrets.h"

#include "proto/err.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4096, MAGIC_LEN = 8, V1_LEN = 96, V2_LEN = sizeof(secrets) };

static const uint8_t magics[2][MAGIC_LEN] = { "HLSECR1\n", "HLSECR2\n" };

typedef struct secrets_file {
    uint8_t magic[MAGIC_LEN];
    uint8_t rest[V2_LEN + DIGEST_LEN]; /* the members of that version, and the sum of what is before it */
} secrets_file;
_Static_assert(V2_LEN == 136 && sizeof(secrets_file) == 176, "layout of DIR/secrets");

static void
sum_of(const secrets_file *f, size_t members, uint8_t out[DIGEST_LEN])
{
    int rc = crypto_generichash(out, DIGEST_LEN, (const uint8_t *)f, MAGIC_LEN + members, NULL, 0);

    ASSERT(rc == 0);
}

static int
path_of(char out[PATH_ROOM], const char *dir)
{
    if (snprintf(out, PATH_ROOM, "%s/secrets", dir) >= PATH_ROOM)
        return err(E_RANGE, "path of the data directory");
    return E_OK;
}

/* ---- writing ---- */

static int
file_write(const char *path, const void *data, size_t len)
{
    int     fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t n;
    int     rc = E_OK;

    if (fd < 0)
        return err_errno(errno, "create %s", path);
    n = write(fd, data, len);
    if (n != (ssize_t)len)
        rc = err_errno(n < 0 ? errno : ENOSPC, "write %s", path);
    else if (fsync(fd) != 0)
        rc = err_errno(errno, "sync %s", path);
    close(fd);
    return rc;
}

static int
dir_sync(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = E_OK;

    if (fd < 0)
        return err_errno(errno, "open %s", dir);
    if (fsync(fd) != 0)
        rc = err_errno(errno, "sync %s", dir);
    close(fd);
    return rc;
}

/* A file beside `path` that holds *s; whoever puts it in its place unlinks it. */
static int
write_beside(const char *path, const secrets *s, char temp[PATH_ROOM + 64])
{
    secrets_file f;
    uint64_t     nonce;
    int          rc;

    crypto_random(&nonce, sizeof nonce);
    memcpy(f.magic, magics[1], sizeof f.magic);
    memcpy(f.rest, s, sizeof *s);
    sum_of(&f, V2_LEN, f.rest + V2_LEN);
    snprintf(temp, PATH_ROOM + 64, "%s.%d.%016llx", path, (int)getpid(), (unsigned long long)nonce);
    rc = file_write(temp, &f, sizeof f);
    sodium_memzero(&f, sizeof f);
    return rc;
}

static int
make(const char *dir, const char *path)
{
    secrets s = { 0 };
    char    temp[PATH_ROOM + 64];
    int     rc;

    crypto_random(&s, offsetof(secrets, also));
    rc = write_beside(path, &s, temp);
    sodium_memzero(&s, sizeof s);
    if (rc == E_OK && link(temp, path) != 0 && errno != EEXIST)
        rc = err_errno(errno, "link %s", path);
    unlink(temp);
    return rc < 0 ? rc : dir_sync(dir);
}

static int
replace(const char *dir, const secrets *s)
{
    char path[PATH_ROOM];
    char temp[PATH_ROOM + 64];
    int  rc = path_of(path, dir);

    if (rc < 0 || (rc = write_beside(path, s, temp)) < 0)
        return rc;
    if (rename(temp, path) != 0) {
        rc = err_errno(errno, "rename %s", temp);
        unlink(temp);
        return rc;
    }
    return dir_sync(dir);
}

/* ---- reading ---- */

static int
check(const secrets_file *f, ssize_t len, const struct stat *st, secrets *out)
{
    uint8_t sum[DIGEST_LEN];
    size_t  members;

    if ((st->st_mode & 077) != 0)
        return err(E_PERM, "others may read it; chmod 600 it, or remove it to make new secrets");
    if (len < MAGIC_LEN)
        return err(E_BAD, "not a secrets file");
    members = memcmp(f->magic, magics[0], MAGIC_LEN) == 0 ? V1_LEN : V2_LEN;
    if ((members == V2_LEN && memcmp(f->magic, magics[1], MAGIC_LEN) != 0) ||
        len != (ssize_t)(MAGIC_LEN + members + DIGEST_LEN))
        return err(E_BAD, "not a secrets file");
    sum_of(f, members, sum);
    if (!crypto_equal(sum, f->rest + members, sizeof sum))
        return err(E_BAD, "checksum");
    *out = (secrets){ 0 };
    memcpy(out, f->rest, members);
    return E_OK;
}

static int
read_file(secrets *s, const char *path, secrets_stamp *stamp)
{
    secrets_file f = { 0 };
    struct stat  st;
    int          rc;
    int          fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? E_NOTFOUND : err_errno(errno, "open");
    if (fstat(fd, &st) != 0)
        rc = err_errno(errno, "stat");
    else
        rc = check(&f, read(fd, &f, sizeof f), &st, s);
    close(fd);
    if (rc == E_OK)
        *stamp = (secrets_stamp){ st.st_ino,
                                  (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec };
    sodium_memzero(&f, sizeof f);
    return rc;
}

static int
load(secrets *s, const char *data_dir, secrets_stamp *stamp)
{
    char path[PATH_ROOM];
    int  rc = path_of(path, data_dir);

    if (rc < 0)
        return rc;
    rc = read_file(s, path, stamp);
    if (rc == E_NOTFOUND) {
        if ((rc = make(data_dir, path)) < 0)
            return rc;
        rc = read_file(s, path, stamp);
    }
    return rc < 0 ? err(rc, "secrets %s", path) : E_OK;
}

int
secrets_load(secrets *s, const char *data_dir)
{
    secrets_stamp stamp;

    return load(s, data_dir, &stamp);
}

int
secrets_look(secrets *s, secrets_stamp *seen, const char *data_dir)
{
    char        path[PATH_ROOM];
    struct stat st;
    secrets     fresh;
    int         rc = path_of(path, data_dir);

    if (rc < 0)
        return rc;
    if (stat(path, &st) != 0)
        return err_errno(errno, "stat %s", path);
    if (seen->file == st.st_ino &&
        seen->changed_ns == (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec)
        return E_OK;
    if ((rc = read_file(&fresh, path, seen)) < 0)
        return err(rc, "secrets %s", path);
    *s = fresh;
    sodium_memzero(&fresh, sizeof fresh);
    return E_OK;
}

/* ---- a new signing secret ---- */

/* One at a time: the directory is locked. */
static int
change(const char *data_dir, void (*how)(secrets *s, const int64_t times_s[2]), const int64_t times_s[2])
{
    secrets s = { 0 };
    int     fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int     rc;

    if (fd < 0)
        return err_errno(errno, "open %s", data_dir);
    if (flock(fd, LOCK_EX) != 0)
        rc = err_errno(errno, "lock %s", data_dir);
    else
        rc = secrets_load(&s, data_dir);
    if (rc == E_OK) {
        how(&s, times_s);
        rc = replace(data_dir, &s);
        sodium_memzero(&s, sizeof s);
    }
    close(fd);
    return rc;
}

static void
announce(secrets *s, const int64_t times_s[2])
{
    (void)times_s;
    if (s->also_until_s == INT64_MAX)
        return; /* somebody began and did not come to the end: that one is as good */
    crypto_random(s->also, sizeof s->also);
    s->also_until_s = INT64_MAX;
}

static void
renew(secrets *s, const int64_t times_s[2])
{
    uint8_t next[SECRET_LEN];

    if (s->also_until_s == INT64_MAX)
        memcpy(next, s->also, sizeof next);
    else
        crypto_random(next, sizeof next);
    memcpy(s->also, s->jwt, sizeof s->also);
    memcpy(s->jwt, next, sizeof s->jwt);
    s->also_until_s = times_s[1] == 0 ? 0 : times_s[0] + times_s[1];
    sodium_memzero(next, sizeof next);
}

int
secrets_announce(const char *data_dir)
{
    return change(data_dir, announce, (const int64_t[2]){ 0 });
}

int
secrets_renew(const char *data_dir, int64_t now_s, int64_t valid_s)
{
    return change(data_dir, renew, (const int64_t[2]){ now_s, valid_s });
}
