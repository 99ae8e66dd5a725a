/* SPDX-License-Identifier: MIT
 *
 * The keyboard. Ctrl-] and the key after it are the terminal's own; the rest is for the capsule in focus. What its ring
 * has no room for waits in type_ahead, so that a Ctrl-] behind it is seen; when that is full too, bytes stay in the
 * UART, which tells the other end to wait. A guest that reads nothing for a second then loses input, and not the
 * operator his keys.
 */
#include "driver/serial.h"
#include "monitor/terminal_parts.h"

enum { ESCAPE_KEY = 0x1d }; /* Ctrl-] */

static uint32_t typed_ahead(void)
{
    return terminal.ahead_head - terminal.ahead_tail;
}

/* --- input for the capsule in focus ------------------------------------------------------------------------------- */

/* Moves what was typed ahead to the port while it has room. */
static void feed(void)
{
    while (typed_ahead() > 0 &&
           console_port_feed(seat_port(terminal.focus), terminal.type_ahead[terminal.ahead_tail % TYPE_AHEAD_SIZE])) {
        terminal.ahead_tail++;
        terminal.echo_until = clock_now() + ECHO_TICKS * terminal.tick_period;
        set_add(&terminal.told, terminal.focus);
    }
    if (typed_ahead() < TYPE_AHEAD_SIZE) {
        terminal.receive_off = false;
        terminal.held = 0;
    }
}

/* There is room in type_ahead, unless the guest is hung: then the byte is dropped. */
static void input(uint8_t byte)
{
    if (terminal.focus == NOBODY || terminal.hung) {
        return;
    }
    terminal.type_ahead[terminal.ahead_head++ % TYPE_AHEAD_SIZE] = byte;
    feed();
}

void keys_read_by(uint32_t seat)
{
    if (seat == terminal.focus) {
        terminal.hung = false;
        terminal.held = 0;
        feed();
    }
}

static uint32_t forget_typed(void)
{
    uint32_t count = typed_ahead();
    terminal.ahead_tail = terminal.ahead_head;
    terminal.receive_off = false;
    terminal.held = 0;
    return count;
}

void keys_change_focus(void)
{
    uint32_t count = forget_typed();
    terminal.hung = false;
    if (count != 0) {
        screen_notice("%s has not read the last %u bytes of input: dropped", seat_name(terminal.focus),
                      (unsigned)count);
    }
}

void keys_tick(void)
{
    if (!terminal.receive_off || ++terminal.held < HELD_TICKS) {
        if (terminal.receive_off) {
            terminal_want_tick();
        }
        return;
    }
    uint32_t count = forget_typed();
    terminal.hung = true;
    screen_put("\a", 1);
    screen_notice("%s reads nothing: dropped the last %u bytes of input, and what follows until it does",
                  seat_name(terminal.focus), (unsigned)count);
}

/* Whether the next byte may be taken out of the UART. */
static bool has_room(void)
{
    if (terminal.in_monitor || terminal.focus == NOBODY || typed_ahead() < TYPE_AHEAD_SIZE) {
        return true;
    }
    terminal.receive_off = true;
    terminal_want_tick();
    return false;
}

/* --- the keys behind Ctrl-] --------------------------------------------------------------------------------------- */

static void next_capsule(void)
{
    modes_step(true);
}

static void previous_capsule(void)
{
    modes_step(false);
}

static void alone(void)
{
    modes_set(MODE_RAW);
}

static void all(void)
{
    modes_set(MODE_LABELLED);
}

static void monitor(void)
{
    if (!terminal.in_monitor) {
        modes_enter_monitor();
    }
}

static void send_break(void)
{
    if (terminal.focus == NOBODY) {
        return;
    }
    if (console_port_feed_break(seat_port(terminal.focus))) {
        set_add(&terminal.told, terminal.focus);
    } else {
        screen_notice("%s has not read the BREAKs before: this one is dropped", seat_name(terminal.focus));
    }
}

static void capsule_by_number(uint32_t id)
{
    for (uint32_t seat = 0; seat < SEATS_MAX; seat++) {
        if (set_has(&terminal.taken, seat) && terminal.seats[seat].capsule->id == id) {
            modes_focus(seat);
            return;
        }
    }
    screen_notice("there is no capsule %u", (unsigned)id);
}

static const struct {
    char key;
    void (*act)(void);
    const char *does;
} keys[] = {
    {'n', next_capsule, "next capsule"}, {'p', previous_capsule, "previous capsule"},
    {'s', alone, "this capsule alone"},  {'a', all, "all capsules, with labels"},
    {'m', monitor, "the monitor"},       {'\r', monitor, NULL},
    {'b', send_break, "sends a BREAK"},
};

static void list(void)
{
    screen_notice("behind Ctrl-]:");
    for (size_t n = 0; n < ARRAY_LENGTH(keys); n++) {
        if (keys[n].does != NULL) {
            screen_notice("  %c       %s", keys[n].key, keys[n].does);
        }
    }
    screen_notice("  1 ... 9 the capsule with that number");
    screen_notice("  Ctrl-]  sends one Ctrl-]");
    screen_notice("  ?       this list");
    if (terminal.focus != NOBODY) {
        screen_notice("input goes to capsule %u, %s", (unsigned)terminal.seats[terminal.focus].capsule->id,
                      seat_name(terminal.focus));
    }
}

static void act(uint8_t key)
{
    mux_settle_raw();
    for (size_t n = 0; n < ARRAY_LENGTH(keys); n++) {
        if (keys[n].key == (char)key) {
            keys[n].act();
            return;
        }
    }
    if (key >= '1' && key <= '9') {
        capsule_by_number(key - (uint32_t)'0');
    } else {
        list();
    }
}

enum keys_result keys_take(uint8_t *byte)
{
    if (!has_room()) {
        return KEYS_NOTHING;
    }
    int got = serial_get();
    if (got < 0) {
        return KEYS_NOTHING;
    }
    *byte = (uint8_t)got;
    if (*byte == ESCAPE_KEY && !terminal.escaped) {
        terminal.escaped = true;
        return KEYS_DONE;
    }
    bool is_key = terminal.escaped && *byte != ESCAPE_KEY;
    terminal.escaped = false;
    if (is_key) {
        bool was_in_monitor = terminal.in_monitor;
        act(*byte);
        return terminal.in_monitor && !was_in_monitor ? KEYS_ENTER_MONITOR : KEYS_DONE;
    }
    if (terminal.in_monitor) {
        return KEYS_MONITOR;
    }
    input(*byte);
    return KEYS_DONE;
}
