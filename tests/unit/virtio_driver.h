/* SPDX-License-Identifier: MIT
 *
 * A driver's way through virtio-mmio's registers, for the tests of devices: on top of virtio_world.h.
 */
#ifndef UNIT_VIRTIO_DRIVER_H
#define UNIT_VIRTIO_DRIVER_H

#include "device/virtio_mmio.h"
#include "virtio_world.h"

#define DEVICE_BASE UINT64_C(0x10001000)

enum {
    MAGIC_VALUE = 0x000,
    VERSION = 0x004,
    DEVICE_ID = 0x008,
    VENDOR_ID = 0x00c,
    DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    QUEUE_SEL = 0x030,
    QUEUE_NUM_MAX = 0x034,
    QUEUE_NUM = 0x038,
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC = 0x080,
    QUEUE_DRIVER = 0x090,
    QUEUE_DEVICE = 0x0a0,
    CONFIG = 0x100,
};

/* The device that the driver drives, and its interrupt line. */
static struct virtio_device *driven;
static bool level;

static inline void on_line(void *controller, uint32_t source, bool to)
{
    assert_ptr_equal(controller, &level);
    assert_int_equal(source, 1);
    level = to;
}

static inline struct irq_line line(void)
{
    return (struct irq_line){on_line, &level, 1};
}

static inline uint32_t read_register(unsigned offset)
{
    return (uint32_t)device_read(&driven->device, (gpa_t){DEVICE_BASE + offset}, 4);
}

static inline bool write_register(unsigned offset, uint64_t value)
{
    return device_write(&driven->device, (gpa_t){DEVICE_BASE + offset}, 4, value);
}

static inline void accept(uint64_t features)
{
    for (unsigned half = 0; half < 2; half++) {
        write_register(DRIVER_FEATURES_SEL, half);
        write_register(DRIVER_FEATURES, features >> (32 * half) & UINT32_MAX);
    }
}

static inline void set_queue(uint32_t size)
{
    static const struct {
        unsigned offset;
        uint64_t place;
    } rings[] = {{QUEUE_DESC, TABLE}, {QUEUE_DRIVER, AVAILABLE}, {QUEUE_DEVICE, USED}};
    write_register(QUEUE_SEL, 0);
    write_register(QUEUE_NUM, size);
    for (unsigned n = 0; n < 3; n++) {
        write_register(rings[n].offset, rings[n].place & UINT32_MAX);
        write_register(rings[n].offset + 4, rings[n].place >> 32);
    }
    write_register(QUEUE_READY, 1);
}

/* From wherever it is to a device that works, with an empty queue of size entries. */
static inline void drive(uint64_t features, uint32_t size)
{
    write_register(STATUS, 0);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    accept(features);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    put(AVAILABLE, 0, 4);
    put(USED, 0, 4);
    set_queue(size);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

/* Notifies until that is over; how many times the store trapped. */
static inline unsigned notify(void)
{
    unsigned times = 1;
    while (!write_register(QUEUE_NOTIFY, 0)) {
        times++;
        assert_true(times < 10000);
    }
    return times;
}

static inline bool needs_reset(void)
{
    return (read_register(STATUS) & VIRTIO_NEEDS_RESET) != 0;
}

#endif
