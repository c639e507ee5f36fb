#include "proto/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local char chain[ERR_TEXT_MAX];

static const struct {
    int         code;
    const char *text;
} names[] = {
#define X(name, number, text) { name, text },
#include "proto/err.def"
#undef X
};

static const struct {
    int from;
    int to;
} errnos[] = {
    { ENOSPC, E_NOSPACE }, { EDQUOT, E_NOSPACE }, { ENOMEM, E_NOMEM },   { EACCES, E_PERM },
    { EPERM, E_PERM },     { EROFS, E_PERM },     { ENOENT, E_NOTFOUND }, { EEXIST, E_EXISTS },
    { EAGAIN, E_AGAIN },
};

const char *
err_name(int rc)
{
    if (rc == E_OK)
        return "ok";
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (names[i].code == rc)
            return names[i].text;
    return "unknown error";
}

static void
prepend(int rc, const char *what)
{
    char old[ERR_TEXT_MAX];

    memcpy(old, chain, sizeof old);
    /* The innermost context carries the code's own text once. */
    int n = snprintf(chain, sizeof chain, "%s: %s", what, old[0] != '\0' ? old : err_name(rc));

    ASSERT(n >= 0);
}

int
err(int rc, const char *fmt, ...)
{
    char    what[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    prepend(rc, what);
    return rc;
}

int
err_errno(int errno_value, const char *fmt, ...)
{
    char    what[ERR_TEXT_MAX];
    int     rc = E_IO;
    va_list ap;

    for (size_t i = 0; i < COUNT_OF(errnos); i++)
        if (errnos[i].from == errno_value)
            rc = errnos[i].to;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    /* The system's own words are the innermost text of the chain. */
    snprintf(chain, sizeof chain, "%s", strerror(errno_value));
    prepend(rc, what);
    return rc;
}

const char *
err_text(void)
{
    return chain[0] != '\0' ? chain : "no error";
}

void
err_clear(void)
{
    chain[0] = '\0';
}

_Noreturn void
base_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "level=error event=assert expr=\"%s\" at=%s:%d chain=\"%s\"\n", expr, file, line,
            err_text());
    abort();
}
