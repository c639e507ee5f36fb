/* web.h - a server's API from the command line: one connection, calls that are repeated while it is busy. */
#ifndef HALTLESS_TOOLS_WEB_H
#define HALTLESS_TOOLS_WEB_H

#include "proto/json.h"

typedef struct web web;

/* url: without /api/v1.  key: an API key, or NULL with an access token.  ca: a PEM file, or NULL for the system's. */
NODISCARD int web_open(web **w, const char *url, const char *key, const char *token, const char *ca);
void          web_close(web **w);

typedef struct web_answer {
    long status;
    view body; /* until the next call */
} web_answer;

/* path: behind /api/v1.  Tries again after 429, 503, 507 and lost connections, when the server says or after longer
 * and longer pauses, for ten minutes; what came last is the answer then. */
NODISCARD int web_call(web *w, const char *method, const char *path, const char *type, view body, const char *accept,
                       web_answer *a);
/* GET, with 200 and JSON as the only good answer; *out: caller deletes. */
NODISCARD int web_json(web *w, const char *path, cJSON **out);
/* "the server says: <detail>" as an error. */
NODISCARD int web_refused(const web_answer *a, const char *what);

/* `text`, percent-encoded, behind what is in out[room]; false: it does not fit. */
bool web_append(char *out, size_t room, const char *text);

#endif
