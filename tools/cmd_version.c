/* cmd_version.c - what runs here: this program and the libraries that are really loaded.
 *
 * The libraries are asked at run time, by symbol: the number is the loaded file's, not the
 * header's.  Those that have no function for it are named by their file (librocksdb.so.7.8.3).
 */
#include "tools/commands.h"
#include "proto/version.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>

typedef enum version_form {
    FORM_TEXT,
    FORM_NUMBER,
    FORM_TRIPLE,
    FORM_INDEXED,
    FORM_FILE
} version_form;

typedef struct library {
    const char  *name;
    const char  *symbol; /* what it exports: asked for the version, or to find its file */
    version_form form;
    const char  *prefix; /* of the text that is no version */
} library;

static const library libraries[] = {
    { "libsodium", "sodium_version_string", FORM_TEXT, "" },
    { "cJSON", "cJSON_Version", FORM_TEXT, "" },
    { "msgpack-c", "msgpack_version", FORM_TEXT, "" },
    { "zlib", "zlibVersion", FORM_TEXT, "" },
    { "zstd", "ZSTD_versionString", FORM_TEXT, "" },
    { "xxHash", "XXH_versionNumber", FORM_NUMBER, "" },
    { "toml++", "_ZN4toml2v32ex10parse_fileESt17basic_string_viewIcSt11char_traitsIcEE", FORM_FILE,
      "" },
    { "libzmq", "zmq_version", FORM_TRIPLE, "" },
    { "CZMQ", "zsys_version", FORM_TRIPLE, "" },
    { "RocksDB", "rocksdb_open", FORM_FILE, "" },
    { "H2O", "h2o_config_init", FORM_FILE, "" },
    { "wslay", "wslay_event_send", FORM_FILE, "" },
    { "OpenSSL", "OpenSSL_version", FORM_INDEXED, "OpenSSL " },
};

typedef const char *text_fn(void);
typedef unsigned    number_fn(void);
typedef void        triple_fn(int *major, int *minor, int *patch);
typedef const char *indexed_fn(int what);

/* The version in the name of the file that `at` lies in: behind ".so.". */
static void
file_version(const void *at, char *out, size_t room)
{
    Dl_info     info;
    char        real[PATH_MAX];
    const char *version;

    snprintf(out, room, "?");
    if (dladdr(at, &info) == 0 || info.dli_fname == NULL || realpath(info.dli_fname, real) == NULL)
        return;
    version = strstr(real, ".so.");
    if (version != NULL)
        snprintf(out, room, "%s", version + 4);
}

static void
library_version(const library *l, void *symbol, char *out, size_t room)
{
    int      major = 0, minor = 0, patch = 0;
    unsigned number;

    switch (l->form) {
    case FORM_TEXT:
        snprintf(out, room, "%s", ((text_fn *)symbol)());
        break;
    case FORM_NUMBER:
        number = ((number_fn *)symbol)();
        snprintf(out, room, "%u.%u.%u", number / 10000, number / 100 % 100, number % 100);
        break;
    case FORM_TRIPLE:
        ((triple_fn *)symbol)(&major, &minor, &patch);
        snprintf(out, room, "%d.%d.%d", major, minor, patch);
        break;
    case FORM_INDEXED:
        snprintf(out, room, "%s", ((indexed_fn *)symbol)(0) + strlen(l->prefix));
        break;
    default:
        file_version(symbol, out, room);
    }
}

static void
library_print(const library *l)
{
    void   *symbol = dlsym(RTLD_DEFAULT, l->symbol);
    char    version[128];
    Dl_info info = { 0 };

    if (symbol == NULL) {
        printf("  %-10s no shared library loaded: compiled in, or not used\n", l->name);
        return;
    }
    library_version(l, symbol, version, sizeof version);
    dladdr(symbol, &info);
    printf("  %-10s %-28s %s\n", l->name, version, info.dli_fname != NULL ? info.dli_fname : "");
}

static const char usage[] = "haltless version - says what runs here\n\n"
                            "Prints the version, the commit, how it was built, and the version and "
                            "file of every library as it is\n"
                            "loaded now.\n";

int
cmd_version(int argc, char **argv)
{
    if (args_help(argc, argv, usage, false))
        return EXIT_FINE;
    if (argc > 1)
        return command_misused(argv[0], "takes no flags");
    printf("haltless   %s\ncommit     %s\nbuild      %s, compiler %s\nlibraries\n",
           HALTLESS_VERSION, VERSION_COMMIT, VERSION_BUILD, __VERSION__);
    for (size_t i = 0; i < COUNT_OF(libraries); i++)
        library_print(&libraries[i]);
    return EXIT_FINE;
}
