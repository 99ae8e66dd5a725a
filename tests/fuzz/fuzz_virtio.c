/* SPDX-License-Identifier: MIT
 *
 * A disk, an entropy device and a console under a guest that writes what it likes, into registers and into RAM, in any
 * order; with a short way to a device that works, so that the fuzzer finds what lies behind it.
 */
#include "device/virtio_blk.h"
#include "device/virtio_console.h"
#include "device/virtio_rng.h"
#include "fuzz_driver.h"

enum { DISK_BYTES = 9 * VIRTIO_BLK_SECTOR, STEPS = 400 };

static struct virtio_blk blk;
static struct virtio_rng rng;
static struct virtio_console console;
static struct console_port port;
static bool line;

static void on_line(void *controller, uint32_t source, bool level)
{
    (void)controller;
    (void)source;
    line = level;
}

static void fill(uint8_t *bytes, size_t length)
{
    memset(bytes, 0x5a, length);
}

static void on_news(void *receiver)
{
    (void)receiver;
    virtio_console_notify(&console);
}

/* Somebody types, looks or looks away. */
static void use_port(uint64_t how)
{
    uint8_t bytes[64];
    (void)console_port_show(&port, (how & 1) != 0);
    if ((how & 2) != 0) {
        (void)console_port_feed(&port, (uint8_t)how);
    }
    if ((how & 4) != 0) {
        (void)console_port_feed_break(&port);
    }
    if ((how & 8) != 0) {
        (void)console_port_drain(&port, bytes, sizeof(bytes));
    }
    console_port_notify(&port);
}

/* Ports with names, each an echo of a few bytes, which are there a moment later. */
static struct virtio_port named[VIRTIO_PORTS_MAX];
static struct echo {
    uint8_t bytes[7];
    size_t count;
    bool ready;
} echoes[VIRTIO_PORTS_MAX];

static size_t echo_take(struct virtio_port *which, const uint8_t *bytes, size_t length)
{
    struct echo *echo = &echoes[which->index];
    const size_t taken = echo->ready ? 0 : MIN(length, sizeof(echo->bytes) - echo->count);
    assert(which->open);
    memcpy(echo->bytes + echo->count, bytes, taken);
    echo->count += taken;
    return taken;
}

static size_t echo_give(struct virtio_port *which, uint8_t *bytes, size_t room)
{
    struct echo *echo = &echoes[which->index];
    const size_t given = echo->ready ? MIN(room, echo->count) : 0;
    memcpy(bytes, echo->bytes + (echo->count - given), given);
    echo->count -= given;
    echo->ready = echo->ready && echo->count != 0;
    return given;
}

static void echo_opened(struct virtio_port *which, bool open)
{
    assert(which->open == open);
    echoes[which->index] = (struct echo){.count = 0};
}

static const struct virtio_port_ops echo_ops = {.take = echo_take, .give = echo_give, .opened = echo_opened};

static void make_named(void)
{
    memset(echoes, 0, sizeof(echoes));
    for (unsigned n = 0; n < VIRTIO_PORTS_MAX; n++) {
        named[n] = (struct virtio_port){.name = n % 2 == 0 ? "a" : "a name of thirty-one characters", .ops = &echo_ops};
    }
}

static void use_named(unsigned n)
{
    echoes[n % VIRTIO_PORTS_MAX].ready = echoes[n % VIRTIO_PORTS_MAX].count != 0;
    (void)virtio_ports_go_on(&console, &named[n % VIRTIO_PORTS_MAX]);
}

/* To the console's other queues too. */
static void notify(struct virtio_device *virtio, uint64_t queue)
{
    put(virtio, 0x50, 4, queue % virtio->ops->queue_count);
}

static void step(struct virtio_device *virtio, struct input *input, uint16_t *available)
{
    const uint64_t what = take(input, 1);
    switch (what % 8) {
    case 0:
        put(virtio, take(input, 2) % VIRTIO_WINDOW_SIZE & ~3ULL, 4, take(input, 4));
        break;
    case 1:
        put(virtio, take(input, 1) & ~3ULL, 4, take(input, 1));
        break;
    case 2:
        (void)get(virtio, take(input, 2) % (VIRTIO_WINDOW_SIZE - 8), 1U << (what >> 4 & 3));
        break;
    case 3:
        drive(virtio, (unsigned)(what >> 4 & 3));
        *available = 0;
        break;
    case 4:
        describe(input);
        break;
    case 5:
        offer(input, available);
        notify(virtio, what >> 4);
        break;
    case 6:
        store(take(input, 2), take(input, 8), 8);
        break;
    default:
        if (virtio == &console.virtio && console.named != NULL && (what & 0x88) == 0x88) {
            use_named((unsigned)(what >> 4));
        } else if (virtio == &console.virtio && console.port != NULL && (what & 8) != 0) {
            use_port(what >> 4);
        } else {
            request(input);
        }
        break;
    }
}

static void check(struct virtio_device *virtio)
{
    const uint64_t status = get(virtio, 0x70, 4);
    assert((status & 4) == 0 || (status & 8) != 0);
    assert((virtio->accepted & ~virtio->offered) == 0 || (status & 8) == 0);
    assert(line == (get(virtio, 0x60, 4) != 0));
    if (virtio == &console.virtio) {
        assert(!atomic_load(&port.claimed) || (status & 4) != 0);
    }
    if (virtio == &blk.virtio) {
        assert(!blk.busy); /* all that was begun is over, since the store is */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct input input = {bytes, length};
    const struct irq_line irq = {on_line, NULL, 1};
    uint8_t *disk = malloc(DISK_BYTES);
    uint16_t available = 0;
    assert(disk != NULL);
    memset(disk, 0x11, DISK_BYTES);
    world_make();
    line = false;
    const unsigned kind = (unsigned)take(&input, 1);
    virtio_blk_init(&blk, (gpa_t){DEVICE_BASE}, &world, irq, disk, DISK_BYTES, kind % 4 == 3, "fuzz");
    virtio_rng_init(&rng, (gpa_t){DEVICE_BASE}, &world, irq, fill);
    console_port_init(&port, "fuzz");
    port.notify = on_news;
    make_named();
    static uint8_t port_step[VIRTIO_PORT_STEP];
    virtio_console_init(&console, (gpa_t){DEVICE_BASE}, &world, irq, (kind & 0x80) != 0 ? NULL : &port,
                        (kind & 0xc0) != 0 ? named : NULL, port_step);
    struct virtio_device *const devices[] = {&blk.virtio, &rng.virtio, &console.virtio, &blk.virtio};
    struct virtio_device *virtio = devices[kind % 4];
    for (unsigned n = 0; n < STEPS && input.left > 0; n++) {
        step(virtio, &input, &available);
        check(virtio);
    }
    for (unsigned n = 0; kind % 4 == 3 && n < DISK_BYTES; n++) {
        assert(disk[n] == 0x11);
    }
    world_free();
    free(disk);
    return 0;
}
