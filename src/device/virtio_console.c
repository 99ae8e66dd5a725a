/* SPDX-License-Identifier: MIT
 *
 * The console device: see virtio_console.h.
 */
#include "device/virtio_console.h"

#include <string.h>

#define F_MULTIPORT (UINT64_C(1) << 1)

enum { CONFIG_MAX_PORTS = 4 }; /* offset in struct virtio_console_config */
enum { STEP_MESSAGES = 16 };   /* a message in many segments counts as many */
/* So many steps are made at once where no vCPU waits for its store: of input, and of output to a hidden port, which
 * takes all. */
enum { STEPS_INPUT = 8, STEPS_HIDDEN = 16 };

static_assert(sizeof(struct virtio_console_message) == 8, "as virtio has it in memory");

static struct virtio_console *console_of(struct virtio_device *virtio)
{
    return CONTAINER_OF(virtio, struct virtio_console, virtio);
}

static struct virtqueue *queue_of(struct virtio_console *console, unsigned number)
{
    return &console->virtio.queues[number];
}

static bool has_messages(const struct virtio_console *console)
{
    return virtio_device_has(&console->virtio, F_MULTIPORT);
}

/* The driver's end of the port. */
static bool is_open(const struct virtio_console *console)
{
    return console->port != NULL && atomic_load(&console->port->claimed);
}

bool virtio_console_take(struct virtio_console *console, unsigned number, struct virtqueue_chain *chain, uint64_t least)
{
    const bool to_driver = number % 2 == 0;
    const enum virtqueue_taken taken = virtqueue_take(queue_of(console, number), chain);
    if (taken == QUEUE_EMPTY) {
        return false;
    }
    if (taken == QUEUE_BROKEN || (to_driver ? chain->readable : chain->writable) != 0 ||
        chain->readable + chain->writable < least) {
        virtio_device_break(&console->virtio);
        return false;
    }
    return true;
}

/* --- input ------------------------------------------------------------------------------------------------------ */

/* The port has some: as much of it as the chain has room for. */
static void fill(struct virtio_console *console, struct virtqueue *queue)
{
    uint8_t bytes[VIRTIO_CONSOLE_STEP];
    const size_t room = (size_t)MIN(console->chain.writable, (uint64_t)sizeof(bytes));
    size_t length = 0;
    while (length < room) {
        const int got = console_port_receive(console->port);
        if (got < 0) {
            break;
        }
        bytes[length++] = got == CONSOLE_BREAK ? VIRTIO_CONSOLE_SYSRQ : (uint8_t)got;
    }
    virtqueue_write(queue, &console->chain, 0, bytes, length);
    virtqueue_give(queue, &console->chain, (uint32_t)length);
}

/* True: there may be more input, and buffers for it. */
static bool input_work(struct virtio_console *console)
{
    if (!has_messages(console) && console->port != NULL) {
        console_port_claim(console->port, true); /* nobody will say so */
    }
    if (!is_open(console) || !console_port_has_input(console->port) ||
        !virtio_console_take(console, QUEUE_INPUT, &console->chain, 0)) {
        return false;
    }
    fill(console, queue_of(console, QUEUE_INPUT));
    return true;
}

/* True: there is still more. */
static bool take_all_input(struct virtio_console *console)
{
    unsigned n = 0;
    while (n < STEPS_INPUT && virtio_device_works(&console->virtio, QUEUE_INPUT) && input_work(console)) {
        n++;
    }
    return n == STEPS_INPUT;
}

/* --- output ----------------------------------------------------------------------------------------------------- */

/* The next chain, if the last one is done; false: there is none. */
static bool begin_output(struct virtio_console *console)
{
    if (!console->sending && virtio_console_take(console, QUEUE_OUTPUT, &console->output, 0)) {
        console->sending = true;
        console->sent = 0;
    }
    return console->sending;
}

/* False: there is nothing to send, or the port has no room, and will tell when it has. */
static bool output_work(struct virtio_console *console)
{
    struct virtqueue *queue = queue_of(console, QUEUE_OUTPUT);
    uint8_t bytes[VIRTIO_CONSOLE_STEP];
    if (console->port == NULL || !begin_output(console)) {
        return false;
    }
    const size_t length = (size_t)MIN(console->output.readable - console->sent, (uint64_t)sizeof(bytes));
    virtqueue_read(queue, &console->output, console->sent, bytes, length);
    const size_t moved = console_port_write(console->port, bytes, length);
    console->sent += moved;
    if (console->sent == console->output.readable) {
        virtqueue_give(queue, &console->output, 0);
        console->sending = false;
    }
    return moved == length;
}

/* --- control ---------------------------------------------------------------------------------------------------- */

/* In the order of their numbers, which is the one that drivers expect. */
static bool tell_driver(struct virtio_console *console)
{
    struct virtqueue *queue = queue_of(console, QUEUE_TO_DRIVER);
    while (console->messages != 0 && virtio_device_works(&console->virtio, QUEUE_TO_DRIVER)) {
        const unsigned event = (unsigned)__builtin_ctz(console->messages);
        const struct virtio_console_message message = {.port = 0, .event = (uint16_t)event, .value = 1};
        if (!virtio_console_take(console, QUEUE_TO_DRIVER, &console->chain, sizeof(message))) {
            return false;
        }
        console->messages &= console->messages - 1;
        virtqueue_write(queue, &console->chain, 0, &message, sizeof(message));
        virtqueue_give(queue, &console->chain, sizeof(message));
    }
    return virtio_ports_tell(console);
}

static void on_message(struct virtio_console *console, const struct virtio_console_message *message)
{
    virtio_ports_hear(console, message);
    if (console->port == NULL) {
        return;
    }
    if (message->event == EVENT_DEVICE_READY && message->value == 1) {
        console->messages |= 1U << EVENT_PORT_ADD;
    } else if (message->port != 0) {
        return; /* one with a name, or none */
    } else if (message->event == EVENT_PORT_READY && message->value == 1) {
        console->messages |= 1U << EVENT_CONSOLE_PORT | 1U << EVENT_PORT_OPEN;
    } else if (message->event == EVENT_PORT_OPEN) {
        console_port_claim(console->port, message->value != 0);
    }
}

static bool hear_driver(struct virtio_console *console)
{
    struct virtqueue *queue = queue_of(console, QUEUE_FROM_DRIVER);
    unsigned heard = 0;
    for (struct virtio_console_message message; heard < STEP_MESSAGES; heard += console->chain.count) {
        if (!virtio_console_take(console, QUEUE_FROM_DRIVER, &console->chain, sizeof(message))) {
            break;
        }
        virtqueue_read(queue, &console->chain, 0, &message, sizeof(message));
        virtqueue_give(queue, &console->chain, 0);
        on_message(console, &message);
    }
    bool more = heard >= STEP_MESSAGES;
    more |= tell_driver(console);
    more |= virtio_ports_discard(console);
    if (is_open(console)) {
        (void)take_all_input(console);
    }
    return more;
}

/* --- the device ------------------------------------------------------------------------------------------------- */

static bool console_work(struct virtio_device *virtio, struct virtqueue *queue)
{
    struct virtio_console *console = console_of(virtio);
    const unsigned number = (unsigned)(queue - virtio->queues);
    if (number >= QUEUE_TO_DRIVER && !has_messages(console)) {
        return false;
    }
    if (number >= QUEUE_NAMED) {
        return virtio_ports_work(console, number);
    }
    switch (number) {
    case QUEUE_INPUT:
        return input_work(console);
    case QUEUE_OUTPUT:
        return output_work(console);
    case QUEUE_TO_DRIVER:
        return tell_driver(console);
    default:
        return hear_driver(console);
    }
}

static void console_reset(struct virtio_device *virtio)
{
    struct virtio_console *console = console_of(virtio);
    console->sending = false;
    console->messages = 0;
    if (console->port != NULL) {
        console_port_claim(console->port, false);
    }
    virtio_ports_reset(console);
}

static const struct virtio_device_ops console_ops = {
    .name = "virtio_console",
    .id = VIRTIO_ID_CONSOLE,
    .queue_count = QUEUE_NAMED,
    .work = console_work,
    .reset = console_reset,
};
static const struct virtio_device_ops named_ops = {
    .name = "virtio_console",
    .id = VIRTIO_ID_CONSOLE,
    .queue_count = VIRTIO_CONSOLE_QUEUES,
    .work = console_work,
    .reset = console_reset,
};

void virtio_console_init(struct virtio_console *console, gpa_t base, const struct capsule *capsule, struct irq_line irq,
                         struct console_port *port, struct virtio_port *named, uint8_t *step)
{
    const uint32_t ports = named != NULL ? 1 + VIRTIO_PORTS_MAX : 1;
    memset(console, 0, sizeof(*console));
    virtio_device_init(&console->virtio, named != NULL ? &named_ops : &console_ops, console->queues, base, capsule, irq,
                       F_MULTIPORT);
    memcpy(console->config + CONFIG_MAX_PORTS, &ports, sizeof(ports));
    console->virtio.config = console->config;
    console->virtio.config_size = sizeof(console->config);
    console->port = port;
    console->named = named;
    console->step = step;
    console->named_count = ports - 1;
    for (uint32_t n = 0; n < console->named_count; n++) {
        named[n].index = n;
    }
}

/* A step; more of them if nobody looks, since then nothing is drained. Whoever drains the port after a step tells of
 * room once more: it is asked for that before the step. True: nobody will, and there is more. */
static bool go_on_sending(struct virtio_console *console)
{
    unsigned n = 0;
    while (n < STEPS_HIDDEN && begin_output(console)) {
        const bool shown = atomic_load(&console->port->shown);
        console_port_ask_for_room(console->port);
        if (!output_work(console) || shown) {
            return false;
        }
        n++;
    }
    return n == STEPS_HIDDEN;
}

void virtio_console_notify(struct virtio_console *console)
{
    struct virtio_device *virtio = &console->virtio;
    spinlock_take(&virtio->device.lock);
    bool more = is_open(console) && take_all_input(console);
    if (virtio_device_works(virtio, QUEUE_OUTPUT)) {
        more |= go_on_sending(console);
    }
    if (more) {
        atomic_store(&console->port->again, true);
    }
    virtio_device_interrupt(virtio);
    spinlock_release(&virtio->device.lock);
}
