/* SPDX-License-Identifier: MIT
 *
 * The end of a capsule's memory. Harts use capsules by pointers that they found a moment ago, without counting them; so
 * a capsule that has left the list is given back only when every hart has been seen, since then, at a place where it
 * holds on to nothing: the beginning of hart_serve.
 */
#ifndef CORE_REAPER_H
#define CORE_REAPER_H

#include "core/capsule.h"

/* Once at boot. last: called when a capsule has been given back, no lock held; may be NULL. */
void reaper_init(void (*last)(void));
/* The capsule is DESTROYING, its RAM is zero and none of its vCPUs runs: takes it out of the list, and gives everything
 * that it has back (hooks->discard), soon, on whichever hart passes last. No lock held. */
void reaper_take(struct capsule *capsule);
/* How many capsules are waiting to be given back. */
unsigned reaper_waiting(void);

#endif
