/* patience.h - a disk that does not read just now is no damage.
 *
 * What is damaged is set aside, and what was in it is lost; what a disk refuses to read in a bad moment (E_IO) is there
 * again in the next one.  So openings fail, and the actor is started anew, for PATIENCE_S after the first that met an
 * unreadable place.  Only then is the place taken for damage, and the server goes on without it.
 *
 *   DIR/UNREADABLE   when that was: microseconds since the epoch, in decimal
 */
#ifndef HALTLESS_STORAGE_PATIENCE_H
#define HALTLESS_STORAGE_PATIENCE_H

#include "proto/base.h"

enum { PATIENCE_S = 10 };

/* Something below dir could not be read.  False: let this opening fail. */
bool patience_is_over(const char *dir);
/* An opening succeeded. */
void patience_renew(const char *dir);

#endif
