/* SPDX-License-Identifier: MIT
 *
 * A guest's loads and stores outside its RAM. In pmp the hardware reports a guest-virtual address, or none at all: so
 * the instruction is read and decoded, the address computed from its operands and translated by the guest's own
 * tables. What was decoded may not be what trapped (another vCPU may have changed it): all that is done is
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
    if (insn->kind == INSN_STORE) {
        device_write(device, place, insn->width, insn->rs2 == 0 ? 0 : x[insn->rs2]);
    } else {
        uint64_t raw = device_read(device, place, insn->width);
        if (insn->rd != 0) {
            x[insn->rd] = load_extend(insn, raw);
        }
    }
    vcpu->context.pc += insn->length;
}

enum outcome trap_access_fault(struct trap *trap)
{
    struct vcpu *vcpu = trap->vcpu;
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
        return reflect_fault(trap, &insn, address);
    }
    perform(vcpu, device, place, &insn);
    return OUTCOME_RESUME;
}
