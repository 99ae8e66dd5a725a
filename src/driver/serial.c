/* SPDX-License-Identifier: MIT
 *
 * Which driver serves the host's serial port.
 */
#include "driver/serial.h"

#include "arch/arch.h"

enum { PUT_PATIENCE = 10000000 };

static const struct serial_ops *const drivers[] = {
    [MACHINE_UART_NS16550] = &ns16550_ops,
    [MACHINE_UART_SIFIVE] = &sifive_uart_ops,
};

static const struct serial_ops *ops;
static struct machine_uart port;

bool serial_init(const struct machine_uart *uart)
{
    if ((size_t)uart->kind >= ARRAY_LENGTH(drivers) || drivers[uart->kind] == NULL) {
        return false;
    }
    port = *uart;
    ops = drivers[uart->kind];
    ops->init(&port);
    return true;
}

bool serial_present(void)
{
    return ops != NULL;
}

bool serial_can_put(void)
{
    return ops != NULL && ops->can_put(&port);
}

void serial_put(uint8_t byte)
{
    ops->put(&port, byte);
}

int serial_get(void)
{
    return ops == NULL ? -1 : ops->get(&port);
}

void serial_interrupts(bool receive, bool transmit)
{
    if (ops != NULL) {
        ops->interrupts(&port, receive, transmit);
    }
}

void serial_put_wait(char byte)
{
    for (unsigned n = 0; n < PUT_PATIENCE && ops != NULL && !ops->can_put(&port); n++) {
        /* only before interrupts and in a panic */
    }
    if (ops != NULL) {
        ops->put(&port, (uint8_t)byte);
    }
}
