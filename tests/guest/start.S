/* SPDX-License-Identifier: MIT
 *
 * Entry of a test guest, of its further harts, and its traps. Registers are saved before the first of them is used,
 * so that a test can say what the hypervisor left in them.
 */
#include "asm.h"

/* Stores x1 … x31 to words \first … of the structure at \base. \base's own slot gets \base: the caller mends it. */
.macro SAVE_ALL base, first
    .set n, 1
    .rept 31
    SAVE_ONE %n, \base, \first
    .set n, n + 1
    .endr
.endm
.macro SAVE_ONE n, base, first
    STORE x\n, (\first + \n) * WORD(\base)
.endm
.macro LOAD_ONE n, base, first
    LOAD x\n, (\first + \n) * WORD(\base)
.endm

.altmacro

.macro SAVE_ENTRY /* t0: this hart's struct; stval holds t0 | stval */
    SAVE_ALL t0, HART_ENTRY_X
    csrr t1, stval
    STORE t1, (HART_ENTRY_X + 5) * WORD(t0)
    .set where, HART_ENTRY_CSR
    .irp csr, satp, stvec, sscratch, sepc, scause, stval, sie, sip, sstatus, scounteren
    csrr t1, \csr
    STORE t1, where * WORD(t0)
    .set where, where + 1
    .endr
.endm

    .section .text.start, "ax"
    .globl _start
_start:
    csrs stval, t0 /* both must be 0 at entry; kept together, since there is no register to spare */
    lla t0, first_hart
    SAVE_ENTRY

    /* Relocate: only R_RISCV_RELATIVE (3) occurs. */
    lla t0, _start
    lla t1, __rela_start
    lla t2, __rela_end
1:  bgeu t1, t2, 2f
    LOAD t3, 0(t1)
    LOAD t4, 2 * WORD(t1)
    add t3, t3, t0
    add t4, t4, t0
    STORE t4, 0(t3)
    addi t1, t1, 3 * WORD
    j 1b

2:  li t1, HARTS_MAX
3:  bgeu a0, t1, 3b /* a hart id that the guest has no room for */
    lla tp, harts
    slli t1, a0, HART_SHIFT
    add tp, tp, t1
    call hart_setup
    lla t0, first_hart /* the boot hart's entry registers, now that its place is known */
    addi t1, tp, 0
    li t2, HART_WORDS
4:  LOAD t3, HART_ENTRY_X * WORD(t0)
    STORE t3, HART_ENTRY_X * WORD(t1)
    addi t0, t0, WORD
    addi t1, t1, WORD
    addi t2, t2, -1
    li t3, HART_ENTRY_X
    bgtu t2, t3, 4b
    call guest_start /* in guest.c; a0 = hart id, a1 = device tree */
5:  wfi
    j 5b

/* A hart started by hart_run (guest.c): a0 = hart id, a1 = its struct hart. */
    .globl guest_secondary
guest_secondary:
    csrs stval, t0
    mv t0, a1
    SAVE_ENTRY
    mv tp, a1
    call hart_setup
    call guest_secondary_start
6:  wfi
    j 6b

/* tp: this hart's struct. Sets both stacks, sscratch and stvec; keeps a0 and a1. */
hart_setup:
    lla t0, harts
    sub t0, tp, t0
    srli t0, t0, HART_SHIFT
    li t1, 2 * STACK_SIZE
    mul t0, t0, t1
    lla sp, stacks
    add sp, sp, t0
    li t1, STACK_SIZE
    add sp, sp, t1
    add t0, sp, t1
    STORE t0, HART_STACK * WORD(tp)
    csrw sscratch, tp
    lla t0, trap_vector
    csrw stvec, t0
    ret

/* All traps. sscratch always holds the hart's struct, so nothing else of the interrupted code need be sane. */
    .balign 4
    .globl trap_vector
trap_vector:
    csrrw tp, sscratch, tp
    SAVE_ALL tp, HART_X
    csrr t0, sscratch
    STORE t0, (HART_X + 4) * WORD(tp)
    csrw sscratch, tp
    csrr t0, sepc
    STORE t0, HART_PC * WORD(tp)
    csrr t0, sstatus
    STORE t0, HART_STATUS * WORD(tp)
    csrr t0, scause
    STORE t0, HART_CAUSE * WORD(tp)
    csrr t0, stval
    STORE t0, HART_VALUE * WORD(tp)
    LOAD sp, HART_STACK * WORD(tp)
    mv a0, tp
    call trap_handle /* in guest.c */
    LOAD t0, HART_PC * WORD(tp)
    csrw sepc, t0
    LOAD t0, HART_STATUS * WORD(tp)
    csrw sstatus, t0
    .irp n, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 4
    LOAD_ONE \n, tp, HART_X
    .endr
    sret

.macro SAVE_CALLEE
    addi sp, sp, -14 * WORD
    STORE ra, 0(sp)
    .set n, 1
    .irp r, s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11
    STORE \r, n * WORD(sp)
    .set n, n + 1
    .endr
.endm
.macro RESTORE_CALLEE
    LOAD ra, 0(sp)
    .set n, 1
    .irp r, s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11
    LOAD \r, n * WORD(sp)
    .set n, n + 1
    .endr
    addi sp, sp, 14 * WORD
.endm

/* unsigned long catch_call(function, a, b, c): calls function(a, b, c); a trap in it returns here at once, with the
 * trap in hart->caught (trap_handle does that). */
    .text
    .globl catch_call
catch_call:
    SAVE_CALLEE
    STORE sp, HART_CATCH_SP * WORD(tp)
    lla t0, 1f
    STORE t0, HART_CATCH_PC * WORD(tp)
    mv t0, a0
    mv a0, a1
    mv a1, a2
    mv a2, a3
    jalr t0
    STORE zero, HART_CATCH_PC * WORD(tp)
1:  RESTORE_CALLEE
    ret

/* void sbi_patterned(const unsigned long in[32], unsigned long out[32]): loads all registers from in, makes an ecall,
 * stores all registers to out. Interrupts must be off: even sp and tp hold what the test says. */
    .globl sbi_patterned
sbi_patterned:
    SAVE_CALLEE
    addi sp, sp, -2 * WORD
    STORE a1, 0(sp)
    STORE sp, HART_SPARE * WORD(tp)
    mv t6, a0
    .irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    LOAD_ONE \n, t6, 0
    .endr
    ecall
patterned_end:
    csrrw tp, sscratch, tp
    SAVE_ALL tp, HART_X
    csrr t0, sscratch
    STORE t0, (HART_X + 4) * WORD(tp)
    csrw sscratch, tp
    LOAD sp, HART_SPARE * WORD(tp)
    LOAD a1, 0(sp)
    addi sp, sp, 2 * WORD
    mv t0, tp
    li t1, 32
2:  LOAD t2, HART_X * WORD(t0)
    STORE t2, 0(a1)
    addi t0, t0, WORD
    addi a1, a1, WORD
    addi t1, t1, -1
    bnez t1, 2b
    RESTORE_CALLEE
    ret

/* void spin_patterned(const unsigned long in[32], unsigned long out[32]): loads all registers from in, counts t6 down to
 * 0 and stores all to out. A hypervisor that switches meanwhile must not change any. Interrupts must be off. */
    .globl spin_patterned
spin_patterned:
    SAVE_CALLEE
    addi sp, sp, -2 * WORD
    STORE a1, 0(sp)
    STORE sp, HART_SPARE * WORD(tp)
    mv t6, a0
    .irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    LOAD_ONE \n, t6, 0
    .endr
1:  addi t6, t6, -1
    bnez t6, 1b
    j patterned_end

/* void user_enter(pc, a, b): goes to user mode at pc with a0 = a, a1 = b. Call it through catch_call: any trap from
 * there comes back. */
    .globl user_enter
user_enter:
    csrw sepc, a0
    li t0, 1 << 8 | 1 << 5 /* SPP, SPIE */
    csrc sstatus, t0
    mv a0, a1
    mv a1, a2
    sret

    .bss
    .balign 1024
    .globl harts
harts:
    .space HARTS_MAX << HART_SHIFT
first_hart:
    .space HART_WORDS * WORD
    .balign 16
stacks:
    .space HARTS_MAX * 2 * STACK_SIZE
