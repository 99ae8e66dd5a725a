/* SPDX-License-Identifier: MIT
 *
 * A ticket lock: fair between harts, held for short bounded work only. The hypervisor runs with interrupts off,
 * so a lock is never taken twice on one hart by a handler. Lock order: see ARCHITECTURE.md.
 */
#ifndef LIB_SPINLOCK_H
#define LIB_SPINLOCK_H

#include <stdatomic.h>

#include "lib/base.h"

struct spinlock {
    atomic_uint next;
    atomic_uint serving;
};

static inline void spinlock_take(struct spinlock *lock)
{
    unsigned ticket = atomic_fetch_add_explicit(&lock->next, 1, memory_order_relaxed);
    while (atomic_load_explicit(&lock->serving, memory_order_acquire) != ticket) {
        /* the holder's work is short and bounded */
    }
}

/* Takes it only if nobody has it or waits for it. */
[[nodiscard]] static inline bool spinlock_try(struct spinlock *lock)
{
    unsigned serving = atomic_load_explicit(&lock->serving, memory_order_acquire);
    unsigned ticket = serving;
    return atomic_compare_exchange_strong_explicit(&lock->next, &ticket, serving + 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void spinlock_release(struct spinlock *lock)
{
    unsigned serving = atomic_load_explicit(&lock->serving, memory_order_relaxed);
    atomic_store_explicit(&lock->serving, serving + 1, memory_order_release);
}

#endif
