/* SPDX-License-Identifier: MIT
 *
 * The smallest guest that can tell a test where it is: position-independent, without a stack or data. It prints
 *
 *     hello: at 0x0000000080200000, hart 0, tree 0x0000000087ff0000
 *
 * by the debug console extension, then switches its capsule off. A tree that doesn't begin as one should: "no tree".
 */
#include "asm.h"

#define EXT_DBCN 0x4442434e
#define EXT_SRST 0x53525354
#define DBCN_WRITE_BYTE 2

    .section .text
    .globl _start
_start:
    mv s0, a0
    mv s1, a1
    lla s2, _start
    lla s3, text_at
    call puts
    mv s4, s2
    call hex
    lla s3, text_hart
    call puts
    addi a0, s0, '0'
    call putc
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
    li a0, '\r'
    call putc
    li a0, '\n'
    call putc
    li a0, 0
    li a1, 0
    li a6, 0
    li a7, EXT_SRST
    ecall
2:  j 2b

/* s3: a text that ends in 0. Clobbers what SBI does, s3 and s6. */
puts:
    mv s6, ra
3:  lbu a0, 0(s3)
    beqz a0, 4f
    call putc
    addi s3, s3, 1
    j 3b
4:  jr s6

/* s4: printed as hexadecimal digits, as many as a word has. Clobbers s4 to s6. */
hex:
    mv s6, ra
    li s5, WORD * 2
5:  srli a0, s4, WORD * 8 - 4
    slli s4, s4, 4
    addi a0, a0, '0'
    li t0, '9'
    bleu a0, t0, 6f
    addi a0, a0, 'a' - '0' - 10
6:  call putc
    addi s5, s5, -1
    bnez s5, 5b
    jr s6

/* a0: a byte, sent again until the console has room for it. */
putc:
    mv s7, a0
7:  mv a0, s7
    li a6, DBCN_WRITE_BYTE
    li a7, EXT_DBCN
    ecall
    bnez a0, 7b
    ret

text_at: .asciz "hello: at 0x"
text_hart: .asciz ", hart "
text_tree: .asciz ", tree 0x"
text_no_tree: .asciz ", no tree 0x"
    .balign 4
