/* SPDX-License-Identifier: MIT
 *
 * Every trap from a guest passes here; see "the trap path" in ARCHITECTURE.md.
 */
#include "trap/trap.h"

#include "core/hart.h"
#include "core/log.h"
#include "core/panic.h"
#include "core/scheduler.h"
#include "sbi/sbi.h"

enum { ECALL_LENGTH = 4 };

static enum outcome on_ecall(struct trap *trap)
{
    return sbi_handle(trap->vcpu);
}

static enum outcome on_reflected(struct trap *trap)
{
    (void)trap;
    return OUTCOME_REFLECT;
}

/* A row that is missing can't come from a guest in S- or U-mode: its capsule is stopped. */
static enum outcome (*const handlers[CAUSE_EXCEPTIONS])(struct trap *trap) = {
    [CAUSE_FETCH_MISALIGNED] = on_reflected,
    [CAUSE_FETCH_ACCESS] = on_reflected,
    [CAUSE_ILLEGAL] = trap_illegal,
    [CAUSE_BREAKPOINT] = on_reflected,
    [CAUSE_LOAD_MISALIGNED] = trap_misaligned,
    [CAUSE_LOAD_ACCESS] = trap_access_fault,
    [CAUSE_STORE_MISALIGNED] = trap_misaligned,
    [CAUSE_STORE_ACCESS] = trap_access_fault,
    [CAUSE_ECALL_U] = on_reflected,
    [CAUSE_ECALL_S] = on_ecall,
    [CAUSE_FETCH_PAGE] = on_reflected,
    [CAUSE_LOAD_PAGE] = on_reflected,
    [CAUSE_STORE_PAGE] = on_reflected,
};

static void on_exception(struct vcpu *vcpu, unsigned long cause)
{
    struct trap trap = {.vcpu = vcpu, .cause = cause, .value = arch_trap_value()};
    if (cause >= CAUSE_EXCEPTIONS || handlers[cause] == NULL) {
        capsule_crash(vcpu, cause, trap.value, "a trap that no guest should cause");
        return;
    }
    switch (handlers[cause](&trap)) {
    case OUTCOME_SKIP:
        vcpu->context.pc += ECALL_LENGTH;
        break;
    case OUTCOME_REFLECT:
        arch_reflect(&vcpu->context, trap.cause, trap.value);
        break;
    case OUTCOME_RESUME:
    case OUTCOME_YIELD: /* vcpu->leaving says where to */
    case OUTCOME_STOP:  /* the capsule's state says so */
        break;
    }
}

struct arch_context *trap_handle(struct arch_context *context, unsigned long cause)
{
    struct hart *hart = hart_this();
    if ((cause & BIT(XLEN - 1)) != 0) {
        hart_serve(hart);
    } else {
        on_exception((struct vcpu *)(void *)context, cause);
    }
    return scheduler_next(hart);
}

_Noreturn void trap_own(const unsigned long *x, unsigned long cause, unsigned long pc, unsigned long value)
{
    panic_trap(x, cause, pc, value);
}
