/* squeeze.c - gzip by zlib, zstd by libzstd, straight into the caller's room.
 *
 * zlib keeps a window of 32 KiB.  zstd is asked in one shot: it then uses `out` as its window, so
 * that a frame cannot ask for a window of its own.
 */
#include "proto/squeeze.h"

#include "proto/err.h"

#include <limits.h>
#include <stdlib.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { GZIP_ONLY = 16 };

bool
squeeze_kind_of(view name, squeeze_kind *out)
{
    static const struct {
        const char  *name;
        squeeze_kind kind;
    } names[] = { { "gzip", SQUEEZE_GZIP }, { "x-gzip", SQUEEZE_GZIP }, { "zstd", SQUEEZE_ZSTD } };

    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strlen(names[i].name) == name.len &&
            strncasecmp(names[i].name, (const char *)name.at, name.len) == 0) {
            *out = names[i].kind;
            return true;
        }
    return false;
}

/* Gives zlib what is left of both ends, in pieces that its counters can say. */
static void
gzip_feed(z_stream *z, view in, uint8_t *out, size_t room)
{
    size_t taken = (size_t)(z->next_in - in.at), made = (size_t)(z->next_out - out);

    z->avail_in = (uInt)min_u64(in.len - taken, UINT_MAX);
    z->avail_out = (uInt)min_u64(room - made, UINT_MAX);
}

/* One turn of zlib.  1: go on; E_OK: all of `in` is done. */
static int
gzip_turn(z_stream *z, view in, uint8_t *out, size_t room)
{
    uint8_t beyond; /* takes the byte that would be too much */
    bool    full;
    int     rc;

    gzip_feed(z, in, out, room);
    full = z->avail_out == 0;
    if (full) {
        Bytef *at = z->next_out;

        z->next_out = &beyond;
        z->avail_out = 1;
        rc = inflate(z, Z_NO_FLUSH);
        z->next_out = at;
        if (z->avail_out == 0)
            return E_LIMIT;
    } else {
        rc = inflate(z, Z_NO_FLUSH);
    }
    if (rc == Z_STREAM_END)
        return z->next_in == in.at + in.len ? E_OK : inflateReset(z) == Z_OK ? 1 : E_BAD;
    if (rc == Z_MEM_ERROR)
        return E_NOMEM;
    if (rc != Z_OK)
        return E_BAD; /* Z_BUF_ERROR too: the input ends before its end */
    return 1;
}

static int
gzip_inflate(view in, uint8_t *out, size_t room, size_t *len)
{
    z_stream z = { .next_in = (z_const Bytef *)(uintptr_t)in.at, .next_out = out };
    int      rc = 1;

    if (inflateInit2(&z, GZIP_ONLY + MAX_WBITS) != Z_OK)
        return E_NOMEM;
    while (rc == 1) /* each turn takes input or makes output, else zlib says Z_BUF_ERROR */
        rc = gzip_turn(&z, in, out, room);
    *len = rc == E_OK ? (size_t)(z.next_out - out) : 0;
    inflateEnd(&z);
    return rc;
}

static int
zstd_inflate(view in, uint8_t *out, size_t room, size_t *len)
{
    ZSTD_DCtx *d = ZSTD_createDCtx();
    size_t     n;

    if (d == NULL)
        return E_NOMEM;
    n = ZSTD_decompressDCtx(d, out, room, in.at, in.len);
    ZSTD_freeDCtx(d);
    if (ZSTD_isError(n)) {
        ZSTD_ErrorCode code = ZSTD_getErrorCode(n);

        return code == ZSTD_error_dstSize_tooSmall    ? E_LIMIT
               : code == ZSTD_error_memory_allocation ? E_NOMEM
                                                      : E_BAD;
    }
    *len = n;
    return E_OK;
}

int
squeeze_inflate(squeeze_kind kind, view in, uint8_t *out, size_t room, size_t *len)
{
    *len = 0;
    if (in.len == 0)
        return E_BAD;
    return kind == SQUEEZE_GZIP ? gzip_inflate(in, out, room, len)
                                : zstd_inflate(in, out, room, len);
}

/* ---- small pieces ---- */

struct squeezer {
    ZSTD_CCtx *pack; /* made at first use: who only reads needs none */
    ZSTD_DCtx *unpack;
};

squeezer *
squeezer_new(void)
{
    squeezer *s = calloc(1, sizeof *s);

    ASSERT(s != NULL);
    return s;
}

void
squeezer_free(squeezer **sp)
{
    squeezer *s = *sp;

    if (s == NULL)
        return;
    ZSTD_freeCCtx(s->pack);
    ZSTD_freeDCtx(s->unpack);
    free(s);
    *sp = NULL;
}

size_t
squeezer_pack(squeezer *s, view in, uint8_t *out, size_t room, int level)
{
    size_t n;

    if (s->pack == NULL)
        s->pack = ZSTD_createCCtx();
    ASSERT(s->pack != NULL);
    n = ZSTD_compressCCtx(s->pack, out, room, in.at, in.len, level);
    return ZSTD_isError(n) ? 0 : n;
}

bool
squeezer_unpack(squeezer *s, view in, uint8_t *out, size_t len)
{
    if (s->unpack == NULL)
        s->unpack = ZSTD_createDCtx();
    ASSERT(s->unpack != NULL);
    return ZSTD_decompressDCtx(s->unpack, out, len, in.at, in.len) == len;
}
