#include "bench/client.h"

#include "proto/err.h"
#include "proto/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MAX = 64 << 20 };

int
client_open(client *c, const char *where)
{
    const char *colon;

    memset(c, 0, sizeof *c);
    c->fd = -1;
    if (strncmp(where, "http://", 7) == 0)
        where += 7;
    colon = strrchr(where, ':');
    if (colon == NULL || (size_t)(colon - where) >= sizeof c->host)
        return err(E_BAD, "address \"%s\" is not HOST:PORT", where);
    snprintf(c->host, sizeof c->host, "%.*s", (int)(colon - where), where);
    c->port = (uint16_t)strtoul(colon + 1, NULL, 10);
    return c->port > 0 ? E_OK : err(E_BAD, "address \"%s\" has no port", where);
}

static void
hang_up(client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->in_len = 0;
}

void
client_close(client *c)
{
    hang_up(c);
    free(c->in);
    c->in = NULL;
    c->in_room = 0;
}

int
client_connect(const char *host, uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    int                one = 1;
    int                fd;

    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &a.sin_addr) != 1)
        return err(E_BAD, "host %s is no IPv4 address", host);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(errno, "socket");
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        int e = errno;

        close(fd);
        return err_errno(e, "connect %s:%u", host, port);
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* ---- reading an answer ---- */

static view
header(view head, const char *name)
{
    size_t         n = strlen(name);
    const uint8_t *end = head.at + head.len;

    for (const uint8_t *p = head.at; p < end;) {
        const uint8_t *eol = memchr(p, '\n', (size_t)(end - p));

        if (eol == NULL)
            break;
        if ((size_t)(eol - p) > n && p[n] == ':' && strncasecmp((const char *)p, name, n) == 0) {
            const uint8_t *v = p + n + 1;

            while (v < eol && *v == ' ')
                v++;
            return view_of(v, (size_t)(eol - v) - (eol > v && eol[-1] == '\r'));
        }
        p = eol + 1;
    }
    return view_of(NULL, 0);
}

/* Puts chunks together in place; the length of the whole, 0 while incomplete. */
static int64_t
unchunk(uint8_t *at, size_t len, view *body)
{
    size_t in = 0, out = 0;

    while (at != NULL) {
        const uint8_t *eol = memmem(at + in, len - in, "\r\n", 2);
        size_t         n;

        if (eol == NULL)
            return 0;
        n = strtoul((const char *)at + in, NULL, 16);
        in = (size_t)(eol - at) + 2;
        if (n > len || in + n + 2 > len)
            return 0;
        memmove(at + out, at + in, n);
        out += n;
        in += n + 2;
        if (n == 0)
            break;
    }
    *body = view_of(at, out);
    return (int64_t)in;
}

/* Is the last chunk there?  Chunks are only moved when it is.  *from: where the first incomplete one begins; a long
 * answer is looked through once, however it comes in. */
static bool
chunks_complete(const uint8_t *at, size_t len, size_t *from)
{
    while (at != NULL && *from < len) {
        const uint8_t *eol = memmem(at + *from, len - *from, "\r\n", 2);
        size_t         n, end;

        if (eol == NULL)
            return false;
        n = strtoul((const char *)at + *from, NULL, 16);
        end = (size_t)(eol - at) + 2 + n + 2;
        if (n > len || end > len)
            return false;
        if (n == 0)
            return true;
        *from = end;
    }
    return false;
}

int64_t
client_answer_len(view in, int *status, view *body, size_t *chunk_at)
{
    const uint8_t *end;
    view           head, length;
    size_t         n;

    if (in.at == NULL || in.len < 12)
        return 0;
    end = memmem(in.at, in.len, "\r\n\r\n", 4);
    if (end == NULL)
        return in.len > 65536 ? E_BAD : 0;
    if (memcmp(in.at, "HTTP/1.", 7) != 0)
        return E_BAD;
    *status = atoi((const char *)in.at + 9);
    n = (size_t)(end - in.at) + 4;
    head = view_of(in.at, n);
    *body = view_of(in.at + n, 0);
    if (*status == 204 || *status == 304)
        return (int64_t)n;
    length = header(head, "content-length");
    if (length.len > 0) {
        body->len = strtoul((const char *)length.at, NULL, 10);
        return in.len - n >= body->len ? (int64_t)(n + body->len) : 0;
    }
    if (header(head, "transfer-encoding").len == 0)
        return E_BAD;
    if (!chunks_complete(in.at + n, in.len - n, chunk_at))
        return 0;
    return (int64_t)n + unchunk((uint8_t *)(uintptr_t)in.at + n, in.len - n, body);
}

static int
receive(client *c, client_answer *a)
{
    c->chunk_at = 0;
    for (;;) {
        int64_t n = client_answer_len(view_of(c->in, c->in_len), &a->status, &a->body, &c->chunk_at);
        ssize_t got;

        if (n < 0)
            return err(E_BAD, "answer is not HTTP");
        if (n > 0) {
            c->in_len = 0;
            return E_OK;
        }
        if (c->in_len + 65537 > c->in_room) {
            char *more = c->in_room >= ANSWER_MAX ? NULL : realloc(c->in, c->in_room * 2 + (1 << 18));

            if (more == NULL)
                return err(E_LIMIT, "answer of %zu bytes", c->in_len);
            c->in_room = c->in_room * 2 + (1 << 18);
            c->in = more;
        }
        got = recv(c->fd, c->in + c->in_len, c->in_room - c->in_len - 1, 0);
        if (got <= 0)
            return err(E_GONE, "connection closed by the server");
        c->in_len += (size_t)got;
        c->in[c->in_len] = '\0';
    }
}

static int
send_all(int fd, view bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL);

        if (n <= 0)
            return err_errno(errno, "send");
        bytes = view_of(bytes.at + n, bytes.len - (size_t)n);
    }
    return E_OK;
}

int
client_call(client *c, const char *method, const char *path, view body, client_answer *a)
{
    char head[4096];
    int  n = snprintf(head, sizeof head,
                     "%s %s HTTP/1.1\r\nHost: %s:%u\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n",
                     method, path, c->host, c->port, body.len, c->auth);
    int  rc = E_GONE;

    ASSERT(n > 0 && (size_t)n < sizeof head);
    for (int tries = 0; tries < 2; tries++) {
        if (c->fd < 0 && (c->fd = client_connect(c->host, c->port)) < 0)
            return c->fd;
        rc = send_all(c->fd, view_of(head, (size_t)n));
        if (rc == E_OK)
            rc = send_all(c->fd, body);
        if (rc == E_OK)
            rc = receive(c, a);
        if (rc == E_OK)
            return E_OK;
        hang_up(c);
    }
    return err(rc, "%s %s", method, path);
}

int
client_json(client *c, const char *method, const char *path, const char *body, cJSON **out)
{
    client_answer a;
    int         rc = client_call(c, method, path, body != NULL ? view_str(body) : view_of(NULL, 0), &a);

    *out = NULL;
    if (rc < 0)
        return rc;
    if (a.body.len > 0)
        *out = json_parse(a.body);
    return a.status;
}

int
client_wait_ready(client *c, uint32_t within_ms)
{
    for (uint32_t waited = 0; waited < within_ms; waited += 20) {
        client_answer a = { 0 };

        if (client_call(c, "GET", "/readyz", view_of(NULL, 0), &a) == E_OK && a.status == 200)
            return E_OK;
        err_clear();
        nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
    }
    return err(E_LATE, "server is not ready after %u ms", within_ms);
}

uint16_t
client_free_port(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          len = sizeof a;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint16_t           port = 0;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0)
        port = ntohs(a.sin_port);
    if (fd >= 0)
        close(fd);
    return port;
}
