/* SPDX-License-Identifier: MIT
 *
 * The wall of PMP entries around a capsule, which both isolations stand on: in pmp it is the only one, in hyp the
 * second, behind stage 2. Entries, lowest first: the guard page below the hart's stack (locked, so that M-mode faults
 * on it too), the hypervisor's image (denied, though default deny would do), stage-2 tables (readable, for the hart's
 * own walks), the capsule's RAM.
 */
#ifndef ISOLATION_PMP_WALL_H
#define ISOLATION_PMP_WALL_H

#include "core/capsule.h"
#include "core/hart.h"
#include "core/refusal.h"

/* Plans the wall of a capsule whose RAM and stage-2 tables are taken, into capsule->pmp. Refuses if one of its harts
 * can't have it, or would need another one than the rest. */
[[nodiscard]] enum dx_error pmp_wall_plan(struct capsule *capsule, struct refusal *refusal);
/* Loads it into this hart, which then has no translation left that an earlier wall admitted. */
void pmp_wall_enter(struct hart *hart, const struct capsule *capsule);
/* Asserts that this hart's registers are what a plan made anew says. */
void pmp_wall_verify(const struct hart *hart, const struct capsule *capsule);
/* Tries on this hart, whose wall is loaded, that S-mode rights really stop there. other: any host address outside. */
[[nodiscard]] enum dx_error pmp_wall_test(const struct hart *hart, const struct capsule *capsule, hpa_t other,
                                          struct refusal *refusal);

#endif
