/* docs_none.c - in place of docs.c where the package of the page could not be had: there is no /docs. */
#include "api/route.h"

extern const route docs_routes[];

const route docs_routes[] = { { 0 } };
