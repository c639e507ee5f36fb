/* fault_log.h - errors and warnings that this process logs are counted in the run directory too (faults.h). */
#ifndef HALTLESS_ACTORS_FAULT_LOG_H
#define HALTLESS_ACTORS_FAULT_LOG_H

#include "proto/base.h"

#define FAULT_LOG_NODE "node" /* the supervisor's; a group's is its number */

/* Once a process.  It runs without one all the same: then there is a warning, on stderr alone. */
void fault_log_open(const char *run_dir, const char *name);
void fault_log_close(void); /* no thread logs any more */

#endif
