/* SPDX-License-Identifier: MIT
 *
 * One hart: machine-mode policy, interrupts, fences, time, entropy.
 */
#include "arch/riscv/csr.h"
#include "arch/riscv/hypervisor.h"

enum { MSECCFG_SEED = 3 << 8 }; /* USEED and SSEED */

struct arch_hart *arch_this_hart(void)
{
    return this_hart();
}

static void silence_triggers(void)
{
    for (unsigned long n = 0; n < 32; n++) {
        unsigned long selected = n;
        if (!csr_try_swap(tselect, selected) || csr_read(tselect) != n) {
            return;
        }
        unsigned long zero = 0;
        (void)csr_try_swap(tdata1, zero);
    }
}

/* Environment bits that guests may use: cache-block operations (invalidate becomes flush) and, if the guest's tree can
 * offer it wherever the guest may run, stimecmp, hardware A/D updating and page-based memory types. */
uint64_t environment_bits(const struct hart_features *features)
{
    uint64_t bits = ENVCFG_CBIE_FLUSH | ENVCFG_CBCFE | ENVCFG_CBZE;
    bits |= features->sstc ? ENVCFG_STCE : 0;
    bits |= features->svadu ? ENVCFG_ADUE : 0;
    bits |= features->svpbmt ? ENVCFG_PBMTE : 0;
    return bits;
}

void arch_hart_environment(const struct hart_features *features)
{
    uint64_t bits = environment_bits(features);
    if (!features->menvcfg) {
        return;
    }
    if (XLEN == 32) {
        csr_write(CSR_MENVCFG, bits & UINT32_MAX);
        csr_write(CSR_MENVCFGH, bits >> 32);
    } else {
        csr_write(CSR_MENVCFG, bits);
    }
    if (features->hypervisor) {
        hypervisor_environment(features);
    }
    arch_fence_vma();
}

/* Of the state that Smstateen guards, guests get senvcfg, which is switched, and nothing else. */
static void prepare_state_enable(void)
{
    unsigned long senvcfg = BIT(XLEN - 2); /* bit 62 of mstateen0 */
    csr_write(CSR_MSTATEEN0, XLEN == 32 ? 0 : senvcfg);
    if (XLEN == 32) {
        csr_write(CSR_MSTATEEN0H, senvcfg);
    }
}

static void prepare_supervisor(const struct hart_features *features)
{
    csr_write(satp, 0);
    csr_write(stvec, features->hypervisor ? hypervisor_tripwire() : 0);
    csr_write(sscratch, 0);
    csr_write(sepc, 0);
    csr_write(scause, 0);
    csr_write(stval, 0);
    csr_write(scounteren, 0);
    csr_clear(mip, DELEGATED_INTERRUPTS);
    if (features->senvcfg) {
        csr_write(CSR_SENVCFG, 0);
    }
    if (features->smstateen) {
        prepare_state_enable();
    }
    if (features->sstc) {
        guest_timer_set(false, UINT64_MAX);
    }
    csr_write(sie, 0);
}

/* NULL, or what does not hold. On harts with H, whose HS-mode is empty, S-mode's interrupts are delegated too, but
 * never enabled: QEMU, 7.2 and 10, shows VS-mode's pending bits in sip only where mideleg has S-mode's. */
static const char *delegate(const struct hart_features *features)
{
    const unsigned long machine = BIT(IRQ_M_SOFT) | BIT(IRQ_M_TIMER) | BIT(IRQ_M_EXTERNAL);
    csr_write(medeleg, DELEGATED_EXCEPTIONS);
    csr_write(mideleg, DELEGATED_INTERRUPTS);
    if (csr_read(medeleg) != DELEGATED_EXCEPTIONS) {
        return "medeleg";
    }
    if ((csr_read(mideleg) & (DELEGATED_INTERRUPTS | machine)) != DELEGATED_INTERRUPTS) {
        return "mideleg";
    }
    if (features->hypervisor && (csr_read(mie) & DELEGATED_INTERRUPTS) != 0) {
        return "mie";
    }
    return features->hypervisor ? hypervisor_prepare(features) : NULL;
}

const char *arch_hart_prepare(const struct hart_features *features)
{
    csr_write(mie, BIT(IRQ_M_SOFT));
    csr_write(mcounteren, features->time_csr ? COUNTER_TIME : 0);
    arch_hart_environment(features);
    prepare_supervisor(features);
    if (features->mseccfg) {
        csr_clear(CSR_MSECCFG, MSECCFG_SEED); /* the seed CSR is the hypervisor's */
    }
    if (features->mcountinhibit) {
        csr_write(CSR_MCOUNTINHIBIT, 0);
    }
    silence_triggers();
    const char *wrong = delegate(features);
    if (wrong == NULL && features->sstc) {
        arch_virtual_timer_set(UINT64_MAX);
    }
    return wrong;
}

_Noreturn void arch_hart_halt(void)
{
    csr_write(mie, 0);
    for (;;) {
        __asm__ volatile("wfi");
    }
}

void arch_hart_wait(void)
{
    __asm__ volatile("wfi" : : : "memory");
}

unsigned long arch_hart_pending(void)
{
    return csr_read(mip) & csr_read(mie) & (BIT(IRQ_M_SOFT) | BIT(IRQ_M_TIMER) | BIT(IRQ_M_EXTERNAL));
}

void arch_hart_interrupt_enable(unsigned long bits, bool enable)
{
    if (enable) {
        csr_set(mie, bits);
    } else {
        csr_clear(mie, bits);
    }
}

/* sfence.vma does not reach VS-mode's translations, nor hfence.vvma any but those of the present VMID. */
void arch_fence_vma(void)
{
    if (guests_are_virtual()) {
        __asm__ volatile(".word 0x22000073" : : : "memory"); /* hfence.vvma x0, x0 */
    } else {
        __asm__ volatile("sfence.vma x0, x0" : : : "memory");
    }
}

void arch_fence_i(void)
{
    __asm__ volatile("fence.i" : : : "memory");
}

void arch_fence_memory(void)
{
    __asm__ volatile("fence iorw, iorw" : : : "memory");
}

bool arch_answers(uint64_t address, unsigned bytes)
{
    unsigned long value = (unsigned long)address;
    return bytes == 1 ? CSR_TRY("lbu %[v], (%[v])", value) : CSR_TRY("lw %[v], (%[v])", value);
}

uint64_t arch_time(void)
{
    if (XLEN == 64) {
        return csr_read(CSR_TIME);
    }
    unsigned long high;
    unsigned long low;
    do {
        high = csr_read(CSR_TIMEH);
        low = csr_read(CSR_TIME);
    } while (high != csr_read(CSR_TIMEH));
    return ((uint64_t)high << 32) | low;
}

unsigned long arch_cycles(void)
{
    return csr_read(mcycle);
}

unsigned long arch_trap_value(void)
{
    return csr_read(mtval);
}

/* Zkr: bits 31:30 of seed say whether the low 16 bits are entropy (2: ES16). */
bool arch_entropy(uint8_t *bytes, size_t length)
{
    size_t done = 0;
    for (unsigned tries = 0; tries < 10000 && done < length; tries++) {
        unsigned long seed = 0;
        if (!csr_try_swap(CSR_SEED, seed)) {
            return false;
        }
        if (((seed >> 30) & 3) == 2) {
            bytes[done++] = (uint8_t)seed;
            if (done < length) {
                bytes[done++] = (uint8_t)(seed >> 8);
            }
        }
    }
    return done == length;
}
