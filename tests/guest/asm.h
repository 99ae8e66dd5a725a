/* SPDX-License-Identifier: MIT
 *
 * What assembly and C of the test guests share: the word's loads and stores, and where struct hart keeps what the
 * assembly touches. guest.c asserts that the offsets are right.
 */
#ifndef GUEST_ASM_H
#define GUEST_ASM_H

/* Assembly has no other way to choose an instruction by word size. */
#if __riscv_xlen == 64
#define WORD  8
#define LOAD  ld
#define STORE sd
#else
#define WORD  4
#define LOAD  lw
#define STORE sw
#endif

/* Programs that have to be small are built with other values: guest.mk. */
#ifndef HARTS_MAX
#define HARTS_MAX  8
#define STACK_SIZE 8192
#endif

/* struct hart, in words */
#define HART_X         0
#define HART_PC        32
#define HART_STATUS    33
#define HART_CAUSE     34
#define HART_VALUE     35
#define HART_STACK     36 /* top of the trap handler's stack */
#define HART_CATCH_PC  37
#define HART_CATCH_SP  38
#define HART_SPARE     39 /* sp of sbi_patterned */
#define HART_ENTRY_X   40 /* all registers as they were at entry */
#define HART_ENTRY_CSR 72 /* satp stvec sscratch sepc scause stval sie sip sstatus scounteren */
#define HART_WORDS     84
#define HART_SHIFT     10 /* sizeof(struct hart) is 1 << HART_SHIFT */

#endif
