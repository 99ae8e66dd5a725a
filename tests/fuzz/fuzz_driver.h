/* SPDX-License-Identifier: MIT
 *
 * What the fuzzers of virtio devices share: registers, a short way to a device that works, with all its queues on the
 * same rings, and descriptors that are in RAM more often than chance has them.
 */
#ifndef FUZZ_DRIVER_H
#define FUZZ_DRIVER_H

#include "device/virtio_mmio.h"
#include "fuzz_world.h"

#define DEVICE_BASE UINT64_C(0x10001000)
enum { SIZE = 8, TABLE = 0xff0, AVAILABLE = 0x1800, USED = 0x1ff8, HEADER = 0x2400 };

/* What happens while a store is not over; NULL: nothing has to. */
static void (*meanwhile)(void);

/* Notifications are repeated as the guest's processor would; that must come to an end. */
static inline void put(struct virtio_device *virtio, uint64_t offset, unsigned width, uint64_t value)
{
    for (unsigned n = 0; !device_write(&virtio->device, (gpa_t){DEVICE_BASE + offset}, width, value); n++) {
        assert(n < 1000);
        if (meanwhile != NULL) {
            meanwhile();
        }
    }
}

static inline uint64_t get(struct virtio_device *virtio, uint64_t offset, unsigned width)
{
    return device_read(&virtio->device, (gpa_t){DEVICE_BASE + offset}, width);
}

static inline void drive(struct virtio_device *virtio, unsigned without)
{
    const uint64_t rings[] = {TABLE, AVAILABLE, USED};
    put(virtio, 0x70, 4, 0);
    put(virtio, 0x70, 4, 3);
    put(virtio, 0x24, 4, 1);
    put(virtio, 0x20, 4, 1);
    put(virtio, 0x24, 4, 0);
    put(virtio, 0x20, 4, virtio->offered & UINT32_MAX & ~((uint64_t)without << 28));
    put(virtio, 0x70, 4, 11);
    for (unsigned queue = 0; queue < virtio->ops->queue_count; queue++) { /* all with the same rings */
        put(virtio, 0x30, 4, queue);
        put(virtio, 0x38, 4, SIZE);
        for (unsigned n = 0; n < 3; n++) {
            put(virtio, 0x80 + 0x10 * n, 4, RAM_BASE + rings[n]);
            put(virtio, 0x84 + 0x10 * n, 4, 0);
        }
        put(virtio, 0x44, 4, 1);
    }
    store(AVAILABLE, 0, 4);
    put(virtio, 0x70, 4, 15);
}

static inline void describe(struct input *input)
{
    const uint64_t at = TABLE + 16 * take(input, 1);
    store(at, RAM_BASE + take(input, 2), 8);
    store(at + 8, take(input, 2), 4);
    store(at + 12, take(input, 1), 2);
    store(at + 14, take(input, 1), 2);
}

static inline void offer(struct input *input, uint16_t *available)
{
    store(AVAILABLE + 4U + 2U * (*available % SIZE), take(input, 1), 2);
    store(AVAILABLE + 2, ++*available, 2);
}

/* A header, and the stretch that may follow it, with a descriptor of the header alone. */
static inline void request(struct input *input)
{
    store(HEADER, take(input, 1), 8);
    store(HEADER + 8, take(input, 1), 8);
    store(HEADER + 16, take(input, 1), 8);
    store(HEADER + 24, take(input, 1), 4);
    store(HEADER + 28, take(input, 1), 4);
    store(TABLE, RAM_BASE + HEADER, 8);
    store(TABLE + 8, 16, 8);
    store(TABLE + 12, UINT64_C(0x00010001), 4);
}

#endif
