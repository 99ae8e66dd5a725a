/* SPDX-License-Identifier: MIT
 *
 * The serial port, as Linux's driver and less kind ones poke at it. What is sent appears in the output, in brackets.
 */
#include "devices.h"

enum { LSR_DR = 1, LSR_OE = 2, LSR_THRE = 0x20, LSR_TEMT = 0x40, LOOP = 0x10 };

bool uart_drained(void)
{
    uint64_t end = now() + milliseconds(1000);
    while ((uart_read(UART_LSR) & (LSR_THRE | LSR_TEMT)) != (LSR_THRE | LSR_TEMT)) {
        if (now() > end) {
            return false;
        }
    }
    return true;
}

static void reset(void)
{
    uart_write(UART_LCR, 3);
    uart_write(UART_IER, 0);
    uart_write(UART_MCR, 0);
    uart_write(UART_FCR, 7); /* on, both cleared */
    (void)uart_read(UART_LSR);
    (void)uart_read(UART_DATA);
    (void)uart_read(UART_MSR);
    (void)uart_read(UART_IIR);
}

static void detection(void)
{
    uart_write(UART_IER, 0);
    same("uart: IER takes 0", uart_read(UART_IER), 0);
    uart_write(UART_IER, 0x0f);
    same("uart: IER takes 0x0f", uart_read(UART_IER), 0x0f);
    uart_write(UART_IER, 0xff);
    differs(uart_read(UART_IER) == 0x0f, "uart: IER's high bits stay 0", (long)uart_read(UART_IER));
    uart_write(UART_IER, 0);
    uart_write(UART_MCR, LOOP | 0x0a);
    same("uart: loopback shows RTS and OUT2", uart_read(UART_MSR) & 0xf0, 0x90);
    uart_write(UART_MCR, LOOP | 0x05);
    same("uart: loopback shows DTR and OUT1", uart_read(UART_MSR) & 0xf0, 0x60);
    uart_write(UART_MCR, 0xff);
    same("uart: MCR's high bits stay 0", uart_read(UART_MCR) & 0xe0, 0);
    uart_write(UART_MCR, 0);
    same("uart: CTS, DSR and DCD are there", uart_read(UART_MSR) & 0xb0, 0xb0);
    (void)uart_read(UART_MSR);
    same("uart: deltas are over once read", uart_read(UART_MSR) & 0x0f, 0);
    uart_write(UART_FCR, 0);
    same("uart: no FIFO, no mark in IIR", uart_read(UART_IIR) & 0xc0, 0);
    uart_write(UART_FCR, 1);
    same("uart: FIFO, both marks in IIR", uart_read(UART_IIR) & 0xc0, 0xc0);
    uart_write(UART_LCR, 0x80);
    uart_write(UART_FCR, 0x21);
    uart_write(UART_LCR, 0);
    same("uart: no 64-byte FIFO", uart_read(UART_IIR) & 0x20, 0);
    uart_write(UART_LCR, 0xbf);
    uart_write(UART_FCR, 1); /* EFR, were there one */
    uart_write(UART_LCR, 3);
    check(uart_read(UART_LSR) != 0xff, "uart: LSR is not 0xff");
}

static void divisor(void)
{
    uart_write(UART_LCR, 0x83);
    uart_write(UART_DATA, 0x12);
    uart_write(UART_IER, 0x34);
    same("uart: divisor's low byte", uart_read(UART_DATA), 0x12);
    same("uart: divisor's high byte", uart_read(UART_IER), 0x34);
    uart_write(UART_LCR, 0x03);
    same("uart: IER is another register", uart_read(UART_IER), 0);
    same("uart: LCR keeps what it was given", uart_read(UART_LCR), 0x03);
    uart_write(UART_LCR, 0x83);
    uart_write(UART_DATA, 1);
    uart_write(UART_IER, 0);
    uart_write(UART_LCR, 0x03);
    for (unsigned long value = 0; value < 256; value++) {
        uart_write(UART_SCRATCH, value);
        case_check(uart_read(UART_SCRATCH) == value, "0x%lx", value);
    }
    cases_end("uart: scratch register");
    for (unsigned reg = 0; reg < 2000 && on_diosix; reg++) {
        uart_write(UART_LCR, reg & 1 ? 0x83 : 0x03); /* toggled again and again */
    }
    uart_write(UART_LCR, 3);
}

/* What is sent in loopback comes back and goes nowhere else; FIFOs hold 16. */
static void loopback(void)
{
    if (!on_diosix) {
        skip("uart: loopback data", "QEMU's own differs");
        return;
    }
    reset();
    uart_write(UART_MCR, LOOP);
    for (unsigned long i = 0; i < 16; i++) {
        uart_write(UART_DATA, 'A' + i);
    }
    same("uart: 16 bytes looped, no overrun", uart_read(UART_LSR) & (LSR_DR | LSR_OE), LSR_DR);
    uart_write(UART_DATA, 'x');
    same("uart: the 17th is an overrun", uart_read(UART_LSR) & (LSR_DR | LSR_OE), LSR_DR | LSR_OE);
    same("uart: which reading LSR ends", uart_read(UART_LSR) & LSR_OE, 0);
    for (unsigned long i = 0; i < 16; i++) {
        unsigned long byte = uart_read(UART_DATA);
        case_check(byte == 'A' + i, "byte %lu: 0x%lx", i, byte);
    }
    cases_end("uart: loopback gives back what was sent");
    same("uart: and then nothing", uart_read(UART_LSR) & LSR_DR, 0);
    uart_write(UART_DATA, 'y');
    uart_write(UART_FCR, 3);
    same("uart: clearing the receiver's FIFO", uart_read(UART_LSR) & LSR_DR, 0);
    uart_write(UART_DATA, 'z');
    uart_write(UART_IER, 1);
    same("uart: received data's interrupt in loopback", uart_read(UART_IIR) & 0x0f, 4);
    (void)uart_read(UART_DATA);
    same("uart: gone with the data", uart_read(UART_IIR) & 0x0f, 1);
    reset();
}

static void sending(void)
{
    static const char text[] = "# uart: [sent by the UART]\n";
    reset();
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        uint64_t end = now() + milliseconds(1000);
        while ((uart_read(UART_LSR) & LSR_THRE) == 0 && now() < end) {
        }
        uart_write(UART_DATA, (unsigned char)text[i]);
    }
    check(uart_drained(), "uart: the transmitter empties");
    static const char burst[] = "# uart: [burst";
    for (size_t i = 0; i < sizeof(burst) - 1; i++) {
        uart_write(UART_DATA, (unsigned char)burst[i]); /* without asking */
    }
    bool drained = uart_drained();
    uart_write(UART_DATA, ']');
    uart_write(UART_DATA, '\n');
    check(drained && uart_drained(), "uart: after a burst, too");
}

static void identification(void)
{
    reset();
    uart_write(UART_IER, 2);
    same("uart: THRI enabled with an empty transmitter interrupts", uart_read(UART_IIR) & 0x0f, 2);
    same("uart: reading IIR ends it", uart_read(UART_IIR) & 0x0f, 1);
    uart_write(UART_IER, 0);
    uart_write(UART_IER, 2);
    same("uart: enabling it again asks again", uart_read(UART_IIR) & 0x0f, 2);
    uart_write(UART_DATA, '#');
    uart_write(UART_DATA, '\n');
    (void)uart_drained();
    same("uart: sent bytes interrupt again", uart_read(UART_IIR) & 0x0f, 2);
    uart_write(UART_IER, 0);
    if (on_diosix) {
        uart_write(UART_IER, 0x0a); /* modem status and transmitter */
        uart_write(UART_MCR, LOOP);
        same("uart: the transmitter comes before the modem", uart_read(UART_IIR) & 0x0f, 2);
        same("uart: then the modem", uart_read(UART_IIR) & 0x0f, 0);
        (void)uart_read(UART_MSR);
        same("uart: then nothing", uart_read(UART_IIR) & 0x0f, 1);
    }
    reset();
}

void devices_uart(void)
{
    reset();
    detection();
    divisor();
    loopback();
    sending();
    identification();
    for (unsigned reg = 0; reg < 8; reg++) {
        for (unsigned width = 2; width <= sizeof(long) && on_diosix; width *= 2) {
            if (reg % width == 0) {
                struct trap load = try_load(uart + reg, width), store = try_store(uart + reg, width, ~0ul);
                case_check(!load.trapped && load.result == 0 && !store.trapped, "register %u, width %u: 0x%lx", reg,
                           width, load.result);
            }
        }
    }
    case_check(uart_read(UART_IER) == 0, "IER was written");
    cases_end("uart: other widths read 0 and write nothing");
    for (unsigned long offset = 8; offset < 256 && on_diosix; offset++) {
        struct trap load = try_load(uart + offset, 1);
        case_check(!load.trapped && load.result == 0, "offset 0x%lx: trapped %d, 0x%lx", offset, load.trapped,
                   load.result);
    }
    cases_end("uart: the rest of its window reads 0");
}

/* By interrupt: a text is sent by the handler, a byte each time. */
static const char *volatile interrupt_text;
static volatile unsigned long interrupts;

static bool send_next(struct hart *hart, unsigned long number)
{
    (void)hart;
    if (number != EXTERNAL) {
        return false;
    }
    unsigned long source = must_load(plic_claim(own_context()), 4);
    if (source == uart_irq && (uart_read(UART_IIR) & 0x0f) == 2) {
        interrupts++;
        if (*interrupt_text != 0) {
            uart_write(UART_DATA, (unsigned char)*interrupt_text);
            interrupt_text++;
        } else {
            uart_write(UART_IER, 0);
        }
    }
    if (source != 0) {
        must_store(plic_claim(own_context()), 4, source);
    }
    return true;
}

void devices_uart_interrupt(void)
{
    static const char text[] = "# uart: [sent by interrupts]\n";
    struct hart *hart = this_hart();
    reset();
    interrupts = 0;
    interrupt_text = text;
    must_store(plic + 4ul * uart_irq, 4, 1);
    must_store(plic_threshold(own_context()), 4, 0);
    must_store(plic_enable(own_context()), 4, BIT(uart_irq));
    hart->on_interrupt = send_next;
    csr_set(sie, BIT(EXTERNAL) | BIT(TIMER));
    csr_set(sstatus, STATUS_SIE);
    uart_write(UART_IER, 2);
    uint64_t end = now() + milliseconds(2000);
    sbi_set_timer(end);
    while (uart_read(UART_IER) != 0 && now() < end) {
        wait_for_interrupt();
    }
    csr_clear(sstatus, STATUS_SIE);
    csr_clear(sie, BIT(EXTERNAL) | BIT(TIMER));
    sbi_set_timer(~0ull);
    hart->on_interrupt = NULL;
    same("interrupt: one for each byte and one at the end", interrupts, sizeof(text));
    must_store(plic_enable(own_context()), 4, 0);
    reset();
}
