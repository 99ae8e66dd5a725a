/* SPDX-License-Identifier: MIT
 *
 * Deadlines in a pairing heap (lib/pairing_heap.h) behind a lock.
 */
#include "core/timer.h"

static struct timer *timer_of(struct heap_node *node)
{
    return node == NULL ? NULL : CONTAINER_OF(node, struct timer, node);
}

static bool sooner(const struct heap_node *a, const struct heap_node *b)
{
    return CONTAINER_OF_CONST(a, struct timer, node)->deadline < CONTAINER_OF_CONST(b, struct timer, node)->deadline;
}

/* Takes an armed timer out of its heap, whose lock is held. */
static void heap_remove(struct timer_heap *heap, struct timer *timer)
{
    atomic_fetch_add(&heap->changes, 1);
    heap->root = heap_take_out(heap->root, &timer->node, sooner);
    atomic_store(&timer->heap, NULL);
}

bool timer_arm(struct timer_heap *heap, struct timer *timer, uint64_t deadline)
{
    spinlock_take(&heap->lock);
    struct timer_heap *armed_on = atomic_load(&timer->heap);
    assert(armed_on == NULL || armed_on == heap);
    if (armed_on != NULL) {
        heap_remove(heap, timer);
    }
    timer->deadline = deadline;
    if (deadline != TIMER_NEVER) {
        heap->root = heap_join(heap->root, &timer->node, sooner);
        atomic_fetch_add(&heap->changes, 1);
        atomic_store(&timer->heap, heap);
    }
    bool earliest = heap->root == &timer->node;
    spinlock_release(&heap->lock);
    return earliest;
}

void timer_cancel(struct timer *timer)
{
    struct timer_heap *heap;

    /* the timer may leave the heap, or go to another one, until that heap's lock is held: look again then */
    while ((heap = atomic_load(&timer->heap)) != NULL) {
        spinlock_take(&heap->lock);
        if (atomic_load(&timer->heap) == heap) {
            heap_remove(heap, timer);
        }
        spinlock_release(&heap->lock);
    }
}

/* The earliest deadline; the heap's lock is held. */
static uint64_t next_deadline(const struct timer_heap *heap)
{
    struct timer *first = timer_of(heap->root);
    return first != NULL ? first->deadline : TIMER_NEVER;
}

uint64_t timer_heap_next(struct timer_heap *heap)
{
    spinlock_take(&heap->lock);
    uint64_t next = next_deadline(heap);
    spinlock_release(&heap->lock);
    return next;
}

uint64_t timer_heap_run(struct timer_heap *heap, uint64_t now)
{
    spinlock_take(&heap->lock);
    while (heap->root != NULL && next_deadline(heap) <= now) {
        struct timer *timer = timer_of(heap->root);
        void (*fire)(struct timer *) = timer->fire;
        heap_remove(heap, timer);
        /* from here on the timer may be armed again or cancelled by anyone, fire() included */
        spinlock_release(&heap->lock);
        fire(timer);
        spinlock_take(&heap->lock);
    }
    uint64_t next = next_deadline(heap);
    spinlock_release(&heap->lock);
    return next;
}
