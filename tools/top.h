/* top.h - the pictures of `haltless top`: tables of a watched node, as wide as the terminal. */
#ifndef HALTLESS_TOOLS_TOP_H
#define HALTLESS_TOOLS_TOP_H

#include "tools/watch.h"

enum top_page { TOP_ACTORS, TOP_TYPES, TOP_FAULTS, TOP_PAGES };
enum top_sort { TOP_BY_PLACE, TOP_BY_RATE, TOP_BY_DEPTH, TOP_BY_TIME, TOP_BY_FAULTS, TOP_SORTS };

typedef struct top {
    int           columns;
    int           lines; /* of the screen; a pipe has no end of them */
    bool          terminal;
    bool          paused;
    bool          recent; /* times since the look before, not of the node's life */
    enum top_page page;
    enum top_sort sort;
    uint32_t      skip; /* rows scrolled away */
} top;

void top_draw(const watch *w, const top *t);

#endif
