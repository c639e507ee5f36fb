/* account.h - what `user`, `tenant` and `key` share: where the data is, and printing what the registry
 * answered. */
#ifndef HALTLESS_TOOLS_ACCOUNT_H
#define HALTLESS_TOOLS_ACCOUNT_H

#include "proto/pack.h"

/* The data directory that the flags, variables and the file say; what args are left must be
 * settings. malloc'ed; NULL: the chain says why. */
char *account_data_dir(int argc, char **argv, const char *config);

/* Asks the registry and prints the members of the answer that `members` names (ended by NULL), one
 * a line; all of it as JSON when wanted.  Returns the exit status. */
int account_ask(const char *who, const char *data_dir, uint16_t op, view params,
                const char *const *members, bool json);

void account_print_json(view packed); /* a MessagePack value, as a line */

#endif
