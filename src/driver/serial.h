/* SPDX-License-Identifier: MIT
 *
 * The host's serial port behind one small interface. No function waits, but for serial_put_wait, which is for early
 * boot and panics only.
 */
#ifndef DRIVER_SERIAL_H
#define DRIVER_SERIAL_H

#include "core/machine.h"

/* A kind of UART: its register ends. */
struct serial_ops {
    void (*init)(const struct machine_uart *uart); /* interrupts off; the loader's speed is kept */
    bool (*can_put)(const struct machine_uart *uart);
    void (*put)(const struct machine_uart *uart, uint8_t byte);
    int (*get)(const struct machine_uart *uart); /* −1: nothing received */
    void (*interrupts)(const struct machine_uart *uart, bool receive, bool transmit);
};

extern const struct serial_ops ns16550_ops;
extern const struct serial_ops sifive_uart_ops;

/* Chooses the driver for this UART and initialises it. False if none fits. */
bool serial_init(const struct machine_uart *uart);
bool serial_present(void);
bool serial_can_put(void);
void serial_put(uint8_t byte);
int serial_get(void);
void serial_interrupts(bool receive, bool transmit);
void serial_put_wait(char byte);

#endif
