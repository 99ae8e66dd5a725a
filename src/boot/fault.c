/* SPDX-License-Identifier: MIT
 *
 * The hypervisor's own faults, on purpose (fault= on the command line), so that a test sees what a user would see.
 * Debug builds only.
 */
#include "boot/boot.h"

/* Too much for any stack; never comes back. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static unsigned descend(unsigned depth)
{
    volatile uint8_t frame[256];
    frame[0] = (uint8_t)depth;
    return depth == UINT32_MAX ? 0 : descend(depth + 1) + frame[0];
}

void boot_fault(enum boot_fault fault)
{
    if (fault == FAULT_TRAP) {
        /* No machine has anything there: a load access fault. */
        (void)*(const volatile uint32_t *)(UINTPTR_MAX - 3);
    } else if (fault == FAULT_STACK) {
        (void)descend(0);
    } else {
        assert(fault != FAULT_PANIC);
    }
}
