/* SPDX-License-Identifier: MIT
 *
 * From a trap to its handler: a const table by cause. Handlers return an outcome; reflecting into the guest is always
 * a possible one.
 */
#ifndef TRAP_TRAP_H
#define TRAP_TRAP_H

#include "core/capsule.h"
#include "isolation/guest_walk.h"

/* What a handler knows of the trap; it may change cause and value before it returns OUTCOME_REFLECT. */
struct trap {
    struct vcpu *vcpu; /* loaded on this hart */
    unsigned long cause;
    unsigned long value; /* mtval */
    bool untranslated;   /* misaligned accesses: hardware may have trapped before it looked at the page tables */
};

/* From trap.S, with the guest's registers in *context; returns the context to resume. */
struct arch_context *trap_handle(struct arch_context *context, unsigned long cause);

/* From trap.S: a trap of the hypervisor's own that nobody expected. Reports and halts the machine. */
_Noreturn void trap_own(const unsigned long *x, unsigned long cause, unsigned long pc, unsigned long value);

/* trap/mmio.c: access faults and guest-page faults, the guest's way to its devices. */
enum outcome trap_access_fault(struct trap *trap);
enum outcome trap_fetch_fault(struct trap *trap);
/* trap/illegal.c: WFI, time where hardware traps it; the rest is the guest's. */
enum outcome trap_illegal(struct trap *trap);
enum outcome trap_virtual_instruction(struct trap *trap);
/* trap/unaligned.c: misaligned loads and stores that hardware doesn't do. */
enum outcome trap_misaligned(struct trap *trap);

/* trap/guest_access.c: the loaded vCPU's memory by guest-virtual address, through its own tables, bounded to its RAM.
 * On failure these set trap->cause and ->value to what must be reflected. */
bool guest_translate(struct trap *trap, gva_t address, enum guest_access access, gpa_t *result);
bool guest_instruction(struct trap *trap, uint32_t *bits);

static inline bool trap_from_user(const struct trap *trap)
{
    return (trap->vcpu->context.status & STATUS_MPP) == 0;
}

#endif
