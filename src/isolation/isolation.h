/* SPDX-License-Identifier: MIT
 *
 * The isolation backends. Each checks at creation that a capsule can be confined, and computes plain data for it;
 * its isolation_ops (core/capsule.h) then load that data when a hart changes capsules.
 */
#ifndef ISOLATION_ISOLATION_H
#define ISOLATION_ISOLATION_H

#include "core/capsule.h"
#include "core/hart.h"
#include "core/refusal.h"

/* Prepares this hart: guard page below its stack (locked), the hypervisor's image denied, everything else closed.
 * guard is page-aligned and PAGE_SIZE long. image is the hypervisor's own, a power of two in size and alignment. */
[[nodiscard]] enum dx_error pmp_hart_prepare(struct hart *hart, struct range guard, struct range image,
                                             struct refusal *refusal);

/* Checks that all harts can confine this capsule and computes its PMP image; sets capsule->isolation. */
[[nodiscard]] enum dx_error pmp_capsule_prepare(struct capsule *capsule, struct refusal *refusal);

/* Tries on this hart whether S-mode rights really stop at the capsule's edges: no byte of the hypervisor and none of
 * other, which is any host address outside the capsule, may be loaded; the capsule's first and last byte may. */
[[nodiscard]] enum dx_error pmp_self_test(struct hart *hart, const struct capsule *capsule, hpa_t other,
                                          struct refusal *refusal);

#endif
