/* auth.h - who asks: an access token or an API key becomes a caller.
 *
 * Everything that can change (live, role, scopes, blocked, subscription) is looked up in the board
 * at each request.
 */
#ifndef HALTLESS_API_AUTH_H
#define HALTLESS_API_AUTH_H

#include "api/front.h"

typedef struct auth_verdict {
    uint16_t status; /* 0: fine */
    uint8_t  tier;   /* of the caller's tenant */
    char     detail[96];
} auth_verdict;

/* The caller of a token or key.  status: 0, 401, 402. */
auth_verdict auth_token(front *f, view token, caller *who);
auth_verdict auth_key(front *f, view key, caller *who);
/* From a request's headers. */
auth_verdict auth_request(front *f, const exchange *x, caller *who);
/* May `who` do what the row is for?  status: 0 or 403. */
auth_verdict auth_allows(uint32_t row_who, const caller *who);

#endif
