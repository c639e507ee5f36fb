#include "proto/messages.h"

#include <ctype.h>
#include <stdio.h>

msg_row msg_rows[MSG_MAX] = {
#define X(MSG, number, min, max, reply, brief) [number] = { #MSG, min, max, reply },
#include "proto/messages.def"
#undef X
};

/* MSG_HEAD_ROWS -> head_rows */
const char *
msg_name(uint16_t type, char out[MSG_NAME_MAX])
{
    static const char prefix[] = "MSG_";
    const msg_row    *row = msg_row_of(type);
    const char       *name = row == NULL ? "?" : row->name;

    if (strncmp(name, prefix, strlen(prefix)) == 0)
        name += strlen(prefix);
    (void)snprintf(out, MSG_NAME_MAX, "%s", name);
    for (char *p = out; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    return out;
}
