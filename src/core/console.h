/* SPDX-License-Identifier: MIT
 *
 * A capsule's console port: one ring of output and one of input between whatever the guest writes to (UART, SBI)
 * and the operator's terminal. Never blocks: a full ring says so, and the writer finds another time.
 */
#ifndef CORE_CONSOLE_H
#define CORE_CONSOLE_H

#include "lib/base.h"
#include "lib/spinlock.h"

enum { CONSOLE_RING_SIZE = 4096 }; /* bytes, a power of two; one ring's capacity */

struct byte_ring {
    uint32_t head; /* counts bytes ever put */
    uint32_t tail; /* counts bytes ever taken */
    uint8_t bytes[CONSOLE_RING_SIZE];
};

static inline uint32_t byte_ring_used(const struct byte_ring *ring)
{
    return ring->head - ring->tail;
}

static inline uint32_t byte_ring_room(const struct byte_ring *ring)
{
    return CONSOLE_RING_SIZE - byte_ring_used(ring);
}

/* False if full / empty. */
bool byte_ring_put(struct byte_ring *ring, uint8_t byte);
bool byte_ring_take(struct byte_ring *ring, uint8_t *byte);

struct console_port {
    struct spinlock lock; /* guards both rings; innermost lock but the log's */
    struct byte_ring output;
    struct byte_ring input;
    bool output_was_full; /* a writer was refused and hasn't been told of room since */
    bool input_was_full;  /* the terminal was refused since the last read */

    /* Called with no lock held when input arrived or refused output found room again. NULL: nobody cares. */
    void (*notify)(void *receiver);
    void *receiver;

    /* Called after the guest wrote output (output true) or made room for refused input (output false), so that
     * the terminal moves bytes. May be called with a device's lock held. */
    void (*pump)(struct console_port *port, bool output);
    char label[32];
};

void console_port_init(struct console_port *port, const char *label);

/* The guest's side. put is false, and get −1, if nothing could be moved. write moves as many as fit. */
bool console_port_put(struct console_port *port, uint8_t byte);
size_t console_port_write(struct console_port *port, const uint8_t *bytes, size_t length);
int console_port_get(struct console_port *port);
bool console_port_has_input(struct console_port *port);
bool console_port_has_room(struct console_port *port); /* for output; remembers a refusal if not */

/* The terminal's side. drain takes up to length bytes of output; feed offers one byte of input. */
size_t console_port_drain(struct console_port *port, uint8_t *bytes, size_t length);
bool console_port_feed(struct console_port *port, uint8_t byte);
bool console_port_can_feed(struct console_port *port); /* remembers a refusal if not */
/* Tells the receiver that input arrived, or output found room; call with no lock held after drain and feed. */
void console_port_notify(struct console_port *port);

/* Forgets both rings' contents of input; output stays so that a dying guest's last words come out. */
void console_port_reset(struct console_port *port);

#endif
