#include "proto/messages.h"

const msg_row msg_rows[MSG_MAX] = {
#define X(MSG, number, min, max, reply, brief) [number] = { #MSG, min, max, reply },
#include "proto/messages.def"
#undef X
};
