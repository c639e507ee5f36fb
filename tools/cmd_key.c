/* cmd_key.c - `haltless key add`: an API key from the shell of the server's machine. */
#include "proto/crypto.h"
#include "proto/instant.h"
#include "proto/reg_ops.h"
#include "tools/account.h"
#include "tools/commands.h"

#include <stdlib.h>

static const char usage[] =
    "haltless key add --name NAME [flags] [settings] - makes an API key and prints it, once\n\n"
    "  --name NAME       what it is for\n"
    "  --scopes LIST     comma-separated: ingest, agent, read:machines, read:sensors, read:alerts, "
    "read:fleet,\n"
    "                    stream; or a preset: edge_agent (the default: ingest,agent), read_only\n"
    "  --expires TIME    RFC 3339; without it the key does not expire\n"
    "  --tenant ID       of which tenant; not needed while there is one\n"
    "  --config FILE     where the settings are; --data DIR is enough\n"
    "  --json            the whole answer as JSON\n\n"
    "A running server is asked over DATA/control.sock; without one the store itself is opened.\n";

typedef struct wanted {
    const char *name;
    const char *scopes;
    const char *expires;
    const char *tenant;
    const char *config;
    bool        json;
} wanted;

static uint32_t
words_count(const char *list)
{
    uint32_t n = 1;

    for (const char *p = list; *p != '\0'; p++)
        n += *p == ',';
    return n;
}

static void
pack_words(pack *p, const char *list)
{
    pack_array(p, words_count(list));
    for (;;) {
        size_t len = strcspn(list, ",");

        pack_str(p, view_of(list, len));
        if (list[len] == '\0')
            return;
        list += len + 1;
    }
}

static void
params_pack(pack *p, const wanted *w)
{
    pack_map(p, 1u + (w->scopes != NULL) + (w->expires != NULL) + (w->tenant != NULL));
    pack_name_str(p, "name", view_str(w->name));
    if (w->scopes != NULL) {
        pack_str(p, VIEW_LIT("scopes"));
        pack_words(p, w->scopes);
    }
    if (w->expires != NULL)
        pack_name_str(p, "expires_at", view_str(w->expires));
    if (w->tenant != NULL)
        pack_name_str(p, "tenant_id", view_str(w->tenant));
}

static int
key_add(const wanted *w, const char *data_dir)
{
    static const char *const members[] = { "key",       "id",         "name", "scopes",
                                           "tenant_id", "expires_at", NULL };
    pack                     p;
    int                      result;

    pack_init(&p);
    params_pack(&p, w);
    result = account_ask("key add", data_dir, REG_KEY_CREATE, pack_view(&p), members, w->json);
    pack_fini(&p);
    return result;
}

int
cmd_key(int argc, char **argv)
{
    bool    bad = false;
    int64_t ignored;
    uuid    id;
    wanted  w;
    char   *data_dir;
    int     result;

    if (args_help(argc, argv, usage, true))
        return EXIT_FINE;
    if (argc < 2 || strcmp(argv[1], "add") != 0)
        return command_misused("key", "only `key add` is known");
    argc--;
    argv++;
    w = (wanted){ .name = args_take(&argc, argv, "--name", &bad),
                  .scopes = args_take(&argc, argv, "--scopes", &bad),
                  .expires = args_take(&argc, argv, "--expires", &bad),
                  .tenant = args_take(&argc, argv, "--tenant", &bad),
                  .config = args_take_config(&argc, argv, &bad),
                  .json = args_take_switch(&argc, argv, "--json") };
    if (bad || w.name == NULL || w.name[0] == '\0')
        return command_misused("key", bad ? "a flag lacks its value" : "--name is needed");
    if (w.expires != NULL && !instant_parse(view_str(w.expires), &ignored))
        return command_misused("key", "--expires must be an RFC 3339 time");
    if (w.tenant != NULL && !uuid_parse(view_str(w.tenant), &id))
        return command_misused("key", "--tenant must be a UUID");
    data_dir = account_data_dir(argc - 1, argv + 1, w.config);
    if (data_dir == NULL)
        return command_failed("key add");
    result = key_add(&w, data_dir);
    free(data_dir);
    return result;
}
