/* cmd_tenant.c - `haltless tenant list`, `haltless tenant set`: what only the operator of the server says of a tenant. */
#include "proto/err.h"
#include "proto/crypto.h"
#include "proto/reg_ops.h"
#include "tools/account.h"
#include "tools/commands.h"
#include "tools/reach.h"

#include <stdlib.h>

static const char usage[] =
    "haltless tenant list [settings]                     - the tenants of a server\n"
    "haltless tenant set [--tenant ID] [flags] [settings] - changes one\n\n"
    "  --tenant ID        which tenant; not needed while there is one\n"
    "  --tier TIER        free, pro or enterprise: which limits.rate_... holds for its requests\n"
    "  --status STATUS    active or inactive: the API answers an inactive tenant with 402, also its machines' pushes\n"
    "  --config FILE      where the settings are; --data DIR is enough\n"
    "  --json             the whole answer as JSON\n\n"
    "A running server is asked over DATA/control.sock; without one the store itself is opened.\n";

typedef struct wanted {
    const char *tenant;
    const char *tier;
    const char *status;
    const char *config;
    bool        json;
} wanted;

static view
text_of(const msgpack_object *map, const char *name)
{
    view v;

    return pack_get_str(map, name, &v) ? v : VIEW_LIT("?");
}

static int64_t
number_of(const msgpack_object *map, const char *name)
{
    int64_t n = 0;

    (void)pack_get_int(map, name, &n);
    return n;
}

static void
line_print(const msgpack_object *t)
{
    view id = text_of(t, "id"), tier = text_of(t, "tier"), status = text_of(t, "status"), name = text_of(t, "name");

    printf("%-36.*s  %-10.*s  %-8.*s  %6lld  %8lld  %.*s\n", (int)id.len, id.at, (int)tier.len, tier.at, (int)status.len,
           status.at, (long long)number_of(t, "users"), (long long)number_of(t, "machines"), (int)name.len, name.at);
}

/* Prints a page, or what is left of it.  How many tenants it had; -1: it cannot be read. */
static int
piece_print(view reply, bool json, int64_t *left)
{
    pack_doc              doc;
    const msgpack_object *items;
    int                   count = -1;

    if (pack_open(&doc, reply) < 0)
        return err(E_BAD, "the registry's answer");
    items = pack_get(pack_root(&doc), "items");
    *left = number_of(pack_root(&doc), "left");
    if (items != NULL && items->type == MSGPACK_OBJECT_ARRAY) {
        count = (int)items->via.array.size;
        for (int i = 0; i < count; i++) {
            pack p;

            if (!json) {
                line_print(&items->via.array.ptr[i]);
                continue;
            }
            pack_init(&p);
            msgpack_pack_object(&p.packer, items->via.array.ptr[i]);
            account_print_json(pack_view(&p));
            pack_fini(&p);
        }
    }
    pack_doc_close(&doc);
    return count < 0 ? err(E_BAD, "the registry's answer") : count;
}

/* The piece of that page behind `skip` of its tenants.  How many there were; 0: none. */
static int
piece_ask(const wanted *w, const char *data_dir, int64_t page, int64_t skip, int64_t *left)
{
    uint16_t status = 0;
    pack     params, reply;
    int      rc;

    pack_init(&params);
    pack_init(&reply);
    pack_map(&params, 3);
    pack_name_int(&params, "page", page);
    pack_name_int(&params, "page_size", 100);
    pack_name_int(&params, "skip", skip);
    rc = reach_registry(data_dir, REG_TENANT_LIST, pack_view(&params), &status, &reply);
    if (rc == E_OK && status != 200)
        rc = err(E_BAD, "refused (%u)", status);
    if (rc == E_OK)
        rc = piece_print(pack_view(&reply), w->json, left);
    pack_fini(&params);
    pack_fini(&reply);
    return rc;
}

static int
tenant_list(const wanted *w, const char *data_dir)
{
    int64_t page = 1, skip = 0, left = 0;
    int     count;

    if (!w->json)
        printf("%-36s  %-10s  %-8s  %6s  %8s  %s\n", "id", "tier", "status", "users", "machines", "name");
    while ((count = piece_ask(w, data_dir, page, skip, &left)) > 0) {
        skip = left > 0 ? skip + count : 0;
        page += left > 0 ? 0 : 1;
    }
    return count < 0 ? command_failed("tenant list") : EXIT_FINE;
}

static int
tenant_set(const wanted *w, const char *data_dir)
{
    static const char *const members[] = { "id", "name", "tier", "status", NULL };
    const struct {
        const char *name, *value;
    } given[] = { { "tenant_id", w->tenant }, { "tier", w->tier }, { "status", w->status } };
    uint32_t count = 0;
    pack     p;
    int      result;

    for (size_t i = 0; i < COUNT_OF(given); i++)
        count += given[i].value != NULL;
    pack_init(&p);
    pack_map(&p, count);
    for (size_t i = 0; i < COUNT_OF(given); i++)
        if (given[i].value != NULL)
            pack_name_str(&p, given[i].name, view_str(given[i].value));
    result = account_ask("tenant set", data_dir, REG_TENANT_SET, pack_view(&p), members, w->json);
    pack_fini(&p);
    return result;
}

int
cmd_tenant(int argc, char **argv)
{
    bool   set = argc >= 2 && strcmp(argv[1], "set") == 0;
    bool   bad = false;
    wanted w;
    uuid   id;
    char  *data_dir;
    int    result;

    if (args_help(argc, argv, usage, true))
        return EXIT_FINE;
    if (!set && (argc < 2 || strcmp(argv[1], "list") != 0))
        return command_misused("tenant", "`tenant list` and `tenant set` are known");
    argc--;
    argv++;
    w = (wanted){ .tenant = args_take(&argc, argv, "--tenant", &bad),
                  .tier = args_take(&argc, argv, "--tier", &bad),
                  .status = args_take(&argc, argv, "--status", &bad),
                  .config = args_take_config(&argc, argv, &bad),
                  .json = args_take_switch(&argc, argv, "--json") };
    if (bad || set != (w.tier != NULL || w.status != NULL) || (!set && w.tenant != NULL))
        return command_misused("tenant", bad   ? "a flag lacks its value"
                                         : set ? "--tier or --status is needed"
                                               : "list takes settings alone");
    if (w.tenant != NULL && !uuid_parse(view_str(w.tenant), &id))
        return command_misused("tenant", "--tenant must be a UUID");
    data_dir = account_data_dir(argc - 1, argv + 1, w.config);
    if (data_dir == NULL)
        return command_failed(set ? "tenant set" : "tenant list");
    result = set ? tenant_set(&w, data_dir) : tenant_list(&w, data_dir);
    free(data_dir);
    return result;
}
