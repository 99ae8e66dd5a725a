/* SPDX-License-Identifier: MIT
 *
 * What this hart really has, found by trying each thing behind trap.S's expected-trap path.
 */
#include "arch/riscv/csr.h"
#include "arch/riscv/hypervisor.h"
#include "arch/riscv/pmp.h"

/* Which of the upper bits of menvcfg hold; they lie in menvcfgh on RV32. */
static uint64_t probe_menvcfg(void)
{
    const uint64_t wanted = ENVCFG_ADUE | ENVCFG_PBMTE | ENVCFG_STCE;
    unsigned long value = (unsigned long)(XLEN == 32 ? wanted >> 32 : wanted);
    bool exists = XLEN == 32 ? csr_try_swap(CSR_MENVCFGH, value) : csr_try_swap(CSR_MENVCFG, value);
    if (!exists) {
        return 0;
    }
    return XLEN == 32 ? (uint64_t)csr_read(CSR_MENVCFGH) << 32 : csr_read(CSR_MENVCFG);
}

static void probe_environment(struct hart_features *features)
{
    unsigned long scratch = 0;
    features->menvcfg = csr_try_read(CSR_MENVCFG, scratch);
    if (features->menvcfg) {
        const uint64_t bits = probe_menvcfg();
        features->svadu = (bits & ENVCFG_ADUE) != 0;
        features->svpbmt = (bits & ENVCFG_PBMTE) != 0;
        features->sstc = (bits & ENVCFG_STCE) != 0 && csr_try_read(CSR_STIMECMP, scratch);
    }
    features->senvcfg = csr_try_read(CSR_SENVCFG, scratch);
}

/* Instructions by their encodings, which GCC 12 doesn't know: on a page of our own, since cbo.zero clears a whole
 * block, whatever its size. */
static void probe_instructions(struct hart_features *features)
{
    static uint8_t page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
    unsigned long scratch = (unsigned long)(uintptr_t)page;
    if (features->menvcfg) {
        features->zicbom = CSR_TRY("mv t0, %[v]\n\t.word 0x0012a00f", scratch); /* cbo.clean (t0) */
        features->zicboz = CSR_TRY("mv t0, %[v]\n\t.word 0x0042a00f", scratch); /* cbo.zero (t0) */
    }
    features->svinval = CSR_TRY(".word 0x18000073", scratch); /* sfence.w.inval */
}

/* RLB of mseccfg can be set while no PMP entry is locked; it must not stay. */
static void probe_security(struct hart_features *features)
{
    enum { RLB = 1 << 2 };
    unsigned long scratch = 0;
    features->mseccfg = csr_try_read(CSR_MSECCFG, scratch);
    if (features->mseccfg) {
        csr_set(CSR_MSECCFG, RLB);
        features->smepmp = (csr_read(CSR_MSECCFG) & RLB) != 0;
        csr_clear(CSR_MSECCFG, RLB);
    }
}

/* satp.ASID, with the smallest paging mode of this word size (machine mode is not translated). */
static unsigned probe_asid_bits(void)
{
    const unsigned long mode = XLEN == 64 ? (unsigned long)(8ULL << 60) : BIT(31);
    const unsigned long field = XLEN == 64 ? (unsigned long)(0xffffULL << 44) : 0x1ffUL << 22;
    csr_write(satp, mode | field);
    const unsigned long held = csr_read(satp) & field;
    csr_write(satp, 0);
    return count_ones(held);
}

static void probe_floating_point(struct hart_features *features)
{
    features->fp_single = (features->misa & MISA_BIT('F')) != 0;
    features->fp_double = (features->misa & MISA_BIT('D')) != 0;
    csr_set(mstatus, MSTATUS_VS);
    unsigned long vlenb = 0;
    if ((csr_read(mstatus) & MSTATUS_VS) != 0 && csr_try_read(CSR_VLENB, vlenb) && vlenb != 0) {
        features->vector = true;
        features->vlenb = (unsigned)vlenb;
    }
    csr_clear(mstatus, MSTATUS_VS);
}

/* With Smstateen, mstateen0 keeps these from guests. */
static void probe_extra(struct hart_features *features)
{
    unsigned long scratch = 0;
    if (!features->smstateen) {
        features->extra[EXTRA_JVT] = csr_try_read(CSR_JVT, scratch);
        features->extra[EXTRA_SCONTEXT] = csr_try_read(CSR_SCONTEXT, scratch);
        features->extra[EXTRA_SRMCFG] = csr_try_read(CSR_SRMCFG, scratch);
        features->extra[EXTRA_SISELECT] = csr_try_read(CSR_SISELECT, scratch);
    }
}

/* QEMU from 7.1 (Sstc) to before 8.2, which tells its version in marchid: riscv_cpu_update_mip looks whether the
 * interrupt of vstimecmp is pending before it takes the lock under which that comes true, and so may take the request
 * back. */
static bool loses_timers(const struct hart_features *features)
{
    const unsigned long first = 0x070100;
    const unsigned long mended = 0x080200;
    return features->mvendorid == 0 && features->marchid >= first && features->marchid < mended && features->sstc;
}

void arch_hart_probe(struct hart_features *features)
{
    unsigned long scratch = 0;
    *features = (struct hart_features){.misa = csr_read(misa)};
    features->mvendorid = csr_read(mvendorid);
    features->marchid = csr_read(marchid);
    features->mimpid = csr_read(mimpid);
    features->supervisor = features->misa == 0 || (features->misa & MISA_BIT('S')) != 0;
    if (!features->supervisor) {
        return;
    }
    features->hypervisor = (features->misa & MISA_BIT('H')) != 0;
    probe_floating_point(features);
    features->time_csr = csr_try_read(CSR_TIME, scratch);
    features->mcountinhibit = csr_try_read(CSR_MCOUNTINHIBIT, scratch);
    features->sscofpmf = csr_try_read(CSR_SCOUNTOVF, scratch);
    features->asid_bits = probe_asid_bits();
    probe_environment(features);
    probe_instructions(features);
    features->smstateen = csr_try_read(CSR_MSTATEEN0, scratch);
    probe_extra(features);
    scratch = 0;
    features->zkr = csr_try_swap(CSR_SEED, scratch);
    features->pmp_locked = pmp_probe(&features->pmp);
    probe_security(features);
    if (features->hypervisor) {
        hypervisor_probe(features);
        features->loses_timers = loses_timers(features);
    }
}
