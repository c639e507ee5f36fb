/* sup_listen.c - one listening socket for the life of the server, and the word to the service manager.
 *
 * Fronts inherit the descriptor by number, so a front's death refuses no connection: they wait in the
 * socket's queue for the next one.
 */
#include "actors/sup_internal.h"

#include "proto/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, HOST_ROOM = 256, TAKEN_WAIT_MS = 3000, TAKEN_LOOK_MS = 20 };

/* "127.0.0.1:8080", "[::1]:8080", ":8080" (every address). */
static int
split(const char *text, char host[HOST_ROOM], const char **port)
{
    const char *colon = strrchr(text, ':');
    const char *from = text;
    size_t      len;

    if (colon == NULL || colon[1] == '\0')
        return err(E_CONFIG, "server.listen = \"%s\": ADDRESS:PORT is wanted", text);
    len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        from++;
        len -= 2;
    }
    if (len >= HOST_ROOM)
        return err(E_CONFIG, "server.listen: too long");
    memcpy(host, from, len);
    host[len] = '\0';
    *port = colon + 1;
    return E_OK;
}

static bool
is_loopback(const struct sockaddr *a)
{
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;

    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
}

/* The errno of it; 0: *fd listens. */
static int
try_listen(const struct addrinfo *a, int *fd)
{
    int on = 1;
    int why = 0;

    *fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        return errno;
    (void)setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(*fd, a->ai_addr, a->ai_addrlen) < 0 || listen(*fd, BACKLOG) < 0) {
        why = errno;
        (void)close(*fd);
        *fd = -1;
    }
    return why;
}

/* After a kill -9 of this server a front that inherited the old socket may take a moment to die: whoever starts the
 * server anew at once is not to be refused for that. */
static int
open_socket(const struct addrinfo *a, int *fd)
{
    const struct timespec look = { .tv_nsec = TAKEN_LOOK_MS * 1000000L };
    int                   why = try_listen(a, fd);

    for (int ms = 0; why == EADDRINUSE && ms < TAKEN_WAIT_MS; ms += TAKEN_LOOK_MS) {
        (void)nanosleep(&look, NULL);
        why = try_listen(a, fd);
    }
    if (why == EADDRINUSE)
        return err_errno(why, "another program has that port: stop it, or choose another one");
    return why == 0 ? E_OK : err_errno(why, "listen");
}

static void
say_bound(sup *s, int fd)
{
    struct sockaddr_storage a = { 0 };
    socklen_t               len = sizeof a;
    char                    host[INET6_ADDRSTRLEN] = "?";
    char                    port[8] = "?";

    (void)getsockname(fd, (struct sockaddr *)&a, &len);
    (void)getnameinfo((struct sockaddr *)&a, len, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV);
    (void)snprintf(s->listen, sizeof s->listen, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
                   port);
}

int
sup__listen(sup *s)
{
    const char     *text = s->o->server_listen;
    struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char            host[HOST_ROOM] = "";
    const char     *port = NULL;
    int             rc = split(text, host, &port);
    int             fd;

    if (rc < 0)
        return rc;
    rc = getaddrinfo(host[0] == '\0' ? NULL : host, port, &hints, &found);
    if (rc != 0)
        return err(E_CONFIG, "server.listen = \"%s\": %s", text, gai_strerror(rc));
    rc = open_socket(found, &fd);
    if (rc >= 0) {
        s->run.listen_fd = fd;
        s->run.loopback = is_loopback(found->ai_addr);
        say_bound(s, fd);
    }
    freeaddrinfo(found);
    return rc < 0 ? err(rc, "server.listen = \"%s\"", text) : E_OK;
}

/* sd_notify(3) without its library: one datagram. */
void
sup__notify(const char *word)
{
    const char        *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    size_t             len = path == NULL ? 0 : strlen(path);
    int                fd;

    if (len < 2 || len >= sizeof a.sun_path)
        return;
    memcpy(a.sun_path, path, len);
    if (path[0] == '@')
        a.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, word, strlen(word), MSG_NOSIGNAL, (const struct sockaddr *)&a,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    (void)close(fd);
}
