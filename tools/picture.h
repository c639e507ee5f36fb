/* picture.h - what backup, verify and stats share: an image of the data directory for the time of a command, progress. */
#ifndef HALTLESS_TOOLS_PICTURE_H
#define HALTLESS_TOOLS_PICTURE_H

#include "proto/base.h"

#include <limits.h>

typedef struct picture {
    char path[PATH_MAX]; /* DIR/.image-PID; empty: none */
} picture;

/* Whether a server runs there or not.  What a killed command left behind goes. */
NODISCARD int picture_take(picture *p, const char *data_dir);
void picture_drop(picture *p);
/* Numbers of its partitions, ascending; at most room. */
uint32_t picture_parts(const char *data_dir, uint16_t *out, uint32_t room);

/* A line on the terminal that is written over; nothing where stderr is none, or quiet. */
typedef struct progress {
    const char *what;
    bool        quiet;
    uint64_t    shown_ns;
    bool        begun;
} progress;
void progress_show(progress *p, uint64_t done, uint64_t of);
void progress_end(progress *p);

#endif
