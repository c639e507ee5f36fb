/* hash.h - checksums and hashes. */
#ifndef HALTLESS_PROTO_HASH_H
#define HALTLESS_PROTO_HASH_H

#include "proto/base.h"

/* CRC-32C (Castagnoli), continued from `crc` (0 to start).  SSE4.2 where the CPU has it, chosen at run time. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same number without the instruction: what CPUs that lack it run, and what tests compare with. */
uint32_t crc32c_table(uint32_t crc, const void *data, size_t len);
/* A keyed, fast, non-cryptographic 64-bit hash (XXH3 with a seed). */
uint64_t hash64(uint64_t seed, const void *data, size_t len);

#endif
