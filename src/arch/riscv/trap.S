/* SPDX-License-Identifier: MIT
 *
 * The way in and out. While a guest runs, mscratch holds its struct arch_context; while the hypervisor runs,
 * mscratch is 0 and tp is the hart. A trap from a guest goes to trap_handle() in trap/trap.c, which returns the
 * context to resume. A trap of the hypervisor's own either was expected (hart->recover) or is a bug:
 * trap_own() in trap/trap.c reports it on the emergency stack.
 */
#include "arch/riscv/asm.h"
#include "offsets.h"

.macro save_x n, base
    REG_S   x\n, CONTEXT_X + \n * WORD(\base)
.endm
.macro load_x n, base
    REG_L   x\n, CONTEXT_X + \n * WORD(\base)
.endm

.text
.balign 4
.globl trap_entry
trap_entry:
    csrrw   sp, mscratch, sp
    beqz    sp, trap_from_hypervisor

    .irp n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    save_x  \n, sp
    .endr
    csrrw   t0, mscratch, zero
    csrr    t1, mepc
    csrr    t2, mstatus
    REG_S   t0, CONTEXT_X + 2 * WORD(sp)
    REG_S   t1, CONTEXT_PC(sp)
    REG_S   t2, CONTEXT_STATUS(sp)
    mv      a0, sp
    csrr    a1, mcause
    REG_L   tp, CONTEXT_HART(sp)
.if WORD == 4
    /* RV32 with H: whether the guest was in VS-mode stands in mstatush. */
    REG_L   t0, HART_IS_VIRTUAL(tp)
    beqz    t0, 1f
    csrr    t0, CSR_MSTATUSH
    REG_S   t0, CONTEXT_STATUS_HIGH(sp)
1:
.endif
    REG_L   sp, HART_STACK_TOP(tp)
    li      s0, 0                       /* ends the backtrace */
    call    trap_handle
    /* falls through with a0 = the context to resume */

/* void arch_enter(struct arch_context *): into the guest, for ever. */
.globl arch_enter
arch_enter:
    REG_S   tp, CONTEXT_HART(a0)
    REG_L   t1, CONTEXT_PC(a0)
    REG_L   t2, CONTEXT_STATUS(a0)
    csrw    mscratch, a0
    csrw    mepc, t1
    csrw    mstatus, t2
.if WORD == 4
    REG_L   t1, HART_IS_VIRTUAL(tp)
    beqz    t1, 1f
    REG_L   t1, CONTEXT_STATUS_HIGH(a0)
    csrw    CSR_MSTATUSH, t1
1:
.endif
    mv      sp, a0
    .irp n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    load_x  \n, sp
    .endr
    load_x  2, sp
    mret

/* Here sp is 0 and mscratch the hypervisor's sp. */
trap_from_hypervisor:
    csrrw   sp, mscratch, zero
    beqz    tp, nobody
    REG_S   t0, HART_SCRATCH(tp)
    REG_L   t0, HART_RECOVER(tp)
    beqz    t0, trap_unexpected
    /* Expected: go on at hart->recover with the cause noted, translation tricks off, everything else as it was. */
    csrw    mepc, t0
    REG_S   zero, HART_RECOVER(tp)
    csrr    t0, mcause
    REG_S   t0, HART_RECOVER_CAUSE(tp)
    li      t0, MSTATUS_MPRV
    csrc    mstatus, t0
    li      t0, 0x1800
    csrs    mstatus, t0                 /* MPP = M: mret stays here */
    REG_L   t0, HART_SCRATCH(tp)
    mret

trap_unexpected:
    /* The stack may be what broke: use the emergency one, and never come back. */
    REG_S   sp, HART_SCRATCH + WORD(tp)
    REG_L   sp, HART_EMERGENCY_TOP(tp)
    beqz    sp, nobody
    addi    sp, sp, -32 * WORD
    .irp n, 1,3,4,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    REG_S   x\n, \n * WORD(sp)
    .endr
    REG_L   t0, HART_SCRATCH(tp)
    REG_S   t0, 5 * WORD(sp)
    REG_L   t0, HART_SCRATCH + WORD(tp)
    REG_S   t0, 2 * WORD(sp)
    REG_S   zero, 0(sp)
    mv      a0, sp
    csrr    a1, mcause
    csrr    a2, mepc
    csrr    a3, mtval
    call    trap_own
nobody:
    wfi
    j       nobody

/* unsigned long supervisor_load_probe(address, trial mstatus, own mstatus): pmp.c. No other memory access between
 * the two writes of mstatus. */
.globl supervisor_load_probe
supervisor_load_probe:
    lla     t0, 1f
    REG_S   t0, HART_RECOVER(tp)
    csrw    mstatus, a1
    lb      t1, 0(a0)
    csrw    mstatus, a2
    REG_S   zero, HART_RECOVER(tp)
    li      a0, 1
    ret
1:  csrw    mstatus, a2
    li      a0, 0
    ret
