/* SPDX-License-Identifier: MIT
 *
 * A hart's run queue: the vCPUs that wait to run there, by priority, then by what they have used (core/share.h).
 * Other harts may take from it.
 */
#ifndef CORE_RUN_QUEUE_H
#define CORE_RUN_QUEUE_H

#include <stdatomic.h>

#include "lib/pairing_heap.h"
#include "lib/spinlock.h"

struct vcpu;

enum { RUN_QUEUE_LOOKS = 64 }; /* vCPUs that a thief looks at, at most, for one that may come along */

struct run_queue {
    struct spinlock lock; /* guards the heap; taken after a vCPU's lock, never two at once */
    struct heap_node *root;
    uint32_t arrivals;
    atomic_uint length; /* read without the lock as a hint; exact under it */
    atomic_uint first;  /* likewise: 0: empty; else the priority of the first one, plus 1 */
};

/* With the lock held, all of these. */
void run_queue_insert(struct run_queue *queue, struct vcpu *vcpu);
void run_queue_remove(struct run_queue *queue, struct vcpu *vcpu);
struct vcpu *run_queue_first(const struct run_queue *queue); /* NULL: empty */
/* The first that may run on that hart; of a long queue that is mostly tied to other harts perhaps none though there is
 * one. NULL: none. */
struct vcpu *run_queue_first_for(const struct run_queue *queue, uint32_t hart);

#endif
