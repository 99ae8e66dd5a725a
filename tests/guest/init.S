/* SPDX-License-Identifier: MIT
 *
 * Linux's first process for scripts/measure: says at which tick of the machine's clock, which starts at reset, it was
 * entered, and switches the machine off.
 */
#define SYS_write  64
#define SYS_reboot 142

    .section .rodata
text:     .ascii "measure: init "
    .equ TEXT, . - text
rest:     .ascii " 00000001\n"
    .equ REST, . - rest

    .text
    .globl _start
_start:
    rdtime  s0
    addi    sp, sp, -16
    mv      s1, sp
    li      s2, 28
1:  srl     t0, s0, s2
    andi    t0, t0, 15
    addi    t0, t0, '0'
    li      t1, '9'
    ble     t0, t1, 2f
    addi    t0, t0, 'a' - '0' - 10
2:  sb      t0, 0(s1)
    addi    s1, s1, 1
    addi    s2, s2, -4
    bgez    s2, 1b
    lla     a1, text
    li      a2, TEXT
    call    put
    mv      a1, sp
    li      a2, 8
    call    put
    lla     a1, rest
    li      a2, REST
    call    put
    li      a7, SYS_reboot
    li      a0, 0xfee1dead
    li      a1, 0x28121969
    li      a2, 0x4321fedc              /* power off */
    ecall
3:  j       3b

put:
    li      a7, SYS_write
    li      a0, 1
    ecall
    ret
