/* metrics.h - every counter of the node, in the text format of Prometheus. */
#ifndef HALTLESS_API_METRICS_H
#define HALTLESS_API_METRICS_H

#include "api/front.h"

/* Its length; *text is the caller's to free.  By any thread of the front: k is only asked for what never changes. */
size_t metrics_write(ak *k, uint32_t connections, char **text);

#endif
