/* SPDX-License-Identifier: MIT
 *
 * Which vCPU a hart runs next. One queue for all harts, first in, first out; a vCPU runs until it sleeps, blocks or
 * its slice ends. Slices are armed only while there are more started vCPUs than harts.
 *
 * All moves to and from RUN_QUEUED happen under the queue's lock; a hart alone moves its vCPU out of RUN_LOADED.
 */
#ifndef CORE_SCHEDULER_H
#define CORE_SCHEDULER_H

#include "core/capsule.h"
#include "core/hart.h"

enum { SLICE_MICROSECONDS = 2000 };

void scheduler_init(uint32_t timebase_hz);

/* The end of every trap: lets the current vCPU go if it must, finds the next one (sleeping until there is one), folds
 * its events and returns its context. Called by trap_handle on the hart's own stack, no lock held. */
struct arch_context *scheduler_next(struct hart *hart);

/* Makes a vCPU runnable if it is in state from; false if it is in another. Any hart. */
bool scheduler_wake(struct vcpu *vcpu, enum vcpu_run from);

/* Takes every vCPU of a capsule that nobody has loaded out of the scheduler: all become RUN_OFF. */
void scheduler_sweep(struct capsule *capsule);

/* How many vCPUs may want a hart (not RUN_OFF); change by +1 or −1. */
void scheduler_count_started(int change);

#endif
