/* SPDX-License-Identifier: MIT
 *
 * What a manager's capsules may cost: quota-memory and quota-vcpus of the manifest. Charged to the manager when it
 * begins to make one, given back when nothing of it is left.
 */
#ifndef CORE_QUOTA_H
#define CORE_QUOTA_H

#include "core/capsule.h"
#include "core/refusal.h"

enum {
    QUOTA_CAPSULE_PAGES = 16, /* for the capsule itself, its devices and its tables of at most 1/256 of its RAM */
    QUOTA_VCPU_PAGES = 4,
};

/* Pages of memory (its image not included) and vCPUs that such a capsule costs, its own quota included. */
struct charge quota_of(const struct capsule_config *config);
/* Any hart. False, and the reason: so much is not left. */
[[nodiscard]] enum dx_error quota_charge(struct capsule *manager, struct charge charge, struct refusal *refusal);
/* To the capsule with that id, if it is still there. */
void quota_give_back(uint32_t manager, struct charge charge);

#endif
