/* SPDX-License-Identifier: MIT
 *
 * The isolation backends, side by side: struct isolation_ops (core/capsule.h) says what each does. Each checks at
 * creation that a capsule can be confined and computes plain data for it, which is loaded when a hart changes capsules.
 */
#ifndef ISOLATION_ISOLATION_H
#define ISOLATION_ISOLATION_H

#include "core/capsule.h"
#include "core/hart.h"
#include "core/refusal.h"

extern const struct isolation_ops isolation_pmp, isolation_hyp;

/* No superpage of a guest's own tables straddles an edge of its RAM. */
enum { RAM_ALIGN = XLEN == 32 ? 4 * MIB : 2 * MIB };

/* Prepares this hart, whatever its guests' isolation: guard page below its stack (locked), the hypervisor's image
 * denied, everything else closed. guard is page-aligned and PAGE_SIZE long. image is the hypervisor's own, a power of
 * two in size and alignment. */
[[nodiscard]] enum dx_error isolation_hart_prepare(struct hart *hart, struct range guard, struct range image,
                                                   struct refusal *refusal);

/* Which harts serve what, once all are prepared; says so in the log. mixed, for tests: of every two harts the second is
 * treated as if it could not serve hyp. */
void isolation_start(bool mixed);

/* Chooses the capsule's isolation by its config, and its harts: hyp on the harts that have it, if there are any or it
 * must be; pmp on those that haven't, or on all if there are none of these. */
[[nodiscard]] enum dx_error isolation_choose(struct capsule *capsule, struct refusal *refusal);

/* The first hart of a kind that there are any of: for what they all have alike. */
const struct hart *isolation_first_hart(enum hart_kind kind);
/* The stage-2 modes that all harts of kind HYP have: bit n is the value n of hgatp.MODE. */
unsigned isolation_stage2_modes(void);

/* What isolation_choose makes of ISOLATION_AUTO on this machine: PMP or HYP. */
enum isolation_wish isolation_default(void);

#endif
