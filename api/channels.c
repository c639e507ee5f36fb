/* channels.c - where notifications go, what became of them, and a try. */
#include "api/registry.h"

#include "proto/err.h"

#define READ WHO_VIEWER
enum { TEST_WITHIN_MS = 25000 };

/* Which of them a type must have is the registry's to say. */
static const field config_fields[] = {
    { "url", FIELD_STRING, 0, 1, 2048, NULL, NULL, "webhook" },
    { "headers", FIELD_OBJECT, FIELD_NULL, 0, 0, NULL, NULL, "webhook: at most 20 texts by name" },
    { "webhook_url", FIELD_STRING, 0, 1, 2048, NULL, NULL, "slack, teams" },
    { "email", FIELD_STRING, 0, 1, 254, NULL, NULL, "email" },
    { 0 },
};
static const field channel_fields[] = {
    { "name", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, NULL },
    { "type", FIELD_ENUM, FIELD_REQUIRED, 0, 0, "webhook|slack|teams|email", NULL, NULL },
    { "config", FIELD_OBJECT, FIELD_REQUIRED, 0, 0, NULL, config_fields, "By type" },
    { "is_active", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, "Default true" },
    { 0 },
};
static const schema channel_schema = { "NotificationChannelCreate", channel_fields };

static const field change_fields[] = {
    { "name", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, NULL },
    { "type", FIELD_ENUM, FIELD_REQUIRED, 0, 0, "webhook|slack|teams|email", NULL, NULL },
    { "config", FIELD_OBJECT, FIELD_REQUIRED, 0, 0, NULL, config_fields, "By type" },
    { "is_active", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, "Default: as it was" },
    { "rotate_secret", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, "Make a new signing secret; the answer has it" },
    { 0 },
};
static const schema change_schema = { "NotificationChannelUpdate", change_fields };

/* ---- a try ---- */
static void
on_delivered(call *c, const ak_msg *reply)
{
    json_out *j = call_json(c);
    view      detail = VIEW_LIT("");
    bool      ok = false;
    pack_doc  doc;

    if (pack_open(&doc, view_of(reply->body, reply->len)) < 0) {
        err_clear();
        call_fail(c, 503, "The notifier's answer cannot be read.");
        return;
    }
    (void)pack_get_bool(pack_root(&doc), "ok", &ok);
    (void)pack_get_str(pack_root(&doc), "error", &detail);
    json_open(j, '{');
    json_name_bool(j, "success", ok);
    if (!ok)
        json_name_string(j, "detail", detail);
    json_close(j, '}');
    pack_doc_close(&doc);
    call_send_json(c, 200);
}

static void
on_target(call *c, const ak_msg *reply)
{
    reg_done head;
    view     value;

    if (!call_reg_reply(c, reply, &head, &value))
        return;
    if (head.status == 200)
        call_ask(c, addr_of(KIND_NOTIFIER, 0), MSG_DELIVER, value.at, (uint32_t)value.len, on_delivered);
    else
        route_registry_answer(c, reply);
}

static void
test_channel(call *c)
{
    pack p;

    pack_init(&p);
    registry_params(c, &p, 0);
    call_registry(c, call_route(c)->op, pack_view(&p), on_target);
    pack_fini(&p);
}

extern const route channels_routes[];

const route channels_routes[] = {
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/notification-channels", &registry_page_schema, NULL, registry_list,
      REG_CHANNEL_LIST, "The tenant's notification channels" },
    { POST, 201, WHO_OPERATOR, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/notification-channels", NULL, &channel_schema,
      registry_route, REG_CHANNEL_CREATE, "Add a notification channel; its signing secret is shown once" },
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/notification-channels/{id}", NULL, NULL, registry_get, REG_CHANNEL_GET,
      "One notification channel" },
    { PUT, 200, WHO_OPERATOR, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/notification-channels/{id}", NULL,
      &change_schema, registry_route, REG_CHANNEL_UPDATE, "Change a notification channel" },
    { DELETE_, 204, WHO_OPERATOR, 0, REGISTRY_WITHIN_MS, "/notification-channels/{id}", NULL, NULL, registry_route,
      REG_CHANNEL_DELETE, "Remove a notification channel, and what is on its way to it" },
    { POST, 200, WHO_OPERATOR, REGISTRY_BODY_MAX, TEST_WITHIN_MS, "/notification-channels/{id}/test", NULL, NULL,
      test_channel, REG_CHANNEL_TARGET, "Send a test message now" },
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/notification-channels/{id}/deliveries", &registry_page_schema, NULL,
      registry_list, REG_DELIVERY_LIST, "What was sent, is sent, and could not be; newest first" },
    { 0 },
};
