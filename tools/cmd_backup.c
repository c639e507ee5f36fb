/* cmd_backup.c - `haltless backup` and `haltless restore`.
 *
 *   DEST/20261125T134501Z/        a whole data directory, as after a crash at the moment of the backup
 *        MANIFEST                 JSON lines: what it is, then each file with its length, checksum and time
 *
 * Table files never change: one that the backup before has too is linked to it, not copied.  So each backup stands for
 * itself, may be removed with rm, and costs what is new.  A backup is named last, when every byte of it was read back.
 */
#include "proto/err.h"
#include "proto/hash.h"
#include "proto/instant.h"
#include "proto/json.h"
#include "proto/version.h"
#include "storage/fs.h"
#include "storage/image.h"
#include "tools/account.h"
#include "tools/backup.h"
#include "tools/commands.h"
#include "tools/picture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MANIFEST_VERSION = 1, NAME_LEN = 16, READ_PIECE = 1 << 20 };

typedef struct file {
    char    *path; /* owned; relative */
    uint64_t len;
    uint32_t crc;
    int64_t  changed_ns;
    bool     linked;
} file;

typedef struct files {
    file    *at;
    uint32_t count, room;
    uint64_t bytes;
} files;

static void
files_free(files *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        free(f->at[i].path);
    free(f->at);
    *f = (files){ 0 };
}

static void
files_add(files *f, const char *path, uint64_t len, uint32_t crc, int64_t changed_ns)
{
    if (f->count == f->room) {
        f->room = f->room == 0 ? 256 : 2 * f->room;
        f->at = realloc(f->at, f->room * sizeof *f->at);
        ASSERT(f->at != NULL);
    }
    f->at[f->count++] = (file){ .path = strdup(path), .len = len, .crc = crc, .changed_ns = changed_ns };
    ASSERT(f->at[f->count - 1].path != NULL);
    f->bytes += len;
}

static int
by_path(const void *a, const void *b)
{
    return strcmp(((const file *)a)->path, ((const file *)b)->path);
}

static const file *
files_find(const files *f, const char *path)
{
    file key = { .path = (char *)(uintptr_t)path };

    return f->count == 0 ? NULL : bsearch(&key, f->at, f->count, sizeof *f->at, by_path);
}

/* ---- walking a tree; nftw has no context argument ---- */

static struct {
    files *into;
    size_t skip; /* of each path: the root and its slash */
} tree;

static int
note_one(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)at;
    if (type == FTW_F && S_ISREG(s->st_mode))
        files_add(tree.into, path + tree.skip, (uint64_t)s->st_size, 0,
                  (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec);
    return 0;
}

static int
list_tree(files *f, const char *root)
{
    tree.into = f;
    tree.skip = strlen(root) + 1;
    if (nftw(root, note_one, 16, FTW_PHYS) != 0)
        return err_errno(errno, "walk %s", root);
    if (f->count > 0)
        qsort(f->at, f->count, sizeof *f->at, by_path);
    return E_OK;
}

/* ---- the manifest ---- */

static bool
take_line(files *f, const cJSON *line)
{
    const cJSON *path = cJSON_GetObjectItemCaseSensitive(line, "path");
    const cJSON *len = cJSON_GetObjectItemCaseSensitive(line, "len");
    const cJSON *crc = cJSON_GetObjectItemCaseSensitive(line, "crc32c");
    const cJSON *changed = cJSON_GetObjectItemCaseSensitive(line, "changed_ns");

    /* A manifest is data: its names must stay below the backup. */
    if (!cJSON_IsString(path) || path->valuestring[0] == '/' || strstr(path->valuestring, "..") != NULL ||
        !cJSON_IsNumber(len) || !cJSON_IsNumber(crc) || !cJSON_IsString(changed))
        return false;
    files_add(f, path->valuestring, (uint64_t)len->valuedouble, (uint32_t)crc->valuedouble,
              strtoll(changed->valuestring, NULL, 10));
    return true;
}

static int
manifest_lines(files *f, const char *path, FILE *in)
{
    char   *line = NULL;
    size_t  room = 0;
    ssize_t n;
    int     rc = E_OK;

    for (uint32_t i = 0; rc == E_OK && (n = getline(&line, &room, in)) > 0; i++) {
        cJSON       *j = json_parse(view_of(line, (size_t)n));
        const cJSON *version = cJSON_GetObjectItemCaseSensitive(j, "backup");

        if (i == 0 && !cJSON_IsNumber(version))
            rc = err(E_BAD, "%s is no manifest of a backup", path);
        else if (i == 0 && version->valueint > MANIFEST_VERSION)
            rc = err(E_NEWER, "%s is of a newer version of haltless", path);
        else if (i > 0 && !take_line(f, j))
            rc = err(E_BAD, "line %u of %s", i + 1, path);
        cJSON_Delete(j);
    }
    free(line);
    return rc;
}

static int
manifest_read(files *f, const char *dir)
{
    char  path[PATH_MAX];
    FILE *in;
    int   rc;

    if ((rc = fs_path(path, "%s/MANIFEST", dir)) < 0)
        return rc;
    in = fopen(path, "re");
    if (in == NULL)
        return err_errno(errno, "open %s", path);
    rc = manifest_lines(f, path, in);
    fclose(in);
    if (rc == E_OK && f->count == 0)
        rc = err(E_BAD, "%s names no file", path);
    if (rc == E_OK)
        qsort(f->at, f->count, sizeof *f->at, by_path);
    return rc;
}

static void
head_line(FILE *out)
{
    char            when[INSTANT_TEXT_MAX + 1];
    struct timespec now;
    json_out        j = { 0 };

    clock_gettime(CLOCK_REALTIME, &now);
    when[instant_format((int64_t)now.tv_sec * 1000000, when)] = '\0';
    json_open(&j, '{');
    json_name_int(&j, "backup", MANIFEST_VERSION);
    json_name_string(&j, "time", view_str(when));
    json_name_string(&j, "version", view_str(HALTLESS_VERSION));
    json_name_string(&j, "commit", view_str(VERSION_COMMIT));
    json_close(&j, '}');
    fprintf(out, "%.*s\n", (int)j.len, j.at);
    json_out_free(&j);
}

static void
file_line(const file *f, FILE *out)
{
    char     changed[24];
    json_out j = { 0 };

    snprintf(changed, sizeof changed, "%" PRId64, f->changed_ns); /* more digits than a JSON number keeps */
    json_open(&j, '{');
    json_name_string(&j, "path", view_str(f->path));
    json_name_int(&j, "len", (int64_t)f->len);
    json_name_int(&j, "crc32c", f->crc);
    json_name_string(&j, "changed_ns", view_str(changed));
    json_close(&j, '}');
    fprintf(out, "%.*s\n", (int)j.len, j.at);
    json_out_free(&j);
}

static int
manifest_write(const files *f, const char *dir)
{
    char   path[PATH_MAX + 32];
    char  *text = NULL;
    size_t len = 0;
    FILE  *out = open_memstream(&text, &len);
    int    rc;

    ASSERT(out != NULL);
    head_line(out);
    for (uint32_t i = 0; i < f->count; i++)
        file_line(&f->at[i], out);
    rc = fs_path(path, "%s/MANIFEST", dir);
    rc = fclose(out) == 0 && rc == E_OK ? fs_write_file(path, view_of(text, len)) : E_NOMEM;
    free(text);
    return rc;
}

/* ---- which backups there are ---- */

static bool
is_backup_name(const char *name)
{
    for (int i = 0; i < NAME_LEN; i++)
        if (i == 8 ? name[i] != 'T' : i == 15 ? name[i] != 'Z' : name[i] < '0' || name[i] > '9')
            return false;
    return name[NAME_LEN] == '\0';
}

/* The newest whole one; false: there is none. */
static bool
newest_backup(const char *dest, char out[PATH_MAX])
{
    DIR           *d = opendir(dest);
    struct dirent *e;
    char           best[NAME_LEN + 1] = "";

    while (d != NULL && (e = readdir(d)) != NULL)
        if (is_backup_name(e->d_name) && strcmp(e->d_name, best) > 0)
            memcpy(best, e->d_name, sizeof best);
    if (d != NULL)
        closedir(d);
    return best[0] != '\0' && snprintf(out, PATH_MAX, "%s/%s", dest, best) < PATH_MAX;
}

/* ---- copying ---- */

static int
make_parents(const char *root, const char *path)
{
    char dir[PATH_MAX];
    int  rc = fs_path(dir, "%s/%s", root, path);

    if (rc < 0)
        return rc;
    *strrchr(dir, '/') = '\0';
    return fs_make_dir(dir);
}

static int
checksum_file(const char *path, uint32_t *crc, uint64_t *len)
{
    static uint8_t piece[READ_PIECE];
    int            fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t        n = -1;

    *crc = 0;
    *len = 0;
    if (fd < 0)
        return err_errno(errno, "open %s", path);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* what the disk has, not what memory has */
    while ((n = read(fd, piece, sizeof piece)) > 0) {
        *crc = crc32c(*crc, piece, (size_t)n);
        *len += (uint64_t)n;
    }
    close(fd);
    return n < 0 ? err_errno(errno, "read %s", path) : E_OK;
}

static int
check_file(const char *dir, const file *f)
{
    char     path[PATH_MAX];
    uint32_t crc = 0;
    uint64_t len = 0;
    int      rc;

    rc = fs_path(path, "%s/%s", dir, f->path);
    if (rc == E_OK)
        rc = checksum_file(path, &crc, &len);
    return rc < 0 ? rc : crc == f->crc && len == f->len ? E_OK : err(E_BAD, "%s is not what was written", path);
}

static int
copy_checked(const char *from_dir, const char *to_dir, file *f)
{
    char     from[PATH_MAX], to[PATH_MAX];
    uint32_t crc;
    uint64_t len;
    int      rc = make_parents(to_dir, f->path);

    if (rc == E_OK)
        rc = fs_path(from, "%s/%s", from_dir, f->path);
    if (rc == E_OK)
        rc = fs_path(to, "%s/%s", to_dir, f->path);
    if (rc == E_OK)
        rc = image_copy_file(from, to, &crc, &len);
    if (rc < 0)
        return rc;
    f->crc = crc;
    f->len = len;
    return check_file(to_dir, f);
}

/* The backup before has the same table file: a link, if its file system knows links. */
static bool
link_before(const char *before_dir, const file *before, const char *to_dir, file *f)
{
    char from[PATH_MAX], to[PATH_MAX];

    if (before == NULL || before->len != f->len || before->changed_ns != f->changed_ns ||
        strstr(f->path, ".sst") == NULL || make_parents(to_dir, f->path) < 0)
        return false;
    if (fs_path(from, "%s/%s", before_dir, f->path) < 0 || fs_path(to, "%s/%s", to_dir, f->path) < 0 ||
        link(from, to) < 0)
        return false;
    f->crc = before->crc;
    f->linked = true;
    return true;
}

typedef struct tally {
    uint64_t bytes, linked_bytes, done;
    uint32_t files, linked;
} tally;

static int
copy_all(files *f, const char *from, const char *to, const char *before_dir, tally *t, bool quiet)
{
    files    before = { 0 };
    progress p = { .what = "backup", .quiet = quiet };
    int      rc = before_dir == NULL ? E_OK : manifest_read(&before, before_dir);

    if (rc < 0) /* whole copies then */
        err_clear();
    rc = E_OK;
    for (uint32_t i = 0; i < f->count && rc == E_OK; i++) {
        file *one = &f->at[i];

        if (!link_before(before_dir, files_find(&before, one->path), to, one))
            rc = copy_checked(from, to, one);
        t->files++;
        t->linked += one->linked;
        t->bytes += one->len;
        t->linked_bytes += one->linked ? one->len : 0;
        progress_show(&p, t->bytes, f->bytes);
    }
    progress_end(&p);
    files_free(&before);
    return rc;
}

static int
sync_tree(const char *root, const files *f)
{
    char last[PATH_MAX] = "", dir[PATH_MAX];
    int  rc = E_OK;

    for (uint32_t i = 0; i < f->count && rc == E_OK; i++) {
        rc = fs_path(dir, "%s/%s", root, f->at[i].path);
        if (rc < 0)
            break;
        *strrchr(dir, '/') = '\0';
        if (strcmp(dir, last) != 0)
            rc = fs_sync_dir(dir);
        memcpy(last, dir, sizeof last);
    }
    return rc;
}

/* ---- backup ---- */

static int
back_up(const char *data, const char *dest, bool json, char made[PATH_MAX], tally *t)
{
    picture   pic;
    files     f = { 0 };
    char      partial[PATH_MAX], before[PATH_MAX];
    bool      has_before = newest_backup(dest, before);
    time_t    now = time(NULL);
    struct tm tm;
    int       rc = fs_make_dir(dest);

    if (rc == E_OK)
        rc = picture_take(&pic, data);
    if (rc < 0)
        return rc;
    gmtime_r(&now, &tm);
    snprintf(made, PATH_MAX, "%.*s/%04d%02d%02dT%02d%02d%02dZ", PATH_MAX - 64, dest, tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    snprintf(partial, sizeof partial, "%.*s.partial", PATH_MAX - 16, made);
    if (access(made, F_OK) == 0)
        rc = err(E_AGAIN, "%s is there already", made);
    if (rc == E_OK)
        rc = list_tree(&f, pic.path);
    if (rc == E_OK)
        rc = copy_all(&f, pic.path, partial, has_before ? before : NULL, t, json);
    if (rc == E_OK)
        rc = manifest_write(&f, partial);
    if (rc == E_OK)
        rc = sync_tree(partial, &f);
    if (rc == E_OK)
        rc = fs_rename(partial, made);
    if (rc < 0)
        image_remove(partial);
    picture_drop(&pic);
    files_free(&f);
    return rc;
}

static void
say(const char *what, const char *where, const tally *t, bool json)
{
    json_out j = { 0 };

    if (!json) {
        printf("%s %s: %u files, %.1f MB, of them %.1f MB new; every one read back\n", what, where, t->files,
               (double)t->bytes / 1e6, (double)(t->bytes - t->linked_bytes) / 1e6);
        return;
    }
    json_open(&j, '{');
    json_name_string(&j, what, view_str(where));
    json_name_int(&j, "files", t->files);
    json_name_int(&j, "files_linked", t->linked);
    json_name_int(&j, "bytes", (int64_t)t->bytes);
    json_name_int(&j, "bytes_new", (int64_t)(t->bytes - t->linked_bytes));
    json_close(&j, '}');
    printf("%.*s\n", (int)j.len, j.at);
    json_out_free(&j);
}

static const char backup_usage[] =
    "haltless backup DEST [--json] [settings] - a copy of all data, while the server runs or not\n\n"
    "  DEST        a directory for backups; each is DEST/YYYYMMDDTHHMMSSZ, whole in itself\n"
    "  --json      one JSON object\n"
    "  --data DIR  the server's data directory\n\n"
    "Everything that was acknowledged before the command began is in it, over all partitions and the registry.  Files\n"
    "that the newest backup in DEST has already are linked to it; a backup that is no longer wanted is removed with rm.\n"
    "Every byte that was copied is read back before the backup gets its name.  Run it as the server's user.\n";

int
cmd_backup(int argc, char **argv)
{
    bool        bad = false, json;
    char        made[PATH_MAX];
    const char *config;
    char       *data;
    tally       t = { 0 };
    int         rc;

    if (args_help(argc, argv, backup_usage, true))
        return EXIT_FINE;
    if (argc < 2 || argv[1][0] == '-')
        return command_misused("backup", "where to?");
    config = args_take_config(&argc, argv, &bad);
    json = args_take_switch(&argc, argv, "--json");
    if (bad)
        return command_misused("backup", "--config needs a file");
    if ((data = account_data_dir(argc - 2, argv + 2, config)) == NULL)
        return command_failed("backup");
    rc = back_up(data, argv[1], json, made, &t);
    if (rc == E_OK)
        say("backup", made, &t, json);
    free(data);
    return rc < 0 ? command_failed("backup") : EXIT_FINE;
}

/* ---- restore ---- */

static int
restore_into(const char *backup, const char *data, bool json, tally *t)
{
    char     partial[PATH_MAX];
    files    f = { 0 };
    progress p = { .what = "restore", .quiet = json };
    int      rc = manifest_read(&f, backup);

    if (rc == E_OK && !fs_is_empty_dir(data))
        rc = err(E_EXISTS, "%s is not empty: nothing is overwritten", data);
    snprintf(partial, sizeof partial, "%.*s.restoring", PATH_MAX - 32, data);
    image_remove(partial);
    for (uint32_t i = 0; i < f.count && rc == E_OK; i++) {
        file want = f.at[i];

        rc = copy_checked(backup, partial, &f.at[i]);
        if (rc == E_OK && (f.at[i].crc != want.crc || f.at[i].len != want.len))
            rc = err(E_BAD, "%s/%s is damaged", backup, want.path);
        t->files++;
        t->bytes += f.at[i].len;
        progress_show(&p, t->bytes, f.bytes);
    }
    progress_end(&p);
    if (rc == E_OK)
        rc = sync_tree(partial, &f);
    (void)rmdir(data); /* empty, or not there */
    if (rc == E_OK)
        rc = fs_rename(partial, data);
    if (rc < 0)
        image_remove(partial);
    files_free(&f);
    return rc;
}

static const char restore_usage[] =
    "haltless restore BACKUP [--json] [settings] - a backup becomes the data directory of a server\n\n"
    "  BACKUP      a backup, or a directory of them: its newest\n"
    "  --json      one JSON object\n"
    "  --data DIR  the data directory to make; it must not be there, or be empty\n\n"
    "Every file is checked against the backup's manifest.  DIR appears when all of it is there.  Run it as the server's\n"
    "user; a backup of an older version is upgraded when the server starts on it.\n";

int
cmd_restore(int argc, char **argv)
{
    bool        bad = false, json;
    char        backup[PATH_MAX], newest[PATH_MAX];
    const char *config;
    char       *data;
    tally       t = { 0 };
    int         rc;

    if (args_help(argc, argv, restore_usage, true))
        return EXIT_FINE;
    if (argc < 2 || argv[1][0] == '-')
        return command_misused("restore", "which backup?");
    config = args_take_config(&argc, argv, &bad);
    json = args_take_switch(&argc, argv, "--json");
    if (bad)
        return command_misused("restore", "--config needs a file");
    if ((data = account_data_dir(argc - 2, argv + 2, config)) == NULL)
        return command_failed("restore");
    snprintf(backup, sizeof backup, "%s", argv[1]);
    if (newest_backup(argv[1], newest))
        memcpy(backup, newest, sizeof backup);
    rc = restore_into(backup, data, json, &t);
    if (rc == E_OK)
        say("restored", data, &t, json);
    free(data);
    return rc < 0 ? command_failed("restore") : EXIT_FINE;
}

int
backup_verify(const char *dir, bool quiet, uint32_t *count, uint32_t *damaged)
{
    files    f = { 0 };
    progress p = { .what = "files", .quiet = quiet };
    uint64_t done = 0;
    int      rc = manifest_read(&f, dir);

    *count = *damaged = 0;
    for (uint32_t i = 0; i < f.count && rc == E_OK; i++) {
        if (check_file(dir, &f.at[i]) < 0) {
            fprintf(stderr, "haltless verify: %s\n", err_text());
            err_clear();
            ++*damaged;
        }
        ++*count;
        done += f.at[i].len;
        progress_show(&p, done, f.bytes);
    }
    progress_end(&p);
    files_free(&f);
    return rc;
}
