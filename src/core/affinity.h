/* SPDX-License-Identifier: MIT
 *
 * Which harts a capsule's vCPUs may run on: those of its kind, that its configuration names, and that are not
 * dedicated to another capsule. A dedicated capsule's vCPUs have one hart each.
 */
#ifndef CORE_AFFINITY_H
#define CORE_AFFINITY_H

#include "core/capsule.h"

/* Whether the capsule, which is not in the list yet, can be there beside the others: DX_NOT_FOUND if it names a hart
 * that doesn't exist, DX_NO_HART if nothing is left for it to run on, or if its dedicated harts would leave another
 * capsule nothing, or are another's. */
[[nodiscard]] enum dx_error affinity_check(const struct capsule *capsule, struct refusal *refusal);
/* Computes anew where its vCPUs may run. No lock held, for this and the next. */
void affinity_apply(struct capsule *capsule);
/* After a capsule has come to the list or left it: for all of them; harts let go of what they may not run. */
void affinity_apply_all(void);
/* Harts that are dedicated to some capsule, as bits by index. */
uint64_t affinity_dedicated(void);

#endif
