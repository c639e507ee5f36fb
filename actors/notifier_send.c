/* notifier_send.c - see notifier_send.h.  The only file that sees libcurl.
 *
 *   webhook        POST body; X-Haltless-Delivery, -Event, -Signature: t=<unix s>,v1=<hex HMAC-SHA256 of "t.body">
 *   slack, teams   POST body
 *   email          body {"subject","text"} -> a message to one recipient, through smtp.url
 */
#include "actors/notifier_send.h"

#include "actors/notify_guard.h"
#include "actors/registry_notify.h"
#include "proto/err.h"
#include "proto/json.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTS_KEPT = 32, EXTRA_FDS_MAX = 16, HEADER_MAX = 1200, SUBJECT_MAX = 180 };
enum { STARTTLS_REQUIRED, STARTTLS_TRY, STARTTLS_OFF };

typedef struct transfer {
    sender            *of;
    void              *ctx;
    CURL              *easy;
    struct curl_slist *lines; /* headers, or the recipient */
    char              *text;  /* body, or message */
    size_t             text_len, text_at;
    size_t             read; /* bytes of the answer */
    bool               guarded;
    bool               refused; /* by the guard */
    struct transfer   *next, **link;
} transfer;

struct sender {
    CURLM    *multi;
    transfer *first;
};

/* ---- what libcurl calls ---- */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    transfer *t = arg;

    (void)purpose;
    if (t->guarded && !notify_guard_is_public(&to->addr, to->addrlen)) {
        t->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* The status is what counts; who goes on talking is cut off. */
static size_t
take_answer(char *at, size_t size, size_t n, void *arg)
{
    transfer *t = arg;

    (void)at;
    t->read += size * n;
    return t->read > SENDER_BODY_MAX ? 0 : size * n;
}

static size_t
give_message(char *at, size_t size, size_t n, void *arg)
{
    transfer *t = arg;
    size_t    len = min_u64(size * n, t->text_len - t->text_at);

    memcpy(at, t->text + t->text_at, len);
    t->text_at += len;
    return len;
}

/* ---- life of a transfer ---- */
static void
transfer_free(transfer *t)
{
    if (t->easy != NULL) {
        (void)curl_multi_remove_handle(t->of->multi, t->easy);
        curl_easy_cleanup(t->easy);
    }
    if (t->link != NULL) {
        *t->link = t->next;
        if (t->next != NULL)
            t->next->link = t->link;
    }
    curl_slist_free_all(t->lines);
    free(t->text);
    free(t);
}

static void
add_line(transfer *t, const char *text)
{
    struct curl_slist *l = curl_slist_append(t->lines, text);

    ASSERT(l != NULL);
    t->lines = l;
}

static char *
copy_text(view v)
{
    char *s = malloc(v.len + 1);

    ASSERT(s != NULL);
    memcpy(s, v.at, v.len);
    s[v.len] = '\0';
    return s;
}

#define SET(t, option, value)                                                                      \
    do {                                                                                           \
        CURLcode set_rc = curl_easy_setopt((t)->easy, CURLOPT_##option, value);                    \
        ASSERT(set_rc == CURLE_OK);                                                                \
    } while (0)

static void
set_common(transfer *t, const options *o)
{
    SET(t, PRIVATE, t);
    SET(t, NOSIGNAL, 1L);
    SET(t, PROXY, "");
    SET(t, OPENSOCKETFUNCTION, open_socket);
    SET(t, OPENSOCKETDATA, t);
    SET(t, WRITEFUNCTION, take_answer);
    SET(t, WRITEDATA, t);
    SET(t, TIMEOUT_MS, (long)o->notify_timeout_s * 1000);
    SET(t, CONNECTTIMEOUT_MS, (long)min_u64(o->notify_timeout_s, 10) * 1000);
}

/* ---- over HTTP ---- */
static void
sign(transfer *t, const delivery *d)
{
    char    line[HEADER_MAX], stamp[32];
    uint8_t digest[DIGEST_LEN];
    int     n = snprintf(stamp, sizeof stamp, "%lld.", (long long)(d->wall_us / 1000000));
    char   *signedtext = malloc((size_t)n + d->body.len);
    int     at;

    ASSERT(signedtext != NULL);
    memcpy(signedtext, stamp, (size_t)n);
    memcpy(signedtext + n, d->body.at, d->body.len);
    crypto_hmac_sha256(d->secret, view_of(signedtext, (size_t)n + d->body.len), digest);
    free(signedtext);
    at = snprintf(line, sizeof line, "X-Haltless-Signature: t=%.*s,v1=", n - 1, stamp);
    for (size_t i = 0; i < sizeof digest; i++)
        at += snprintf(line + at, sizeof line - (size_t)at, "%02x", digest[i]);
    add_line(t, line);
}

static void
add_named(transfer *t, const char *name, view value)
{
    char line[HEADER_MAX];

    (void)snprintf(line, sizeof line, "%s: %.*s", name, (int)min_u64(value.len, 1000), (const char *)value.at);
    add_line(t, line);
}

static void
add_own_headers(transfer *t, const msgpack_object *map)
{
    for (uint32_t i = 0; map != NULL && map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        char                     name[128];

        if (kv->key.type != MSGPACK_OBJECT_STR || kv->val.type != MSGPACK_OBJECT_STR)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)kv->key.via.str.size, kv->key.via.str.ptr);
        add_named(t, name, view_of(kv->val.via.str.ptr, kv->val.via.str.size));
    }
}

static const char *
set_http(transfer *t, const options *o, const delivery *d)
{
    char *url = copy_text(d->target);

    t->guarded = !o->notify_allow_private;
    t->text = copy_text(d->body);
    t->text_len = d->body.len;
    SET(t, URL, url);
    free(url);
    SET(t, PROTOCOLS_STR, "http,https");
    SET(t, HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    SET(t, POST, 1L);
    SET(t, POSTFIELDS, t->text);
    SET(t, POSTFIELDSIZE_LARGE, (curl_off_t)t->text_len);
    SET(t, USERAGENT, "haltless/" HALTLESS_VERSION);
    add_line(t, "Content-Type: application/json");
    add_line(t, "Expect:");
    add_named(t, "X-Haltless-Delivery", d->id);
    add_named(t, "X-Haltless-Event", d->event);
    if (d->type == CHANNEL_WEBHOOK) {
        sign(t, d);
        add_own_headers(t, d->headers);
    }
    SET(t, HTTPHEADER, t->lines);
    return NULL;
}

/* ---- e-mail ---- */
/* Encoded words (RFC 2047) of at most 45 bytes, never half a character; control characters become spaces. */
static void
put_subject(FILE *to, view text)
{
    size_t len = min_u64(text.len, SUBJECT_MAX), at = 0;

    while (len > 0 && len < text.len && (text.at[len] & 0xc0) == 0x80)
        len--;
    fputs("Subject:", to);
    while (at < len) {
        uint8_t plain[45];
        char    coded[64];
        size_t  n = min_u64(sizeof plain, len - at);

        while (n > 0 && at + n < len && (text.at[at + n] & 0xc0) == 0x80)
            n--;
        for (size_t i = 0; i < n; i++)
            plain[i] = text.at[at + i] < 0x20 ? ' ' : text.at[at + i];
        if (n == 0)
            break;
        (void)base64_encode(view_of(plain, n), coded, sizeof coded);
        fprintf(to, "%s =?UTF-8?B?%s?=", at == 0 ? "" : "\r\n", coded);
        at += n;
    }
    fputs("\r\n", to);
}

static void
put_lines(FILE *to, view text)
{
    char coded[80];

    for (size_t at = 0; at < text.len; at += 57) {
        (void)base64_encode(view_of(text.at + at, min_u64(57, text.len - at)), coded, sizeof coded);
        fprintf(to, "%s\r\n", coded);
    }
}

static void
put_message(FILE *to, const options *o, const delivery *d, view subject, view text)
{
    time_t    s = (time_t)(d->wall_us / 1000000);
    struct tm tm;
    char      date[64];

    (void)gmtime_r(&s, &tm);
    (void)strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &tm);
    fprintf(to, "Date: %s\r\nFrom: <%s>\r\nTo: <%.*s>\r\n", date, o->smtp_from, (int)d->target.len,
            (const char *)d->target.at);
    put_subject(to, subject);
    fprintf(to, "Message-ID: <%.*s@haltless>\r\nX-Haltless-Delivery: %.*s\r\n", (int)d->id.len, (const char *)d->id.at,
            (int)d->id.len, (const char *)d->id.at);
    fputs("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n", to);
    put_lines(to, text);
}

static const char *
compose(transfer *t, const options *o, const delivery *d)
{
    cJSON       *body = json_parse(d->body);
    const cJSON *subject = cJSON_GetObjectItemCaseSensitive(body, "subject");
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(body, "text");
    FILE        *to;

    if (!cJSON_IsString(subject) || !cJSON_IsString(text)) {
        cJSON_Delete(body);
        return "The message cannot be read.";
    }
    to = open_memstream(&t->text, &t->text_len);
    ASSERT(to != NULL);
    put_message(to, o, d, view_str(subject->valuestring), view_str(text->valuestring));
    cJSON_Delete(body);
    return fclose(to) == 0 ? NULL : "The message could not be made.";
}

static const char *
set_email(transfer *t, const options *o, const delivery *d)
{
    static const long tls[] = { CURLUSESSL_ALL, CURLUSESSL_TRY, CURLUSESSL_NONE };
    char              mailbox[300];
    const char       *why;

    if (o->smtp_url[0] == '\0' || o->smtp_from[0] == '\0')
        return "The server has no smtp.url and smtp.from configured.";
    if ((why = compose(t, o, d)) != NULL)
        return why;
    SET(t, URL, o->smtp_url);
    SET(t, PROTOCOLS_STR, "smtp,smtps");
    SET(t, USE_SSL, tls[min_u64(o->smtp_starttls, STARTTLS_OFF)]);
    if (o->smtp_ca_file[0] != '\0')
        SET(t, CAINFO, o->smtp_ca_file);
    if (o->smtp_user[0] != '\0') {
        SET(t, USERNAME, o->smtp_user);
        SET(t, PASSWORD, o->smtp_password);
    }
    SET(t, MAIL_FROM, o->smtp_from);
    (void)snprintf(mailbox, sizeof mailbox, "%.*s", (int)d->target.len, (const char *)d->target.at);
    add_line(t, mailbox);
    SET(t, MAIL_RCPT, t->lines);
    SET(t, UPLOAD, 1L);
    SET(t, READFUNCTION, give_message);
    SET(t, READDATA, t);
    return NULL;
}

/* ---- outcome ---- */
static void
say(outcome *o, const transfer *t, CURLcode rc, long status)
{
    bool http = t->guarded || status >= 100;

    if (t->refused)
        (void)snprintf(o->error, sizeof o->error, "The address is private, loopback or link-local: refused.");
    else if (status >= 300 && status < 400)
        (void)snprintf(o->error, sizeof o->error, "Answered %ld; redirects are not followed.", status);
    else if (rc == CURLE_OK || (http && status >= 400))
        (void)snprintf(o->error, sizeof o->error, "Answered %ld.", status);
    else if (rc == CURLE_OPERATION_TIMEDOUT)
        (void)snprintf(o->error, sizeof o->error, "No answer in time.");
    else
        (void)snprintf(o->error, sizeof o->error, "%s.", curl_easy_strerror(rc));
}

/* A target that said 2xx has it, however it goes on. */
static outcome
outcome_of(const transfer *t, CURLcode rc)
{
    outcome o = { .ok = false };
    long    status = 0;
    char   *scheme = NULL;

    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(t->easy, CURLINFO_SCHEME, &scheme);
    bool mail = scheme != NULL && strncasecmp(scheme, "smtp", 4) == 0;
    o.http_status = (uint16_t)(status > 0 && status < 1000 ? status : 0);
    o.ok = mail ? rc == CURLE_OK : status >= 200 && status < 300;
    if (!o.ok)
        say(&o, t, rc, status);
    return o;
}

/* ---- the sender ---- */
int
sender_open(sender **s)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err(E_NOMEM, "libcurl");
    *s = calloc(1, sizeof **s);
    ASSERT(*s != NULL);
    (*s)->multi = curl_multi_init();
    ASSERT((*s)->multi != NULL);
    (void)curl_multi_setopt((*s)->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTS_KEPT);
    return E_OK;
}

void
sender_close(sender **s)
{
    if (*s == NULL)
        return;
    while ((*s)->first != NULL)
        transfer_free((*s)->first);
    (void)curl_multi_cleanup((*s)->multi);
    free(*s);
    *s = NULL;
}

const char *
sender_start(sender *s, const options *o, const delivery *d, void *ctx)
{
    transfer   *t = calloc(1, sizeof *t);
    const char *why;

    ASSERT(t != NULL);
    t->of = s;
    t->ctx = ctx;
    t->easy = curl_easy_init();
    ASSERT(t->easy != NULL);
    set_common(t, o);
    why = d->type == CHANNEL_EMAIL ? set_email(t, o, d) : set_http(t, o, d);
    if (why == NULL && curl_multi_add_handle(s->multi, t->easy) != CURLM_OK)
        why = "It could not be begun.";
    if (why != NULL) {
        transfer_free(t);
        return why;
    }
    t->next = s->first;
    t->link = &s->first;
    if (t->next != NULL)
        t->next->link = &t->next;
    s->first = t;
    return NULL;
}

void
sender_step(sender *s, sender_done_fn *done, void *arg)
{
    CURLMsg *m;
    int      running = 0, left = 0;

    if (s->first == NULL)
        return;
    (void)curl_multi_perform(s->multi, &running);
    while ((m = curl_multi_info_read(s->multi, &left)) != NULL) {
        transfer *t = NULL;
        void     *ctx;
        outcome   o;

        if (m->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
        o = outcome_of(t, m->data.result);
        ctx = t->ctx;
        transfer_free(t);
        done(arg, ctx, &o);
    }
}

void
sender_wait(sender *s, const int *fds, uint32_t count, uint64_t ns)
{
    struct curl_waitfd extra[EXTRA_FDS_MAX];

    ASSERT(count <= EXTRA_FDS_MAX);
    for (uint32_t i = 0; i < count; i++)
        extra[i] = (struct curl_waitfd){ .fd = fds[i], .events = CURL_WAIT_POLLIN };
    (void)curl_multi_poll(s->multi, extra, count, (int)min_u64((ns + 999999) / 1000000, 60000), NULL);
}
