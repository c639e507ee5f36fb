/* envelope.h - the 64 bytes in front of every message body.
 *
 * One cache line, little-endian; the same 64 bytes are frame 0 of a message that
 * travels over ZeroMQ.
 *
 *   0       4       8   10  12      16              24
 *   +-------+-------+---+---+-------+---------------+
 *   | len   | crc   |typ|flg| spare | from          |
 *   +-------+-------+---+---+-------+---------------+
 *   24              32              40              48              56             64
 *   +---------------+---------------+---------------+---------------+---------------+
 *   | to            | corr          | deadline_ns   | sent_ns       | trace         |
 *   +---------------+---------------+---------------+---------------+---------------+
 *
 *   len          bytes of the body behind the envelope; the record takes
 *                64 + round_up(len, 64) bytes of its lane
 *   crc          crc32c of envelope (crc = 0) and body; 0 = not computed (same host)
 *   corr         which ask this is, or answers: incarnation of the asker in the top 16 bits;
 *                0 for a note
 *   deadline_ns  monotonic; 0 = none.  Between hosts it travels as time left.
 *   sent_ns      monotonic, when it was staged
 *   trace        follows one client request through every actor
 */
#ifndef HALTLESS_PROTO_ENVELOPE_H
#define HALTLESS_PROTO_ENVELOPE_H

#include "proto/base.h"

/* node:16 kind:16 part:16 zero:16, printed "ingest.3@0".  Names a role: it survives a restart. */
typedef uint64_t addr;

enum { ENVELOPE_LEN = 64 };

enum envelope_flags {
    ENV_ASK = 1 << 0,    /* owes a reply */
    ENV_REPLY = 1 << 1,  /* answers corr */
    ENV_MORE = 1 << 2,   /* a part of a streamed reply; more follow */
    ENV_CREDIT = 1 << 3, /* grants body (u64) more bytes of parts to corr */
    ENV_CANCEL = 1 << 4, /* nobody waits for corr any longer */
    ENV_PAD = 1 << 5,    /* carries nothing: skipped by the reader */
};

typedef struct envelope {
    uint32_t len;
    uint32_t crc;
    uint16_t type;
    uint16_t flags;
    uint32_t spare;
    addr     from;
    addr     to;
    uint64_t corr;
    uint64_t deadline_ns;
    uint64_t sent_ns;
    uint64_t trace;
} envelope;

_Static_assert(sizeof(envelope) == ENVELOPE_LEN, "one cache line");

static inline uint64_t
envelope_record_len(uint32_t body_len)
{
    return ENVELOPE_LEN + round_up(body_len, 64);
}

static inline addr
addr_of(uint16_t kind, uint16_t part)
{
    return (uint64_t)kind << 32 | (uint64_t)part << 16;
}

static inline uint16_t
addr_kind(addr a)
{
    return (uint16_t)(a >> 32);
}

static inline uint16_t
addr_part(addr a)
{
    return (uint16_t)(a >> 16);
}

enum kind_number {
#define X(KIND, number, name, brief) KIND_##KIND = number,
#include "proto/kinds.def"
#undef X
    KIND_OWN = 12, /* from here on: kinds of a program of one's own (own.h) */
    KIND_MAX = 16
};
const char *own_kind_name(uint16_t kind); /* "?" when there is none */

/* "ingest", or "?" */
static inline const char *
kind_name(uint16_t kind)
{
    switch (kind) {
#define X(KIND, number, name, brief)                                                               \
    case number:                                                                                   \
        return name;
#include "proto/kinds.def"
#undef X
    default:
        return own_kind_name(kind);
    }
}

#endif
