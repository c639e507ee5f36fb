/* args.c - see args.h. */
#include "bench/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS_MAX = 48, FIRST_KEY = 256, COLUMN = 21, GO_ON = -1, DONE = 0, UNUSABLE = 2, CORES_MAX = 4096 };

typedef struct rows {
    bench_arg row[ROWS_MAX];
    uint32_t  count;
    uint64_t  server_core, client_core;
    bool      help;
} rows;

static void
add(rows *r, const bench_arg *from)
{
    for (; from->name != NULL; from++) {
        ASSERT(r->count < ROWS_MAX);
        r->row[r->count++] = *from;
    }
}

static void
add_common(rows *r, bench_common *c)
{
    const bench_arg common[] = {
        { "seed", "N", ARG_U64, &c->seed, "of the data (default 1)", 0, 0, NULL },
        { "dir", "DIR", ARG_TEXT, &c->target.dir, "where the temporary directory is made (default /tmp)", 0, 0, NULL },
        { "server-core", "N", ARG_U64, &r->server_core, "pin the server to a core", 0, CORES_MAX, NULL },
        { "client-core", "N", ARG_U64, &r->client_core, "pin the client to a core", 0, CORES_MAX, NULL },
        { "json", NULL, ARG_YES, &c->json, "one object a line", 0, 0, NULL },
        { "help", NULL, ARG_YES, &r->help, "this", 0, 0, NULL },
        { 0 },
    };

    add(r, common);
}

static void
add_target(rows *r, bench_common *c)
{
    const bench_arg where[] = {
        { "url", "HOST:PORT", ARG_TEXT, &c->target.url, "drive a running server (default: one of its own in a temporary directory)",
          0, 0, NULL },
        { "email", "TEXT", ARG_TEXT, &c->target.email, "its tenant (registered when unknown)", 0, 0, NULL },
        { "password", "TEXT", ARG_TEXT, &c->target.password, "that user's", 0, 0, NULL },
        { 0 },
    };

    add(r, where);
}

static void
help(const bench_usage *u, const rows *r)
{
    (void)printf("haltless bench %s - %s\n\n  haltless bench %s [options] [-- flags for the server it starts]\n\n", u->bench, u->line,
                 u->bench);
    for (uint32_t i = 0; i < r->count; i++) {
        const bench_arg *a = &r->row[i];
        char             left[64];

        (void)snprintf(left, sizeof left, "--%s %s", a->name, a->value == NULL ? "" : a->value);
        (void)printf("  %-*s %s\n", COLUMN, left, a->says);
    }
}

/* ---- values ---- */

static bool
take_number(const bench_arg *a, const char *text, uint64_t *out)
{
    char *rest;

    errno = 0;
    *out = strtoull(text, &rest, 10);
    if (errno != 0 || rest == text || *rest != '\0' || text[0] == '-')
        return false;
    return (a->least == 0 && a->most == 0) || (*out >= a->least && *out <= a->most);
}

static bool
take_real(double *to, const char *text)
{
    char *rest;

    *to = strtod(text, &rest);
    return rest != text && *rest == '\0' && *to > 0;
}

static bool
take_word(const bench_arg *a, const char *text)
{
    for (int i = 0; a->words[i] != NULL; i++) {
        if (strcmp(a->words[i], text) != 0)
            continue;
        *(int *)a->to = i;
        return true;
    }
    return false;
}

static bool
take(const bench_arg *a, const char *text)
{
    uint64_t n;

    switch (a->kind) {
    case ARG_TEXT: *(const char **)a->to = text; return true;
    case ARG_YES:  *(bool *)a->to = true; return true;
    case ARG_REAL: return take_real(a->to, text);
    case ARG_WORD: return take_word(a, text);
    case ARG_U64:  return take_number(a, text, a->to);
    case ARG_U32:
        if (!take_number(a, text, &n) || n > UINT32_MAX)
            return false;
        *(uint32_t *)a->to = (uint32_t)n;
        return true;
    }
    return false;
}

/* ---- the command line ---- */

static int
read_flags(const bench_usage *u, const rows *r, int argc, char **argv)
{
    struct option flags[ROWS_MAX + 1] = { 0 };
    int           key;

    for (uint32_t i = 0; i < r->count; i++)
        flags[i] = (struct option){ r->row[i].name, r->row[i].kind != ARG_YES, NULL, FIRST_KEY + (int)i };
    optind = 1;
    while ((key = getopt_long(argc, argv, "+", flags, NULL)) != -1) {
        const bench_arg *a = key < FIRST_KEY ? NULL : &r->row[key - FIRST_KEY];

        if (a != NULL && take(a, optarg))
            continue;
        if (a != NULL)
            (void)fprintf(stderr, "haltless bench %s: --%s: not usable: '%s'\n", u->bench, a->name, optarg);
        (void)fprintf(stderr, "see haltless bench %s --help\n", u->bench);
        return UNUSABLE;
    }
    return GO_ON;
}

int
bench_args(const bench_usage *u, const bench_arg *own, bench_common *c, int argc, char **argv)
{
    rows r = { .server_core = UINT64_MAX, .client_core = UINT64_MAX };
    int  status;

    if (u->anywhere)
        add_target(&r, c);
    add(&r, own);
    add_common(&r, c);
    if ((status = read_flags(u, &r, argc, argv)) != GO_ON)
        return status;
    if (r.help) {
        help(u, &r);
        return DONE;
    }
    if (argc - optind >= TARGET_FLAGS_MAX) {
        (void)fprintf(stderr, "haltless bench %s: more than %d flags for the server\n", u->bench, TARGET_FLAGS_MAX - 1);
        return UNUSABLE;
    }
    c->target.core = r.server_core == UINT64_MAX ? -1 : (int)r.server_core;
    c->client_core = r.client_core == UINT64_MAX ? -1 : (int)r.client_core;
    c->target.flags = argv + optind;
    c->target.flag_count = argc - optind;
    return GO_ON;
}
