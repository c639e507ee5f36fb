/* notify_guard.h - which addresses a notification may be sent to: none inside the operator's own network, unless allowed. */
#ifndef HALTLESS_ACTORS_NOTIFY_GUARD_H
#define HALTLESS_ACTORS_NOTIFY_GUARD_H

#include "proto/base.h"

#include <sys/socket.h>

/* Is it a public unicast address?  Asked of the address that is being connected to, so a name that resolves otherwise the
 * second time gains nothing.  IPv6 forms that carry an IPv4 address are judged by that one. */
bool notify_guard_is_public(const struct sockaddr *to, socklen_t len);

#endif
