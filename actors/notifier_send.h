/* notifier_send.h - deliveries under way, over libcurl's multi interface.
 *
 * One delivery takes at most timeout_s; of an answer's body SENDER_BODY_MAX bytes are read, then it is cut off.
 * Redirects are not followed, proxies of the environment not used, a 2xx status is success.
 */
#ifndef HALTLESS_ACTORS_NOTIFIER_SEND_H
#define HALTLESS_ACTORS_NOTIFIER_SEND_H

#include "actors/options.h"
#include "proto/crypto.h"
#include "proto/pack.h"

enum { SENDER_BODY_MAX = 65536, SENDER_ERROR_MAX = 256 };

typedef struct delivery {
    int64_t               type;  /* enum channel_type */
    view                  id;    /* X-Haltless-Delivery */
    view                  event; /* X-Haltless-Event */
    view                  target;
    const msgpack_object *headers; /* a map of texts, or NULL */
    uint8_t               secret[SECRET_LEN];
    view                  body;
    int64_t               wall_us;
} delivery;

typedef struct outcome {
    bool     ok;
    uint16_t http_status; /* 0: none came (of SMTP: the last reply's code) */
    char     error[SENDER_ERROR_MAX]; /* empty when ok */
} outcome;

typedef struct sender sender;
typedef void sender_done_fn(void *arg, void *ctx, const outcome *o);

NODISCARD int sender_open(sender **s);
void          sender_close(sender **s); /* what is under way is broken off */
/* Everything of d and o is copied.  NULL; or, when it cannot be sent at all, why. */
NODISCARD const char *sender_start(sender *s, const options *o, const delivery *d, void *ctx);
/* Goes on with what is under way; done is called for each that ended. */
void sender_step(sender *s, sender_done_fn *done, void *arg);
/* Sleeps until a transfer or one of the descriptors wants something, or ns have passed. */
void sender_wait(sender *s, const int *fds, uint32_t count, uint64_t ns);

#endif
