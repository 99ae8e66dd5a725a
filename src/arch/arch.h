/* SPDX-License-Identifier: MIT
 *
 * The one boundary to the processor. Everything above it compiles natively against a fake of these functions;
 * everything below is the only assembly and the only CSR access in the tree. "This hart" is the calling one.
 */
#ifndef ARCH_ARCH_H
#define ARCH_ARCH_H

#include "arch/pmp.h"
#include "lib/address.h"

/* Indices into arch_context.x, by the ABI's names */
enum { REG_ZERO = 0, REG_RA = 1, REG_SP = 2, REG_A0 = 10, REG_A1 = 11, REG_A6 = 16, REG_A7 = 17 };

/* Interrupt and exception numbers of scause/mcause (privileged specification, table 3.6) */
enum interrupt_number {
    IRQ_S_SOFT = 1,
    IRQ_M_SOFT = 3,
    IRQ_S_TIMER = 5,
    IRQ_M_TIMER = 7,
    IRQ_S_EXTERNAL = 9,
    IRQ_M_EXTERNAL = 11,
};
enum exception_number {
    CAUSE_FETCH_MISALIGNED = 0,
    CAUSE_FETCH_ACCESS = 1,
    CAUSE_ILLEGAL = 2,
    CAUSE_BREAKPOINT = 3,
    CAUSE_LOAD_MISALIGNED = 4,
    CAUSE_LOAD_ACCESS = 5,
    CAUSE_STORE_MISALIGNED = 6,
    CAUSE_STORE_ACCESS = 7,
    CAUSE_ECALL_U = 8,
    CAUSE_ECALL_S = 9,
    CAUSE_ECALL_VS = 10,
    CAUSE_ECALL_M = 11,
    CAUSE_FETCH_PAGE = 12,
    CAUSE_LOAD_PAGE = 13,
    CAUSE_STORE_PAGE = 15,
    CAUSE_FETCH_GUEST_PAGE = 20, /* stage 2 does not map what the guest uses */
    CAUSE_LOAD_GUEST_PAGE = 21,
    CAUSE_VIRTUAL_INSTRUCTION = 22, /* illegal in VS- or VU-mode only */
    CAUSE_STORE_GUEST_PAGE = 23,
    CAUSE_EXCEPTIONS = 24, /* one more than the highest that is named */
};

/* Bits that code above arch may look at: MPP in context.status, the others in arch_virtual_status() */
enum {
    STATUS_SIE = 1 << 1,
    STATUS_SPIE = 1 << 5,
    STATUS_SPP = 1 << 8,
    STATUS_MPP = 3 << 11,
    STATUS_MPP_S = 1 << 11,
    STATUS_FS_DIRTY = 3 << 13,
    STATUS_SUM = 1 << 18,
    STATUS_MXR = 1 << 19,
};

/* State that guests reach on a hart that has it and no Smstateen to forbid it. */
enum extra_csr { EXTRA_JVT, EXTRA_SCONTEXT, EXTRA_SRMCFG, EXTRA_SISELECT, EXTRA_CSRS };

/* A vCPU's whole architectural state. While it is loaded on a hart, x, pc and status are current after every trap;
 * the rest is in the hart's registers until arch_context_save. A guest in VS-mode has the same registers under other
 * names (vsie for sie, and so on); interrupts have S-mode's numbers in both. */
struct arch_context {
    unsigned long x[32]; /* x[0] is not used */
    unsigned long pc;
    unsigned long status;      /* mstatus as of the trap: MPP tells the guest's mode */
    unsigned long status_high; /* mstatush, on RV32 harts with H: MPV */
    void *hart;                /* the hart that has it loaded; for trap.S */
    bool is_virtual;           /* runs in VS-mode (harts with H) instead of S-mode; constant */
    bool own_hart;             /* runs alone on its hart: its WFI sleeps there and does not trap; constant */
    unsigned long vsstatus;    /* VS-mode's own status; in S-mode it is part of status */
    unsigned long sie, sip, stvec, sscratch, sepc, scause, stval, satp, scounteren, senvcfg;
    uint64_t stimecmp; /* with Sstc only; ~0: never */
    unsigned long fcsr, vstart, vl, vtype, vcsr;
    uint64_t f[32];
    unsigned long extra[EXTRA_CSRS]; /* CSRs that S- or U-mode reaches on some harts only */
    uint8_t *vector;                 /* 32 registers of vlenb bytes, or NULL if no hart of this machine has V */
    size_t vector_size;              /* bytes: enough for the hart with the longest registers */
};

/* What this hart really has, found by trying (arch_hart_probe). */
struct hart_features {
    unsigned long misa, mvendorid, marchid, mimpid;
    struct pmp_features pmp;
    bool supervisor, hypervisor, fp_single, fp_double, vector;
    bool time_csr; /* the time CSR can be read, here and by guests */
    bool sstc;
    bool menvcfg, henvcfg, senvcfg, mcountinhibit, mseccfg, smepmp, smstateen, sscofpmf;
    bool svadu, svpbmt; /* menvcfg (and henvcfg) can switch hardware A/D updating, memory types on */
    bool svinval, zicbom, zicboz;
    bool delegation_high;   /* medelegh and hedelegh exist (RV32) */
    unsigned asid_bits;     /* of satp.ASID */
    unsigned vmid_bits;     /* of hgatp.VMID; 0: all guests share one */
    unsigned stage2_modes;  /* bit n: hgatp.MODE takes the value n */
    bool zkr;               /* the seed CSR answers */
    bool extra[EXTRA_CSRS]; /* must be switched */
    bool pmp_locked;        /* an earlier stage left locked entries: the hart can't be trusted to confine anyone */
    unsigned vlenb;         /* bytes of a vector register; 0 without V */
    bool loses_timers; /* an interrupt of vstimecmp's may stay pending and not be taken until the next trap to M-mode */
};

/* First member of struct hart: what trap.S needs of it. */
struct arch_hart {
    unsigned long stack_top;
    unsigned long recover; /* where an expected trap in the hypervisor goes on; 0: none is expected */
    unsigned long recover_cause;
    unsigned long scratch[4];
    unsigned long emergency_top; /* stack for traps that the hypervisor itself took */
    unsigned long id;            /* mhartid */
    unsigned long guard;         /* address of the page below the stack */
    unsigned long is_virtual;    /* the hart has H: its guests run in VS-mode, and nothing ever runs in HS-mode */
};

/* --- harts --- */
struct arch_hart *arch_this_hart(void);
/* Probes by trying, behind a trap handler; call once on each hart before arch_hart_prepare. */
void arch_hart_probe(struct hart_features *features);
/* Sets every machine-mode CSR to the hypervisor's policy. NULL, or the name of a CSR that did not take it. */
const char *arch_hart_prepare(const struct hart_features *features);
/* Its part that depends on what other harts have: again, before the hart's first guest. */
void arch_hart_environment(const struct hart_features *features);
/* Leaves the current stack for ever and calls function(argument) on the hart's own. */
_Noreturn void arch_hart_start_stack(struct arch_hart *hart, void (*function)(void *), void *argument);
_Noreturn void arch_hart_halt(void);
/* Sleeps until a machine-level interrupt is pending. Interrupts stay off: the caller polls. */
void arch_hart_wait(void);
/* Pending machine-level interrupts of this hart, as BIT(IRQ_M_…). */
unsigned long arch_hart_pending(void);
/* Enables or disables one machine-level interrupt source (BIT(IRQ_M_…)) of this hart. */
void arch_hart_interrupt_enable(unsigned long bits, bool enable);

/* --- the loaded vCPU --- */
/* Into the guest for the first time on this stack; afterwards trap.S returns what trap_handle() gives it. */
_Noreturn void arch_enter(struct arch_context *context);
/* The value that explains the trap that is being handled (mtval). */
unsigned long arch_trap_value(void);
/* Whether the trap came from HS-mode, where nothing may ever run: the alarm for a broken delegation. */
bool arch_trap_from_hs(const struct arch_context *context);
/* A fresh context: all zero but pc, a0, a1 and the policy bits; entered in S- or VS-mode (is_virtual, which stays)
 * with translation off. The vector area is cleared too. */
void arch_context_reset(struct arch_context *context, unsigned long entry, unsigned long a0, unsigned long a1);
/* Moves everything but x, pc and status between the context and this hart. After save, nothing of the vCPU
 * can still act (translation off, its timer silent); load ends with the fences that a switch needs. */
void arch_context_save(struct arch_context *context, const struct hart_features *features);
/* resident: nothing else was loaded on this hart since this context was saved from it. */
void arch_context_load(struct arch_context *context, const struct hart_features *features, bool resident);
/* The loaded vCPU's interrupt-pending and -enable bits (BIT(IRQ_S_…)). */
void arch_virtual_interrupt(unsigned long bit, bool pending);
unsigned long arch_virtual_pending(void);
unsigned long arch_virtual_enabled(void);
/* The loaded vCPU's timer compare register, on harts with Sstc. */
void arch_virtual_timer_set(uint64_t deadline);
uint64_t arch_virtual_timer(void);
/* Delivers an exception to the loaded vCPU's own handler: sets its CSRs, pc and status. */
void arch_reflect(struct arch_context *context, unsigned long cause, unsigned long value);
/* The loaded vCPU's translation root. */
unsigned long arch_virtual_satp(void);
/* The loaded vCPU's sstatus, whichever register holds it. */
unsigned long arch_virtual_status(const struct arch_context *context);
/* Whether the loaded vCPU's own scounteren opens counter 0 (cycle), 1 (time) or 2 (instret). */
bool arch_virtual_counter_open(unsigned counter, bool user);
/* One floating-point register of the loaded vCPU, raw bits. A write makes the guest's FS dirty. */
uint64_t arch_fp_read(unsigned reg);
void arch_fp_write(struct arch_context *context, unsigned reg, uint64_t bits);

/* --- memory protection and fences --- */
/* Replaces entries 0 … MAX(old->count, image->count) − 1 without ever opening both. old may be NULL: clear all. */
void arch_pmp_load(const struct hart_features *features, const struct pmp_image *image, const struct pmp_image *old);
void arch_pmp_read(const struct hart_features *features, struct pmp_image *image);
/* Whether S-mode, as PMP stands now, could load the byte at address. */
bool arch_supervisor_can_load(hpa_t address);
/* The same for VS-mode with translation off, as stage 2 and PMP stand now. Harts with H only. */
bool arch_virtual_can_load(gpa_t address);
/* This hart's hgatp; no vCPU may be loaded. 0: no stage 2, guest-physical is host-physical. Harts with H only. */
void arch_stage2_load(unsigned long hgatp);
unsigned long arch_stage2_read(void);
/* hgatp from its fields; root on 16 KiB. */
unsigned long arch_stage2_word(unsigned mode, unsigned vmid, hpa_t root);
void arch_fence_stage2(void); /* all guests' translations, both stages; harts with H only */
void arch_fence_vma(void);    /* all of this hart's translations that the loaded vCPU's own tables make */
void arch_fence_i(void);
void arch_fence_memory(void); /* full fence, device accesses included */

/* --- time and entropy --- */
uint64_t arch_time(void); /* the time CSR; only where features->time_csr */
unsigned long arch_cycles(void);
bool arch_entropy(uint8_t *bytes, size_t length); /* from Zkr; false without it or if it never settles */

/* --- device registers of the host --- */
/* Whether a load of 1 or 4 bytes from there (aligned) comes back, whatever it reads: else the address is hearsay. */
bool arch_answers(uint64_t address, unsigned bytes);
uint32_t mmio_read32(uint64_t address);
uint16_t mmio_read16(uint64_t address);
uint8_t mmio_read8(uint64_t address);
void mmio_write32(uint64_t address, uint32_t value);
void mmio_write8(uint64_t address, uint8_t value);

#endif
