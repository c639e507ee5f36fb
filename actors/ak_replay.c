/* ak_replay.c - a dead letter is handed to its actor once more, because somebody said so (haltless dead replay).
 *
 *   haltless dead ──CONTROL_REPLAY──▶ supervisor ──▶ main thread of the group ──ak_replay()──▶ the actor's next step
 *   haltless dead ◀── RUN/replayed.ID: the code ◀── after the commit, the letter gone
 *
 * It comes as a note: whoever asked has had its answer.  Its sender is the actor itself and its position the monotonic
 * clock, which no lane uses and which grows within a generation, so that an actor with a watermark takes it.  The
 * letter stays until the commit: a death of it leaves the letter where it is, and no retry.
 */
#include "actors/ak_internal.h"

#include "proto/err.h"
#include "proto/log.h"

#include <stdio.h>
#include <stdlib.h>

static const uint64_t PATIENCE_NS = 5000000000ull; /* of an actor that answers AK_WAIT */

struct ak_replay_job {
    char        id[DEAD_ID_MAX];
    dead_letter letter;
    uint8_t    *file; /* owned; NULL: not read yet */
    uint64_t    end_ns;
    bool        handled; /* waits for its commit */
};

/* ---- another thread ---- */

int
ak_replay(ak *k, const char *id)
{
    struct ak_replay_job *none = NULL;
    struct ak_replay_job *j = calloc(1, sizeof *j);

    if (j == NULL)
        return E_NOMEM;
    (void)snprintf(j->id, sizeof j->id, "%s", id);
    if (!atomic_compare_exchange_strong(&k->replay, &none, j)) {
        free(j);
        return E_AGAIN;
    }
    wire_poke(k->wire);
    return E_OK;
}

int
ak_replay_answer(const rundir *r, const char *id, int rc)
{
    char  path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/replayed.%s", r->path, id);
    if ((f = fopen(path, "we")) == NULL)
        return err(E_IO, "make %s", path);
    (void)fprintf(f, "%d\n", rc);
    return fclose(f) == 0 ? E_OK : err(E_IO, "write %s", path);
}

/* ---- the actor's thread ---- */

static void
finish(ak *k, struct ak_replay_job *j, int rc)
{
    atomic_store(&k->replay, NULL);
    if (rc == E_OK)
        rc = k->host->drop(k->host->run->data_dir, j->id);
    log_info("message.replayed", "letter=%s rc=%d", j->id, rc);
    if (ak_replay_answer(k->host->run, j->id, rc) < 0)
        log_warn("message.replayed", "reason=%s", log_quote(view_str(err_text())));
    err_clear();
    free(j->file);
    free(j);
}

static ak_msg
message_of(const ak *k, const dead_letter *l)
{
    return (ak_msg){ .from = k->me,
                     .sent_ns = k->now_ns,
                     .trace = l->env.trace,
                     .pos = k->now_ns - ENVELOPE_LEN,
                     .pos_end = k->now_ns,
                     .lane = AK_NO_LANE,
                     .len = (uint32_t)l->body.len,
                     .type = l->env.type,
                     .body = l->body.at };
}

/* Bodies lie on 64 bytes, as in a lane. */
static int
read_letter(ak *k, struct ak_replay_job *j)
{
    uint8_t *aligned;
    int      rc = k->host->exhume(k->host->run->data_dir, j->id, &j->letter, &j->file);

    if (rc < 0)
        return rc;
    aligned = aligned_alloc(AK_BODY_ALIGN, round_up(j->letter.body.len + 1, AK_BODY_ALIGN));
    if (aligned == NULL)
        return E_NOMEM;
    if (j->letter.body.len > 0)
        memcpy(aligned, j->letter.body.at, j->letter.body.len);
    free(j->file);
    j->file = aligned;
    j->letter.body.at = aligned;
    if (j->letter.actor != k->me || k->kind->holds || (j->letter.env.flags & ENV_REPLY) != 0)
        return err(E_PERM, "%s: nothing that can be replayed", j->id); /* its only effect is the answer */
    j->end_ns = k->now_ns + PATIENCE_NS;
    return E_OK;
}

/* In a step, before the lanes, when no batch is open: so its commit is the next one. */
void
ak__replay_run(ak *k)
{
    struct ak_replay_job *j = atomic_load(&k->replay);
    ak_msg                m;
    ak_verdict            v;
    int                   rc = E_OK;

    if (j == NULL || j->handled || k->pending || k->gathers || k->dead != 0)
        return;
    if (k->host->exhume == NULL)
        rc = E_PERM;
    else if (j->file == NULL)
        rc = read_letter(k, j);
    if (rc < 0) {
        finish(k, j, rc);
        return;
    }
    m = message_of(k, &j->letter);
    v = ak__judge_local(k, &m);
    if (v == AK_WAIT && k->now_ns < j->end_ns)
        k->waiting++; /* looks again soon */
    else if (v == AK_DONE)
        j->handled = true;
    else
        finish(k, j, v == AK_WAIT ? E_AGAIN : E_BAD);
}

/* At the end of a step, and when a batch has ended. */
void
ak__replay_look(ak *k)
{
    struct ak_replay_job *j = atomic_load(&k->replay);

    if (j != NULL && j->handled && !k->pending && !k->gathers && k->dead == 0)
        finish(k, j, E_OK);
}

void
ak__replay_close(ak *k)
{
    struct ak_replay_job *j = atomic_exchange(&k->replay, NULL);

    if (j == NULL)
        return;
    free(j->file);
    free(j);
}
