/* SPDX-License-Identifier: MIT
 *
 * Output: which capsule's turn it is, line by line, and the UART. Each turn is one line, or one piece of a long one,
 * and goes round: a capsule that writes without end takes nothing from another but time on the wire.
 */
#include "driver/serial.h"
#include "monitor/monitor.h"
#include "monitor/terminal_parts.h"

enum {
    MOVE_MAX = 64, /* bytes out in one go */
    TURNS_MAX = 8, /* seats looked at in one go, for one line or piece of one to the stage */
};

uint32_t set_next(const struct seat_set *set, uint32_t from)
{
    const uint32_t words = ARRAY_LENGTH(set->words);
    uint32_t first = from % SEATS_MAX;
    uint32_t word = set->words[first / 32] & UINT32_MAX << first % 32;
    for (uint32_t n = 1; n <= words && word == 0; n++) {
        first = (first / 32 + 1) % words * 32;
        word = set->words[first / 32];
    }
    return word == 0 ? NOBODY : first / 32 * 32 + (uint32_t)__builtin_ctz(word);
}

bool mux_is_raw(void)
{
    return !terminal.in_monitor && terminal.mode == MODE_RAW && terminal.focus != NOBODY;
}

static bool is_labelled(void)
{
    return !terminal.in_monitor && !mux_is_raw();
}

/* --- labelled ---------------------------------------------------------------------------------------------------- */

/* Nothing is left, or not enough to be shown yet. */
static void wait_for_more(uint32_t seat)
{
    set_remove(&terminal.ready, seat);
    set_remove(&terminal.late, seat);
    set_remove(&terminal.young, seat);
    set_remove(&terminal.old, seat);
    if (console_port_has_output(seat_port(seat))) {
        set_add(&terminal.young, seat);
        terminal_want_tick();
    }
}

static void tell_dropped(uint32_t seat)
{
    if (terminal.seats[seat].dropped != 0) {
        screen_notice("%s: %llu bytes of output are lost here", seat_name(seat),
                      (unsigned long long)terminal.seats[seat].dropped);
        terminal.seats[seat].dropped = 0;
    }
}

static void put_filtered(uint32_t seat, const uint8_t *bytes, size_t length)
{
    char text[LINE_PIECE_MAX + FILTER_OUT_MAX];
    size_t kept = 0;
    for (size_t n = 0; n < length; n++) {
        kept += filter_byte(&terminal.seats[seat].filter, bytes[n], text + kept);
    }
    screen_guest(seat, text, kept);
}

/* Whether what has no end yet is shown: echoes of what is typed at once, else what stands still. */
static bool shows_unfinished(uint32_t seat)
{
    return terminal.flushing || set_has(&terminal.late, seat) ||
           (seat == terminal.focus && clock_now() < terminal.echo_until);
}

/* A line or a piece of one; false: there is none. */
static bool take_turn(uint32_t seat)
{
    uint8_t bytes[LINE_PIECE_MAX];
    struct console_port *port = seat_port(seat);
    size_t length = console_port_drain_line(port, bytes, sizeof(bytes), shows_unfinished(seat));
    if (console_port_refused(port)) {
        set_add(&terminal.told, seat);
    }
    if (length == 0) {
        wait_for_more(seat);
        return false;
    }
    set_remove(&terminal.young, seat);
    set_remove(&terminal.old, seat);
    set_remove(&terminal.late, seat);
    tell_dropped(seat);
    put_filtered(seat, bytes, length);
    if (!console_port_has_output(port)) {
        wait_for_more(seat);
    }
    return true;
}

void mux_fill(void)
{
    for (unsigned n = 0; n < TURNS_MAX && screen_staged() < STAGE_FOR_GUESTS; n++) {
        uint32_t seat = is_labelled() ? set_next(&terminal.ready, terminal.writer + 1) : NOBODY;
        if (seat == NOBODY) {
            break;
        }
        terminal.writer = seat;
        if (take_turn(seat)) {
            break;
        }
    }
}

void mux_tick(void)
{
    for (size_t n = 0; n < ARRAY_LENGTH(terminal.old.words); n++) {
        terminal.late.words[n] |= terminal.old.words[n];
        terminal.ready.words[n] |= terminal.old.words[n];
    }
    terminal.old = terminal.young;
    terminal.young = (struct seat_set){{0}};
    if (!set_is_empty(&terminal.old)) {
        terminal_want_tick();
    }
}

/* --- raw --------------------------------------------------------------------------------------------------------- */

/* The capsule's next byte, as it is. */
static bool raw_byte(uint8_t *byte)
{
    struct console_port *port = seat_port(terminal.focus);
    if (console_port_drain(port, byte, 1) != 1) {
        return false;
    }
    if (console_port_refused(port)) {
        set_add(&terminal.told, terminal.focus);
    }
    terminal.screen.raw_in_line = *byte != '\n';
    return true;
}

void mux_settle_raw(void)
{
    uint8_t byte;
    if (!mux_is_raw()) {
        return;
    }
    while (screen_staged() < STAGE_SIZE - LOG_LINE_MAX - 2 && raw_byte(&byte)) {
        screen_put((const char *)&byte, 1);
    }
    screen_settle();
}

/* --- the UART ---------------------------------------------------------------------------------------------------- */

bool mux_next_byte(uint8_t *byte)
{
    return screen_take(byte) || (mux_is_raw() && raw_byte(byte));
}

/* The usual case made short: nothing waits, and the UART can take it. False: the long way has to look. */
bool mux_pass_raw(uint32_t seat)
{
    if (seat != terminal.focus || !mux_is_raw() || terminal.transmit_on || screen_staged() != 0) {
        return false;
    }
    struct console_port *port = seat_port(seat);
    uint8_t byte;
    for (unsigned n = 0; n < MOVE_MAX && serial_can_put(); n++) {
        if (!raw_byte(&byte)) {
            return !console_port_refused(port);
        }
        serial_put(byte);
    }
    return false;
}

static bool anything_left(void)
{
    if (screen_staged() != 0 || !set_is_empty(&terminal.told) || monitor_has_work()) {
        return true; /* ports are told, and the monitor works, from terminal_serve */
    }
    if (mux_is_raw()) {
        return console_port_has_output(seat_port(terminal.focus));
    }
    return screen_is_erased() || (terminal.in_monitor ? terminal.monitor_more : !set_is_empty(&terminal.ready));
}

/* Every byte that a guest writes comes by here: registers are only written if something changes. */
void mux_set_interrupts(void)
{
    bool receive = !terminal.receive_off;
    bool transmit = !terminal.resting && anything_left();
    if (receive != terminal.receive_on || transmit != terminal.transmit_on) {
        terminal.receive_on = receive;
        terminal.transmit_on = transmit;
        serial_interrupts(receive, transmit);
    }
}

/* The transmitter's interrupt would be back at once: it stays off for a while, for others to have the hart. */
void mux_rest(void)
{
    if (anything_left() && serial_can_put()) {
        terminal_want_rest();
    }
    mux_set_interrupts();
}

static void put_out(void)
{
    uint8_t byte;
    for (unsigned n = 0; n < MOVE_MAX && serial_can_put() && mux_next_byte(&byte); n++) {
        serial_put(byte);
    }
}

void mux_move_out(void)
{
    mux_fill();
    put_out();
    if (screen_is_erased() && screen_staged() == 0) {
        screen_restore(); /* others' lines are through */
        put_out();
    }
    mux_set_interrupts();
}
