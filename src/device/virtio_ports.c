/* SPDX-License-Identifier: MIT
 *
 * Ports of a console device that have names: see virtio_console.h. Port n has queue 2n + 2 to the driver and 2n + 3
 * from it. What their driver sends is never kept: a chain that isn't wanted yet goes back to the ring, and is read
 * anew.
 */
#include <string.h>

#include "device/virtio_console.h"

/* Bits of virtio_port.messages, in the order in which drivers expect them. */
enum { TELL_ADD = 1, TELL_NAME = 2, TELL_OPEN = 4 };
/* Segments that are looked at, and data is moved for, in one go. */
enum { STEP_SEGMENTS = 64 };

static struct virtqueue *queue_of(struct virtio_console *console, unsigned number)
{
    return &console->virtio.queues[number];
}

static unsigned input_of(uint32_t index)
{
    return QUEUE_NAMED + 2 * index;
}

/* --- data -------------------------------------------------------------------------------------------------------- */

/* True: there may be more for the driver, and buffers for it. */
static bool give(struct virtio_console *console, uint32_t index)
{
    struct virtio_port *port = &console->named[index];
    struct virtqueue *queue = queue_of(console, input_of(index));
    uint8_t *bytes = console->step;
    if (!port->open || !virtio_console_take(console, input_of(index), &console->chain, 0)) {
        return false;
    }
    const size_t length =
        port->ops->give(port, bytes, (size_t)MIN(console->chain.writable, (uint64_t)VIRTIO_PORT_STEP));
    if (length == 0) {
        virtqueue_untake(queue, 1);
        return false;
    }
    virtqueue_write(queue, &console->chain, 0, bytes, length);
    virtqueue_give(queue, &console->chain, (uint32_t)length);
    return true;
}

/* False: the driver has sent nothing, or what is behind the port takes nothing now. */
static bool take(struct virtio_console *console, uint32_t index)
{
    struct virtio_port *port = &console->named[index];
    struct virtqueue *queue = queue_of(console, input_of(index) + 1);
    uint8_t *bytes = console->step;
    if (!virtio_console_take(console, input_of(index) + 1, &console->chain, 0)) {
        return false;
    }
    if (port->discard > 0 || !port->open) { /* nobody wants it */
        port->discard -= MIN(port->discard, 1U);
        virtqueue_give(queue, &console->chain, 0);
        return true;
    }
    const uint64_t left = console->chain.readable - MIN(port->sent, console->chain.readable);
    const size_t length = (size_t)MIN(left, (uint64_t)VIRTIO_PORT_STEP);
    virtqueue_read(queue, &console->chain, console->chain.readable - left, bytes, length);
    const size_t moved = port->ops->take(port, bytes, length);
    if (moved == left) {
        virtqueue_give(queue, &console->chain, 0);
        port->sent = 0;
        return true;
    }
    virtqueue_untake(queue, 1);
    port->sent += moved;
    return moved == length;
}

bool virtio_ports_work(struct virtio_console *console, unsigned number)
{
    const uint32_t index = (number - QUEUE_NAMED) / 2;
    /* What has been given may be what the next chain from the driver waits for. */
    return (number % 2 == 0 && give(console, index)) || take(console, index);
}

/* What may be looked at is used up by so much at least for each chain, moved or not. */
static void use(uint32_t *left, const struct virtio_console *console)
{
    *left -= MIN(*left, MAX(console->chain.count, 4U));
}

bool virtio_ports_go_on(struct virtio_console *console, struct virtio_port *port)
{
    struct virtio_device *virtio = &console->virtio;
    uint32_t left = STEP_SEGMENTS;
    spinlock_take(&virtio->device.lock);
    while (left > 0 && virtio_device_works(virtio, input_of(port->index)) && give(console, port->index)) {
        use(&left, console);
    }
    while (left > 0 && virtio_device_works(virtio, input_of(port->index) + 1) && take(console, port->index)) {
        use(&left, console);
    }
    virtio_device_interrupt(virtio);
    spinlock_release(&virtio->device.lock);
    return left == 0;
}

/* To the queue's end: a driver is asked to notify of what comes next only where nothing is left. */
bool virtio_ports_discard(struct virtio_console *console)
{
    uint32_t left = STEP_SEGMENTS;
    for (uint32_t n = 0; n < console->named_count; n++) {
        while (console->named[n].closed) {
            if (left == 0) {
                return true;
            }
            console->named[n].closed = virtio_device_works(&console->virtio, input_of(n) + 1) && take(console, n);
            use(&left, console);
        }
    }
    return false;
}

/* --- control ----------------------------------------------------------------------------------------------------- */

/* What is in the ring when it is closed was sent by whoever closes it: the next one begins anew. */
static void set_open(struct virtio_console *console, struct virtio_port *port, bool open)
{
    if (port->open == open) {
        return;
    }
    if (!open) {
        port->discard = virtqueue_waiting(queue_of(console, input_of(port->index) + 1));
        port->sent = 0;
        port->closed = true;
    }
    port->open = open;
    port->ops->opened(port, open);
}

void virtio_ports_hear(struct virtio_console *console, const struct virtio_console_message *message)
{
    if (message->event == EVENT_DEVICE_READY && message->value == 1) {
        for (uint32_t n = 0; n < console->named_count; n++) {
            console->named[n].messages |= TELL_ADD;
        }
    }
    if (message->port == 0 || message->port > console->named_count) {
        return;
    }
    struct virtio_port *port = &console->named[message->port - 1];
    if (message->event == EVENT_PORT_READY && message->value == 1) {
        port->messages |= TELL_NAME | TELL_OPEN;
    } else if (message->event == EVENT_PORT_OPEN) {
        set_open(console, port, message->value != 0);
    }
}

/* The one with the lowest bit. False: there is no buffer. */
static bool tell(struct virtio_console *console, uint32_t index)
{
    static const uint16_t events[] = {
        [TELL_ADD] = EVENT_PORT_ADD, [TELL_NAME] = EVENT_PORT_NAME, [TELL_OPEN] = EVENT_PORT_OPEN};
    struct virtio_port *port = &console->named[index];
    struct virtqueue *queue = queue_of(console, QUEUE_TO_DRIVER);
    const unsigned bit = port->messages & -(unsigned)port->messages;
    const struct virtio_console_message message = {.port = index + 1, .event = events[bit], .value = 1};
    uint8_t bytes[sizeof(message) + VIRTIO_PORT_NAME_MAX];
    const size_t name = bit == TELL_NAME ? strlen(port->name) : 0;
    assert(name <= VIRTIO_PORT_NAME_MAX);
    if (!virtio_console_take(console, QUEUE_TO_DRIVER, &console->chain, sizeof(message) + name)) {
        return false;
    }
    memcpy(bytes, &message, sizeof(message));
    memcpy(bytes + sizeof(message), port->name, name);
    port->messages &= (uint8_t)~bit;
    virtqueue_write(queue, &console->chain, 0, bytes, sizeof(message) + name);
    virtqueue_give(queue, &console->chain, (uint32_t)(sizeof(message) + name));
    return true;
}

bool virtio_ports_tell(struct virtio_console *console)
{
    uint32_t left = STEP_SEGMENTS;
    for (uint32_t n = 0; n < console->named_count; n++) {
        while (console->named[n].messages != 0) {
            if (left == 0) {
                return true;
            }
            if (!virtio_device_works(&console->virtio, QUEUE_TO_DRIVER) || !tell(console, n)) {
                return false;
            }
            use(&left, console);
        }
    }
    return false;
}

void virtio_ports_reset(struct virtio_console *console)
{
    for (uint32_t n = 0; n < console->named_count; n++) {
        console->named[n].messages = 0;
        set_open(console, &console->named[n], false);
        console->named[n].discard = 0;
        console->named[n].closed = false;
    }
}
