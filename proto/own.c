/* own.c - see own.h. */
#include "proto/own.h"

static own_names names;

static bool
is_name(const char *s)
{
    size_t len = strnlen(s, OWN_NAME_MAX);

    return len > 0 && len < OWN_NAME_MAX && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

bool
own_kind(uint16_t number, const char *name)
{
    if (number < KIND_OWN || number >= KIND_MAX || !is_name(name))
        return false;
    memcpy(names.kind[number - KIND_OWN], name, strlen(name) + 1);
    return true;
}

bool
own_message(uint16_t type, const char *name, uint32_t body_min, uint32_t body_max, uint32_t reply_max)
{
    char *own;

    if (type < MSG_OWN || type >= MSG_MAX || !is_name(name) || body_min > body_max)
        return false;
    own = names.message[type - MSG_OWN];
    memcpy(own, name, strlen(name) + 1);
    msg_rows[type] = (msg_row){ own, body_min, body_max, reply_max };
    return true;
}

const char *
own_kind_name(uint16_t kind)
{
    bool known = kind >= KIND_OWN && kind < KIND_MAX && names.kind[kind - KIND_OWN][0] != '\0';

    return known ? names.kind[kind - KIND_OWN] : "?";
}

const own_names *
own_names_now(void)
{
    return &names;
}

void
own_names_take(const own_names *from)
{
    for (uint16_t i = 0; i < OWN_KINDS; i++)
        (void)!own_kind((uint16_t)(KIND_OWN + i), from->kind[i]);
    for (uint16_t i = 0; i < OWN_MESSAGES; i++)
        (void)!own_message((uint16_t)(MSG_OWN + i), from->message[i], 0, UINT32_MAX, UINT32_MAX);
}
