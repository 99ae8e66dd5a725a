/* SPDX-License-Identifier: MIT
 *
 * A hart's run queue: see run_queue.h.
 */
#include "core/run_queue.h"

#include "core/capsule.h"

static struct vcpu *vcpu_of(struct heap_node *node)
{
    return CONTAINER_OF(node, struct vcpu, queue_node);
}

/* By priority, use, arrival. */
static bool goes_before(const struct vcpu *a, const struct vcpu *b)
{
    const uint32_t priority_a = a->capsule->config.priority;
    const uint32_t priority_b = b->capsule->config.priority;
    if (priority_a != priority_b) {
        return priority_a > priority_b;
    }
    const int64_t more = share_compare(&a->share, &b->share);
    return more != 0 ? more < 0 : (int32_t)(a->arrival - b->arrival) < 0;
}

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return goes_before(CONTAINER_OF_CONST(a, struct vcpu, queue_node), CONTAINER_OF_CONST(b, struct vcpu, queue_node));
}

static void changed(struct run_queue *queue, unsigned length)
{
    atomic_store(&queue->length, length);
    atomic_store(&queue->first, length == 0 ? 0 : vcpu_of(queue->root)->capsule->config.priority + 1);
}

void run_queue_insert(struct run_queue *queue, struct vcpu *vcpu)
{
    vcpu->arrival = queue->arrivals++;
    queue->root = heap_join(queue->root, &vcpu->queue_node, before);
    changed(queue, atomic_load_explicit(&queue->length, memory_order_relaxed) + 1);
}

void run_queue_remove(struct run_queue *queue, struct vcpu *vcpu)
{
    queue->root = heap_take_out(queue->root, &vcpu->queue_node, before);
    changed(queue, atomic_load_explicit(&queue->length, memory_order_relaxed) - 1);
}

struct vcpu *run_queue_first(const struct run_queue *queue)
{
    return queue->root == NULL ? NULL : vcpu_of(queue->root);
}

/* The next node of a walk over the whole heap, parents before children; NULL at the end. */
static struct heap_node *following(struct heap_node *node)
{
    if (node->child != NULL) {
        return node->child;
    }
    while (node != NULL && node->sibling == NULL) { /* up: from the last sibling back to the first, whose back it is */
        while (node->back != NULL && node->back->child != node) {
            node = node->back;
        }
        node = node->back;
    }
    return node == NULL ? NULL : node->sibling;
}

struct vcpu *run_queue_first_for(const struct run_queue *queue, uint32_t hart)
{
    struct vcpu *best = NULL;
    struct heap_node *node = queue->root;
    for (unsigned n = 0; n < RUN_QUEUE_LOOKS && node != NULL; n++) {
        struct vcpu *vcpu = vcpu_of(node);
        if (hart_set_has(&vcpu->allowed, hart) && (best == NULL || goes_before(vcpu, best))) {
            best = vcpu;
            if (node == queue->root) {
                break; /* nobody comes before the root */
            }
        }
        node = following(node);
    }
    return best;
}
