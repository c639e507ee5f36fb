/* reach.c - the control socket of a running server, else the store itself.
 *
 *   connect DATA/control.sock ── yes ──▶ ask, wait for the reply
 *            │ no
 *            ▼
 *   lock DATA, open the store, run ── locked: a server starts or stops ──▶ connect again
 *
 * Root works as the owner of the directory: the files that it makes must be the server's.
 */
#include "tools/reach.h"

#include "actors/registry_control.h"
#include "actors/registry_local.h"
#include "proto/err.h"
#include "proto/reg_ops.h"
#include "proto/rows.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 50, TRY_MS = 100, REPLY_WITHIN_S = 30 };

static int
become_owner(const char *dir)
{
    struct stat st;

    if (geteuid() != 0 || stat(dir, &st) != 0 || st.st_uid == 0)
        return E_OK; /* not root, or a directory of root's own, or none yet */
    if (setgroups(0, NULL) != 0 || setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0)
        return err_errno(errno, "become the owner of %s", dir);
    return E_OK;
}

/* A connected descriptor; E_NOTFOUND: nobody listens. */
static int
dial(const char *data_dir)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct timeval     within = { .tv_sec = REPLY_WITHIN_S };
    int                fd, rc;

    if (snprintf(a.sun_path, sizeof a.sun_path, "%s/control.sock", data_dir) >=
        (int)sizeof a.sun_path)
        return E_NOTFOUND; /* a server could not have made it either */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(errno, "socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &within, sizeof within);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &within, sizeof within);
    if (connect(fd, (const struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    rc = errno == ENOENT || errno == ECONNREFUSED ? E_NOTFOUND
                                                  : err_errno(errno, "connect %s", a.sun_path);
    close(fd);
    return rc;
}

static int
take(int fd, void *out, size_t len)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = recv(fd, (uint8_t *)out + have, len - have, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(errno, "read the server's reply");
        if (n == 0)
            return err(E_GONE, "the server hung up");
        have += (size_t)n;
    }
    return E_OK;
}

static int
ask_over(int fd, uint16_t op, view params)
{
    const reg_ask head = { .op = op, .role = ROLE_SYSTEM };
    uint32_t      len = (uint32_t)(sizeof head + params.len);
    struct iovec  parts[] = { { &len, sizeof len },
                              { (void *)(uintptr_t)&head, sizeof head },
                              { (void *)(uintptr_t)params.at, params.len } };
    struct msghdr m = { .msg_iov = parts, .msg_iovlen = COUNT_OF(parts) };

    /* at most REG_CONTROL_BODY_MAX: less than a socket's buffer, so one call takes it */
    ASSERT(len <= REG_CONTROL_BODY_MAX);
    if (sendmsg(fd, &m, MSG_NOSIGNAL) != (ssize_t)(sizeof len + len))
        return err_errno(errno, "ask the server");
    return E_OK;
}

static int
reply_over(int fd, uint16_t *status, pack *reply)
{
    uint32_t len;
    reg_done head;
    uint8_t *value;
    int      rc = take(fd, &len, sizeof len);

    if (rc < 0)
        return rc;
    if (len < sizeof head || len > 4 * REG_CONTROL_BODY_MAX)
        return err(E_BAD, "the server's reply of %u bytes", len);
    if ((rc = take(fd, &head, sizeof head)) < 0)
        return rc;
    len -= (uint32_t)sizeof head;
    value = malloc(len + 1);
    if (value == NULL)
        return err(E_NOMEM, "the server's reply");
    rc = take(fd, value, len);
    if (rc == E_OK && msgpack_sbuffer_write(&reply->buffer, (const char *)value, len) != 0)
        rc = E_NOMEM;
    free(value);
    *status = head.status;
    return rc;
}

static int
by_server(int fd, uint16_t op, view params, uint16_t *status, pack *reply)
{
    int rc = ask_over(fd, op, params);

    if (rc == E_OK)
        rc = reply_over(fd, status, reply);
    close(fd);
    return rc;
}

int
reach_registry(const char *data_dir, uint16_t op, view params, uint16_t *status, pack *reply)
{
    int rc = become_owner(data_dir);

    for (int i = 0; i < TRIES && rc == E_OK; i++) {
        int fd = dial(data_dir);

        if (fd >= 0)
            return by_server(fd, op, params, status, reply);
        if (fd != E_NOTFOUND)
            return fd;
        err_clear();
        rc = registry_local_op(data_dir, op, params, status, reply);
        if (rc != E_LOCKED)
            return rc;
        nanosleep(&(struct timespec){ 0, TRY_MS * 1000000L }, NULL);
        rc = E_OK;
    }
    return rc < 0 ? rc : err(E_LOCKED, "a server has %s open and does not answer", data_dir);
}
