/* SPDX-License-Identifier: MIT
 *
 * What this hart really has, found by trying each thing behind trap.S's expected-trap path.
 */
#include "arch/riscv/csr.h"
#include "arch/riscv/pmp.h"

/* The top bit of menvcfg (STCE) lies in menvcfgh on RV32. True if the bit holds. */
static bool probe_stce(void)
{
    unsigned long top = BIT(XLEN - 1);
    unsigned long value = top;
    bool exists = XLEN == 32 ? csr_try_swap(CSR_MENVCFGH, value) : csr_try_swap(CSR_MENVCFG, value);
    if (!exists) {
        return false;
    }
    unsigned long now = XLEN == 32 ? csr_read(CSR_MENVCFGH) : csr_read(CSR_MENVCFG);
    unsigned long ignored = 0;
    return (now & top) != 0 && csr_try_read(CSR_STIMECMP, ignored);
}

/* H must be off for pmp isolation: true if it is there and can't be switched off. */
static bool probe_hypervisor(unsigned long *misa)
{
    if ((*misa & MISA_BIT('H')) == 0) {
        return false;
    }
    csr_clear(misa, MISA_BIT('H'));
    *misa = csr_read(misa);
    return (*misa & MISA_BIT('H')) != 0;
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
    }
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
    features->hypervisor = probe_hypervisor(&features->misa);
    probe_floating_point(features);
    features->time_csr = csr_try_read(CSR_TIME, scratch);
    features->menvcfg = csr_try_read(CSR_MENVCFG, scratch);
    features->sstc = features->menvcfg && probe_stce();
    features->senvcfg = csr_try_read(CSR_SENVCFG, scratch);
    features->mcountinhibit = csr_try_read(CSR_MCOUNTINHIBIT, scratch);
    features->mseccfg = csr_try_read(CSR_MSECCFG, scratch);
    features->smstateen = csr_try_read(CSR_MSTATEEN0, scratch);
    probe_extra(features);
    scratch = 0;
    features->zkr = csr_try_swap(CSR_SEED, scratch);
    features->pmp_locked = pmp_probe(&features->pmp);
}
