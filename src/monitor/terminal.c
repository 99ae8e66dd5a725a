/* SPDX-License-Identifier: MIT
 *
 * The terminal: see terminal.h, and terminal_parts.h for the other files of it. Lock order: a device's lock →
 * terminal.lock → a port's lock. Ports are told of news (console_port_notify) with no lock held, since that takes their
 * device's lock; so does whatever the monitor does.
 */
#include "monitor/terminal.h"

#include <string.h>

#include "core/log.h"
#include "core/panic.h"
#include "driver/serial.h"
#include "monitor/monitor.h"
#include "monitor/terminal_parts.h"

enum {
    RECEIVE_MAX = 64,        /* bytes in in one go */
    MONITOR_PIECE_MAX = 256, /* bytes of the monitor's at once */
    MONITOR_STEPS_MAX = 8,   /* of the monitor's work in one go */
    ANSWERS_MAX = 4,         /* rounds for ports that called while the lock was taken */
    FLUSH_MAX = 1024 * KIB,
    POLL_PER_SECOND = 500, /* without an interrupt */
};

struct terminal terminal = {.focus = NOBODY, .screen.line_of = NOBODY};

static struct timer poll_timer;
static uint64_t poll_ticks;

/* --- the lock ---------------------------------------------------------------------------------------------------- */

/* Under it: notes what ports have called for meanwhile. */
static void note_calls(void)
{
    atomic_store(&terminal.called, false); /* first: whoever calls from now on is seen the next time */
    for (uint32_t word = 0; word < SEATS_MAX / 32; word++) {
        const uint32_t taken = terminal.taken.words[word];
        terminal.ready.words[word] |= atomic_exchange(&terminal.wrote[word], 0) & taken;
        uint32_t readers = atomic_exchange(&terminal.read[word], 0) & taken;
        for (; readers != 0; readers &= readers - 1) {
            keys_read_by(word * 32 + (uint32_t)__builtin_ctz(readers));
        }
    }
}

/* Behind a release, or a call: either we see the call, or the caller that the lock is free. */
static bool was_called(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&terminal.called, memory_order_relaxed);
}

/* Without it: answers whoever called while somebody had it and did not wait. If there is no end to that, the serving
 * hart goes on. */
static void answer_waiting(void)
{
    for (unsigned n = 0; was_called(); n++) {
        if (n == ANSWERS_MAX) {
            hart_ask(terminal.hart, HART_TERMINAL);
            break;
        }
        if (!spinlock_try(&terminal.lock)) {
            break; /* whoever has it looks after this, as he lets go */
        }
        note_calls();
        mux_move_out();
        spinlock_release(&terminal.lock);
    }
}

/* Each release is one of these. */
static void let_go(void)
{
    spinlock_release(&terminal.lock);
    if (was_called()) { /* mostly not, and each byte that a guest writes comes by here */
        answer_waiting();
    }
}

/* --- serving ----------------------------------------------------------------------------------------------------- */

static void ask_monitor(uint8_t byte)
{
    let_go();
    bool stays = monitor_input(byte);
    spinlock_take(&terminal.lock);
    terminal.monitor_more = true;
    if (!stays && terminal.in_monitor) {
        modes_leave_monitor();
    }
}

static void receive(void)
{
    uint8_t byte;
    for (unsigned n = 0; n < RECEIVE_MAX; n++) {
        switch (keys_take(&byte)) {
        case KEYS_NOTHING:
            return;
        case KEYS_ENTER_MONITOR:
            let_go();
            monitor_enter();
            spinlock_take(&terminal.lock);
            break;
        case KEYS_MONITOR:
            ask_monitor(byte);
            break;
        case KEYS_DONE:
            break;
        }
    }
}

/* The monitor's output is only taken here, on the serving hart, as its input is given here. */
static void pull_monitor(void)
{
    char text[MONITOR_PIECE_MAX];
    while (terminal.in_monitor && terminal.monitor_more && screen_staged() < STAGE_FOR_GUESTS) {
        let_go();
        size_t length = monitor_output(text, sizeof(text));
        spinlock_take(&terminal.lock);
        screen_monitor(text, length);
        terminal.monitor_more = length != 0;
    }
}

/* Each at most once, whatever is added meanwhile. */
static void tell_ports(void)
{
    uint32_t from = 0;
    for (uint32_t seat = set_next(&terminal.told, 0); seat != NOBODY && seat >= from;
         seat = set_next(&terminal.told, from)) {
        struct console_port *port = seat_port(seat);
        from = seat + 1;
        set_remove(&terminal.told, seat);
        let_go();
        console_port_notify(port);
        spinlock_take(&terminal.lock);
        if (atomic_load(&port->again) && set_has(&terminal.taken, seat)) {
            atomic_store(&port->again, false); /* if it is set meanwhile, that is told of too */
            set_add(&terminal.told, seat);
        }
        if (from == SEATS_MAX) {
            break;
        }
    }
}

/* Some steps of what was typed at the monitor, with no lock held. */
static void do_monitor_work(void)
{
    let_go();
    for (unsigned n = 0; n < MONITOR_STEPS_MAX && monitor_has_work(); n++) {
        monitor_work();
    }
    const bool left = monitor_left();
    spinlock_take(&terminal.lock);
    terminal.monitor_more = true;
    if (left && terminal.in_monitor) {
        modes_leave_monitor();
    }
}

void terminal_serve(void)
{
    spinlock_take(&terminal.lock);
    modes_refresh();
    receive();
    pull_monitor(); /* what was typed comes before what it leads to */
    if (monitor_has_work()) {
        do_monitor_work();
    }
    pull_monitor();
    mux_move_out();
    tell_ports();
    mux_rest();
    let_go();
}

/* Under the lock. */
static void serve_port(uint32_t seat, bool output)
{
    if (output && mux_pass_raw(seat)) {
        return;
    }
    if (output) {
        set_add(&terminal.ready, seat);
    } else {
        keys_read_by(seat);
    }
    mux_move_out();
}

/* From a port, perhaps with its device's lock held: nobody may be told of anything here. A guest that writes byte by
 * byte comes here for each: it doesn't wait for its neighbours, who do the same, but leaves word. */
static void pump(struct console_port *port, bool output)
{
    const uint32_t seat = atomic_load(&port->slot);
    if (seat == CONSOLE_NO_SLOT) {
        return;
    }
    if (spinlock_try(&terminal.lock)) {
        if (set_has(&terminal.taken, seat)) { /* it may just have been detached */
            serve_port(seat, output);
        }
        let_go();
        return;
    }
    atomic_fetch_or(output ? &terminal.wrote[seat / 32] : &terminal.read[seat / 32], (uint32_t)1 << seat % 32);
    atomic_store(&terminal.called, true);
    answer_waiting();
}

/* --- time -------------------------------------------------------------------------------------------------------- */

static void tick(struct timer *timer)
{
    (void)timer;
    spinlock_take(&terminal.lock);
    terminal.tick_armed = false;
    mux_tick();
    keys_tick();
    let_go();
    terminal_serve();
}

static void rest_is_over(struct timer *timer)
{
    (void)timer;
    spinlock_take(&terminal.lock);
    terminal.resting = false;
    let_go();
    terminal_serve();
}

/* False: no hart serves the terminal yet. */
static bool arm(struct timer *timer, uint64_t ticks)
{
    if (terminal.hart == NULL) {
        return false;
    }
    hart_arm(terminal.hart, timer, clock_now() + ticks);
    return true;
}

void terminal_want_tick(void)
{
    terminal.tick_armed = terminal.tick_armed || arm(&terminal.tick, terminal.tick_period);
}

void terminal_want_rest(void)
{
    terminal.resting = terminal.resting || arm(&terminal.rest, terminal.rest_period);
}

/* Where the UART's interrupt can't be had, this hart looks at it now and then. */
static void poll(struct timer *timer)
{
    struct hart *hart = hart_this();
    terminal_serve();
    timer_arm(&hart->timers, timer, clock_now() + poll_ticks);
}

/* --- log lines --------------------------------------------------------------------------------------------------- */

/* A running guest that has the terminal alone is not disturbed: the line is kept in the log's ring. */
static void log_sink(enum log_level level, const char *line, size_t length)
{
    spinlock_take(&terminal.lock);
    if (atomic_load(&terminal.called)) { /* what a guest has said before comes before */
        note_calls();
        mux_move_out();
    }
    if (!terminal.started) {
        for (size_t n = 0; n < length; n++) {
            serial_put_wait(line[n]);
        }
    } else if (level == LOG_ALERT || !mux_is_raw() || !seat_is_running(terminal.focus)) {
        mux_settle_raw();
        modes_refresh();
        screen_line(line, length - 2);
        mux_move_out();
    }
    let_go();
}

/* --- setting up -------------------------------------------------------------------------------------------------- */

void terminal_early(const struct machine_uart *uart)
{
    if (serial_init(uart)) {
        panic_set_output(serial_put_wait);
        log_set_sink(log_sink);
    }
}

void terminal_set_color(bool on)
{
    terminal.color = on;
}

void terminal_attach(struct capsule *capsule)
{
    spinlock_take(&terminal.lock);
    for (uint32_t seat = 0; seat < SEATS_MAX; seat++) {
        if (!set_has(&terminal.taken, seat)) {
            terminal.seats[seat] = (struct seat){.capsule = capsule};
            capsule->console.slot = (uint16_t)seat;
            capsule->console.pump = pump;
            modes_attach(seat);
            break;
        }
    }
    let_go();
}

void terminal_detach(struct capsule *capsule)
{
    spinlock_take(&terminal.lock);
    uint32_t seat = capsule->console.slot;
    if (seat != CONSOLE_NO_SLOT) {
        modes_detach(seat);
        capsule->console.slot = CONSOLE_NO_SLOT;
        terminal.seats[seat] = (struct seat){0};
        mux_move_out();
    }
    let_go();
}

bool terminal_focus(const char *name)
{
    bool found = false;
    spinlock_take(&terminal.lock);
    for (uint32_t seat = 0; seat < SEATS_MAX && !found; seat++) {
        if (set_has(&terminal.taken, seat) && strcmp(seat_name(seat), name) == 0) {
            modes_choose(seat);
            found = true;
        }
    }
    let_go();
    return found;
}

void terminal_start(bool has_interrupt, uint32_t timebase_hz)
{
    spinlock_take(&terminal.lock);
    terminal.hart = hart_this();
    terminal.tick.fire = tick;
    terminal.tick_period = timebase_hz / TICKS_PER_SECOND;
    terminal.rest.fire = rest_is_over;
    terminal.rest_period = timebase_hz / RESTS_PER_SECOND + 1;
    modes_start();
    if (has_interrupt) {
        mux_set_interrupts();
    }
    let_go();
    if (!has_interrupt && serial_present()) {
        poll_ticks = timebase_hz / POLL_PER_SECOND;
        poll_timer.fire = poll;
        poll(&poll_timer);
    }
}

void terminal_flush(void)
{
    uint8_t byte;
    spinlock_take(&terminal.lock); /* no other hart shall move bytes meanwhile */
    terminal.flushing = true;
    note_calls();
    for (size_t n = 0; n < ARRAY_LENGTH(terminal.ready.words); n++) {
        terminal.ready.words[n] |= terminal.young.words[n] | terminal.old.words[n];
    }
    mux_fill();
    for (uint32_t n = 0; n < FLUSH_MAX && mux_next_byte(&byte); n++) {
        serial_put_wait((char)byte);
        mux_fill();
    }
    screen_restore();
    while (screen_take(&byte)) {
        serial_put_wait((char)byte);
    }
    terminal.flushing = false;
    let_go();
}
