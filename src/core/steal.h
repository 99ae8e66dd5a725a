/* SPDX-License-Identifier: MIT
 *
 * Telling a guest how long its vCPUs could have run and had to wait for a hart: 64 bytes of its RAM for each vCPU that
 * asks for it (SBI STA). The guest may write there too; nothing is ever read back.
 */
#ifndef CORE_STEAL_H
#define CORE_STEAL_H

#include "core/vcpu.h"
#include "lib/address.h"

/* All are for the hart that has the vCPU loaded or is loading it, unless they say otherwise; no lock is needed. */

/* From now on tells in the 64 bytes at address, a multiple of 64: zeroes them. False, and nothing has changed, if they
 * are not in RAM. The first time in a capsule's life the count begins at 0; it never goes back in that life, which
 * Linux relies on when it switches a CPU off and on. */
[[nodiscard]] bool steal_tell(struct vcpu *vcpu, gpa_t address);
/* Not any more. Whoever may start the vCPU while it is RUN_OFF may call it, too. */
void steal_forget(struct vcpu *vcpu);
/* A new life of its capsule: forgets, and the next count begins at 0. No vCPU of the capsule may be running. */
void steal_reset(struct vcpu *vcpu);
/* The scheduler's, when the vCPU comes onto its hart and its steal_ticks are those of now: tells them if they have
 * changed. */
void steal_publish(struct vcpu *vcpu);

#endif
