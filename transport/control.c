#include "transport/control.h"

#include "proto/err.h"

#include <czmq.h>

/* Frames of a word: verb u32, group u32, pid i64, text (the ROUTER puts the peer's identity in front). */
typedef struct word_head {
    uint32_t verb;
    uint32_t group;
    int64_t  pid;
} word_head;
_Static_assert(sizeof(word_head) == 16, "layout");

struct control {
    zsock_t *socket; /* owned */
    uint32_t group;  /* of this end; UINT32_MAX: the supervisor */
};

/* A group's identity on the ROUTER is its number, so that the supervisor can tell it by number. */
static void
name_of(uint32_t group, char out[24])
{
    snprintf(out, 24, "group-%u", group);
}

static int
open_socket(control **c, zsock_t *socket, uint32_t group)
{
    control *made = socket != NULL ? calloc(1, sizeof *made) : NULL;

    if (made == NULL) {
        zsock_destroy(&socket);
        return err(E_NOMEM, "control socket");
    }
    made->socket = socket;
    made->group = group;
    zsock_set_linger(socket, 200);
    zsock_set_sndhwm(socket, 1000);
    zsock_set_rcvhwm(socket, 1000);
    *c = made;
    return E_OK;
}

static void
quiet_czmq(void)
{
    zsys_handler_set(NULL); /* the process's signals are its own; before the first socket */
    zsys_set_logstream(stderr);
}

int
control_bind(control **c, const char *run_dir)
{
    zsock_t *socket;

    quiet_czmq();
    socket = zsock_new(ZMQ_ROUTER);
    if (socket != NULL) {
        zsock_set_router_mandatory(socket, 1);
        zsock_set_router_handover(socket, 1); /* a restarted group takes its name over */
        if (zsock_bind(socket, "ipc://%s/control", run_dir) < 0) {
            zsock_destroy(&socket);
            return err(E_IO, "bind %s/control", run_dir);
        }
    }
    return open_socket(c, socket, UINT32_MAX);
}

int
control_connect(control **c, const char *run_dir, uint32_t group)
{
    zsock_t *socket;
    char     name[24];

    quiet_czmq();
    socket = zsock_new(ZMQ_DEALER);
    name_of(group, name);
    if (socket != NULL) {
        zsock_set_identity(socket, name);
        if (zsock_connect(socket, "ipc://%s/control", run_dir) < 0) {
            zsock_destroy(&socket);
            return err(E_IO, "connect %s/control", run_dir);
        }
    }
    return open_socket(c, socket, group);
}

void
control_close(control **c)
{
    if (*c == NULL)
        return;
    zsock_destroy(&(*c)->socket);
    free(*c);
    *c = NULL;
}

int
control_fd(const control *c)
{
    return (int)zsock_fd(c->socket);
}

/* Head and text of a word; false when it is none. */
static bool
read_word(zmsg_t *m, control_word *out)
{
    zframe_t *frame = zmsg_first(m);
    word_head head;
    size_t    n;

    if (frame == NULL || zframe_size(frame) != sizeof head)
        return false;
    memcpy(&head, zframe_data(frame), sizeof head);
    if (head.verb < CONTROL_READY || head.verb > CONTROL_DEATH)
        return false;
    out->verb = (enum control_verb)head.verb;
    out->group = head.group;
    out->pid = head.pid;
    frame = zmsg_next(m);
    n = frame != NULL ? min_u64(zframe_size(frame), CONTROL_TEXT_MAX - 1) : 0;
    if (n > 0)
        memcpy(out->text, zframe_data(frame), n);
    out->text[n] = '\0';
    return true;
}

bool
control_next(control *c, control_word *out)
{
    while (zsock_events(c->socket) & ZMQ_POLLIN) {
        zmsg_t *m = zmsg_recv(c->socket);
        bool    good;

        if (m == NULL)
            return false;
        if (c->group == UINT32_MAX) { /* the sender's identity */
            zframe_t *identity = zmsg_pop(m);

            zframe_destroy(&identity);
        }
        good = read_word(m, out);
        zmsg_destroy(&m);
        if (good)
            return true;
    }
    return false;
}

static int
send_word(control *c, uint32_t to, enum control_verb verb, const char *text)
{
    word_head head = { .verb = verb, .group = c->group, .pid = getpid() };
    zmsg_t   *m = zmsg_new();
    char      name[24];
    int       rc;

    if (to != UINT32_MAX) {
        name_of(to, name);
        zmsg_addstr(m, name);
    }
    zmsg_addmem(m, &head, sizeof head);
    zmsg_addstr(m, text != NULL ? text : "");
    rc = zmsg_send(&m, c->socket);
    if (rc < 0) {
        zmsg_destroy(&m);
        return err(zmq_errno() == EHOSTUNREACH ? E_NOTFOUND : E_IO, "control word");
    }
    return E_OK;
}

int
control_say(control *c, enum control_verb verb, const char *text)
{
    return send_word(c, UINT32_MAX, verb, text);
}

int
control_tell(control *c, uint32_t group, enum control_verb verb)
{
    return send_word(c, group, verb, NULL);
}

int
control_tell_text(control *c, uint32_t group, enum control_verb verb, const char *text)
{
    return send_word(c, group, verb, text);
}
