/* SPDX-License-Identifier: MIT
 *
 * Vector registers, assembled with V enabled. The callers have switched mstatus.VS on. a0: 32 registers of vlenb bytes.
 */
.text

/* void vector_save(uint8_t *area) and vector_load: whole-register moves don't depend on vl or vtype. */
.globl vector_save, vector_load
vector_save:
    csrw    vstart, zero
    csrr    t0, vlenb
    slli    t0, t0, 3
    vs8r.v  v0, (a0)
    add     a0, a0, t0
    vs8r.v  v8, (a0)
    add     a0, a0, t0
    vs8r.v  v16, (a0)
    add     a0, a0, t0
    vs8r.v  v24, (a0)
    ret
vector_load:
    csrw    vstart, zero
    csrr    t0, vlenb
    slli    t0, t0, 3
    vl8r.v  v0, (a0)
    add     a0, a0, t0
    vl8r.v  v8, (a0)
    add     a0, a0, t0
    vl8r.v  v16, (a0)
    add     a0, a0, t0
    vl8r.v  v24, (a0)
    ret

/* void vector_set_type(unsigned long vl, unsigned long vtype): restores both exactly (vl ≤ VLMAX of vtype, or an
 * illegal vtype, which vsetvl reproduces as vill). */
.globl vector_set_type
vector_set_type:
    vsetvl  zero, a0, a1
    ret
