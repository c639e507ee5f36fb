/* account.c - the data directory of the settings, and answers of the registry on stdout. */
#include "tools/account.h"

#include "proto/err.h"
#include "proto/json.h"
#include "tools/commands.h"
#include "tools/reach.h"

#include <stdlib.h>

char *
account_data_dir(int argc, char **argv, const char *config)
{
    options o;
    char   *dir;

    if (options_load(&o, config, argc, argv) < 0)
        return NULL;
    dir = strdup(o.server_data);
    ASSERT(dir != NULL);
    options_free(&o);
    return dir;
}

void
account_print_json(view packed)
{
    json_out j = { 0 };

    if (json_from_pack(&j, packed) && !j.failed)
        printf("%.*s\n", (int)j.len, j.at);
    json_out_free(&j);
}

static void
value_print(const msgpack_object *v)
{
    switch (v->type) {
    case MSGPACK_OBJECT_STR:
        printf("%.*s", (int)v->via.str.size, v->via.str.ptr);
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        fputs(v->via.boolean ? "yes" : "no", stdout);
        break;
    case MSGPACK_OBJECT_ARRAY:
        for (uint32_t i = 0; i < v->via.array.size; i++) {
            fputs(i > 0 ? " " : "", stdout);
            if (v->via.array.ptr[i].type == MSGPACK_OBJECT_STR)
                value_print(&v->via.array.ptr[i]);
        }
        break;
    default:
        fputs("?", stdout);
    }
}

static void
members_print(const msgpack_object *map, const char *const *members)
{
    for (; *members != NULL; members++) {
        const msgpack_object *v = pack_get(map, *members);

        if (v == NULL)
            continue;
        printf("%-12s ", *members);
        value_print(v);
        putchar('\n');
    }
}

/* The detail of a refusal. */
static int
refused(const char *who, uint16_t status, const msgpack_object *root)
{
    if (root->type == MSGPACK_OBJECT_STR)
        fprintf(stderr, "haltless %s: %.*s (%u)\n", who, (int)root->via.str.size, root->via.str.ptr,
                status);
    else
        fprintf(stderr, "haltless %s: refused (%u)\n", who, status);
    return EXIT_FAILED;
}

int
account_ask(const char *who, const char *data_dir, uint16_t op, view params,
            const char *const *members, bool json)
{
    pack     reply;
    pack_doc doc;
    uint16_t status = 0;
    int      result = EXIT_FINE;

    pack_init(&reply);
    if (reach_registry(data_dir, op, params, &status, &reply) < 0 ||
        pack_open(&doc, pack_view(&reply)) < 0) {
        result = command_failed(who);
    } else {
        if (status >= 400)
            result = refused(who, status, pack_root(&doc));
        else if (json)
            account_print_json(pack_view(&reply));
        else
            members_print(pack_root(&doc), members);
        pack_doc_close(&doc);
    }
    pack_fini(&reply);
    return result;
}
