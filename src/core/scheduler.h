/* SPDX-License-Identifier: MIT
 *
 * Which vCPU a hart runs next. One queue for all harts of a kind, first in, first out; a vCPU runs until it sleeps,
 * blocks or its slice ends. Slices are armed only while there are more started vCPUs than harts.
 *
 * All moves to and from RUN_QUEUED happen under the queue's lock; a hart alone moves its vCPU out of RUN_LOADED.
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
 * queue's lock held: while it looks, nobody can load the vCPU. Any hart, any lock but a timer heap's held. */
bool scheduler_wake(struct vcpu *vcpu, enum vcpu_run from, bool (*ready)(const struct vcpu *vcpu));

/* If the capsule is STOPPING and nobody has one of its vCPUs loaded: makes it COMMITTING and takes its vCPUs out of the
 * scheduler (all become RUN_OFF), so that none can be loaded until it is started again; then true, with the state as it
 * was in *state. */
bool scheduler_sweep(struct capsule *capsule, unsigned *state);

/* How many vCPUs may want a hart (not RUN_OFF) of the capsule's kind; change by +1 or −1. */
void scheduler_count_started(const struct capsule *capsule, int change);

#endif
