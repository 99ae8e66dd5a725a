/* SPDX-License-Identifier: MIT
 *
 * The operator's terminal on the host's serial port: one capsule raw, or several with each line labelled, the log, and
 * the escape key. Never waits: what doesn't fit the UART goes out by interrupt.
 */
#ifndef MONITOR_TERMINAL_H
#define MONITOR_TERMINAL_H

#include "core/capsule.h"
#include "core/machine.h"

/* From the first console on: log lines and panics go straight to the UART, waiting for it (early boot only). */
void terminal_early(const struct machine_uart *uart);
/* The machine runs guests from now on: nothing waits any more. has_interrupt: terminal_serve will be
 * called; else this hart polls. */
void terminal_start(bool has_interrupt, uint32_t timebase_hz);
/* Shows this capsule's console. Call before terminal_start. */
void terminal_attach(struct capsule *capsule);
/* The UART's interrupt, or the poll timer: moves bytes both ways. No lock held. */
void terminal_serve(void);
/* Pushes out what is left, waiting for the UART: the machine is about to be switched off. */
void terminal_flush(void);

#endif
