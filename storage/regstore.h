/* regstore.h - the registry's store: a RocksDB of its own, column families by noun, one writer.
 *
 * Every value begins with a format version byte (put here, taken off here).  A batch is atomic and, when
 * committed with sync, durable.  Keys: store_be32/be64 so that they sort.
 */
#ifndef HALTLESS_STORAGE_REGSTORE_H
#define HALTLESS_STORAGE_REGSTORE_H

#include "proto/base.h"

/* X(FAMILY, "name") */
#define REG_FAMILIES(X)                                                                            \
    X(REG_META, "meta")                                                                            \
    X(REG_TENANTS, "tenants")                                                                      \
    X(REG_USERS, "users")                                                                          \
    X(REG_KEYS, "api_keys")                                                                        \
    X(REG_SESSIONS, "sessions")                                                                    \
    X(REG_BLOCKED, "blocked")                                                                      \
    X(REG_MACHINES, "machines")                                                                    \
    X(REG_GROUPS, "groups")                                                                        \
    X(REG_RULES, "rules")                                                                          \
    X(REG_ALERTS, "alerts")                                                                        \
    X(REG_COMMENTS, "comments")                                                                    \
    X(REG_CHANNELS, "channels")                                                                    \
    X(REG_OUTBOX, "outbox")                                                                        \
    X(REG_ESCALATIONS, "escalations")                                                              \
    X(REG_AUDIT, "audit")

enum reg_family {
#define X(FAMILY, name) FAMILY,
    REG_FAMILIES(X)
#undef X
        REG_FAMILY_COUNT
};

typedef struct regstore regstore;

NODISCARD int regstore_open(regstore **s, const char *data_dir); /* DIR/registry; E_LOCKED, E_NEWER, ... */
void regstore_close(regstore **s);
/* Opened on a full disk: every commit answers E_NOSPACE, until it is opened again. */
bool regstore_is_read_only(const regstore *s);

/* One batch at a time. */
void regstore_put(regstore *s, enum reg_family f, view key, view value);
void regstore_delete(regstore *s, enum reg_family f, view key);
NODISCARD int regstore_commit(regstore *s, bool sync); /* all or nothing; E_IO, E_NOSPACE: the batch is dropped */
void regstore_abandon(regstore *s);

/* Reads see committed data only.  *value is owned by the caller: regstore_free. E_NOTFOUND. */
NODISCARD int regstore_get(regstore *s, enum reg_family f, view key, uint8_t **value, size_t *len);
void regstore_free(uint8_t *value);
/* Keys in [from, until) (until.len == 0: to the end), forwards or backwards; fn returns non-zero to stop (returned). */
typedef int regstore_scan_fn(void *ctx, view key, view value);
NODISCARD int regstore_scan(regstore *s, enum reg_family f, view from, view until, bool backwards,
                            regstore_scan_fn *fn, void *ctx);

/* Data directory lock: held from the supervisor's start to its end (a file lock; E_LOCKED names the pid).
 * Also checks and writes DIR/FORMAT. Returns the descriptor, >= 0; keep it open. */
NODISCARD int data_dir_lock(const char *dir);

#endif
