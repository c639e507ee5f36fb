/* trust.c - key files, and the ZAP handler of a node: a key on the list may come, no other.
 *
 * An own handler of a page, not CZMQ's zauth: that is an actor with a thread in CZMQ's own global context,
 * while ours answers on the thread of the link and for the context that the process has.
 *
 *   libzmq's thread ──REQ──▶ ROUTER inproc://zeromq.zap.01    identity, "", version, request, domain,
 *                   ◀─────── 200 or 400                       address, identity, mechanism, credentials...
 */
#include "transport/trust.h"

#include "proto/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

enum { PATH_ROOM = 4096, FILE_ROOM = 512, Z85_ROOM = 41, KEYS_MAX = 64, PARTS_MAX = 12, ANSWERS_MAX = 256 };

/* ---- text ---- */

void
trust_text(const uint8_t key[TRUST_KEY_LEN], char out[TRUST_TEXT_LEN + 1])
{
    for (int i = 0; i < TRUST_KEY_LEN; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", key[i]);
}

static int
digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
trust_parse(view text, uint8_t out[TRUST_KEY_LEN])
{
    if (text.len != TRUST_TEXT_LEN)
        return false;
    for (size_t i = 0; i < TRUST_KEY_LEN; i++) {
        int high = digit_of(text.at[2 * i]), low = digit_of(text.at[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* ---- files ---- */

static int
write_new(const char *path, mode_t mode, const char *text)
{
    size_t len = strlen(text);
    int    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    int    rc = E_OK;

    if (fd < 0)
        return errno == EEXIST ? err(E_EXISTS, "%s is there already", path) : err_errno(errno, "make %s", path);
    if (write(fd, text, len) != (ssize_t)len || fsync(fd) < 0)
        rc = err_errno(errno, "write %s", path);
    (void)close(fd);
    if (rc < 0)
        (void)unlink(path);
    return rc;
}

static int
write_pair(const char *file, const trust_pair *p)
{
    char public[TRUST_TEXT_LEN + 1], secret[TRUST_TEXT_LEN + 1];
    char beside[PATH_ROOM];
    char text[FILE_ROOM];
    int  rc;

    if (snprintf(beside, sizeof beside, "%s.pub", file) >= (int)sizeof beside)
        return err(E_RANGE, "%s: too long", file);
    trust_text(p->public, public);
    trust_text(p->secret, secret);
    (void)snprintf(text, sizeof text, "public %s\nsecret %s\n", public, secret);
    rc = write_new(file, 0600, text);
    if (rc == E_OK) {
        (void)snprintf(text, sizeof text, "%s\n", public);
        rc = write_new(beside, 0644, text);
        if (rc < 0)
            (void)unlink(file);
    }
    explicit_bzero(text, sizeof text);
    explicit_bzero(secret, sizeof secret);
    return rc;
}

int
trust_make(const char *file, trust_pair *out)
{
    char public[Z85_ROOM], secret[Z85_ROOM];
    int  rc;

    if (zmq_curve_keypair(public, secret) != 0)
        return err(E_BAD, "libzmq is built without CURVE");
    ASSERT(zmq_z85_decode(out->public, public) != NULL && zmq_z85_decode(out->secret, secret) != NULL);
    rc = write_pair(file, out);
    explicit_bzero(secret, sizeof secret);
    return rc;
}

static int
read_small(const char *file, char text[FILE_ROOM])
{
    int         fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t     n;
    int         rc = E_OK;

    if (fd < 0)
        return err_errno(errno, "open %s", file);
    n = read(fd, text, FILE_ROOM - 1);
    if (n < 0 || fstat(fd, &st) < 0)
        rc = err_errno(errno, "read %s", file);
    else if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
        rc = err(E_PERM, "%s: others may read it; chmod 600 it", file);
    text[n < 0 ? 0 : n] = '\0';
    (void)close(fd);
    return rc;
}

static bool
halves_belong(const trust_pair *p)
{
    char    secret[Z85_ROOM], public[Z85_ROOM];
    uint8_t again[TRUST_KEY_LEN];
    bool    same = zmq_z85_encode(secret, p->secret, TRUST_KEY_LEN) != NULL &&
                zmq_curve_public(public, secret) == 0 && zmq_z85_decode(again, public) != NULL &&
                memcmp(again, p->public, sizeof again) == 0;

    explicit_bzero(secret, sizeof secret);
    return same;
}

int
trust_load(const char *file, trust_pair *out)
{
    static const char words[2][8] = { "public ", "secret " };
    char              text[FILE_ROOM];
    uint8_t          *to[2] = { out->public, out->secret };
    const char       *at = text;
    int               rc = read_small(file, text);

    for (int i = 0; i < 2 && rc == E_OK; i++) {
        if (strncmp(at, words[i], 7) != 0 || strnlen(at, 8 + TRUST_TEXT_LEN) < 8 + TRUST_TEXT_LEN ||
            at[7 + TRUST_TEXT_LEN] != '\n' || !trust_parse(view_of(at + 7, TRUST_TEXT_LEN), to[i]))
            rc = E_CONFIG;
        at += 8 + TRUST_TEXT_LEN;
    }
    if (rc == E_OK && !halves_belong(out))
        rc = E_CONFIG;
    explicit_bzero(text, sizeof text);
    return rc == E_CONFIG ? err(rc, "%s: not a key file; haltless keygen makes one", file) : rc;
}

/* ---- sockets ---- */

void
trust_serve(void *socket, const trust_pair *own)
{
    int yes = 1;

    ASSERT(zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &yes, sizeof yes) == 0);
    ASSERT(zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, own->secret, TRUST_KEY_LEN) == 0);
    ASSERT(zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, "haltless", 8) == 0);
}

void
trust_visit(void *socket, const trust_pair *own, const uint8_t server[TRUST_KEY_LEN])
{
    ASSERT(zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server, TRUST_KEY_LEN) == 0);
    ASSERT(zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, own->public, TRUST_KEY_LEN) == 0);
    ASSERT(zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, own->secret, TRUST_KEY_LEN) == 0);
}

/* ---- who may come ---- */

struct trust_gate {
    void    *router;
    uint32_t keys;
    uint8_t  key[KEYS_MAX][TRUST_KEY_LEN];
};

int
trust_open(trust_gate **out, void *zmq_ctx)
{
    trust_gate *g = calloc(1, sizeof *g);
    int         none = 0;

    *out = NULL;
    if (g == NULL)
        return err(E_NOMEM, "ZAP");
    g->router = zmq_socket(zmq_ctx, ZMQ_ROUTER);
    if (g->router == NULL || zmq_bind(g->router, "inproc://zeromq.zap.01") < 0) {
        int rc = err_errno(zmq_errno(), "ZAP");

        trust_close(&g);
        return rc;
    }
    (void)zmq_setsockopt(g->router, ZMQ_LINGER, &none, sizeof none);
    *out = g;
    return E_OK;
}

void
trust_close(trust_gate **gp)
{
    trust_gate *g = *gp;

    if (g == NULL)
        return;
    *gp = NULL;
    if (g->router != NULL)
        (void)zmq_close(g->router);
    free(g);
}

int
trust_allow(trust_gate *g, const uint8_t key[TRUST_KEY_LEN])
{
    if (g->keys == KEYS_MAX)
        return err(E_RANGE, "more than %d node keys", KEYS_MAX);
    memcpy(g->key[g->keys++], key, TRUST_KEY_LEN);
    return E_OK;
}

void *
trust_socket(const trust_gate *g)
{
    return g->router;
}

/* Parts of one question: [0] who asks, [1] empty, [2] version, [3] request, [7] mechanism, [8] key. */
static bool
is_allowed(const trust_gate *g, zmq_msg_t *part, int parts)
{
    if (parts < 9 || zmq_msg_size(&part[7]) != 5 || memcmp(zmq_msg_data(&part[7]), "CURVE", 5) != 0 ||
        zmq_msg_size(&part[8]) != TRUST_KEY_LEN)
        return false;
    for (uint32_t i = 0; i < g->keys; i++)
        if (memcmp(g->key[i], zmq_msg_data(&part[8]), TRUST_KEY_LEN) == 0)
            return true;
    return false;
}

static void
say(trust_gate *g, const void *at, size_t len, bool more)
{
    (void)zmq_send(g->router, at, len, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
}

/* The user id is the key, as text: sockets see it beside each message of that connection. */
static void
decide(trust_gate *g, zmq_msg_t *part, int parts, bool allowed)
{
    char        user[TRUST_TEXT_LEN + 1] = "";
    const char *code = allowed ? "200" : "400", *text = allowed ? "OK" : "not on the list";

    if (parts < 4)
        return;
    if (allowed)
        trust_text(zmq_msg_data(&part[8]), user);
    say(g, zmq_msg_data(&part[0]), zmq_msg_size(&part[0]), true);
    say(g, "", 0, true);
    say(g, "1.0", 3, true);
    say(g, zmq_msg_data(&part[3]), zmq_msg_size(&part[3]), true);
    say(g, code, 3, true);
    say(g, text, strlen(text), true);
    say(g, user, strlen(user), true);
    say(g, "", 0, false);
}

/* False: there was none. */
static bool
answer_one(trust_gate *g, uint32_t *refused)
{
    zmq_msg_t part[PARTS_MAX];
    int       parts = 0;
    bool      more = true, allowed;

    while (more) {
        zmq_msg_t  beyond;
        zmq_msg_t *to = parts < PARTS_MAX ? &part[parts] : &beyond;

        (void)zmq_msg_init(to);
        if (zmq_msg_recv(to, g->router, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(to);
            break;
        }
        more = zmq_msg_more(to);
        if (to == &beyond)
            (void)zmq_msg_close(to);
        else
            parts++;
    }
    if (parts == 0)
        return false;
    allowed = is_allowed(g, part, parts);
    *refused += !allowed;
    decide(g, part, parts, allowed);
    for (int i = 0; i < parts; i++)
        (void)zmq_msg_close(&part[i]);
    return true;
}

uint32_t
trust_answer(trust_gate *g)
{
    uint32_t refused = 0;

    for (int i = 0; i < ANSWERS_MAX && answer_one(g, &refused); i++)
        ;
    return refused;
}
