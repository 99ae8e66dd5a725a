/* SPDX-License-Identifier: MIT
 *
 * The serial port: what drivers look for when they probe one, interrupts and their priorities, back-pressure without
 * loss, loopback without leaks, and random accesses against what must always hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "core/hart.h"
#include "described.h"
#include "device/uart16550.h"
#include "fake_arch.h"
#include "support.h"

#define BASE UINT64_C(0x10000000)
#define SEED UINT64_C(0x75617274)

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };
enum { DR = 0x01, OE = 0x02, BI = 0x10, EMPTY = 0x60 };
enum { RDI = 1, THRI = 2, RLSI = 4, MSI = 8 };
enum { RANDOM_STEPS = 200000 };

static struct uart16550 uart;
static struct console_port port;
static bool level;
static unsigned line_calls;

static void on_line(void *controller, uint32_t source, bool to)
{
    assert_ptr_equal(controller, &level);
    assert_int_equal(source, 10);
    assert_true(uart.device.lock.next != uart.device.lock.serving);
    level = to;
    line_calls++;
}

static int setup(void **state)
{
    (void)state;
    level = false;
    console_port_init(&port, "test");
    console_port_show(&port, true);
    timer_cancel(&uart.rest);
    memset(&uart, 0xa5, sizeof(uart));
    uart16550_init(&uart, (gpa_t){BASE}, &port, (struct irq_line){on_line, &level, 10});
    line_calls = 0;
    return 0;
}

static uint8_t get(unsigned offset)
{
    return (uint8_t)device_read(&uart.device, (gpa_t){BASE + offset}, 1);
}

static void set(unsigned offset, unsigned value)
{
    device_write(&uart.device, (gpa_t){BASE + offset}, 1, value);
}

/* What came out since the last look, as text. */
static const char *output(void)
{
    static char text[CONSOLE_OUTPUT_SIZE + 1];

    text[console_port_drain(&port, (uint8_t *)text, CONSOLE_OUTPUT_SIZE)] = 0;
    return text;
}

static void type(const char *text)
{
    for (; *text != 0; text++) {
        assert_true(console_port_feed(&port, (uint8_t)*text));
    }
    console_port_notify(&port);
}

static void fill_port(void)
{
    while (console_port_has_room(&port)) {
        assert_true(console_port_put(&port, '.'));
    }
}

/* --- probing --- */

static void test_ier_bits(void **state)
{
    (void)state;
    set(IER, 0);
    assert_int_equal(get(IER), 0);
    set(IER, 0x0f);
    assert_int_equal(get(IER), 0x0f);
    set(IER, 0xff);
    assert_int_equal(get(IER), 0x0f);
}

static void test_loopback_lines(void **state)
{
    (void)state;
    assert_int_equal(get(MSR) & 0xf0, 0xb0);
    set(MCR, 0x1a);
    assert_int_equal(get(MSR) & 0xf0, 0x90);
    set(MCR, 0x15);
    assert_int_equal(get(MSR) & 0xf0, 0x60);
    set(MCR, 0xff);
    assert_int_equal(get(MCR), 0x1f);
    set(MCR, 0);
    assert_int_equal(get(MSR) & 0xf0, 0xb0);
}

static void test_fifo_bits_in_iir(void **state)
{
    (void)state;
    assert_int_equal(get(IIR), 0x01);
    set(FCR, 0x01);
    assert_int_equal(get(IIR), 0xc1);
    set(LCR, 0x80); /* a 16750 has bit 5 under DLAB */
    set(FCR, 0x21);
    assert_int_equal(get(IIR), 0xc1);
    set(LCR, 0xbf); /* with DLAB, offset 2 is still IIR and FCR: no enhanced register here */
    assert_int_equal(get(IIR), 0xc1);
    set(FCR, 0x10);
    assert_int_equal(get(IIR), 0x01);
    set(LCR, 0xe0);
    set(MCR, 0x10);
    assert_int_equal(get(IIR) & 0x10, 0);
}

static void test_divisor_latch(void **state)
{
    (void)state;
    set(IER, 0x05);
    set(LCR, 0x83);
    assert_int_equal(get(LCR), 0x83);
    assert_int_equal(get(DATA) | get(IER) << 8, 24); /* 9600 baud of the clock in the tree */
    set(DATA, 2);
    set(IER, 0x12);
    assert_int_equal(get(DATA), 2);
    assert_int_equal(get(IER), 0x12);
    set(LCR, 0x03);
    assert_int_equal(get(IER), 0x05);
    assert_string_equal(output(), "");
}

static void test_scratch_and_read_only(void **state)
{
    (void)state;
    set(SCR, 0xae);
    assert_int_equal(get(SCR), 0xae);
    set(LSR, 0xff);
    assert_int_equal(get(LSR), EMPTY);
    set(MSR, 0x0f);
    assert_int_equal(get(MSR), 0xb0);
}

static void test_fifo_size(void **state)
{
    unsigned count = 0;

    (void)state;
    set(FCR, 0x07);
    set(MCR, 0x10);
    for (unsigned i = 0; i < 256; i++) {
        set(DATA, i);
    }
    for (; (get(LSR) & DR) != 0; count++) {
        assert_int_equal(get(DATA), count);
    }
    assert_int_equal(count, 16);
    assert_string_equal(output(), "");
}

static void test_other_widths_and_offsets(void **state)
{
    (void)state;
    set(SCR, 0x5a);
    for (unsigned offset = 0; offset + 8 <= UART16550_WINDOW_SIZE; offset++) {
        for (unsigned width = 1; width <= 8; width *= 2) {
            if (width != 1 || offset > SCR) {
                device_write(&uart.device, (gpa_t){BASE + offset}, width, 0);
                assert_int_equal(device_read(&uart.device, (gpa_t){BASE + offset}, width), 0);
            }
        }
    }
    assert_int_equal(get(SCR), 0x5a);
    assert_string_equal(output(), "");
}

/* --- sending --- */

static void test_send(void **state)
{
    (void)state;
    for (const char *text = "hello"; *text != 0; text++) {
        assert_int_equal(get(LSR), EMPTY);
        set(DATA, (uint8_t)*text);
    }
    assert_string_equal(output(), "hello");
    assert_int_equal(line_calls, 0);
}

static void test_transmitter_interrupt(void **state)
{
    (void)state;
    set(IER, THRI); /* empty: at once */
    assert_true(level);
    assert_int_equal(get(IIR), 0x02);
    assert_false(level); /* reading it clears it */
    assert_int_equal(get(IIR), 0x01);
    set(IER, 0);
    set(IER, THRI); /* again */
    assert_true(level);
    assert_int_equal(get(IIR), 0x02);
    set(IER, THRI | RDI); /* not toggled: not again */
    assert_false(level);
    set(DATA, 'x'); /* sent at once, so empty again */
    assert_true(level);
    set(IER, 0);
    assert_false(level);
}

static void pass(uint64_t ticks)
{
    fake_arch.time += ticks;
    (void)timer_heap_run(&hart_this()->timers, fake_arch.time);
}

/* Sends so many bytes, each taking so many ticks. */
static void send_slowly(unsigned count, uint64_t ticks)
{
    for (unsigned n = 0; n < count; n++) {
        pass(ticks);
        set(DATA, '.');
    }
    (void)output();
}

/* Else a handler that goes on while the interrupt comes back would never return. */
static void test_rests_behind_a_burst(void **state)
{
    (void)state;
    clock_hz = 1000000;
    set(FCR, 1);
    set(IER, THRI);
    for (unsigned round = 0; round < 3; round++) {
        send_slowly(127, 10);
        assert_true(level);
        send_slowly(1, 10);
        assert_false(level);
        assert_int_equal(get(IIR), 0xc1);
        assert_int_equal(get(LSR) & EMPTY, EMPTY); /* who polls is not held up */
        pass(157);
        send_slowly(1, 0); /* who has polled may send */
        assert_false(level);
        set(IER, 0);
        set(IER, THRI); /* and nobody gets around it */
        assert_false(level);
        pass(2); /* 127 times 10 ticks, an eighth of that */
        assert_true(level);
        assert_int_equal(get(IIR), 0xc2);
        assert_null(hart_this()->timers.root);
    }
    clock_hz = 0;
}

static void test_rest_has_bounds(void **state)
{
    (void)state;
    clock_hz = 1000000;
    set(IER, THRI);
    send_slowly(128, 100000);
    assert_false(level);
    pass(5000);
    assert_true(level);
    send_slowly(128, 0);
    pass(50);
    assert_false(level);
    pass(1);
    assert_true(level);
    clock_hz = 0;
}

/* A driver that has nothing more to send takes the interrupt back: its next words come without delay. */
static void test_no_rest_between_words(void **state)
{
    (void)state;
    clock_hz = 1000000;
    for (unsigned n = 0; n < 10; n++) {
        set(IER, THRI);
        send_slowly(100, 10);
        assert_true(level);
        set(IER, 0);
    }
    assert_null(hart_this()->timers.root);
    clock_hz = 0;
}

/* What has not been told yet when the transmitter is cleared or the UART reset is told, or is no more; and who polls
 * never rests. */
static void test_rest_ends(void **state)
{
    (void)state;
    clock_hz = 1000000;
    send_slowly(1024, 10);
    assert_null(hart_this()->timers.root);
    set(FCR, 1);
    set(IER, THRI);
    send_slowly(128, 10);
    assert_false(level);
    set(FCR, 5);
    assert_true(level);
    send_slowly(128, 10);
    assert_false(level);
    uart16550_silence(&uart);
    assert_null(hart_this()->timers.root);
    pass(10000);
    assert_false(level);
    uart.device.class->reset(&uart.device);
    set(IER, THRI);
    assert_true(level);
    send_slowly(127, 10);
    assert_true(level);
    clock_hz = 0;
}

/* Emptied by the port only when the rest is over: then it is told, not before. */
static void test_rest_with_a_full_port(void **state)
{
    (void)state;
    clock_hz = 1000000;
    set(FCR, 1);
    set(IER, THRI);
    send_slowly(120, 10);
    fill_port();
    for (unsigned n = 0; n < 8; n++) {
        set(DATA, '.');
    }
    pass(5000);
    assert_false(level);
    (void)output();
    console_port_notify(&port);
    assert_true(level);
    clock_hz = 0;
}

static void test_back_pressure(void **state)
{
    (void)state;
    set(FCR, 1);
    set(IER, THRI);
    assert_int_equal(get(IIR), 0xc2);
    fill_port();
    for (unsigned i = 0; i < 16; i++) {
        set(DATA, 'a' + i);
    }
    assert_int_equal(get(LSR) & EMPTY, 0);
    assert_false(level);
    console_port_notify(&port); /* no room yet */
    assert_int_equal(get(LSR) & EMPTY, 0);

    uint8_t some[10];
    assert_int_equal(console_port_drain(&port, some, sizeof(some)), sizeof(some));
    console_port_notify(&port); /* room for a part */
    assert_int_equal(get(LSR) & EMPTY, 0);
    assert_false(level);

    assert_int_equal(strlen(output()), CONSOLE_OUTPUT_SIZE);
    console_port_notify(&port);
    assert_int_equal(get(LSR) & EMPTY, EMPTY);
    assert_true(level);
    assert_int_equal(get(IIR), 0xc2);
    assert_string_equal(output(), "klmnop"); /* after the ten that went first */
}

static void test_back_pressure_keeps_order(void **state)
{
    const char *text;

    (void)state;
    set(FCR, 1);
    fill_port();
    set(DATA, '1');
    set(DATA, '2');
    (void)output();
    set(DATA, '3'); /* room now, but the others go first */
    text = output();
    assert_string_equal(text, "123");
}

static void test_without_fifo_one_byte_waits(void **state)
{
    (void)state;
    fill_port();
    set(DATA, '1');
    set(DATA, '2'); /* THRE said no: lost, as on the chip */
    (void)output();
    console_port_notify(&port);
    assert_string_equal(output(), "1");
}

static void test_clear_transmitter(void **state)
{
    (void)state;
    set(FCR, 1);
    set(IER, THRI);
    (void)get(IIR);
    fill_port();
    set(DATA, '1');
    assert_int_equal(get(LSR), 0);
    set(FCR, 5);
    assert_int_equal(get(LSR), EMPTY);
    assert_true(level);
    (void)output();
    console_port_notify(&port);
    assert_string_equal(output(), "");
}

static void test_enabling_while_busy(void **state)
{
    (void)state;
    fill_port();
    set(DATA, '1');
    set(IER, THRI);
    assert_false(level);
    (void)output();
    console_port_notify(&port);
    assert_true(level);
}

/* --- receiving --- */

static void test_receive(void **state)
{
    (void)state;
    assert_int_equal(get(DATA), 0);
    type("ab");
    assert_false(level);
    assert_int_equal(get(LSR), EMPTY | DR);
    set(IER, RDI);
    assert_true(level);
    assert_int_equal(get(IIR), 0x04);
    assert_int_equal(get(DATA), 'a');
    assert_true(level);
    assert_int_equal(get(DATA), 'b');
    assert_false(level);
    assert_int_equal(get(LSR), EMPTY);
    type("c"); /* told by the port */
    assert_true(level);
    assert_int_equal(get(DATA), 'c');
}

/* Input that somebody else takes is not seen here, and an interrupt that said so is gone once IIR was read. */
static void test_claimed_input(void **state)
{
    (void)state;
    set(IER, RDI);
    type("a");
    assert_true(level);
    console_port_claim(&port, true);
    assert_int_equal(get(IIR), 0x01);
    assert_false(level);
    assert_int_equal(get(LSR), EMPTY);
    assert_int_equal(get(DATA), 0);
    set(FCR, 3);
    type("b");
    assert_false(level);
    set(IER, RDI | 4); /* but a BREAK is heard, with what comes behind it */
    assert_true(console_port_feed_break(&port));
    console_port_notify(&port);
    assert_false(level);
    type("sx");
    assert_true(level);
    assert_int_equal(get(IIR) & 0x0f, 0x06);
    assert_int_equal(get(LSR), EMPTY | DR | 0x10);
    assert_int_equal(get(DATA), 0);
    assert_int_equal(get(LSR), EMPTY | DR);
    assert_int_equal(get(DATA), 's');
    assert_int_equal(get(LSR), EMPTY);
    assert_false(level);
    console_port_claim(&port, false);
    assert_int_equal(get(DATA), 'a');
    assert_int_equal(get(DATA), 'b');
    assert_int_equal(get(LSR), EMPTY | DR | 0x10);
    console_port_claim(&port, true); /* what was not heard then is not heard now */
    assert_true(console_port_feed_break(&port));
    type("u");
    console_port_claim(&port, false);
    console_port_claim(&port, true);
    assert_int_equal(get(LSR), EMPTY);
}

static void test_more_than_a_fifo(void **state)
{
    (void)state;
    type("0123456789abcdefghijklmnopqrstuvwxyz");
    for (const char *text = "0123456789abcdefghijklmnopqrstuvwxyz"; *text != 0; text++) {
        assert_int_equal(get(LSR), EMPTY | DR); /* and never an overrun */
        assert_int_equal(get(DATA), *text);
    }
}

static void test_clear_receiver(void **state)
{
    (void)state;
    set(FCR, 1);
    set(IER, RDI);
    type("0123456789abcdefXYZ");
    set(FCR, 3);
    assert_int_equal(get(DATA), 'X'); /* what was still on its way */
    set(FCR, 3);
    assert_int_equal(get(LSR), EMPTY);
    assert_false(level);
    type("q");
    set(FCR, 0); /* switching the FIFO empties it too */
    assert_int_equal(get(LSR), EMPTY);
}

/* A BREAK is a byte 0, and LSR says so once, when it is its turn to be read. */
static void test_break(void **state)
{
    (void)state;
    type("a");
    assert_true(console_port_feed_break(&port));
    type("s");
    assert_int_equal(get(LSR), EMPTY | DR); /* the byte before it */
    assert_int_equal(get(DATA), 'a');
    assert_int_equal(get(LSR), EMPTY | DR | BI);
    assert_int_equal(get(LSR), EMPTY | DR);
    assert_int_equal(get(DATA), 0);
    assert_int_equal(get(LSR), EMPTY | DR);
    assert_int_equal(get(DATA), 's');
    assert_int_equal(get(LSR), EMPTY);
}

static void test_break_interrupts(void **state)
{
    (void)state;
    set(IER, RDI | RLSI);
    assert_true(console_port_feed_break(&port));
    console_port_notify(&port);
    assert_true(level);
    assert_int_equal(get(IIR), 0x06);
    assert_int_equal(get(LSR), EMPTY | DR | BI);
    assert_int_equal(get(IIR), 0x04); /* the byte is still there */
    assert_true(console_port_feed_break(&port));
    assert_int_equal(get(DATA), 0);
    assert_int_equal(get(IIR), 0x06); /* the next one is news again */
    assert_int_equal(get(DATA), 0);
    assert_int_equal(get(IIR), 0x01);
    assert_false(level);
}

static void test_break_and_loopback(void **state)
{
    (void)state;
    assert_true(console_port_feed_break(&port));
    set(MCR, 0x10);
    assert_int_equal(get(LSR), EMPTY); /* the line is cut off */
    set(DATA, 'L');
    set(MCR, 0);
    assert_int_equal(get(LSR), EMPTY | DR);
    assert_int_equal(get(DATA), 'L');
    assert_int_equal(get(LSR), EMPTY | DR | BI);
    set(FCR, 3); /* a BREAK goes with the rest of the receiver */
    assert_int_equal(get(LSR), EMPTY);
}

/* --- interrupts --- */

static void test_priorities(void **state)
{
    (void)state;
    set(FCR, 1);
    set(MCR, 0x10);
    set(IER, 0x0f);
    for (unsigned i = 0; i < 17; i++) {
        set(DATA, i);
    }
    assert_int_equal(get(IIR), 0xc6);
    assert_int_equal(get(IIR), 0xc6); /* only LSR clears it */
    assert_int_equal(get(LSR), EMPTY | DR | OE);
    assert_int_equal(get(IIR), 0xc4);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(get(DATA), i);
    }
    assert_int_equal(get(IIR), 0xc2);
    assert_true(level);
    assert_int_equal(get(IIR), 0xc0);
    assert_int_not_equal(get(MSR) & 0x0f, 0);
    assert_int_equal(get(IIR), 0xc1);
    assert_false(level);
}

static void test_modem_deltas(void **state)
{
    (void)state;
    set(IER, MSI);
    set(MCR, 0x1b); /* the same lines as without loopback */
    assert_int_equal(get(MSR), 0xb0);
    set(MCR, 0x1f); /* a ring begins: not told */
    assert_int_equal(get(MSR), 0xf0);
    set(MCR, 0x11); /* it ends, and two others fall */
    assert_true(level);
    assert_int_equal(get(IIR), 0x00);
    assert_int_equal(get(MSR), 0x2d);
    assert_false(level);
    assert_int_equal(get(MSR), 0x20);
}

/* --- loopback --- */

static void test_loopback_leaks_nothing(void **state)
{
    (void)state;
    set(MCR, 0x10);
    set(DATA, 'L');
    type("t");
    assert_int_equal(get(DATA), 'L');
    assert_int_equal(get(LSR), EMPTY); /* the line is cut off */
    assert_int_equal(get(DATA), 0);
    set(DATA, 'M');
    set(FCR, 2); /* clears what was looped, not what is typed */
    assert_int_equal(get(LSR), EMPTY);
    set(DATA, 'N');
    set(DATA, 'O'); /* no FIFO: no place */
    assert_int_equal(get(LSR), EMPTY | DR | OE);
    set(MCR, 0);
    assert_int_equal(get(DATA), 'N');
    assert_int_equal(get(DATA), 't');
    assert_string_equal(output(), "");
}

static void test_loopback_keeps_what_waits(void **state)
{
    (void)state;
    fill_port();
    set(DATA, '1');
    set(MCR, 0x10);
    assert_int_equal(get(LSR), 0);
    set(DATA, '2');
    assert_int_equal(get(DATA), '2');
    (void)output();
    console_port_notify(&port);
    assert_string_equal(output(), "1");
    assert_int_equal(get(LSR), EMPTY);
}

/* --- the rest --- */

static void test_reset(void **state)
{
    struct device_bus bus = {.count = 0};

    (void)state;
    assert_int_equal(device_bus_add(&bus, &uart.device), DX_OK);
    fill_port();
    set(FCR, 1);
    set(DATA, '!');
    type("in");
    set(SCR, 1);
    set(MCR, 0x0f);
    set(IER, 0x0f);
    set(LCR, 0x83);
    assert_true(level);
    (void)output();
    device_bus_reset(&bus);
    assert_false(level);
    assert_string_equal(output(), "!"); /* last words */
    assert_int_equal(get(LCR), 0);
    assert_int_equal(get(IER), 0);
    assert_int_equal(get(MCR), 0);
    assert_int_equal(get(SCR), 0);
    assert_int_equal(get(IIR), 1);
    assert_int_equal(get(MSR), 0xb0);

    fill_port();
    set(DATA, '?');
    device_bus_reset(&bus); /* no room: lost */
    assert_int_equal(get(LSR) & EMPTY, EMPTY);
}

static void check_always(unsigned step)
{
    uint8_t ier = uart.ier;
    bool received = uart.looped.count > 0 || ((uart.mcr & 0x10) == 0 && console_port_has_input(&port));
    bool new_break = received && uart.looped.count == 0 && console_port_next(&port) == CONSOLE_NEXT_BREAK;
    bool wanted = ((ier & RDI) != 0 && received) || ((ier & THRI) != 0 && uart.thre_interrupt) ||
                  ((ier & RLSI) != 0 && (uart.overrun || new_break)) || ((ier & MSI) != 0 && uart.msr_deltas != 0);

    if (level != wanted) {
        fail_msg("step %u: line is %d", step, level);
    }
    assert_true(uart.sending.count <= 16 && uart.looped.count <= 16);
    assert_false(uart.thre_interrupt && (uart.sending.count > 0 || uart.resting));
    assert_true(!uart.resting || timer_is_armed(&uart.rest));
}

/* Writes only where THRE says yes must come out, all of them, in order, whatever happens around them. */
static void test_random_accesses(void **state)
{
    uint64_t random = SEED;
    unsigned sent = 0;
    unsigned came = 0;
    unsigned rests = 0;

    (void)state;
    clock_hz = 1000000;
    for (unsigned step = 0; step < RANDOM_STEPS; step++) {
        uint64_t dice = test_random(&random);
        unsigned offset = (unsigned)(dice >> 8) % 8;
        unsigned value = (unsigned)(dice >> 16) % 256;
        const bool rested = uart.resting;

        switch (dice % 8) {
        case 0:
        case 1:
            (void)get(offset);
            break;
        case 2:
            /* no transmitter clears here: they lose bytes rightly, as switching the FIFO does */
            if (offset == IER && (dice >> 24) % 64 != 0) {
                value = (value & ~(unsigned)THRI) | (uart.ier & THRI); /* mostly, or no burst would become long */
            }
            if (offset != DATA && offset != FCR) {
                set(offset, value);
            }
            break;
        case 3:
            if (value % 16 == 0) {
                (void)console_port_feed_break(&port);
            } else {
                (void)console_port_feed(&port, (uint8_t)value);
            }
            console_port_notify(&port);
            break;
        case 4: {
            uint8_t bytes[7];
            size_t count = console_port_drain(&port, bytes, value % 8);

            for (size_t i = 0; i < count; i++) {
                assert_int_equal(bytes[i], (uint8_t)came++);
            }
            console_port_notify(&port);
            break;
        }
        default:
            if ((get(LSR) & 0x20) != 0 && (uart.lcr & 0x80) == 0) {
                bool looped = (uart.mcr & 0x10) != 0;

                set(DATA, looped ? 0xee : (uint8_t)sent);
                sent += looped ? 0 : 1;
            }
            break;
        }
        rests += uart.resting && !rested ? 1 : 0;
        check_always(step);
        pass(dice >> 60);
        check_always(step);
    }
    clock_hz = 0;
    assert_true(rests > 10);
    assert_true(came > 1000 && sent - came <= CONSOLE_OUTPUT_SIZE + 16);
}

static void test_describe(void **state)
{
    static _Alignas(8) uint8_t tree[DESCRIBED_SIZE];
    static const char path[] = "/soc/serial@10000000";
    struct tree_context context = {.plic_phandle = 9, .vcpu_phandle_base = 1, .vcpus = 1, .next_phandle = 10};

    (void)state;
    assert_int_equal(described(&uart.device, tree, sizeof(tree), &context), 0);
    assert_true(described_has_string(tree, path, "compatible", "ns16550a"));
    assert_int_equal(described_cell(tree, path, "clock-frequency", 0), 3686400);
    assert_int_equal(described_cell(tree, path, "interrupts", 0), 10);
    assert_int_equal(described_cell(tree, path, "interrupt-parent", 0), 9);
    assert_int_equal(described_cell(tree, path, "reg", 1), 0x10000000);
    assert_int_equal(described_cell(tree, path, "reg", 3), 0x100);
    assert_int_equal(described_length(tree, path, "reg-shift"), -1);
    described_needs_room(&uart.device, &context);
}

static void test_describe_high_window(void **state)
{
    static _Alignas(8) uint8_t tree[DESCRIBED_SIZE];
    static const char path[] = "/soc/serial@310000000";
    struct tree_context context = {.plic_phandle = 9, .vcpu_phandle_base = 1, .vcpus = 1, .next_phandle = 10};

    (void)state;
    uart16550_init(&uart, (gpa_t){UINT64_C(0x310000000)}, &port, (struct irq_line){.set = NULL});
    assert_int_equal(described(&uart.device, tree, sizeof(tree), &context), 0);
    assert_int_equal(described_cell(tree, path, "reg", 0), 3);
    assert_int_equal(described_cell(tree, path, "reg", 1), 0x10000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ier_bits, setup),
        cmocka_unit_test_setup(test_claimed_input, setup),
        cmocka_unit_test_setup(test_loopback_lines, setup),
        cmocka_unit_test_setup(test_fifo_bits_in_iir, setup),
        cmocka_unit_test_setup(test_divisor_latch, setup),
        cmocka_unit_test_setup(test_scratch_and_read_only, setup),
        cmocka_unit_test_setup(test_fifo_size, setup),
        cmocka_unit_test_setup(test_other_widths_and_offsets, setup),
        cmocka_unit_test_setup(test_send, setup),
        cmocka_unit_test_setup(test_transmitter_interrupt, setup),
        cmocka_unit_test_setup(test_rests_behind_a_burst, setup),
        cmocka_unit_test_setup(test_rest_has_bounds, setup),
        cmocka_unit_test_setup(test_no_rest_between_words, setup),
        cmocka_unit_test_setup(test_rest_ends, setup),
        cmocka_unit_test_setup(test_rest_with_a_full_port, setup),
        cmocka_unit_test_setup(test_back_pressure, setup),
        cmocka_unit_test_setup(test_back_pressure_keeps_order, setup),
        cmocka_unit_test_setup(test_without_fifo_one_byte_waits, setup),
        cmocka_unit_test_setup(test_clear_transmitter, setup),
        cmocka_unit_test_setup(test_enabling_while_busy, setup),
        cmocka_unit_test_setup(test_receive, setup),
        cmocka_unit_test_setup(test_more_than_a_fifo, setup),
        cmocka_unit_test_setup(test_clear_receiver, setup),
        cmocka_unit_test_setup(test_break, setup),
        cmocka_unit_test_setup(test_break_interrupts, setup),
        cmocka_unit_test_setup(test_break_and_loopback, setup),
        cmocka_unit_test_setup(test_priorities, setup),
        cmocka_unit_test_setup(test_modem_deltas, setup),
        cmocka_unit_test_setup(test_loopback_leaks_nothing, setup),
        cmocka_unit_test_setup(test_loopback_keeps_what_waits, setup),
        cmocka_unit_test_setup(test_reset, setup),
        cmocka_unit_test_setup(test_random_accesses, setup),
        cmocka_unit_test_setup(test_describe, setup),
        cmocka_unit_test_setup(test_describe_high_window, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
