/* SPDX-License-Identifier: MIT
 *
 * How long a start takes, for scripts/measure: says when it was entered and when it will ask to be started anew, and does
 * that at exactly that time. Its next life says when it was entered, and so on:
 *
 *     again: entered 0000000000012345
 *     again: asks    0000000000020000
 *
 * Position-independent, without a stack, at both word sizes; times are ticks, of which RV32 shows the low word.
 */
#include "asm.h"

    .option norelax /* linked at 0, it would be given absolute addresses */

#define EXT_PUTCHAR 1
#define EXT_SRST    0x53525354

    .section .text
    .globl _start
_start:
    rdtime s1                           /* the guest's first instruction */
    lla s0, entered
    call text
    mv s2, s1
    call hex
    lla s0, asks
    call text
    rdtime s3                           /* some hundred thousand instructions ahead: time to say it */
    srli s3, s3, 14
    addi s3, s3, 2
    slli s3, s3, 14
    mv s2, s3
    call hex
1:  rdtime t0
    bltu t0, s3, 1b
    li a0, 1                            /* cold reboot */
    li a1, 0
    li a6, 0
    li a7, EXT_SRST
    ecall
2:  j 2b

/* Prints the text at s0, which ends in 0. */
text:
    mv s5, ra
    li a7, EXT_PUTCHAR
3:  lbu a0, 0(s0)
    beqz a0, 4f
    ecall
    addi s0, s0, 1
    j 3b
4:  jr s5

/* Prints s2 in hexadecimal, and a newline. */
hex:
    mv s5, ra
    li a7, EXT_PUTCHAR
    li s6, WORD * 8 - 4
5:  srl a0, s2, s6
    andi a0, a0, 15
    addi a0, a0, '0'
    li t0, '9'
    ble a0, t0, 6f
    addi a0, a0, 'a' - '0' - 10
6:  ecall
    addi s6, s6, -4
    bgez s6, 5b
    li a0, '\n'
    ecall
    jr s5

    .section .rodata
entered: .asciz "again: entered "
asks:    .asciz "again: asks    "
