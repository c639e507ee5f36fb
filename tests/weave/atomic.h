/* atomic.h - included before everything in a weave build: every atomic of the real code is a point where the explorer may
 * turn to the other thread, hold the store back in its thread's buffer, or kill it.  weave.h has the rest. */
#ifndef HALTLESS_TESTS_WEAVE_ATOMIC_H
#define HALTLESS_TESTS_WEAVE_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

uint64_t weave_load(const volatile void *at, unsigned size);
void     weave_store(volatile void *at, unsigned size, uint64_t value, memory_order order);
uint64_t weave_exchange(volatile void *at, unsigned size, uint64_t value);

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#define atomic_load(p)                    weave_load((p), sizeof *(p))
#define atomic_load_explicit(p, order)    weave_load((p), sizeof *(p))
#define atomic_store(p, value)            weave_store((p), sizeof *(p), (value), memory_order_seq_cst)
#define atomic_store_explicit(p, v, order) weave_store((p), sizeof *(p), (v), (order))
#define atomic_exchange(p, value)         weave_exchange((p), sizeof *(p), (value))

#endif
