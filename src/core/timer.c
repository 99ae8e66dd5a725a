/* SPDX-License-Identifier: MIT
 *
 * The pairing heap: each timer's children are a list, the first one's back is its parent, the others' back is the
 * one before. Arming is one comparison; taking out merges the children in pairs, without recursion.
 */
#include "core/timer.h"

/* Joins two heaps into one, either of which may be NULL. Both are roots: siblings and back are NULL. */
static struct timer *join(struct timer *a, struct timer *b)
{
    if (a == NULL) {
        return b;
    }
    if (b == NULL) {
        return a;
    }
    struct timer *top = b->deadline < a->deadline ? b : a;
    struct timer *under = top == a ? b : a;

    under->sibling = top->child;
    if (under->sibling != NULL) {
        under->sibling->back = under;
    }
    under->back = top;
    top->child = under;
    return top;
}

/* Makes a root of the first of a list of siblings; returns the rest. */
static struct timer *unlink_first(struct timer *first)
{
    struct timer *rest = first->sibling;

    first->sibling = NULL;
    first->back = NULL;
    return rest;
}

/* Makes one heap of a list of siblings: pairs from first to last, then the pairs from last to first. */
static struct timer *join_siblings(struct timer *list)
{
    struct timer *pairs = NULL; /* a stack, linked by sibling */
    struct timer *root = NULL;

    while (list != NULL) {
        struct timer *a = list, *b = unlink_first(a);
        list = b != NULL ? unlink_first(b) : NULL;
        a = join(a, b);
        a->sibling = pairs;
        pairs = a;
    }
    while (pairs != NULL) {
        struct timer *a = pairs;
        pairs = unlink_first(a);
        root = join(root, a);
    }
    return root;
}

/* Takes an armed timer out of its heap, whose lock is held. */
static void heap_remove(struct timer_heap *heap, struct timer *timer)
{
    struct timer *children = join_siblings(timer->child);

    atomic_fetch_add(&heap->changes, 1);
    timer->child = NULL;
    if (timer == heap->root) {
        heap->root = children;
    } else {
        if (timer->back->child == timer) {
            timer->back->child = timer->sibling;
        } else {
            timer->back->sibling = timer->sibling;
        }
        if (timer->sibling != NULL) {
            timer->sibling->back = timer->back;
        }
        timer->sibling = NULL;
        timer->back = NULL;
        heap->root = join(heap->root, children);
    }
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
        heap->root = join(heap->root, timer);
        atomic_fetch_add(&heap->changes, 1);
        atomic_store(&timer->heap, heap);
    }
    bool earliest = heap->root == timer;
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
    return heap->root != NULL ? heap->root->deadline : TIMER_NEVER;
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
    while (heap->root != NULL && heap->root->deadline <= now) {
        struct timer *timer = heap->root;
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
