/* log.h - one line an event on stderr, logfmt or JSON.
 *
 * log_info("lane.reset", "lane=%u lost=%" PRIu64, ...): the format yields key=value pairs; string values
 * that may hold spaces are passed with %s through log_quote().  Rare things only; what is frequent is a counter.
 * Errors and warnings go to the process's log of distinct faults too, if it has one.
 */
#ifndef HALTLESS_PROTO_LOG_H
#define HALTLESS_PROTO_LOG_H

#include "proto/base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_LOGFMT, LOG_JSON };

void log_setup(enum log_level level, enum log_format format);
void log_actor(const char *name); /* this thread's actor, "ingest.0"; borrowed for the thread's life */
/* place: "file:line" of the caller. */
void log_line(enum log_level level, const char *place, const char *event, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
bool log_wants(enum log_level level);

/* A quoted and escaped copy in a per-thread ring of 8 buffers (valid for the next 7 calls), cut at 500 bytes. */
const char *log_quote(view s);

/* Hears of every error and warning, whatever the level of the log; actor NULL: none.  Called from any thread.
 * NULL: nobody does. */
typedef void log_fault_fn(void *ctx, enum log_level level, const char *place, const char *event,
                          const char *actor, const char *text);
void log_faults(log_fault_fn *fn, void *ctx);

#define LOG_TEXT_OF(line) #line
#define LOG_TEXT(line)    LOG_TEXT_OF(line)
#define LOG_PLACE         __FILE__ ":" LOG_TEXT(__LINE__)
#define log_at(level, event, ...) log_line(level, LOG_PLACE, event, __VA_ARGS__)
#define log_error(event, ...) log_at(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_at(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_at(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_at(LOG_DEBUG, event, __VA_ARGS__)

#endif
