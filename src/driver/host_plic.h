/* SPDX-License-Identifier: MIT
 *
 * The machine's own interrupt controller. One hart's M context takes all device interrupts; every other context is
 * shut, above all the S contexts, which are wired straight into guests.
 */
#ifndef DRIVER_HOST_PLIC_H
#define DRIVER_HOST_PLIC_H

#include "core/hart.h"

/* Shuts every context, then opens this hart's. False if the machine has no PLIC or the hart no M context: devices must
 * then be polled. */
bool host_plic_init(const struct machine *machine, const struct hart *hart);
void host_plic_enable(uint32_t source);
/* Claims, calls handle(source), completes, until nothing is pending, at most a bounded number of times, or, after
 * the first, until this hart has something else to do: what is left interrupts again. */
void host_plic_serve(void (*handle)(uint32_t source));

#endif
