/* etag.c - ETag and If-None-Match (etag.h).
 *
 *   "0123456789abcdef0123456789abcdef"     two 64-bit hashes of the body, under two seeds
 *
 * Equal bytes, equal tag, in every front and after every restart.  What is tagged is the tenant's own,
 * so nobody gains by finding two bodies of one tag.
 */
#include "api/etag.h"

#include "api/front.h"
#include "proto/hash.h"

#include <stdio.h>

enum { TAG_LEN = 34, STATICS_MAX = 8 };

static void
tag_of(view body, char out[TAG_LEN + 1])
{
    snprintf(out, TAG_LEN + 1, "\"%016llx%016llx\"",
             (unsigned long long)hash64(1, body.at, body.len),
             (unsigned long long)hash64(2, body.at, body.len));
}

/* Is `tag` in the list?  Compared weakly: W/"x" matches "x". */
static bool
list_names(view list, view tag)
{
    size_t at = 0;

    while (at < list.len) {
        const uint8_t *comma = memchr(list.at + at, ',', list.len - at);
        size_t         stop = comma == NULL ? list.len : (size_t)(comma - list.at);
        size_t         end = stop;

        while (at < end && (list.at[at] == ' ' || list.at[at] == '\t'))
            at++;
        while (end > at && (list.at[end - 1] == ' ' || list.at[end - 1] == '\t'))
            end--;
        if (end - at > 2 && list.at[at] == 'W' && list.at[at + 1] == '/')
            at += 2;
        if (view_eq(view_of(list.at + at, end - at), tag) ||
            view_eq(view_of(list.at + at, end - at), VIEW_LIT("*")))
            return true;
        at = stop + 1;
    }
    return false;
}

/* True: answered with 304. */
static bool
is_known(call *c, const char tag[TAG_LEN + 1])
{
    bool known = list_names(call_header(c, "if-none-match"), view_str(tag));

    call_add_header(c, "ETag", view_str(tag));
    if (known)
        call_send_empty(c, 304);
    return known;
}

void
etag_send(call *c, const char *content_type, view body)
{
    char tag[TAG_LEN + 1];

    tag_of(body, tag);
    if (!is_known(c, tag))
        call_send_text(c, 200, content_type, body);
}

/* The tag of bytes that are there for ever is made once a thread. */
static const char *
tag_of_static(view body)
{
    static _Thread_local struct {
        const uint8_t *at;
        char           tag[TAG_LEN + 1];
    } known[STATICS_MAX];
    uint32_t i = 0;

    while (i < STATICS_MAX - 1 && known[i].at != NULL && known[i].at != body.at)
        i++;
    if (known[i].at != body.at) {
        known[i].at = body.at;
        tag_of(body, known[i].tag);
    }
    return known[i].tag;
}

void
etag_send_static(call *c, const char *content_type, view body)
{
    if (!is_known(c, tag_of_static(body)))
        call_send_static(c, 200, content_type, body);
}

void
etag_send_json(call *c)
{
    const json_out *j = &c->f->json;

    if (j->failed)
        call_send_json(c, 200); /* says that it is too large */
    else
        etag_send(c, "application/json", view_of(j->at, j->len));
}
