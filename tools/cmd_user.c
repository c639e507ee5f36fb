/* cmd_user.c - `haltless user add`, `haltless user passwd`: a person from the shell of the server's
 * machine, with or without a tenant to go to; and a password that was forgotten. */
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/reg_ops.h"
#include "proto/schema.h"
#include "tools/account.h"
#include "tools/commands.h"

#include <ctype.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_MIN = 8, PASSWORD_MAX = 1024 };

static const char usage[] =
    "haltless user add --email ADDRESS [flags] [settings] - makes a user who can log in\n"
    "haltless user passwd --email ADDRESS [settings]     - sets a password; every session ends\n\n"
    "  --email ADDRESS    of the log-in\n"
    "  --name NAME        full name; default: the address\n"
    "  --role ROLE        viewer (the default), operator or admin\n"
    "  --tenant ID        of which tenant; not needed while there is one\n"
    "  --new-tenant NAME  makes a tenant with this user as its admin: the first user of a new "
    "server\n"
    "  --config FILE      where the settings are; --data DIR is enough\n"
    "  --json             the whole answer as JSON\n\n"
    "The password is $HALTLESS_PASSWORD, else asked for, else the first line of standard input: "
    "never a flag,\n"
    "because flags are seen by everybody.  At least 8 characters with a letter and a digit.\n\n"
    "A running server is asked over DATA/control.sock; without one the store itself is opened.\n";

typedef struct wanted {
    const char *email;
    const char *name;
    const char *role;
    const char *tenant;
    const char *new_tenant;
    const char *config;
    bool        json;
} wanted;

/* ---- the password ---- */

static bool
line_read(char out[PASSWORD_MAX + 2])
{
    if (fgets(out, PASSWORD_MAX + 2, stdin) == NULL)
        return false;
    out[strcspn(out, "\n")] = '\0';
    return true;
}

static bool
password_ask(char out[PASSWORD_MAX + 2])
{
    struct termios before, quiet;
    bool           terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    bool           ok;

    if (!terminal)
        return line_read(out);
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fputs("Password: ", stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    ok = line_read(out);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    return ok;
}

static bool
password_is_good(const char *text)
{
    bool letter = false, digit = false;

    for (const char *p = text; *p != '\0'; p++) {
        letter |= isalpha((unsigned char)*p) != 0 || (unsigned char)*p >= 0x80;
        digit |= isdigit((unsigned char)*p) != 0;
    }
    return letter && digit && strlen(text) >= PASSWORD_MIN && strlen(text) <= PASSWORD_MAX;
}

static int
password_take(char hash[PASSWORD_HASH_MAX])
{
    char        typed[PASSWORD_MAX + 2] = "";
    const char *password = getenv("HALTLESS_PASSWORD");
    int         rc;

    if (password == NULL && password_ask(typed))
        password = typed;
    if (password == NULL || !password_is_good(password))
        rc = err(E_CONFIG, "the password needs 8 to 1024 characters with a letter and a digit");
    else
        rc = password_hash(view_str(password), hash);
    explicit_bzero(typed, sizeof typed);
    return rc;
}

/* ---- the request ---- */

static const field address_rows[] = {
    { "--email", FIELD_EMAIL, FIELD_REQUIRED, 0, 0, NULL, NULL, "" },
    { "--name", FIELD_STRING, 0, 1, 255, NULL, NULL, "" },
    { "--role", FIELD_ENUM, 0, 0, 0, "viewer|operator|admin", NULL, "" },
    { "--tenant", FIELD_UUID, 0, 0, 0, NULL, NULL, "" },
    { "--new-tenant", FIELD_STRING, 0, 1, 255, NULL, NULL, "" },
    { 0 },
};
static const schema flags_schema = { "user add", address_rows };

/* "--email: Must be ..., --role: ..." */
static int
faults_say(const json_out *faults)
{
    cJSON       *list = json_parse(view_of(faults->at, faults->len));
    const cJSON *f;
    char         text[512] = "";
    size_t       n = 0;

    cJSON_ArrayForEach(f, list)
    {
        const cJSON *flag = cJSON_GetArrayItem(cJSON_GetObjectItem(f, "loc"), 1);

        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s: %s", n > 0 ? "; " : "",
                              cJSON_GetStringValue(flag),
                              cJSON_GetStringValue(cJSON_GetObjectItem(f, "msg")));
        n = min_u64(n, sizeof text - 1);
    }
    cJSON_Delete(list);
    return n > 0 ? err(E_CONFIG, "%s", text) : E_OK;
}

/* The same rules as the API's, on the flags. */
static int
flags_check(const wanted *w)
{
    const struct {
        const char *name, *value;
    } flags[] = { { "--email", w->email },
                  { "--name", w->name },
                  { "--role", w->role },
                  { "--tenant", w->tenant },
                  { "--new-tenant", w->new_tenant } };
    cJSON   *body = cJSON_CreateObject();
    json_out faults = { 0 };
    int      rc = E_OK;

    ASSERT(body != NULL);
    for (size_t i = 0; i < COUNT_OF(flags); i++)
        if (flags[i].value != NULL)
            cJSON_AddStringToObject(body, flags[i].name, flags[i].value);
    json_open(&faults, '[');
    if (schema_check(&flags_schema, body, &faults) > 0) {
        json_close(&faults, ']');
        rc = faults_say(&faults);
    }
    cJSON_Delete(body);
    json_out_free(&faults);
    return rc;
}

static void
params_pack(pack *p, const wanted *w, const char *hash)
{
    bool fresh = w->new_tenant != NULL;

    pack_map(p, 4u + (!fresh && w->tenant != NULL));
    pack_name_str(p, "email", view_str(w->email));
    pack_name_str(p, "full_name", view_str(w->name != NULL ? w->name : w->email));
    pack_name_str(p, "password_hash", view_str(hash));
    if (fresh)
        pack_name_str(p, "tenant_name", view_str(w->new_tenant));
    else
        pack_name_str(p, "role", view_str(w->role != NULL ? w->role : "viewer"));
    if (!fresh && w->tenant != NULL)
        pack_name_str(p, "tenant_id", view_str(w->tenant));
}

static int
user_add(const wanted *w, const char *data_dir)
{
    static const char *const members[] = { "id",   "user_id",   "email", "full_name",
                                           "role", "tenant_id", NULL };
    char                     hash[PASSWORD_HASH_MAX];
    pack                     p;
    int                      result;

    if (flags_check(w) < 0 || password_take(hash) < 0)
        return command_failed("user add");
    pack_init(&p);
    params_pack(&p, w, hash);
    result =
        account_ask("user add", data_dir, w->new_tenant != NULL ? REG_REGISTER : REG_USER_CREATE,
                    pack_view(&p), members, w->json);
    pack_fini(&p);
    return result;
}

static int
user_passwd(const wanted *w, const char *data_dir)
{
    static const char *const members[] = { "id", "email", "full_name", "role", "tenant_id", NULL };
    char                     hash[PASSWORD_HASH_MAX];
    pack                     p;
    int                      result;

    if (password_take(hash) < 0)
        return command_failed("user passwd");
    pack_init(&p);
    pack_map(&p, 2);
    pack_name_str(&p, "email", view_str(w->email));
    pack_name_str(&p, "password_hash", view_str(hash));
    result = account_ask("user passwd", data_dir, REG_USER_PASSWD, pack_view(&p), members, w->json);
    pack_fini(&p);
    return result;
}

int
cmd_user(int argc, char **argv)
{
    bool   passwd = argc >= 2 && strcmp(argv[1], "passwd") == 0;
    bool   bad = false;
    wanted w;
    char  *data_dir;
    int    result;

    if (args_help(argc, argv, usage, true))
        return EXIT_FINE;
    if (!passwd && (argc < 2 || strcmp(argv[1], "add") != 0))
        return command_misused("user", "`user add` and `user passwd` are known");
    argc--;
    argv++;
    w = (wanted){ .email = args_take(&argc, argv, "--email", &bad),
                  .name = args_take(&argc, argv, "--name", &bad),
                  .role = args_take(&argc, argv, "--role", &bad),
                  .tenant = args_take(&argc, argv, "--tenant", &bad),
                  .new_tenant = args_take(&argc, argv, "--new-tenant", &bad),
                  .config = args_take_config(&argc, argv, &bad),
                  .json = args_take_switch(&argc, argv, "--json") };
    if (bad || w.email == NULL)
        return command_misused("user", bad ? "a flag lacks its value" : "--email is needed");
    if (passwd && (w.name != NULL || w.role != NULL || w.tenant != NULL || w.new_tenant != NULL))
        return command_misused("user", "passwd takes the address alone");
    if (w.tenant != NULL && w.new_tenant != NULL)
        return command_misused("user", "--tenant and --new-tenant exclude each other");
    data_dir = account_data_dir(argc - 1, argv + 1, w.config);
    if (data_dir == NULL)
        return command_failed(passwd ? "user passwd" : "user add");
    result = passwd ? user_passwd(&w, data_dir) : user_add(&w, data_dir);
    free(data_dir);
    return result;
}
