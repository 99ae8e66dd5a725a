/* SPDX-License-Identifier: MIT
 *
 * Illegal instructions come here first, because WFI does (mstatus.TW, hstatus.VTW) and, on some harts, reading the
 * time.
 */
#include "core/scheduler.h"
#include "trap/decode.h"
#include "trap/emulated_csr.h"
#include "trap/trap.h"

/* WFI gives the hart away, unless something is pending already. In user mode it is the guest's to forbid. */
static enum outcome on_wfi(struct trap *trap)
{
    struct vcpu *vcpu = trap->vcpu;
    if (trap_from_user(trap)) {
        return OUTCOME_REFLECT;
    }
    if ((arch_virtual_pending() & arch_virtual_enabled()) == 0) {
        vcpu_wait(vcpu);
        vcpu->context.pc += 4;
        return OUTCOME_YIELD;
    }
    return OUTCOME_SKIP;
}

/* A vCPU that spins for a lock traps here, since TW covers wrs.nto too. It may return at any time: the others get
 * their turn, then it looks again. User mode waits like this as well. */
static enum outcome on_wrs(void)
{
    scheduler_yield(hart_this());
    return OUTCOME_SKIP;
}

static enum outcome on_csr(struct trap *trap, const struct instruction *insn)
{
    struct vcpu *vcpu = trap->vcpu;
    unsigned long value = 0;
    if (insn->csr_writes || !arch_virtual_counter_open(emulated_csr_enable(insn->csr), trap_from_user(trap)) ||
        !emulated_csr_read(insn->csr, (unsigned)XLEN, clock_now(), &value)) {
        return OUTCOME_REFLECT;
    }
    if (insn->rd != 0) {
        vcpu->context.x[insn->rd] = value;
    }
    return OUTCOME_SKIP;
}

/* Whether this really is what stands at pc: some emulators report a stale value for some illegal instructions. */
static bool is_at_pc(const struct trap *trap, uint32_t bits)
{
    struct trap fetch = *trap;
    uint32_t found = 0;
    return guest_instruction(&fetch, &found) && found == bits;
}

enum outcome trap_illegal(struct trap *trap)
{
    uint32_t bits = (uint32_t)trap->value;
    const bool told = bits != 0; /* not all harts tell which instruction it was */
    if (!told) {
        struct trap fetch = *trap;
        if (!guest_instruction(&fetch, &bits)) {
            *trap = fetch;
            return OUTCOME_REFLECT;
        }
        trap->value = bits;
    }
    struct instruction insn = decode(bits, (unsigned)XLEN);
    if (insn.kind == INSN_WFI && (!told || is_at_pc(trap, bits))) {
        return on_wfi(trap);
    }
    if (insn.kind == INSN_WRS_NTO && (!told || is_at_pc(trap, bits))) {
        return on_wrs();
    }
    if (insn.kind == INSN_CSR) {
        return on_csr(trap, &insn);
    }
    return OUTCOME_REFLECT;
}

/* What S-mode may do and VS-mode may not, since it has no H of its own: to the guest it is an illegal instruction. What
 * the hart reports of it is not always what stands at pc (QEMU 7.2). */
enum outcome trap_virtual_instruction(struct trap *trap)
{
    trap->cause = CAUSE_ILLEGAL;
    trap->value = 0;
    return trap_illegal(trap);
}
