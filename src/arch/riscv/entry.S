/* SPDX-License-Identifier: MIT
 *
 * Reset to C. Every hart enters at _start in M-mode with a0 = hart id, a1 = device tree, at whatever address the
 * loader chose. One S-capable hart wins the lottery, moves the image to its home and calls boot_main() in main.c;
 * the others follow it there and call boot_secondary() in boot/harts.c.
 */
#include "arch/riscv/asm.h"
#include "offsets.h"

.section .text.entry, "ax"
.globl _start
_start:
    csrw    mie, zero
    csrci   mstatus, 8                  /* MIE off for good: the hypervisor polls */
.if WORD == 8
    li      t0, MSTATUS_MDT             /* with Smdbltrp the first trap would be taken for a double one */
    csrc    mstatus, t0
.endif
    csrw    mscratch, zero              /* 0: traps from here on are the hypervisor's own */
    la      t0, trap_entry
    csrw    mtvec, t0
    li      tp, 0
    csrr    s0, mhartid                 /* what a0 says too */
    mv      s1, a1

    /* A hart that says it has no S-mode can't boot; one that says nothing (misa = 0) may. */
    csrr    t0, misa
    beqz    t0, lottery
    li      t1, MISA_S
    and     t1, t1, t0
    bnez    t1, lottery
    /* It leaves that to the others; if none of them has come after a while, it must be the one to say what's wrong. */
    la      t0, boot_lottery
    li      t1, 1 << 26
1:  lw      t2, 0(t0)
    bnez    t2, follow
    addi    t1, t1, -1
    bnez    t1, 1b
lottery:
    la      t0, boot_lottery
    li      t1, 1
    amoadd.w.aqrl t2, t1, (t0)
    bnez    t2, follow

    /* The boot hart, still where the loader put it. */
    la      sp, boot_stack_top
    la      s2, image_start             /* where we are */
    call    clear_bss
    call    relocate
    la      tp, boot_hart
    REG_S   s0, HART_ID(tp)
    la      t0, boot_stack_top
    REG_S   t0, HART_STACK_TOP(tp)
    la      t0, boot_emergency_top
    REG_S   t0, HART_EMERGENCY_TOP(tp)
    mv      a0, s1
    mv      a1, s2
    la      a2, image_end
    call    boot_choose_home            /* in boot/home.c */
    mv      s3, a0                      /* where we shall be */

    /* Copy everything up to the end of .data; same place: nothing to do. */
    beq     s2, s3, 4f
    mv      t0, s2
    mv      t1, s3
    la      t2, image_data_end
3:  REG_L   t3, 0(t0)
    REG_S   t3, 0(t1)
    addi    t0, t0, WORD
    addi    t1, t1, WORD
    bltu    t0, t2, 3b
    fence.i
4:  la      t0, at_home
    sub     t0, t0, s2
    add     t0, t0, s3
    jr      t0

at_home:
    la      t0, trap_entry
    csrw    mtvec, t0
    la      sp, boot_stack_top
    call    clear_bss
    call    relocate
    la      tp, boot_hart
    REG_S   s0, HART_ID(tp)
    la      t0, boot_stack_top
    REG_S   t0, HART_STACK_TOP(tp)
    la      t0, boot_emergency_top
    REG_S   t0, HART_EMERGENCY_TOP(tp)

    /* Tell the others, who look at the old copy, where to go; their counter is the new copy's. */
    la      t0, boot_left
    sw      zero, 0(t0)
    la      t0, boot_home
    sub     t0, t0, s3
    add     t0, t0, s2
    fence   rw, w
    REG_S   s3, 0(t0)
    mv      a0, s0
    mv      a1, s1
    mv      a2, s2
    call    boot_main                   /* in main.c; doesn't return */
5:  wfi
    j       5b

/* Every other hart: wait for the new home, go there, say so, and wait to be called. */
follow:
    la      s2, image_start
    la      t0, boot_home
1:  REG_L   s3, 0(t0)
    beqz    s3, 1b
    fence   r, rw
    fence.i
    la      t0, followed
    sub     t0, t0, s2
    add     t0, t0, s3
    jr      t0
followed:
    la      t0, trap_entry
    csrw    mtvec, t0
    la      t0, boot_left
    li      t1, 1
    amoadd.w.rl zero, t1, (t0)
    /* boot_slots[n] = {hart id, struct hart *}: ours appears when the boot hart has made it. */
    la      t2, boot_slots
2:  la      t0, boot_slot_count
    lw      t0, 0(t0)
    beqz    t0, 2b
    fence   r, rw
    slli    t0, t0, WORD_LOG + 1
    mv      t1, t2
    add     t0, t0, t2
3:  bgeu    t1, t0, park                /* the tree doesn't know this hart */
    REG_L   t3, 0(t1)
    addi    t1, t1, 2 * WORD
    bne     t3, s0, 3b
    REG_L   tp, -WORD(t1)
    beqz    tp, park                    /* known, but can't be used */
    REG_L   sp, HART_STACK_TOP(tp)
    mv      a0, tp
    call    boot_secondary              /* in boot/harts.c; doesn't return */
park:
    csrw    mie, zero
    wfi
    j       park

/* Clears .bss where the image now stands. Clobbers t0, t1. */
clear_bss:
    la      t0, bss_start
    la      t1, bss_end
1:  bgeu    t0, t1, 2f
    REG_S   zero, 0(t0)
    addi    t0, t0, WORD
    j       1b
2:  ret

/* Applies the image's R_RISCV_RELATIVE entries {offset, info, addend} for where it now stands; may be repeated.
 * Clobbers t0 to t5. */
relocate:
    la      t0, rela_start
    la      t1, rela_end
    la      t2, image_start
    li      t3, LINK_BASE
    sub     t2, t2, t3                  /* what to add to a link address */
1:  bgeu    t0, t1, 2f
    REG_L   t3, 0(t0)
    REG_L   t4, 2 * WORD(t0)
    add     t3, t3, t2
    add     t4, t4, t2
    REG_S   t4, 0(t3)
    addi    t0, t0, 3 * WORD
    j       1b
2:  ret

/* void arch_hart_start_stack(struct arch_hart *, void (*function)(void *), void *argument) */
.globl arch_hart_start_stack
arch_hart_start_stack:
    mv      tp, a0
    REG_L   sp, HART_STACK_TOP(a0)
    mv      t0, a1
    mv      a0, a2
    li      s0, 0
    li      ra, 0
    jr      t0

.section .data
.balign 8
.globl boot_home, boot_left, boot_lottery, boot_slot_count
boot_home:          .dword 0            /* set in the old copy: where the image went */
boot_lottery:       .word 0
boot_left:          .word 0             /* harts that arrived at the new home, in the new copy */
boot_slot_count:    .word 0

.section .bss
.balign 16
boot_emergency:     .space 8192
boot_emergency_top:
