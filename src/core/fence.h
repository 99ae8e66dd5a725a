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

/* The vCPU has fenced, or has left its hart and will fence before it runs again: tells those who wait. */
void fence_answer(struct vcpu *vcpu);

#endif
