/* SPDX-License-Identifier: MIT
 *
 * What needs the floating-point and vector extensions. Compiled for rv64gcv, so nothing here may run before the
 * caller has seen that sstatus.FS or .VS sticks (registers.h).
 */
#include "asm.h"

.macro FUNCTION name
    .balign 4
    .globl \name
\name:
.endm

    .text
FUNCTION form_flw
    flw fa0, 0(a0)
    fmv.x.w a0, fa0
    ret
FUNCTION form_fsw
    fmv.w.x fa0, a1
    fsw fa0, 0(a0)
    ret
.option push
.option norvc
FUNCTION form_fld
    fld fa0, 0(a0)
    fmv.x.w a0, fa0
    ret
FUNCTION form_fsd
    fcvt.d.w fa0, a1
    fsd fa0, 0(a0)
    ret
.option pop
FUNCTION form_c_fld
    c.fld fa0, 0(a0)
    fmv.x.w a0, fa0
    ret
FUNCTION form_c_fsd
    fcvt.d.w fa0, a1
    c.fsd fa0, 0(a0)
    ret

#define ALL 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31

/* void fp_load(const uint64_t registers[32]); void fp_store(uint64_t registers[32]); FS must be on. */
FUNCTION fp_load
    .irp n, ALL
    fld f\n, \n * 8(a0)
    .endr
    ret
FUNCTION fp_store
    .irp n, ALL
    fsd f\n, \n * 8(a0)
    .endr
    ret

/* void vector_load(const void *registers); void vector_store(void *registers): 32 registers. VS must be on. */
FUNCTION vector_load
    csrr t0, vlenb
    slli t0, t0, 3
    vl8re8.v v0, (a0)
    add a0, a0, t0
    vl8re8.v v8, (a0)
    add a0, a0, t0
    vl8re8.v v16, (a0)
    add a0, a0, t0
    vl8re8.v v24, (a0)
    ret
FUNCTION vector_store
    csrr t0, vlenb
    slli t0, t0, 3
    vs8r.v v0, (a0)
    add a0, a0, t0
    vs8r.v v8, (a0)
    add a0, a0, t0
    vs8r.v v16, (a0)
    add a0, a0, t0
    vs8r.v v24, (a0)
    ret
/* unsigned long vector_set(unsigned long length): vl and vtype for bytes, 8 registers a group; returns vl */
FUNCTION vector_set
    vsetvli a0, a0, e8, m8, ta, ma
    ret
/* void vector_state(unsigned long out[5]): vlenb, vl, vtype, vstart, vcsr */
FUNCTION vector_state
    csrr t0, vlenb
    STORE t0, 0(a0)
    csrr t0, vl
    STORE t0, WORD(a0)
    csrr t0, vtype
    STORE t0, 2 * WORD(a0)
    csrr t0, vstart
    STORE t0, 3 * WORD(a0)
    csrr t0, vcsr
    STORE t0, 4 * WORD(a0)
    ret
/* form: unit-stride vector load and store of 8 bytes */
FUNCTION form_vle
    vsetivli t0, 8, e8, m1, ta, ma
    vle8.v v8, (a0)
    ret
FUNCTION form_vse
    vsetivli t0, 8, e8, m1, ta, ma
    vse8.v v8, (a0)
    ret
FUNCTION form_vlenb
    csrr a0, vlenb
    ret
