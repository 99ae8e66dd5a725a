/* SPDX-License-Identifier: MIT
 *
 * One hart: machine-mode policy, interrupts, fences, time, entropy.
 */
#include "arch/riscv/csr.h"

/* Exceptions that a guest's own kernel handles without us: misaligned fetch, breakpoint, ecall from U, page faults.
 * Access faults stay here: they are MMIO emulation and the alarm. Illegal instructions stay for WFI and time. */
#define DELEGATED_EXCEPTIONS                                                                                           \
    (BIT(CAUSE_FETCH_MISALIGNED) | BIT(CAUSE_BREAKPOINT) | BIT(CAUSE_ECALL_U) | BIT(CAUSE_FETCH_PAGE) |                \
     BIT(CAUSE_LOAD_PAGE) | BIT(CAUSE_STORE_PAGE))

enum {
    ENVCFG_CBIE_FLUSH = 1 << 4,
    ENVCFG_CBCFE = 1 << 6,
    ENVCFG_CBZE = 1 << 7,
    MSECCFG_SEED = 3 << 8, /* USEED and SSEED */
};

struct arch_hart *arch_this_hart(void)
{
    struct arch_hart *hart;
    __asm__("mv %0, tp" : "=r"(hart));
    return hart;
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

/* Environment bits that guests may use: cache-block operations (invalidate becomes flush) and, with Sstc, stimecmp.
 * Hardware A/D updating and page-based memory types stay off: the guest's tree doesn't offer them. */
void arch_hart_environment(const struct hart_features *features)
{
    unsigned long low = ENVCFG_CBIE_FLUSH | ENVCFG_CBCFE | ENVCFG_CBZE;
    unsigned long stce = features->sstc ? BIT(XLEN - 1) : 0;
    if (!features->menvcfg) {
        return;
    }
    if (XLEN == 32) {
        csr_write(CSR_MENVCFG, low);
        csr_write(CSR_MENVCFGH, stce);
    } else {
        csr_write(CSR_MENVCFG, low | stce);
    }
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
    csr_write(stvec, 0);
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
        arch_virtual_timer_set(UINT64_MAX);
    }
}

const char *arch_hart_prepare(const struct hart_features *features)
{
    csr_write(mie, BIT(IRQ_M_SOFT));
    csr_write(medeleg, DELEGATED_EXCEPTIONS);
    csr_write(mideleg, DELEGATED_INTERRUPTS);
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
    if (csr_read(medeleg) != DELEGATED_EXCEPTIONS) {
        return "medeleg";
    }
    if ((csr_read(mideleg) & (DELEGATED_INTERRUPTS | BIT(IRQ_M_SOFT) | BIT(IRQ_M_TIMER) | BIT(IRQ_M_EXTERNAL))) !=
        DELEGATED_INTERRUPTS) {
        return "mideleg";
    }
    return NULL;
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

void arch_fence_vma(void)
{
    __asm__ volatile("sfence.vma x0, x0" : : : "memory");
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
