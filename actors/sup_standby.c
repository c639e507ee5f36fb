/* sup_standby.c - one process that is already there when another one dies.
 *
 *   fork, exec, libraries loaded, settings read, sockets' threads running, lanes mapped ─ blocked in read()
 *        death of a group ─▶ its number down the pipe ─▶ it is that group ─▶ another standby, when things are calm
 *
 * Any group may be it: what a process hosts is only known when it is told.  It costs nothing while it waits but the memory
 * that it does not share.  Without one, or when it is being made, a group is started as ever.
 */
#include "actors/sup_internal.h"

#include "proto/err.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint64_t CALM_NS = 100000000;
static const uint64_t RETRY_NS = 5000000000ull;

/* Between fork and exec: nothing but system calls. */
static _Noreturn void
become(const sup *s, pid_t parent, int line, char *role)
{
    char     run[RUNDIR_PATH_MAX];
    char    *argv[] = { (char[]){ "haltless" }, (char[]){ "actor" }, run, role, NULL };
    sigset_t none;

    memcpy(run, s->run.path, sizeof run);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(127);
    (void)fcntl(s->run.listen_fd, F_SETFD, 0); /* it may have to be a front */
    (void)fcntl(line, F_SETFD, 0);
    (void)execv("/proc/self/exe", argv);
    _exit(127);
}

static int
make(sup *s)
{
    standby *b = &s->standby;
    char     role[32];
    pid_t    parent = getpid();
    int      line[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0)
        return err_errno(errno, "socket pair");
    (void)snprintf(role, sizeof role, "standby:%d", line[1]);
    b->pid = fork();
    if (b->pid == 0)
        become(s, parent, line[1], role);
    (void)close(line[1]);
    if (b->pid > 0)
        b->pidfd = (int)syscall(SYS_pidfd_open, b->pid, 0);
    if (b->pid < 0 || b->pidfd < 0) {
        int why = errno;

        (void)close(line[0]);
        if (b->pid > 0) {
            (void)kill(b->pid, SIGKILL);
            (void)waitpid(b->pid, NULL, 0);
        }
        b->pid = 0;
        return err_errno(why, "standby");
    }
    (void)fcntl(b->pidfd, F_SETFD, FD_CLOEXEC);
    b->line = line[0];
    b->ready = false;
    return E_OK;
}

static void
forget(standby *b)
{
    (void)close(b->line);
    *b = (standby){ .pidfd = -1, .line = -1 };
}

void
sup__standby_tend(sup *s, uint64_t now)
{
    standby *b = &s->standby;

    if (!s->o->server_standby || !s->announced || b->pid != 0)
        return;
    if (b->make_ns == 0)
        b->make_ns = now + CALM_NS;
    if (now < b->make_ns)
        return;
    for (uint32_t i = 0; i < s->children; i++)
        if (s->child[i].pid != 0 && !s->child[i].ready) {
            b->make_ns = now + CALM_NS; /* the machine has better things to do */
            return;
        }
    if (make(s) < 0) {
        log_warn("standby.not_started", "reason=%s", log_quote(view_str(err_text())));
        err_clear();
        b->make_ns = now + RETRY_NS;
    }
}

/* It says one byte when it waits. */
void
sup__standby_hear(sup *s)
{
    uint8_t byte;

    if (s->standby.pid != 0 && recv(s->standby.line, &byte, 1, MSG_DONTWAIT) == 1) {
        s->standby.ready = true;
        log_debug("standby.ready", "pid=%d", (int)s->standby.pid);
    }
}

void
sup__standby_ended(sup *s)
{
    int status = 0;

    if (waitpid(s->standby.pid, &status, WNOHANG) != s->standby.pid)
        return;
    log_warn("standby.exit", "pid=%d status=%d", (int)s->standby.pid, status);
    (void)close(s->standby.pidfd);
    forget(&s->standby);
    s->standby.make_ns = sup__clock_ns() + RETRY_NS;
}

/* True: that group runs in it from now on. */
bool
sup__standby_take(sup *s, child *c)
{
    standby *b = &s->standby;
    int32_t  group = c->group;

    sup__standby_hear(s);
    if (b->pid == 0 || !b->ready ||
        send(b->line, &group, sizeof group, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof group)
        return false;
    c->pid = b->pid;
    c->pidfd = b->pidfd;
    forget(b);
    return true;
}

void
sup__standby_end(sup *s)
{
    standby *b = &s->standby;

    if (b->pid == 0)
        return;
    (void)kill(b->pid, SIGKILL);
    (void)waitpid(b->pid, NULL, 0);
    (void)close(b->pidfd);
    forget(b);
}
