/* SPDX-License-Identifier: MIT
 *
 * Which vCPU a hart runs next. Each hart has a run queue (core/run_queue.h). Higher priorities run first; equals share
 * the harts in proportion to their weights (core/share.h). A vCPU that becomes runnable goes to the hart that can run
 * it soonest; a hart with nothing to do takes from others; a hart whose vCPUs wait offers them to harts that run one
 * alone. A vCPU runs until it sleeps, blocks, or another one is due; slices are armed only where others wait.
 */
#ifndef CORE_SCHEDULER_H
#define CORE_SCHEDULER_H

#include "core/capsule.h"
#include "core/hart.h"

enum { SLICE_MICROSECONDS = 2000 };

/* Once at boot. Ticks of clock_now per second. */
void scheduler_init(uint32_t timebase_hz);

/* The end of every trap: lets the current vCPU go if it must, finds the next one (sleeping until there is one), folds
 * its events and returns its context. Called by trap_handle on the hart's own stack, no lock held. */
struct arch_context *scheduler_next(struct hart *hart);

/* Makes a vCPU runnable if it is in state from and ready says so (NULL: always); else false. ready is called with the
 * vCPU's lock held: while it looks, nobody can load the vCPU. If its capsule is paused it becomes PARKED. Any hart, any
 * lock but a timer heap's held. */
bool scheduler_wake(struct vcpu *vcpu, enum vcpu_run from, bool (*ready)(const struct vcpu *vcpu));

/* The vCPU that the hart runs waits for something that others may be about to do: its equals that wait here go first.
 * This hart only, in a trap of that vCPU. */
void scheduler_yield(struct hart *hart);

/* Takes the vCPU out of the scheduler: it becomes RUN_OFF. Only while its capsule is COMMITTING, when no hart can load
 * it. */
void scheduler_drop(struct vcpu *vcpu);

/* vCPUs' allowed sets have changed: harts let go of what they may not run any more. */
void scheduler_reallow(void);

#endif
