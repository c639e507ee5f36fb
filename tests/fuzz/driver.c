/* driver.c - runs a fuzz target without libFuzzer: a bounded number of inputs, the same ones for a
 * seed.
 *
 *     fuzz_<target> [COUNT [SEED]]
 *     fuzz_<target> FILE             one input, as libFuzzer left it
 *     fuzz_<target> --seeds DIR      writes the seeds there, for libFuzzer to start from
 *
 * One input in eight is noise; the others are seeds with a few mutations that know the language:
 * words put in, pieces cut, doubled, moved in from another seed, bytes changed, the end cut off.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

enum { INPUT_MAX = 4096, MUTATIONS_MAX = 6, COUNT_DEFAULT = 20000 };

typedef struct input {
    size_t  len;
    uint8_t at[INPUT_MAX];
} input;

static uint64_t state;

static uint64_t
below(uint64_t n) /* xorshift64* */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return n == 0 ? 0 : (state * UINT64_C(2685821657736338717) >> 11) % n;
}

static void
insert(input *in, const uint8_t *from, size_t len)
{
    size_t at = below(in->len + 1);

    if (len > INPUT_MAX - in->len)
        return;
    memmove(in->at + at + len, in->at + at, in->len - at);
    memcpy(in->at + at, from, len);
    in->len += len;
}

static void
insert_word(input *in)
{
    view w = fuzz_words[below(fuzz_word_count)];

    insert(in, w.at, w.len);
}

static void
insert_from(input *in, view from)
{
    uint8_t piece[INPUT_MAX];
    size_t  at = below(from.len);
    size_t  len = below(min_u64(from.len - at, INPUT_MAX) + 1);

    memcpy(piece, from.at + at, len); /* `from` may be the input itself */
    insert(in, piece, len);
}

static void
cut(input *in)
{
    size_t at = below(in->len);
    size_t len = below(min_u64(in->len - at, 32) + 1);

    memmove(in->at + at, in->at + at + len, in->len - at - len);
    in->len -= len;
}

static void
change_byte(input *in)
{
    static const uint8_t edges[] = { 0, 1, 0x1f, ' ', '"', '\\', 0x7f, 0x80, 0xbf, 0xc0, 0xd8, 0xff };
    size_t               at = below(in->len);

    if (in->len == 0)
        return;
    switch (below(3)) {
    case 0:
        in->at[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        in->at[at] = edges[below(sizeof edges)];
        break;
    default:
        in->at[at] = (uint8_t)below(256);
    }
}

static void
mutate(input *in)
{
    switch (below(8)) {
    case 0:
    case 1:
        insert_word(in);
        break;
    case 2:
        insert_from(in, fuzz_seeds[below(fuzz_seed_count)]);
        break;
    case 3:
        insert_from(in, view_of(in->at, in->len));
        break;
    case 4:
        cut(in);
        break;
    case 5:
        in->len -= below(min_u64(in->len, 16) + 1);
        break;
    default:
        change_byte(in);
    }
}

static void
make(input *in)
{
    view seed = fuzz_seeds[below(fuzz_seed_count)];

    if (below(8) == 0) {
        in->len = below(below(2) == 0 ? 24 : 300);
        for (size_t i = 0; i < in->len; i++)
            in->at[i] = (uint8_t)below(256);
        return;
    }
    ASSERT(seed.len <= INPUT_MAX);
    in->len = seed.len;
    memcpy(in->at, seed.at, seed.len);
    for (uint64_t left = below(MUTATIONS_MAX + 1); left > 0; left--)
        mutate(in);
}

/* From a block of its own length, so that a sanitizer sees every byte read behind it. */
static void
run(const uint8_t *at, size_t len)
{
    uint8_t *exact = malloc(len > 0 ? len : 1);

    ASSERT(exact != NULL);
    memcpy(exact, at, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

static int
run_file(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE          *f = fopen(path, "rb");

    if (f == NULL) {
        perror(path);
        return 1;
    }
    size_t len = fread(bytes, 1, sizeof bytes, f);

    fclose(f);
    run(bytes, len);
    return 0;
}

static int
write_seeds(const char *dir)
{
    char path[1024];

    for (size_t i = 0; i < fuzz_seed_count; i++) {
        snprintf(path, sizeof path, "%s/seed-%zu", dir, i);
        FILE *f = fopen(path, "wb");

        if (f == NULL || fwrite(fuzz_seeds[i].at, 1, fuzz_seeds[i].len, f) != fuzz_seeds[i].len ||
            fclose(f) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    static input in;
    char        *end = NULL;
    long         count = argc > 1 ? strtol(argv[1], &end, 10) : COUNT_DEFAULT;

    if (argc > 1 && *end != '\0')
        return run_file(argv[1]);
    state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 20261123;
    for (size_t i = 0; i < fuzz_seed_count; i++)
        run(fuzz_seeds[i].at, fuzz_seeds[i].len);
    for (long i = 0; i < count; i++) {
        make(&in);
        run(in.at, in.len);
    }
    return 0;
}
