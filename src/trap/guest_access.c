/* SPDX-License-Identifier: MIT
 *
 * A guest's memory by its virtual addresses. The tables are the guest's and may change while we look: every address
 * they give is checked against the capsule's RAM before it is used, each time.
 */
#include "isolation/guest_walk.h"
#include "trap/trap.h"

static bool read_entry(void *context, gpa_t address, unsigned size, uint64_t *entry)
{
    const struct capsule *capsule = context;
    const void *place = capsule_ram(capsule, address, size);
    if (place == NULL || address.at % size != 0) {
        return false;
    }
    if (size == sizeof(uint32_t)) {
        *entry = *(const volatile uint32_t *)place;
    } else {
        *entry = *(const volatile uint64_t *)place;
    }
    return true;
}

static unsigned long fault_of(enum guest_access access, bool page)
{
    switch (access) {
    case GUEST_FETCH:
        return page ? CAUSE_FETCH_PAGE : CAUSE_FETCH_ACCESS;
    case GUEST_LOAD:
        return page ? CAUSE_LOAD_PAGE : CAUSE_LOAD_ACCESS;
    case GUEST_STORE:
        break;
    }
    return page ? CAUSE_STORE_PAGE : CAUSE_STORE_ACCESS;
}

bool guest_translate(struct trap *trap, gva_t address, enum guest_access access, gpa_t *result)
{
    struct vcpu *vcpu = trap->vcpu;
    const unsigned long status = arch_virtual_status(&vcpu->context);
    const struct guest_view view = {
        .xlen = (unsigned)XLEN,
        .satp = arch_virtual_satp(),
        .user = trap_from_user(trap),
        .sum = (status & STATUS_SUM) != 0,
        .mxr = (status & STATUS_MXR) != 0,
        .checks_bits = trap->untranslated,
        .read_entry = read_entry,
        .context = vcpu->capsule,
    };
    enum walk_result walked = guest_walk(&view, address, access, result);
    if (walked != WALK_OK) {
        trap->cause = fault_of(access, walked == WALK_PAGE_FAULT);
        trap->value = address.at;
        return false;
    }
    return true;
}

/* One half-word of the instruction stream, which is at pc and at place. */
static bool fetch_half(struct trap *trap, unsigned long pc, gpa_t place, uint16_t *half)
{
    const volatile uint16_t *bytes = capsule_ram(trap->vcpu->capsule, place, sizeof(*half));
    if (bytes == NULL || (place.at & 1) != 0) {
        trap->cause = CAUSE_FETCH_ACCESS;
        trap->value = pc;
        return false;
    }
    *half = *bytes;
    return true;
}

bool guest_instruction(struct trap *trap, uint32_t *bits)
{
    const unsigned long pc = trap->vcpu->context.pc;
    uint16_t low = 0;
    uint16_t high = 0;
    gpa_t place;
    if (!guest_translate(trap, (gva_t){pc}, GUEST_FETCH, &place) || !fetch_half(trap, pc, place, &low)) {
        return false;
    }
    if ((low & 3) == 3) {
        place.at += sizeof(low);
        if (place.at % PAGE_SIZE == 0 && !guest_translate(trap, (gva_t){pc + 2}, GUEST_FETCH, &place)) {
            return false; /* the other half is on another page */
        }
        if (!fetch_half(trap, pc + 2, place, &high)) {
            return false;
        }
    }
    *bits = (uint32_t)high << 16 | low;
    return true;
}
