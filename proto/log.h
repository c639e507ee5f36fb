/* log.h - one line an event on stderr, logfmt or JSON.
 *
 * log_info("lane.reset", "lane=%u lost=%" PRIu64, ...): the format yields key=value pairs; string values
 * that may hold spaces are passed with %s through log_quote().  Rare things only; what is frequent is a counter.
 */
#ifndef HALTLESS_PROTO_LOG_H
#define HALTLESS_PROTO_LOG_H

#include "proto/base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_LOGFMT, LOG_JSON };

void log_setup(enum log_level level, enum log_format format);
void log_actor(const char *name); /* this thread's actor, "ingest.0"; borrowed for the thread's life */
void log_line(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool log_wants(enum log_level level);

/* A quoted and escaped copy in a per-thread ring of 8 buffers (valid for the next 7 calls), cut at 500 bytes. */
const char *log_quote(view s);

#define log_error(event, ...) log_line(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_line(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_line(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_line(LOG_DEBUG, event, __VA_ARGS__)

#endif
