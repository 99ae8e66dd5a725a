/* SPDX-License-Identifier: MIT
 *
 * The capsule's serial port: a 16550A whose line is the capsule's console port. There is no baud rate: a byte is sent
 * as soon as the port has room, and input waits in the port's ring, so none is overrun. But a driver that sends by
 * interrupts is let rest: see send_burst. A BREAK from the terminal arrives in its place among the bytes, as LSR.BI
 * with a byte 0.
 */
#ifndef DEVICE_UART16550_H
#define DEVICE_UART16550_H

#include "core/console.h"
#include "core/device.h"
#include "core/timer.h"

enum {
    UART16550_WINDOW_SIZE = 0x100,
    UART16550_FIFO_SIZE = 16,
    UART16550_CLOCK = 3686400, /* Hz, for the tree: guests compute a divisor from it */
};

struct uart_fifo {
    uint8_t bytes[UART16550_FIFO_SIZE];
    uint8_t first;
    uint8_t count;
};

struct uart16550 {
    struct device device;
    struct console_port *port;
    struct irq_line irq;

    /* device.lock guards these: */
    uint8_t ier, lcr, mcr, scratch, divisor_low, divisor_high;
    uint8_t msr_deltas; /* modem lines that changed since MSR was read */
    bool fifo_enabled;
    bool thre_interrupt; /* the transmitter has emptied since IIR last said so */
    bool resting;        /* until the timer fires it does not tell that it is empty */
    uint8_t burst;       /* bytes sent since the last rest, from this time on: */
    uint64_t burst_from;
    struct timer rest;
    bool overrun;             /* a looped-back byte found no place */
    bool line;                /* as last driven; most accesses don't change it and needn't trouble the PLIC */
    struct uart_fifo sending; /* what the port had no room for */
    struct uart_fifo looped;  /* received in loopback mode */
};

/* Makes itself the port's receiver. The port must outlive the UART. */
void uart16550_init(struct uart16550 *uart, gpa_t base, struct console_port *port, struct irq_line irq);

/* Input arrived at the port, or refused output found room; fits console_port.notify, with the struct uart16550 as
 * the receiver. Takes the device's lock. */
void uart16550_notify(void *receiver);

/* No vCPU of its capsule is running: takes back its timer. What the timer may be doing on another hart needs the UART.
 */
void uart16550_silence(struct uart16550 *uart);

#endif
