/* SPDX-License-Identifier: MIT
 *
 * A virtio device of the machine behind virtio-mmio, as its driver sees it: version 2 (virtio 1.2, section 4.2) and the
 * legacy version 1 (4.2.4), which is what QEMU's virt machine has unless told otherwise. And one of its split queues,
 * whose rings are the hypervisor's own memory. The device is trusted with memory, since nothing could stop it; but no
 * number that it writes is used as an index unchecked.
 *
 * Nothing here takes a lock: whoever calls holds the one that guards the device.
 */
#ifndef DRIVER_HOST_VIRTIO_H
#define DRIVER_HOST_VIRTIO_H

#include "core/hart.h"
#include "core/machine.h"
#include "lib/virtio.h"

enum { HOST_QUEUE_MAX = 512 /* entries */ };

struct host_virtio {
    const struct machine_virtio *where;
    uint32_t version; /* 1 or 2 */
    uint32_t id;
    uint64_t features; /* that both sides have agreed on */
};

/* Whether there is a device of a kind that is known; it is reset. */
bool host_virtio_probe(struct host_virtio *device, const struct machine_virtio *where);
/* From a reset up to where queues can be set up: of what the device offers, what is in wanted. */
bool host_virtio_begin(struct host_virtio *device, uint64_t wanted);
/* The driver is ready. */
void host_virtio_go(struct host_virtio *device);
/* False: it does not reset in the time that a device may take for it (a tenth of a second). */
bool host_virtio_reset(struct host_virtio *device);
/* Reads and acknowledges its interrupts; call before its queues are looked at. */
void host_virtio_acknowledge(const struct host_virtio *device);
static inline bool host_virtio_has(const struct host_virtio *device, uint64_t feature)
{
    return (device->features & feature) == feature;
}
/* Of the device's configuration; little-endian. offset is a multiple of the width. */
uint8_t host_virtio_config8(const struct host_virtio *device, uint32_t offset);
uint16_t host_virtio_config16(const struct host_virtio *device, uint32_t offset);
uint32_t host_virtio_config32(const struct host_virtio *device, uint32_t offset);
uint64_t host_virtio_config64(const struct host_virtio *device, uint32_t offset);

/* How much is done for a device before it must leave the hart alone for a while: it can be faster than it is served. */
struct host_pace {
    uint64_t until; /* from then on all may be done again */
    uint32_t left;
};
/* Before something is done, of which most is the most, and after it. */
static inline void host_pace_begin(struct host_pace *pace, uint32_t most)
{
    if (clock_now() >= pace->until) {
        pace->left = most;
    }
}
static inline void host_pace_end(struct host_pace *pace)
{
    pace->until = clock_now() + clock_rest();
}

/* --- a queue ------------------------------------------------------------------------------------------------------ */

struct host_queue {
    const struct host_virtio *device;
    uint16_t index;
    uint16_t size; /* entries: a power of two */
    struct virtio_descriptor *descriptors;
    uint16_t *available; /* flags, index, the ring */
    uint16_t *used;      /* flags, index, then pairs of 32 bits */
    /* Ours; what the device makes of the table does not matter. */
    uint16_t free; /* entries that no chain has; they are linked from first_free on by links */
    uint16_t first_free;
    uint16_t given; /* chains, as the available index counts; likewise taken, of the used one */
    uint16_t taken;
    uint16_t links[HOST_QUEUE_MAX];
    uint16_t lengths[HOST_QUEUE_MAX]; /* entries of the chain that begins here; 0: none does */
};

/* Sets up a queue, zero before, and takes memory for its rings. False: the device has no such queue, or there is no
 * memory. */
bool host_queue_begin(struct host_queue *queue, const struct host_virtio *device, uint16_t index);

/* The device was reset and is at the point of host_queue_begin once more: the chains that it had are offered anew, with
 * the next host_queue_publish. drop: before that, a chain that isn't to be. */
bool host_queue_resume(struct host_queue *queue);
void host_queue_drop(struct host_queue *queue, uint16_t head);

/* A buffer of a chain: of the host's memory, to be written by the device or read. */
struct host_buffer {
    struct range memory; /* at most 4 GiB - 1 */
    bool writable;
};
/* Adds a chain of count buffers, for which there must be room (free): its head. The device sees it with the next
 * host_queue_publish. */
uint16_t host_queue_add(struct host_queue *queue, const struct host_buffer *buffers, uint16_t count);
void host_queue_publish(struct host_queue *queue);
/* It need not interrupt for chains of this queue, or has to again: then look at once for those that it has used. */
void host_queue_quiet(struct host_queue *queue, bool quiet);
/* Whether the device has used a chain, which is free again then; and how many bytes it says that it wrote. What isn't
 * the head of one is passed over. */
bool host_queue_take(struct host_queue *queue, uint16_t *head, uint32_t *written);

#endif
