/* cmd_demo.c - `haltless demo`: a server with a tenant whose machines are simulated.
 *
 * Starts `haltless serve` with what follows, logs the demo tenant in (made at the first start; its password lies in
 * DATA/demo-login, mode 0600), makes machines and rules that are not there yet, fills in the last two hours, and then
 * pushes a reading of each sensor every second until it is stopped.
 */
#include "tools/commands.h"

#include "bench/client.h"
#include "bench/out.h"
#include "bench/target.h"
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/instant.h"
#include "proto/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HISTORY_S = 7200, HISTORY_EVERY_S = 10, BATCH = 500 };

static const struct {
    const char *identifier;
    const char *name;
    const char *location;
} machines[] = {
    { "CNC-001", "CNC Mill #1", "Building A, Line 1" },   { "CNC-002", "CNC Mill #2", "Building A, Line 1" },
    { "CNC-003", "CNC Lathe", "Building A, Line 2" },     { "PRESS-01", "Hydraulic Press", "Building B" },
    { "ROBOT-01", "Welding Robot #1", "Building B" },     { "ROBOT-02", "Welding Robot #2", "Building B" },
    { "OVEN-01", "Curing Oven", "Building C" },           { "PUMP-01", "Coolant Pump", "Building C" },
};

static const struct {
    const char *name;
    const char *unit;
    double      mean;
    double      swing; /* of a slow wave */
    double      noise;
    double      period_s;
} sensors[] = {
    { "temperature", "celsius", 65, 22, 0.8, 1500 },
    { "vibration", "mm/s", 3.2, 1.4, 0.15, 700 },
    { "power", "kW", 18, 6, 0.5, 2400 },
};

static const char rule_body[] = "{\"name\":\"Running hot\",\"metric_name\":\"temperature\",\"operator\":\"gt\","
                                "\"threshold\":85,\"clear_threshold\":80,\"severity\":\"warning\"}";

static volatile sig_atomic_t stopping;

static void
on_signal(int number)
{
    (void)number;
    stopping = 1;
}

/* ---- the log-in ---- */

/* The demo tenant's password: read from, or made and written to, DATA/demo-login. */
static int
demo_password(const char *data, char out[64])
{
    char  path[4200];
    char  key[API_KEY_TEXT_LEN];
    FILE *f;

    snprintf(path, sizeof path, "%s/demo-login", data);
    f = fopen(path, "re");
    if (f != NULL) {
        bool got = fgets(out, 64, f) != NULL;

        fclose(f);
        out[strcspn(out, "\n")] = '\0';
        return got ? E_OK : err(E_BAD, "read %s", path);
    }
    crypto_api_key(key);
    snprintf(out, 64, "demo-1-%.12s", key + 3);
    (void)mkdir(data, 0700);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_errno(errno, "make %s", path);
    dprintf(fd, "%s\n", out);
    close(fd);
    return E_OK;
}

/* ---- readings ---- */

static double
sensor_value(size_t machine, size_t sensor, int64_t second)
{
    double   phase = 2 * M_PI * (double)second / sensors[sensor].period_s + (double)machine;
    uint64_t h = ((uint64_t)second * 64 + machine * 8 + sensor) * 0x9E3779B97F4A7C15ULL;
    double   noise = (double)(h >> 40) / (double)(1 << 24) * 2 - 1;
    double   v = sensors[sensor].mean + sensors[sensor].swing * sin(phase) + sensors[sensor].noise * noise;

    return round(v * 100) / 100;
}

static void
add_reading(json_out *j, size_t machine, size_t sensor, int64_t second)
{
    json_open(j, '{');
    json_name_string(j, "machine_identifier", view_str(machines[machine].identifier));
    json_name_time(j, "timestamp", second * 1000000);
    json_name_string(j, "metric_name", view_str(sensors[sensor].name));
    json_name_number(j, "value", sensor_value(machine, sensor, second));
    json_name_string(j, "unit", view_str(sensors[sensor].unit));
    json_close(j, '}');
}

static int
push(client *c, json_out *j)
{
    client_answer a;
    int         rc;

    json_close(j, ']');
    json_close(j, '}');
    rc = client_call(c, "POST", "/api/v1/ingest", view_of(j->at, j->len), &a);
    json_reset(j);
    return rc < 0 ? rc : a.status == 207 ? E_OK : E_AGAIN;
}

static void
begin(json_out *j)
{
    json_reset(j);
    json_open(j, '{');
    json_name(j, VIEW_LIT("readings"));
    json_open(j, '[');
}

/* Every sensor of every machine at each of the seconds from, from + every, ... < until. */
static int
simulate(client *c, int64_t from, int64_t until, int64_t every)
{
    json_out j = { 0 };
    uint32_t n = 0;
    int      rc = E_OK;

    begin(&j);
    for (int64_t s = from; s < until && rc == E_OK && !stopping; s += every)
        for (size_t i = 0; i < COUNT_OF(machines) * COUNT_OF(sensors) && rc == E_OK; i++) {
            add_reading(&j, i / COUNT_OF(sensors), i % COUNT_OF(sensors), s);
            if (++n % BATCH == 0) {
                rc = push(c, &j);
                begin(&j);
            }
        }
    if (rc == E_OK && n % BATCH != 0)
        rc = push(c, &j);
    json_out_free(&j);
    return rc;
}

/* ---- machines and a rule ---- */

static int
make_machines(client *admin)
{
    bool   fresh = false;
    cJSON *answer = NULL;

    for (size_t i = 0; i < COUNT_OF(machines); i++) {
        json_out j = { 0 };
        int      status;

        json_open(&j, '{');
        json_name_string(&j, "name", view_str(machines[i].name));
        json_name_string(&j, "machine_identifier", view_str(machines[i].identifier));
        json_name_string(&j, "protocol", VIEW_LIT("json"));
        json_name_string(&j, "location", view_str(machines[i].location));
        json_close(&j, '}');
        char *body = strndup(j.at, j.len);

        status = body != NULL ? client_json(admin, "POST", "/api/v1/machines", body, &answer) : E_NOMEM;
        free(body);
        json_out_free(&j);
        cJSON_Delete(answer);
        if (status != 201 && status != 409)
            return err(E_BAD, "make machine %s (status %d)", machines[i].identifier, status);
        fresh |= status == 201;
    }
    if (fresh && client_json(admin, "POST", "/api/v1/alert-rules", rule_body, &answer) != 201)
        fprintf(stderr, "demo: the rule was not accepted\n");
    cJSON_Delete(answer);
    return E_OK;
}

/* ---- the whole ---- */

static pid_t
start_server(int argc, char **argv)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    argv[0] = (char *)(uintptr_t) "serve";
    char **all = calloc((size_t)argc + 2, sizeof *all);

    ASSERT(all != NULL);
    all[0] = (char *)(uintptr_t) "haltless";
    memcpy(all + 1, argv, (size_t)argc * sizeof *argv);
    execv("/proc/self/exe", all);
    _exit(127);
}

/* The value of --name in argv, or what the server takes by default. */
static const char *
flag(int argc, char **argv, const char *name, const char *otherwise)
{
    size_t n = strlen(name);

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, n) != 0)
            continue;
        if (argv[i][n] == '=')
            return argv[i] + n + 1;
        if (argv[i][n] == '\0' && i + 1 < argc)
            return argv[i + 1];
    }
    return otherwise;
}

static int
prepare(target *t, const char *listen_on, const char *data, client *pusher)
{
    static char    password[64];
    target_options o = { .url = listen_on, .email = "demo@example.com", .password = password, .core = -1 };
    int            rc = demo_password(data, password);

    if (rc < 0 || (rc = target_open(t, &o)) < 0 || (rc = make_machines(&t->admin)) < 0)
        return rc;
    if ((rc = client_open(pusher, listen_on)) < 0)
        return rc;
    snprintf(pusher->auth, sizeof pusher->auth, "X-API-Key: %s\r\n", t->key);
    printf("\n  haltless demo: http://%s/api/v1\n  log in (POST /auth/login) as %s with the password %s\n  %zu simulated machines; API key %s\n\n",
           listen_on, o.email, password, COUNT_OF(machines), t->key);
    fflush(stdout);
    return simulate(pusher, time(NULL) - HISTORY_S, time(NULL) - 1, HISTORY_EVERY_S);
}

static void
live(client *pusher, pid_t server)
{
    int64_t last = time(NULL) - 1;

    while (!stopping && waitpid(server, NULL, WNOHANG) == 0) {
        int64_t now = time(NULL);

        if (now > last && simulate(pusher, now, now + 1, 1) == E_OK)
            last = now;
        err_clear();
        nanosleep(&(struct timespec){ 0, 100000000 }, NULL);
    }
}

static const char help[] =
    "haltless demo [flags of serve] - a server with a tenant whose machines are simulated\n"
    "\n"
    "Starts `haltless serve`, makes the tenant demo@example.com (its password is printed, and kept in\n"
    "DATA/demo-login), eight machines and a rule, fills in two hours of readings and goes on every second.\n"
    "Registration must be open, as it is on a loopback listener.\n";

int
cmd_demo(int argc, char **argv)
{
    target           t;
    client      pusher = { .fd = -1 };
    struct sigaction on = { .sa_handler = on_signal };
    pid_t            server;
    int              status = 0;

    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    memset(&t, 0, sizeof t);
    t.admin.fd = -1;
    if (crypto_start() < 0)
        return 1;
    sigaction(SIGINT, &on, NULL);
    sigaction(SIGTERM, &on, NULL);
    server = start_server(argc, argv);
    if (prepare(&t, flag(argc, argv, "--listen", "127.0.0.1:8080"), flag(argc, argv, "--data", "haltless-data"), &pusher) < 0) {
        if (!stopping)
            fprintf(stderr, "demo: %s\n", err_text());
        status = stopping ? 0 : 1;
    } else {
        live(&pusher, server);
    }
    kill(server, SIGTERM);
    waitpid(server, NULL, 0);
    client_close(&pusher);
    target_close(&t);
    return status;
}
