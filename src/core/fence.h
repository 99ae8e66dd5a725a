/* SPDX-License-Identifier: MIT
 *
 * Remote fences. A vCPU that isn't loaded gets a note and fences before it runs again; one that is loaded on
 * another hart is rung, and the caller sleeps until it answered. No hart ever waits for another.
 */
#ifndef CORE_FENCE_H
#define CORE_FENCE_H

#include "core/vcpu.h"

/* EVENT_FENCE_VMA and/or EVENT_FENCE_I on every vCPU of the caller's capsule whose bit is set, the caller included
 * (at once). True: done. False: the caller is blocked until it is; its results are final, return OUTCOME_YIELD. */
bool fence_remote(struct vcpu *caller, uint32_t set, unsigned events);

/* Who waits for this vCPU: bit n is vCPU n of its capsule; none any more. What they want fenced is in vcpu->pending by
 * then, or has been fenced. Each taken must be told once that is done. */
uint32_t fence_take_waiters(struct vcpu *vcpu);
void fence_tell(struct vcpu *vcpu, uint32_t waiters);

/* Both at once, for a vCPU that is off its hart (vcpu->hart is NULL) and not yet given to others: it will fence before
 * it runs again. */
void fence_answer(struct vcpu *vcpu);

#endif
