/* messages.h - numbers and limits of every message (the table is messages.def). */
#ifndef HALTLESS_PROTO_MESSAGES_H
#define HALTLESS_PROTO_MESSAGES_H

#include "proto/base.h"

enum msg_type {
#define X(MSG, number, body_min, body_max, reply_max, brief) MSG = number,
#include "proto/messages.def"
#undef X
    MSG_OWN = 52, /* from here on: messages of a program of one's own (own.h) */
    MSG_MAX = 64  /* every number is below */
};

typedef struct msg_row {
    const char *name;
    uint32_t    body_min;
    uint32_t    body_max;
    uint32_t    reply_max;
} msg_row;

extern msg_row msg_rows[MSG_MAX]; /* name == NULL: no such type; only own.c writes, before any thread */

/* The row of a type, or NULL when there is none. */
static inline const msg_row *
msg_row_of(uint16_t type)
{
    return type < MSG_MAX && msg_rows[type].name != NULL ? &msg_rows[type] : NULL;
}

/* "head_rows"; "?" when there is none. */
enum { MSG_NAME_MAX = 24 };
const char *msg_name(uint16_t type, char out[MSG_NAME_MAX]);

#endif
