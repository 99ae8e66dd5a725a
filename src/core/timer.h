/* SPDX-License-Identifier: MIT
 *
 * Deadlines: one pairing heap per hart, and the hardware timer is written only when the earliest one changes.
 * A timer belongs to the heap that it was last armed on until it fires or is cancelled.
 */
#ifndef CORE_TIMER_H
#define CORE_TIMER_H

#include "lib/pairing_heap.h"
#include "lib/spinlock.h"

#define TIMER_NEVER UINT64_MAX

struct timer_heap;

struct timer {
    uint64_t deadline;                 /* in ticks of the host's time */
    void (*fire)(struct timer *timer); /* on the heap's hart, no lock held, after the timer left the heap */
    _Atomic(struct timer_heap *) heap; /* NULL: not armed; written with the heap's lock held */
    /* that lock guards the heap's links, and deadline while armed: */
    struct heap_node node;
};

struct timer_heap {
    struct spinlock lock;
    struct heap_node *root;
    atomic_uint changes; /* counts every change, so that a hart can see without the lock that there was none */
};

static inline bool timer_is_armed(const struct timer *timer)
{
    return atomic_load(&timer->heap) != NULL;
}
/* Arms (or re-arms) the timer on this heap; it must not be armed on another, and nobody else may arm it meanwhile. True
 * if it is now the earliest (moving the earliest to later is not told: the hart then wakes once for nothing).
 * TIMER_NEVER: takes it out. */
bool timer_arm(struct timer_heap *heap, struct timer *timer, uint64_t deadline);
/* Takes the timer out of whichever heap holds it. May race with its firing: the caller must tolerate one fire
 * that had already begun. Any hart, any lock but a heap's held. */
void timer_cancel(struct timer *timer);
/* The earliest deadline, or TIMER_NEVER. */
uint64_t timer_heap_next(struct timer_heap *heap);
/* Fires what is due, one after another, what fire() makes due included (so it must not arm for a time that has come).
 * Returns the earliest deadline that is left. The heap's hart only, no lock held. */
uint64_t timer_heap_run(struct timer_heap *heap, uint64_t now);

#endif
