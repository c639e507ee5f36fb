/* secrets.h - the secrets of a data directory: made at first use, 0600, and the signing one exchanged while
 * the server runs.
 *
 *   secrets_renew   1. a new secret is known to everybody, and signs nothing yet     (everybody looks each second)
 *                   2. it signs; what the old one signed is good until it expires
 */
#ifndef HALTLESS_PROTO_SECRETS_H
#define HALTLESS_PROTO_SECRETS_H

#include "proto/crypto.h"

typedef struct secrets {
    uint8_t jwt[SECRET_LEN];     /* signs access tokens */
    uint8_t keys[SECRET_LEN];    /* hashes API keys, chains the audit */
    uint8_t refresh[SECRET_LEN]; /* hashes refresh tokens */
    uint8_t also[SECRET_LEN];    /* access tokens signed with this are good too: the next or the last jwt */
    int64_t also_until_s;        /* unix; 0: never, INT64_MAX: it is the next one */
} secrets;

NODISCARD int secrets_load(secrets *s, const char *data_dir);

/* What was looked at last: file number and time of change. */
typedef struct secrets_stamp {
    uint64_t file;
    int64_t  changed_ns;
} secrets_stamp;
/* Loads them again when the file is another one than `seen`.  *s stays when that fails, or nothing changed. */
NODISCARD int secrets_look(secrets *s, secrets_stamp *seen, const char *data_dir);

/* The two steps above; `valid_s`: how long a token that was signed until now lives. */
NODISCARD int secrets_announce(const char *data_dir);
NODISCARD int secrets_renew(const char *data_dir, int64_t now_s, int64_t valid_s);

#endif
