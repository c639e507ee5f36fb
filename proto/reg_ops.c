#include "proto/reg_ops.h"

static const reg_op_row rows[REG_OP_MAX] = {
#define X(OP, number, role, writes, action, brief) [number] = { #OP, action, role, writes },
#include "proto/reg_ops.def"
#undef X
};

const char *const role_words[] = { "", "viewer", "operator", "admin", NULL };
const char *const protocol_words[] = { "opc_ua", "modbus_tcp", "csv", "json", "mqtt", "mtconnect", NULL };
const char *const severity_words[] = { "info", "warning", "critical", NULL };
const char *const compare_words[] = { "gt", "gte", "lt", "lte", "eq", "ne", NULL };
const char *const status_words[] = { "offline", "healthy", "warning", "critical", NULL };
const char *const scope_words[] = { "ingest",      "agent",     "read:machines", "read:sensors",
                                    "read:alerts", "read:fleet", "stream",        NULL };
const char *const tier_words[] = { "free", "pro", "enterprise", NULL };

const reg_op_row *
reg_op_row_of(uint16_t op)
{
    if (op >= REG_OP_MAX || rows[op].name == NULL)
        return NULL;
    return &rows[op];
}

int
word_index(const char *const *words, view word)
{
    for (int i = 0; words[i] != NULL; i++)
        if (view_eq(view_str(words[i]), word))
            return i;
    return -1;
}
