/* SPDX-License-Identifier: MIT
 *
 * What all virtio devices have in common: virtio-mmio's registers (version 2, virtio 1.2), the negotiation of features,
 * the status, the queues and the interrupt. A kind of device is a struct virtio_device_ops.
 *
 * Work is done by the vCPU that notifies, a bounded step for each time that its store traps: while there is more, the
 * store is not over (struct device, again), so host interrupts, the guest's own and the scheduler come in between, all
 * of it is charged to who asked for it, and nothing is ever in flight when the device's lock is free.
 *
 * A driver that breaks a rule finds NEEDS_RESET in the status; then nothing happens until it resets the device.
 */
#ifndef DEVICE_VIRTIO_MMIO_H
#define DEVICE_VIRTIO_MMIO_H

#include "core/device.h"
#include "device/virtqueue.h"
#include "lib/virtio.h"

enum { VIRTIO_WINDOW_SIZE = 0x1000, VIRTIO_CONFIG_SIZE = 0xf00 };

struct virtio_device;

/* Called with the device's lock held. */
struct virtio_device_ops {
    const char *name;
    enum virtio_device_id id;
    uint32_t queue_count; /* at least 1 */
    /* One bounded step of work on a queue that is ready, DRIVER_OK. True if there is more. May work on others too. */
    bool (*work)(struct virtio_device *device, struct virtqueue *queue);
    /* Whether the machine may still write to the driver's memory: then a reset by the driver waits. NULL: never. */
    bool (*busy)(struct virtio_device *device);
    /* Forgets what it was doing; NULL: there is nothing to forget. */
    void (*reset)(struct virtio_device *device);
};

/* First member of every virtio device; they get themselves back with CONTAINER_OF. */
struct virtio_device {
    struct device device;
    const struct virtio_device_ops *ops;
    const struct capsule *capsule;
    struct irq_line irq;
    uint64_t offered;      /* features */
    const uint8_t *config; /* its own configuration space, constant; zeros follow */
    size_t config_size;

    /* device.lock guards these: */
    uint32_t status; /* enum virtio_status */
    bool resetting;  /* the driver has asked for a reset, which is not over: no new work */
    uint64_t accepted;
    uint32_t offered_select, accepted_select, queue_select;
    uint32_t interrupts;
    struct virtqueue *queues; /* ops->queue_count of them */
};

/* queues: ops->queue_count of them, the device's own. features: the kind's own; those of the transport are added. The
 * caller may set config and config_size then. */
void virtio_device_init(struct virtio_device *device, const struct virtio_device_ops *ops, struct virtqueue *queues,
                        gpa_t base, const struct capsule *capsule, struct irq_line irq, uint64_t features);
/* As the driver's reset: forgets its queues, so that no byte of RAM is touched any more. Any hart, no lock held. */
void virtio_device_reset(struct virtio_device *device);
/* The driver broke a rule: asks it for a reset. */
void virtio_device_break(struct virtio_device *device);
/* Whether this queue, one of the kind's, may be worked on: for a device that has news of its own, with its lock held.
 * Afterwards virtio_device_interrupt. */
bool virtio_device_works(const struct virtio_device *device, uint32_t queue);
/* Raises the interrupt if the driver wants one for what was given back on any queue. */
void virtio_device_interrupt(struct virtio_device *device);
/* Whether the driver has accepted all of these features. */
static inline bool virtio_device_has(const struct virtio_device *device, uint64_t features)
{
    return (device->accepted & features) == features;
}

#endif
