/* memrocks.h - what the simulator, and the conformance test, do to memrocks.c beside RocksDB's own calls. */
#ifndef HALTLESS_TESTS_SIM_MEMROCKS_H
#define HALTLESS_TESTS_SIM_MEMROCKS_H

#include "proto/base.h"

/* The process that had the databases below this directory open is gone: they may be opened again. */
void memrocks_die(const char *prefix);
/* Power: everything is closed, and of the batches that were not synced a prefix stays; `below(n)` chooses how long
 * it is.  How many batches were lost. */
uint64_t memrocks_cut(uint64_t (*below)(uint64_t n));
/* Asked before every write of a batch and every sync; true: it fails, and the database takes no more until it is opened
 * anew. */
extern bool (*memrocks_fails)(const char *path);

#endif
