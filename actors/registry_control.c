/* registry_control.c - the registry's socket for commands (registry_control.h). */
#include "actors/registry_control.h"
#include "proto/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct connection {
    int      fd; /* -1: free */
    uint32_t len;
    uint8_t *at; /* 4 + REG_CONTROL_BODY_MAX bytes while connected */
} connection;

struct reg_control {
    int             listener;
    reg_control_run_fn *run;
    void           *ctx;
    char            path[108];
    connection      connections[REG_CONTROL_CONNECTIONS];
};

static int
listen_at(reg_control *c)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };

    memcpy(a.sun_path, c->path, sizeof a.sun_path);
    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listener < 0)
        return err_errno(errno, "control socket");
    unlink(c->path);
    mode_t before = umask(0177);
    int    rc = bind(c->listener, (const struct sockaddr *)&a, sizeof a);
    int    failure = errno;
    umask(before);
    if (rc < 0)
        return err_errno(failure, "bind %s", c->path);
    if (listen(c->listener, REG_CONTROL_CONNECTIONS) < 0)
        return err_errno(errno, "listen %s", c->path);
    return E_OK;
}

int
reg_control_open(reg_control **out, const char *data_dir, reg_control_run_fn *run, void *ctx)
{
    reg_control *c = calloc(1, sizeof *c);
    int      rc = E_OK;

    if (c == NULL)
        return err(E_NOMEM, "control socket");
    c->listener = -1;
    c->run = run;
    c->ctx = ctx;
    for (uint32_t i = 0; i < REG_CONTROL_CONNECTIONS; i++)
        c->connections[i].fd = -1;
    int n = snprintf(c->path, sizeof c->path, "%s/control.sock", data_dir);
    if (n < 0 || (size_t)n >= sizeof c->path)
        rc = err(E_RANGE, "control socket: %s is too long a directory for a socket", data_dir);
    else
        rc = listen_at(c);
    if (rc < 0)
        reg_control_close(&c);
    *out = c;
    return rc;
}

static void
close_connection(connection *x)
{
    if (x->fd >= 0)
        close(x->fd);
    free(x->at);
    *x = (connection){ .fd = -1 };
}

void
reg_control_close(reg_control **out)
{
    reg_control *c = *out;

    if (c == NULL)
        return;
    for (uint32_t i = 0; i < REG_CONTROL_CONNECTIONS; i++)
        close_connection(&c->connections[i]);
    if (c->listener >= 0) {
        close(c->listener);
        unlink(c->path);
    }
    free(c);
    *out = NULL;
}

int
reg_control_listener(const reg_control *c)
{
    return c->listener;
}

static connection *
connection_of(reg_control *c, int fd)
{
    for (uint32_t i = 0; i < REG_CONTROL_CONNECTIONS; i++)
        if (c->connections[i].fd == fd)
            return &c->connections[i];
    return NULL;
}

static bool
is_trusted(int fd)
{
    struct ucred peer = { 0 };
    socklen_t    len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    return peer.uid == geteuid() || peer.uid == 0;
}

int
reg_control_accept(reg_control *c)
{
    int         fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    connection *x = connection_of(c, -1);

    if (fd < 0)
        return -1;
    uint8_t *at = x == NULL || !is_trusted(fd) ? NULL : malloc(4 + REG_CONTROL_BODY_MAX);
    if (at == NULL) {
        close(fd);
        return -1;
    }
    *x = (connection){ .fd = fd, .at = at };
    return fd;
}

/* A reply fits the socket's buffer (over 200 KB); a peer that left so much unread is let go. */
static bool
send_reply(connection *x, uint16_t status, view value)
{
    reg_done head = { .status = status };
    uint32_t len = (uint32_t)(sizeof head + value.len);
    struct iovec parts[] = {
        { &len, sizeof len }, { &head, sizeof head }, { (void *)(uintptr_t)value.at, value.len }
    };
    struct msghdr m = { .msg_iov = parts, .msg_iovlen = COUNT_OF(parts) };

    return sendmsg(x->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)(sizeof len + len);
}

static bool
answer(reg_control *c, connection *x, uint32_t body_len)
{
    reg_ask  ask;
    uint16_t status = 500;
    pack     out;

    memcpy(&ask, x->at + 4, sizeof ask);
    pack_init(&out);
    int rc = c->run(c->ctx, &ask, view_of(x->at + 4 + sizeof ask, body_len - sizeof ask), &status, &out);
    if (rc < 0) {
        status = 503;
        pack_reset(&out);
        pack_str(&out, view_str(err_name(rc)));
    }
    bool sent = send_reply(x, status, pack_view(&out));
    pack_fini(&out);
    x->len -= 4 + body_len;
    memmove(x->at, x->at + 4 + body_len, x->len);
    return sent;
}

/* Every whole request that is there. */
static bool
answer_all(reg_control *c, connection *x)
{
    while (x->len >= 4) {
        uint32_t body_len = load_u32(x->at);

        if (body_len < sizeof(reg_ask) || body_len > REG_CONTROL_BODY_MAX)
            return false;
        if (x->len < 4 + body_len)
            return true;
        if (!answer(c, x, body_len))
            return false;
    }
    return true;
}

bool
reg_control_read(reg_control *c, int fd)
{
    connection *x = fd < 0 ? NULL : connection_of(c, fd);

    if (x == NULL)
        return false;
    ssize_t n = recv(fd, x->at + x->len, 4 + REG_CONTROL_BODY_MAX - x->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    x->len += (uint32_t)n;
    return answer_all(c, x);
}

void
reg_control_drop(reg_control *c, int fd)
{
    connection *x = fd < 0 ? NULL : connection_of(c, fd);

    if (x != NULL)
        close_connection(x);
}
