/* web.c - a server's API from the command line (web.h), over libcurl. */
#include "tools/web.h"

#include "proto/err.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

enum { CONNECT_S = 10, CALL_S = 120, PATIENCE_S = 600, WAIT_S_MAX = 30, URL_MAX = 8192, BODY_MAX = 64 << 20 };

struct web {
    CURL  *curl;
    char  *base; /* url and /api/v1 */
    char  *who;  /* the header line that says who asks */
    char  *in;   /* the answer's body */
    size_t in_len;
    size_t in_room;
    bool   reached; /* it has answered: from then on it is worth waiting for */
    long   retry_s; /* of the answer's Retry-After; 0: it had none */
    char   fault[CURL_ERROR_SIZE];
};

static size_t
on_body(char *at, size_t size, size_t n, void *ctx)
{
    web   *w = ctx;
    size_t len = size * n;

    if (w->in_len + len > BODY_MAX)
        return 0;
    if (w->in_len + len > w->in_room) {
        w->in_room = (size_t)max_u64(w->in_room * 2, w->in_len + len);
        w->in = realloc(w->in, w->in_room);
        ASSERT(w->in != NULL);
    }
    if (len > 0)
        memcpy(w->in + w->in_len, at, len);
    w->in_len += len;
    return len;
}

static size_t
on_header(char *at, size_t size, size_t n, void *ctx)
{
    static const char name[] = "retry-after:";
    web              *w = ctx;
    size_t            len = size * n;

    if (len > sizeof name && strncasecmp(at, name, sizeof name - 1) == 0)
        w->retry_s = strtol(at + sizeof name - 1, NULL, 10); /* the line ends with CR LF */
    return len;
}

static char *
joined(const char *a, const char *b)
{
    char *out = NULL;

    ASSERT(asprintf(&out, "%s%s", a, b) >= 0);
    return out;
}

int
web_open(web **out, const char *url, const char *key, const char *token, const char *ca)
{
    web   *w = calloc(1, sizeof *w);
    size_t len = strlen(url);
    char  *trimmed = strndup(url, len > 0 && url[len - 1] == '/' ? len - 1 : len);

    ASSERT(w != NULL && trimmed != NULL);
    w->base = joined(trimmed, "/api/v1");
    free(trimmed);
    w->who = key != NULL ? joined("X-API-Key: ", key) : joined("Authorization: Bearer ", token);
    w->curl = curl_easy_init();
    *out = w;
    if (w->curl == NULL)
        return err(E_NOMEM, "libcurl");
    curl_easy_setopt(w->curl, CURLOPT_ERRORBUFFER, w->fault);
    curl_easy_setopt(w->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(w->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(w->curl, CURLOPT_TIMEOUT, (long)CALL_S);
    curl_easy_setopt(w->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(w->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(w->curl, CURLOPT_WRITEDATA, w);
    curl_easy_setopt(w->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(w->curl, CURLOPT_HEADERDATA, w);
    if (ca != NULL)
        curl_easy_setopt(w->curl, CURLOPT_CAINFO, ca);
    return E_OK;
}

void
web_close(web **w_p)
{
    web *w = *w_p;

    if (w == NULL)
        return;
    curl_easy_cleanup(w->curl);
    free(w->base);
    free(w->who);
    free(w->in);
    free(w);
    *w_p = NULL;
}

/* ---- calls ---- */

static struct curl_slist *
headers_of(const web *w, const char *type, const char *accept)
{
    struct curl_slist *list = curl_slist_append(NULL, w->who);
    char              *line = joined("Accept: ", accept);

    list = curl_slist_append(list, line);
    free(line);
    list = curl_slist_append(list, "Expect:"); /* no waiting for a 100 */
    if (type != NULL) {
        line = joined("Content-Type: ", type);
        list = curl_slist_append(list, line);
        free(line);
    }
    ASSERT(list != NULL);
    return list;
}

static CURLcode
call_once(web *w, const char *method, const char *url, view body, struct curl_slist *headers, long *status)
{
    CURLcode code;

    w->in_len = 0;
    w->retry_s = 0;
    w->fault[0] = '\0';
    curl_easy_setopt(w->curl, CURLOPT_URL, url);
    curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(w->curl, CURLOPT_HTTPGET, 1L);
    if (strcmp(method, "POST") == 0) {
        curl_easy_setopt(w->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(w->curl, CURLOPT_POSTFIELDS, body.at);
        curl_easy_setopt(w->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    }
    code = curl_easy_perform(w->curl);
    curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, status);
    return code;
}

static bool
is_worth_waiting(CURLcode code, long status)
{
    if (code == CURLE_OK)
        return status == 429 || status == 503 || status == 507;
    return code == CURLE_COULDNT_CONNECT || code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR ||
           code == CURLE_GOT_NOTHING || code == CURLE_OPERATION_TIMEDOUT || code == CURLE_PARTIAL_FILE;
}

int
web_call(web *w, const char *method, const char *path, const char *type, view body, const char *accept,
         web_answer *a)
{
    char              *url = joined(w->base, path);
    struct curl_slist *headers = headers_of(w, type, accept);
    time_t             until = time(NULL) + PATIENCE_S;
    CURLcode           code;
    long               status = 0;
    int                rc = E_OK;

    for (long wait_s = 1;; wait_s = (long)min_u64((uint64_t)wait_s * 2, WAIT_S_MAX)) {
        code = call_once(w, method, url, body, headers, &status);
        w->reached |= code == CURLE_OK;
        if (!w->reached || !is_worth_waiting(code, status) || time(NULL) >= until)
            break;
        (void)nanosleep(&(struct timespec){ .tv_sec = w->retry_s > 0 && w->retry_s < WAIT_S_MAX ? w->retry_s : wait_s },
                        NULL);
    }
    if (code != CURLE_OK)
        rc = err(E_IO, "%s: %s", url, w->fault[0] != '\0' ? w->fault : curl_easy_strerror(code));
    *a = (web_answer){ status, view_of(w->in, w->in_len) };
    curl_slist_free_all(headers);
    free(url);
    return rc;
}

int
web_refused(const web_answer *a, const char *what)
{
    cJSON      *j = json_parse(a->body);
    const char *detail = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(j, "detail"));
    int         rc = err(E_PERM, "%s: the server says %ld: %s", what, a->status,
                         detail != NULL ? detail : "(its body has no detail)");

    cJSON_Delete(j);
    return rc;
}

int
web_json(web *w, const char *path, cJSON **out)
{
    web_answer a;
    int        rc = web_call(w, "GET", path, NULL, (view){ 0 }, "application/json", &a);

    *out = NULL;
    if (rc < 0)
        return rc;
    if (a.status != 200)
        return web_refused(&a, path);
    *out = json_parse(a.body);
    return *out == NULL ? err(E_BAD, "%s: the answer is no JSON", path) : E_OK;
}

bool
web_append(char *out, size_t room, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t            at = strlen(out);

    for (const uint8_t *p = (const uint8_t *)text; *p != '\0'; p++) {
        bool plain = (*p >= '0' && *p <= '9') || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') || *p == '-' || *p == '.';

        if (at + 4 > room)
            return false;
        if (plain) {
            out[at++] = (char)*p;
        } else {
            out[at++] = '%';
            out[at++] = digits[*p >> 4];
            out[at++] = digits[*p & 15];
        }
    }
    out[at] = '\0';
    return true;
}
