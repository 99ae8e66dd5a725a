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

/* Runs one instruction that may trap. True if it did not. trap.S sends a trap to label 9 and notes the cause. */
#define CSR_TRY(instruction, value)                                                                                    \
    ({                                                                                                                 \
        struct arch_hart *try_hart_ = arch_this_hart();                                                                \
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

/* TM of mcounteren and scounteren; cycle and instret stay hidden: they show what others do */
#define COUNTER_TIME BIT(1)

#define MISA_BIT(letter)     BIT((letter) - 'A')
#define DELEGATED_INTERRUPTS (BIT(IRQ_S_SOFT) | BIT(IRQ_S_TIMER) | BIT(IRQ_S_EXTERNAL))

#endif
