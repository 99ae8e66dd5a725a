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
    STAGE_SIZE = 16384,  /* log lines and labelled output on their way to the UART; a power of two */
    PORTS_MAX = 64,
    MOVE_MAX = 512,      /* bytes out in one go */
    RECEIVE_MAX = 64,    /* bytes in in one go */
    ESCAPE = 0x1d,       /* Ctrl-] */
    POLL_PER_SECOND = 500, /* without an interrupt */
};

static struct {
    struct spinlock lock;
    struct console_port *ports[PORTS_MAX];
    struct capsule *capsules[PORTS_MAX];
    uint32_t count;
    uint32_t focus;      /* whom input goes to */
    uint32_t writer;     /* labelled: whose line is being written */
    bool at_line_start;  /* labelled: nothing of writer's line is out yet */
    bool started, receive_off, escaped;
    uint32_t head, tail;
    uint8_t stage[STAGE_SIZE];
} terminal = { .at_line_start = true };

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

static uint32_t stage_room(void)
{
    return STAGE_SIZE - (terminal.head - terminal.tail);
}

/* Whole or not at all, so that no line is torn. */
static void stage_text(const char *text, size_t length)
{
    if (length > stage_room()) {
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

/* The next port that has output, from the writer on: it keeps its line while it has more to say. */
static bool choose_writer(void)
{
    for (uint32_t n = 0; n < terminal.count; n++) {
        uint32_t port = (terminal.writer + n) % terminal.count;
        if (byte_ring_used(&terminal.ports[port]->output) != 0) {
            if (port != terminal.writer) {
                finish_line();
                terminal.writer = port;
            }
            return true;
        }
    }
    return false;
}

/* Labelled mode: moves bytes from ports to the stage while it surely has room for them. */
static void stage_ports(void)
{
    for (unsigned n = 0; n < MOVE_MAX && stage_room() > 64 && choose_writer(); n++) {
        uint8_t byte;
        if (console_port_drain(terminal.ports[terminal.writer], &byte, 1) == 1) {
            stage_guest_byte(terminal.writer, byte);
            if (terminal.at_line_start) {
                terminal.writer = (terminal.writer + 1) % terminal.count;
            }
        }
    }
}

static bool next_byte(uint8_t *byte)
{
    if (terminal.head != terminal.tail) {
        *byte = terminal.stage[terminal.tail++ % STAGE_SIZE];
        return true;
    }
    return raw() && console_port_drain(terminal.ports[0], byte, 1) == 1;
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

/* With terminal.lock held. */
static void move_out(void)
{
    uint8_t byte;
    if (!raw()) {
        stage_ports();
    }
    for (unsigned n = 0; n < MOVE_MAX && serial_can_put() && next_byte(&byte); n++) {
        serial_put(byte);
    }
    serial_interrupts(!terminal.receive_off, anything_left());
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

/* With terminal.lock held; true if the port in focus got something. Bytes stay in the UART while the port is full. */
static bool move_in(void)
{
    bool fed = false;
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
            fed = true;
        }
        port = terminal.ports[terminal.focus];
    }
    return fed;
}

static void discard_input(void)
{
    for (unsigned n = 0; n < RECEIVE_MAX && serial_get() >= 0; n++) {
        /* nobody is there to read it */
    }
}

void terminal_serve(void)
{
    bool told[PORTS_MAX] = { false };
    spinlock_take(&terminal.lock);
    if (terminal.count != 0) {
        told[terminal.focus] = move_in();
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
        serial_interrupts(true, false);
    } else if (serial_present()) {
        poll_ticks = timebase_hz / POLL_PER_SECOND;
        poll_timer.fire = poll;
        poll(&poll_timer);
    }
}

void terminal_flush(void)
{
    uint8_t byte;
    for (uint32_t n = 0; n < STAGE_SIZE + CONSOLE_RING_SIZE && next_byte(&byte); n++) {
        serial_put_wait((char)byte);
    }
}
