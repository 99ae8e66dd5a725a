/* SPDX-License-Identifier: MIT
 *
 * Control ports: see control_ports.h.
 */
#include "control/control_ports.h"

#include "lib/format.h"

static_assert((int)VIRTIO_PORTS_MAX == (int)DX_CONTROL_PORTS, "one session a port");

static struct session *session_of(struct virtio_port *port)
{
    struct control_console *control = CONTAINER_OF(port - port->index, struct control_console, ports[0]);
    return &control->sessions[port->index];
}

static size_t take(struct virtio_port *port, const uint8_t *bytes, size_t length)
{
    return session_take(session_of(port), bytes, length);
}

static size_t give(struct virtio_port *port, uint8_t *bytes, size_t room)
{
    return session_give(session_of(port), bytes, room);
}

static void opened(struct virtio_port *port, bool open)
{
    session_open(session_of(port), open);
}

static const struct virtio_port_ops port_ops = {.take = take, .give = give, .opened = opened};

static bool go_on(struct session *session)
{
    struct control_console *control = CONTAINER_OF(session - session->index, struct control_console, sessions[0]);
    return virtio_ports_go_on(&control->console, &control->ports[session->index]);
}

void control_console_init(struct control_console *control, gpa_t base, struct capsule *owner, struct irq_line irq,
                          struct console_port *port)
{
    for (uint32_t n = 0; n < VIRTIO_PORTS_MAX; n++) {
        (void)format(control->names[n], sizeof(control->names[n]), DX_CONTROL_PORT "%u", (unsigned)n);
        control->ports[n] = (struct virtio_port){.name = control->names[n], .ops = &port_ops};
        session_init(&control->sessions[n], n, owner, go_on);
    }
    virtio_console_init(&control->console, base, owner, irq, port, control->ports, control->step);
}

bool control_console_holds(struct control_console *control)
{
    for (uint32_t n = 0; n < VIRTIO_PORTS_MAX; n++) {
        if (session_holds(&control->sessions[n])) {
            return true;
        }
    }
    return false;
}

void control_console_end(struct control_console *control)
{
    for (uint32_t n = 0; n < VIRTIO_PORTS_MAX; n++) {
        session_end(&control->sessions[n]);
    }
}
