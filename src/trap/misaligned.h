/* SPDX-License-Identifier: MIT
 *
 * Misaligned loads and stores that the hart does not do itself, done for the guest one byte at a time with the
 * guest's own rights. Pure: memory and registers are reached through the caller's functions.
 */
#ifndef TRAP_MISALIGNED_H
#define TRAP_MISALIGNED_H

#include "trap/decode.h"

/* The vCPU that made the access, as the caller reaches it. */
struct guest_accessor {
    /* One byte at an address as the guest sees it, with the guest's rights; false if that faults, with the exception's
     * number in *cause. */
    bool (*load_byte)(void *context, unsigned long address, uint8_t *byte, unsigned long *cause);
    bool (*store_byte)(void *context, unsigned long address, uint8_t byte, unsigned long *cause);
    unsigned long (*get_x)(void *context, unsigned reg);             /* 1 … 31; never called for x0 */
    void (*set_x)(void *context, unsigned reg, unsigned long value); /* 1 … 31; never called for x0 */
    uint64_t (*get_f)(void *context, unsigned reg);                  /* 0 … 31, raw bits */
    void (*set_f)(void *context, unsigned reg, uint64_t bits); /* 0 … 31, raw bits; 32-bit values come NaN-boxed */
    void *context;
};

/* An exception to reflect into the guest. */
struct guest_fault {
    unsigned long cause;
    unsigned long value; /* for stval: the address of the byte that faulted */
};

enum misaligned_result {
    MISALIGNED_DONE,    /* the access is made; step over the instruction */
    MISALIGNED_FAULT,   /* reflect *fault */
    MISALIGNED_CHANGED, /* the instruction no longer makes the access that trapped: resume where it is */
    MISALIGNED_UNKNOWN, /* no load or store that is emulated (atomics never are): reflect the trap itself */
};

/* Where a decoded load or store points now, wrapping as the hart does. */
unsigned long access_address(const struct instruction *insn, const struct guest_accessor *guest);

/* Makes the access of a decoded load or store. trapped is the address that the trap reported: another vCPU may have
 * rewritten the instruction since, so one that points elsewhere is not made. A load that faults leaves every register
 * as it was. A store that faults may leave its lower bytes written, as the architecture allows; the guest that repeats
 * it writes them again. Writes *fault only with MISALIGNED_FAULT. */
enum misaligned_result misaligned_emulate(const struct instruction *insn, const struct guest_accessor *guest,
                                          unsigned long trapped, struct guest_fault *fault);

#endif
