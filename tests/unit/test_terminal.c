/* SPDX-License-Identifier: MIT
 *
 * The terminal, on a serial port that the test plays: raw and labelled output, input and its escape key, flow control
 * in both directions, and the log beside guests that write without end.
 */
#include "monitor/terminal.c" /* for a fresh state in each test */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fake_arch.h"
#include "support.h"

/* --- the serial port --- */

enum { WIRE_SIZE = 1 << 20 };
static struct {
    bool present;
    char out[WIRE_SIZE];
    size_t out_length;
    size_t room; /* bytes it takes before it is busy */
    const char *in;
    size_t in_length;
    bool receive, transmit;
    unsigned settings;
} wire;

void panic_set_output(void (*put)(char byte))
{
    (void)put;
}

bool serial_init(const struct machine_uart *uart)
{
    wire.present = uart->kind != MACHINE_UART_NONE;
    return wire.present;
}

bool serial_present(void)
{
    return wire.present;
}

bool serial_can_put(void)
{
    return wire.room > 0;
}

void serial_put(uint8_t byte)
{
    assert_true(wire.room > 0 && wire.out_length < WIRE_SIZE - 1);
    wire.room--;
    wire.out[wire.out_length++] = (char)byte;
    wire.out[wire.out_length] = '\0';
}

int serial_get(void)
{
    if (wire.in_length == 0) {
        return -1;
    }
    wire.in_length--;
    return (uint8_t)*wire.in++;
}

void serial_interrupts(bool receive, bool transmit)
{
    wire.receive = receive;
    wire.transmit = transmit;
    wire.settings++;
}

void serial_put_wait(char byte)
{
    wire.room = 1;
    serial_put((uint8_t)byte);
}

/* --- the capsules --- */

enum { GUESTS = 4 };
static struct capsule *guests;
static unsigned notified[GUESTS];

static void notify(void *receiver)
{
    assert_int_equal(atomic_load(&terminal.lock.next), atomic_load(&terminal.lock.serving)); /* no lock is held */
    notified[(struct capsule *)receiver - guests]++;
}

static void make(unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        const char *const names[] = {"one", "two", "three", "four"};
        console_port_init(&guests[n].console, names[n]);
        guests[n].console.notify = notify;
        guests[n].console.receiver = &guests[n];
        atomic_store(&guests[n].state, CAPSULE_RUNNING);
        terminal_attach(&guests[n]);
    }
    terminal_start(true, 1000000);
}

static int setup(void **state)
{
    (void)state;
    static const struct machine_uart uart = {.kind = MACHINE_UART_NS16550};
    fake_arch_reset();
    memset(&terminal, 0, sizeof(terminal));
    memset(&wire, 0, sizeof(wire));
    memset(notified, 0, sizeof(notified));
    terminal.at_line_start = true;
    guests = calloc(GUESTS, sizeof(*guests));
    log_set_level(LOG_INFO);
    terminal_early(&uart);
    wire.room = WIRE_SIZE;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_set_sink(NULL);
    free(guests);
    return 0;
}

#define TERMINAL_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static size_t say(unsigned guest, const char *text)
{
    return console_port_write(&guests[guest].console, (const uint8_t *)text, strlen(text));
}

static void type(const char *text, size_t length)
{
    wire.in = text;
    wire.in_length = length;
    terminal_serve();
}

#define TYPE(text) type(text, sizeof(text) - 1)

static void assert_heard(unsigned guest, const char *text)
{
    for (; *text != '\0'; text++) {
        assert_int_equal(console_port_get(&guests[guest].console), (uint8_t)*text);
    }
    assert_int_equal(console_port_get(&guests[guest].console), -1);
}

static void assert_said(const char *text)
{
    assert_string_equal(wire.out, text);
    wire.out_length = 0;
    wire.out[0] = '\0';
}

/* --- before guests --- */

static void test_early(void **state)
{
    (void)state;
    wire.room = 0; /* it waits */
    log_info("hello");
    assert_said("[-] CPU 0: hello\r\n");
}

static void test_no_port(void **state)
{
    (void)state;
    static const struct machine_uart none = {.kind = MACHINE_UART_NONE};
    log_set_sink(NULL);
    terminal_early(&none);
    terminal_start(false, 1000000);
    log_info("hello");
    assert_int_equal(wire.out_length, 0);
    assert_null(atomic_load(&poll_timer.heap));
}

static void test_polling(void **state)
{
    (void)state;
    struct hart *hart = hart_this();
    hart_ops.time = NULL;
    fake_arch.time = 5000;
    terminal_attach(&guests[0]);
    terminal_start(false, 1000000);
    assert_int_equal(timer_heap_next(&hart->timers), 5000 + 2000);
    wire.in = "x";
    wire.in_length = 1;
    fake_arch.time = 7000;
    timer_heap_run(&hart->timers, 7000);
    assert_heard(0, "x");
    assert_int_equal(timer_heap_next(&hart->timers), 9000);
    timer_cancel(&poll_timer);
}

static void test_nobody_attached(void **state)
{
    (void)state;
    make(0);
    TYPE("ignored\x1dn");
    assert_int_equal(wire.in_length, 0);
    log_info("line");
    assert_said("[-] CPU 0: line\r\n");
}

static void test_too_many(void **state)
{
    (void)state;
    for (unsigned n = 0; n < PORTS_MAX; n++) {
        terminal_attach(&guests[0]);
    }
    terminal_attach(&guests[1]);
    assert_int_equal(terminal.count, PORTS_MAX);
    assert_null(guests[1].console.pump);
}

/* --- one capsule --- */

static void test_raw_is_byte_for_byte(void **state)
{
    (void)state;
    char all[257];
    make(1);
    for (unsigned n = 0; n < 256; n++) {
        all[n] = (char)n;
    }
    assert_int_equal(console_port_write(&guests[0].console, (uint8_t *)all, 256), 256);
    assert_int_equal(wire.out_length, 256);
    assert_memory_equal(wire.out, all, 256);
    unsigned settings = wire.settings;
    say(0, "more");
    assert_int_equal(wire.settings, settings); /* nothing to change in the UART's interrupts */
    all[ESCAPE] = 0;
    type(all, 256);
    for (unsigned turn = 0; turn < 4; turn++) {
        terminal_serve();
    }
    for (unsigned n = 0; n < 256; n++) {
        assert_int_equal(console_port_get(&guests[0].console), (uint8_t)all[n]);
    }
    assert_true(notified[0] >= 4);
}

static void test_escape_key(void **state)
{
    (void)state;
    make(1);
    TYPE("a\x1d\x1d"
         "b");
    assert_heard(0, "a\x1d"
                    "b");
    TYPE("\x1d?c");
    assert_heard(0, "c");
    assert_non_null(strstr(wire.out, "this list"));
    TYPE("\x1d"); /* cut in two */
    TYPE("nd");
    assert_heard(0, "d");
    assert_non_null(strstr(wire.out, "input goes to one"));
}

static void test_log_beside_raw(void **state)
{
    (void)state;
    make(1);
    log_info("kept back");
    assert_said("");
    log_alert("shown");
    assert_said("[!] CPU 0: shown\r\n");
    say(0, "cut");
    wire.room = 0;
    say(0, " short");
    assert_said("cut");
    atomic_store(&guests[0].state, CAPSULE_STOPPED);
    log_info("it has stopped");
    assert_said("");
    wire.room = 1000;
    terminal_serve();
    assert_said(" short\r\n[-] CPU 0: it has stopped\r\n");
}

/* The whole way of a full console: the guest is refused, told once there is room, and nothing is lost. */
static void test_back_pressure(void **state)
{
    (void)state;
    make(1);
    wire.room = 0;
    char text[CONSOLE_RING_SIZE + 101];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    size_t taken = say(0, text);
    assert_int_equal(taken, CONSOLE_RING_SIZE);
    assert_true(wire.transmit);
    assert_int_equal(notified[0], 0);
    wire.room = 16;
    terminal_serve();
    assert_int_equal(wire.out_length, 16);
    assert_int_equal(notified[0], 1);
    assert_int_equal(say(0, text + taken), 16);
    for (unsigned n = 0; wire.transmit; n++) {
        assert_true(n < 1000);
        wire.room = 16;
        terminal_serve();
    }
    assert_int_equal(notified[0], 2); /* told again, since it was refused again */
    assert_int_equal(wire.out_length, CONSOLE_RING_SIZE + 16);
}

/* Somebody was refused, and another hart has emptied the ring since: the UART's interrupt stays wanted until he is
 * told. */
static void test_refused_writer_is_told_although_all_is_out(void **state)
{
    (void)state;
    make(1);
    wire.room = 0;
    for (unsigned n = 0; n < CONSOLE_RING_SIZE; n++) {
        say(0, "y");
    }
    assert_int_equal(say(0, "refused"), 0);
    wire.room = WIRE_SIZE;
    for (unsigned n = 0; n < CONSOLE_RING_SIZE / MOVE_MAX; n++) {
        pump(&guests[0].console, true); /* from a guest's write: nobody may be told here */
    }
    assert_int_equal(byte_ring_used(&guests[0].console.output), 0);
    assert_int_equal(notified[0], 0);
    assert_true(wire.transmit);
    terminal_serve();
    assert_int_equal(notified[0], 1);
    terminal_serve();
    assert_false(wire.transmit);
}

/* 64 KiB pasted into a guest that reads now and then: all arrives, and the UART is only read when there is room. */
static void test_paste(void **state)
{
    (void)state;
    static char paste[64 * KIB];
    size_t read = 0;
    make(1);
    for (size_t n = 0; n < sizeof(paste); n++) {
        paste[n] = (char)('a' + n % 23);
    }
    wire.in = paste;
    wire.in_length = sizeof(paste);
    for (unsigned turn = 0; turn < 300000 && read < sizeof(paste); turn++) {
        if (wire.receive && wire.in_length > 0) {
            terminal_serve(); /* its interrupt */
            continue;
        }
        int byte = console_port_get(&guests[0].console);
        assert_int_equal(byte, (uint8_t)paste[read]);
        read++;
    }
    assert_int_equal(read, sizeof(paste));
    assert_true(wire.receive);
}

/* A restart of the guest makes room as well. */
static void test_reset_reopens_input(void **state)
{
    (void)state;
    static char paste[CONSOLE_RING_SIZE + 64];
    make(1);
    memset(paste, 'p', sizeof(paste));
    wire.in = paste;
    wire.in_length = sizeof(paste);
    while (wire.receive) {
        terminal_serve();
    }
    console_port_reset(&guests[0].console);
    assert_true(wire.receive);
}

/* --- several capsules --- */

static void test_labels(void **state)
{
    (void)state;
    make(2);
    say(0, "first\r\n");
    say(1, "second\n");
    assert_said("one| first\r\ntwo| second\r\n");
    say(0, "half ");
    say(0, "a line\n");
    assert_said("one| half a line\r\n");
    say(0, "cut");
    say(1, "in\n");
    say(0, "off\n");
    assert_said("one| cut\r\ntwo| in\r\none| off\r\n");
}

/* Nothing that a guest writes is taken for another's line, for the hypervisor's, or moves the cursor. */
static void test_labelled_guest_cannot_pretend(void **state)
{
    (void)state;
    make(2);
    say(0, "\x1b[2J\rtwo| \a\x80 fake\r[!] CPU 0: fake\n\n\t.\n");
    assert_said("one| ?[2Jtwo| ?? fake[!] CPU 0: fake\r\none| \r\none| \t.\r\n");
    say(1, "half");
    log_info("a line of ours");
    assert_said("two| half\r\n[-] CPU 0: a line of ours\r\n");
    say(1, " more\n");
    assert_said("two|  more\r\n");
}

/* A guest that never ends its line doesn't keep the terminal for itself, whatever it writes. */
static void flood(const char *byte)
{
    wire.room = 0;
    for (unsigned n = 0; n < 3 * CONSOLE_RING_SIZE; n++) {
        say(0, byte);
    }
    say(1, "let me\n");
    wire.room = 2000;
    for (unsigned n = 0; n < 20 && strstr(wire.out, "two| let me\r\n") == NULL; n++) {
        terminal_serve();
    }
    assert_non_null(strstr(wire.out, "two| let me\r\n"));
}

static void test_endless_line(void **state)
{
    (void)state;
    make(2);
    flood("x");
}

static void test_endless_returns(void **state)
{
    (void)state;
    make(2);
    say(0, "x");
    flood("\r");
}

/* Alone it may write lines as long as it likes. */
static void test_long_line_alone(void **state)
{
    (void)state;
    make(2);
    for (unsigned n = 0; n < 3 * TURN_MAX; n++) {
        say(0, "x");
    }
    assert_null(strchr(wire.out, '\n'));
    assert_int_equal(wire.out_length, 3 * TURN_MAX + 5);
}

/* While guests flood a slow UART there is room for log lines, and they come soon. */
static void test_log_beside_a_flood(void **state)
{
    (void)state;
    make(2);
    wire.room = 0;
    for (unsigned n = 0; n < 4 * CONSOLE_RING_SIZE; n++) {
        say(n % 2, "z\n");
    }
    log_alert("hear me");
    wire.room = 2 * STAGE_FOR_GUESTS;
    while (wire.room > 0) {
        terminal_serve();
    }
    assert_non_null(strstr(wire.out, "\r\n[!] CPU 0: hear me\r\n"));
}

/* A stage that is full of log lines loses whole lines. */
static void test_log_flood(void **state)
{
    (void)state;
    make(2);
    wire.room = 0;
    for (unsigned n = 0; n < 2000; n++) {
        log_info("line %04u", n);
    }
    wire.room = WIRE_SIZE;
    for (unsigned n = 0; n < 100; n++) {
        terminal_serve();
    }
    assert_true(wire.out_length <= STAGE_SIZE && wire.out_length > STAGE_SIZE - 64);
    assert_int_equal(wire.out_length % strlen("[-] CPU 0: line 0000\r\n"), 0);
}

static void test_focus(void **state)
{
    (void)state;
    make(3);
    atomic_store(&guests[1].state, CAPSULE_STOPPED);
    TYPE("a\x1dnb\x1dn"
         "c");
    assert_heard(0, "ac");
    assert_heard(1, ""); /* it has stopped: the key passes it over */
    assert_heard(2, "b");
    assert_int_equal(notified[0], 1);
    assert_int_equal(notified[2], 1); /* told too, although the input went elsewhere in the end */
    assert_non_null(strstr(wire.out, "[-] input goes to three\r\n"));
    for (unsigned n = 0; n < 3; n++) {
        atomic_store(&guests[n].state, CAPSULE_STOPPED);
    }
    TYPE("\x1dn"); /* nobody else is there */
    assert_int_equal(terminal.focus, 0);
}

/* --- the end --- */

static void test_flush_raw(void **state)
{
    (void)state;
    make(1);
    wire.room = 0;
    say(0, "last words");
    terminal_flush();
    assert_said("last words");
}

static void test_flush_labelled(void **state)
{
    (void)state;
    make(3);
    wire.room = 0;
    for (unsigned n = 0; n < 1000; n++) {
        say(1, "w\n");
    }
    say(2, "end");
    log_info("powering off");
    terminal_flush();
    unsigned lines = 0;
    for (const char *at = wire.out; (at = strstr(at, "two| w\r\n")) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, 1000);
    assert_non_null(strstr(wire.out, "[-] CPU 0: powering off\r\n"));
    assert_non_null(strstr(wire.out, "three| end"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TERMINAL_TEST(test_early),           TERMINAL_TEST(test_no_port),
        TERMINAL_TEST(test_polling),         TERMINAL_TEST(test_nobody_attached),
        TERMINAL_TEST(test_too_many),        TERMINAL_TEST(test_raw_is_byte_for_byte),
        TERMINAL_TEST(test_escape_key),      TERMINAL_TEST(test_log_beside_raw),
        TERMINAL_TEST(test_back_pressure),   TERMINAL_TEST(test_refused_writer_is_told_although_all_is_out),
        TERMINAL_TEST(test_paste),           TERMINAL_TEST(test_reset_reopens_input),
        TERMINAL_TEST(test_labels),          TERMINAL_TEST(test_labelled_guest_cannot_pretend),
        TERMINAL_TEST(test_endless_line),    TERMINAL_TEST(test_endless_returns),
        TERMINAL_TEST(test_long_line_alone), TERMINAL_TEST(test_log_beside_a_flood),
        TERMINAL_TEST(test_log_flood),       TERMINAL_TEST(test_focus),
        TERMINAL_TEST(test_flush_raw),       TERMINAL_TEST(test_flush_labelled),
    };
    return cmocka_run_group_tests_name("terminal", tests, NULL, NULL);
}
