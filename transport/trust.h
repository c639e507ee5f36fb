/* trust.h - who a node is, and whom it believes: CURVE key pairs in files, and the list of keys that
 * may connect.
 *
 * A key file is text, 0600, two lines; its public half lies beside it in FILE.pub, one line:
 *
 *   public 64 hexadecimal digits
 *   secret 64 hexadecimal digits
 */
#ifndef HALTLESS_TRANSPORT_TRUST_H
#define HALTLESS_TRANSPORT_TRUST_H

#include "proto/base.h"

enum { TRUST_KEY_LEN = 32, TRUST_TEXT_LEN = 2 * TRUST_KEY_LEN };

typedef struct trust_pair {
    uint8_t public[TRUST_KEY_LEN];
    uint8_t secret[TRUST_KEY_LEN];
} trust_pair;

/* Makes FILE and FILE.pub.  E_EXISTS: one of them is there; nothing is overwritten. */
NODISCARD int trust_make(const char *file, trust_pair *out);
/* E_PERM: others may read it.  E_CONFIG: not a key file, or its halves do not belong together. */
NODISCARD int trust_load(const char *file, trust_pair *out);

void           trust_text(const uint8_t key[TRUST_KEY_LEN], char out[TRUST_TEXT_LEN + 1]);
NODISCARD bool trust_parse(view text, uint8_t out[TRUST_KEY_LEN]);

/* Encryption of a socket before it is bound or connected. */
void trust_serve(void *socket, const trust_pair *own);
void trust_visit(void *socket, const trust_pair *own, const uint8_t server[TRUST_KEY_LEN]);

/* The answer to libzmq's question (ZAP, RFC 27) who may come: bound in the context of the sockets it
 * answers for, before the first of them is.  Answers on the thread that calls trust_answer(). */
typedef struct trust_gate trust_gate;
NODISCARD int trust_open(trust_gate **g, void *zmq_ctx);
void          trust_close(trust_gate **g);
NODISCARD int trust_allow(trust_gate *g, const uint8_t key[TRUST_KEY_LEN]);
void         *trust_socket(const trust_gate *g);
/* Answers what was asked, until there is nothing more.  Returns how many were refused. */
uint32_t trust_answer(trust_gate *g);

#endif
