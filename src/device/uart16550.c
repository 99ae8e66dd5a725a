/* SPDX-License-Identifier: MIT
 *
 * The 16550A's model. Drivers find out what a UART is by poking at it, so the odd corners (loopback, the transmitter
 * interrupt that comes back when it is enabled again, bits that must read 0) are as the chip has them.
 */
#include "device/uart16550.h"

#include <string.h>

#include "core/hart.h"
#include "device/tree_node.h"

enum { IER_RDI = 1 << 0, IER_THRI = 1 << 1, IER_RLSI = 1 << 2, IER_MSI = 1 << 3, IER_MASK = 0x0f };
enum {
    IIR_RLSI = 6,
    IIR_RDI = 4,
    IIR_THRI = 2,
    IIR_MSI = 0,
    IIR_NONE = 1,
    IIR_FIFO = 0xc0,
};
enum { FCR_ENABLE = 1 << 0, FCR_CLEAR_RECEIVER = 1 << 1, FCR_CLEAR_TRANSMITTER = 1 << 2 };
enum { LCR_DLAB = 1 << 7 };
enum { MCR_DTR = 1 << 0, MCR_RTS = 1 << 1, MCR_OUT1 = 1 << 2, MCR_OUT2 = 1 << 3, MCR_LOOP = 1 << 4, MCR_MASK = 0x1f };
enum { LSR_DR = 1 << 0, LSR_OE = 1 << 1, LSR_BI = 1 << 4, LSR_THRE = 1 << 5, LSR_TEMT = 1 << 6 };
enum { MSR_CTS = 1 << 4, MSR_DSR = 1 << 5, MSR_RI = 1 << 6, MSR_DCD = 1 << 7, MSR_DELTA_SHIFT = 4 };
enum { DIVISOR_AT_RESET = 24 }; /* 9600 baud */
enum { BURST = 8 * UART16550_FIFO_SIZE, REST_SHARE = 8, RESTS_PER_SECOND = 200 };

static struct uart16550 *uart_of(struct device *device)
{
    return CONTAINER_OF(device, struct uart16550, device);
}

static bool fifo_put(struct uart_fifo *fifo, uint8_t byte, unsigned depth)
{
    if (fifo->count >= depth) {
        return false;
    }
    fifo->bytes[(fifo->first + fifo->count) % UART16550_FIFO_SIZE] = byte;
    fifo->count++;
    return true;
}

static void fifo_drop_first(struct uart_fifo *fifo)
{
    fifo->first = (uint8_t)((fifo->first + 1) % UART16550_FIFO_SIZE);
    fifo->count--;
}

static unsigned fifo_depth(const struct uart16550 *uart)
{
    return uart->fifo_enabled ? UART16550_FIFO_SIZE : 1;
}

static bool in_loopback(const struct uart16550 *uart)
{
    return (uart->mcr & MCR_LOOP) != 0;
}

/* What RBR holds. Bytes that were looped back come first, even after loopback ended; in loopback the line is cut off. A
 * BREAK is a byte 0 like others, but LSR says once, when it is its turn to be read, what it was. */
static enum console_next received(const struct uart16550 *uart)
{
    if (uart->looped.count > 0) {
        return CONSOLE_NEXT_BYTE;
    }
    return in_loopback(uart) ? CONSOLE_NEXT_NOTHING : console_port_line_next(uart->port);
}

/* The modem lines as MSR shows them: a terminal that is always there, or in loopback the UART's own outputs. */
static uint8_t modem_lines(const struct uart16550 *uart)
{
    if (!in_loopback(uart)) {
        return MSR_CTS | MSR_DSR | MSR_DCD;
    }
    return (uint8_t)(((uart->mcr & MCR_RTS) != 0 ? MSR_CTS : 0) | ((uart->mcr & MCR_DTR) != 0 ? MSR_DSR : 0) |
                     ((uart->mcr & MCR_OUT1) != 0 ? MSR_RI : 0) | ((uart->mcr & MCR_OUT2) != 0 ? MSR_DCD : 0));
}

/* The most urgent interrupt that is both there and enabled. */
static uint8_t interrupt_id(const struct uart16550 *uart)
{
    enum console_next next = received(uart);

    if ((uart->ier & IER_RLSI) != 0 && (uart->overrun || next == CONSOLE_NEXT_BREAK)) {
        return IIR_RLSI;
    }
    if ((uart->ier & IER_RDI) != 0 && next != CONSOLE_NEXT_NOTHING) {
        return IIR_RDI;
    }
    if ((uart->ier & IER_THRI) != 0 && uart->thre_interrupt) {
        return IIR_THRI;
    }
    if ((uart->ier & IER_MSI) != 0 && uart->msr_deltas != 0) {
        return IIR_MSI;
    }
    return IIR_NONE;
}

static void update_line(struct uart16550 *uart)
{
    bool level = interrupt_id(uart) != IIR_NONE;

    if (level != uart->line) {
        uart->line = level;
        irq_line_set(&uart->irq, level);
    }
}

/* Asks for the interrupt if there is something to tell. */
static void tell_empty(struct uart16550 *uart)
{
    uart->thre_interrupt = uart->sending.count == 0 && !uart->resting;
}

/* Moves what waits to the port. A port that refused calls uart16550_notify when it has room again. */
static void send_waiting(struct uart16550 *uart)
{
    while (uart->sending.count > 0 && console_port_put(uart->port, uart->sending.bytes[uart->sending.first])) {
        fifo_drop_first(&uart->sending);
        tell_empty(uart);
    }
}

void uart16550_notify(void *receiver)
{
    struct uart16550 *uart = receiver;

    spinlock_take(&uart->device.lock);
    send_waiting(uart);
    update_line(uart);
    spinlock_release(&uart->device.lock);
}

static void end_rest(struct uart16550 *uart)
{
    if (uart->resting) {
        uart->resting = false;
        uart->burst = 0;
        tell_empty(uart);
    }
}

static void rest_is_over(struct timer *timer)
{
    struct uart16550 *uart = CONTAINER_OF(timer, struct uart16550, rest);

    spinlock_take(&uart->device.lock);
    end_rest(uart);
    update_line(uart);
    spinlock_release(&uart->device.lock);
}

static void begin_rest(struct uart16550 *uart)
{
    const uint64_t now = clock_now();
    const uint64_t share = (now - uart->burst_from) / REST_SHARE;

    uart->resting = true;
    timer_cancel(&uart->rest);
    uart->rest.fire = rest_is_over;
    timer_arm(&hart_this()->timers, &uart->rest, now + MAX(MIN(share, clock_hz / RESTS_PER_SECOND), clock_rest()));
}

void uart16550_silence(struct uart16550 *uart)
{
    spinlock_take(&uart->device.lock);
    timer_cancel(&uart->rest);
    spinlock_release(&uart->device.lock);
}

/* A byte more is sent. A real line takes its time for each; with one that doesn't, a driver's interrupt handler that
 * goes on as long as the interrupt comes back never returns, while somebody else fills its buffer: no timer of that
 * vCPU is served, and Linux says that its processor is locked up. So after a burst the interrupt waits for a part of
 * the time that the burst took, whatever the machine's speed. LSR and drivers that poll it are as ever. */
static void send_burst(struct uart16550 *uart)
{
    if (uart->burst == 0) {
        uart->burst_from = clock_now();
    }
    uart->burst++;
    if (uart->burst == BURST) {
        uart->burst = 0;
        if ((uart->ier & IER_THRI) != 0) {
            begin_rest(uart);
        }
    }
}

/* Nothing that is looped back may reach the console. */
static void transmit(struct uart16550 *uart, uint8_t byte)
{
    uart->thre_interrupt = false;
    if (!in_loopback(uart)) {
        /* A guest that writes although THRE says no loses the byte, as on the chip. */
        fifo_put(&uart->sending, byte, fifo_depth(uart));
        send_burst(uart);
        send_waiting(uart);
        return;
    }
    if (!fifo_put(&uart->looped, byte, fifo_depth(uart))) {
        uart->overrun = true;
    }
    tell_empty(uart);
}

static uint8_t receive(struct uart16550 *uart)
{
    int byte = -1;

    if (uart->looped.count > 0) {
        byte = uart->looped.bytes[uart->looped.first];
        fifo_drop_first(&uart->looped);
    } else if (!in_loopback(uart)) {
        byte = console_port_line_receive(uart->port);
    }
    return byte < 0 || byte == CONSOLE_BREAK ? 0 : (uint8_t)byte;
}

/* What a chip's receiver would hold is lost; what is still on its way, which is the rest of the port's ring, isn't. */
static void clear_receiver(struct uart16550 *uart)
{
    uart->looped.count = 0;
    uart->overrun = false;
    for (unsigned i = 0; !in_loopback(uart) && i < UART16550_FIFO_SIZE; i++) {
        if (console_port_line_receive(uart->port) < 0) {
            break;
        }
    }
}

static void clear_transmitter(struct uart16550 *uart)
{
    end_rest(uart);
    if (uart->sending.count > 0) {
        uart->sending.count = 0;
        tell_empty(uart);
    }
}

/* Offset 0: the data register, or with DLAB the divisor's low half. */
static uint64_t data_read(struct device *device, uint32_t index)
{
    struct uart16550 *uart = uart_of(device);
    uint8_t byte;

    (void)index;
    if ((uart->lcr & LCR_DLAB) != 0) {
        return uart->divisor_low;
    }
    byte = receive(uart);
    update_line(uart);
    return byte;
}

static void data_write(struct device *device, uint32_t index, uint64_t value)
{
    struct uart16550 *uart = uart_of(device);

    (void)index;
    if ((uart->lcr & LCR_DLAB) != 0) {
        uart->divisor_low = (uint8_t)value;
        return;
    }
    transmit(uart, (uint8_t)value);
    update_line(uart);
}

/* Offset 1: which interrupts are enabled, or with DLAB the divisor's high half. */
static uint64_t ier_read(struct device *device, uint32_t index)
{
    const struct uart16550 *uart = uart_of(device);

    (void)index;
    return (uart->lcr & LCR_DLAB) != 0 ? uart->divisor_high : uart->ier;
}

static void ier_write(struct device *device, uint32_t index, uint64_t value)
{
    struct uart16550 *uart = uart_of(device);
    uint8_t changed;

    (void)index;
    if ((uart->lcr & LCR_DLAB) != 0) {
        uart->divisor_high = (uint8_t)value;
        return;
    }
    changed = (uint8_t)(uart->ier ^ (value & IER_MASK));
    uart->ier = (uint8_t)(value & IER_MASK);
    if ((changed & IER_THRI) != 0) {
        /* Enabling it again asks again: drivers start sending that way. Disabling it says that all is sent. */
        tell_empty(uart);
        uart->burst = 0;
    }
    update_line(uart);
}

/* Offset 2: reads say which interrupt, writes control the FIFOs, whatever DLAB is. */
static uint64_t iir_read(struct device *device, uint32_t index)
{
    struct uart16550 *uart = uart_of(device);
    uint8_t id = interrupt_id(uart);

    (void)index;
    if (id == IIR_THRI) {
        uart->thre_interrupt = false;
        update_line(uart);
    } else if (id == IIR_NONE && uart->line) {
        update_line(uart); /* the input has been claimed meanwhile */
    }
    return (uint64_t)(id | (uart->fifo_enabled ? IIR_FIFO : 0));
}

static void fcr_write(struct device *device, uint32_t index, uint64_t value)
{
    struct uart16550 *uart = uart_of(device);
    bool enable = (value & FCR_ENABLE) != 0;
    bool switched = enable != uart->fifo_enabled;

    (void)index;
    if (switched || (value & FCR_CLEAR_RECEIVER) != 0) {
        clear_receiver(uart);
    }
    if (switched || (value & FCR_CLEAR_TRANSMITTER) != 0) {
        clear_transmitter(uart);
    }
    uart->fifo_enabled = enable;
    update_line(uart);
}

static uint64_t lcr_read(struct device *device, uint32_t index)
{
    (void)index;
    return uart_of(device)->lcr;
}

static void lcr_write(struct device *device, uint32_t index, uint64_t value)
{
    (void)index;
    uart_of(device)->lcr = (uint8_t)value;
}

static uint64_t mcr_read(struct device *device, uint32_t index)
{
    (void)index;
    return uart_of(device)->mcr;
}

static void mcr_write(struct device *device, uint32_t index, uint64_t value)
{
    struct uart16550 *uart = uart_of(device);
    unsigned before = modem_lines(uart);
    unsigned after;
    unsigned told;

    (void)index;
    uart->mcr = (uint8_t)(value & MCR_MASK);
    after = modem_lines(uart);
    /* Every change is told, but the ring indicator's only when it ends. */
    told = (before ^ after) & ~(after & MSR_RI);
    uart->msr_deltas |= (uint8_t)(told >> MSR_DELTA_SHIFT);
    update_line(uart);
}

static uint64_t lsr_read(struct device *device, uint32_t index)
{
    struct uart16550 *uart = uart_of(device);
    unsigned status = uart->sending.count == 0 ? LSR_THRE | LSR_TEMT : 0;
    enum console_next next = received(uart);

    (void)index;
    if (next != CONSOLE_NEXT_NOTHING) {
        status |= LSR_DR;
    }
    if (uart->overrun) {
        status |= LSR_OE;
        uart->overrun = false;
    }
    if (next == CONSOLE_NEXT_BREAK) {
        status |= LSR_BI;
        console_port_line_tell_break(uart->port);
    }
    if ((status & (LSR_OE | LSR_BI)) != 0) {
        update_line(uart);
    }
    return status;
}

static uint64_t msr_read(struct device *device, uint32_t index)
{
    struct uart16550 *uart = uart_of(device);
    uint64_t status = (uint64_t)(modem_lines(uart) | uart->msr_deltas);

    (void)index;
    if (uart->msr_deltas != 0) {
        uart->msr_deltas = 0;
        update_line(uart);
    }
    return status;
}

static uint64_t scratch_read(struct device *device, uint32_t index)
{
    (void)index;
    return uart_of(device)->scratch;
}

static void scratch_write(struct device *device, uint32_t index, uint64_t value)
{
    (void)index;
    uart_of(device)->scratch = (uint8_t)value;
}

static void uart_reset(struct device *device)
{
    struct uart16550 *uart = uart_of(device);

    /* A dying guest's last words come out if there is room for them. */
    send_waiting(uart);
    memset(&uart->sending, 0, sizeof(uart->sending));
    memset(&uart->looped, 0, sizeof(uart->looped));
    uart->ier = 0;
    uart->lcr = 0;
    uart->mcr = 0;
    uart->scratch = 0;
    uart->divisor_low = DIVISOR_AT_RESET;
    uart->divisor_high = 0;
    uart->msr_deltas = 0;
    uart->fifo_enabled = false;
    uart->resting = false;
    uart->burst = 0;
    uart->thre_interrupt = true;
    uart->overrun = false;
    update_line(uart);
}

static int uart_describe(const struct device *device, void *tree, struct tree_context *context)
{
    static const char compatible[] = "ns16550a";
    const struct uart16550 *uart = (const struct uart16550 *)(const void *)device;
    struct tree_node node = {.tree = tree};

    tree_node_begin_device(&node, "serial", device);
    tree_node_strings(&node, "compatible", compatible, sizeof(compatible));
    tree_node_cell(&node, "clock-frequency", UART16550_CLOCK);
    tree_node_interrupt(&node, &uart->irq, context);
    tree_node_end(&node);
    return node.error;
}

static_assert(offsetof(struct uart16550, device) == 0, "uart_describe");

static const struct device_register registers[] = {
    {.name = "RBR/THR/DLL", .offset = 0, .width = 1, .access = REG_RW, .read = data_read, .write = data_write},
    {.name = "IER/DLM", .offset = 1, .width = 1, .access = REG_RW, .read = ier_read, .write = ier_write},
    {.name = "IIR/FCR", .offset = 2, .width = 1, .access = REG_RW, .read = iir_read, .write = fcr_write},
    {.name = "LCR", .offset = 3, .width = 1, .access = REG_RW, .read = lcr_read, .write = lcr_write},
    {.name = "MCR", .offset = 4, .width = 1, .access = REG_RW, .read = mcr_read, .write = mcr_write},
    {.name = "LSR", .offset = 5, .width = 1, .access = REG_R, .read = lsr_read},
    {.name = "MSR", .offset = 6, .width = 1, .access = REG_R, .read = msr_read},
    {.name = "SCR", .offset = 7, .width = 1, .access = REG_RW, .read = scratch_read, .write = scratch_write},
};

static const struct device_class uart_class = {
    .name = "uart16550",
    .registers = registers,
    .register_count = ARRAY_LENGTH(registers),
    .reset = uart_reset,
    .describe = uart_describe,
};

void uart16550_init(struct uart16550 *uart, gpa_t base, struct console_port *port, struct irq_line irq)
{
    memset(uart, 0, sizeof(*uart));
    uart->device.class = &uart_class;
    uart->device.window = (struct range){base.at, UART16550_WINDOW_SIZE};
    uart->port = port;
    uart->irq = irq;
    uart_reset(&uart->device);
    port->receiver = uart;
    port->notify = uart16550_notify;
}
