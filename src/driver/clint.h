/* SPDX-License-Identifier: MIT
 *
 * The machine's timer and software interrupts: CLINT or ACLINT, one or several blocks.
 */
#ifndef DRIVER_CLINT_H
#define DRIVER_CLINT_H

#include "core/hart.h"

/* Takes its registers' addresses from the machine and sets hart_ops.ring, ring_clear, timer_set and, if the time CSR
 * can't be read on all harts, time. False if no block holds an mtime and there is no time CSR either. */
bool clint_init(const struct machine *machine, bool time_csr);
/* Finds this hart's registers. False if no block serves it: it can't be used. */
bool clint_hart_init(struct hart *hart);

#endif
