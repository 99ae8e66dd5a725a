/* SPDX-License-Identifier: MIT
 *
 * A fake of arch/arch.h for unit tests: one current hart whose state the test sets and inspects. Each thread has its
 * own, so threads can stand for harts; core_world.h has several in one thread.
 */
#ifndef UNIT_FAKE_ARCH_H
#define UNIT_FAKE_ARCH_H

#include <setjmp.h>

#include "arch/arch.h"

struct fake_arch {
    /* The current hart. By default a whole struct hart (core/hart.h), zeroed; hart_this() works. */
    struct arch_hart *hart;
    struct hart_features features;     /* what arch_hart_probe reports */
    const char *prepare_result;        /* what arch_hart_prepare returns */
    unsigned long machine_pending;     /* BIT(IRQ_M_…) */
    unsigned long (*on_pending)(void); /* answers arch_hart_pending instead, unless NULL */
    unsigned long machine_enabled;     /* BIT(IRQ_M_…) */
    unsigned waits;
    void (*on_wait)(void); /* called by arch_hart_wait, e.g. to make an interrupt pending; may be NULL */
    jmp_buf *halted;       /* where arch_hart_halt, arch_enter and the end of arch_hart_start_stack jump; NULL: abort */

    /* The loaded vCPU. load copies sie, sip, satp and stimecmp here from the context; save copies them back (not the
     * external interrupt's bit of sip), then silences satp and the timer. */
    struct arch_context *loaded;
    bool loaded_resident;         /* as told to the last load */
    struct arch_context *entered; /* by arch_enter */
    unsigned long trap_value;     /* what arch_trap_value answers */
    bool trap_from_hs;            /* what arch_trap_from_hs answers */
    unsigned loads, saves, resets;
    void (*on_save)(void); /* called at the end of arch_context_save: what other harts do meanwhile; may be NULL */
    void (*on_fence_vma)(
        void); /* called by arch_fence_vma, and by a load of a context that isn't resident; may be NULL */
    unsigned long virtual_pending, virtual_enabled; /* BIT(IRQ_S_…) */
    uint64_t virtual_timer;
    unsigned long satp;
    bool user_may_read_time, supervisor_may_read_time;

    /* arch_reflect records here, and sets the context's scause, stval, sepc, and pc to its stvec. */
    unsigned reflections;
    unsigned long reflected_cause, reflected_value;

    uint64_t fp[32];

    struct pmp_image pmp; /* as last loaded */
    unsigned pmp_loads;
    bool supervisor_can_load; /* what arch_supervisor_can_load answers, unless the next is set */
    bool (*supervisor_can_load_at)(hpa_t address);
    unsigned long stage2; /* hgatp, as last loaded */
    unsigned stage2_loads;
    bool virtual_can_load; /* what arch_virtual_can_load answers, unless the next is set */
    bool (*virtual_can_load_at)(gpa_t address);
    void (*on_change)(
        const char *what); /* called after "stage2", "fence_stage2" and "pmp": in which order; may be NULL */
    unsigned fences_vma, fences_i, fences_memory, fences_stage2;

    /* The host's device registers; NULL: addresses are native memory. */
    uint32_t (*on_mmio_read)(uint64_t address, unsigned bytes);
    void (*on_mmio_write)(uint64_t address, unsigned bytes, uint32_t value);

    uint64_t time;
    unsigned long cycles;
    bool entropy_fails;
    uint8_t entropy_next; /* entropy bytes count up from here */
};

extern _Thread_local struct fake_arch fake_arch;

/* Back to the default hart (zeroed), everything else 0. Tests call it in their set-up. */
void fake_arch_reset(void);

#endif
