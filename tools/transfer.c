/* transfer.c - see transfer.h. */
#include "tools/transfer.h"

#include "proto/err.h"
#include "proto/json.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATH_ROOM = 4300, STATE_MAX = 65536, KEY_MAX = 4096 };

enum transfer_format
transfer_format_of(const char *word, const char *file)
{
    static const char *const words[] = { "ndjson", "csv", "jsonl" };
    const char              *dot = file == NULL ? NULL : strrchr(file, '.');
    const char              *what = word != NULL ? word : dot != NULL ? dot + 1 : "ndjson";

    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcmp(what, words[i]) == 0)
            return i == 1 ? FORMAT_CSV : FORMAT_NDJSON;
    return word != NULL ? FORMAT_UNKNOWN : FORMAT_NDJSON;
}

static int
first_line(const char *file, char out[KEY_MAX])
{
    FILE *f = fopen(file, "re");
    bool  got = f != NULL && fgets(out, KEY_MAX, f) != NULL;

    if (f != NULL)
        fclose(f);
    if (!got)
        return err_errno(f == NULL ? errno : ENODATA, "read a key from %s", file);
    out[strcspn(out, "\r\n")] = '\0';
    return E_OK;
}

int
transfer_open(web **w, const char *url, const char *key_file, const char *ca)
{
    const char *key = getenv("HALTLESS_API_KEY");
    const char *token = getenv("HALTLESS_TOKEN");
    char        line[KEY_MAX];
    int         rc;

    if (key_file != NULL) {
        if ((rc = first_line(key_file, line)) < 0)
            return rc;
        key = line;
    }
    if (key == NULL && token == NULL)
        return err(E_CONFIG, "who asks? set HALTLESS_API_KEY or HALTLESS_TOKEN, or give --key-file");
    return web_open(w, url, key, token, ca);
}

/* ---- state ---- */

static int
path_of(char out[PATH_ROOM], const char *file, const char *suffix)
{
    if (snprintf(out, PATH_ROOM, "%s.%s", file, suffix) >= PATH_ROOM)
        return err(E_RANGE, "%s", file);
    return E_OK;
}

static int
write_synced(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    int   rc = E_OK;

    if (f == NULL)
        return err_errno(errno, "write %s", path);
    if (fputs(text, f) < 0 || fflush(f) != 0 || fsync(fileno(f)) != 0)
        rc = err_errno(errno, "write %s", path);
    if (fclose(f) != 0 && rc == E_OK)
        rc = err_errno(errno, "write %s", path);
    return rc;
}

int
transfer_state_write(const char *file, const char *suffix, const cJSON *state)
{
    char  path[PATH_ROOM], temp[PATH_ROOM];
    char *text;
    int   rc = path_of(path, file, suffix);

    if (rc < 0 || (rc = path_of(temp, path, "new")) < 0)
        return rc;
    text = cJSON_PrintUnformatted(state);
    ASSERT(text != NULL);
    rc = write_synced(temp, text);
    cJSON_free(text);
    if (rc == E_OK && rename(temp, path) != 0)
        rc = err_errno(errno, "rename %s", temp);
    return rc;
}

int
transfer_state_read(const char *file, const char *suffix, cJSON **state)
{
    char   path[PATH_ROOM];
    char   text[STATE_MAX];
    size_t len;
    FILE  *f;
    int    rc = path_of(path, file, suffix);

    if (rc < 0)
        return rc;
    f = fopen(path, "re");
    if (f == NULL)
        return errno == ENOENT ? err(E_NOTFOUND, "%s", path) : err_errno(errno, "read %s", path);
    len = fread(text, 1, sizeof text, f);
    fclose(f);
    *state = json_parse(view_of(text, len));
    return cJSON_IsObject(*state) ? E_OK : err(E_BAD, "%s is no state of ours", path);
}

void
transfer_state_forget(const char *file, const char *suffix)
{
    char path[PATH_ROOM];

    if (path_of(path, file, suffix) == E_OK)
        unlink(path);
}

const char *
transfer_state_text(const cJSON *state, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(state, name));

    return text == NULL ? "" : text;
}

uint64_t
transfer_state_number(const cJSON *state, const char *name)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(state, name);

    return cJSON_IsNumber(n) && n->valuedouble > 0 ? (uint64_t)n->valuedouble : 0;
}

/* ---- CSV ---- */

void
transfer_csv_put(FILE *out, view text)
{
    bool quoted = false;

    for (size_t i = 0; i < text.len; i++)
        quoted |= text.at[i] == ',' || text.at[i] == '"' || text.at[i] == '\n' || text.at[i] == '\r';
    if (!quoted) {
        fwrite(text.at, 1, text.len, out);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '"')
            fputc('"', out);
        fputc(text.at[i], out);
    }
    fputc('"', out);
}
