/* backup.h - what `haltless verify` asks of a backup (tools/cmd_backup.c). */
#ifndef HALTLESS_TOOLS_BACKUP_H
#define HALTLESS_TOOLS_BACKUP_H

#include "proto/base.h"

/* Reads every file of a backup: how many there are, and how many are not what its manifest says.  E_NOTFOUND: no backup. */
NODISCARD int backup_verify(const char *dir, bool quiet, uint32_t *count, uint32_t *damaged);

#endif
