#include "proto/messages.h"

static const msg_row rows[MSG_MAX] = {
#define X(MSG, number, min, max, reply, brief) [number] = { #MSG, min, max, reply },
#include "proto/messages.def"
#undef X
};

const msg_row *
msg_row_of(uint16_t type)
{
    if (type >= MSG_MAX || rows[type].name == NULL)
        return NULL;
    return &rows[type];
}
