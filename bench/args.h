/* args.h - what a bench is told on its command line: rows, from which --help is made as well. */
#ifndef HALTLESS_BENCH_ARGS_H
#define HALTLESS_BENCH_ARGS_H

#include "bench/target.h"

enum bench_arg_kind {
    ARG_TEXT,  /* const char *, borrowed from argv */
    ARG_U64,   /* uint64_t from least to most */
    ARG_U32,   /* uint32_t, likewise */
    ARG_REAL,  /* double over 0 */
    ARG_WORD,  /* int: the place of the word in `words` */
    ARG_YES,   /* bool; takes no value */
};

typedef struct bench_arg {
    const char         *name;  /* without the dashes */
    const char         *value; /* as --help shows it: "N"; NULL: takes none */
    enum bench_arg_kind kind;
    void               *to;    /* as it is before: the default */
    const char         *says;
    uint64_t            least, most; /* both 0: any */
    const char *const  *words;       /* ended by NULL */
} bench_arg;

/* What every bench with a server has. */
typedef struct bench_common {
    target_options target; /* flags: what stands behind the bench's own, for the server */
    uint64_t       seed;   /* of the data and whatever else is random */
    int            client_core; /* -1: anywhere */
    bool           json;
} bench_common;

#define BENCH_COMMON { .target = { .email = "bench@example.com", .password = "bench-haltless-1", .core = -1 }, .seed = 1, .client_core = -1 }

typedef struct bench_usage {
    const char *bench;
    const char *line;     /* what it is, one line */
    bool        anywhere; /* may drive a server that runs already: --url, --email, --password */
} bench_usage;

/* argv[0] is the bench's name; `own` ends with a row without a name.  Negative: go on; else the exit status, all said. */
NODISCARD int bench_args(const bench_usage *u, const bench_arg *own, bench_common *c, int argc, char **argv);

#endif
