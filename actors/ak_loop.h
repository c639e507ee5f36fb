/* ak_loop.h - for actors that wait for more than messages: foreign descriptors, or an event loop of their own.
 *
 * On the kernel's loop: ak_watch_fd().  With a loop of one's own (ak_kind.run):
 *
 *     while (!ak_stopping(k)) {
 *         ak_step(k, 256);
 *         uint64_t wait = ak_park(k);        0: there is work, do not sleep
 *         loop_run(loop, wait);              ak_fds() are in the loop's poll set
 *         ak_unpark(k);
 *     }
 */
#ifndef HALTLESS_ACTORS_AK_LOOP_H
#define HALTLESS_ACTORS_AK_LOOP_H

#include "actors/ak.h"

/* `fn` is called in a step while fd is readable (level-triggered).  fn == NULL forgets it. */
typedef void ak_fd_fn(ak *k, void *self, int fd);
NODISCARD int ak_watch_fd(ak *k, int fd, ak_fd_fn *fn);

enum { AK_FDS_MAX = 16 };
uint32_t ak_step(ak *k, uint32_t budget); /* messages handled */
uint64_t ak_park(ak *k);                  /* ns it may sleep; says "asleep" to the peers unless 0 */
void     ak_unpark(ak *k);
uint32_t ak_fds(ak *k, int fds[AK_FDS_MAX]); /* readable = call ak_step; never read from them */
bool     ak_stopping(const ak *k);           /* drain and return from run() */

#endif
