/* SPDX-License-Identifier: MIT
 *
 * A guest that runs where it was linked and nowhere else, as small systems for S-mode do: it goes to its code, its data and
 * its trap handler by absolute addresses. It needs what those need: the legacy SBI for its console and its timer, and the
 * UART where QEMU's virt machine has it. It prints
 *
 *     fixed: at 0x0000000080200000
 *     fixed: interrupt 5
 *     fixed: by the UART
 *
 * and switches its capsule off.
 */
#include "asm.h"

#define LEGACY_SET_TIMER 0
#define LEGACY_PUTCHAR 1
#define LEGACY_SHUTDOWN 8
#define UART 0x10000000
#define UART_STATUS 5 /* the line status register */
#define UART_ROOM 0x20
#define SIE_TIMER 0x20
#define SSTATUS_SIE 0x2

    .macro POINTER symbol /* a word */
    .word \symbol
    .fill WORD / 4 - 1, 4, 0
    .endm

    .macro ADDRESS register, symbol /* not what the program counter says, but what the linker said */
    lla \register, address_of_\symbol
    LOAD \register, 0(\register)
    .endm

    .section .text
    .globl _start
_start:
    ADDRESS t0, begin
    jr t0
    .balign WORD
address_of_start: POINTER _start
address_of_begin: POINTER begin
address_of_stack: POINTER stack
address_of_trap: POINTER trap
address_of_seen: POINTER seen
address_of_text_at: POINTER text_at
address_of_text_interrupt: POINTER text_interrupt
address_of_text_uart: POINTER text_uart

begin:
    ADDRESS sp, stack
    ADDRESS t0, trap
    csrw stvec, t0

    ADDRESS s0, text_at
    call puts
    ADDRESS s1, start
    call hex
    call newline

    /* A timer in the past: its interrupt comes as soon as it may. */
    li a0, 0
    li a1, 0
    li a7, LEGACY_SET_TIMER
    ecall
    li t0, SIE_TIMER
    csrs sie, t0
    csrsi sstatus, SSTATUS_SIE
    ADDRESS s2, seen
1:  lw s1, 0(s2)
    beqz s1, 1b
    ADDRESS s0, text_interrupt
    call puts
    addi a0, s1, '0'
    call put
    call newline

    ADDRESS s0, text_uart
    li s2, UART
2:  lbu t0, 0(s0)
    beqz t0, 4f
3:  lbu t1, UART_STATUS(s2)
    andi t1, t1, UART_ROOM
    beqz t1, 3b
    sb t0, 0(s2)
    addi s0, s0, 1
    j 2b

4:  li a7, LEGACY_SHUTDOWN
    ecall
5:  j 5b

/* The one interrupt there is: it leaves its number in seen and doesn't come again. */
    .balign 4
trap:
    csrr t0, scause
    slli t0, t0, 1
    srli t0, t0, 1
    csrw sie, zero
    ADDRESS t1, seen
    sw t0, 0(t1)
    sret

/* Prints the text at s0, which ends in 0. */
puts:
    addi sp, sp, -16
    STORE ra, 0(sp)
6:  lbu a0, 0(s0)
    beqz a0, 7f
    call put
    addi s0, s0, 1
    j 6b
7:  LOAD ra, 0(sp)
    addi sp, sp, 16
    ret

newline:
    li a0, '\n'
/* Prints a0. */
put:
    li a7, LEGACY_PUTCHAR
    ecall
    ret

/* Prints s1 as hexadecimal digits, as many as a word has. */
hex:
    addi sp, sp, -16
    STORE ra, 0(sp)
    li s3, WORD * 2
8:  srli a0, s1, WORD * 8 - 4
    slli s1, s1, 4
    addi a0, a0, '0'
    li t1, '9'
    bleu a0, t1, 9f
    addi a0, a0, 'a' - '0' - 10
9:  call put
    addi s3, s3, -1
    bnez s3, 8b
    LOAD ra, 0(sp)
    addi sp, sp, 16
    ret

text_at: .asciz "fixed: at 0x"
text_interrupt: .asciz "fixed: interrupt "
text_uart: .asciz "fixed: by the UART\n"
    .balign 16
seen: .word 0
    .balign 16
    .space 256
stack:
