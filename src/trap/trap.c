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

static enum outcome on_reflected(struct trap *trap)
{
    (void)trap;
    return OUTCOME_REFLECT;
}

/* Nothing runs in HS-mode: its trap vector leads to memory that PMP denies, so whatever hardware sends there ends here.
 * Then what we delegate is not what we think, and no guest is safe. */
static enum outcome on_fetch_access(struct trap *trap)
{
    if (arch_trap_from_hs(&trap->vcpu->context)) {
        panic("HS-mode was entered: a trap was delegated that VS-mode does not take");
    }
    return trap_fetch_fault(trap);
}

/* Ecalls from the guest's kernel come before. A row that is missing can't come from a guest in S- or U-mode: its
 * capsule is stopped. */
static enum outcome (*const handlers[CAUSE_EXCEPTIONS])(struct trap *trap) = {
    [CAUSE_FETCH_MISALIGNED] = on_reflected,
    [CAUSE_FETCH_ACCESS] = on_fetch_access,
    [CAUSE_ILLEGAL] = trap_illegal,
    [CAUSE_BREAKPOINT] = on_reflected,
    [CAUSE_LOAD_MISALIGNED] = trap_misaligned,
    [CAUSE_LOAD_ACCESS] = trap_access_fault,
    [CAUSE_STORE_MISALIGNED] = trap_misaligned,
    [CAUSE_STORE_ACCESS] = trap_access_fault,
    [CAUSE_ECALL_U] = on_reflected,
    [CAUSE_FETCH_PAGE] = on_reflected,
    [CAUSE_LOAD_PAGE] = on_reflected,
    [CAUSE_STORE_PAGE] = on_reflected,
    [CAUSE_FETCH_GUEST_PAGE] = trap_fetch_fault,
    [CAUSE_LOAD_GUEST_PAGE] = trap_access_fault,
    [CAUSE_STORE_GUEST_PAGE] = trap_access_fault,
    [CAUSE_VIRTUAL_INSTRUCTION] = trap_virtual_instruction,
};

static void act(struct trap *trap, enum outcome outcome)
{
    struct vcpu *vcpu = trap->vcpu;
    switch (outcome) {
    case OUTCOME_SKIP:
        vcpu->context.pc += ECALL_LENGTH;
        break;
    case OUTCOME_REFLECT:
        arch_reflect(&vcpu->context, trap->cause, trap->value);
        break;
    case OUTCOME_RESUME:
    case OUTCOME_YIELD: /* vcpu->leaving says where to */
    case OUTCOME_STOP:  /* the capsule's state says so */
        break;
    }
}

static void on_exception(struct vcpu *vcpu, unsigned long cause)
{
    struct trap trap = {.vcpu = vcpu, .cause = cause};
    if (cause == CAUSE_ECALL_S || cause == CAUSE_ECALL_VS) { /* the most frequent, and it needs nothing more */
        act(&trap, sbi_handle(vcpu));
        return;
    }
    trap.value = arch_trap_value();
    if (cause >= CAUSE_EXCEPTIONS || handlers[cause] == NULL) {
        capsule_crash(vcpu, cause, trap.value, "a trap that no guest should cause");
        return;
    }
    act(&trap, handlers[cause](&trap));
}

struct arch_context *trap_handle(struct arch_context *context, unsigned long cause)
{
    struct hart *hart = hart_this();
    struct vcpu *vcpu = (struct vcpu *)(void *)context;
    if ((cause & BIT(XLEN - 1)) != 0) {
        vcpu->exits[EXIT_SOFT + MIN(cause % 16 / 4, (unsigned long)(EXIT_DEVICE - EXIT_SOFT))]++; /* 3, 7, 11 */
        hart_serve(hart);
    } else {
        vcpu->exits[cause < CAUSE_EXCEPTIONS ? cause : CAUSE_ECALL_M]++; /* that one never comes from a guest */
        on_exception(vcpu, cause);
    }
    return scheduler_next(hart);
}

_Noreturn void trap_own(const unsigned long *x, unsigned long cause, unsigned long pc, unsigned long value)
{
    panic_trap(x, cause, pc, value);
}
