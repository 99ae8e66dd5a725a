/* SPDX-License-Identifier: MIT
 *
 * The driver of a console device, for its tests.
 */
#ifndef UNIT_CONSOLE_DRIVER_H
#define UNIT_CONSOLE_DRIVER_H

#include "device/virtio_console.h"

#include "virtio_driver.h"

enum { SIZE = 16, INPUT = 0, OUTPUT = 1, TO_DRIVER = 2, FROM_DRIVER = 3 };
enum { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, CONSOLE_PORT = 4, PORT_OPEN = 6, PORT_NAME = 7 };

#define MULTIPORT UINT64_C(2)
/* Rings of queue n, and places for data, one of them across an edge. */
#define RINGS(n) (RAM_BASE + 0xb000 + 0x800 * (uint64_t)(n))
#define AVAIL(n) (RINGS(n) + 0x200)
#define GIVEN(n) (RINGS(n) + 0x400)
#define DATA     (EDGE_1 - 0x20)
#define ROOM     (RAM_BASE + 0x5000)

static struct virtio_console console;
static inline void set_rings(unsigned n)
{
    const uint64_t rings[] = {RINGS(n), AVAIL(n), GIVEN(n)};
    put(AVAIL(n), 0, 4);
    put(GIVEN(n), 0, 4);
    write_register(QUEUE_SEL, n);
    write_register(QUEUE_NUM, SIZE);
    for (unsigned ring = 0; ring < 3; ring++) {
        write_register(QUEUE_DESC + 0x10 * ring, rings[ring]);
        write_register(QUEUE_DESC + 0x10 * ring + 4, 0);
    }
    write_register(QUEUE_READY, 1);
}

/* So many queues have rings. */
static inline void begin_with(uint64_t features, unsigned queues)
{
    const uint32_t ready = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK;
    write_register(STATUS, 0);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE);
    write_register(STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    accept(features | VIRTIO_F_VERSION_1);
    write_register(STATUS, ready);
    for (unsigned n = 0; n < queues; n++) {
        set_rings(n);
    }
    write_register(STATUS, ready | VIRTIO_DRIVER_OK);
}

static inline unsigned given(unsigned n)
{
    return (unsigned)get(GIVEN(n) + 2, 2);
}

static inline uint32_t given_length(unsigned n, unsigned index)
{
    return (uint32_t)get(GIVEN(n) + 4 + 8 * (index % SIZE) + 4, 4);
}

/* Makes entry n of the queue's table available, and tells; how many times the store trapped. */
static inline unsigned give_buffer(unsigned queue, unsigned n, uint64_t place, uint32_t length, unsigned flags)
{
    const unsigned index = (unsigned)get(AVAIL(queue) + 2, 2);
    unsigned times = 1;
    describe_at(RINGS(queue), n, place, length, flags, 0);
    put(AVAIL(queue) + 4 + 2 * (index % SIZE), n, 2);
    put(AVAIL(queue) + 2, (uint16_t)(index + 1), 2);
    while (!write_register(QUEUE_NOTIFY, queue)) {
        times++;
    }
    return times;
}

static inline void say(unsigned id, unsigned event, unsigned value)
{
    put(ROOM, id, 4);
    put(ROOM + 4, event, 2);
    put(ROOM + 6, value, 2);
    give_buffer(FROM_DRIVER, 0, ROOM, 8, 0);
}

#endif
