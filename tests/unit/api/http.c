/* HTTP over H2O, on real sockets, in one thread: the client writes, the loop turns, the client
 * reads. */
#include "tests/unit/check.h"

#include "api/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BODY_MAX = 1000000, TURNS = 400 };

typedef struct fixture {
    http     *h;
    int       listener;
    uint16_t  port;
    exchange *last;
    uint32_t  requests;
    uint32_t  gone;
    uint32_t  drained;
    size_t    body_len;
    bool      padded;
    bool      hold;       /* do not answer */
    size_t    stream_len; /* answer with a stream of so many bytes */
    size_t    streamed;
} fixture;

static fixture *F;

static void
on_gone(void *owner)
{
    fixture *f = owner;

    f->gone++;
    f->last = NULL;
}

static void
pour(fixture *f)
{
    uint8_t block[10000];
    bool    more = true;

    memset(block, 'x', sizeof block);
    while (more && f->streamed < f->stream_len) {
        size_t n = (size_t)min_u64(sizeof block, f->stream_len - f->streamed);

        more = http_stream(f->last, view_of(block, n));
        f->streamed += n;
    }
    if (f->streamed == f->stream_len)
        http_stream_end(f->last);
}

static void
on_drained(void *owner)
{
    fixture *f = owner;

    f->drained++;
    pour(f);
}

static void
on_request(void *ctx, exchange *x)
{
    fixture *f = ctx;

    f->requests++;
    f->last = x;
    f->body_len = x->body.len;
    f->padded = x->body_padded;
    x->owner = f;
    x->gone = on_gone;
    x->drained = on_drained;
    if (f->hold)
        return;
    if (f->stream_len > 0) {
        http_stream_begin(x, 200, "text/plain");
        pour(f);
        return;
    }
    http_add_header(x, "X-Path", x->path);
    http_add_header(x, "X-Query", x->query);
    http_answer(x, 200, "text/plain", VIEW_LIT("hello"));
}

static int
setup(void **state)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          len = sizeof name;
    http_config        config = { .connections = 8,
                                  .request_timeout_ms = 5000,
                                  .body_bytes = BODY_MAX,
                                  .bodies_bytes = 3 << 20,
                                  .on_request = on_request };

    (void)state;
    F = calloc(1, sizeof *F);
    F->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(F->listener, (void *)&name, sizeof name), 0);
    assert_int_equal(listen(F->listener, 64), 0);
    assert_int_equal(getsockname(F->listener, (void *)&name, &len), 0);
    F->port = ntohs(name.sin_port);
    config.listener = F->listener;
    config.ctx = F;
    CHECK_OK(http_open(&F->h, &config));
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    http_close(&F->h);
    close(F->listener);
    free(F);
    return 0;
}

static void
turn(int n)
{
    while (n-- > 0)
        http_turn(F->h, 1000000);
}

static int
dial(void)
{
    struct sockaddr_in name = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons(F->port) };
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (void *)&name, sizeof name), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Writes all, turning the loop when the socket is full; false: the peer hung up. */
static bool
say(int fd, const void *at, size_t len)
{
    const uint8_t *p = at;

    for (int i = 0; len > 0 && i < 100000; i++) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
        turn(1);
    }
    return len == 0;
}

/* Reads what comes within some turns, until `enough` is in it or the peer closes. */
static size_t
hear(int fd, char *out, size_t room, const char *enough)
{
    size_t len = 0;

    for (int i = 0; i < TURNS; i++) {
        ssize_t n = recv(fd, out + len, room - 1 - len, 0);

        if (n > 0)
            len += (size_t)n;
        out[len] = '\0';
        if (n == 0 || (n < 0 && errno != EAGAIN) || (enough != NULL && strstr(out, enough) != NULL))
            break;
        turn(1);
    }
    return len;
}

static void
ask(const char *request, char *out, size_t room, const char *enough)
{
    int fd = dial();

    assert_true(say(fd, request, strlen(request)));
    hear(fd, out, room, enough);
    close(fd);
    turn(2);
}

static uint32_t
count(const char *text, const char *what)
{
    uint32_t n = 0;

    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        n++;
    return n;
}

static void
requests_on_one_connection_are_answered_in_order(void **state)
{
    static const char two[] = "GET /a%20b/../c?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"
                              "GET /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    char              out[4096];

    (void)state;
    ask(two, out, sizeof out, NULL);
    CHECK_EQ(count(out, "HTTP/1.1 200 OK\r\n"), 2);
    CHECK(strstr(out, "X-Path: /c\r\n") < strstr(out, "X-Path: /d\r\n"));
    CHECK(strstr(out, "X-Query: x=1\r\n") != NULL);
    CHECK(strstr(out, "Content-Length: 5\r\n") != NULL);
    CHECK(strstr(out, "Server:") == NULL);
    CHECK_EQ(F->gone, 2);
}

static void
head_has_the_length_and_no_body(void **state)
{
    char out[4096];

    (void)state;
    ask("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", out, sizeof out, NULL);
    CHECK(strstr(out, "Content-Length: 5\r\n") != NULL);
    CHECK(strstr(out, "hello") == NULL);
}

static void
requests_that_could_smuggle_another_are_refused(void **state)
{
    static const char *const heads[] = {
        "Host: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n",
        "Host: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Host: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Host: h\r\nX-A: 1\r\n folded\r\nContent-Length: 2\r\n",
        "Host: h\r\nHost: i\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\n",
    };
    char request[512], out[4096];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        snprintf(request, sizeof request, "POST / HTTP/1.1\r\n%s\r\n%s", heads[i],
                 strstr(heads[i], "chunked") != NULL
                     ? "2\r\n{}\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n"
                     : "{}GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
        ask(request, out, sizeof out, NULL);
        CHECK(strncmp(out, "HTTP/1.1 400 ", 13) == 0);
        CHECK_EQ(count(out, "HTTP/1.1"), 1);
        CHECK(strstr(out, "{\"detail\":") != NULL);
        CHECK(strstr(out, "Connection: close") != NULL);
    }
    CHECK_EQ(F->requests, 0);
}

static void
a_body_of_exactly_the_bound_is_taken_in_one_piece_or_in_chunks(void **state)
{
    uint8_t *body = calloc(1, BODY_MAX);
    char     head[128], out[4096];
    int n = snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
                     BODY_MAX);
    int fd = dial();

    (void)state;
    CHECK(say(fd, head, (size_t)n) && say(fd, body, BODY_MAX));
    hear(fd, out, sizeof out, "hello");
    CHECK(strncmp(out, "HTTP/1.1 200 ", 13) == 0);
    CHECK_EQ(F->body_len, BODY_MAX);
    n = snprintf(head, sizeof head,
                 "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
                 BODY_MAX);
    CHECK(say(fd, head, (size_t)n) && say(fd, body, BODY_MAX) && say(fd, "\r\n0\r\n\r\n", 7));
    hear(fd, out, sizeof out, "hello");
    CHECK(strncmp(out, "HTTP/1.1 200 ", 13) == 0);
    CHECK_EQ(F->body_len, BODY_MAX);
    close(fd);
    free(body);
}

static void
a_body_over_the_bound_is_413_in_json_without_reading_on(void **state)
{
    static const char *const heads[] = { "Content-Length: 30000000\r\n\r\n",
                                         "Transfer-Encoding: chunked\r\n\r\n1c9c380\r\n" };
    uint8_t                 *body = calloc(1, 5 << 20);
    char                     head[128], out[4096];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        int fd = dial();
        int n = snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: h\r\n%s", heads[i]);

        CHECK(say(fd, head, (size_t)n));
        CHECK(say(fd, body,
                  5 << 20)); /* the client is still let speak, so that it hears the answer */
        hear(fd, out, sizeof out, NULL);
        CHECK(strncmp(out, "HTTP/1.1 413 Content Too Large\r\n", 32) == 0);
        CHECK(strstr(out, "{\"detail\":\"Request body is too large.\"}") != NULL);
        CHECK(strstr(out, "application/json") != NULL);
        close(fd);
    }
    CHECK_EQ(F->requests, 0);
    free(body);
}

static void
a_slow_reader_holds_one_buffer_and_gets_all_of_it(void **state)
{
    size_t want = 20 << 20, got = 0;
    char  *out = malloc(1 << 20);
    int    fd = dial();

    (void)state;
    F->stream_len = want;
    CHECK(say(fd, "GET / HTTP/1.0\r\nHost: h\r\n\r\n", 27));
    turn(20);
    CHECK(F->streamed < want / 2); /* nobody has read: it waits */
    for (int i = 0; i < 100000; i++) {
        ssize_t n = recv(fd, out, 1 << 20, 0);

        if (n == 0)
            break;
        got += n > 0 ? (size_t)n : 0;
        turn(1);
    }
    CHECK(got > want);
    CHECK(F->drained > 0);
    CHECK_EQ(F->gone, 1);
    close(fd);
    free(out);
}

static void
a_stream_is_chunked_for_http_1_1(void **state)
{
    char out[65536];

    (void)state;
    F->stream_len = 30000;
    ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n", out, sizeof out, "\r\n0\r\n\r\n");
    CHECK(strstr(out, "transfer-encoding: chunked") != NULL);
    CHECK(strstr(out, "\r\n0\r\n\r\n") != NULL);
}

static void
an_answer_given_between_turns_leaves_at_once_and_the_next_request_is_read(void **state)
{
    char out[4096];
    int  fd = dial();

    (void)state;
    F->hold = true;
    CHECK(say(fd, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n", 56));
    turn(5);
    CHECK_EQ(F->requests, 1);
    http_answer(F->last, 200, "text/plain", VIEW_LIT("one"));
    CHECK(http_is_touched(F->h));
    http_turn(F->h, UINT64_C(10000000000)); /* would sleep: the write's end must be seen first */
    turn(2);
    CHECK_EQ(F->requests, 2);
    http_answer(F->last, 200, "text/plain", VIEW_LIT("two"));
    hear(fd, out, sizeof out, "two");
    CHECK(strstr(out, "one") != NULL);
    close(fd);
}

static void
bodies_that_arrive_are_bounded_together(void **state)
{
    uint8_t *body = calloc(1, BODY_MAX);
    int      fds[6];
    char     head[128], out[4096];
    uint32_t shed = 0;
    int n = snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
                     BODY_MAX);

    (void)state;
    for (int i = 0; i < 6; i++) {
        fds[i] = dial();
        say(fds[i], head, (size_t)n);
        say(fds[i], body, BODY_MAX - 1); /* one byte is missing, on all of them */
    }
    usleep(60000); /* the budget is looked at every 50 ms */
    turn(20);
    for (int i = 0; i < 6; i++) {
        out[0] = '\0';
        if (recv(fds[i], out, sizeof out - 1, 0) > 0)
            shed += strncmp(out, "HTTP/1.1 503 ", 13) == 0;
        close(fds[i]);
    }
    CHECK(shed > 0 && shed < 6);
    turn(5);
    free(body);
}

static void
connections_over_the_cap_wait_their_turn(void **state)
{
    char out[4096];
    int  fds[9];

    (void)state;
    for (int i = 0; i < 9; i++)
        fds[i] = dial();
    turn(5);
    CHECK_EQ(http_connections(F->h), 8);
    say(fds[8], "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27);
    turn(5);
    CHECK_EQ(F->requests, 0);
    close(fds[0]);
    usleep(60000);
    hear(fds[8], out, sizeof out, "hello");
    CHECK(strstr(out, "hello") != NULL);
    for (int i = 1; i < 9; i++)
        close(fds[i]);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(requests_on_one_connection_are_answered_in_order),
        CASE(head_has_the_length_and_no_body),
        CASE(requests_that_could_smuggle_another_are_refused),
        CASE(a_body_of_exactly_the_bound_is_taken_in_one_piece_or_in_chunks),
        CASE(a_body_over_the_bound_is_413_in_json_without_reading_on),
        CASE(a_slow_reader_holds_one_buffer_and_gets_all_of_it),
        CASE(a_stream_is_chunked_for_http_1_1),
        CASE(an_answer_given_between_turns_leaves_at_once_and_the_next_request_is_read),
        CASE(bodies_that_arrive_are_bounded_together),
        CASE(connections_over_the_cap_wait_their_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
