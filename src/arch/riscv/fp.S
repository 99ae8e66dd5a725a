/* SPDX-License-Identifier: MIT
 *
 * Floating-point registers, assembled with F and D enabled. The callers have switched mstatus.FS on and know that the
 * hart has D (fp_*_d) or only F (fp_*_s: each register in the low half of its 8-byte slot).
 */
.text

.macro for_all_f insn, base
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    \insn   f\n, \n * 8(\base)
    .endr
.endm

/* void fp_save_d(uint64_t f[32]) and friends */
.globl fp_save_d, fp_load_d, fp_save_s, fp_load_s
fp_save_d:
    for_all_f fsd, a0
    ret
fp_load_d:
    for_all_f fld, a0
    ret
fp_save_s:
    for_all_f fsw, a0
    ret
fp_load_s:
    for_all_f flw, a0
    ret
