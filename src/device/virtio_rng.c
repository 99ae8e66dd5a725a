/* SPDX-License-Identifier: MIT
 *
 * The entropy device: see virtio_rng.h.
 */
#include "device/virtio_rng.h"

#include <string.h>

enum { STEP_REQUESTS = 16 };

static void fill(struct virtio_rng *rng, struct virtqueue *queue)
{
    uint8_t bytes[VIRTIO_RNG_BYTES];
    const size_t length = (size_t)MIN(rng->chain.writable, (uint64_t)sizeof(bytes));
    rng->random(bytes, length);
    virtqueue_write(queue, &rng->chain, 0, bytes, length);
    memset(bytes, 0, sizeof(bytes));
    virtqueue_give(queue, &rng->chain, (uint32_t)length);
}

static bool rng_work(struct virtio_device *virtio, struct virtqueue *queue)
{
    struct virtio_rng *rng = CONTAINER_OF(virtio, struct virtio_rng, virtio);
    for (unsigned n = 0; n < STEP_REQUESTS; n++) {
        const enum virtqueue_taken taken = virtqueue_take(queue, &rng->chain);
        if (taken == QUEUE_EMPTY) {
            return false;
        }
        if (taken == QUEUE_BROKEN || rng->chain.readable != 0) {
            virtio_device_break(virtio);
            return false;
        }
        fill(rng, queue);
    }
    return true;
}

static const struct virtio_device_ops rng_ops = {
    .name = "virtio_rng",
    .id = VIRTIO_ID_RNG,
    .queue_count = 1,
    .work = rng_work,
};

void virtio_rng_init(struct virtio_rng *rng, gpa_t base, const struct capsule *capsule, struct irq_line irq,
                     void (*random)(uint8_t *bytes, size_t length))
{
    memset(rng, 0, sizeof(*rng));
    virtio_device_init(&rng->virtio, &rng_ops, rng->queues, base, capsule, irq, 0);
    rng->random = random;
}
