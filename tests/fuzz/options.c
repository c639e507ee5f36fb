/* options.c - any TOML file is refused with a reason, or is the same settings after a save and a
 * read. */
#include "tests/fuzz/fuzz.h"

#include "actors/options.h"
#include "proto/err.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

const view fuzz_seeds[] = {
    VIEW_LIT("[server]\nlisten = \"0.0.0.0:80\"\ndata = 'x'\nprocesses = "
             "true\n[storage]\njournal_mb = 64\n"),
    VIEW_LIT(
        "server.listen = \"\"\"a\\u00e9\"\"\"\nlog = { level = \"debug\", format = \"json\" }\n"),
    VIEW_LIT("[limits]\nbody_bytes = \"64k\"\nmachines = 0x1000\n[front]\ncount = 3 # three\n"),
};
const size_t fuzz_seed_count = COUNT_OF(fuzz_seeds);

const view fuzz_words[] = {
    VIEW_LIT("["),
    VIEW_LIT("]"),
    VIEW_LIT("="),
    VIEW_LIT("\n"),
    VIEW_LIT("\"\"\""),
    VIEW_LIT("{"),
    VIEW_LIT("}"),
    VIEW_LIT("[["),
    VIEW_LIT("]]"),
    VIEW_LIT("."),
    VIEW_LIT("'"),
    VIEW_LIT("\\u0000"),
    VIEW_LIT("\\"),
    VIEW_LIT("1979-05-27"),
    VIEW_LIT("nan"),
    VIEW_LIT("-1"),
    VIEW_LIT("9223372036854775808"),
    VIEW_LIT("[storage]\n"),
    VIEW_LIT("heads_mb = 16\n"),
    VIEW_LIT("\xff"),
    VIEW_LIT("#"),
    VIEW_LIT("[[[[[[[[[[[["),
};
const size_t fuzz_word_count = COUNT_OF(fuzz_words);

static int
file_of(const void *data, size_t len, char path[64])
{
    int fd = memfd_create("options", MFD_CLOEXEC);

    ASSERT(fd >= 0 && write(fd, data, len) == (ssize_t)len);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static char *
dump_of(const options *o, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);

    ASSERT(out != NULL);
    options_dump(o, out);
    fclose(out);
    return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char    path[64], again_path[64];
    int     fd = file_of(data, len, path);
    options o, again;

    err_clear();
    if (options_read(&o, path) < 0) {
        ASSERT(strstr(err_text(), path) != NULL);
    } else {
        size_t text_len, again_len;
        char  *text = dump_of(&o, &text_len), *again_text;
        int    again_fd = file_of(text, text_len, again_path);

        ASSERT(options_read(&again, again_path) == E_OK);
        again_text = dump_of(&again, &again_len);
        ASSERT(strcmp(text, again_text) == 0);
        free(text);
        free(again_text);
        close(again_fd);
        options_free(&o);
        options_free(&again);
    }
    close(fd);
    return 0;
}
