/* SPDX-License-Identifier: MIT
 *
 * SBI 0.1: the calls that small systems still use. Those that take masks by guest-virtual address are left out.
 * a0 is the result itself, a1 is preserved, and the function id is ignored.
 */
#include "sbi/sbi.h"

static long set_timer(struct sbi_call *call)
{
    vcpu_set_timer(call->vcpu, sbi_argument64(call, 0));
    return 0;
}

static long console_putchar(struct sbi_call *call)
{
    return sbi_console_put(call, (uint8_t)call->args[0]);
}

/* The byte, or −1 if there is none. */
static long console_getchar(struct sbi_call *call)
{
    return console_port_get(&call->vcpu->capsule->console);
}

/* 1 if an interrupt had been pending, else 0: one raised already, or one posted by another hart and not yet folded. */
static long clear_ipi(struct sbi_call *call)
{
    bool posted = (atomic_fetch_and(&call->vcpu->pending, ~(unsigned)EVENT_IPI) & EVENT_IPI) != 0;
    bool raised = (arch_virtual_pending() & BIT(IRQ_S_SOFT)) != 0;
    arch_virtual_interrupt(BIT(IRQ_S_SOFT), false);
    return posted || raised ? 1 : 0;
}

static long shutdown(struct sbi_call *call)
{
    capsule_stop(call->vcpu->capsule, STOP_POWER_OFF, "%s", "");
    call->outcome = OUTCOME_STOP;
    return 0;
}

static sbi_function *const functions[] = {
    [SBI_EXT_LEGACY_SET_TIMER] = set_timer,     [SBI_EXT_LEGACY_PUTCHAR] = console_putchar,
    [SBI_EXT_LEGACY_GETCHAR] = console_getchar, [SBI_EXT_LEGACY_CLEAR_IPI] = clear_ipi,
    [SBI_EXT_LEGACY_SHUTDOWN] = shutdown,
};
const struct sbi_functions sbi_legacy = {functions, ARRAY_LENGTH(functions)};
