/* SPDX-License-Identifier: MIT
 *
 * CSR access. Names where GCC 12's assembler knows them, numbers otherwise.
 */
#ifndef ARCH_RISCV_CSR_H
#define ARCH_RISCV_CSR_H

#include "arch/arch.h"

/* CSRs that are newer than the assembler */
#define CSR_SEED          0x015
#define CSR_JVT           0x017
#define CSR_SRMCFG        0x181
#define CSR_SCONTEXT      0x5a8
#define CSR_SENVCFG       0x10a
#define CSR_STIMECMP      0x14d
#define CSR_STIMECMPH     0x15d
#define CSR_SISELECT      0x150
#define CSR_SCOUNTOVF     0xda0
#define CSR_MSTATUSH      0x310
#define CSR_MEDELEGH      0x312
#define CSR_MENVCFG       0x30a
#define CSR_MSTATEEN0     0x30c
#define CSR_MENVCFGH      0x31a
#define CSR_MSTATEEN0H    0x31c
#define CSR_MCOUNTINHIBIT 0x320
#define CSR_MSECCFG       0x747
#define CSR_VSTART        0x008
#define CSR_VCSR          0x00f
#define CSR_VL            0xc20
#define CSR_VTYPE         0xc21
#define CSR_VLENB         0xc22
#define CSR_TIME          0xc01
#define CSR_TIMEH         0xc81

/* The H extension's (privileged specification, 18.2) */
#define CSR_HSTATUS     0x600
#define CSR_HEDELEG     0x602
#define CSR_HIDELEG     0x603
#define CSR_HIE         0x604
#define CSR_HTIMEDELTA  0x605
#define CSR_HCOUNTEREN  0x606
#define CSR_HGEIE       0x607
#define CSR_HENVCFG     0x60a
#define CSR_HSTATEEN0   0x60c
#define CSR_HEDELEGH    0x612
#define CSR_HTIMEDELTAH 0x615
#define CSR_HVIEN       0x608
#define CSR_HVICTL      0x609
#define CSR_HVIPRIO1    0x646
#define CSR_HVIPRIO2    0x647
#define CSR_HENVCFGH    0x61a
#define CSR_HSTATEEN0H  0x61c
#define CSR_VSTIMECMP   0x24d
#define CSR_VSTIMECMPH  0x25d
#define CSR_HIP         0x644
#define CSR_HVIP        0x645
#define CSR_HGATP       0x680

/* Supervisor CSRs of which VS-mode has its own copy, 0x100 further on: guest_csr_… reach the guest's. */
#define GUEST_SSTATUS  0x100
#define GUEST_SIE      0x104
#define GUEST_STVEC    0x105
#define GUEST_SSCRATCH 0x140
#define GUEST_SEPC     0x141
#define GUEST_SCAUSE   0x142
#define GUEST_STVAL    0x143
#define GUEST_SATP     0x180

#define CSR_STRING_(csr) #csr
#define CSR_STRING(csr)  CSR_STRING_(csr)

#define csr_read(csr)                                                                                                  \
    ({                                                                                                                 \
        unsigned long csr_value_;                                                                                      \
        __asm__ volatile("csrr %0, " CSR_STRING(csr) : "=r"(csr_value_) : : "memory");                                 \
        csr_value_;                                                                                                    \
    })
#define csr_write(csr, value)                                                                                          \
    __asm__ volatile("csrw " CSR_STRING(csr) ", %0" : : "rK"((unsigned long)(value)) : "memory")
#define csr_set(csr, bits)   __asm__ volatile("csrs " CSR_STRING(csr) ", %0" : : "rK"((unsigned long)(bits)) : "memory")
#define csr_clear(csr, bits) __asm__ volatile("csrc " CSR_STRING(csr) ", %0" : : "rK"((unsigned long)(bits)) : "memory")

/* is_virtual: the guest is one in VS-mode. */
#define guest_csr_read(is_virtual, csr)                                                                                \
    ({                                                                                                                 \
        unsigned long csr_value_;                                                                                      \
        if (is_virtual) {                                                                                              \
            __asm__ volatile("csrr %0, " CSR_STRING(csr) " + 0x100" : "=r"(csr_value_) : : "memory");                  \
        } else {                                                                                                       \
            __asm__ volatile("csrr %0, " CSR_STRING(csr) : "=r"(csr_value_) : : "memory");                             \
        }                                                                                                              \
        csr_value_;                                                                                                    \
    })
#define guest_csr_write(is_virtual, csr, value)                                                                        \
    do {                                                                                                               \
        if (is_virtual) {                                                                                              \
            __asm__ volatile("csrw " CSR_STRING(csr) " + 0x100, %0" : : "rK"((unsigned long)(value)) : "memory");      \
        } else {                                                                                                       \
            __asm__ volatile("csrw " CSR_STRING(csr) ", %0" : : "rK"((unsigned long)(value)) : "memory");              \
        }                                                                                                              \
    } while (0)

/* Runs one instruction that may trap. True if it did not. trap.S sends a trap to label 9 and notes the cause. */
#define CSR_TRY(instruction, value)                                                                                    \
    ({                                                                                                                 \
        struct arch_hart *try_hart_ = this_hart();                                                                     \
        try_hart_->recover_cause = ~0UL;                                                                               \
        __asm__ volatile(                                                                                              \
            "lla t0, 9f\n\t"                                                                                           \
            ".if %[word] == 8\n\tsd t0, (%[recover])\n\t.else\n\tsw t0, (%[recover])\n\t.endif\n\t" instruction "\n9:" \
            : [v] "+r"(value)                                                                                          \
            : [recover] "r"(&try_hart_->recover), [word] "i"(sizeof(long))                                             \
            : "t0", "memory");                                                                                         \
        try_hart_->recover = 0;                                                                                        \
        try_hart_->recover_cause == ~0UL;                                                                              \
    })
#define csr_try_read(csr, value) CSR_TRY("csrr %[v], " CSR_STRING(csr), value)
#define csr_try_swap(csr, value) CSR_TRY("csrrw %[v], " CSR_STRING(csr) ", %[v]", value)

/* mstatus fields (privileged specification, 3.1.6) */
#define MSTATUS_MIE            BIT(3)
#define MSTATUS_MPIE           BIT(7)
#define MSTATUS_MPP_MASK       (3UL << 11)
#define MSTATUS_MPP_SUPERVISOR (1UL << 11)
#define MSTATUS_VS             (3UL << 9)
#define MSTATUS_FS             (3UL << 13)
#define MSTATUS_MPRV           BIT(17)
#define MSTATUS_TW             BIT(21)
/* RV64; on RV32 the same bits stand in mstatush, 32 lower */
#define MSTATUS_MPV  (XLEN == 64 ? (unsigned long)(1ULL << 39) : 0)
#define MSTATUSH_MPV BIT(7)

/* TM of mcounteren and scounteren; cycle and instret stay hidden: they show what others do */
#define COUNTER_TIME BIT(1)

#define MISA_BIT(letter)     BIT((letter) - 'A')
#define DELEGATED_INTERRUPTS (BIT(IRQ_S_SOFT) | BIT(IRQ_S_TIMER) | BIT(IRQ_S_EXTERNAL))
/* The same of VS-mode, as hideleg and hvip number them */
#define VIRTUAL_INTERRUPTS (DELEGATED_INTERRUPTS << 1)

/* Exceptions that a guest's own kernel handles without us: misaligned fetch, breakpoint, ecall from U, page faults.
 * Access faults stay here: they are MMIO emulation and the alarm. Illegal instructions stay for WFI and time. */
#define DELEGATED_EXCEPTIONS                                                                                           \
    (BIT(CAUSE_FETCH_MISALIGNED) | BIT(CAUSE_BREAKPOINT) | BIT(CAUSE_ECALL_U) | BIT(CAUSE_FETCH_PAGE) |                \
     BIT(CAUSE_LOAD_PAGE) | BIT(CAUSE_STORE_PAGE))

static inline void guest_timer_set(bool is_virtual, uint64_t deadline)
{
    if (XLEN == 64) {
        guest_csr_write(is_virtual, CSR_STIMECMP, deadline);
        return;
    }
    /* High half first to its maximum, so that no earlier deadline shows in between. */
    guest_csr_write(is_virtual, CSR_STIMECMPH, ~0UL);
    guest_csr_write(is_virtual, CSR_STIMECMP, deadline & UINT32_MAX);
    guest_csr_write(is_virtual, CSR_STIMECMPH, deadline >> 32);
}

static inline unsigned count_ones(unsigned long word)
{
    unsigned count = 0;
    for (; word != 0; word &= word - 1) {
        count++;
    }
    return count;
}

/* arch_this_hart() without a call */
static inline struct arch_hart *this_hart(void)
{
    struct arch_hart *hart;
    __asm__("mv %0, tp" : "=r"(hart));
    return hart;
}

static inline bool guests_are_virtual(void)
{
    return this_hart()->is_virtual != 0;
}

#endif
