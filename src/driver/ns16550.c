/* SPDX-License-Identifier: MIT
 *
 * The 16550 family of UARTs, byte- or word-wide registers.
 */
#include "arch/arch.h"
#include "driver/serial.h"

enum { RBR = 0, THR = 0, IER = 1, FCR = 2, IIR = 2, LCR = 3, MCR = 4, LSR = 5 };
enum {
    IER_RECEIVE = 1,
    IER_TRANSMIT = 2,
    FCR_ENABLE = 1,
    LCR_8N1 = 3,
    MCR_DTR_RTS_OUT2 = 0x0b,
    LSR_DR = 1,
    LSR_THRE = 0x20,
};

static uint64_t place(const struct machine_uart *uart, unsigned reg)
{
    return uart->base + ((uint64_t)reg << uart->reg_shift);
}

static uint8_t read(const struct machine_uart *uart, unsigned reg)
{
    return uart->reg_io_width == 4 ? (uint8_t)mmio_read32(place(uart, reg)) : mmio_read8(place(uart, reg));
}

static void write(const struct machine_uart *uart, unsigned reg, uint8_t value)
{
    if (uart->reg_io_width == 4) {
        mmio_write32(place(uart, reg), value);
    } else {
        mmio_write8(place(uart, reg), value);
    }
}

static void init(const struct machine_uart *uart)
{
    write(uart, IER, 0);
    write(uart, LCR, LCR_8N1);
    write(uart, FCR, FCR_ENABLE);
    write(uart, MCR, MCR_DTR_RTS_OUT2);
}

static bool can_put(const struct machine_uart *uart)
{
    return (read(uart, LSR) & LSR_THRE) != 0;
}

static void put(const struct machine_uart *uart, uint8_t byte)
{
    write(uart, THR, byte);
}

static int get(const struct machine_uart *uart)
{
    return (read(uart, LSR) & LSR_DR) != 0 ? read(uart, RBR) : -1;
}

static void interrupts(const struct machine_uart *uart, bool receive, bool transmit)
{
    write(uart, IER, (uint8_t)((receive ? IER_RECEIVE : 0) | (transmit ? IER_TRANSMIT : 0)));
    if (!transmit) {
        /* DesignWare parts hold a stale indication until it is read. Not if the transmitter's interrupt is wanted:
         * reading takes it back, and it doesn't come again while there is nothing to send. */
        (void)read(uart, IIR);
    }
}

const struct serial_ops ns16550_ops = {
    .init = init,
    .can_put = can_put,
    .put = put,
    .get = get,
    .interrupts = interrupts,
};
