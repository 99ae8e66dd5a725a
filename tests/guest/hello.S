/* SPDX-License-Identifier: MIT
 *
 * The smallest guest that can tell a test where it is: position-independent, and all the RAM it uses lies right behind it. It
 * prints, in one piece,
 *
 *     hello: at 0x0000000080200000, hart 0, tree 0x0000000087ff0000
 *
 * by the debug console extension, then switches its capsule off. A tree that doesn't begin as one should: "no tree".
 */
#include "asm.h"

#define EXT_DBCN 0x4442434e
#define EXT_SRST 0x53525354

    .section .text
    .globl _start
_start:
    mv s0, a0
    mv s1, a1
    lla s2, _start
    lla s7, line /* where the next character goes */
    lla s3, text_at
    call puts
    mv s4, s2
    call hex
    lla s3, text_hart
    call puts
    addi a0, s0, '0'
    sb a0, 0(s7)
    addi s7, s7, 1
    lla s3, text_tree
    lw t0, 0(s1)
    li t1, 0xedfe0dd0 /* big-endian d00dfeed */
    xor t0, t0, t1
    slli t0, t0, WORD * 8 - 32 /* li and lw extend differently where words are longer */
    beqz t0, 1f
    lla s3, text_no_tree
1:  call puts
    mv s4, s1
    call hex
    lla s3, text_end
    call puts

    /* As often as it takes until all of it has been written. */
    lla s3, line
2:  sub a0, s7, s3
    mv a1, s3
    li a2, 0
    li a6, 0
    li a7, EXT_DBCN
    ecall
    bnez a0, 2b
    add s3, s3, a1
    bltu s3, s7, 2b

    li a0, 0
    li a1, 0
    li a6, 0
    li a7, EXT_SRST
    ecall
3:  j 3b

/* Appends the text at s3, which ends in 0. */
puts:
    lbu t0, 0(s3)
    beqz t0, 4f
    sb t0, 0(s7)
    addi s3, s3, 1
    addi s7, s7, 1
    j puts
4:  ret

/* Appends s4 as hexadecimal digits, as many as a word has. */
hex:
    li s5, WORD * 2
5:  srli t0, s4, WORD * 8 - 4
    slli s4, s4, 4
    addi t0, t0, '0'
    li t1, '9'
    bleu t0, t1, 6f
    addi t0, t0, 'a' - '0' - 10
6:  sb t0, 0(s7)
    addi s7, s7, 1
    addi s5, s5, -1
    bnez s5, 5b
    ret

text_at: .asciz "hello: at 0x"
text_hart: .asciz ", hart "
text_tree: .asciz ", tree 0x"
text_no_tree: .asciz ", no tree 0x"
text_end: .asciz "\r\n"
line: .space 112
