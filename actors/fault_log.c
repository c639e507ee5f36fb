/* fault_log.c - see fault_log.h. */
#include "actors/fault_log.h"

#include "proto/err.h"
#include "proto/log.h"
#include "transport/faults.h"

#include <stdio.h>
#include <time.h>

static faults *of_process;

static void
put(char *to, size_t room, const char *from)
{
    (void)snprintf(to, room, "%s", from == NULL ? "" : from);
}

static void
note(void *ctx, enum log_level level, const char *place, const char *event, const char *actor, const char *text)
{
    fault           f = { .warning = level == LOG_WARN };
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    f.first_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    put(f.event, sizeof f.event, event);
    put(f.place, sizeof f.place, place);
    put(f.actor, sizeof f.actor, actor);
    put(f.text, sizeof f.text, text);
    faults_note(ctx, &f);
}

void
fault_log_open(const char *run_dir, const char *name)
{
    if (faults_open(&of_process, run_dir, name, true) < 0) {
        log_warn("faults.not_kept", "reason=%s", log_quote(view_str(err_text())));
        err_clear();
        return;
    }
    log_faults(note, of_process);
}

void
fault_log_close(void)
{
    log_faults(NULL, NULL);
    faults_close(&of_process);
}
