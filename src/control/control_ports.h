/* SPDX-License-Identifier: MIT
 *
 * A manager's control ports: sessions behind the named ports of its console device.
 */
#ifndef CONTROL_CONTROL_PORTS_H
#define CONTROL_CONTROL_PORTS_H

#include "control/session.h"
#include "device/virtio_console.h"

struct control_console {
    struct virtio_console console; /* first: it is given back as the device that this is */
    struct virtio_port ports[VIRTIO_PORTS_MAX];
    char names[VIRTIO_PORTS_MAX][VIRTIO_PORT_NAME_MAX + 1];
    struct session sessions[VIRTIO_PORTS_MAX];
    uint8_t step[VIRTIO_PORT_STEP];
};

/* The console device of a manager; port may be NULL. */
void control_console_init(struct control_console *control, gpa_t base, struct capsule *owner, struct irq_line irq,
                          struct console_port *port);
/* Whether memory is held for something that a client was sending. */
bool control_console_holds(struct control_console *control);
/* The device was reset and stays so; as session_end. */
void control_console_end(struct control_console *control);

#endif
