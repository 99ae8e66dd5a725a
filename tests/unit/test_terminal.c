/* SPDX-License-Identifier: MIT
 *
 * The terminal, on a serial port that the test plays: raw and labelled output and the monitor, lines that nobody cuts,
 * input and its escape key, flow control in both directions, and the log beside guests that write without end.
 */
#include "monitor/terminal.c" /* for a fresh state in each test */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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
    void (*on_put)(void);
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
    if (wire.on_put != NULL) {
        wire.on_put();
    }
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

/* --- the monitor: says what it hears --- */

static struct {
    unsigned entered;
    char heard[64];
    size_t length;
    const char *says;
    unsigned work;   /* steps that it has to do */
    unsigned silent; /* of them, the first that say nothing */
    bool left;
} monitor_;

static void assert_unlocked(void)
{
    assert_int_equal(atomic_load(&terminal.lock.next), atomic_load(&terminal.lock.serving));
}

void monitor_enter(void)
{
    assert_unlocked();
    monitor_.entered++;
    monitor_.says = "monitor> ";
}

bool monitor_input(uint8_t byte)
{
    assert_unlocked();
    monitor_.heard[monitor_.length++] = (char)byte;
    return byte != 'q';
}

size_t monitor_output(char *out, size_t size)
{
    assert_unlocked();
    size_t length = MIN(MIN(strlen(monitor_.says), size), 7u);
    memcpy(out, monitor_.says, length);
    monitor_.says += length;
    return length;
}

bool monitor_has_work(void)
{
    return monitor_.work > 0;
}

void monitor_work(void)
{
    assert_unlocked();
    monitor_.work--;
    if (monitor_.silent > 0) {
        monitor_.silent--;
    } else {
        monitor_.says = "done\n";
    }
}

bool monitor_left(void)
{
    return monitor_.left;
}

/* --- the capsules --- */

enum { GUESTS = 4 };
static struct capsule *guests;
static unsigned notified[GUESTS];

static void notify(void *receiver)
{
    assert_unlocked();
    notified[(struct capsule *)receiver - guests]++;
}

static void make_one(unsigned n)
{
    const char *const names[] = {"one", "two", "three", "four"};
    console_port_init(&guests[n].console, names[n]);
    guests[n].console.notify = notify;
    guests[n].console.receiver = &guests[n];
    guests[n].id = n + 1;
    atomic_store(&guests[n].state, CAPSULE_RUNNING);
}

static void make(unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        make_one(n);
        terminal_attach(&guests[n]);
    }
    terminal_start(true, 1000000);
    terminal.echo_until = UINT64_MAX; /* somebody types all the time */
}

/* Lets this many ticks of the terminal's pass. */
static void pass_ticks(unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        fake_arch.time += 1000000 / TICKS_PER_SECOND;
        timer_heap_run(&hart_this()->timers, fake_arch.time);
    }
}

static int setup(void **state)
{
    (void)state;
    static const struct machine_uart uart = {.kind = MACHINE_UART_NS16550};
    fake_arch_reset();
    memset(&terminal, 0, sizeof(terminal));
    terminal.focus = NOBODY;
    terminal.screen.line_of = NOBODY;
    memset(&wire, 0, sizeof(wire));
    memset(&monitor_, 0, sizeof(monitor_));
    memset(notified, 0, sizeof(notified));
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

/* What can go out does, as the UART's interrupt and the ends of the rests come. */
static void let_out(void)
{
    while (wire.room > 0 && (wire.transmit || terminal.resting)) {
        if (wire.transmit) {
            terminal_serve();
        } else {
            fake_arch.time += terminal.rest_period;
            timer_heap_run(&hart_this()->timers, fake_arch.time);
        }
    }
}

static void assert_said(const char *text)
{
    let_out();
    assert_string_equal(wire.out, text);
    wire.out_length = 0;
    wire.out[0] = '\0';
}

static void forget_said(void)
{
    let_out();
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
    for (unsigned n = 0; n < SEATS_MAX; n++) {
        terminal_attach(&guests[0]);
        assert_true(set_has(&terminal.taken, n));
    }
    console_port_init(&guests[1].console, "two");
    terminal_attach(&guests[1]);
    assert_null(guests[1].console.pump);
    terminal_detach(&guests[1]);
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
    let_out();
    assert_int_equal(wire.out_length, 256);
    assert_memory_equal(wire.out, all, 256);
    unsigned settings = wire.settings;
    say(0, "more");
    assert_int_equal(wire.settings, settings); /* nothing to change in the UART's interrupts */
    all[0x1d] = 0;
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
    let_out();
    assert_non_null(strstr(wire.out, "this list"));
    TYPE("\x1d"); /* cut in two */
    TYPE("nd");
    assert_heard(0, "d");
    assert_non_null(strstr(wire.out, "[-] the terminal is that of one alone"));
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
    char text[CONSOLE_OUTPUT_SIZE + 101];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    size_t taken = say(0, text);
    assert_int_equal(taken, CONSOLE_OUTPUT_SIZE);
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
    assert_int_equal(wire.out_length, CONSOLE_OUTPUT_SIZE + 16);
}

/* A UART that takes all it is given does not keep its hart busy: its interrupt is off for a while after each go. */
static void test_rests(void **state)
{
    (void)state;
    make(1);
    wire.room = 0;
    for (unsigned n = 0; n < 1000; n++) {
        say(0, "y");
    }
    wire.room = WIRE_SIZE;
    terminal_serve();
    assert_in_range(wire.out_length, 1, 64);
    assert_false(wire.transmit);
    assert_int_equal(timer_heap_next(&hart_this()->timers), fake_arch.time + 101); /* at 1 MHz */
    size_t before = wire.out_length;
    fake_arch.time += 101;
    timer_heap_run(&hart_this()->timers, fake_arch.time);
    assert_in_range(wire.out_length, before + 1, 128);
    assert_false(wire.transmit);
    wire.room = 10; /* from here on it is full, and tells when it isn't */
    fake_arch.time += 101;
    timer_heap_run(&hart_this()->timers, fake_arch.time);
    assert_true(wire.transmit);
    assert_int_equal(timer_heap_next(&hart_this()->timers), TIMER_NEVER);
    wire.room = WIRE_SIZE;
    let_out();
    assert_int_equal(wire.out_length, 1000);
}

/* Somebody was refused, and another hart has emptied the ring since: the UART's interrupt stays wanted until he is
 * told. */
static void test_refused_writer_is_told_although_all_is_out(void **state)
{
    (void)state;
    make(1);
    wire.room = 0;
    for (unsigned n = 0; n < CONSOLE_OUTPUT_SIZE; n++) {
        say(0, "y");
    }
    assert_int_equal(say(0, "refused"), 0);
    wire.room = WIRE_SIZE;
    for (unsigned n = 0; n < CONSOLE_OUTPUT_SIZE / 64; n++) {
        pump(&guests[0].console, true); /* from a guest's write: nobody may be told here */
    }
    assert_false(console_port_has_output(&guests[0].console));
    assert_int_equal(notified[0], 0);
    assert_true(wire.transmit);
    terminal_serve();
    assert_int_equal(notified[0], 1);
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
    static char paste[CONSOLE_INPUT_SIZE + TYPE_AHEAD_SIZE + 64];
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
    say(0, "off\n"); /* without colours there is no erasing: the rest has another mark */
    say(0, "whole\n");
    assert_said("one| cut\r\ntwo| in\r\none: off\r\none| whole\r\n");
}

/* Nothing that a guest writes is taken for another's line, for the hypervisor's, or moves the cursor. */
static void test_labelled_guest_cannot_pretend(void **state)
{
    (void)state;
    make(2);
    say(0, "\x1b[2J\rtwo| \a\x80 fake\r[!] CPU 0: fake\n\n\t.\n");
    assert_said("one| [!] CPU 0: fake\r\none| \r\none| \t.\r\n");
    say(0, "half");
    log_info("a line of ours");
    assert_said("one| half\r\n[-] CPU 0: a line of ours\r\n");
    say(0, "\b\b\b\b\b\b\b\b more\n"); /* over its label and the line before: nothing */
    assert_said("one:  more\r\n");
}

/* A guest that never ends its line doesn't keep the terminal for itself, whatever it writes. */
static void flood(const char *byte)
{
    wire.room = 0;
    for (unsigned n = 0; n < 3 * CONSOLE_OUTPUT_SIZE; n++) {
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

#define Y10 "yyyyyyyyyy"
#define Y60 Y10 Y10 Y10 Y10 Y10 Y10

/* Alone it may write lines as long as it likes. */
static void test_long_line_alone(void **state)
{
    (void)state;
    make(2);
    for (unsigned n = 0; n < 3 * LINE_PIECE_MAX; n++) {
        say(0, "x");
    }
    assert_null(strchr(wire.out, '\n'));
    assert_int_equal(wire.out_length, 3 * LINE_PIECE_MAX + 5);
    for (unsigned n = 0; n < LINE_PIECE_MAX; n++) {
        say(1, "y"); /* without the focus: as soon as it is long enough */
    }
    let_out();
    assert_string_equal(wire.out + 3 * LINE_PIECE_MAX + 5 - 3, "xxx\r\ntwo| " Y60 Y60 Y60 Y60 "\r\n");
}

/* While guests flood a slow UART there is room for log lines, and they come soon. */
static void test_log_beside_a_flood(void **state)
{
    (void)state;
    make(2);
    wire.room = 0;
    for (unsigned n = 0; n < 4 * CONSOLE_OUTPUT_SIZE; n++) {
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
    let_out();
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

/* --- lines that nobody cuts --- */

static void make_colored(unsigned count)
{
    terminal_set_color(true);
    make(count);
}

#define ONE   "\x1b[36mone|\x1b[0m "
#define TWO   "\x1b[32mtwo|\x1b[0m "
#define ERASE "\r\x1b[K"

/* An incomplete line is taken away for another's, and comes back. */
static void test_redrawing(void **state)
{
    (void)state;
    make_colored(2);
    say(0, "$ l");
    assert_said(ONE "$ l");
    say(1, "other\n");
    assert_said(ERASE TWO "other\r\n" ONE "$ l");
    log_info("ours");
    assert_said(ERASE "\x1b[1m[-] CPU 0: ours\x1b[0m\r\n" ONE "$ l");
    say(0, "s\n");
    assert_said("s\r\n");
}

/* While others' lines keep coming it is drawn again only once. */
static void test_redrawn_once(void **state)
{
    (void)state;
    make_colored(2);
    say(0, "$ ");
    wire.room = 0;
    for (unsigned n = 0; n < 5; n++) {
        say(1, "x\n");
    }
    forget_said();
    wire.room = 1000;
    let_out();
    unsigned labels = 0;
    for (const char *at = wire.out; (at = strstr(at, "one|")) != NULL; at++) {
        labels++;
    }
    assert_true(labels <= 2);
    assert_string_equal(wire.out + wire.out_length - strlen(ONE "$ "), ONE "$ ");
}

/* What may have been wrapped is ended, and goes on with the other mark. */
static void test_long_lines_are_not_erased(void **state)
{
    (void)state;
    make_colored(2);
    say(0, Y60 Y10 "yyyy"); /* with the label 79 columns */
    say(1, "a\n");
    assert_said(ONE Y60 Y10 "yyyy" ERASE TWO "a\r\n" ONE Y60 Y10 "yyyy");
    say(0, "z");
    say(1, "b\n");
    assert_said("z\r\n" TWO "b\r\n");
    say(0, "rest");
    assert_said("\x1b[36mone:\x1b[0m rest");
    say(0, "\n\t\t\t\t\t\t\t\t\t\t."); /* tabs are wide */
    forget_said();
    say(1, "c\n");
    assert_said("\r\n" TWO "c\r\n");
}

static void test_backspace(void **state)
{
    (void)state;
    make_colored(2);
    say(0, "ab\b \bc");
    assert_said(ONE "ab\b \b \b \bc");
    say(1, "x\n");
    assert_said(ERASE TWO "x\r\n" ONE "ac");
    say(0, "\b\b\b\b\b\n");
    assert_said("\b \b\b \b\r\n"); /* not over its label */
    say(1, "typo\b\b\bext\n");
    assert_said(TWO "text\r\n");
    say(0, "\xc3\xa4\b\n"); /* nobody knows how wide it is */
    assert_said(ONE "\xc3\xa4\r\n");
}

/* What comes behind a return takes the text's place, not the label's. */
static void test_return(void **state)
{
    (void)state;
    make_colored(2);
    say(0, "10%\r");
    say(0, "20%\r");
    assert_said(ONE "10%\b \b\b \b\b \b20%");
    say(0, "\n");
    say(0, "\rwhole\r\n");
    assert_said("\r\n" ONE "whole\r\n");
    say(1, "10%\r20%\r\n");
    assert_said(TWO "20%\r\n");
    say(0, "\xc3\xa4x\ry\n"); /* as far as it can be done */
    assert_said(ONE "y\r\n");
    say(0, "\xc3\xa4x");
    say(0, "\ry");
    assert_said(ONE "\xc3\xa4x\b \by");
}

/* A line that comes slowly is not cut: only one that stands still is taken for a prompt. */
static void test_slow_line(void **state)
{
    (void)state;
    make(2);
    for (unsigned n = 0; n < 10; n++) {
        say(1, "x");
        pass_ticks(1);
    }
    assert_said("");
    say(1, "\n");
    assert_said("two| xxxxxxxxxx\r\n");
}

/* Two that write byte by byte don't cut each other's lines. */
static void test_byte_by_byte(void **state)
{
    (void)state;
    make(3);
    const char *const lines[] = {"first of all\n", "second to none\n", "third party\n"};
    for (unsigned n = 0; n < 20; n++) {
        for (unsigned guest = 1; guest < 3; guest++) {
            char byte[2] = {n < strlen(lines[guest]) ? lines[guest][n] : '\0', '\0'};
            say(guest, byte);
        }
    }
    assert_said("three| third party\r\ntwo| second to none\r\n");
}

/* While nobody types, the lines of the one in focus are like others', and not cut. */
static void test_focus_without_typing(void **state)
{
    (void)state;
    make(2);
    terminal.echo_until = 0;
    say(0, "half ");
    say(1, "other\n");
    say(0, "a line\n");
    assert_said("two| other\r\none| half a line\r\n");
    TYPE("k");
    say(0, "k");
    assert_said("one| k");
    pass_ticks(ECHO_TICKS);
    say(0, "ey");
    assert_said("");
    pass_ticks(2);
    assert_said("ey");
}

/* A prompt of one without the focus is seen a moment later, and does not take the cursor from the focus. */
static void test_prompts(void **state)
{
    (void)state;
    make_colored(3);
    say(0, "$ ");
    assert_said(ONE "$ ");
    say(1, "login: ");
    assert_said("");
    assert_int_equal(timer_heap_next(&hart_this()->timers), 50000);
    pass_ticks(1);
    assert_said("");
    pass_ticks(1);
    assert_said(ERASE TWO "login: \r\n" ONE "$ ");
    say(1, "root\n");
    assert_said(ERASE "\x1b[32mtwo:\x1b[0m root\r\n" ONE "$ ");
    pass_ticks(2);
    assert_int_equal(timer_heap_next(&hart_this()->timers), TIMER_NEVER); /* nothing waits: no tick */
    say(0, "\n");
    forget_said();
    say(1, "a: ");
    pass_ticks(2);
    assert_said(TWO "a: "); /* the focus has no line: the cursor stays here */
    say(2, "b: ");
    pass_ticks(2);
    assert_said("\r\n\x1b[33mthree|\x1b[0m b: ");
    say(1, "\n"); /* the end of what was shown: nothing more to show */
    say(1, "next\n");
    assert_said(ERASE TWO "next\r\n"
                          "\x1b[33mthree|\x1b[0m b: ");
}

static void test_without_colors_no_escapes(void **state)
{
    (void)state;
    make(2);
    say(0, "\x1b[1m$ \x1b[0m");
    say(1, "\x1b[31mred\n");
    log_info("ours");
    TYPE("\x1d?\x1dn\x1ds\x1d"
         "a");
    assert_null(strchr(wire.out, 0x1b));
}

/* --- modes --- */

static void test_manager_is_raw(void **state)
{
    (void)state;
    guests[1].config.manager = true;
    make(3);
    say(0, "unseen\n");
    say(1, "\x1b[1mraw");
    say(2, "unseen\n");
    assert_said("\x1b[1mraw");
    TYPE("for two");
    assert_heard(1, "for two");
    TYPE("\x1d"
         "a");
    assert_said("\r\n[-] input goes to two\r\nthree| unseen\r\none| unseen\r\n");
}

/* What a capsule did to the terminal's state is undone for whoever comes next. */
static void test_reset_after_raw(void **state)
{
    (void)state;
    make_colored(1);
    say(0, "\x1b[1;31mred");
    TYPE("\x1dn"); /* nobody else comes */
    assert_said("\x1b[1;31mred\r\n[-] the terminal is that of one alone (Ctrl-] ? lists the keys)\r\n");
    TYPE("\x1d"
         "a");
    assert_said("\x1b[!p\x1b[0m\x1b[1m[-] input goes to one\x1b[0m\r\n");
}

static void test_two_managers(void **state)
{
    (void)state;
    guests[0].config.manager = true;
    guests[1].config.manager = true;
    make(2);
    say(1, "x\n");
    assert_said("two| x\r\n");
}

/* One alone; the others write on, forget, and tell how much when they are seen again. */
static void test_alone_and_all(void **state)
{
    (void)state;
    make(2);
    TYPE("\x1ds");
    assert_said("[-] the terminal is that of one alone (Ctrl-] ? lists the keys)\r\n");
    for (unsigned n = 0; n < 3000; n++) {
        assert_int_equal(say(1, "1234567\n"), 8); /* never refused */
    }
    say(0, "\x1b[5n");
    assert_said("\x1b[5n");
    log_info("not now");
    assert_said("");
    TYPE("\x1dn");
    let_out();
    assert_memory_equal(wire.out, "\r\n[-] the terminal is that of two alone", 38);
    assert_non_null(strstr(wire.out, "[-] two: 15808 bytes of output are lost here\r\n1234567\n1234567\n"));
    forget_said();
    TYPE("\x1dp");
    assert_non_null(strstr(wire.out, "of one alone"));
    for (unsigned n = 0; n < 2000; n++) {
        say(1, "12345678\n");
    }
    forget_said();
    TYPE("\x1d"
         "a");
    let_out();
    assert_non_null(strstr(wire.out, "[-] input goes to one\r\n[-] two: "));
    assert_non_null(strstr(wire.out, " bytes of output are lost here\r\ntwo| 12345678\r\n"));
}

/* Who was refused while he was shown goes on when he isn't. */
static void test_hidden_writer_is_told(void **state)
{
    (void)state;
    make(2);
    wire.room = 0;
    while (say(1, "y") == 1) {
    }
    assert_int_equal(notified[1], 0);
    TYPE("\x1ds");
    assert_int_equal(notified[1], 1);
    assert_int_equal(say(1, "y"), 1);
}

static void test_numbers(void **state)
{
    (void)state;
    make(3);
    TYPE("\x1d"
         "3x\x1d"
         "9y");
    assert_heard(2, "xy");
    assert_non_null(strstr(wire.out, "[-] there is no capsule 9\r\n"));
    assert_true(terminal_focus("two"));
    assert_false(terminal_focus("twofold"));
    TYPE("z");
    assert_heard(1, "z");
    atomic_store(&guests[0].state, CAPSULE_STOPPED);
    TYPE("\x1dp"); /* past the one that has stopped */
    TYPE("p");
    assert_heard(2, "p");
}

/* When the one that has the terminal raw has stopped for good, all the others get it; not when it starts again. */
static void test_raw_owner_stops(void **state)
{
    (void)state;
    guests[0].config.manager = true;
    make(2);
    say(1, "before\n");
    atomic_store(&guests[0].state, CAPSULE_COMMITTING);
    say(0, "last words");
    log_info("reset");
    assert_said("last words\r\n[-] CPU 0: reset\r\n");
    pass_ticks(1);
    assert_said("");
    atomic_store(&guests[0].state, CAPSULE_RUNNING);
    pass_ticks(1);
    assert_int_equal(timer_heap_next(&hart_this()->timers), TIMER_NEVER);
    atomic_store(&guests[0].state, CAPSULE_COMMITTING);
    log_info("stopped");
    assert_said("[-] CPU 0: stopped\r\n");
    atomic_store(&guests[0].state, CAPSULE_STOPPED); /* nobody says so */
    pass_ticks(1);
    assert_said("[-] input goes to two\r\ntwo| before\r\n");
}

static void test_break_key(void **state)
{
    (void)state;
    make(1);
    TYPE("a\x1d"
         "bs");
    assert_int_equal(console_port_receive(&guests[0].console), 'a');
    assert_int_equal(console_port_receive(&guests[0].console), CONSOLE_BREAK);
    assert_int_equal(console_port_receive(&guests[0].console), 's');
    assert_int_equal(notified[0], 1);
    TYPE("\x1d"
         "b\x1d"
         "b\x1d"
         "b\x1d"
         "b\x1d"
         "b");
    assert_non_null(strstr(wire.out, "has not read the BREAKs"));
}

/* --- the monitor --- */

static void test_monitor(void **state)
{
    (void)state;
    make(2);
    say(0, "$ ");
    TYPE("\x1dmlist\r");
    assert_int_equal(monitor_.entered, 1);
    assert_string_equal(monitor_.heard, "list\r");
    assert_said("one| $ \r\nmonitor> ");
    say(1, "held back\n");
    assert_said("");
    log_info("ours");
    assert_said("\r\n[-] CPU 0: ours\r\nmonitor> "); /* the prompt once more */
    assert_true(terminal_focus("two"));
    TYPE("qx");
    assert_string_equal(monitor_.heard, "list\rq");
    assert_heard(1, "x");
    assert_said("\r\n[-] input goes to two\r\ntwo| held back\r\n");
    TYPE("\x1d\r"); /* Enter enters too */
    assert_int_equal(monitor_.entered, 2);
    TYPE("\x1dm\x1d\x1d"); /* already there; its own Ctrl-] */
    assert_int_equal(monitor_.entered, 2);
    assert_string_equal(monitor_.heard, "list\rq\x1d");
    TYPE("\x1d"
         "1y"); /* other keys leave it */
    assert_heard(0, "y");
}

/* The echo of what was typed is on the screen before what it leads to, the log's lines included. */
static void test_monitor_echo_first(void **state)
{
    (void)state;
    make(2);
    TYPE("\x1dm");
    forget_said();
    monitor_.says = "kill a\n";
    monitor_.work = 1;
    TYPE("\r");
    assert_said("kill a\r\ndone\r\n");
}

/* What the monitor has to do is done though no key comes and nothing is sent, so that no interrupt comes either. */
static void test_monitor_silent_steps(void **state)
{
    (void)state;
    make(2);
    TYPE("\x1dm");
    forget_said();
    monitor_.work = 100;
    monitor_.silent = 99;
    terminal_serve();
    assert_in_range(monitor_.work, 1, 99); /* bounded */
    pass_ticks(100);
    assert_int_equal(monitor_.work, 0);
    assert_said("done\r\n");
    assert_int_equal(timer_heap_next(&hart_this()->timers), TIMER_NEVER); /* nothing waits: no tick */
}

/* Its line is taken away for log lines and comes back, as far as it is known. */
static void test_monitor_line(void **state)
{
    (void)state;
    make_colored(1);
    TYPE("\x1dm");
    assert_said("\x1b[!p\x1b[0mmonitor> ");
    monitor_.says = "lis\b \bst\x1b[1m!";
    TYPE("x");
    assert_said("lis\b \bst\x1b[1m!");
    log_info("ours");
    assert_said(ERASE "\x1b[1m[-] CPU 0: ours\x1b[0m\r\n"
                      "monitor> list!");
    monitor_.says = "\r> y\nz";
    TYPE("x");
    log_alert("ours");
    assert_said("\r> y\r\nz" ERASE "\x1b[1m[!] CPU 0: ours\x1b[0m\r\nz");
}

/* --- input for a guest that reads nothing --- */

static void test_hung_guest(void **state)
{
    (void)state;
    static char text[CONSOLE_INPUT_SIZE + TYPE_AHEAD_SIZE + 100];
    make(2);
    memset(text, 'h', sizeof(text));
    wire.in = text;
    wire.in_length = sizeof(text);
    while (wire.receive) {
        terminal_serve();
    }
    assert_int_equal(wire.in_length, 100); /* flow control, for a second */
    pass_ticks(HELD_TICKS - 1);
    assert_int_equal(wire.in_length, 100);
    pass_ticks(1);
    assert_non_null(strstr(wire.out, "\a[-] one reads nothing: dropped the last 256 bytes"));
    assert_true(wire.receive);
    TYPE("dropped\x1dn"
         "x"); /* but the keys work */
    assert_heard(1, "x");
    TYPE("\x1dp");
    assert_int_equal(console_port_get(&guests[0].console), 'h');
    TYPE("again");
    while (console_port_get(&guests[0].console) == 'h') {
    }
    assert_heard(0, "gain");
}

/* The keys are seen behind what a full ring has no room for. */
static void test_keys_behind_input(void **state)
{
    (void)state;
    static char text[CONSOLE_INPUT_SIZE + 10];
    make(2);
    memset(text, 'h', sizeof(text));
    wire.in = text;
    wire.in_length = sizeof(text);
    while (wire.in_length > 0) {
        terminal_serve();
    }
    TYPE("\x1dnx");
    assert_heard(1, "x");
    assert_non_null(strstr(wire.out, "[-] one has not read the last 10 bytes of input: dropped\r\n"));
}

/* A guest that reads slowly loses nothing. */
static void test_slow_reader(void **state)
{
    (void)state;
    static char text[CONSOLE_INPUT_SIZE + TYPE_AHEAD_SIZE + 100];
    make(1);
    for (unsigned n = 0; n < sizeof(text); n++) {
        text[n] = (char)('a' + n % 23);
    }
    wire.in = text;
    wire.in_length = sizeof(text);
    for (unsigned n = 0; n < sizeof(text); n++) {
        if (wire.receive) {
            terminal_serve();
            terminal_serve();
        }
        if (n < 130) {
            pass_ticks(HELD_TICKS - 1);
        } else {
            terminal_serve();
        }
        assert_int_equal(console_port_get(&guests[0].console), text[n]);
    }
}

/* --- capsules come and go --- */

static void test_attach_later(void **state)
{
    (void)state;
    make(0);
    make_one(0);
    terminal_attach(&guests[0]);
    say(0, "hello\n");
    assert_said("one| hello\r\n");
    TYPE("x");
    assert_heard(0, "x");
    TYPE("\x1ds");
    forget_said();
    make_one(1);
    terminal_attach(&guests[1]);
    say(1, "unseen\n");
    assert_said("");
}

static void assert_unknown(const struct capsule *capsule)
{
    for (unsigned n = 0; n < SEATS_MAX; n++) {
        assert_ptr_not_equal(terminal.seats[n].capsule, capsule);
        assert_true(terminal.seats[n].capsule != NULL || !set_has(&terminal.taken, n));
    }
}

static void test_detach(void **state)
{
    (void)state;
    make_colored(3);
    say(0, "half");
    TYPE("typed");
    atomic_store(&guests[0].state, CAPSULE_DESTROYING);
    forget_said();
    terminal_detach(&guests[0]);
    assert_unknown(&guests[0]);
    assert_said("\r\n\x1b[1m[-] input goes to two\x1b[0m\r\n");
    say(0, "nobody hears");
    terminal_serve();
    assert_said("");
    terminal_attach(&guests[0]); /* its seat is free again */
    assert_int_equal(guests[0].console.slot, 0);
    terminal_detach(&guests[2]);
    terminal_detach(&guests[1]);
    terminal_detach(&guests[0]);
    terminal_detach(&guests[0]);
    assert_int_equal(terminal.focus, NOBODY);
    TYPE("x\x1dn\x1d"
         "b\x1ds\x1d"
         "a");
    pass_ticks(3);
}

static void test_detach_raw_owner(void **state)
{
    (void)state;
    make(1);
    say(0, "raw");
    atomic_store(&guests[0].state, CAPSULE_DESTROYING);
    terminal_detach(&guests[0]);
    assert_said("raw\r\n");
    make_one(1);
    terminal_attach(&guests[1]);
    say(1, "hello\n");
    assert_said("two| hello\r\n");
}

/* Another one that goes breaks no line of the one that has the terminal alone. */
static void test_detach_beside_raw(void **state)
{
    (void)state;
    make(2);
    TYPE("\x1ds");
    say(0, "o");
    forget_said();
    atomic_store(&guests[1].state, CAPSULE_DESTROYING);
    terminal_detach(&guests[1]);
    say(0, "ne\r\n");
    assert_said("ne\r\n");
}

/* Sets find what is in them, from anywhere on. */
static void test_sets(void **state)
{
    (void)state;
    struct seat_set set = {{0}};
    assert_true(set_is_empty(&set));
    set_add(&set, 5);
    set_add(&set, 200);
    assert_int_equal(set_next(&set, 0), 5);
    assert_int_equal(set_next(&set, 5), 5);
    assert_int_equal(set_next(&set, 6), 200);
    assert_int_equal(set_next(&set, 201), 5);
    assert_int_equal(set_next(&set, SEATS_MAX), 5);
    set_remove(&set, 5);
    assert_int_equal(set_next(&set, 201), 200);
}

/* With two hundred that all write, everyone's turn comes. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 200 };
    struct capsule *many = calloc(MANY, sizeof(*many));
    for (unsigned n = 0; n < MANY; n++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "c%u", n);
        console_port_init(&many[n].console, name);
        many[n].id = n + 1;
        atomic_store(&many[n].state, CAPSULE_RUNNING);
        terminal_attach(&many[n]);
    }
    terminal_start(true, 1000000);
    wire.room = 0;
    for (unsigned n = 0; n < MANY * 4; n++) {
        console_port_write(&many[n % MANY].console, (const uint8_t *)"hello\n", 6);
    }
    wire.room = MANY * 16;
    let_out();
    for (unsigned n = 0; n < MANY; n++) {
        char line[24];
        (void)snprintf(line, sizeof(line), "c%u| hello\r\n", n);
        assert_non_null(strstr(wire.out, line));
    }
    for (unsigned n = 0; n < MANY; n++) {
        terminal_detach(&many[n]);
    }
    free(many);
    wire.room = WIRE_SIZE / 2;
    terminal_serve();
    pass_ticks(2);
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

/* --- while another hart has the terminal --- */

/* A writer doesn't wait: what it wrote goes out as the other lets go. */
static void test_writer_does_not_wait(void **state)
{
    (void)state;
    make(2);
    spinlock_take(&terminal.lock);
    say(0, "first\n");
    say(1, "second\n");
    assert_int_equal(wire.out_length, 0);
    let_go();
    assert_unlocked();
    assert_false(atomic_load(&terminal.called));
    assert_said("two| second\r\none| first\r\n");
}

static void test_raw_writer_does_not_wait(void **state)
{
    (void)state;
    make(1);
    spinlock_take(&terminal.lock);
    say(0, "a prompt> ");
    let_go();
    assert_said("a prompt> ");
}

/* The machine goes off before whoever had it has let go: what was written comes out all the same. */
static void test_flush_has_what_was_called_for(void **state)
{
    (void)state;
    make(2);
    say(0, "begun, ");
    spinlock_take(&terminal.lock);
    say(0, "ended\n");
    say(1, "second\n");
    spinlock_release(&terminal.lock);
    wire.room = 0; /* busy: nothing goes out but by waiting */
    terminal_flush();
    assert_string_equal(wire.out, "one| begun, \r\ntwo| second\r\none: ended\r\n");
}

/* Nor does a reader: what was typed ahead comes as the other lets go. */
static void test_reader_does_not_wait(void **state)
{
    (void)state;
    static char text[CONSOLE_INPUT_SIZE + 8];
    memset(text, 'x', sizeof(text));
    make(1);
    type(text, sizeof(text));
    while (wire.in_length > 0) {
        terminal_serve();
    }
    assert_int_equal(terminal.ahead_head - terminal.ahead_tail, 8);
    spinlock_take(&terminal.lock);
    assert_int_equal(console_port_get(&guests[0].console), 'x');
    assert_int_equal(terminal.ahead_head - terminal.ahead_tail, 8);
    let_go();
    assert_int_equal(terminal.ahead_head - terminal.ahead_tail, 7);
}

/* Who has just been detached left word before. */
static void test_caller_is_gone(void **state)
{
    (void)state;
    make(2);
    spinlock_take(&terminal.lock);
    say(1, "lost\n");
    modes_detach(1);
    guests[1].console.slot = CONSOLE_NO_SLOT;
    let_go();
    assert_true(set_is_empty(&terminal.ready));
    say(0, "goes on\n");
    assert_unlocked();
}

/* One that writes whenever another's byte goes out, as if from a further hart: the rest is left to the serving hart. */
static void write_once_more(void)
{
    wire.on_put = NULL;
    say(1, "more\n");
    wire.on_put = write_once_more;
}

static void ring(struct hart *hart)
{
    assert_ptr_equal(hart, hart_this());
}

static void test_callers_without_end(void **state)
{
    (void)state;
    make(2);
    hart_ops.ring = ring;
    wire.on_put = write_once_more;
    say(0, "first\n");
    wire.on_put = NULL;
    assert_unlocked();
    assert_int_equal(atomic_load(&hart_this()->requests), HART_TERMINAL);
    assert_true(atomic_load(&terminal.called));
    terminal_serve();
    assert_false(atomic_load(&terminal.called));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TERMINAL_TEST(test_writer_does_not_wait),
        TERMINAL_TEST(test_raw_writer_does_not_wait),
        TERMINAL_TEST(test_flush_has_what_was_called_for),
        TERMINAL_TEST(test_reader_does_not_wait),
        TERMINAL_TEST(test_caller_is_gone),
        TERMINAL_TEST(test_callers_without_end),
        TERMINAL_TEST(test_early),
        TERMINAL_TEST(test_no_port),
        TERMINAL_TEST(test_polling),
        TERMINAL_TEST(test_nobody_attached),
        TERMINAL_TEST(test_too_many),
        TERMINAL_TEST(test_raw_is_byte_for_byte),
        TERMINAL_TEST(test_escape_key),
        TERMINAL_TEST(test_log_beside_raw),
        TERMINAL_TEST(test_back_pressure),
        TERMINAL_TEST(test_rests),
        TERMINAL_TEST(test_refused_writer_is_told_although_all_is_out),
        TERMINAL_TEST(test_paste),
        TERMINAL_TEST(test_reset_reopens_input),
        TERMINAL_TEST(test_labels),
        TERMINAL_TEST(test_labelled_guest_cannot_pretend),
        TERMINAL_TEST(test_endless_line),
        TERMINAL_TEST(test_endless_returns),
        TERMINAL_TEST(test_long_line_alone),
        TERMINAL_TEST(test_log_beside_a_flood),
        TERMINAL_TEST(test_log_flood),
        TERMINAL_TEST(test_focus),
        TERMINAL_TEST(test_redrawing),
        TERMINAL_TEST(test_redrawn_once),
        TERMINAL_TEST(test_long_lines_are_not_erased),
        TERMINAL_TEST(test_backspace),
        TERMINAL_TEST(test_return),
        TERMINAL_TEST(test_slow_line),
        TERMINAL_TEST(test_byte_by_byte),
        TERMINAL_TEST(test_focus_without_typing),
        TERMINAL_TEST(test_prompts),
        TERMINAL_TEST(test_without_colors_no_escapes),
        TERMINAL_TEST(test_manager_is_raw),
        TERMINAL_TEST(test_reset_after_raw),
        TERMINAL_TEST(test_two_managers),
        TERMINAL_TEST(test_alone_and_all),
        TERMINAL_TEST(test_hidden_writer_is_told),
        TERMINAL_TEST(test_numbers),
        TERMINAL_TEST(test_raw_owner_stops),
        TERMINAL_TEST(test_break_key),
        TERMINAL_TEST(test_monitor),
        TERMINAL_TEST(test_monitor_echo_first),
        TERMINAL_TEST(test_monitor_silent_steps),
        TERMINAL_TEST(test_monitor_line),
        TERMINAL_TEST(test_hung_guest),
        TERMINAL_TEST(test_keys_behind_input),
        TERMINAL_TEST(test_slow_reader),
        TERMINAL_TEST(test_attach_later),
        TERMINAL_TEST(test_detach),
        TERMINAL_TEST(test_detach_raw_owner),
        TERMINAL_TEST(test_detach_beside_raw),
        TERMINAL_TEST(test_sets),
        TERMINAL_TEST(test_many),
        TERMINAL_TEST(test_flush_raw),
        TERMINAL_TEST(test_flush_labelled),
    };
    return cmocka_run_group_tests_name("terminal", tests, NULL, NULL);
}
