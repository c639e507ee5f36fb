/* nodes.c - see nodes.h. */
#include "actors/nodes.h"

#include "proto/err.h"
#include "transport/board.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORDS_MAX = 5, WORD_ROOM = 128 };
_Static_assert(BOARD_PARTS_MAX == 64, "a set of partitions is a word");

/* ---- words ---- */

static bool
is_name(const char *s)
{
    size_t len = strlen(s);

    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
            return false;
    return len > 0 && len < TRUNK_NAME_MAX;
}

/* "0-3,5": false: not so, or beyond 63. */
static bool
parse_parts(const char *s, uint64_t *set)
{
    *set = 0;
    while (*s != '\0') {
        unsigned long from, until;
        char         *end;

        if (!isdigit((unsigned char)*s))
            return false;
        from = until = strtoul(s, &end, 10);
        if (*end == '-') {
            if (!isdigit((unsigned char)end[1]))
                return false;
            until = strtoul(end + 1, &end, 10);
        }
        if (until >= BOARD_PARTS_MAX || from > until || (*end != ',' && *end != '\0'))
            return false;
        for (; from <= until; from++)
            *set |= UINT64_C(1) << from;
        if (*end == ',' && end[1] == '\0')
            return false;
        s = *end == ',' ? end + 1 : end;
    }
    return true;
}

void
nodes_parts_text(uint64_t set, char *out, size_t room)
{
    size_t len = 0;

    out[0] = '\0';
    for (unsigned from = 0; from < BOARD_PARTS_MAX && len < room; from++) {
        unsigned until = from;

        if ((set >> from & 1) == 0)
            continue;
        while (until + 1 < BOARD_PARTS_MAX && (set >> (until + 1) & 1) != 0)
            until++;
        len += (size_t)snprintf(out + len, room - len, until > from ? "%s%u-%u" : "%s%u", len > 0 ? "," : "",
                                from, until);
        from = until;
    }
}

/* "host:port", "[v6]:port" */
static bool
parse_address(const char *s, char *out, size_t room)
{
    const char *colon = strrchr(s, ':');
    char       *end;
    long        port;

    if (colon == NULL || colon == s || !isdigit((unsigned char)colon[1]))
        return false;
    port = strtol(colon + 1, &end, 10);
    if (*end != '\0' || port < 1 || port > 65535 || strpbrk(s, " /;,") != NULL)
        return false;
    return snprintf(out, room, "tcp://%s", s) < (int)room;
}

/* Splits at blanks.  How many there are, or -1 when one is too long. */
static int
split(const char *s, size_t len, char word[WORDS_MAX][WORD_ROOM])
{
    int n = 0;

    for (size_t at = 0; at < len;) {
        size_t from = at;

        if (isspace((unsigned char)s[at])) {
            at++;
            continue;
        }
        while (at < len && !isspace((unsigned char)s[at]))
            at++;
        if (n == WORDS_MAX || at - from >= WORD_ROOM)
            return -1;
        memcpy(word[n], s + from, at - from);
        word[n++][at - from] = '\0';
    }
    return n;
}

/* ---- peers ---- */

static int
add_peer(nodes *n, const options *o, char word[WORDS_MAX][WORD_ROOM], int words)
{
    trunk_peer *p = &n->peer[n->peers];

    if (words < 3 || words > 4)
        return err(E_CONFIG, "node.peers: each is NAME ADDRESS:PORT KEY, and PARTITIONS if it has any");
    if (n->peers == TRUNK_PEERS_MAX)
        return err(E_CONFIG, "node.peers: more than %d", TRUNK_PEERS_MAX);
    if (!is_name(word[0]) || strcmp(word[0], o->node_name) == 0)
        return err(E_CONFIG, "node.peers: \"%s\": not a name of another node", word[0]);
    if (!parse_address(word[1], p->endpoint, sizeof p->endpoint))
        return err(E_CONFIG, "node.peers: %s: \"%s\" is not ADDRESS:PORT", word[0], word[1]);
    if (!trust_parse(view_str(word[2]), p->key))
        return err(E_CONFIG, "node.peers: %s: its key is not the %d digits of a .pub file", word[0],
                   TRUST_TEXT_LEN);
    if (words == 4 && !parse_parts(word[3], &n->peer_parts[n->peers]))
        return err(E_CONFIG, "node.peers: %s: \"%s\": not partitions, as 0-3 or 0,2", word[0], word[3]);
    (void)snprintf(p->name, sizeof p->name, "%s", word[0]);
    for (uint32_t i = 0; i < n->peers; i++)
        if (strcmp(n->peer[i].name, p->name) == 0 || memcmp(n->peer[i].key, p->key, sizeof p->key) == 0)
            return err(E_CONFIG, "node.peers: %s: name or key of another one", p->name);
    n->peers++;
    return E_OK;
}

static int
read_peers(nodes *n, const options *o)
{
    const char *s = o->node_peers;
    int         rc = E_OK;

    while (rc >= 0 && *s != '\0') {
        char   word[WORDS_MAX][WORD_ROOM];
        size_t len = strcspn(s, ";");
        int    words = split(s, len, word);

        if (words != 0)
            rc = words < 0 ? err(E_CONFIG, "node.peers: a word of %d bytes", WORD_ROOM)
                           : add_peer(n, o, word, words);
        s += len + (s[len] == ';');
    }
    return rc;
}

/* ---- partitions ---- */

/* At home every partition is somewhere, once. */
static int
check_home(nodes *n)
{
    uint64_t all = n->own;
    char     text[256];

    for (uint32_t i = 0; i < n->peers; i++) {
        if (n->peer_parts[i] == 0)
            return err(E_CONFIG, "node.peers: %s has no partitions", n->peer[i].name);
        if ((all & n->peer_parts[i]) != 0) {
            nodes_parts_text(all & n->peer_parts[i], text, sizeof text);
            return err(E_CONFIG, "node.peers: %s: partition %s is on two nodes", n->peer[i].name, text);
        }
        all |= n->peer_parts[i];
    }
    if ((all & (all + 1)) != 0) {
        nodes_parts_text(all, text, sizeof text);
        return err(E_CONFIG, "node.peers: partitions are %s: some number is on no node", text);
    }
    n->parts = (uint16_t)(64 - __builtin_clzll(all));
    return E_OK;
}

static int
check_away(nodes *n, const options *o)
{
    if (n->peers != 1 || strcmp(n->peer[0].name, o->node_home) != 0 || n->peer_parts[0] != 0)
        return err(E_CONFIG, "node.peers: must be the home node (%s) alone, without partitions", o->node_home);
    if (n->own == 0)
        return err(E_CONFIG, "node.partitions: a node away from home must have some");
    n->parts = (uint16_t)(64 - __builtin_clzll(n->own));
    return E_OK;
}

int
nodes_read(nodes *n, const options *o)
{
    int rc;

    memset(n, 0, sizeof *n);
    if (o->node_peers[0] == '\0') {
        if (o->node_home[0] != '\0' || o->node_partitions[0] != '\0')
            return err(E_CONFIG, "node.peers: must be given with node.home and node.partitions");
        return E_OK;
    }
    n->many = true;
    n->is_home = o->node_home[0] == '\0' || strcmp(o->node_home, o->node_name) == 0;
    if (!is_name(o->node_name))
        return err(E_CONFIG, "node.name: \"%s\": must be letters, digits, '-', '_' or '.'", o->node_name);
    if (o->node_key_file[0] == '\0')
        return err(E_CONFIG, "node.key_file: must be given with node.peers; haltless keygen makes one");
    if (!parse_address(o->node_listen, n->listen, sizeof n->listen))
        return err(E_CONFIG, "node.listen: \"%s\" is not ADDRESS:PORT", o->node_listen);
    if (!parse_parts(o->node_partitions, &n->own))
        return err(E_CONFIG, "node.partitions: \"%s\": not partitions, as 0-3 or 0,2", o->node_partitions);
    if ((rc = read_peers(n, o)) < 0)
        return rc;
    return n->is_home ? check_home(n) : check_away(n, o);
}
