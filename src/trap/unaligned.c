/* SPDX-License-Identifier: MIT
 *
 * Misaligned loads and stores that trapped: trap/misaligned.c does them byte by byte through the functions here.
 */
#include "isolation/guest_walk.h"
#include "trap/misaligned.h"
#include "trap/trap.h"

static uint8_t *byte_at(struct trap *trap, unsigned long address, enum guest_access access, unsigned long *cause)
{
    struct trap attempt = *trap;
    gpa_t place;
    attempt.untranslated = true;
    if (!guest_translate(&attempt, (gva_t){address}, access, &place)) {
        *cause = attempt.cause;
        return NULL;
    }
    uint8_t *byte = capsule_ram(trap->vcpu->capsule, place, 1);
    if (byte == NULL) {
        *cause = access == GUEST_STORE ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS;
    }
    return byte;
}

static bool load_byte(void *context, unsigned long address, uint8_t *byte, unsigned long *cause)
{
    const volatile uint8_t *place = byte_at(context, address, GUEST_LOAD, cause);
    if (place != NULL) {
        *byte = *place;
    }
    return place != NULL;
}

static bool store_byte(void *context, unsigned long address, uint8_t byte, unsigned long *cause)
{
    volatile uint8_t *place = byte_at(context, address, GUEST_STORE, cause);
    if (place != NULL) {
        *place = byte;
    }
    return place != NULL;
}

static unsigned long get_x(void *context, unsigned reg)
{
    const struct trap *trap = context;
    return trap->vcpu->context.x[reg % 32];
}

static void set_x(void *context, unsigned reg, unsigned long value)
{
    const struct trap *trap = context;
    trap->vcpu->context.x[reg % 32] = value;
}

static uint64_t get_f(void *context, unsigned reg)
{
    (void)context;
    return arch_fp_read(reg);
}

static void set_f(void *context, unsigned reg, uint64_t bits)
{
    const struct trap *trap = context;
    arch_fp_write(&trap->vcpu->context, reg, bits);
}

enum outcome trap_misaligned(struct trap *trap)
{
    const struct guest_accessor guest = {
        .load_byte = load_byte,
        .store_byte = store_byte,
        .get_x = get_x,
        .set_x = set_x,
        .get_f = get_f,
        .set_f = set_f,
        .context = trap,
    };
    struct trap fetch = *trap;
    uint32_t bits = 0;
    if (!guest_instruction(&fetch, &bits)) {
        *trap = fetch;
        return OUTCOME_REFLECT;
    }
    struct instruction insn = decode(bits, (unsigned)XLEN);
    if ((insn.kind == INSN_FP_LOAD || insn.kind == INSN_FP_STORE) &&
        (arch_virtual_status(&trap->vcpu->context) & STATUS_FS_DIRTY) == 0) {
        return OUTCOME_RESUME; /* it wasn't this instruction that trapped; this one is illegal now, as the hart will say
                                */
    }
    struct guest_fault fault;
    /* Some harts report no address: then the instruction's own is taken at its word. */
    unsigned long trapped = trap->value != 0 ? trap->value : access_address(&insn, &guest);
    switch (misaligned_emulate(&insn, &guest, trapped, &fault)) {
    case MISALIGNED_DONE:
        trap->vcpu->context.pc += insn.length;
        return OUTCOME_RESUME;
    case MISALIGNED_FAULT:
        trap->cause = fault.cause;
        trap->value = fault.value;
        return OUTCOME_REFLECT;
    case MISALIGNED_CHANGED:
        return OUTCOME_RESUME;
    case MISALIGNED_UNKNOWN:
        break;
    }
    return OUTCOME_REFLECT;
}
