/* SPDX-License-Identifier: MIT
 *
 * The terminal: see terminal.h. Lock order: a device's lock → terminal.lock → a port's lock. Ports are told of news
 * (console_port_notify) with no lock held, since that takes their device's lock.
 */
#include "monitor/terminal.h"

#include <string.h>

#include "core/hart.h"
#include "core/log.h"
#include "core/panic.h"
#include "driver/serial.h"
#include "lib/format.h"

enum {
    STAGE_SIZE = 16384,      /* log lines and labelled output on their way to the UART; a power of two */
    STAGE_FOR_GUESTS = 1024, /* of that: what capsules may fill, so that log lines find room whatever they write */
    PORTS_MAX = CAPSULES_MAX,
    TURN_MAX = 256,   /* bytes of one capsule, if others wait, before its line is cut */
    MOVE_MAX = 512,   /* bytes out in one go */
    RECEIVE_MAX = 64, /* bytes in in one go */
    FLUSH_MAX = 1024 * KIB,
    ESCAPE = 0x1d,         /* Ctrl-] */
    POLL_PER_SECOND = 500, /* without an interrupt */
};

static struct {
    struct spinlock lock;
    struct console_port *ports[PORTS_MAX];
    struct capsule *capsules[PORTS_MAX];
    uint32_t count;
    uint32_t focus;     /* whom input goes to */
    uint32_t writer;    /* labelled: whose line is being written */
    uint32_t turn;      /* labelled: bytes since it became the writer */
    bool at_line_start; /* labelled: nothing of writer's line is out yet */
    bool raw_in_line;   /* raw: the capsule's last byte did not end a line */
    bool started, receive_off, escaped;
    bool receive_on, transmit_on; /* the UART's interrupts as they were last set */
    uint32_t head, tail;
    uint8_t stage[STAGE_SIZE];
} terminal = {.at_line_start = true};

static struct timer poll_timer;
static uint64_t poll_ticks;

static bool raw(void)
{
    return terminal.count == 1;
}

static bool alive(const struct capsule *capsule)
{
    enum capsule_state state = capsule_state(capsule);
    return state == CAPSULE_RUNNING || state == CAPSULE_FILLING;
}

/* --- output --------------------------------------------------------------------------------------------------- */

static uint32_t staged(void)
{
    return terminal.head - terminal.tail;
}

/* Whole or not at all, so that no line is torn. */
static void stage_text(const char *text, size_t length)
{
    if (length > STAGE_SIZE - staged()) {
        return;
    }
    for (size_t n = 0; n < length; n++) {
        terminal.stage[terminal.head++ % STAGE_SIZE] = (uint8_t)text[n];
    }
}

static void stage_label(uint32_t port)
{
    char label[48];
    size_t length = format(label, sizeof(label), "%s| ", terminal.ports[port]->label);
    stage_text(label, MIN(length, sizeof(label) - 1));
}

/* A guest's byte in labelled mode: nothing that could look like the hypervisor's own line or move the cursor. */
static void stage_guest_byte(uint32_t port, uint8_t byte)
{
    if (byte == '\r') {
        return;
    }
    if (terminal.at_line_start) {
        stage_label(port);
        terminal.at_line_start = false;
    }
    if (byte == '\n') {
        stage_text("\r\n", 2);
        terminal.at_line_start = true;
        return;
    }
    char shown = (byte >= ' ' && byte < 0x7f) || byte == '\t' ? (char)byte : '?';
    stage_text(&shown, 1);
}

static void finish_line(void)
{
    if (!terminal.at_line_start) {
        stage_text("\r\n", 2);
        terminal.at_line_start = true;
    }
}

/* The next port that has output, from the writer on: it keeps its line while it has more to say, until its turn is over
 * and another waits. */
static bool choose_writer(void)
{
    uint32_t first = terminal.turn < TURN_MAX ? 0 : 1;
    for (uint32_t n = first; n < terminal.count + first; n++) {
        uint32_t port = (terminal.writer + n) % terminal.count;
        if (byte_ring_used(&terminal.ports[port]->output) != 0) {
            if (port != terminal.writer) {
                finish_line();
                terminal.writer = port;
            }
            terminal.turn = n == 0 ? terminal.turn : 0;
            return true;
        }
    }
    return false;
}

/* Labelled mode: moves bytes from ports to the stage while it surely has room for them. */
static void stage_ports(void)
{
    if (raw()) {
        return;
    }
    for (unsigned n = 0; n < MOVE_MAX && staged() < STAGE_FOR_GUESTS && choose_writer(); n++) {
        uint8_t byte;
        if (console_port_drain(terminal.ports[terminal.writer], &byte, 1) == 1) {
            stage_guest_byte(terminal.writer, byte);
            terminal.turn++;
            if (terminal.at_line_start) {
                terminal.writer = (terminal.writer + 1) % terminal.count;
                terminal.turn = 0;
            }
        }
    }
}

/* Raw: the capsule's next byte, as it is. */
static bool raw_byte(uint8_t *byte)
{
    if (console_port_drain(terminal.ports[0], byte, 1) != 1) {
        return false;
    }
    terminal.raw_in_line = *byte != '\n';
    return true;
}

static bool next_byte(uint8_t *byte)
{
    if (terminal.head != terminal.tail) {
        *byte = terminal.stage[terminal.tail++ % STAGE_SIZE];
        return true;
    }
    return raw() && raw_byte(byte);
}

static bool anything_left(void)
{
    if (terminal.head != terminal.tail) {
        return true;
    }
    for (uint32_t n = 0; n < terminal.count; n++) {
        const struct console_port *port = terminal.ports[n];
        if (byte_ring_used(&port->output) != 0 || port->output_was_full) {
            return true; /* who was refused is told from terminal_serve */
        }
    }
    return false;
}

/* Every byte that a guest writes comes by here: registers are only written if something changes. */
static void set_interrupts(bool receive, bool transmit)
{
    if (receive != terminal.receive_on || transmit != terminal.transmit_on) {
        terminal.receive_on = receive;
        terminal.transmit_on = transmit;
        serial_interrupts(receive, transmit);
    }
}

/* With terminal.lock held. */
static void move_out(void)
{
    uint8_t byte;
    stage_ports();
    for (unsigned n = 0; n < MOVE_MAX && serial_can_put() && next_byte(&byte); n++) {
        serial_put(byte);
    }
    set_interrupts(!terminal.receive_off, anything_left());
}

/* --- input ---------------------------------------------------------------------------------------------------- */

static void focus_next(void)
{
    for (uint32_t n = 1; n <= terminal.count; n++) {
        uint32_t port = (terminal.focus + n) % terminal.count;
        if (alive(terminal.capsules[port])) {
            terminal.focus = port;
            break;
        }
    }
    char text[80];
    finish_line();
    size_t length = format(text, sizeof(text), "[-] input goes to %s\r\n", terminal.ports[terminal.focus]->label);
    stage_text(text, MIN(length, sizeof(text) - 1));
}

/* True if the byte was a command of the terminal's own. */
static bool escape_byte(uint8_t byte)
{
    static const char help[] = "\r\n[-] Ctrl-] n: input to the next capsule   Ctrl-] Ctrl-]: send Ctrl-]   "
                               "Ctrl-] ?: this list\r\n";
    if (!terminal.escaped) {
        terminal.escaped = byte == ESCAPE;
        return terminal.escaped;
    }
    terminal.escaped = false;
    if (byte == ESCAPE) {
        return false;
    }
    if (byte == 'n') {
        focus_next();
    } else {
        stage_text(help, sizeof(help) - 1);
    }
    return true;
}

/* With terminal.lock held; marks ports that got something. Bytes stay in the UART while the port in focus is full. */
static void move_in(bool told[PORTS_MAX])
{
    struct console_port *port = terminal.ports[terminal.focus];
    for (unsigned n = 0; n < RECEIVE_MAX; n++) {
        if (!console_port_can_feed(port)) {
            terminal.receive_off = true;
            break;
        }
        int byte = serial_get();
        if (byte < 0) {
            break;
        }
        if (!escape_byte((uint8_t)byte)) {
            console_port_feed(port, (uint8_t)byte);
            told[terminal.focus] = true;
        }
        port = terminal.ports[terminal.focus];
    }
}

static void discard_input(void)
{
    for (unsigned n = 0; n < RECEIVE_MAX && serial_get() >= 0; n++) {
        /* nobody is there to read it */
    }
}

void terminal_serve(void)
{
    bool told[PORTS_MAX] = {false};
    spinlock_take(&terminal.lock);
    if (terminal.count != 0) {
        move_in(told);
    } else {
        discard_input();
    }
    move_out();
    for (uint32_t n = 0; n < terminal.count; n++) {
        struct console_port *port = terminal.ports[n];
        told[n] |= port->output_was_full && byte_ring_room(&port->output) != 0;
    }
    uint32_t count = terminal.count;
    spinlock_release(&terminal.lock);
    for (uint32_t n = 0; n < count; n++) {
        if (told[n]) {
            console_port_notify(terminal.ports[n]);
        }
    }
}

/* From a port, perhaps with its device's lock held: nobody may be told of anything here. */
static void pump(struct console_port *port, bool output)
{
    (void)port;
    spinlock_take(&terminal.lock);
    if (!output) {
        terminal.receive_off = false;
    }
    move_out();
    spinlock_release(&terminal.lock);
}

/* --- log lines ------------------------------------------------------------------------------------------------ */

/* Raw: what the guest has written by now comes out before the hypervisor's line, which begins a line of its own. */
static void stage_raw(void)
{
    uint8_t byte;
    while (raw() && staged() < STAGE_SIZE - LOG_LINE_MAX - 2 && raw_byte(&byte)) {
        stage_text((const char *)&byte, 1);
    }
    if (raw() && terminal.raw_in_line) {
        stage_text("\r\n", 2);
        terminal.raw_in_line = false;
    }
}

static bool owned_raw(void)
{
    return raw() && alive(terminal.capsules[0]);
}

static void log_sink(enum log_level level, const char *line, size_t length)
{
    if (!terminal.started) {
        for (size_t n = 0; n < length; n++) {
            serial_put_wait(line[n]);
        }
        return;
    }
    if (owned_raw() && level != LOG_ALERT) {
        return; /* kept in the log's ring */
    }
    spinlock_take(&terminal.lock);
    stage_raw();
    finish_line();
    stage_text(line, length);
    move_out();
    spinlock_release(&terminal.lock);
}

/* --- setting up ------------------------------------------------------------------------------------------------ */

/* Where the UART's interrupt can't be had, this hart looks at it now and then. */
static void poll(struct timer *timer)
{
    struct hart *hart = hart_this();
    terminal_serve();
    timer_arm(&hart->timers, timer, clock_now() + poll_ticks);
}

void terminal_early(const struct machine_uart *uart)
{
    if (serial_init(uart)) {
        panic_set_output(serial_put_wait);
        log_set_sink(log_sink);
    }
}

void terminal_attach(struct capsule *capsule)
{
    if (terminal.count < PORTS_MAX) {
        capsule->console.pump = pump;
        terminal.ports[terminal.count] = &capsule->console;
        terminal.capsules[terminal.count] = capsule;
        terminal.count++;
    }
}

void terminal_start(bool has_interrupt, uint32_t timebase_hz)
{
    terminal.started = true;
    if (has_interrupt) {
        spinlock_take(&terminal.lock);
        set_interrupts(true, false);
        spinlock_release(&terminal.lock);
    } else if (serial_present()) {
        poll_ticks = timebase_hz / POLL_PER_SECOND;
        poll_timer.fire = poll;
        poll(&poll_timer);
    }
}

void terminal_flush(void)
{
    uint8_t byte;
    spinlock_take(&terminal.lock); /* no other hart shall move bytes meanwhile */
    stage_ports();
    for (uint32_t n = 0; n < FLUSH_MAX && next_byte(&byte); n++) {
        serial_put_wait((char)byte);
        stage_ports();
    }
    spinlock_release(&terminal.lock);
}
