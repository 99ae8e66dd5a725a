/* SPDX-License-Identifier: MIT
 *
 * The operator's terminal on the host's serial port: one capsule raw, or all with each line labelled, or the monitor;
 * the log; and the escape key. Never waits: what doesn't fit the UART goes out by interrupt.
 */
#ifndef MONITOR_TERMINAL_H
#define MONITOR_TERMINAL_H

#include "core/capsule.h"
#include "core/machine.h"

/* From the first console on: log lines and panics go straight to the UART, waiting for it (early boot only). */
void terminal_early(const struct machine_uart *uart);
/* Whether labels have colours, and lines may be erased and drawn again: no escape sequence is sent else, as at first.
 * Before terminal_start. */
void terminal_set_color(bool on);
/* The machine runs guests from now on: nothing waits any more. Called on the hart that will serve the terminal.
 * has_interrupt: terminal_serve will be called; else this hart polls. timebase_hz: clock_now's ticks per second. */
void terminal_start(bool has_interrupt, uint32_t timebase_hz);
/* Shows this capsule's console from now on, or keeps it as scroll-back, as the mode has it. Any hart, no port's lock
 * held. More than CAPSULES_MAX are ignored. */
void terminal_attach(struct capsule *capsule);
/* The capsule, which doesn't run, is about to go: the terminal knows it no more. Any hart, no port's lock held. A hart
 * that serves the terminal may still be about to notify the port: the capsule's memory must stay until that hart has
 * returned from its trap. */
void terminal_detach(struct capsule *capsule);
/* The keyboard (and the screen, if one capsule has it alone) is that capsule's, once the monitor is left. False if none
 * attached has this name. Any hart, no lock held. */
bool terminal_focus(const char *name);
/* The UART's interrupt, or the poll timer: moves bytes both ways. The serving hart, no lock held. */
void terminal_serve(void);
/* Pushes out what is left, waiting for the UART: the machine is about to be switched off. */
void terminal_flush(void);

#endif
