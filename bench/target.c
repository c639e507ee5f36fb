#define _XOPEN_SOURCE 700
#include "bench/target.h"

#include "bench/generate.h"
#include "bench/out.h"
#include "proto/err.h"
#include "proto/json.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- a server of our own ---- */

static _Noreturn void
become_server(const target *t, const target_options *o)
{
    char *argv[TARGET_FLAGS_MAX + 8];
    char  log[160], data[160];
    int   n = 0, fd;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_pin(o->core);
    snprintf(log, sizeof log, "%s/server.log", t->dir);
    snprintf(data, sizeof data, "%s/data", t->dir);
    fd = open(log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
    }
    argv[n++] = (char *)(uintptr_t) "haltless";
    argv[n++] = (char *)(uintptr_t) "serve";
    argv[n++] = (char *)(uintptr_t) "--data";
    argv[n++] = data;
    argv[n++] = (char *)(uintptr_t) "--listen";
    argv[n++] = (char *)(uintptr_t)t->where;
    for (int i = 0; i < o->flag_count && i < TARGET_FLAGS_MAX; i++)
        argv[n++] = o->flags[i];
    argv[n] = NULL;
    execv("/proc/self/exe", argv);
    _exit(127);
}

int
target_start(target *t, const target_options *o)
{
    t->pid = fork();
    if (t->pid < 0)
        return err_errno(errno, "fork");
    if (t->pid == 0)
        become_server(t, o);
    return E_OK;
}

static int
start_server(target *t, const target_options *o)
{
    snprintf(t->dir, sizeof t->dir, "%s/haltless-bench.XXXXXX", o->dir != NULL ? o->dir : "/tmp");
    if (mkdtemp(t->dir) == NULL)
        return err_errno(errno, "temporary directory %s", t->dir);
    snprintf(t->where, sizeof t->where, "127.0.0.1:%u", client_free_port());
    return target_start(t, o);
}

void
target_stop(target *t)
{
    client_close(&t->admin);
    t->admin.fd = -1;
    if (t->pid > 0) {
        kill(t->pid, SIGTERM);
        waitpid(t->pid, NULL, 0);
    }
    t->pid = 0;
}

static int
remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s;
    (void)type;
    (void)f;
    return remove(path);
}

void
target_close(target *t)
{
    target_stop(t);
    if (t->dir[0] != '\0')
        nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    memset(t, 0, sizeof *t);
}

/* ---- a tenant and a key ---- */

static int
take_token(target *t, cJSON *answer)
{
    const cJSON *token = cJSON_GetObjectItemCaseSensitive(answer, "access_token");

    if (!cJSON_IsString(token))
        return E_BAD;
    snprintf(t->admin.auth, sizeof t->admin.auth, "Authorization: Bearer %s\r\n", token->valuestring);
    return E_OK;
}

static int
sign_in(target *t, const char *email, const char *password)
{
    char   body[512];
    cJSON *answer = NULL;
    int    status, rc = E_PERM;

    snprintf(body, sizeof body,
             "{\"email\":\"%s\",\"password\":\"%s\",\"full_name\":\"Bench\",\"tenant_name\":\"Bench\"}", email, password);
    status = client_json(&t->admin, "POST", "/api/v1/auth/register", body, &answer);
    if (status != 201) {
        cJSON_Delete(answer);
        status = client_json(&t->admin, "POST", "/api/v1/auth/login", body, &answer);
    }
    if (status == 200 || status == 201)
        rc = take_token(t, answer);
    cJSON_Delete(answer);
    return rc < 0 ? err(rc, "log in as %s (status %d)", email, status) : E_OK;
}

static int
make_key(target *t)
{
    cJSON       *answer = NULL;
    int          status = client_json(&t->admin, "POST", "/api/v1/settings/api-keys", "{\"name\":\"bench\"}", &answer);
    const cJSON *key = cJSON_GetObjectItemCaseSensitive(answer, "key");

    if (status == 201 && cJSON_IsString(key))
        snprintf(t->key, sizeof t->key, "%s", key->valuestring);
    cJSON_Delete(answer);
    return t->key[0] != '\0' ? E_OK : err(E_PERM, "make an API key (status %d)", status);
}

/* ---- what /metrics says of processes ---- */

static uint32_t
server_pids(target *t, long pids[TARGET_PIDS_MAX], uint32_t *fronts, uint32_t *ingests)
{
    static const char mark[] = "haltless_actor_info{";
    client_answer       a;
    uint32_t          n = 0;

    *fronts = *ingests = 0;
    if (client_call(&t->admin, "GET", "/metrics", view_of(NULL, 0), &a) < 0)
        return 0;
    for (const char *p = (const char *)a.body.at; (p = strstr(p, mark)) != NULL; p += sizeof mark) {
        const char *eol = strchr(p, '\n');
        const char *pid = strstr(p, "pid=\"");
        long        value = pid != NULL ? strtol(pid + 5, NULL, 10) : 0;
        bool        known = value <= 0;

        if (eol == NULL || pid == NULL || pid > eol)
            break;
        *fronts += strstr(p, "actor=\"front\"") != NULL && strstr(p, "actor=\"front\"") < eol;
        *ingests += strstr(p, "actor=\"ingest\"") != NULL && strstr(p, "actor=\"ingest\"") < eol;
        for (uint32_t i = 0; i < n && !known; i++)
            known = pids[i] == value;
        if (!known && n < TARGET_PIDS_MAX)
            pids[n++] = value;
    }
    return n;
}

double
target_cpu_seconds(target *t)
{
    long     pids[TARGET_PIDS_MAX];
    uint32_t fronts, ingests, n = server_pids(t, pids, &fronts, &ingests);
    double   ticks = 0;

    for (uint32_t i = 0; i < n; i++) {
        char  path[64], text[1024];
        FILE *f;
        char *after;
        long  user = 0, sys = 0;

        snprintf(path, sizeof path, "/proc/%ld/stat", pids[i]);
        f = fopen(path, "re");
        if (f == NULL)
            return -1;
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        fclose(f);
        after = strrchr(text, ')');
        if (after == NULL || sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &sys) != 2)
            return -1;
        ticks += (double)(user + sys);
    }
    return n > 0 ? ticks / (double)sysconf(_SC_CLK_TCK) : -1;
}

double
target_pss_bytes(target *t)
{
    long     pids[TARGET_PIDS_MAX + 1];
    uint32_t fronts, ingests, n = server_pids(t, pids, &fronts, &ingests);
    double   kib = 0;

    if (n > 0 && t->pid > 0)
        pids[n++] = t->pid; /* the supervisor is no actor */
    for (uint32_t i = 0; i < n; i++) {
        char  path[64], line[256];
        long  pss;
        FILE *f;

        snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", pids[i]);
        f = fopen(path, "re");
        if (f == NULL)
            return -1;
        while (fgets(line, sizeof line, f) != NULL)
            if (sscanf(line, "Pss: %ld kB", &pss) == 1)
                kib += (double)pss;
        fclose(f);
    }
    return n > 0 ? kib * 1024 : -1;
}

/* The supervisor last: it would start the others anew. */
void
target_kill(target *t)
{
    long     pids[TARGET_PIDS_MAX];
    uint32_t fronts, ingests, n = server_pids(t, pids, &fronts, &ingests);

    kill(t->pid, SIGSTOP);
    for (uint32_t i = 0; i < n; i++)
        kill((pid_t)pids[i], SIGKILL);
    kill(t->pid, SIGKILL);
    waitpid(t->pid, NULL, 0);
    t->pid = 0;
    client_close(&t->admin);
    t->admin.fd = -1;
}

static void
note_topology(target *t)
{
    long     pids[TARGET_PIDS_MAX];
    uint32_t fronts, ingests, n = server_pids(t, pids, &fronts, &ingests);

    snprintf(t->topology, sizeof t->topology, "%u front, %u ingest, %u process%s", fronts, ingests, n,
             n == 1 ? "" : "es");
}

/* nftw has no context argument. */
static struct {
    uint64_t    bytes;
    const char *only;
} disk_walk;

static int
add_size(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)f;
    if (type == FTW_F && (disk_walk.only == NULL || strstr(path, disk_walk.only) != NULL))
        disk_walk.bytes += (uint64_t)s->st_blocks * 512;
    return 0;
}

uint64_t
target_disk_bytes(const target *t, const char *only)
{
    char dir[160];

    disk_walk.bytes = 0;
    disk_walk.only = only;
    snprintf(dir, sizeof dir, "%s/data", t->dir);
    if (t->dir[0] != '\0')
        nftw(dir, add_size, 16, FTW_PHYS);
    return disk_walk.bytes;
}

int
target_resume(target *t, const target_options *o)
{
    int rc = client_wait_ready(&t->admin, 20000);

    t->admin.auth[0] = '\0';
    if (rc == E_OK)
        rc = sign_in(t, o->email, o->password);
    note_topology(t);
    return rc;
}

int
target_open(target *t, const target_options *o)
{
    int rc = E_OK;

    memset(t, 0, sizeof *t);
    t->admin.fd = -1;
    if (o->url != NULL)
        snprintf(t->where, sizeof t->where, "%s", o->url);
    else if ((rc = start_server(t, o)) < 0)
        return rc;
    if ((rc = client_open(&t->admin, t->where)) < 0 || (rc = target_resume(t, o)) < 0)
        return rc;
    return make_key(t);
}

/* ---- machines ---- */

/* Fills ids of the machines that are there already, page by page. */
static int
known_machines(target *t, uint32_t count, char (*ids)[37])
{
    for (uint32_t page = 1;; page++) {
        char         path[96];
        cJSON       *answer = NULL;
        const cJSON *items, *m;
        uint32_t     n = 0;

        snprintf(path, sizeof path, "/api/v1/machines?page_size=100&page=%u", page);
        if (client_json(&t->admin, "GET", path, NULL, &answer) != 200) {
            cJSON_Delete(answer);
            return err(E_BAD, "list machines");
        }
        items = cJSON_GetObjectItemCaseSensitive(answer, "items");
        cJSON_ArrayForEach(m, items)
        {
            const cJSON *name = cJSON_GetObjectItemCaseSensitive(m, "machine_identifier");
            const cJSON *id = cJSON_GetObjectItemCaseSensitive(m, "id");
            unsigned     number;

            n++;
            if (cJSON_IsString(name) && cJSON_IsString(id) && sscanf(name->valuestring, "CNC-%5u", &number) == 1 &&
                number < count)
                snprintf(ids[number], 37, "%s", id->valuestring);
        }
        cJSON_Delete(answer);
        if (n < 100)
            return E_OK;
    }
}

int
target_machines(target *t, uint32_t count, char (*ids)[37])
{
    int rc = known_machines(t, count, ids);

    for (uint32_t i = 0; i < count && rc == E_OK; i++) {
        char         body[160], name[16];
        cJSON       *answer = NULL;
        const cJSON *id;
        int          status;

        if (ids[i][0] != '\0')
            continue;
        generate_identifier(i, name);
        snprintf(body, sizeof body, "{\"name\":\"Machine %u\",\"machine_identifier\":\"%s\",\"protocol\":\"json\"}", i, name);
        status = client_json(&t->admin, "POST", "/api/v1/machines", body, &answer);
        id = cJSON_GetObjectItemCaseSensitive(answer, "id");
        if (status == 201 && cJSON_IsString(id))
            snprintf(ids[i], 37, "%s", id->valuestring);
        else
            rc = err(E_BAD, "make machine %s (status %d)", name, status);
        cJSON_Delete(answer);
    }
    return rc;
}
