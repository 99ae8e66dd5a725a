/* SPDX-License-Identifier: MIT
 *
 * Modes: one capsule raw, all with labels, or the monitor; and who is in focus.
 */
#include "monitor/terminal_parts.h"

bool seat_is_running(uint32_t seat)
{
    enum capsule_state state = capsule_state(terminal.seats[seat].capsule);
    return state == CAPSULE_RUNNING || state == CAPSULE_FILLING;
}

bool seat_is_living(uint32_t seat)
{
    enum capsule_state state = capsule_state(terminal.seats[seat].capsule);
    return seat_is_running(seat) || state == CAPSULE_PAUSED || state == CAPSULE_BACKOFF;
}

/* Not: on its way to a stop, after which it may start again. */
static bool has_stopped(uint32_t seat)
{
    enum capsule_state state = capsule_state(terminal.seats[seat].capsule);
    return state == CAPSULE_STOPPED || state == CAPSULE_CRASHED || state == CAPSULE_DESTROYING;
}

static bool is_stopping(uint32_t seat)
{
    enum capsule_state state = capsule_state(terminal.seats[seat].capsule);
    return state == CAPSULE_STOPPING || state == CAPSULE_COMMITTING;
}

/* --- who is shown ------------------------------------------------------------------------------------------------ */

static bool to_be_shown(uint32_t seat)
{
    return terminal.started && !terminal.in_monitor && (!mux_is_raw() || seat == terminal.focus);
}

static void show(uint32_t seat)
{
    terminal.seats[seat].dropped += console_port_show(seat_port(seat), true);
    terminal.seats[seat].filter = (struct filter){0};
    terminal.seats[seat].cut = false;
    set_add(&terminal.ready, seat);
}

/* Who was refused goes on writing, unseen. */
static void hide(uint32_t seat)
{
    console_port_show(seat_port(seat), false);
    set_add(&terminal.told, seat);
    set_remove(&terminal.ready, seat);
    set_remove(&terminal.young, seat);
    set_remove(&terminal.old, seat);
    set_remove(&terminal.late, seat);
}

static void apply_to(uint32_t seat)
{
    bool shown = atomic_load(&seat_port(seat)->shown);
    if (to_be_shown(seat) != shown) {
        if (shown) {
            hide(seat);
        } else {
            show(seat);
        }
    }
}

void modes_apply(void)
{
    for (uint32_t seat = 0; seat < SEATS_MAX; seat++) {
        if (set_has(&terminal.taken, seat)) {
            apply_to(seat);
        }
    }
}

/* --- the focus --------------------------------------------------------------------------------------------------- */

static void tell_focus(void)
{
    if (terminal.focus == NOBODY || terminal.in_monitor) {
        return;
    }
    if (!mux_is_raw()) {
        screen_notice("input goes to %s", seat_name(terminal.focus));
        return;
    }
    screen_notice("the terminal is that of %s alone (Ctrl-] ? lists the keys)", seat_name(terminal.focus));
    if (terminal.seats[terminal.focus].dropped != 0) {
        screen_notice("%s: %llu bytes of output are lost here", seat_name(terminal.focus),
                      (unsigned long long)terminal.seats[terminal.focus].dropped);
        terminal.seats[terminal.focus].dropped = 0;
    }
}

/* What the capsule wrote until now has nothing to do with lines, and may have set the operator's terminal to anything.
 */
static void leave_raw(void)
{
    terminal.seats[terminal.focus].filter = (struct filter){0};
    terminal.seats[terminal.focus].cut = false;
    screen_reset();
}

/* What the screen holds of the mode before is ended, then the mode is another. */
static void change(enum terminal_mode mode, bool in_monitor, uint32_t focus)
{
    screen_settle();
    if (mux_is_raw() && (mode != MODE_RAW || in_monitor || focus != terminal.focus)) {
        leave_raw();
    }
    if (focus != terminal.focus) {
        keys_change_focus();
    }
    terminal.mode = mode;
    terminal.in_monitor = in_monitor;
    terminal.focus = focus;
    modes_apply();
    tell_focus();
}

void modes_set(enum terminal_mode mode)
{
    change(mode, false, terminal.focus);
}

void modes_focus(uint32_t seat)
{
    change(terminal.mode, false, seat);
}

void modes_choose(uint32_t seat)
{
    change(terminal.mode, terminal.in_monitor, seat);
}

/* The next living one after the focus, or NOBODY. */
static uint32_t next_living(bool forwards)
{
    uint32_t step = forwards ? 1 : SEATS_MAX - 1;
    uint32_t seat = terminal.focus == NOBODY ? SEATS_MAX - step : terminal.focus;
    for (uint32_t n = 0; n < SEATS_MAX; n++) {
        seat = (seat + step) % SEATS_MAX;
        if (set_has(&terminal.taken, seat) && seat_is_living(seat)) {
            return seat;
        }
    }
    return NOBODY;
}

void modes_step(bool forwards)
{
    uint32_t next = next_living(forwards);
    modes_focus(next != NOBODY ? next : terminal.focus);
}

void modes_refresh(void)
{
    if (terminal.mode != MODE_RAW || terminal.focus == NOBODY) {
        return;
    }
    if (is_stopping(terminal.focus)) {
        terminal_want_tick(); /* nobody says when it has stopped */
    }
    if (!has_stopped(terminal.focus)) {
        return;
    }
    uint32_t next = next_living(true);
    if (next != NOBODY) {
        mux_settle_raw();
        change(MODE_LABELLED, terminal.in_monitor, next);
    }
}

/* --- the monitor ------------------------------------------------------------------------------------------------- */

void modes_enter_monitor(void)
{
    change(terminal.mode, true, terminal.focus);
    terminal.monitor_more = true;
}

void modes_leave_monitor(void)
{
    change(terminal.mode, false, terminal.focus);
}

/* --- capsules come and go ---------------------------------------------------------------------------------------- */

/* One capsule, or the only manager, has the terminal for itself. */
void modes_start(void)
{
    uint32_t count = 0, managers = 0, manager = 0;
    for (uint32_t seat = 0; seat < SEATS_MAX; seat++) {
        if (set_has(&terminal.taken, seat)) {
            count++;
            if (terminal.seats[seat].capsule->config.manager) {
                managers++;
                manager = seat;
            }
        }
    }
    terminal.started = true;
    terminal.mode = count == 1 || managers == 1 ? MODE_RAW : MODE_LABELLED;
    terminal.focus = managers == 1 ? manager : set_next(&terminal.taken, 0);
    modes_apply();
}

void modes_attach(uint32_t seat)
{
    set_add(&terminal.taken, seat);
    if (terminal.started && terminal.focus == NOBODY) {
        terminal.focus = seat;
    }
    apply_to(seat);
}

void modes_detach(uint32_t seat)
{
    if (terminal.screen.line_of == seat) {
        screen_settle();
    }
    hide(seat);
    set_remove(&terminal.told, seat);
    set_remove(&terminal.taken, seat);
    if (terminal.focus == seat) {
        uint32_t next = next_living(true);
        next = next != NOBODY ? next : set_next(&terminal.taken, seat);
        change(terminal.mode == MODE_RAW ? MODE_LABELLED : terminal.mode, terminal.in_monitor, next);
    }
}
