/* etag.h - strong validators of whole answers, and If-None-Match (RFC 9110, 13.1.2). */
#ifndef HALTLESS_API_ETAG_H
#define HALTLESS_API_ETAG_H

#include "api/route.h"

/* 200 with an ETag made of the bytes, or 304 without them when the client has these. */
void etag_send(call *c, const char *content_type, view body);
/* The same for bytes that are there, unchanged, for ever. */
void etag_send_static(call *c, const char *content_type, view body);
/* Of what was written to call_json(). */
void etag_send_json(call *c);

#endif
