/* SPDX-License-Identifier: MIT
 *
 * A capsule's console port: two byte rings between the guest's devices and the operator's terminal, and the two
 * promises that keep bytes moving: a refused writer is told when there is room, a refused terminal when bytes
 * were read. Both are called with the port's lock released.
 */
#include "core/console.h"

#include <string.h>

static_assert((CONSOLE_RING_SIZE & (CONSOLE_RING_SIZE - 1)) == 0, "positions are taken modulo the size");

bool byte_ring_put(struct byte_ring *ring, uint8_t byte)
{
    if (byte_ring_room(ring) == 0) {
        return false;
    }
    ring->bytes[ring->head % CONSOLE_RING_SIZE] = byte;
    ring->head++;
    return true;
}

bool byte_ring_take(struct byte_ring *ring, uint8_t *byte)
{
    if (byte_ring_used(ring) == 0) {
        return false;
    }
    *byte = ring->bytes[ring->tail % CONSOLE_RING_SIZE];
    ring->tail++;
    return true;
}

void console_port_init(struct console_port *port, const char *label)
{
    memset(port, 0, sizeof(*port));
    memcpy(port->label, label, strnlen(label, sizeof(port->label) - 1));
}

static void pump(struct console_port *port, bool output)
{
    if (port->pump != NULL) {
        port->pump(port, output);
    }
}

bool console_port_put(struct console_port *port, uint8_t byte)
{
    return console_port_write(port, &byte, 1) == 1;
}

size_t console_port_write(struct console_port *port, const uint8_t *bytes, size_t length)
{
    size_t done = 0;

    spinlock_take(&port->lock);
    while (done < length && byte_ring_put(&port->output, bytes[done])) {
        done++;
    }
    if (done < length) {
        port->output_was_full = true;
    }
    spinlock_release(&port->lock);

    if (done > 0) {
        pump(port, true);
    }
    return done;
}

int console_port_get(struct console_port *port)
{
    uint8_t byte = 0;
    bool taken;
    bool terminal_waits;

    spinlock_take(&port->lock);
    taken = byte_ring_take(&port->input, &byte);
    terminal_waits = taken && port->input_was_full;
    if (terminal_waits) {
        port->input_was_full = false;
    }
    spinlock_release(&port->lock);

    if (terminal_waits) {
        pump(port, false);
    }
    return taken ? byte : -1;
}

bool console_port_has_input(struct console_port *port)
{
    bool has;

    spinlock_take(&port->lock);
    has = byte_ring_used(&port->input) > 0;
    spinlock_release(&port->lock);
    return has;
}

bool console_port_has_room(struct console_port *port)
{
    bool has;

    spinlock_take(&port->lock);
    has = byte_ring_room(&port->output) > 0;
    if (!has) {
        port->output_was_full = true;
    }
    spinlock_release(&port->lock);
    return has;
}

size_t console_port_drain(struct console_port *port, uint8_t *bytes, size_t length)
{
    size_t done = 0;

    spinlock_take(&port->lock);
    while (done < length && byte_ring_take(&port->output, &bytes[done])) {
        done++;
    }
    spinlock_release(&port->lock);
    return done;
}

bool console_port_feed(struct console_port *port, uint8_t byte)
{
    bool fed;

    spinlock_take(&port->lock);
    fed = byte_ring_put(&port->input, byte);
    if (!fed) {
        port->input_was_full = true;
    }
    spinlock_release(&port->lock);
    return fed;
}

bool console_port_can_feed(struct console_port *port)
{
    bool can;

    spinlock_take(&port->lock);
    can = byte_ring_room(&port->input) > 0;
    if (!can) {
        port->input_was_full = true;
    }
    spinlock_release(&port->lock);
    return can;
}

void console_port_notify(struct console_port *port)
{
    bool tell;

    /* The refusal is forgotten only when the receiver is really told, so none is lost between drain and notify. */
    spinlock_take(&port->lock);
    tell = byte_ring_used(&port->input) > 0;
    if (port->output_was_full && byte_ring_room(&port->output) > 0) {
        port->output_was_full = false;
        tell = true;
    }
    spinlock_release(&port->lock);

    if (tell && port->notify != NULL) {
        port->notify(port->receiver);
    }
}

void console_port_reset(struct console_port *port)
{
    bool terminal_waits;

    spinlock_take(&port->lock);
    port->input.tail = port->input.head;
    terminal_waits = port->input_was_full;
    port->input_was_full = false;
    spinlock_release(&port->lock);

    if (terminal_waits) {
        pump(port, false);
    }
}
