/* SPDX-License-Identifier: MIT
 *
 * A virtio console (virtio 1.2, 5.3): port 0 is the capsule's console, if there is one behind it; the others have names
 * and are for whoever finds them by those (virtio_ports.c).
 *
 * Unlike other devices it has news that no driver asked for: input, and room for output that had none. Those come by
 * virtio_console_notify, on whichever hart has them, in bounded steps. From when the driver opens the port until it
 * closes it or resets the device, the capsule's input goes here and not to the UART.
 */
#ifndef DEVICE_VIRTIO_CONSOLE_H
#define DEVICE_VIRTIO_CONSOLE_H

#include "core/console.h"
#include "device/virtio_mmio.h"

enum {
    VIRTIO_CONSOLE_STEP = 256,   /* bytes moved at once */
    VIRTIO_PORT_STEP = 1024,     /* likewise through a port with a name */
    VIRTIO_CONSOLE_SYSRQ = 0x0f, /* what a BREAK becomes: Linux's hvc takes Ctrl-O for it */
    VIRTIO_PORTS_MAX = 8,        /* with names */
    VIRTIO_PORT_NAME_MAX = 31,   /* characters */
    VIRTIO_CONSOLE_QUEUES = 4 + 2 * VIRTIO_PORTS_MAX,
};

struct virtio_port;

/* What is behind a port with a name: a stream of bytes in each direction. Any hart, with the device's lock held. */
struct virtio_port_ops {
    /* The driver has sent these: how many are taken. The others are offered again after virtio_ports_go_on. */
    size_t (*take)(struct virtio_port *port, const uint8_t *bytes, size_t length);
    /* The next bytes for the driver, room of them at most; 0: there are none until virtio_ports_go_on. */
    size_t (*give)(struct virtio_port *port, uint8_t *bytes, size_t room);
    /* Somebody has opened it in the guest, or closed it, which a reset does too. */
    void (*opened)(struct virtio_port *port, bool open);
};

struct virtio_port {
    const char *name; /* at most VIRTIO_PORT_NAME_MAX characters */
    const struct virtio_port_ops *ops;
    uint32_t index; /* in its console's array; set by virtio_console_init */
    /* The device's lock guards these: */
    uint8_t messages; /* that wait for a buffer of the control queue */
    bool open;
    uint64_t sent;    /* bytes of the next chain of its output queue that have been taken */
    bool closed;      /* that queue is to be cleared */
    uint32_t discard; /* its chains that were sent by whoever had the port open before */
};

struct virtio_console {
    struct virtio_device virtio;
    struct virtqueue queues[VIRTIO_CONSOLE_QUEUES];
    struct console_port *port; /* NULL: there is no port 0 */
    struct virtio_port *named; /* ports 1 … named_count */
    uint32_t named_count;
    uint8_t *step; /* VIRTIO_PORT_STEP bytes on their way through one of those; the device's lock guards them */
    uint8_t config[12];

    /* The device's lock guards these: */
    uint32_t messages; /* that wait for a buffer of the control queue: bit n for event n */
    bool sending;      /* output is a chain of which sent bytes are with the port */
    uint64_t sent;
    struct virtqueue_chain output;
    struct virtqueue_chain chain; /* any other */
};

/* named: VIRTIO_PORTS_MAX ports whose name and ops are set, and step their VIRTIO_PORT_STEP bytes; or both NULL. */
void virtio_console_init(struct virtio_console *console, gpa_t base, const struct capsule *capsule, struct irq_line irq,
                         struct console_port *port, struct virtio_port *named, uint8_t *step);
/* The port has input, or room again for output that it refused. Any hart, no lock held. */
void virtio_console_notify(struct virtio_console *console);
/* A port with a name can take bytes again, or has some: a bounded number of steps. True: there may be more to do, and
 * nobody else will see to it. Any hart, no lock held. */
[[nodiscard]] bool virtio_ports_go_on(struct virtio_console *console, struct virtio_port *port);

/* --- between virtio_console.c and virtio_ports.c; the device's lock is held -------------------------------------- */

enum virtio_console_queue { QUEUE_INPUT, QUEUE_OUTPUT, QUEUE_TO_DRIVER, QUEUE_FROM_DRIVER, QUEUE_NAMED };
enum virtio_console_event {
    EVENT_DEVICE_READY = 0,
    EVENT_PORT_ADD = 1,
    EVENT_PORT_READY = 3,
    EVENT_CONSOLE_PORT = 4,
    EVENT_PORT_OPEN = 6,
    EVENT_PORT_NAME = 7,
};
struct virtio_console_message {
    uint32_t port;
    uint16_t event; /* enum virtio_console_event */
    uint16_t value;
};

/* The next chain of a queue whose buffers go the one way alone and have so many bytes at least; false: there is none,
 * or the driver broke a rule. */
bool virtio_console_take(struct virtio_console *console, unsigned number, struct virtqueue_chain *chain,
                         uint64_t least);
/* One step of work on a queue from QUEUE_NAMED on; true: there is more. */
bool virtio_ports_work(struct virtio_console *console, unsigned number);
void virtio_ports_hear(struct virtio_console *console, const struct virtio_console_message *message);
/* Sends messages that wait, as far as there are buffers for them, a bounded number. True: there may be more. */
bool virtio_ports_tell(struct virtio_console *console);
/* Clears away what was sent through ports that are closed since, likewise. */
bool virtio_ports_discard(struct virtio_console *console);
void virtio_ports_reset(struct virtio_console *console);

#endif
