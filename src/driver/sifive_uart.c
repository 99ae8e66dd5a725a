/* SPDX-License-Identifier: MIT
 *
 * SiFive's UART: 8-deep FIFOs, watermark interrupts, 32-bit registers.
 */
#include "arch/arch.h"
#include "driver/serial.h"

enum { TXDATA = 0x00, RXDATA = 0x04, TXCTRL = 0x08, RXCTRL = 0x0c, IE = 0x10 };
#define DATA_FLAG 0x80000000u /* txdata: full; rxdata: empty */
enum { CTRL_ENABLE = 1, TX_WATERMARK_1 = 1 << 16, IE_TRANSMIT = 1, IE_RECEIVE = 2 };

static void init(const struct machine_uart *uart)
{
    mmio_write32(uart->base + IE, 0);
    mmio_write32(uart->base + TXCTRL, CTRL_ENABLE | TX_WATERMARK_1);
    mmio_write32(uart->base + RXCTRL, CTRL_ENABLE); /* watermark 0: any byte interrupts */
}

static bool can_put(const struct machine_uart *uart)
{
    return (mmio_read32(uart->base + TXDATA) & DATA_FLAG) == 0;
}

static void put(const struct machine_uart *uart, uint8_t byte)
{
    mmio_write32(uart->base + TXDATA, byte);
}

static int get(const struct machine_uart *uart)
{
    uint32_t data = mmio_read32(uart->base + RXDATA);
    return (data & DATA_FLAG) != 0 ? -1 : (int)(data & 0xff);
}

static void interrupts(const struct machine_uart *uart, bool receive, bool transmit)
{
    mmio_write32(uart->base + IE, (receive ? (uint32_t)IE_RECEIVE : 0) | (transmit ? (uint32_t)IE_TRANSMIT : 0));
}

const struct serial_ops sifive_uart_ops = {
    .init = init,
    .can_put = can_put,
    .put = put,
    .get = get,
    .interrupts = interrupts,
};
