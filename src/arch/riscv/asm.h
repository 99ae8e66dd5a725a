/* SPDX-License-Identifier: MIT
 *
 * Word size for the assembly: the only preprocessor conditional on it in the tree.
 */
#ifndef ARCH_RISCV_ASM_H
#define ARCH_RISCV_ASM_H

#if __riscv_xlen == 64
#define REG_S    sd
#define REG_L    ld
#define WORD_LOG 3
#else
#define REG_S    sw
#define REG_L    lw
#define WORD_LOG 2
#endif
#define WORD (1 << WORD_LOG)

/* Where diosix.ld links the image; it runs wherever it is. */
#define LINK_BASE 0x80000000

#define MSTATUS_MPRV 0x20000
#define MSTATUS_MDT  (1 << 42)
#define MISA_S       0x40000
#define CSR_MSTATUSH 0x310

#endif
