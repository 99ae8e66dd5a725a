/* SPDX-License-Identifier: MIT
 *
 * One function for each instruction form: a0 = address, a1 = value; result in a0. See forms.h.
 */
#include "asm.h"

.macro FORM name
    .balign 4
    .globl form_\name
form_\name:
.endm

    .text
.option push
.option norvc
.irp op, lb, lbu, lh, lhu, lw
FORM \op
    \op a0, 0(a0)
    ret
.endr
.irp op, sb, sh, sw
FORM \op
    \op a1, 0(a0)
    ret
.endr
FORM lw_offset /* largest negative offset */
    addi a0, a0, 1024
    addi a0, a0, 1024
    lw a0, -2048(a0)
    ret
FORM sw_offset
    addi a0, a0, -2047
    sw a1, 2047(a0)
    ret
FORM lw_zero /* the value is thrown away, the access is not */
    lw zero, 0(a0)
    li a0, 0
    ret
FORM sw_zero
    sw zero, 0(a0)
    ret
#if __riscv_xlen == 64
.irp op, lwu, ld
FORM \op
    \op a0, 0(a0)
    ret
.endr
FORM sd
    sd a1, 0(a0)
    ret
#endif
.option pop

FORM c_lw
    c.lw a0, 0(a0)
    ret
FORM c_lw_offset
    addi a0, a0, -124
    c.lw a0, 124(a0)
    ret
FORM c_sw
    c.sw a1, 0(a0)
    ret
FORM c_sw_offset
    addi a0, a0, -68
    c.sw a1, 68(a0)
    ret
/* Through sp: the trap handler doesn't need a sane one. */
FORM c_lwsp
    mv t0, sp
    addi sp, a0, -76
    c.lwsp a0, 76(sp)
    mv sp, t0
    ret
FORM c_swsp
    mv t0, sp
    addi sp, a0, -252
    c.swsp a1, 252(sp)
    mv sp, t0
    ret
#if __riscv_xlen == 64
FORM c_ld
    c.ld a0, 0(a0)
    ret
FORM c_sd
    c.sd a1, 0(a0)
    ret
FORM c_ldsp
    mv t0, sp
    addi sp, a0, -328
    c.ldsp a0, 328(sp)
    mv sp, t0
    ret
FORM c_sdsp
    mv t0, sp
    addi sp, a0, -504
    c.sdsp a1, 504(sp)
    mv sp, t0
    ret
#endif

.irp op, amoadd, amoswap, amoor, amomaxu
FORM \op
    \op\().w a0, a1, (a0)
    ret
.endr
FORM lr
    lr.w a0, (a0)
    ret
FORM sc
    sc.w a0, a1, (a0)
    ret
#if __riscv_xlen == 64
FORM amoadd_d
    amoadd.d a0, a1, (a0)
    ret
FORM lr_d
    lr.d a0, (a0)
    ret
#endif
