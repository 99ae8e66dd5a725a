/* SPDX-License-Identifier: MIT
 *
 * Waiters: see waiters.h.
 */
#include "control/waiters.h"

#include "core/hart.h"

static struct spinlock lock; /* only a timer heap's is taken with it held */
static struct waiter *all;
static atomic_uint count; /* of all, for those who have news and nobody to tell */

void waiter_wait(struct waiter *waiter, uint32_t topic)
{
    spinlock_take(&lock);
    waiter->topic = topic;
    if (!waiter->waits) {
        waiter->waits = true;
        waiter->next = all;
        all = waiter;
        atomic_fetch_add(&count, 1);
    }
    spinlock_release(&lock);
}

/* Held. */
static void fire_in(struct waiter *waiter, uint64_t ticks)
{
    if (!timer_is_armed(&waiter->timer)) {
        (void)timer_arm(&hart_this()->timers, &waiter->timer, clock_now() + ticks);
    }
}

void waiter_sleep(struct waiter *waiter, uint64_t ticks)
{
    spinlock_take(&lock);
    fire_in(waiter, ticks);
    spinlock_release(&lock);
}

/* Held. */
static void take_out(struct waiter **link)
{
    struct waiter *waiter = *link;
    *link = waiter->next;
    waiter->waits = false;
    atomic_fetch_sub(&count, 1);
}

void waiter_cancel(struct waiter *waiter)
{
    spinlock_take(&lock);
    for (struct waiter **link = &all; *link != NULL; link = &(*link)->next) {
        if (*link == waiter) {
            take_out(link);
            break;
        }
    }
    timer_cancel(&waiter->timer);
    spinlock_release(&lock);
}

void waiters_tell(uint32_t topic, uint64_t ticks)
{
    if (atomic_load(&count) == 0) {
        return;
    }
    spinlock_take(&lock);
    struct waiter **link = &all;
    while (*link != NULL) {
        struct waiter *waiter = *link;
        if (waiter->topic != topic) {
            link = &waiter->next;
            continue;
        }
        take_out(link);
        fire_in(waiter, ticks);
    }
    spinlock_release(&lock);
}
