/* metrics.h - every counter of the node, in the text format of Prometheus. */
#ifndef HALTLESS_API_METRICS_H
#define HALTLESS_API_METRICS_H

#include "api/front.h"

/* Its length; *text is the caller's to free. */
size_t metrics_write(front *f, char **text);

#endif
