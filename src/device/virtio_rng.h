/* SPDX-License-Identifier: MIT
 *
 * A virtio entropy device: it gives what the hypervisor's generator gives, at most VIRTIO_RNG_BYTES for each buffer.
 */
#ifndef DEVICE_VIRTIO_RNG_H
#define DEVICE_VIRTIO_RNG_H

#include "device/virtio_mmio.h"

enum { VIRTIO_RNG_BYTES = 256 };

struct virtio_rng {
    struct virtio_device virtio;
    struct virtqueue queues[1];
    void (*random)(uint8_t *bytes, size_t length);
    struct virtqueue_chain chain; /* the device's lock guards it */
};

/* random is called with the device's lock held, from any hart. */
void virtio_rng_init(struct virtio_rng *rng, gpa_t base, const struct capsule *capsule, struct irq_line irq,
                     void (*random)(uint8_t *bytes, size_t length));

#endif
