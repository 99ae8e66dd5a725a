/* SPDX-License-Identifier: MIT
 *
 * The H extension: see hypervisor.h.
 */
#include "arch/riscv/hypervisor.h"

#include "arch/riscv/csr.h"

enum { HGATP_PPN_SHIFT = 12 };

/* hgatp's fields (18.2.10) */
#define HGATP_MODE_SHIFT (XLEN == 64 ? 60 : 31)
#define HGATP_VMID_SHIFT (XLEN == 64 ? 44 : 22)
#define HGATP_VMID_BITS  (XLEN == 64 ? 14 : 7)

/* WFI traps (VTW); VS-mode has our word size (VSXL). VTSR and VTVM are 0: sret, satp and sfence are the guest's own
 * business. HU and SPVP are for HLV and HSV, which we don't use. */
#define HSTATUS_VTW  BIT(21)
#define HSTATUS_VSXL (XLEN == 64 ? (unsigned long)(2ULL << 32) : 0)

#define STATE_ENVCFG BIT(XLEN - 2) /* bit 62 of mstateen0 and hstateen0 */

extern const char image_start[]; /* diosix.ld */

/* trap.S: 1 if the byte could be loaded while mstatus is trial; restores status either way. */
unsigned long supervisor_load_probe(unsigned long address, unsigned long trial, unsigned long status);

/* --- probing ----------------------------------------------------------------------------------------------------- */

static void write_henvcfg(uint64_t bits)
{
    if (XLEN == 64) {
        csr_write(CSR_HENVCFG, bits);
        return;
    }
    csr_write(CSR_HENVCFG, bits & UINT32_MAX);
    csr_write(CSR_HENVCFGH, bits >> 32); /* last: a write of the low half clears it in QEMU before 11.1 */
}

static uint64_t read_henvcfg(void)
{
    uint64_t bits = csr_read(CSR_HENVCFG);
    return XLEN == 64 ? bits : bits | (uint64_t)csr_read(CSR_HENVCFGH) << 32;
}

/* menvcfg holds all that it can: whatever henvcfg does not take now, guests can't have. */
static void probe_environment(struct hart_features *features)
{
    unsigned long scratch = 0;
    uint64_t found = 0;
    features->henvcfg =
        features->menvcfg && csr_try_read(CSR_HENVCFG, scratch) && (XLEN == 64 || csr_try_read(CSR_HENVCFGH, scratch));
    if (features->henvcfg) {
        arch_hart_environment(features);
        found = read_henvcfg();
    }
    features->sstc = features->sstc && (found & ENVCFG_STCE) != 0;
    features->svadu = features->svadu && (found & ENVCFG_ADUE) != 0;
    features->svpbmt = features->svpbmt && (found & ENVCFG_PBMTE) != 0;
    features->zicbom = features->zicbom && (found & ENVCFG_CBCFE) != 0;
    features->zicboz = features->zicboz && (found & ENVCFG_CBZE) != 0;
}

static void probe_stage2(struct hart_features *features)
{
    const unsigned modes = XLEN == 64 ? 16 : 2;
    for (unsigned mode = 1; mode < modes; mode++) {
        const unsigned long word = (unsigned long)mode << HGATP_MODE_SHIFT;
        const unsigned long identifiers = (BIT(HGATP_VMID_BITS) - 1) << HGATP_VMID_SHIFT;
        csr_write(CSR_HGATP, word | identifiers);
        const unsigned long now = csr_read(CSR_HGATP);
        if (now >> HGATP_MODE_SHIFT == mode) {
            features->stage2_modes |= 1U << mode;
            features->vmid_bits = count_ones(now & identifiers);
        }
    }
    csr_write(CSR_HGATP, 0);
}

void hypervisor_probe(struct hart_features *features)
{
    unsigned long scratch = 0;
    probe_environment(features);
    probe_stage2(features);
    features->delegation_high = XLEN == 32 && csr_try_read(CSR_MEDELEGH, scratch);
}

/* --- policy ------------------------------------------------------------------------------------------------------ */

unsigned long hypervisor_tripwire(void)
{
    return (unsigned long)(uintptr_t)image_start;
}

void hypervisor_environment(const struct hart_features *features)
{
    if (features->henvcfg) {
        write_henvcfg(environment_bits(features));
    }
}

/* What we pass on from HS-mode is all that reaches it. NULL, or what does not hold. */
static const char *delegate(const struct hart_features *features)
{
    csr_write(CSR_HEDELEG, DELEGATED_EXCEPTIONS);
    csr_write(CSR_HIDELEG, VIRTUAL_INTERRUPTS);
    if (features->delegation_high) {
        csr_write(CSR_MEDELEGH, 0);
        csr_write(CSR_HEDELEGH, 0);
    }
    if ((csr_read(medeleg) & ~csr_read(CSR_HEDELEG)) != 0) {
        return "hedeleg";
    }
    if (csr_read(CSR_HIDELEG) != VIRTUAL_INTERRUPTS || (csr_read(mideleg) & VIRTUAL_INTERRUPTS) != VIRTUAL_INTERRUPTS) {
        return "hideleg";
    }
    return NULL;
}

static void clear_guest_state(void)
{
    guest_csr_write(true, GUEST_SATP, 0);
    guest_csr_write(true, GUEST_SIE, 0);
    guest_csr_write(true, GUEST_SSTATUS, 0);
    guest_csr_write(true, GUEST_STVEC, 0);
    guest_csr_write(true, GUEST_SSCRATCH, 0);
    guest_csr_write(true, GUEST_SEPC, 0);
    guest_csr_write(true, GUEST_SCAUSE, 0);
    guest_csr_write(true, GUEST_STVAL, 0);
}

/* Where Sstc is there but can't be used (henvcfg does not hold STCE), QEMU compares vstimecmp all the same, from the
 * next write to htimedelta on: then the guest's timer would be pending for ever. */
static void silence_timer(void)
{
    unsigned long never = ~0UL;
    if (csr_try_swap(CSR_VSTIMECMP, never) && XLEN == 32) {
        never = ~0UL;
        (void)csr_try_swap(CSR_VSTIMECMPH, never);
    }
}

/* What an earlier boot stage may have left of the advanced interrupt architecture, which we don't use. */
static void silence_aia(void)
{
    unsigned long zero = 0;
    (void)csr_try_swap(CSR_HVIEN, zero);
    zero = 0;
    (void)csr_try_swap(CSR_HVICTL, zero);
    zero = 0;
    (void)csr_try_swap(CSR_HVIPRIO1, zero);
    zero = 0;
    (void)csr_try_swap(CSR_HVIPRIO2, zero);
}

const char *hypervisor_prepare(const struct hart_features *features)
{
    silence_timer();
    silence_aia();
    csr_write(CSR_HSTATUS, HSTATUS_VTW | HSTATUS_VSXL);
    csr_write(CSR_HIE, 0);
    csr_write(CSR_HGEIE, 0);
    csr_write(CSR_HVIP, 0);
    csr_write(CSR_HTIMEDELTA, 0);
    if (XLEN == 32) {
        csr_write(CSR_HTIMEDELTAH, 0);
    }
    csr_write(CSR_HCOUNTEREN, features->time_csr ? COUNTER_TIME : 0);
    if (features->smstateen) {
        csr_write(CSR_HSTATEEN0, XLEN == 32 ? 0 : STATE_ENVCFG);
        if (XLEN == 32) {
            csr_write(CSR_HSTATEEN0H, STATE_ENVCFG);
        }
    }
    clear_guest_state();
    arch_this_hart()->is_virtual = 1;
    arch_stage2_load(0);
    if ((csr_read(CSR_HSTATUS) & (HSTATUS_VTW | HSTATUS_VSXL)) != (HSTATUS_VTW | HSTATUS_VSXL)) {
        return "hstatus";
    }
    return delegate(features);
}

void hypervisor_trap_wfi(bool trap)
{
    if (trap) {
        csr_set(CSR_HSTATUS, HSTATUS_VTW);
    } else {
        csr_clear(CSR_HSTATUS, HSTATUS_VTW);
    }
}

/* --- stage 2 ----------------------------------------------------------------------------------------------------- */

unsigned long arch_stage2_word(unsigned mode, unsigned vmid, hpa_t root)
{
    return (unsigned long)mode << HGATP_MODE_SHIFT | (unsigned long)vmid << HGATP_VMID_SHIFT |
           (unsigned long)(root.at >> HGATP_PPN_SHIFT);
}

void arch_stage2_load(unsigned long hgatp)
{
    csr_write(CSR_HGATP, hgatp);
}

unsigned long arch_stage2_read(void)
{
    return csr_read(CSR_HGATP);
}

void arch_fence_stage2(void)
{
    __asm__ volatile(".word 0x62000073" : : : "memory"); /* hfence.gvma x0, x0: both stages, all VMIDs */
}

bool arch_trap_from_hs(const struct arch_context *context)
{
    const bool from_virtual =
        XLEN == 64 ? (context->status & MSTATUS_MPV) != 0 : (context->status_high & MSTATUSH_MPV) != 0;
    return context->is_virtual && !from_virtual;
}

bool arch_virtual_can_load(gpa_t address)
{
    const unsigned long status = csr_read(mstatus);
    const unsigned long trial = (status & ~MSTATUS_MPP_MASK) | MSTATUS_MPP_SUPERVISOR | MSTATUS_MPRV | MSTATUS_MPV;
    if (XLEN == 32) {
        csr_set(CSR_MSTATUSH, MSTATUSH_MPV);
    }
    const bool loaded = supervisor_load_probe((unsigned long)address.at, trial, status) != 0;
    if (XLEN == 32) {
        csr_clear(CSR_MSTATUSH, MSTATUSH_MPV);
    }
    return loaded;
}
