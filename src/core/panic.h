/* SPDX-License-Identifier: MIT
 *
 * The end: the hypervisor itself is wrong. Prints hart, cause, registers and backtrace to the console directly, stops
 * the other harts and halts. Callable from anywhere, any lock held.
 */
#ifndef CORE_PANIC_H
#define CORE_PANIC_H

#include "lib/base.h"

/* Where a panic's bytes go: must not need a lock or an interrupt. Set as soon as a console is known. */
void panic_set_output(void (*put)(char byte));

/* A trap that the hypervisor took and nobody expected; x: its registers at the time. */
_Noreturn void panic_trap(const unsigned long *x, unsigned long cause, unsigned long pc, unsigned long value);

/* How the machine is switched off, if it can be: set as soon as that is known. */
void panic_set_power_off(void (*power_off)(void));

/* The machine cannot be used as it is (bad tree, no hart, no memory): says why in one line and switches it off, or
 * halts if it doesn't know how. */
_Noreturn void halt_machine(const char *pattern, ...) __attribute__((format(printf, 1, 2)));

#endif
