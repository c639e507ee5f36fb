/* fuzz.h - a fuzz target: an entry for libFuzzer, and what driver.c mutates when there is no
 * libFuzzer.
 *
 * A target stops (ASSERT) when the code under test breaks a promise; sanitizers watch over the
 * memory.
 */
#ifndef HALTLESS_TESTS_FUZZ_FUZZ_H
#define HALTLESS_TESTS_FUZZ_FUZZ_H

#include "proto/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

extern const view   fuzz_seeds[]; /* whole, good inputs */
extern const size_t fuzz_seed_count;
extern const view   fuzz_words[]; /* pieces of the language */
extern const size_t fuzz_word_count;

#endif
