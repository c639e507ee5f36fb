/* password.h - passwords on their way to the worker, and the rule they must keep. */
#ifndef HALTLESS_API_PASSWORD_H
#define HALTLESS_API_PASSWORD_H

#include "api/route.h"

enum { PASSWORD_CHARS_MIN = 8, PASSWORD_BYTES_MAX = 1024 };

/* At least 8 characters with a letter and a digit, at most 1 024 bytes.  False: answered with 422. */
bool password_is_good(call *c, const char *member, const char *password);

/* `then` gets MSG_WORK_DONE: password_hashed() or password_verified() tell. */
void password_hash_ask(call *c, const char *password, call_then *then);
/* An empty hash is no account's: takes as long and does not match. */
void password_verify_ask(call *c, const char *password, view hash, call_then *then);

/* The hash, borrowed from the reply; empty and answered with 503 when there is none. */
view password_hashed(call *c, const ak_msg *reply);
bool password_verified(const ak_msg *reply);

#endif
