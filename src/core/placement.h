/* SPDX-License-Identifier: MIT
 *
 * Which hart a vCPU waits on, whose queue a hart takes from, and whom to tell. No hart looks further than the harts of
 * its kind, and at none longer than it takes to look at RUN_QUEUE_LOOKS vCPUs.
 */
#ifndef CORE_PLACEMENT_H
#define CORE_PLACEMENT_H

#include "core/hart.h"

/* margin: by how much use an equal in another hart's queue must be behind to be fetched from there. Once at boot. */
void placement_init(uint64_t margin);

/* The hart that can run it soonest: one that has nothing to do, its last one first; one that runs something of lower
 * priority; else the one with the shortest queue. */
struct hart *placement_choose(const struct vcpu *vcpu);
/* It has just been queued there: that hart, or an idle one, looks at it soon. */
void placement_tell(const struct vcpu *vcpu, struct hart *hart);

/* Whose queue this hart should take from; NULL: there is nobody to take. Its own, unless somebody of higher priority
 * waits elsewhere; with current, what the hart runs now counts as its own too, and an equal that waits elsewhere and is
 * behind by the margin is better than either. */
struct hart *placement_source(struct hart *hart, const struct vcpu *current);

/* vCPUs wait here: tells one of the harts that run theirs alone, another each time, to look whether it should take one.
 * So all harts of a kind come to share what there is to run. */
void placement_offer(struct hart *hart);

#endif
