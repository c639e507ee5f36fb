/* viewers.c - see viewers.h.  One thread, one epoll; a client:
 *
 *   connect -> upgrade -> 101 -> token, ping -> pong: it is live -> frames
 *
 * What comes is read into one buffer for all; only the part of a frame that is not there yet is kept with the client.
 */
#include "bench/viewers.h"

#include "bench/client.h"
#include "bench/out.h"
#include "proto/err.h"
#include "proto/num.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    OPENING_MAX = 16, /* below the server's limit of strangers */
    IN_ROOM = 256 << 10,
    SAMPLES_MAX = 1 << 20,
    SAMPLE_EVERY = 64, /* updates */
    OPEN_WITHIN_S = 120,
    SPARE_FILES = 256,
    DEAF_RCVBUF = 4096,
};

enum state { CONNECTING, UPGRADING, ENTERING, LIVE, CLOSED };

struct viewer {
    int        fd;
    enum state state;
    uint16_t   code; /* it was closed with */
    uint64_t   opened, closed, missed, twice;
    uint64_t   last_seq; /* 0: none yet */
    uint8_t   *kept;     /* owned: the beginning of a frame */
    size_t     kept_len, kept_room;
};

double
viewers_clock_ms(void)
{
    return (double)(bench_now_ns() / 1000) / 1e3;
}

/* ---- counting ---- */

static void
sample(uint64_t **list, size_t *count, double sent_ms)
{
    double late_ms = viewers_clock_ms() - sent_ms;

    if (*list == NULL)
        *list = malloc(SAMPLES_MAX * sizeof **list);
    ASSERT(*list != NULL);
    if (*count < SAMPLES_MAX && late_ms >= 0 && late_ms < 1e7)
        (*list)[(*count)++] = (uint64_t)(late_ms * 1e6);
}

static bool
number_of(view text, const char *name, double *out)
{
    const uint8_t *at = memmem(text.at, text.len, name, strlen(name));

    if (at == NULL)
        return false;
    at += strlen(name);
    return num_parse(view_of(at, (size_t)(text.at + text.len - at)), out) > 0;
}

static void
count_seq(viewer *c, double seq)
{
    uint64_t n = (uint64_t)seq;

    if (c->last_seq != 0 && n <= c->last_seq)
        c->twice++;
    else if (c->last_seq != 0)
        c->missed += n - c->last_seq - 1;
    if (n > c->last_seq)
        c->last_seq = n;
}

static void
hear_text(viewers *w, viewer *c, view text)
{
    static const char update[] = "{\"type\":\"sensor_update\"", an_alert[] = "{\"type\":\"alert\"";
    double            n;

    if (text.len > sizeof update && memcmp(text.at, update, sizeof update - 1) == 0) {
        if (++w->now.updates % SAMPLE_EVERY == 0 && number_of(text, "\"value\":", &n))
            sample(&w->now.update_ns, &w->now.update_count, n);
        return;
    }
    if (text.len > sizeof an_alert && memcmp(text.at, an_alert, sizeof an_alert - 1) == 0) {
        bool closes = memmem(text.at, text.len, "\"resolved_at\":", 14) != NULL;

        w->now.alerts++;
        c->opened += !closes;
        c->closed += closes;
        if (!closes && number_of(text, "\"metric_value\":", &n))
            sample(&w->now.alert_ns, &w->now.alert_count, n);
    } else {
        w->now.others++;
    }
    if (number_of(text, "\"seq\":", &n))
        count_seq(c, n);
}

/* ---- a client ---- */

static void
end(viewers *w, viewer *c)
{
    if (c->state == CLOSED)
        return;
    if (c->state == LIVE)
        w->live--;
    else
        w->opening--;
    if (w->close_code == 0)
        w->close_code = c->code;
    c->state = CLOSED;
    w->closed++;
    close(c->fd);
    c->fd = -1;
}

static bool
say(const viewer *c, uint8_t opcode, view body)
{
    uint8_t frame[2048] = { (uint8_t)(0x80 | opcode) }; /* masked with zeros, as one may */
    size_t  head = body.len < 126 ? 6 : 8;

    ASSERT(body.len + head <= sizeof frame);
    frame[1] = (uint8_t)(0x80 | (body.len < 126 ? body.len : 126));
    if (body.len >= 126) {
        frame[2] = (uint8_t)(body.len >> 8);
        frame[3] = (uint8_t)body.len;
    }
    if (body.len > 0)
        memcpy(frame + head, body.at, body.len);
    return send(c->fd, frame, head + body.len, MSG_NOSIGNAL) == (ssize_t)(head + body.len);
}

static bool
upgrade(const viewers *w, viewer *c)
{
    char text[512];
    int  n = snprintf(text, sizeof text,
                      "GET /api/v1/ws/dashboard HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                      w->where);

    c->state = UPGRADING;
    return send(c->fd, text, (size_t)n, MSG_NOSIGNAL) == n;
}

/* The 101; its length, 0: not whole, negative: another answer. */
static int64_t
hear_upgrade(viewers *w, viewer *c, view in)
{
    const uint8_t *blank = memmem(in.at, in.len, "\r\n\r\n", 4);

    if (blank == NULL)
        return 0;
    if (in.len < 12 || memcmp(in.at, "HTTP/1.1 101", 12) != 0)
        return E_BAD;
    c->state = ENTERING;
    if (!say(c, 1, view_str(w->token)) || !say(c, 9, VIEW_LIT("in?")))
        return E_GONE;
    return blank + 4 - in.at;
}

static int64_t
hear_frame(viewers *w, viewer *c, view in)
{
    size_t head = 2, len = in.len < 2 ? 0 : in.at[1] & 127u;

    if (in.len < 2 || (len == 126 && in.len < 4) || (len == 127 && in.len < 10))
        return 0;
    if (len == 126) {
        head = 4;
        len = (size_t)in.at[2] << 8 | in.at[3];
    } else if (len == 127) {
        head = 10;
        len = (size_t)load_be64(in.at + 2);
    }
    if (in.len - head < len)
        return 0;
    w->now.bytes += head + len;
    switch (in.at[0] & 15) {
    case 1: hear_text(w, c, view_of(in.at + head, len)); break;
    case 9: (void)say(c, 10, view_of(in.at + head, len)); break;
    case 8:
        c->code = len < 2 ? 1005 : (uint16_t)(in.at[head] << 8 | in.at[head + 1]);
        return E_GONE;
    case 10:
        if (c->state == ENTERING) {
            c->state = LIVE;
            w->opening--;
            w->live++;
        }
        break;
    default: break;
    }
    return (int64_t)(head + len);
}

/* All that is whole; false: it is over. */
static bool
hear(viewers *w, viewer *c, view in, size_t *used)
{
    for (*used = 0; *used < in.len;) {
        view    rest = view_of(in.at + *used, in.len - *used);
        int64_t n = c->state == UPGRADING ? hear_upgrade(w, c, rest) : hear_frame(w, c, rest);

        if (n < 0)
            return false;
        if (n == 0)
            return true;
        *used += (size_t)n;
    }
    return true;
}

static void
keep(viewer *c, view rest)
{
    if (rest.len > c->kept_room) {
        c->kept_room = rest.len + 1024;
        free(c->kept);
        c->kept = malloc(c->kept_room);
        ASSERT(c->kept != NULL);
    }
    if (rest.len > 0)
        memcpy(c->kept, rest.at, rest.len);
    c->kept_len = rest.len;
}

static void
read_some(viewers *w, viewer *c, uint8_t *in)
{
    ssize_t n;
    size_t  used, have = c->kept_len;

    if (have > 0)
        memcpy(in, c->kept, have);
    n = recv(c->fd, in + have, IN_ROOM - have, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || !hear(w, c, view_of(in, have + (size_t)n), &used)) {
        end(w, c);
        return;
    }
    keep(c, view_of(in + used, have + (size_t)n - used));
}

/* ---- the thread ---- */

static void
open_more(viewers *w, const client *address)
{
    while (w->next < w->clients && w->opening < OPENING_MAX) {
        viewer           *c = &w->all[w->next++];
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
        int                room = DEAF_RCVBUF;

        w->opening++;
        c->fd = client_connect(address->host, address->port);
        c->state = CONNECTING;
        if (c == w->all && c->fd >= 0)
            (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room); /* it is to be full soon */
        if (c->fd < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0 || !upgrade(w, c)) {
            err_clear();
            end(w, c);
        }
    }
}

static void
end_deafness(viewers *w)
{
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = w->all };

    if (w->deaf_until_ns == 0 || bench_now_ns() < w->deaf_until_ns)
        return;
    w->deaf_until_ns = 0;
    if (w->all[0].fd >= 0)
        (void)epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->all[0].fd, &e);
}

static void *
run(void *arg)
{
    viewers           *w = arg;
    uint8_t           *in = malloc(IN_ROOM);
    struct epoll_event events[256];
    client             address;

    ASSERT(in != NULL);
    if (client_open(&address, w->where) < 0)
        err_clear();
    while (!atomic_load(&w->stop)) {
        int n;

        pthread_mutex_lock(&w->lock);
        open_more(w, &address);
        end_deafness(w);
        pthread_mutex_unlock(&w->lock);
        n = epoll_wait(w->epoll, events, (int)COUNT_OF(events), 50);
        pthread_mutex_lock(&w->lock);
        for (int i = 0; i < n; i++) {
            viewer *c = events[i].data.ptr;

            if (c->state != CLOSED && (c != w->all || w->deaf_until_ns == 0))
                read_some(w, c, in);
        }
        pthread_mutex_unlock(&w->lock);
    }
    client_close(&address);
    free(in);
    return NULL;
}

/* ---- from outside ---- */

/* Both sides of every connection are in processes that inherit this limit. */
int
viewers_files(uint32_t clients)
{
    struct rlimit r;
    rlim_t        want = clients + SPARE_FILES;

    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return err_errno(errno, "limit of open files");
    if (r.rlim_cur >= want)
        return E_OK;
    if (r.rlim_max < want)
        return err(E_FULL,
                   "%u clients need %llu open files and the hard limit is %llu: raise it (ulimit -Hn, LimitNOFILE=) or take fewer with "
                   "--clients",
                   clients, (unsigned long long)want, (unsigned long long)r.rlim_max);
    r.rlim_cur = want;
    return setrlimit(RLIMIT_NOFILE, &r) < 0 ? err_errno(errno, "raise the limit of open files") : E_OK;
}

static int
wait_live(viewers *w)
{
    uint64_t until = bench_now_ns() + OPEN_WITHIN_S * 1000000000ull;
    int      rc = E_AGAIN;

    while (rc == E_AGAIN && bench_now_ns() < until) {
        pthread_mutex_lock(&w->lock);
        if (w->closed > 0)
            rc = err(E_GONE, "a client was not let in, or let go (close code %u)", w->close_code);
        else if (w->live == w->clients)
            rc = E_OK;
        pthread_mutex_unlock(&w->lock);
        if (rc == E_AGAIN)
            nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    }
    return rc == E_AGAIN ? err(E_LATE, "clients are not all in after %d s", OPEN_WITHIN_S) : rc;
}

int
viewers_open(viewers *w)
{
    w->all = calloc(w->clients, sizeof *w->all);
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (w->all == NULL || w->epoll < 0 || pthread_mutex_init(&w->lock, NULL) != 0)
        return err(E_NOMEM, "%u clients", w->clients);
    for (uint32_t i = 0; i < w->clients; i++)
        w->all[i].fd = -1;
    if (pthread_create(&w->thread, NULL, run, w) != 0)
        return err(E_NOMEM, "a thread");
    w->running = true;
    return wait_live(w);
}

void
viewers_close(viewers *w)
{
    atomic_store(&w->stop, true);
    if (w->running)
        pthread_join(w->thread, NULL);
    for (uint32_t i = 0; i < w->clients && w->all != NULL; i++) {
        if (w->all[i].fd >= 0)
            close(w->all[i].fd);
        free(w->all[i].kept);
    }
    free(w->all);
    if (w->epoll > 0)
        close(w->epoll);
    viewers_counts_free(&w->now);
    *w = (viewers){ .clients = 0 };
}

void
viewers_counts_free(viewers_counts *c)
{
    free(c->update_ns);
    free(c->alert_ns);
    *c = (viewers_counts){ .updates = 0 };
}

void
viewers_take(viewers *w, viewers_counts *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->now;
    w->now = (viewers_counts){ .updates = 0 };
    pthread_mutex_unlock(&w->lock);
}

void
viewers_deafen(viewers *w, double seconds)
{
    pthread_mutex_lock(&w->lock);
    if (w->all[0].fd >= 0)
        (void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->all[0].fd, NULL);
    w->deaf_until_ns = bench_now_ns() + (uint64_t)(seconds * 1e9);
    pthread_mutex_unlock(&w->lock);
}

uint16_t
viewers_deaf_code(viewers *w)
{
    uint16_t code;

    pthread_mutex_lock(&w->lock);
    code = w->all[0].code;
    pthread_mutex_unlock(&w->lock);
    return code;
}

void
viewers_check_all(viewers *w, uint32_t but, viewers_check *out)
{
    *out = (viewers_check){ .opened_least = UINT64_MAX, .closed_least = UINT64_MAX };
    pthread_mutex_lock(&w->lock);
    for (uint32_t i = but; i < w->clients; i++) {
        const viewer *c = &w->all[i];

        out->opened_least = min_u64(out->opened_least, c->opened);
        out->opened_most = max_u64(out->opened_most, c->opened);
        out->closed_least = min_u64(out->closed_least, c->closed);
        out->closed_most = max_u64(out->closed_most, c->closed);
        out->missed += c->missed;
        out->twice += c->twice;
        if (c->state == CLOSED) {
            out->gone++;
            out->code = c->code;
        }
    }
    pthread_mutex_unlock(&w->lock);
}
