/* SPDX-License-Identifier: MIT
 *
 * A guest's loads and stores outside its RAM: access faults from PMP, guest-page faults from stage 2. In pmp the
 * hardware reports a guest-virtual address, or none at all, and in hyp what it reports besides differs from hart to
 * hart: so in both the instruction is read and decoded, the address computed from its operands and translated by the
 * guest's own tables. What was decoded may not be what trapped (another vCPU may have changed it): all that is done is
 * one access to one device of this capsule, which the guest may make anyway.
 */
#include "isolation/guest_walk.h"
#include "trap/decode.h"
#include "trap/trap.h"

/* The access fault of this instruction's kind, at the address that the guest used. */
static enum outcome reflect_fault(struct trap *trap, const struct instruction *insn, unsigned long address)
{
    trap->cause = insn->kind == INSN_STORE ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS;
    trap->value = address;
    return OUTCOME_REFLECT;
}

static void perform(struct vcpu *vcpu, struct device *device, gpa_t place, const struct instruction *insn)
{
    unsigned long *x = vcpu->context.x;
    vcpu->retries = 0;
    if (insn->kind == INSN_STORE) {
        if (!device_write(device, place, insn->width, insn->rs2 == 0 ? 0 : x[insn->rs2])) {
            return; /* it traps once more, after whoever else wants this hart */
        }
    } else {
        uint64_t raw = device_read(device, place, insn->width);
        if (insn->rd != 0) {
            x[insn->rd] = load_extend(insn, raw);
        }
    }
    vcpu->context.pc += insn->length;
}

/* A fault in RAM that the capsule has: another vCPU has just changed the page tables or the instruction, and it won't
 * come again, once the hart forgets what it remembers of either; or the machine denies what we gave, and it comes again
 * for ever. That is what we count: address is where the instruction that we see goes. */
static enum outcome try_again(struct trap *trap, unsigned long cause, unsigned long address)
{
    enum { TRIES_MAX = 100 };
    struct vcpu *vcpu = trap->vcpu;
    arch_fence_vma();
    arch_fence_i();
    if (trap->value != 0 && trap->value != address) {
        return OUTCOME_RESUME; /* another instruction trapped than this */
    }
    vcpu->retries = vcpu->retry_pc == vcpu->context.pc ? vcpu->retries + 1 : 1;
    vcpu->retry_pc = vcpu->context.pc;
    if (vcpu->retries > TRIES_MAX) {
        capsule_crash(vcpu, cause, trap->value, "the machine denies the capsule its own RAM");
        return OUTCOME_STOP;
    }
    return OUTCOME_RESUME;
}

/* From a device, a hole, or page tables that lie there; not all harts say at which address. */
enum outcome trap_fetch_fault(struct trap *trap)
{
    const unsigned long cause = trap->cause;
    uint32_t bits = 0;
    return guest_instruction(trap, &bits) ? try_again(trap, cause, trap->value) : OUTCOME_REFLECT;
}

enum outcome trap_access_fault(struct trap *trap)
{
    struct vcpu *vcpu = trap->vcpu;
    const unsigned long cause = trap->cause;
    if (cause == CAUSE_LOAD_GUEST_PAGE || cause == CAUSE_STORE_GUEST_PAGE) { /* the guest knows of no stage 2 */
        trap->cause = cause == CAUSE_STORE_GUEST_PAGE ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS;
    }
    struct trap fetch = *trap;
    uint32_t bits = 0;
    if (!guest_instruction(&fetch, &bits)) {
        *trap = fetch;
        return OUTCOME_REFLECT;
    }
    struct instruction insn = decode(bits, (unsigned)XLEN);
    if (insn.kind != INSN_LOAD && insn.kind != INSN_STORE) {
        return OUTCOME_REFLECT; /* atomics, floating point, vector: no device takes them */
    }
    unsigned long base = insn.rs1 == 0 ? 0 : vcpu->context.x[insn.rs1];
    unsigned long address = base + (unsigned long)(long)insn.offset;
    if (address % insn.width != 0) {
        trap->cause = insn.kind == INSN_STORE ? CAUSE_STORE_MISALIGNED : CAUSE_LOAD_MISALIGNED;
        trap->value = address;
        return OUTCOME_REFLECT;
    }
    gpa_t place;
    if (!guest_translate(trap, (gva_t){address}, insn.kind == INSN_STORE ? GUEST_STORE : GUEST_LOAD, &place)) {
        return OUTCOME_REFLECT;
    }
    struct device *device = device_bus_find(&vcpu->capsule->bus, place, insn.width);
    if (device == NULL) {
        const bool ram = capsule_ram(vcpu->capsule, place, insn.width) != NULL;
        return ram ? try_again(trap, cause, address) : reflect_fault(trap, &insn, address);
    }
    perform(vcpu, device, place, &insn);
    return OUTCOME_RESUME;
}
